"""`ctr-fanout doctor` and `ctr-fanout grants`, as they are typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from routing.lambda_event import REGION
from tests.builders import ROUTES
from tests.doctor.test_doctor import segments_are_not_streamed, segments_go_elsewhere
from tests.doctor.world import INSTANCE, INSTANCE_ARN, STREAM_ARN, World


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_doctor_exits_by_severity_and_shows_the_cure(world: World) -> None:
    done = run("doctor", "--stream", "ctr-fanout", "--region", REGION)
    assert done.exit_code == 1, done.output
    assert "WARN    InstanceNotGiven" in done.stdout
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream")
    done = run("doctor", "--stream", "ctr-fanout", "--region", REGION)
    assert done.exit_code == 2
    first = done.stdout.splitlines()[0]
    assert first.startswith("FAIL    StreamKeyRoleLacksDecrypt")
    assert '"Action": "kms:Decrypt"' in done.stdout


def test_doctor_prints_json_lines_for_programs(world: World) -> None:
    done = run("doctor", "--stream", "ctr-fanout", "--region", REGION, "--json", "--all")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["severity"] for one in found} == {"WARN", "OK"}
    assert set(found[0]) == {"severity", "code", "subject", "seen", "expected", "cure"}


def test_doctor_without_credentials_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = run("doctor", "--region", REGION)
    assert done.exit_code == 3
    assert done.stderr.startswith("no credentials for AWS were found; aws sso login")
    assert len(done.stderr.splitlines()) == 1


def test_grants_shows_one_caller_or_one_section() -> None:
    done = run("grants", "--for", "reader of orders", "--section", "route orders")
    assert done.exit_code == 0
    assert "kms:Decrypt" in done.stdout
    assert "reader of billing" not in done.stdout
    rows = [json.loads(line) for line in run("grants", "--for", "Reader of Orders", "--json").stdout.splitlines()]
    assert {row["principal"] for row in rows} == {"reader of orders"}
    assert {row["decision"] for row in rows} == {"allow", "deny"}
    assert all(row["why"] and row["actions"] for row in rows)


def test_grants_names_the_callers_if_there_is_no_such_one() -> None:
    done = run("grants", "--for", "nobody")
    assert done.exit_code == 1
    assert "callers are: administrator, analyst of analytics" in done.stderr


def test_grants_follows_another_route_table(tmp_path: Path) -> None:
    """The matrix derives from the routes: a new one has its rows without anything else being edited."""
    file = tmp_path / "routes.toml"
    file.write_text(ROUTES)
    rows = [json.loads(line) for line in run("grants", "--routes", str(file), "--json").stdout.splitlines()]
    assert {"Route claims"} <= {row["section"] for row in rows}
    assert len([row for row in rows if row["section"] == "Route claims"]) >= 12


def test_connect_associates_what_the_routes_take_and_the_template_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.connect_commands.session_of", lambda *_: world.session)
    segments_are_not_streamed(world)
    voice, chat = (f"REAL_TIME_CONTACT_ANALYSIS_{channel}_SEGMENTS" for channel in ("VOICE", "CHAT"))
    done = run("connect", "associate", "--instance", INSTANCE)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"CONTACT_TRACE_RECORDS: sent to {STREAM_ARN}",
        f"AGENT_EVENTS: sent to {STREAM_ARN}",
        f"{voice}: would be associated with {STREAM_ARN}; --apply does it",
        f"{chat}: would be associated with {STREAM_ARN}; --apply does it",
    ]
    assert (INSTANCE, voice) not in world.connect.storage
    done = run("connect", "associate", "--instance", INSTANCE_ARN, "--apply")
    assert done.exit_code == 0, done.output
    for kind in (voice, chat):
        (one,) = world.connect.storage[INSTANCE, kind]
        assert one["KinesisStreamConfig"] == {"StreamArn": STREAM_ARN}
    again = run("connect", "associate", "--instance", INSTANCE, "--apply").stdout
    assert again.count(f"sent to {STREAM_ARN}") == 4


def test_connect_leaves_what_goes_elsewhere_and_what_the_template_associates(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.connect_commands.session_of", lambda *_: world.session)
    segments_go_elsewhere(world)
    del world.connect.storage[INSTANCE, "AGENT_EVENTS"]
    world.resources["ConnectAgentEvents"] = "x"
    done = run("connect", "associate", "--instance", INSTANCE, "--apply")
    assert done.exit_code == 1
    assert "of-somebody-else; Connect has one target a type: disassociate it first" in done.stdout
    assert "AGENT_EVENTS: the template associates it; deploy with ConnectInstanceArn" in done.stdout
    assert (INSTANCE, "AGENT_EVENTS") not in world.connect.storage


def test_connect_says_that_a_type_of_the_template_goes_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.connect_commands.session_of", lambda *_: world.session)
    elsewhere = {"StreamArn": STREAM_ARN.replace("stream/ctr-fanout", "stream/other")}
    world.connect.storage[INSTANCE, "AGENT_EVENTS"] = [
        {"AssociationId": "x", "StorageType": "KINESIS_STREAM", "KinesisStreamConfig": elsewhere}
    ]
    world.resources["ConnectAgentEvents"] = "x"
    done = run("connect", "associate", "--instance", INSTANCE)
    assert done.exit_code == 1
    assert "AGENT_EVENTS: sent to" in done.stdout
