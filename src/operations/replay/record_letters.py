"""Dead letters of records: what could not be decoded is decoded again, and delivered where it is lacking."""

import gzip
from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass

from aws.bucket import FetchedObject
from aws.checkpoint import NoCheckpoint
from aws.inventory import Listed
from operations.replay.context import SECONDS_UNTIL_NOTHING_LANDS, STILL_TRIED, ReplayContext
from operations.replay.replayed import Replayed
from routing import layout
from routing.errors import RecordError
from routing.layout import HANDED_OVER
from routing.model import FencingToken, Record, RenderedObject, Shard
from routing.stages.progress import Claim
from routing.stored import dead_letter
from routing.stored.coverage import lacks
from routing.stored.object_format import FENCING, gzipped
from routing.stored.objects import StoredObject, place_of
from routing.stored.runs import Narrowed
from routing.table.routes import RouteTable


@dataclass(frozen=True)
class RecordLetters:
    """Replays what waits below `dead-letter/records/`."""

    context: ReplayContext

    def replay(self, listed: Listed, *, now: float) -> Replayed:
        """Decode the records of a dead letter again, and deliver them if all of them can be read now.

        They have lost their place in the objects of their shard: each position becomes an object of its own,
        named by the dead letter, so that another try makes the same names.

        Args:
            listed: Below `dead-letter/records/`.
            now: Seconds since 1970.
        """
        name = listed.name
        if name is None:
            return Replayed(key=listed.key, blocked_by="expected a name that the function makes; look at it by hand")
        if now - listed.modified_at <= SECONDS_UNTIL_NOTHING_LANDS:
            return Replayed(key=listed.key, blocked_by="younger than an hour: an invocation may still be writing it")
        shard = name.shard_beside(self.context.stream.arn)
        with self.context.reporting(listed.key) as outcomes, self.context.claim(shard) as claim:
            if self.context.may_change(claim, name):
                return Replayed(key=listed.key, blocked_by=STILL_TRIED)
            letter = self.context.inventory.look_at(name)
            if letter is not None and letter.record_count and name.key not in claim.intents:
                outcomes.append(self._replay_records(letter, shard, claim))
            else:  # gone, or an earlier try that is emptied or has to be
                if self.context.applies:
                    self.context.empty_leftovers(claim)
                outcomes.append(Replayed(key=listed.key))
        return outcomes[-1]

    def _replay_records(self, letter: StoredObject, shard: Shard, claim: Claim) -> Replayed:
        """Deliver the records of a dead letter that has been settled."""
        key, got = letter.name.key, self.context.bucket.get(letter.name.key)
        lines = [dead_letter.read_line(line) for line in gzip.decompress(got.body).splitlines()]
        replayed = Replayed(key=key, reason=str(letter.name.place[1]), records=len(lines))
        if any(line.shard != shard for line in lines):
            return replace(replayed, blocked_by="its lines name another shard than its key; look at it by hand")
        try:
            records = [r for line in lines if not line.is_erased for r in self.context.decoder.decode_letter(line)]
        except RecordError as err:
            return replace(replayed, blocked_by=f"still {err.reason}: {err}")
        if not records:  # all of it was erased
            return replace(replayed, records=0)
        if blocked_by := self._lagging(shard, records, claim):
            return replace(replayed, blocked_by=blocked_by)
        missing = self._lacking(letter, shard, records, claim)
        replayed = replace(replayed, records=sum(len(missing.routes_for(record)) for record in records))
        if not self.context.applies:
            return replayed
        blocked_by = self.context.deliver_beside(shard, records, missing, key)
        if not blocked_by:
            self._remove_letter(letter, got, claim.token)
        return replace(replayed, blocked_by=blocked_by)

    def _lagging(self, shard: Shard, records: Sequence[Record], claim: Claim) -> str:
        """Return why records are left, if a delivery may still bring them to a route that lags behind.

        A route without a watermark is new: only a mapping made anew would bring it the past.
        """
        if isinstance(self.context.checkpoint, NoCheckpoint):
            return ""
        behind = {
            route.name
            for record in records
            for route in self.context.table.routes_for(record)
            if record.position > claim.watermarks.get(route.name, record.position)
        }
        batches = (f"{HANDED_OVER}{mapping}/{shard.shard_id}/" for mapping in self.context.mappings)
        if not behind or not any(next(self.context.inventory.below(batch), None) for batch in batches):
            return ""
        return f"{', '.join(sorted(behind))} has not reached its records yet; replay what Lambda gave up on first"

    def _remove_letter(self, letter: StoredObject, got: FetchedObject, token: FencingToken | None) -> None:
        """Remove a dead letter whose records are delivered, but for the lines of those that were erased.

        Raises:
            DeliveryError: Another object is stored there now, or its key refuses.
        """
        lines = [line for line in gzip.decompress(got.body).splitlines() if dead_letter.read_line(line).is_erased]
        if not lines:
            self.context.bucket.delete(letter.name.key, got.etag)
            return
        body, _, checksum = gzipped(lines, token)
        fencing = {} if token is None else {FENCING: str(token)}
        rest = RenderedObject(
            route=layout.DEAD_LETTER,
            kind=letter.name.place[1],
            key=letter.name.key,
            body=body,
            metadata={**got.metadata, "plain-crc32": f"{checksum:08x}", **fencing},
            record_count=len(lines),
            plain_bytes=0,
            oldest_arrived_at=0.0,
        )
        self.context.sink.replace(rest, got.etag)

    def _lacking(self, letter: StoredObject, shard: Shard, records: Sequence[Record], claim: Claim) -> RouteTable:
        """Return the routes that still lack records of a dead letter.

        Raises:
            LetterDoubtError: Nobody can tell.
        """
        found = self.context.around(shard, records, claim)
        lacking = {
            (route.name, index)
            for index, record in enumerate(records)
            for route in self.context.table.routes_for(record)
            if lacks(letter, record, place_of(record, route), found, self.context.table)
        }
        numbers = {id(record): index for index, record in enumerate(records)}
        return Narrowed(self.context.table, lambda record, route: (route.name, numbers[id(record)]) in lacking)
