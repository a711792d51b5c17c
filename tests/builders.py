"""Builders with sane defaults: a test states only what it is about."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

from aws_kinesis_agg.aggregator import RecordAggregator

from routing.lambda_event import Event, event_of_documents, lambda_event
from routing.model import RenderedObject
from routing.table.reader import load_routes
from routing.table.routes import RouteTable

ROUTES = """
[[routes]]
name = "claims"
about = "Claims by queue"
kinds = ["contact_record"]
pattern = { Queue = { Name = [{ prefix = "Claims" }] } }
prefix = "claims"

[[routes]]
name = "all"
about = "Everything"
kinds = ["contact_record", "agent_event"]
prefix = "all/contacts"
partition = "DisconnectTimestamp"

[[routes]]
name = "speech"
about = "Segments"
kinds = ["contact_lens_segment"]
prefix = "speech"
on_key_denied = "block"

[[routes]]
name = "rest"
about = "The rest"
kinds = []
prefix = "rest"

[unmatched]
contact_record = "rest"
agent_event = "rest"
contact_lens_segment = "rest"
other = "drop"
"""


def table(text: str = ROUTES, *, code: str = "") -> RouteTable:
    return load_routes(text, code=code)


def contact(**fields: Any) -> bytes:
    return _document({"AWSContactTraceRecordFormatVersion": "2017-03-10", "ContactId": "c-1", **fields})


def claim(**fields: Any) -> bytes:
    return contact(Queue={"Name": "Claims Motor"}, **fields)


def agent_event(**fields: Any) -> bytes:
    return _document({"EventId": "e-1", "EventType": "LOGIN", "AgentARN": "arn:agent", **fields})


def segment(**fields: Any) -> bytes:
    return _document({"Version": "1.0.0", "ContactId": "c-1", "EventType": "SEGMENTS", **fields})


def chat_segment(**fields: Any) -> bytes:
    return _document({"Version": "2.0.0", "ContactId": "c-1", "StreamingEventType": "SEGMENTS", **fields})


def contact_event(**detail: Any) -> bytes:
    detail = {"contactId": "c-1", "eventType": "INITIATED", **detail}
    return _document({"source": "aws.connect", "detail-type": "Amazon Connect Contact Event", "detail": detail})


def event(*documents: bytes) -> Event:
    return event_of_documents(documents)


def numbered_event(documents: Iterable[tuple[int, bytes]], *, arrived_at: float = 1772413962.0) -> Event:
    """Make an event of documents with sequence numbers of one's own."""
    return lambda_event((str(number), document, "key", arrived_at) for number, document in documents)


def aggregated(*documents: bytes) -> bytes:
    """Make a KPL aggregate with awslabs' own library, which the function does not use."""
    packer: Any = RecordAggregator()  # type: ignore[no-untyped-call]
    for document in documents:
        packer.add_user_record("key", document)
    data: bytes = packer.clear_and_get().get_contents()[2]
    return data


def lines_of(rendered: RenderedObject) -> list[bytes]:
    return lines_in(rendered.body)


def lines_in(body: bytes) -> list[bytes]:
    return gzip.decompress(body).splitlines()


def _document(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
