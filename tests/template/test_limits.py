"""A table of as many routes as are allowed still fits AWS's limits, and needs no edit by hand."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aws.route_file import shipped_routes
from doctor.resolve import Resolver
from infrastructure import calls, limits
from infrastructure.cfn_yaml import cfn_yaml
from infrastructure.limits import faults_of_size
from local.translate import TEMPLATE, nested_templates, translated
from routing.model import Kind
from routing.table.reader import load_routes
from routing.table.routes import RouteTable

_ROUTE = """
[[routes]]
name = "department-of-claims-{0:02}"
about = "A department with a name of the usual length"
kinds = ["contact_record"]
pattern = {{ Queue = {{ Name = ["q{0}"] }} }}
prefix = "departments/claims-and-more-{0:02}"
"""
_SEALED = """
[[routes.protect]]
seal = ["Attributes"]
[[routes.protect]]
hash = ["CustomerId"]
"""
_UNMATCHED = '[unmatched]\ncontact_record="drop"\nagent_event="drop"\ncontact_lens_segment="drop"\nother="drop"\n'


@pytest.fixture(scope="module")
def largest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Write the blocks of sixteen routes into a copy of the template, and resolve it."""
    routes = (_ROUTE.format(i) + (_SEALED if i < 8 else "") for i in range(16))
    table = load_routes("".join(routes) + _UNMATCHED)
    folder = tmp_path_factory.mktemp("template")
    _write_blocks(folder, table)
    template = translated(folder / "template.yaml")
    readers = {
        name: ",".join(f"arn:aws:iam::111122223333:role/{name}-of-a-department-{number}" for number in range(10))
        for name in template["Parameters"]
        if "ReadersOf" in name
    }
    assert len(readers) == 16 + 8 + 1  # with those of the archive
    operator = "arn:aws:iam::111122223333:role/Operator"
    options = {
        "ArchiveRawStream": "true",
        "Erasure": "on",
        "Parquet": "on",
        "ReplayOperators": operator,
        "Tracing": "Active",
    }
    options["Name"] = "n" * 26
    return Resolver(template, {**readers, **options}).resources()


def _write_blocks(folder: Path, table: RouteTable) -> None:
    """Do what cog does, with another table."""
    (folder / "templates").mkdir()
    for template in (TEMPLATE, *nested_templates(TEMPLATE.parent)):
        _write_blocks_of(template, folder / template.relative_to(TEMPLATE.parent), table)


def _write_blocks_of(template: Path, copy: Path, table: RouteTable) -> None:
    lines: list[str] = []
    is_inside = False
    for line in template.read_text().splitlines(keepends=True):
        if "[[[end]]]" in line:
            is_inside = False
        if not is_inside:
            lines.append(line)
        if "[[[cog" in line:
            is_inside = True
            call = line.partition("cog ")[2].rpartition("]]]")[0].strip()

            def block(value: object, by: int) -> None:
                lines.append(cfn_yaml(value, by))

            eval(call, {**vars(calls), "block": block, "table": table})  # noqa: S307 - our own template
    copy.write_text("".join(lines))


def _size(policy: dict[str, Any]) -> int:
    return len(json.dumps(policy, separators=(",", ":")))


