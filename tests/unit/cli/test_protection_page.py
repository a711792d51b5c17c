"""What docs/protection.md says is true, and slips of the pen in paths are noticed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aws.route_file import routes_text, shipped_routes
from cli.app import app
from infrastructure.pages.protection import shown
from routing.protection.presets import PRESETS
from routing.protection.rules import Action, Protection, Rule
from schema.known_fields import unknown_paths
from tests.builders import ROUTES, table


def route_with(rule: str, kinds: str = '"contact_record"') -> list[tuple[str, str]]:
    text = ROUTES.replace('kinds = ["contact_record"]\n', f"kinds = [{kinds}]\n").replace(
        'prefix = "claims"\n', f'prefix = "claims"\n[[routes.protect]]\n{rule}\n'
    )
    return list(unknown_paths(table(text).routes[0]))


def test_every_example_shows_a_change_or_says_that_there_is_none() -> None:
    examples = list(shown())
    assert len(examples) > 12
    for says, _, before, after in examples:
        assert (before != after) or "stays" in says, says


@pytest.mark.parametrize(
    "path",
    [
        "CustomerEndpoint.Address", "Attributes.anything", "**.Address", "Recordings.*.Location", "Agent", "*", "**",
        'SegmentAttributes."connect:EmailSubject".ValueString', "Agent.HierarchyGroups.Level3.GroupName",
        "ContactEvaluations.*.ExportLocation", "Queue.*",
    ],
)  # fmt: skip
def test_path_of_a_known_field_is_no_slip(path: str) -> None:
    assert route_with(f"remove = ['{path}']") == []


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("CustomerEndpoint.Adress", "CustomerEndpoint.Address"),
        ("customerendpoint", "CustomerEndpoint"),
        ("Agent.UserName", "Agent.Username"),
        ("Recording.*.Location.x", "Recordings.*.Location"),
    ],
)
def test_path_that_meets_nothing_known_is_told_with_the_nearest(path: str, near: str) -> None:
    assert route_with(f'remove = ["{path}"]') == [(path, near)]


@pytest.mark.parametrize(
    ("path", "meant"),
    [("Recordings.Location", "Recordings.*.Location"), ("ContactEvaluations.*.ExportLocation", None)],
)
def test_path_through_an_array_without_a_star_is_refused_as_it_protects_nothing(
    tmp_path: Path, path: str, meant: str | None
) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        routes_text().replace(
            "[[routes.protect]]\n", f'[[routes.protect]]\nremove = ["{path}"]\n\n[[routes.protect]]\n', 1
        )
    )
    done = CliRunner().invoke(app, ["routes", "check", "--routes", str(file)])
    assert done.exit_code == (0 if meant is None else 1), done.output
    said = f"path {path!r} protects nothing, since an array is on its way; did you mean {meant}?"
    assert (said in done.output) == (meant is not None), done.output


def test_partition_of_a_kind_without_timestamps_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    speech = 'prefix = "quality/segments"\n'
    file.write_text(routes_text().replace(speech, f'{speech}partition = "Foo"\n'))
    done = CliRunner().invoke(app, ["routes", "check", "--routes", str(file)])
    assert done.exit_code == 0, done.output
    assert "partition: Foo is no known field" in done.stderr


@pytest.mark.parametrize(("matching", "is_told"), [("[0-9]{4}", True), (r"\d{4}", False)])
def test_mask_that_misses_full_width_digits_is_a_warning(tmp_path: Path, matching: str, is_told: bool) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        routes_text().replace(
            "[[routes.protect]]\n",
            f"[[routes.protect]]\nmask = ['**.Content']\nmatching = '{matching}'\n\n[[routes.protect]]\n",
            1,
        )
    )
    done = CliRunner().invoke(app, ["routes", "check", "--routes", str(file)])
    assert done.exit_code == 0, done.output
    assert (r"\d takes all" in done.stderr) == is_told


def test_presets_protect_what_flows_write_about_a_contact() -> None:
    record = {
        "CustomerEndpoint": {"Address": "+815550100"}, "Attributes": {"a": "x"}, "ContactDetails": {"Name": "x"},
        "SegmentAttributes": {"loyalty": {"ValueString": "x"}, "connect:EmailSubject": {"ValueString": "x"}},
        "Tags": {"a": "x"}, "References": [{"Name": "x", "Value": "x"}], "CustomerId": "x", "Channel": "CHAT",
    }  # fmt: skip
    rule = Rule(action=Action.REMOVE, paths=PRESETS["aws-sensitive/2"].read)
    after = Protection([rule], lambda _: str).apply(json.dumps(record).encode()).data
    assert json.loads(after) == {"Channel": "CHAT"}


def test_partition_by_a_misspelt_field_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(routes_text().replace('partition = "DisconnectTimestamp"', 'partition = "DisconectTimestamp"'))
    done = CliRunner().invoke(app, ["routes", "check", "--routes", str(file)])
    assert done.exit_code == 0
    assert "partition: DisconectTimestamp is no known field" in done.stderr
    assert "did you mean DisconnectTimestamp?" in done.stderr


def test_path_is_held_against_the_kinds_of_its_route() -> None:
    assert route_with('remove = ["EventTimestamp"]', '"contact_record"') != []
    assert route_with('remove = ["EventTimestamp"]', '"agent_event"') == []
    assert route_with('remove = ["EventTimestamp"]', '"contact_record", "agent_event"') == []
    assert route_with('remove = ["whatever"]', '"other"') == []


def test_paths_of_presets_are_known() -> None:
    for preset in PRESETS.values():
        paths = ", ".join(f"'{path}'" for path in preset.paths)
        assert route_with(f"remove = [{paths}]", '"contact_record", "agent_event"') == [], preset.name


def test_shipped_routes_have_no_slip() -> None:
    assert [slip for route in shipped_routes().routes for slip in unknown_paths(route)] == []
