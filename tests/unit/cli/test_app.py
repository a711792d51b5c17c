"""The commands, as an operator types them."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from cli.app import app
from tests.builders import ROUTES, agent_event, claim, contact, event
from tests.unit.routing.test_routes import ROUTE, UNMATCHED


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture
def routes_file(tmp_path: Path) -> Path:
    file = tmp_path / "routes.toml"
    file.write_text(ROUTES)
    return file


def try_json(tmp_path: Path, routes_file: Path, data: bytes) -> list[dict[str, object]]:
    records = tmp_path / "records"
    records.write_bytes(data)
    done = run("routes", "try", "--json", "--routes", str(routes_file), str(records))
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_shipped_routes_and_all_their_examples_hold() -> None:
    done = run("routes", "check")
    assert done.exit_code == 0, done.output
    assert "orders" in done.stdout


def test_check_names_every_fault_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("zip = 1\n" + ROUTE.replace("kinds", "kind") + UNMATCHED)
    done = run("routes", "check", "--routes", str(file))
    assert done.exit_code == 1
    assert [line.removeprefix(f"{file}: ") for line in done.stderr.splitlines()] == [
        "line 3: route 'claims': kinds: expected an array of contact_record, agent_event, contact_lens_segment, other, got nothing",
        "line 6: route 'claims': kind: expected one of about, examples, kinds, name, on_key_denied, partition, pattern, prefix, protect, retain_days, "
        "got an unknown key; did you mean kinds?",
        "line 1: zip: expected one of limits, retain_days, routes, unmatched, got an unknown key",
    ]


EXAMPLE = """
pattern = { Channel = ["VOICE"] }
[[routes.examples]]
says = "a call"
record = { Channel = "%s" }
takes = %s
"""


@pytest.mark.parametrize(
    ("examples", "faults"),
    [
        (EXAMPLE % ("VOICE", "true") + EXAMPLE[EXAMPLE.index("[[") :] % ("CHAT", "false"), []),
        (
            EXAMPLE % ("VOICE", "true"),
            ["examples: expected a near miss that the route does not take (takes = false), got none"],
        ),
        (
            EXAMPLE % ("CHAT", "true"),
            [
                'examples[0]: expected the route to take it (a call): Channel: expected any of ["VOICE"], got string',
                "examples: expected a near miss that the route does not take (takes = false), got none",
            ],
        ),
        (
            EXAMPLE % ("VOICE", "false"),
            [
                "examples[0]: expected the route not to take it, but it does (a call)",
                "examples: expected one that the route takes (takes = true), got none",
            ],
        ),
    ],
)
def test_check_runs_the_examples(tmp_path: Path, examples: str, faults: list[str]) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(ROUTE + examples + UNMATCHED)
    done = run("routes", "check", "--routes", str(file))
    assert [line.removeprefix(f"{file}: route 'claims': ") for line in done.stderr.splitlines()] == faults
    assert done.exit_code == int(bool(faults))


def test_try_shows_routes_places_and_near_misses(tmp_path: Path, routes_file: Path) -> None:
    (shown,) = try_json(tmp_path, routes_file, contact(Queue={"Name": "Sales"}))
    assert shown == {
        "source": str(tmp_path / "records"),
        "number": 1,
        "kind": "contact_record",
        "routes": ["all"],
        "prefixes": ["all/contacts/contact_record/date=(arrival)/"],
        "misses": {
            "claims": ['Queue.Name: expected any of [{"prefix": "Claims"}], got string'],
            "speech": ["kind: expected contact_lens_segment, got contact_record"],
        },
        "is_dropped": False,
        "reason": None,
        "detail": None,
    }


def test_try_dates_a_record_by_its_own_time_and_says_when_the_arrival_decides(
    tmp_path: Path, routes_file: Path
) -> None:
    """A misspelt partition would look right if the made-up arrival of a bare record were shown as a date."""
    dated = contact(DisconnectTimestamp="2025-01-31T00:00:00Z")
    (own,) = try_json(tmp_path, routes_file, dated)
    assert own["prefixes"] == ["all/contacts/contact_record/date=2025-01-31/"]
    (arrived,) = try_json(tmp_path, routes_file, json.dumps(event(contact())).encode())
    assert arrived["prefixes"] == ["all/contacts/contact_record/date=2026-03-02/"]


def test_try_tells_what_makes_a_record_of_connect(routes_file: Path) -> None:
    done = run("routes", "try", "--routes", str(routes_file), "-", stdin=b'{"Channel": "VOICE"}')
    assert "is no record of Amazon Connect: a contact record has ContactId and AWSContactTraceRecordFormatVersion" in (
        done.stdout
    )


def test_try_tells_the_reason_of_a_dead_letter(tmp_path: Path, routes_file: Path) -> None:
    (shown,) = try_json(tmp_path, routes_file, b"\x1f\x8b\x08")
    assert (shown["reason"], shown["detail"], shown["routes"]) == (
        "NotUtf8",
        "not UTF-8 at byte 1 of 3",
        ["dead-letter"],
    )


def test_try_tells_what_is_dropped(tmp_path: Path, routes_file: Path) -> None:
    (shown,) = try_json(tmp_path, routes_file, b'{"meter": 1}')
    assert (shown["is_dropped"], shown["routes"]) == (True, [])


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (json.dumps(json.loads(claim()), indent=2).encode(), ["contact_record"]),
        (claim() + b"\n" + agent_event() + b"\n\n", ["contact_record", "agent_event"]),
        (claim() + b"\npoison\n", ["contact_record", None]),
        (json.dumps(event(claim(), agent_event())).encode(), ["contact_record", "agent_event"]),
        (b"poison", [None]),
        (b"two lines of\npoison", [None]),
        (b"", [None]),
    ],
    ids=["indented record", "JSON Lines", "JSON Lines with poison", "Lambda event", "poison", "long poison", "empty"],
)
def test_try_reads_records_json_lines_and_events(
    tmp_path: Path, routes_file: Path, data: bytes, kinds: list[str | None]
) -> None:
    assert [shown["kind"] for shown in try_json(tmp_path, routes_file, data)] == kinds


def test_try_reads_standard_input(routes_file: Path) -> None:
    done = run("routes", "try", "--routes", str(routes_file), "-", stdin=claim())
    assert "takes claims: claims/contact_record/date=(arrival)/" in done.stdout


def test_try_shows_a_pattern_as_it_is_written(tmp_path: Path) -> None:
    """Brackets are no markup."""
    file = tmp_path / "routes.toml"
    file.write_text(ROUTE + 'pattern = { Channel = ["[red]"] }' + UNMATCHED)
    done = run("routes", "try", "--routes", str(file), "-", stdin=contact(Channel="x"))
    assert 'Channel: expected any of ["[red]"], got string' in done.stdout


def test_try_never_shows_a_value_of_a_record(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.write_bytes(claim(CustomerEndpoint={"Address": "marker-7351"}, Channel="marker-7351") + b"\n{marker-7351")
    for options in ([], ["--json"]):
        done = run("routes", "try", *options, str(records))
        assert done.exit_code == 0
        assert "marker-7351" not in done.output


def test_try_shows_values_if_asked_to(routes_file: Path) -> None:
    done = run(
        "routes", "try", "--values", "--routes", str(routes_file), "-", stdin=contact(Queue={"Name": "BasicQueue"})
    )
    assert 'not claims: Queue.Name: expected any of [{"prefix": "Claims"}], got "BasicQueue"' in done.stdout


def test_try_shows_a_record_before_and_after_the_rules_of_a_route(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        ROUTE
        + '[[routes.protect]]\nmask = ["CustomerEndpoint.Address"]\nlast = 4\n'
        + '[[routes.protect]]\nhash = ["CustomerId"]\n[[routes.protect]]\nseal = ["Attributes"]\n'
        + UNMATCHED
    )
    record = contact(CustomerEndpoint={"Address": "+81300004410"}, CustomerId="c", Attributes={"a": 1})
    lines = record + b"\n" + agent_event() + b"\npoison"
    done = run("routes", "try", "--show", "claims", "--json", "--routes", str(file), "-", stdin=lines)
    assert done.exit_code == 0, done.output
    first, other, poison = (json.loads(line) for line in done.stdout.splitlines())
    assert first["record"] == json.loads(record)
    after = first["claims"]
    assert after["CustomerEndpoint"] == {"Address": "********4410"}
    assert len(after["CustomerId"]) == 64
    assert ("Attributes" in after, after["_sealed"].startswith("(preview: ")) == (False, True)
    assert (other["record"]["EventId"], other["claims"]) == ("e-1", None)
    assert (poison["record"], poison["claims"]) == (None, None)
    shown = run("routes", "try", "--show", "claims", "--routes", str(file), "-", stdin=lines).stdout
    assert f"  record  {record.decode()}" in shown
    assert "not claims: kind: expected contact_record, got agent_event" in shown
    assert "dead letter, NotJson" in shown


def test_try_shows_numbers_as_they_are(routes_file: Path) -> None:
    record = contact(ContactId="c")[:-1] + b',"n":1.0000000000000000001,"m":1.5e+400,"l":' + b"9" * 5000 + b"}"
    done = run("routes", "try", "--show", "all", "--json", "--routes", str(routes_file), "-", stdin=record)
    assert done.exit_code == 0, done.output
    assert done.stdout.count(record[1:-1].decode()) == 2


def test_try_of_a_route_that_is_not_there_is_one_clear_error(routes_file: Path) -> None:
    done = run("routes", "try", "--show", "nope", "--routes", str(routes_file), "-", stdin=contact())
    assert (done.exit_code, done.stderr) == (1, "--show: expected one of claims, all, speech, rest, got 'nope'\n")


def test_try_takes_the_event_that_sam_generates(routes_file: Path) -> None:
    sample = json.dumps(event(claim())).replace(
        "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout", "arn:aws:kinesis:EXAMPLE"
    )
    done = run("routes", "try", "--routes", str(routes_file), "-", stdin=sample.encode())
    assert "takes claims" in done.stdout


def test_missing_file_is_one_clear_error() -> None:
    done = run("routes", "try", "nowhere.json")
    assert (done.exit_code, done.stderr) == (1, "nowhere.json: No such file or directory\n")


def test_event_of_another_service_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "sqs.json"
    file.write_text('{"Records": [{"eventSource": "aws:sqs"}]}')
    done = run("routes", "try", str(file))
    assert done.exit_code == 1
    assert done.stderr == (
        f"{file}: event: expected what Lambda sends for a Kinesis stream: Object missing required field `kinesis` - at "
        "`$.Records[0]`\n"
    )


def test_template_refuses_a_folder_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("template")
    assert done.exit_code == 1
    assert done.stderr == "template.yaml: expected a file with cog blocks, got none; run it where template.yaml is\n"


def test_template_refreshes_its_blocks_and_check_tells_a_stale_one(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text("Parameters:\n  # [[[cog block(inputs.parameters(table), 2) ]]]\n  # [[[end]]]\n")
    assert run("template", "--check", str(file)).exit_code == 1
    assert run("template", str(file)).exit_code == 0
    assert "  ReadersOfOrders:\n    Type: CommaDelimitedList\n" in file.read_text()
    assert run("template", "--check", str(file)).exit_code == 0


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    top: Any = get_command(app)  # a group of Typer's own click
    for name, command in top.commands.items():
        below = getattr(command, "commands", {"": command})
        found |= {f"{name} {of_group}".strip(): one for of_group, one in below.items()}
    return found


@pytest.mark.parametrize("name", commands())
def test_help_of_every_command_has_an_example_that_is_one(name: str) -> None:
    shown = run(*name.split(), "--help").output
    assert f"Example: ctr-fanout {name}" in shown
    epilog = commands()[name].epilog
    arguments = shlex.split(epilog.removeprefix("Example: ctr-fanout "))[len(name.split()) :]
    commands()[name].make_context(name, arguments)