def test_bucket_policy_fits_20_kilobytes(largest: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html."""
    assert _size(largest["BucketPolicy"]["Properties"]["PolicyDocument"]) <= 20_480


def test_managed_policies_fit_6144_characters_and_ten_a_role(largest: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
    policies = [r["Properties"] for r in largest.values() if r["Type"] == "AWS::IAM::ManagedPolicy"]
    of_roles = Counter(role for policy in policies for role in policy.get("Roles", []))
    assert max(of_roles.values()) <= 10
    assert max(_size(policy["PolicyDocument"]) for policy in policies) <= 6144


def test_environment_fits_4_kilobytes(largest: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    variables = largest["FanOutFunction"]["Properties"]["Environment"]["Variables"]
    assert sum(len(name) + len(value) for name, value in variables.items()) <= 4096


def test_table_without_protection_makes_a_template_without_its_keys(tmp_path: Path) -> None:
    _write_blocks(tmp_path, load_routes(_ROUTE.format(1) + _UNMATCHED))
    resources = translated(tmp_path / "template.yaml")["Resources"]
    keys = {name for name, resource in resources.items() if resource["Type"] == "AWS::KMS::Key"}
    beside = {"StreamKey", "ArchiveKey", "AlarmKey", "QueryResultsKey"}
    assert keys == {*beside, "DeadLetterKey", "DepartmentOfClaims01Key"}


def test_template_fits_a_megabyte_and_500_resources(largest: dict[str, Any], tmp_path_factory: Any) -> None:
    """Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html."""
    copy = next(tmp_path_factory.getbasetemp().glob("template*/template.yaml"))
    for template in (copy, *nested_templates(copy.parent)):
        text = template.read_text()
        assert len(text.encode()) <= 1_000_000
        resources = text.partition("\nResources:\n")[2].partition("\nOutputs:\n")[0]
        assert 0 < len(re.findall(r"^  \w+:$", resources, re.MULTILINE)) <= 500
    assert len(largest) > 200


def test_key_policies_fit_32_kilobytes(largest: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html."""
    policies = [r["Properties"]["KeyPolicy"] for r in largest.values() if r["Type"] == "AWS::KMS::Key"]
    assert max(map(_size, policies)) <= 32_768


def test_dashboard_and_rules_fit_their_limits(largest: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html."""
    assert len(json.dumps(largest["KeyChangedRule"]["Properties"]["EventPattern"])) <= 2048
    rule = largest["DataAtRiskAlarm"]["Properties"]["AlarmRule"]
    assert len(rule) <= 10_240


def test_every_route_has_its_key_alias_and_grants(largest: dict[str, Any]) -> None:
    for number in range(16):
        stem = f"DepartmentOfClaims{number:02}"
        assert largest[f"{stem}Key"]["Type"] == "AWS::KMS::Key"
        assert (
            largest[f"{stem}KeyAlias"]["Properties"]["AliasName"]
            == f"alias/{'n' * 26}/department-of-claims-{number:02}"
        )
        everything = json.dumps(largest)
        assert f'"Sid": "{stem}Put"' in everything
        assert f'"Sid": "DenyOtherKeysOf{stem}"' in everything


@pytest.mark.parametrize(("length", "names"), [(30, ""), (128, "WriterPolicy1 WriterPolicy2")])
def test_routes_check_refuses_what_is_too_large_to_be_deployed(length: int, names: str) -> None:
    routes = (_ROUTE.format(i).replace("claims-and-more", "x" * (length - 15)) for i in range(16))
    sealed = (one + (_SEALED if i < 8 else "") for i, one in enumerate(routes))
    table = load_routes("".join(sealed) + _UNMATCHED)
    assert [fault.where for fault in faults_of_size(table)] == sorted(
        names.split(), key=lambda name: name == "BucketPolicy"
    )


def test_tables_of_too_many_kinds_or_declared_values_are_refused() -> None:
    every_kind = ", ".join(f'"{kind}"' for kind in Kind)
    many = "".join(_ROUTE.format(i).replace('"contact_record"', every_kind) for i in range(16))
    fields = ", ".join(
        f'{{ field = "Attributes.a{n}", values = [{", ".join(f"{v:060}".join('""') for v in range(50))}] }}'
        for n in range(3)
    )
    declared = _ROUTE.format(0) + f'partition = ["date", {fields}]\n'
    for text, refused in ((many, ["templates/analysis.yaml", "templates/columns.yaml"]), (declared, [])):
        assert [fault.where for fault in faults_of_size(load_routes(text + _UNMATCHED))] == refused


def test_templates_are_no_longer_than_estimated() -> None:
    for table in (shipped_routes(), load_routes("".join(_ROUTE.format(i) for i in range(2)) + _UNMATCHED)):
        for block in limits.nested(table).values():
            assert len(cfn_yaml(block, 2)) <= len(json.dumps(block)) * limits._YAML_BY_JSON


def test_estimated_sizes_are_not_below_the_real_ones(largest: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit is set to what the resolved template takes: all of them are refused then, so none is underestimated."""
    sizes = {
        "_BUCKET_POLICY": _size(largest["BucketPolicy"]["Properties"]["PolicyDocument"]),
        "_MANAGED_POLICY": _size(largest["DenyOutsidePolicy"]["Properties"]["PolicyDocument"]),
        "_ENVIRONMENT": sum(
            len(name) + len(value)
            for name, value in largest["FanOutFunction"]["Properties"]["Environment"]["Variables"].items()
        ),
        "_EVENT_PATTERN": len(
            json.dumps(largest["KeyChangedRule"]["Properties"]["EventPattern"], separators=(",", ":"))
        ),
    }
    for name, size in sizes.items():
        monkeypatch.setattr(limits, name, size - 1)
    routes = (_ROUTE.format(i) + (_SEALED if i < 8 else "") for i in range(16))
    refused = {fault.where for fault in faults_of_size(load_routes("".join(routes) + _UNMATCHED))}
    assert refused >= {"BucketPolicy", "DenyOutsidePolicy", "the function's variables", "KeyChangedRule"}
    for number in (1, 2):
        real = _size(largest[f"WriterPolicy{number}"]["Properties"]["PolicyDocument"])
        monkeypatch.setattr(limits, "_MANAGED_POLICY", real - 1)
        refused = {
            fault.where
            for fault in faults_of_size(
                load_routes("".join(_ROUTE.format(i) + (_SEALED if i < 8 else "") for i in range(16)) + _UNMATCHED)
            )
        }
        assert f"WriterPolicy{number}" in refused
