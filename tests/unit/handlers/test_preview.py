"""The preview of `sam local invoke`: it shows what would be put where, and cannot happen where a key is real."""

import json
from pathlib import Path
from typing import Any

import pytest

from aws.route_file import shipped_routes
from aws.settings import key_variable
from handlers.preview import Preview, is_preview, refuse_preview
from routing import layout
from routing.lambda_event import event_in, event_of_documents

_TABLE = shipped_routes()
_KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
_VARIABLES = [key_variable(name) for name in (*_TABLE.names, layout.DEAD_LETTER)]
# As SAM CLI 1.170 fills in `!GetAtt OrdersKey.Arn`.
_AS_SAM_DOES = {"AWS_SAM_LOCAL": "true", **dict.fromkeys(_VARIABLES, "arn:aws:ap-northeast-1:123456789012:OrdersKey")}
_EVENTS = sorted(Path("events/lambda").glob("*.json"))


def test_local_runtime_without_aws_is_a_preview() -> None:
    assert is_preview(_AS_SAM_DOES, _TABLE)
    assert is_preview(_AS_SAM_DOES | {"AWS_ENDPOINT_URL": ""}, _TABLE)


@pytest.mark.parametrize("variable", _VARIABLES)
def test_any_real_key_makes_it_real(variable: str) -> None:
    """On AWS every key is an ARN, so nothing that is set there can turn the deliveries into prints."""
    assert not is_preview(_AS_SAM_DOES | {variable: _KEY}, _TABLE)


@pytest.mark.parametrize("changed", [{"AWS_SAM_LOCAL": ""}, {"AWS_SAM_LOCAL": "1"}, {"AWS_ENDPOINT_URL": "http://x"}])
def test_elsewhere_a_wrong_environment_is_refused_and_not_previewed(changed: dict[str, str]) -> None:
    assert not is_preview(_AS_SAM_DOES | changed, _TABLE)


@pytest.mark.parametrize("path", _EVENTS, ids=lambda path: path.name)
def test_every_sample_is_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Preview(_TABLE)(json.loads(path.read_text()), None)
    assert answer == {"batchItemFailures": []}
    printed = capsys.readouterr().out
    assert printed.startswith("LOCAL PREVIEW, nothing is delivered")
    assert " bytes\n" in printed


def test_each_route_shows_one_line_as_its_readers_would_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    contact = {"ContactId": "c-1", "AWSContactTraceRecordFormatVersion": "1", "Channel": "VOICE"}
    one, two = ({**contact, "Attributes": {"n": n}, "CustomerEndpoint": {"Address": "+14155550100"}} for n in (1, 2))
    Preview(_TABLE)(event_of_documents([json.dumps(one).encode(), json.dumps(two).encode()]), None)
    printed = capsys.readouterr().out
    shown = [line for line in printed.splitlines() if line.startswith("    {")]
    assert len(shown) == 1
    assert "2 records" in printed
    assert "(preview: " in shown[0]
    assert "+14155550100" not in printed


def test_event_that_sam_generates_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    generated: dict[str, Any] = event_of_documents([b"Hello, this is a test 123."])
    generated["Records"][0]["eventSourceARN"] = "arn:aws:kinesis:EXAMPLE"
    assert Preview(_TABLE)(generated, None) == {"batchItemFailures": []}
    assert "NotJson: not JSON at character 0 of 26" in capsys.readouterr().out
    event, is_whole = event_in(json.dumps(generated).encode())
    assert is_whole
    assert event["Records"][0]["eventSourceARN"].endswith(":stream/ctr-fanout")


@pytest.mark.parametrize("event", [{}, {"Records": 1}, {"Records": [1]}, {"Records": [{"eventSourceARN": 1}]}])
def test_event_that_is_none_gets_one_sentence(event: dict[str, object]) -> None:
    answer = Preview(_TABLE)(event, None)
    assert list(answer) == ["error"]
    assert "event: expected" in answer["error"]


def test_event_without_records_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert Preview(_TABLE)({"Records": []}, None) == {"batchItemFailures": []}
    assert "the event holds no record" in capsys.readouterr().out


def test_other_functions_answer_with_one_sentence() -> None:
    assert "needs AWS or the emulator" in refuse_preview(object(), object())["error"]
