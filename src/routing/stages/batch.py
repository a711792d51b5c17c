"""Batch: routed records -> the records of one route, kind and partition, in stream order.

Two routes never share a batch, so two keys never share an object.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from msgspec import Struct

from routing.model import Kind, Record, RouteName
from routing.reasons import Reason
from routing.table.routes import Limits, Route

type Routed = tuple[Record, tuple[Route, ...]]
"""A record with the routes that it takes; none if the `unmatched` policy drops it."""


class Batch(Struct, frozen=True):
    """What becomes one object: at least one record, all of one route, kind and partition, e.g. `date=2026-03-02`."""

    route: Route
    kind: Kind | Reason
    partition: str
    records: Sequence[Record]


class Grouping(Struct, frozen=True, kw_only=True):
    """What the records of one commit come to.

    Attributes:
        batches: In the order of their first records.
        attempted: Records that were routed.
        pairs: (record, route) pairs of them.
        skipped: Pairs that an earlier invocation has committed, by route.
        dropped: Records that the `unmatched` policy drops, by kind.
    """

    batches: list[Batch]
    attempted: int
    pairs: int
    skipped: Counter[RouteName]
    dropped: Counter[Kind | Reason]


def first_segment(records: Sequence[Record], limits: Limits) -> Sequence[Record]:
    """Return the records, from the first on, that one commit may cover.

    The limits cut here and not inside a route: an object is named by its first record, and only a commit
    makes the next first record certain. Objects cut within one commit would leave strays behind when
    Lambda cuts the batch differently the next time. The records of one aggregate stay together, since
    they share the sequence number that a watermark can name; one beyond the limits passes alone.
    """
    if len(records) <= limits.records and sum(len(r.data) for r in records) <= limits.plain_bytes:
        return records
    count = plain_bytes = 0
    for _, parts in groupby(records, key=attrgetter("position")):
        together = list(parts)
        plain_bytes += sum(len(record.data) for record in together)
        if count and (count + len(together) > limits.records or plain_bytes > limits.plain_bytes):
            break
        count += len(together)
    return records[:count]


def fitting(segment: Sequence[Record], grouping: Grouping, room: int) -> Sequence[Record]:
    """Return the records of a segment, from the first on, that make no more objects than there is room for.

    A batch of many partitions can make more objects than fit into an invocation; without this cut no try of it would
    ever be committed.

    Args:
        segment: The records that were grouped.
        grouping: What they come to.
        room: Objects, at least one position's however many it makes.
    """
    if len(grouping.batches) <= max(room, 1):
        return segment
    beyond = grouping.batches[max(room, 1)].records[0].position
    end = max(beyond, segment[0].position + 1)
    return [record for record in segment if record.position < end]


def group(routed: Sequence[Routed], watermarks: Mapping[RouteName, int]) -> Grouping:
    """Group what no earlier invocation has committed; count what is dropped and what is skipped.

    Args:
        routed: In stream order.
        watermarks: The last position committed per route; a route without one has committed nothing.
    """
    groups: dict[tuple[RouteName, Kind | Reason, str], tuple[Route, list[Record]]] = {}
    skipped: Counter[RouteName] = Counter()
    dropped: Counter[Kind | Reason] = Counter()
    pairs = 0
    committed = max(watermarks.values(), default=-1)  # a drop has no watermark of its own, but the furthest covers it
    for record, routes in routed:
        pairs += len(routes)
        if not routes and record.position > committed:
            dropped[record.kind] += 1
        for route in routes:
            if record.position <= watermarks.get(route.name, -1):
                skipped[route.name] += 1
                continue
            place = (route.name, record.kind, route.partition.of(record))
            if (existing := groups.get(place)) is not None:
                existing[1].append(record)
            else:
                groups[place] = (route, [record])
    batches = [Batch(route, kind, partition, records) for (_, kind, partition), (route, records) in groups.items()]
    return Grouping(batches=batches, attempted=len(routed), pairs=pairs, skipped=skipped, dropped=dropped)
