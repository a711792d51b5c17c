"""The pipeline: one Lambda event -> objects under each route's key, and a report.

`process` is the program in reading order; every stage is a file of its own in `stages/`. What touches the world
comes in as a `Sink` and a `Checkpoint`. docs/glossary.md explains the terms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import replace
from typing import Protocol

from routing.errors import CheckpointError, DeliveryError, StreamError
from routing.model import ObjectKey, Record, RenderedObject, RouteName, SequenceNumber, Shard
from routing.reasons import Reason
from routing.stages.batch import Batch, Grouping, first_segment, fitting, group
from routing.stages.decode import Decoder
from routing.stages.deliver import Sink, deliver
from routing.stages.progress import Claim, Routes, Watermarks
from routing.stages.protect import Protector
from routing.stages.render import render, render_empty, unprotected
from routing.stages.report import Report, Settlement
from routing.table.routes import RouteTable

type Admit = Callable[[Shard, SequenceNumber], None]
"""Raises EventError unless a shard of this stack's stream has issued a sequence number; StreamError if it cannot tell."""


class Checkpoint(Protocol):
    """Keeps the progress of every shard."""

    def claim(self, shard: Shard, routes: Routes) -> AbstractContextManager[Claim]:
        """Claim a shard until it is released or the block ends.

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
    admit: Admit = lambda _shard, _number: None,
) -> Report:
    """Deliver every record of an event to every route that it takes, once.

    Returns:
        The report; its `response()` tells Lambda what to send again.

    Raises:
        EventError: The event is not what Lambda sends for one shard of this stack's stream.
        AccountingError: A bug; nothing more is committed.
    """
    shard, records = decoder.decode(event)
    if shard is None:
        return Report()
    return fan_out(shard, records, table=table, protector=protector, sink=sink, checkpoint=checkpoint, admit=admit)


def fan_out(
    shard: Shard,
    records: Sequence[Record],
    *,
    table: RouteTable,
    protector: Protector,
    sink: Sink,
    checkpoint: Checkpoint,
    admit: Admit = lambda _shard, _number: None,
) -> Report:
    """Deliver the records of a shard, at least one, to every route that they take, once.

    A segment is committed after its objects have landed, so a crash in between repeats puts and loses
    nothing. The next try makes the same names, or finds the names in the claim's intents and empties what
    it does not make again; so whatever way the batch is cut then, each record is stored once.

    Args:
        shard: Where all records come from.
        records: In stream order.
        table: Which routes they take.
        protector: Leaves of each record what its route may see.
        sink: Puts.
        checkpoint: Keeps the progress.
        admit: Refuses records that the stream has not issued: a watermark beside them would hide what it issues
            later.

    Raises:
        EventError: The stream has not issued the records, or not what the watermarks have passed.
        AccountingError: A bug; nothing more is committed.
    """
    report = Report(received=len(records))
    first = records[0].sequence_number
    try:
        admit(shard, records[-1].sequence_number)
        with checkpoint.claim(shard, table) as claim:

            def watermarks(segment: Sequence[Record]) -> Watermarks:
                claim.begin(segment[0].position, segment[-1].position)
                return claim.watermarks

            left = records
            while left:
                first, room = left[0].sequence_number, sink.room()
                if not room and left is not records:
                    report.fail(
                        first, Reason.OUT_OF_TIME, "no time left for the rest of the batch; Lambda sends it again"
                    )
                    break
                segment, grouping = _next_commit(left, watermarks, table, room)
                left = left[len(segment) :]
                if grouping.skipped and not grouping.batches:
                    admit(shard, _furthest(claim.watermarks, records[-1]))
                report.take(grouping)
                objects, refused = _objects(grouping, claim, shard=shard, table=table, protector=protector)
                with report.settling(objects) as settlement:
                    settlement.take(deliver(objects, table, sink, claim.intend, refused))
                    unsettled = settlement.unsettled
                    delivered = _ahead(claim.watermarks, segment[-1], set(table.names) - unsettled)
                    kept = _kept(claim, table, settlement)
                    is_last = bool(unsettled) or settlement.has_postponed or not left
                    claim.commit(
                        delivered,
                        kept,
                        is_partial=bool(unsettled),
                        ends_trial=True,
                        emptied=settlement.emptied,
                        release=is_last,
                    )
                if unsettled or settlement.has_postponed:
                    report.failed_from = first
                    report.is_too_long = _is_out_of_time(settlement) and first == records[0].sequence_number
                    break
    except CheckpointError as err:
        report.fail(first, err.reason, str(err))
    except StreamError as err:
        report.fail(first, Reason.UNAVAILABLE, str(err))
    return report


def redeliver(
    claim: Claim,
    shard: Shard,
    records: Sequence[Record],
    *,
    table: RouteTable,
    protector: Protector,
    sink: Sink,
    watermark_limit: int | None = None,
    name_suffix: str = "",
) -> Report:
    """Deliver records again under a claim that is held, whatever its watermarks have passed.

    A segment is committed only if every route has settled it. Otherwise its names remain intents: they count as
    not delivered, and the next replay, or the next delivery of the shard, settles them. A partial commit would
    make them part of a trial of later records, whose next try would empty them.

    Args:
        claim: Of the shard; it is begun already and is not released here.
        shard: Where all records come from.
        records: In stream order.
        table: Which routes they take; it leaves out where they are already.
        protector: Leaves of each record what its route may see.
        sink: Puts.
        watermark_limit: The position behind which no watermark moves, if the mapping may still send records before
            these; None if it sends none.
        name_suffix: Identifies the objects beside those of the shard's deliveries; without one they are named as
            a delivery names them.

    Raises:
        CheckpointError: The claim was lost or cannot be saved.
        AccountingError: A bug; nothing more is committed.
    """
    report = Report(received=len(records))
    left = records
    while left:
        first = left[0].sequence_number
        segment, grouping = _next_commit(left, lambda _: {}, table, sink.room())
        left = left[len(segment) :]
        report.take(grouping)
        objects, refused = _objects(
            grouping, claim, shard=shard, table=table, protector=protector, name_suffix=name_suffix
        )
        with report.settling(objects) as settlement:
            settlement.take(deliver(objects, table, sink, claim.intend, refused))
            if not settlement.unsettled:
                delivered = _ahead(claim.watermarks, segment[-1], table.names, watermark_limit)
                claim.commit(delivered, _kept(claim, table, settlement), release=False)
        if settlement.unsettled or settlement.has_postponed:
            report.failed_from = first
            break
    return report


def _next_commit(
    left: Sequence[Record], watermarks: Callable[[Sequence[Record]], Watermarks], table: RouteTable, room: int
) -> tuple[Sequence[Record], Grouping]:
    """Return the records that the next commit covers, and what they come to.

    Args:
        left: What is not committed yet, at least one record.
        watermarks: How far the routes are, for a commit of these records.
        table: Which routes they take.
        room: How many objects there is time for.
    """
    segment = first_segment(left, table.limits)
    while True:
        grouping = group([(record, table.routes_for(record)) for record in segment], watermarks(segment))
        shorter = fitting(segment, grouping, room)
        if len(shorter) == len(segment):
            return segment, grouping
        segment = shorter


def _objects(
    grouping: Grouping,
    claim: Claim,
    *,
    shard: Shard,
    table: RouteTable,
    protector: Protector,
    name_suffix: str = "",
) -> tuple[list[RenderedObject], dict[ObjectKey, DeliveryError]]:
    """Return the objects that a commit covers, ready to be put, and those of them that cannot be protected."""
    objects, refused = _rendered(
        grouping.batches, claim, shard=shard, table=table, protector=protector, name_suffix=name_suffix
    )
    objects += _strays(claim, objects, table)
    if known := claim.intents:
        objects = [replace(one, may_exist=True) if one.key in known else one for one in objects]
    return objects, refused


def _rendered(
    batches: Iterable[Batch],
    claim: Claim,
    *,
    shard: Shard,
    table: RouteTable,
    protector: Protector,
    name_suffix: str,
) -> tuple[list[RenderedObject], dict[ObjectKey, DeliveryError]]:
    """Protect and render batches; return those as well whose protection has no usable key, and why.

    Such an object holds records that its route may not see: it is never put in its place, only below the dead
    letters, from where a replay protects it.
    """
    objects: list[RenderedObject] = []
    refused: dict[ObjectKey, DeliveryError] = {}
    for batch in batches:
        try:
            objects.append(render(protector.batch(batch), shard, claim.token, table.origin, name_suffix))
        except DeliveryError as err:
            objects.append(unprotected(render(batch, shard, claim.token, table.origin, name_suffix)))
            refused[objects[-1].key] = err
    return objects, refused


def _strays(claim: Claim, objects: Iterable[RenderedObject], table: RouteTable) -> list[RenderedObject]:
    """Return an empty object for each name that an earlier try may have used and this one does not.

    Nothing is deleted: the empty object also keeps out a put of a killed invocation that is still to land.
    """
    made = {rendered.key for rendered in objects}
    return [
        render_empty(key, owner, claim.token)
        for key in sorted(claim.intents)
        if key not in made and (owner := table.owner_of(key)) is not None
    ]


def _kept(claim: Claim, table: RouteTable, settlement: Settlement) -> frozenset[ObjectKey]:
    """Return the intents that outlive a commit.

    They are those of routes that have not settled, but for what has been emptied; those that their key refuses to
    write; and those of prefixes that no route has any more, which wait for a table that has them.
    """
    waiting = {*settlement.unsettled, None}
    unfinished = claim.intents - settlement.emptied
    return settlement.kept.union(key for key in unfinished if table.owner_of(key) in waiting)


def _is_out_of_time(settlement: Settlement) -> bool:
    """Return True if time ran out before every record had landed; names to empty do not count."""
    failed = (outcome.trouble for outcome in settlement.outcomes if outcome.is_failed)
    return any(trouble is not None and trouble.reason is Reason.OUT_OF_TIME for trouble in failed)


def _furthest(watermarks: Watermarks, beside: Record) -> SequenceNumber:
    """Return the furthest watermark, spelled as wide as a number of the same shard."""
    return SequenceNumber(str(max(watermarks.values())).zfill(len(beside.sequence_number)))


def _ahead(
    watermarks: Watermarks, last: Record, names: Iterable[RouteName], limit: int | None = None
) -> dict[RouteName, SequenceNumber]:
    """Return the new watermarks, of the routes only that move forward: a batch may come from long ago."""
    position = last.position if limit is None else min(last.position, limit)
    return {name: SequenceNumber(str(position)) for name in names if position > watermarks.get(name, -1)}
