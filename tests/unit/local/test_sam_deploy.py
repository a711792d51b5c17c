"""`make deploy`: every parameter is written out, so nothing that was deleted or left out lives on."""

import pytest

from local.sam_deploy import DeployError, defaults, environments, overrides_of, parameters_of, quoted

_CONFIG = {
    "default": {"deploy": {"parameters": {"parameter_overrides": []}}},
    "dev": {"deploy": {"parameters": {"parameter_overrides": ["Name=x", "ReadersOfOrders=arn:a"]}}},
    "guided": {"deploy": {"parameters": {"parameter_overrides": 'Name="my fan-out" Note=""'}}},
    "local": {"deploy": {"parameters": {}}},
    "version": 0.1,
}
_DECLARED = {"Name": "ctr-fanout", "ReadersOfOrders": "", "MappingEnabled": "true"}


def test_later_lists_win_and_all_the_rest_has_its_default() -> None:
    found = parameters_of(_DECLARED, ["Name=x", "ReadersOfOrders=a,b"], ["MappingEnabled=false", "Name=y=z"])
    assert found == {"Name": "y=z", "ReadersOfOrders": "a,b", "MappingEnabled": "false"}


def test_reader_whose_line_is_deleted_is_revoked_and_the_mapping_is_switched_on_again() -> None:
    assert parameters_of(_DECLARED, [], []) == _DECLARED


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("ReaderOfOrders=x", "'ReaderOfOrders': template.yaml has no such parameter; did you mean ReadersOfOrders?"),
        ("Quux=x", "'Quux': template.yaml has no such parameter"),
        ("Name", "'Name': expected Name=Value"),
    ],
)
def test_parameter_that_does_not_exist_is_refused(pair: str, message: str) -> None:
    with pytest.raises(DeployError) as raised:
        parameters_of(_DECLARED, [pair])
    assert str(raised.value) == message


def test_environment_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DeployError, match=r"^'test': expected an environment of samconfig.toml: default, dev, guided$"):
        overrides_of(_CONFIG, "test")  # type: ignore[arg-type]


def test_environments_are_those_that_go_to_aws() -> None:
    assert environments(_CONFIG) == ["default", "dev", "guided"]  # type: ignore[arg-type]


def test_list_that_guided_has_written_is_read() -> None:
    assert overrides_of(_CONFIG, "guided") == ["Name=my fan-out", "Note="]  # type: ignore[arg-type]


def test_values_are_quoted_for_sam() -> None:
    assert quoted({"A": "", "B": 'x "y" \\z', "C": "a,b"}) == ['A=""', r'B="x \"y\" \\z"', 'C="a,b"']


def test_defaults_are_those_of_the_template() -> None:
    found = defaults()
    assert found["Name"] == "ctr-fanout"
    assert found["MappingEnabled"] == "true"
    assert found["ReadersOfOrders"] == ""
