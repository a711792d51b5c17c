"""The pipeline: one Lambda event -> objects under each route's key, and a report.

`process` is the program in reading order; every stage is a file of its own beside this one. What touches
the world comes in as a `Sink` and a `Checkpoint`.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from routing.batch import group, segments
from routing.decode import Decoder
from routing.deliver import Sink, deliver
from routing.errors import CheckpointError
from routing.model import Record, RouteName, SequenceNumber, Shard
from routing.render import render
from routing.report import Report
from routing.routes import RouteTable


class Claim(Protocol):
    """The row of a shard, held by this invocation alone."""

    @property
    def watermarks(self) -> Mapping[RouteName, int]:
        """The last position committed, per route."""

    def commit(self, delivered: Mapping[RouteName, SequenceNumber], *, release: bool) -> None:
        """Move watermarks forward, and let go of the row if `release`.

        Raises:
            CheckpointError: The claim is lost or the table cannot be written.
        """


class Checkpoint(Protocol):
    """One row per shard with a watermark per route."""

    def claim(self, shard: Shard) -> AbstractContextManager[Claim]:
        """Hold the row until it is released or the block ends.

        Raises:
            CheckpointError: Another invocation holds it, or the table cannot be written.
        """


def process(
    event: Mapping[str, object], *, decoder: Decoder, table: RouteTable, sink: Sink, checkpoint: Checkpoint
) -> Report:
    """Deliver every record of an event to every route that it takes, once.

    A segment is committed after its objects have landed, so a crash in between repeats puts and loses
    nothing; the names of objects and the watermarks turn the repetition into the same objects.

    Returns:
        The report; its `response()` tells Lambda what to send again.

    Raises:
        EventError: The event is not what Lambda sends for one Kinesis shard.
        AccountingError: A bug; nothing more is committed.
    """
    shard, records = decoder.decode(event)
    report = Report(received=len(records))
    if shard is None:
        return report
    first = records[0].sequence_number
    try:
        with checkpoint.claim(shard) as claim:
            for segment in segments(records, table.limits):
                first = segment[0].sequence_number
                routed = [(record, table.routes_for(record)) for record in segment]
                batches = group(routed, claim.watermarks, report)
                objects = [render(batch, shard) for batch in batches]
                outcomes = deliver(objects, table, sink)
                report.check(outcomes)
                failed = {outcome.rendered.route for outcome in outcomes if outcome.is_failed}
                delivered = _ahead(claim.watermarks, segment[-1], set(table.names) - failed)
                with report.settling(outcomes):
                    claim.commit(delivered, release=bool(failed) or segment[-1] is records[-1])
                if failed:
                    report.failed_from = first
                    break
    except CheckpointError as err:
        report.fail(first, err.reason, str(err))
    return report


def _ahead(
    watermarks: Mapping[RouteName, int], last: Record, names: Iterable[RouteName]
) -> dict[RouteName, SequenceNumber]:
    """Return the new watermarks, of the routes only that move forward: a batch may come from long ago."""
    return {name: last.sequence_number for name in names if last.position > watermarks.get(name, -1)}
