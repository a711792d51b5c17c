"""No command ends in a traceback, or in exit 0 with nothing done: every command by every ordinary fault."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, SSOTokenLoadError
from botocore.httpsession import URLLib3Session
from typer.testing import CliRunner, Result

from cli.app import app
from tests.builders import ROUTES

ASKING = {
    "status": ["status"],
    "status --watch": ["status", "--watch"],
    "doctor": ["doctor"],
    "doctor --instance": ["doctor", "--instance", "11111111-2222-4333-8444-555555555555"],
    "replay": ["replay", "dead-letters"],
    "recover": ["recover"],
    "reconcile": ["reconcile"],
    "reconcile --role": ["reconcile", "--role", "arn:aws:iam::111122223333:role/x"],
    "erase": ["erase", "--contact-id", "c-1"],
    "unseal": ["unseal", "s3://bucket/key"],
    "env": ["env"],
    "connect associate": ["connect", "associate", "--instance", "11111111-2222-4333-8444-555555555555"],
}
REGION = ["--region", "ap-northeast-1"]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with credentials, and no configuration that is not of the test."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refused(done: Result, code: int) -> str:
    """Return what a command printed that has failed as it should."""
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert 1 <= len(done.stderr.strip().splitlines()) <= 2, done.stderr
    return done.stderr


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], AWSResponse]) -> None:
    monkeypatch.setattr(URLLib3Session, "send", lambda _self, request: answer(request))


def error(request: Any, code: str, message: str = "", status: int = 400) -> AWSResponse:
    """Answer as AWS does: JSON where JSON is spoken, XML elsewhere."""
    if (
        "json" in str(request.headers.get("Content-Type", ""))
        or "/2015-03-31/" in request.url
        or "/instance" in request.url
    ):
        body, headers = f'{{"__type":"{code}","message":"{message}"}}', {"x-amzn-errortype": code}
    elif "Action=" in str(request.body):
        body, headers = (
            f"<ErrorResponse><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error></ErrorResponse>",
            {},
        )
    else:
        body, headers = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>", {}
    return response(request, status, body, headers)


def response(request: Any, status: int, body: str, headers: dict[str, str] | None = None) -> AWSResponse:
    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield body.encode()

    made: Any = headers or {}
    return AWSResponse(request.url, status, made, Raw())


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_without_credentials(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    shown = refused(run(*command, *REGION), 3)
    assert "no credentials for AWS were found; aws sso login --profile default" in shown


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"])
@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_with_a_login_that_has_expired(command: list[str], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda request: error(request, code, "the security token is expired", 403))
    shown = refused(run(*command, *REGION), 3)
    assert f"({code})" in shown
    assert "aws sso login --profile default" in shown


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_with_a_single_sign_on_that_has_ended(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: Any) -> AWSResponse:
        raise SSOTokenLoadError(error_msg="the token does not exist")

    answering(monkeypatch, ended)
    assert "the login of profile 'default' has expired; aws sso login" in refused(run(*command, *REGION), 3)


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_without_a_region(command: list[str]) -> None:
    assert "expected a Region, got none; give --region" in refused(run(*command), 3)


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_with_a_region_that_does_not_exist(command: list[str]) -> None:
    shown = refused(run(*command, "--region", "ap-norteast-1"), 3)
    assert "'ap-norteast-1' is no Region; did you mean ap-northeast-1?" in shown


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_with_a_profile_that_does_not_exist(command: list[str]) -> None:
    assert "expected a profile of the AWS configuration" in refused(run(*command, "--profile", "nobody"), 3)


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_with_an_endpoint_that_does_not_answer(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(request: Any) -> AWSResponse:
        raise EndpointConnectionError(endpoint_url=request.url.partition("?")[0])

    answering(monkeypatch, dead)
    assert "does not answer (EndpointConnectionError); compare --region" in refused(run(*command, *REGION), 3)


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_where_everything_is_denied(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda request: error(request, "AccessDenied", "User x may not y", 403))
    shown = run(*command, *REGION)
    assert "denied" in shown.stderr or "refused with AccessDenied" in shown.stderr
    assert refused(shown, 1 if command[0] == "unseal" else 3)


@pytest.mark.parametrize("command", [one for one in ASKING.values() if one[0] not in {"unseal", "doctor"}], ids=str)
def test_with_a_stack_that_does_not_exist(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda request: error(request, "ValidationError", "Stack with id nope does not exist"))
    shown = refused(run(*command, *REGION, "--stack", "nope"), 1)
    assert shown == "no stack 'nope' in ap-northeast-1; give --stack or --region\n"


@pytest.mark.parametrize("command", ASKING.values(), ids=ASKING)
def test_interrupted(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Any) -> AWSResponse:
        raise KeyboardInterrupt

    answering(monkeypatch, interrupted)
    done = run(*command, *REGION)
    assert "Traceback" not in done.output
    assert done.exit_code == (0 if "--watch" in command else 130)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["reconcile", "--since", "0s"], "'0s': expected a time like"),
        (["reconcile", "--since", "1h", "--until", "2h"], "--since 1h: expected a time before --until 2h"),
        (["reconcile", "--since", "yesterday"], "'yesterday': expected a time like"),
        (["reconcile", "--since", "2026-03-02T08:00"], "expected a time zone, e.g. 2026-03-02T08:00Z"),
        (["reconcile", "--late-after", "soon"], "'soon': expected a duration like"),
        (["replay", "stream", "--since", "2099-01-01T00:00Z"], "--since 2099-01-01T00:00Z: expected a time before now"),
        (["erase", "--contact-id", "c", "--first-date", "2026-13-01"], "--first-date '2026-13-01': expected a date"),
        (["erase", "--contact-id", "c", "--last-date", "20260301"], "--last-date '20260301': expected a date like"),
        (
            ["erase", "--contact-id", "c", "--first-date", "2026-03-02", "--last-date", "2026-03-01"],
            "--first-date 2026-03-02: expected no later date than --last-date 2026-03-01",
        ),
        (["erase", "--contact-id", " "], "--contact-id: expected the id of a contact, got nothing"),
        (["erase"], "expected one of --contact-id, --contacts, --customer and --redacted"),
        (["erase", "--contact-id", "c", "--redacted"], "expected one of --contact-id, --contacts, --customer and"),
        (["erase", "--contacts", "nowhere.txt"], "--contacts nowhere.txt: No such file or directory"),
        (["erase", "--contacts", "-"], "--contacts -: expected one a line, got nothing"),
        (["erase", "--customer", "-"], "--customer -: expected one a line, got nothing"),
        (["erase", *(["--contact-id", "c"] * 10_001)], "expected at most 10000 contacts at once, got 10001"),
        (["erase", "--redacted", "--apply"], "--apply: expected --receipt FILE"),
        (["erase", "--redacted", "--resume", "x"], "--resume: expected --contacts FILE"),
        (["erase", "--contact-id", "c", "--receipt", "/nowhere/r.json"], "--receipt: /nowhere/r.json: No such file"),
        (["erase", "--contact-id", "c", "--receipt", "README.md"], "--receipt: README.md is there already"),
        (["unseal", "nowhere.ndjson.gz"], "nowhere.ndjson.gz: no such file or folder"),
        (["routes", "try", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["routes", "check", "--routes", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["routes", "check", "--routes", "."], ".: Is a directory"),
        (["cost", "--records-per-second", "1", "--prices", "nowhere.toml"], "nowhere.toml"),
        (["template", "nowhere.yaml"], "nowhere.yaml: expected a file with cog blocks, got none"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_argument_that_is_wrong_is_said_before_aws_is_asked(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: Any) -> AWSResponse:
        raise AssertionError("AWS was asked")

    answering(monkeypatch, asked)
    assert sentence in refused(run(*arguments), 1)


@pytest.mark.parametrize(
    "arguments", [["replay", "dead-letters", "--rate", "-1"], ["replay", "nothing"], ["erase", "--contact-id"], ["x"]]
)
def test_command_line_that_cannot_be_read(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello\n", "line 1: expected a JSON object, as it was delivered, got 6 bytes of something else"),
        (b'{"a":1', "line 1: expected a JSON object"),
        (b'{"a":1}\n"x"\n', "line 2: expected a JSON object"),
        (b'{"_sealed":"not base64!"}\n', "line 1: "),
        (b"\xff\xfe\n", "line 1: expected a JSON object"),
    ],
)
def test_file_that_is_not_what_was_delivered(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    file.write_bytes(content)
    assert sentence in refused(run("unseal", str(file)), 1)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b'{"a":1}\n')[:-9]])
def test_file_that_is_cut_off(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson.gz"
    file.write_bytes(content)
    assert "reading failed with" in refused(run("unseal", str(file)), 1)


def test_file_needs_no_region(tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    file.write_bytes(b'{"a":1}\n')
    done = run("unseal", str(file))
    assert (done.exit_code, done.stdout) == (0, '{"a":1}\n')


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + ROUTES.encode(), b"\xff", b"\x00", b"", b"a = [", b"routes = 1"])
def test_route_table_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_bytes(content)
    done = run("routes", "check", "--routes", str(file))
    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert all(line.startswith(f"{file}: ") for line in done.stderr.splitlines())


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("ctr-fanout ")
    assert run("-h").exit_code == 0
    assert run("status", "-h").exit_code == 0
