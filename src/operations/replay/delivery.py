"""The delivery of records that are read again, from a batch or the stream, to the routes that lack them."""

import gzip
from collections.abc import Sequence
from contextlib import suppress
from copy import replace

from operations.replay.context import ReplayContext, why_failed
from operations.replay.replayed import Replayed
from routing import layout
from routing.errors import RecordError
from routing.model import Record, Shard
from routing.reasons import UNDECODABLE
from routing.stages.progress import Claim
from routing.stored import dead_letter
from routing.stored.coverage import StoredRecords, is_within
from routing.stored.objects import StoredObject, is_by
from routing.stored.runs import Narrowed, runs
from routing.table.routes import DEAD_LETTER_ROUTE, Route


def deliver_missing(
    context: ReplayContext,
    shard: Shard,
    records: Sequence[Record],
    where: str,
    *,
    is_settled: bool,
    is_issued: bool = True,
    is_of_stream: bool = True,
) -> Replayed:
    """Deliver what is not stored yet, under the claim of the shard.

    Where nobody can tell whether the stream has issued the records, no watermark goes beyond the furthest.
    """
    with context.claim(shard) as claim:
        to_come = 0
        if not is_settled:
            reached = min(claim.watermarks.get(name, -1) for name in context.table.names)
            passed = [record for record in records if record.position <= reached]
            to_come, records = len(records) - len(passed), passed
        if not records:
            return Replayed(key=where, to_come=to_come)
        claim.begin_replay(records[0].position, records[-1].position)
        around = context.around(shard, records, claim)
        stored = StoredRecords(
            around,
            _with_neighbours(context, shard, records, around),
            context.table,
            *_waiting(context, shard, records, claim),
            trusts_what_reaches_beyond=is_of_stream,
        )

        def is_beside(record: Record) -> bool:
            return stored.waits(record) or stored.is_erased(record)

        def is_missing(record: Record, route: Route) -> bool:
            return not (is_beside(record) or stored.holds(record, route))

        missing = Narrowed(context.table, is_missing)
        # An object of a delivery holds all of a position. Where a part of an aggregate waits, the others are put
        # beside it, and so is what an object reaches over without holding it.
        divided = {
            record.position
            for record in records
            if is_beside(record) or any(stored.is_hole(record, route) for route in context.table.routes_for(record))
        }
        whole = Narrowed(context.table, lambda r, route: r.position not in divided and is_missing(r, route))
        doubtful = sum(
            stored.is_unsure(record, route)
            for record in records
            if not is_beside(record)
            for route in context.table.routes_for(record)
        )
        replayed = Replayed(
            key=where,
            records=sum(len(missing.routes_for(record)) for record in records),
            waiting=sum(map(stored.waits, records)),
            to_come=to_come,
            blocked_by=(
                f"{doubtful} records are in the range of objects that other routes or other code have put; compare "
                "them by hand"
                if doubtful
                else ""
            ),
        )
        if not context.applies:
            return replayed
        parts = [record for record in records if record.position in divided]
        if blocked_by := context.deliver_beside(shard, parts, missing, shard.shard_id):
            return replace(replayed, blocked_by=blocked_by)
        limit = None if is_issued else max(claim.watermarks.values(), default=-1)
        for run in runs(records, context.table, whole, around):
            report = context.redeliver(claim, shard, run, whole, watermark_limit=limit)
            if report.failed_from:
                return replace(replayed, blocked_by=why_failed(report))
        return replayed


def _with_neighbours(
    context: ReplayContext, shard: Shard, records: Sequence[Record], objects: Sequence[StoredObject]
) -> Sequence[Record]:
    """Return records with those before and behind them that objects of other code hold, if the stream has them.

    Only an object whose records are all known can be compared, and other code may have left some of them out.
    """
    beyond = [
        one
        for one in objects
        if not (one.is_single or is_by(one, context.table) or is_within(one, records))
        and one.routes == context.table.origin["routes"]
    ]
    if not beyond:
        return records
    first = min(records[0].position, *(one.name.first for one in beyond))
    last = max(records[-1].position, *(one.last for one in beyond))
    found: list[Record] = []
    for event in context.stream.between(shard.shard_id, first, last):
        found += context.decoder.decode(event)[1]
    return found if found and found[-1].position >= records[-1].position else records


def _waiting(
    context: ReplayContext, shard: Shard, records: Sequence[Record], claim: Claim
) -> tuple[set[tuple[int, bytes]], set[int]]:
    """Return what can be decoded now and is, or was, a dead letter: position and bytes; positions of the erased.

    Names do not tell which records a dead letter holds, so it is read.
    """
    dates = {DEAD_LETTER_ROUTE.partition.of(record) for record in records if record.failure is None}
    places = {(layout.DEAD_LETTER, reason, date) for reason in UNDECODABLE for date in dates}
    waiting: set[tuple[int, bytes]] = set()
    erased: set[int] = set()
    for letter in context.settled(shard, places, records, claim) if places else ():
        if is_by(letter, context.table):  # the deployed code cannot decode them
            continue
        for line in map(dead_letter.read_line, gzip.decompress(context.bucket.get(letter.name.key).body).splitlines()):
            if line.is_erased:
                erased.add(int(line.sequence_number))
                continue
            with suppress(RecordError):
                waiting.update((record.position, record.data) for record in context.decoder.decode_letter(line))
    return waiting, erased
