"""Explain records: which routes each takes and why not the others, by the function's own code."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from routing.lambda_event import event_in
from routing.model import Record
from routing.protection.preview import PreviewVault
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.table.operators import kind_of
from routing.table.pattern import Show
from routing.table.routes import Route, RouteTable

# What tells a record's kind (routing/stages/decode.py), for people.
KIND_HINT = (
    "a contact record has ContactId and AWSContactTraceRecordFormatVersion, "
    "an agent event EventId, EventType and AgentARN, a segment Version, ContactId and EventType or StreamingEventType"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of one record; it holds no value of it unless that was asked for.

    Attributes:
        source: Where it was read from, e.g. a file's name.
        number: Its place there, from 1.
        kind: The kind of the record; None if it cannot be decoded.
        routes: The routes that it takes, by name.
        prefixes: Where its objects would stand, one for each route; `date=(arrival)` if only that decides.
        misses: By name of each other route, what keeps the record from it.
        is_dropped: True if the `unmatched` policy drops it.
        reason: Of a record that would be dead-lettered, the reason code.
        detail: What is wrong with a record that becomes a dead letter; empty otherwise.
    """

    source: str
    number: int
    kind: str | None
    routes: tuple[str, ...]
    prefixes: tuple[str, ...]
    misses: dict[str, tuple[str, ...]]
    is_dropped: bool
    reason: str | None
    detail: str | None

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return asdict(self)


def explain(data: bytes, source: str, table: RouteTable, show: Show = kind_of) -> Iterator[Explanation]:
    """Explain a single record, JSON Lines, or a whole Lambda event.

    Args:
        data: What was read.
        source: From where.
        table: The routes.
        show: What is shown of a value that keeps a record from a route; by default its type.

    Raises:
        EventError: It is a Lambda event, but not one of a Kinesis shard.
    """
    event, has_arrivals = event_in(data)
    _, records = Decoder(table.paths).decode(event)
    for number, record in enumerate(records, start=1):
        takes = table.routes_for(record)
        taken = [route for route in table.all_routes if route in takes]
        others = [route for route in table.routes if route.kinds and route not in takes and not record.failure]
        yield Explanation(
            source=source,
            number=number,
            kind=None if record.failure else record.kind,
            routes=tuple(route.name for route in taken),
            prefixes=tuple(_prefix(route, record, has_arrivals=has_arrivals) for route in taken),
            misses={route.name: route.misses(record.kind, record.fields, show) for route in others},
            is_dropped=not taken,
            reason=record.kind if record.failure else None,
            detail=record.failure,
        )


def seen_by(route: Route, data: bytes, table: RouteTable) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield each record that can be decoded, and what a route would see of it; None if the route does not take it.

    Tokens and sealed values are stand-ins: no key is asked for.

    Raises:
        EventError: It is a Lambda event, but not one of a Kinesis shard.
    """
    protector = Protector(PreviewVault(), "preview")
    _, records = Decoder(table.paths).decode(event_in(data)[0])
    for record in records:
        if not record.failure:
            takes = route in table.routes_for(record)
            yield record.data, protector.line(route, record.kind, record.data) if takes else None


def _prefix(route: Route, record: Record, *, has_arrivals: bool) -> str:
    partition = route.partition.of(record) if has_arrivals else route.partition.shown(record)
    return f"{route.prefix}/{record.kind}/{partition}/"
