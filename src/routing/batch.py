"""Batch: routed records -> the records of one route, kind and date, in stream order.

Two routes never share a batch, so two keys never share an object.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from routing.model import Kind, Record, RouteName
from routing.reasons import Reason
from routing.report import Report
from routing.routes import Limits, Route

type Routed = tuple[Record, tuple[Route, ...]]
"""A record with the routes that it takes; none if the `unmatched` policy drops it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What becomes one object: at least one record, all of one route, kind and date."""

    route: Route
    kind: Kind | Reason
    date: str
    records: Sequence[Record]


def segments(records: Sequence[Record], limits: Limits) -> Iterator[Sequence[Record]]:
    """Cut the records of an invocation into the runs that are committed one after the other.

    The limits cut here and not inside a route: an object is named by its first record, and only a commit
    makes the next first record certain. Objects cut within one commit would leave strays behind when
    Lambda cuts the batch differently the next time. The records of one aggregate stay together, since
    they share the sequence number that a watermark can name; one beyond the limits passes alone.
    """
    if len(records) <= limits.records and sum(len(r.data) for r in records) <= limits.plain_bytes:
        yield records
        return
    segment: list[Record] = []
    plain_bytes = 0
    for _, parts in groupby(records, key=attrgetter("position")):
        together = list(parts)
        size = sum(len(record.data) for record in together)
        is_full = len(segment) + len(together) > limits.records or plain_bytes + size > limits.plain_bytes
        if segment and is_full:
            yield segment
            segment, plain_bytes = [], 0
        segment += together
        plain_bytes += size
    yield segment


def group(routed: Sequence[Routed], watermarks: Mapping[RouteName, int], report: Report) -> list[Batch]:
    """Group what no earlier invocation has committed; count what is dropped and what is skipped.

    Args:
        routed: In stream order.
        watermarks: The last position committed per route; a route without one has committed nothing.
        report: Gains the counts; what is dropped counts with the commit.

    Returns:
        Batches in the order of their first records.
    """
    groups: dict[tuple[RouteName, Kind | Reason, str], tuple[Route, list[Record]]] = {}
    pairs = 0
    committed = max(watermarks.values(), default=-1)  # a drop has no watermark of its own, but the furthest covers it
    for record, routes in routed:
        pairs += len(routes)
        if not routes and record.position > committed:
            report.to_drop[record.kind] += 1
        for route in routes:
            if record.position <= watermarks.get(route.name, -1):
                report.of(route.name).skipped += 1
                continue
            place = (route.name, record.kind, route.partition.date_of(record))
            if (existing := groups.get(place)) is not None:
                existing[1].append(record)
            else:
                groups[place] = (route, [record])
    report.attempted += len(routed)
    report.pairs += pairs
    return [Batch(route, kind, date, records) for (_, kind, date), (route, records) in groups.items()]
