"""The pipeline: one Lambda event -> objects under each route's key, and a report.

`process` is the program in reading order; every stage is a file of its own beside this one. What touches
the world comes in as a `Sink` and a `Checkpoint`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from routing.batch import Batch, group, segments
from routing.decode import Decoder
from routing.deliver import Sink, deliver
from routing.errors import CheckpointError, DeliveryError
from routing.model import ObjectKey, Record, RenderedObject, RouteName, RoutesDigest, SequenceNumber, Shard
from routing.progress import Claim
from routing.protect import Protector
from routing.render import render, render_empty, unprotected
from routing.report import Report
from routing.routes import RouteTable


class Checkpoint(Protocol):
    """Keeps the progress of every shard."""

    def claim(self, shard: Shard, routes: RoutesDigest) -> AbstractContextManager[Claim]:
        """Hold a shard until it is released or the block ends.

        Raises:
            CheckpointError: Another invocation holds it, or its progress cannot be kept.
        """


def process(
    event: Mapping[str, object],
    *,
    decoder: Decoder,
    table: RouteTable,
    protector: Protector,
    sink: Sink,
    checkpoint: Checkpoint,
) -> Report:
    """Deliver every record of an event to every route that it takes, once.

    Returns:
        The report; its `response()` tells Lambda what to send again.

    Raises:
        EventError: The event is not what Lambda sends for one Kinesis shard.
        AccountingError: A bug; nothing more is committed.
    """
    shard, records = decoder.decode(event)
    if shard is None:
        return Report()
    return fan_out(shard, records, table=table, protector=protector, sink=sink, checkpoint=checkpoint)


def fan_out(
    shard: Shard,
    records: Sequence[Record],
    *,
    table: RouteTable,
    protector: Protector,
    sink: Sink,
    checkpoint: Checkpoint,
    is_replay: bool = False,
) -> Report:
    """Deliver the records of a shard, at least one, to every route that they take, once.

    A segment is committed after its objects have landed, so a crash in between repeats puts and loses
    nothing. The next try makes the same names, or finds the names in the claim's intents and empties what
    it does not make again; so whatever way the batch is cut then, each record stands once.

    Args:
        shard: Where all records come from.
        records: In stream order.
        table: Which routes they take; that of a replay leaves out where they stand already.
        protector: Leaves of each record what its route may see.
        sink: Puts.
        checkpoint: Keeps the progress.
        is_replay: True to deliver also what the watermarks have passed, in a commit that is begun already.

    Raises:
        AccountingError: A bug; nothing more is committed.
    """
    report = Report(received=len(records))
    first = records[0].sequence_number
    try:
        with checkpoint.claim(shard, table.digest) as claim:
            for segment in segments(records, table.limits):
                first = segment[0].sequence_number
                if not is_replay:
                    claim.begin(segment[0].position, segment[-1].position)
                routed = [(record, table.routes_for(record)) for record in segment]
                batches = group(routed, {} if is_replay else claim.watermarks, report)
                objects, refused = _rendered(batches, shard, claim, table, protector)
                objects += _strays(claim, objects, table)
                with report.settling(objects) as settlement:
                    settlement.take(deliver(objects, table, sink, claim.intend, refused))
                    unsettled = settlement.unsettled
                    delivered = _ahead(claim.watermarks, segment[-1], set(table.names) - unsettled)
                    kept = settlement.kept | _out_of_reach(claim, table)
                    is_last = bool(unsettled) or segment[-1] is records[-1]
                    claim.commit(delivered, unsettled, kept, release=is_last)
                if unsettled:
                    report.failed_from = first
                    break
    except CheckpointError as err:
        report.fail(first, err.reason, str(err))
    return report


def _rendered(
    batches: Iterable[Batch], shard: Shard, claim: Claim, table: RouteTable, protector: Protector
) -> tuple[list[RenderedObject], dict[ObjectKey, DeliveryError]]:
    """Protect and render batches; return those as well whose protection has no usable key, and why.

    Such an object holds records that its route may not see: it never goes to its place, only to the dead
    letters, from where a replay protects it.
    """
    objects: list[RenderedObject] = []
    refused: dict[ObjectKey, DeliveryError] = {}
    for batch in batches:
        try:
            objects.append(render(protector.batch(batch), shard, claim.token, table.digest))
        except DeliveryError as err:
            objects.append(unprotected(render(batch, shard, claim.token, table.digest)))
            refused[objects[-1].key] = err
    return objects, refused


def _strays(claim: Claim, objects: Iterable[RenderedObject], table: RouteTable) -> list[RenderedObject]:
    """Return an empty object for each name that an earlier try may have used and this one does not.

    Nothing is deleted: what stands there also shuts out a put of a killed invocation that is still to land.
    """
    made = {rendered.key for rendered in objects}
    return [
        render_empty(key, owner, claim.token)
        for key, owner in claim.intents.items()
        if key not in made and table.owns(key, owner)
    ]


def _out_of_reach(claim: Claim, table: RouteTable) -> frozenset[ObjectKey]:
    """Return the names of routes or prefixes that the table no longer has: they wait for a table that has them."""
    return frozenset(key for key, owner in claim.intents.items() if not table.owns(key, owner))


def _ahead(
    watermarks: Mapping[RouteName, int], last: Record, names: Iterable[RouteName]
) -> dict[RouteName, SequenceNumber]:
    """Return the new watermarks, of the routes only that move forward: a batch may come from long ago."""
    return {name: last.sequence_number for name in names if last.position > watermarks.get(name, -1)}
