"""Telemetry: the lines that an invocation writes, and the metrics in them."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from aws.invocation import Invocation
from handlers.telemetry import Telemetry
from operations.convert.request import ConversionRequest, ConversionSlice
from routing.errors import DeliveryError
from routing.model import RouteName
from routing.pipeline import process
from routing.reasons import Reason
from routing.stages.decode import Decoder
from tests.builders import agent_event, claim, contact, numbered_event, table
from tests.fakes import MemoryCheckpoint, MemorySink, protector

ARRIVED_AT = 1772413962.0


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ctr-fanout")


def publish(*documents: bytes, sink: MemorySink | None = None) -> None:
    routes = table()
    report = process(
        numbered_event(enumerate(documents, start=1), arrived_at=ARRIVED_AT),
        decoder=Decoder(routes.paths),
        table=routes,
        protector=protector(),
        sink=sink or MemorySink(),
        checkpoint=MemoryCheckpoint(),
    )
    Telemetry("ctr-fanout").publish(report, Invocation("id-1", lambda: 60.0, now=lambda: ARRIVED_AT + 7.5))


def logged(caplog: pytest.LogCaptureFixture, level: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.levelname == level]


def metrics(capsys: pytest.CaptureFixture[str], **dimensions: str) -> dict[str, Any]:
    """Return the metrics of the EMF line with exactly these dimensions."""
    wanted = {"service": "ctr-fanout", **dimensions}
    for line in capsys.readouterr().out.splitlines():
        emf = json.loads(line)
        (directive,) = emf.get("_aws", {}).get("CloudWatchMetrics", [None])
        if directive and {name: emf[name] for name in directive["Dimensions"][0]} == wanted:
            assert directive["Namespace"] == "CtrFanout"
            return {metric["Name"]: emf[metric["Name"]][0] for metric in directive["Metrics"]}
    raise AssertionError(f"no metrics with {wanted}")


def test_invocation_writes_one_summary_without_a_record(caplog: pytest.LogCaptureFixture) -> None:
    publish(claim(), contact(), b"{}")
    (summary,) = logged(caplog, "INFO")
    assert summary["message"] == "batch processed"
    assert summary["request_id"] == "id-1"
    assert summary["records_received"] == 3
    assert summary["records_dropped"] == {"other": 1}
    assert summary["routes"]["all"] == {
        "delivered": 2,
        "deduplicated": 0,
        "dead_lettered": {},
        "to_retry": 0,
        "objects": 1,
    }


def test_failure_is_one_line_with_route_reason_and_cure(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = DeliveryError("enable ClaimsKey again", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    publish(claim(), sink=MemorySink({"claims": refused}))
    (line,) = logged(caplog, "ERROR")
    assert (line["message"], line["route"], line["reason"], line["detail"]) == (
        "records did not reach their destination",
        "claims",
        "KmsKeyDisabled",
        "enable ClaimsKey again",
    )
    assert metrics(capsys, Route="claims", Reason="KmsKeyDisabled") == {"RecordsDeadLettered": 1}


def test_metrics_of_a_route_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    publish(claim(), contact(), agent_event())
    found = metrics(capsys, Route="all")
    assert found["RecordsMatched"] == 3
    assert found["RecordsDelivered"] == 3
    assert found["ObjectsDelivered"] == 2
    assert found["PlainBytesDelivered"] == len(claim()) + len(contact()) + len(agent_event()) + 3
    assert found["Freshness"] == 7.5


def test_cold_start_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry, invocation = Telemetry("ctr-fanout"), Invocation("id-1", lambda: 60.0)
    report = process(
        {"Records": []},
        decoder=Decoder([]),
        table=table(),
        protector=protector(),
        sink=MemorySink(),
        checkpoint=MemoryCheckpoint(),
    )
    starts = []
    for _ in range(2):
        telemetry.publish(report, invocation)
        starts.append(metrics(capsys)["ColdStarts"])
    assert starts == [1, 0]


@pytest.mark.parametrize(
    ("until", "hours"),
    [
        ({"contact_record": "2026-03-01", "agent_event": "2026-03-02"}, 25),  # the day that lags most
        ({"contact_record": "2026-03-02"}, 1),
        ({"contact_record": "2026-03-03"}, 0),
        ({"contact_record": ""}, 0),  # nothing is there to convert
    ],
)
def test_delay_of_conversion_is_counted_from_the_end_of_the_day_that_is_due(
    capsys: pytest.CaptureFixture[str], until: dict[str, str], hours: int
) -> None:
    now = datetime(2026, 3, 4, 1, tzinfo=UTC).timestamp()
    done = ConversionSlice(results=[], deleted=0, until=until, next=None)
    Telemetry("ctr-fanout").publish_conversion(ConversionRequest(route=RouteName("claims")), done, now)
    assert metrics(capsys)["ConversionDelay"] == hours * 3600
