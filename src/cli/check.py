"""Check a route table: its file, its patterns, and the examples in it, by the function's own code."""

from collections.abc import Iterator

import msgspec

from routing.errors import Fault
from routing.lambda_event import event_of_documents
from routing.model import Kind
from routing.stages.decode import Decoder
from routing.table.routes import Example, Route, RouteTable

# What makes a record of its kind; an example gives only the fields that it is about.
_DISCRIMINATORS = {
    Kind.CONTACT_RECORD: {"AWSContactTraceRecordFormatVersion": "2017-03-10", "ContactId": "example"},
    Kind.AGENT_EVENT: {"EventId": "example", "EventType": "STATE_CHANGE", "AgentARN": "example"},
    Kind.CONTACT_LENS_SEGMENT: {"Version": "1.0.0", "ContactId": "example", "EventType": "SEGMENTS"},
    Kind.OTHER: {},
}


def failing_examples(table: RouteTable) -> Iterator[Fault]:
    """Yield a fault for every example that the routes do not treat as it says, or that is missing."""
    decoder = Decoder(table.paths)
    for route in table.routes:
        for number, example in enumerate(route.examples):
            fault = _fault_of(example, route, decoder, table)
            if fault is not None:
                yield Fault(f"route {route.name!r}: examples[{number}]", fault)
        yield from (Fault(f"route {route.name!r}: examples", missing) for missing in _missing(route))


def _fault_of(example: Example, route: Route, decoder: Decoder, table: RouteTable) -> str | None:
    document = msgspec.json.encode({**_DISCRIMINATORS[example.kind], **example.record})
    _, (record,) = decoder.decode(event_of_documents([document]))
    if record.kind != example.kind:
        return f"expected a record of kind {example.kind}, got {record.kind} ({example.says})"
    takes = route in table.routes_for(record)
    if takes == example.takes:
        return None
    if takes:
        return f"expected the route not to take it, but it does ({example.says})"
    misses = "; ".join(route.misses(example.kind, record.fields))
    return f"expected the route to take it ({example.says}): {misses}"


def _missing(route: Route) -> Iterator[str]:
    if route.kinds and not any(example.takes for example in route.examples):
        yield "expected one that the route takes (takes = true), got none"
    if route.pattern is not None and all(example.takes for example in route.examples):
        yield "expected a near miss that the route does not take (takes = false), got none"
