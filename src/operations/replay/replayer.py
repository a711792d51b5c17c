"""Replay: deliver what waits below `dead-letter/` or `aws/lambda/`, or is still in the stream.

Everything is done under the claim of its shard, as a delivery is, so that no delivery and no other replay
runs beside it. Records that are stored already are left out, so that a second replay changes nothing. Nothing is
removed before its content has been seen in its place.
"""

import gzip
import json
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.inventory import Inventory, Listed
from aws.s3_sink import S3Sink
from aws.settings import Settings
from operations.claims import patient_claim, read_only_claim
from routing import layout
from routing.errors import CtrFanoutError, DeliveryError, RecordError
from routing.layout import HANDED_OVER
from routing.model import FencingToken, ObjectKey, Record, RenderedObject, RouteName, Shard
from routing.pipeline import redeliver
from routing.reasons import UNDECODABLE
from routing.stages.decode import Decoder
from routing.stages.progress import Claim, Progress
from routing.stages.protect import Protector
from routing.stages.render import render_empty
from routing.stages.report import Report
from routing.stored import dead_letter
from routing.stored.object_format import FENCING, NAMED_BY, PROTECTION, RULES, Name, gzipped, read_name, with_token
from routing.stored.standing import Narrowed, Standing, Stored, is_by, is_within, lacks, place_of, runs, settled
from routing.table.routes import DEAD_LETTER_ROUTE, Route, RouteTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# An invocation lives for fifteen minutes at most; what it has sent cannot land an hour later.
_SECONDS_UNTIL_NOTHING_LANDS = 3600
_STILL_TRIED = "its batch is still being tried; it is settled with the next try"
# What the metadata of a dead letter has beside those of the object that it will be.
_OF_A_LETTER = frozenset({"reason", "intended-key", FENCING, PROTECTION})


class Stream(Protocol):
    """The stream whose records are replayed."""

    @property
    def arn(self) -> str:
        """Its ARN."""

    def shards(self) -> list[str]:
        """Return the ids of the shards that can still be read."""

    def has_issued(self, shard_id: str, sequence_number: str) -> bool | None:
        """Return whether a shard has issued a sequence number; None if the stream no longer tells."""

    def between(self, shard_id: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Yield events of what a shard holds between two numbers; nothing if it does not hold the first any more."""

    def oldest(self, shard_id: str) -> str | None:
        """Return the first sequence number that a shard still holds; None if it holds none, or is gone."""


@dataclass(frozen=True, slots=True)
class _Got:
    """An object as it was read."""

    body: bytes
    metadata: dict[str, str]
    etag: str
    key_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of one thing that was to be replayed.

    Attributes:
        key: The object, or the range of the stream.
        route: Where it belongs; empty if to many routes.
        reason: Why it was there, e.g. `KmsKeyDisabled`; of a batch Lambda's condition.
        records: Pairs of record and route that it holds and that are not delivered yet.
        left: Why it is still there; empty if it was delivered, or would be.
        waiting: Records of it that wait as dead letters although they can be decoded now; their own replay delivers
            them.
        to_come: Records of the stream that some route has not reached: the function will deliver them.
    """

    key: str
    route: str = ""
    reason: str = ""
    records: int = 0
    left: str = ""
    waiting: int = 0
    to_come: int = 0


class Replayer:
    """Replays one thing after the other; with `applies` false it only reports what it would do."""

    def __init__(
        self,
        *,
        client: "S3Client",
        settings: Settings,
        table: RouteTable,
        decoder: Decoder,
        protector: Protector,
        sink: S3Sink,
        checkpoint: CheckpointTable | NoCheckpoint,
        inventory: Inventory,
        stream: Stream,
        mappings: Collection[str],
        applies: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use the collaborators of a delivery, the inventory, and what a batch has to come from.

        Args:
            client: Of S3.
            settings: Of the function.
            table: The deployed routes.
            decoder: Built for them.
            protector: Leaves of each record what its route may see.
            sink: Puts.
            checkpoint: Keeps the progress.
            inventory: Finds what is stored.
            stream: The stack's own.
            mappings: The UUIDs of the event source mappings whose batches are replayed.
            applies: False for a dry run.
            sleep: Waits for a claim.
        """
        self._client = client
        self._settings = settings
        self._table = table
        self._decoder = decoder
        self._protector = protector
        self._sink = sink
        self._checkpoint = checkpoint
        self._inventory = inventory
        self._stream = stream
        self._mappings = mappings
        self._applies = applies
        self._sleep = sleep

    # --- dead letters of objects ------------------------------------------------------------------------------

    def object_letter(
        self, listed: Listed, stream_arn: str, *, now: float, reason: str | None = None
    ) -> Replayed | None:
        """Move an object that its destination refused, byte for byte, to its place.

        Args:
            listed: Below `dead-letter/objects/`.
            stream_arn: Of the stream that its records came from, whose row is claimed.
            now: Seconds since 1970.
            reason: Only if it is one for this reason.

        Returns:
            None if it has another reason, or is no dead letter but an empty object, which is removed when it
            is an hour old: until then it keeps out what a killed invocation may have sent.
        """
        name = listed.name
        if name is None or name.key == name.intended:
            return Replayed(key=listed.key, left="the deployed routes have no such place; put it by hand")
        shard = name.shard_beside(stream_arn)
        is_old = now - listed.modified_at > _SECONDS_UNTIL_NOTHING_LANDS
        if not is_old and self._is_empty(name):  # most are, after a replay; no delivery has to wait for that
            return None
        with self._telling(listed.key) as told, self._held(shard) as claim:
            letter = next(iter(self._inventory.look([name])), None)
            if letter is None or (letter.is_letter and reason not in {None, letter.reason}):
                return None
            is_old = now - letter.modified_at > _SECONDS_UNTIL_NOTHING_LANDS
            if not letter.is_letter:
                if self._applies and is_old and name.key not in claim.intents:
                    self._remove(name.key, letter.etag)
                return None
            waiting = Replayed(
                key=name.key, route=name.place[0], reason=letter.reason or "", records=letter.record_count
            )
            if name.key in claim.intents and not self._may_change(claim, name):
                # A batch was settled without it, and it could not be emptied then: nothing of it is to be delivered.
                if self._applies:
                    self._empty_leftovers(claim)
                return None
            told.append(replace(waiting, left=self._settle(letter, claim, is_old=is_old)))
        return told[-1]

    def _is_empty(self, name: Name) -> bool:
        with suppress(ClientError, BotoCoreError):  # reported where it is looked at again
            return not any(found.is_letter for found in self._inventory.look([name]))
        return False

    def _settle(self, letter: Standing, claim: Claim, *, is_old: bool) -> str:
        """Move a dead letter, then empty or remove it; return why it is left, if it is."""
        if self._may_change(claim, letter.name):
            return _STILL_TRIED
        if not self._applies:
            return ""
        left, etag = self._move(letter, claim.token)
        if left:
            return left
        self._empty_leftovers(claim, letter.name.intended)
        if is_old or claim.token is None:
            self._remove(letter.name.key, etag)
            return ""
        return self._empty(letter, claim.token)

    def _move(self, letter: Standing, token: FencingToken | None) -> tuple[str, str]:
        """Put a dead letter to its place and see it there; return why it is left, if it is, and its ETag."""
        got = self._get(letter.name.key)
        kept = {name: value for name, value in got.metadata.items() if name not in _OF_A_LETTER}
        route = next(one for one in self._table.all_routes if one.name == letter.name.place[0])
        intended, body = letter.name.intended, with_token(got.body, token)
        is_protected_now = route.rules_digest != kept.get(RULES, "")
        if is_protected_now and RULES in kept:
            return "its route had other rules when it was made, and they cannot be undone; deal with it by hand", ""
        if is_protected_now:
            try:
                body, kept = self._protected(route, letter, got.body, kept, token)
            except DeliveryError as err:
                return str(err), ""
            if letter.is_content_named and NAMED_BY not in kept:
                # By what another try does not change, and what tells nothing of the records: sealing is randomised.
                intended = _renamed(intended, letter.numbers)
        moved = RenderedObject(
            route=route.name,
            kind=letter.name.place[1],
            key=intended,
            body=body,
            metadata=kept | ({} if token is None else {FENCING: str(token)}),
            record_count=letter.record_count,
            plain_bytes=0,
            oldest_arrived_at=0.0,
        )
        (error,) = self._sink.put_all([moved])
        if error is not None:
            return str(error), ""
        there = next(iter(self._inventory.look([replace(letter.name, key=intended)])), None)
        if (
            there is None
            or (there.record_count, there.numbers) != (letter.record_count, letter.numbers)
            or (there.checksum != kept["plain-crc32"] and not route.seals)
        ):
            return "another object is stored in its place; compare them by hand", ""
        return "", got.etag

    def _protected(
        self, route: Route, letter: Standing, body: bytes, metadata: Mapping[str, str], token: FencingToken | None
    ) -> tuple[bytes, dict[str, str]]:
        """Protect the lines of a dead letter as they came: its route had no usable key then, or no rules.

        Raises:
            DeliveryError: A key still cannot be used.
        """
        lines = gzip.decompress(body).splitlines()
        protected = [self._protector.line(route, letter.name.place[1], line) for line in lines]
        made, _, checksum = gzipped(protected, token)
        rules = {RULES: route.rules_digest} if route.rules else {}
        return made, {**metadata} | rules | {"plain-crc32": f"{checksum:08x}"}

    def _empty(self, letter: Standing, token: FencingToken | None) -> str:
        """Empty a dead letter that is moved: its name has to keep out a late put for an hour."""
        (error,) = self._sink.put_all([render_empty(letter.name.key, letter.name.place[0], token)])
        return "" if error is None else f"it is delivered, and still here: {error}"

    def _empty_leftovers(self, claim: Claim, moved: ObjectKey | None = None) -> None:
        """Empty names that no batch will empty any more, and forget the intent of what was moved.

        A delivery could not write them, because their key refused every put. The next delivery of the shard
        would; a closed shard has none.
        """
        leftovers = {
            key: owner
            for key in sorted(claim.intents)
            if key != moved
            and (owner := self._table.owner_of(key)) is not None
            and (name := read_name(key, self._table)) is not None
            and not claim.may_change(key, owner, name.first)
        }
        empties = [render_empty(key, owner, claim.token) for key, owner in leftovers.items()]
        errors = self._sink.put_all(empties) if empties else ()
        gone = {empty.key for empty, error in zip(empties, errors, strict=True) if error is None} | {moved}
        if not gone.isdisjoint(claim.intents):
            claim.commit({}, kept=claim.intents - gone, release=False)

    # --- dead letters of records ------------------------------------------------------------------------------

    def record_letter(self, listed: Listed, stream_arn: str, *, now: float) -> Replayed:
        """Decode the records of a dead letter again, and deliver them if all of them can be read now.

        They have lost their place in the objects of their shard: each position becomes an object of its own,
        named by the dead letter, so that another try makes the same names.

        Args:
            listed: Below `dead-letter/records/`.
            stream_arn: Of the stream that its records came from, whose row is claimed.
            now: Seconds since 1970.
        """
        name = listed.name
        if name is None:
            return Replayed(key=listed.key, left="expected a name that the function makes; look at it by hand")
        if now - listed.modified_at <= _SECONDS_UNTIL_NOTHING_LANDS:
            return Replayed(key=listed.key, left="younger than an hour: an invocation may still be writing it")
        shard = name.shard_beside(stream_arn)
        with self._telling(listed.key) as told, self._held(shard) as claim:
            if self._may_change(claim, name):
                return Replayed(key=listed.key, left=_STILL_TRIED)
            letter = next(iter(self._inventory.look([name])), None)
            if letter is not None and letter.record_count and name.key not in claim.intents:
                told.append(self._replay_records(letter, shard, claim))
            else:  # gone, or an earlier try that is emptied or has to be
                if self._applies:
                    self._empty_leftovers(claim)
                told.append(Replayed(key=listed.key))
        return told[-1]

    def _replay_records(self, letter: Standing, shard: Shard, claim: Claim) -> Replayed:
        """Deliver the records of a dead letter that has been settled."""
        key, got = letter.name.key, self._get(letter.name.key)
        lines = [dead_letter.read_line(line) for line in gzip.decompress(got.body).splitlines()]
        told = Replayed(key=key, reason=str(letter.name.place[1]), records=len(lines))
        if any(line.shard != shard for line in lines):
            return replace(told, left="its lines name another shard than its key; look at it by hand")
        try:
            records = [r for line in lines if not line.is_erased for r in self._decoder.decode_letter(line)]
        except RecordError as err:
            return replace(told, left=f"still {err.reason}: {err}")
        if not records:  # all of it was erased
            return replace(told, records=0)
        if left := self._lagging(shard, records, claim):
            return replace(told, left=left)
        missing = self._lacking(letter, shard, records, claim)
        told = replace(told, records=sum(len(missing.routes_for(record)) for record in records))
        if not self._applies:
            return told
        left = self._deliver_beside(shard, records, missing, key)
        if not left:
            self._remove_letter(letter, got, claim.token)
        return replace(told, left=left)

    def _lagging(self, shard: Shard, records: Sequence[Record], claim: Claim) -> str:
        """Return why records are left, if a delivery may still bring them to a route that lags behind.

        A route without a watermark is new: only a mapping made anew would bring it the past.
        """
        if isinstance(self._checkpoint, NoCheckpoint):
            return ""
        behind = {
            route.name
            for record in records
            for route in self._table.routes_for(record)
            if record.position > claim.watermarks.get(route.name, record.position)
        }
        batches = (f"{HANDED_OVER}{mapping}/{shard.shard_id}/" for mapping in self._mappings)
        if not behind or not any(next(self._inventory.below(batch), None) for batch in batches):
            return ""
        return f"{', '.join(sorted(behind))} has not reached its records yet; replay what Lambda gave up on first"

    def _remove_letter(self, letter: Standing, got: _Got, token: FencingToken | None) -> None:
        """Remove a dead letter whose records are delivered, but for the lines of those that were erased.

        Raises:
            DeliveryError: Another object stands there now, or its key refuses.
        """
        lines = [line for line in gzip.decompress(got.body).splitlines() if dead_letter.read_line(line).is_erased]
        if not lines:
            self._remove(letter.name.key, got.etag)
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
        self._sink.replace(rest, got.etag)

    def _lacking(self, letter: Standing, shard: Shard, records: Sequence[Record], claim: Claim) -> RouteTable:
        """Return the routes that still lack records of a dead letter.

        Raises:
            LetterDoubtError: Nobody can tell.
        """
        found = self._around(shard, records, claim)
        lacking = {
            (route.name, index)
            for index, record in enumerate(records)
            for route in self._table.routes_for(record)
            if lacks(letter, record, place_of(record, route), found, self._table)
        }
        numbers = {id(record): index for index, record in enumerate(records)}
        return Narrowed(self._table, lambda record, route: (route.name, numbers[id(record)]) in lacking)

    def _deliver_beside(self, shard: Shard, records: Sequence[Record], table: RouteTable, key: str) -> str:
        """Deliver each position as objects of its own, named by a key; return why records are left, if any are."""
        beside = Claim(Progress(), table, lambda _progress, _release: None, None)
        suffix = f"{zlib.crc32(key.encode()):08x}"
        for _, together in groupby(records, key=attrgetter("position")):
            report = self._redeliver(beside, shard, list(together), table, name_suffix=suffix)
            if report.failed_from:
                return _left(report)
        return ""

    # --- batches and the stream -------------------------------------------------------------------------------

    def given_up(self, listed: Listed) -> Replayed:
        """Deliver the records of a batch that Lambda gave up on to the routes that lack them.

        Lambda gives up in order, so nothing before it is still to come: the watermarks go forward.

        Args:
            listed: Below `aws/lambda/`.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        with self._telling(listed.key) as told:
            got = self._get(listed.key)
            if left := self._not_from_lambda(listed.key, got):
                return Replayed(key=listed.key, left=left)
            message = json.loads(got.body)
            shard, records = self._decoder.decode(json.loads(message["payload"]))
            condition = str(message["requestContext"]["condition"])
            if shard is None:
                return Replayed(key=listed.key, reason=condition, left="expected records in its payload, got none")
            if shard.stream_arn != self._stream.arn or message["KinesisBatchInfo"]["shardId"] != shard.shard_id:
                left = "its records are of another stream or shard than this stack's; look at it by hand"
                return Replayed(key=listed.key, reason=condition, left=left)
            is_issued = self._stream.has_issued(shard.shard_id, records[-1].sequence_number)
            if is_issued is False:
                left = "its records are ahead of the stream, which has not issued them; look at it by hand"
                return Replayed(key=listed.key, reason=condition, left=left)
            done = self._deliver(
                shard, records, listed.key, is_settled=True, is_issued=is_issued is True, is_of_stream=False
            )
            told.append(replace(done, reason=condition))
            if self._applies and not told[-1].left:
                self._remove(listed.key, got.etag)
        return told[-1]

    def _not_from_lambda(self, key: ObjectKey, got: _Got) -> str:
        """Return why an object below `aws/lambda/` is not one that Lambda has put for this stack; empty if it is.

        Others may be allowed to put objects there. Lambda names no key, so that the bucket's default encrypts it,
        and begins the name with the mapping's UUID.
        """
        mapping = key.removeprefix(HANDED_OVER).partition("/")[0]
        if mapping not in self._mappings:
            return (
                "expected a batch of this stack's event source mapping, got one of another; if the stack had that one "
                "before, name it: --mapping"
            )
        expected = self._settings.key_arns[layout.DEAD_LETTER]
        if got.key_arn.rpartition("/")[2] != expected.rpartition("/")[2]:  # S3 answers an ARN, emulators the id
            return "expected it under DeadLetterKey, as Lambda puts it, got another key; look at it by hand"
        return ""

    def stream_records(self, event: Mapping[str, Any], where: str, *, is_settled: bool) -> Replayed:
        """Deliver records that were read from the stream again, if all routes have passed them, where they are lacking.

        What a route has not reached yet is still to come, and is left to the function.

        Args:
            event: As Lambda makes it, of one shard.
            where: The range, for the report.
            is_settled: True if the mapping will not send them again, although some route has not passed them:
                Lambda has given up on them and could not hand them over.
        """
        with self._telling(where) as told:
            shard, records = self._decoder.decode(event)
            if shard is not None:
                told.append(self._deliver(shard, records, where, is_settled=is_settled))
        return told[-1] if told else Replayed(key=where)

    def _deliver(
        self,
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
        with self._held(shard) as claim:
            to_come = 0
            if not is_settled:
                reached = min(claim.watermarks.get(name, -1) for name in self._table.names)
                passed = [record for record in records if record.position <= reached]
                to_come, records = len(records) - len(passed), passed
            if not records:
                return Replayed(key=where, to_come=to_come)
            claim.begin_replay(records[0].position, records[-1].position)
            around = self._around(shard, records, claim)
            stored = Stored(
                around,
                self._with_neighbours(shard, records, around),
                self._table,
                *self._waiting(shard, records, claim),
                trusts_what_reaches_beyond=is_of_stream,
            )

            def is_beside(record: Record) -> bool:
                return stored.waits(record) or stored.is_erased(record)

            def is_missing(record: Record, route: Route) -> bool:
                return not (is_beside(record) or stored.holds(record, route))

            missing = Narrowed(self._table, is_missing)
            # An object of a delivery holds all of a position. Where a part of an aggregate waits, the others are put
            # beside it, and so is what an object reaches over without holding it.
            divided = {
                record.position
                for record in records
                if is_beside(record) or any(stored.is_hole(record, route) for route in self._table.routes_for(record))
            }
            whole = Narrowed(self._table, lambda r, route: r.position not in divided and is_missing(r, route))
            doubtful = sum(
                stored.is_unsure(record, route)
                for record in records
                if not is_beside(record)
                for route in self._table.routes_for(record)
            )
            replayed = Replayed(
                key=where,
                records=sum(len(missing.routes_for(record)) for record in records),
                waiting=sum(map(stored.waits, records)),
                to_come=to_come,
                left=(
                    f"{doubtful} records are in the range of objects that other routes or other code have put; compare "
                    "them by hand"
                    if doubtful
                    else ""
                ),
            )
            if not self._applies:
                return replayed
            parts = [record for record in records if record.position in divided]
            if left := self._deliver_beside(shard, parts, missing, shard.shard_id):
                return replace(replayed, left=left)
            limit = None if is_issued else max(claim.watermarks.values(), default=-1)
            for run in runs(records, self._table, whole, around):
                report = self._redeliver(claim, shard, run, whole, watermark_limit=limit)
                if report.failed_from:
                    return replace(replayed, left=_left(report))
            return replayed

    def _with_neighbours(
        self, shard: Shard, records: Sequence[Record], objects: Sequence[Standing]
    ) -> Sequence[Record]:
        """Return records with those before and behind them that objects of other code hold, if the stream has them.

        Only an object whose records are all known can be compared, and other code may have left some of them out.
        """
        beyond = [
            one
            for one in objects
            if not (one.is_single or is_by(one, self._table) or is_within(one, records))
            and one.routes == self._table.origin["routes"]
        ]
        if not beyond:
            return records
        first = min(records[0].position, *(one.name.first for one in beyond))
        last = max(records[-1].position, *(one.last for one in beyond))
        found: list[Record] = []
        for event in self._stream.between(shard.shard_id, first, last):
            found += self._decoder.decode(event)[1]
        return found if found and found[-1].position >= records[-1].position else records

    def _around(self, shard: Shard, records: Sequence[Record], claim: Claim) -> list[Standing]:
        """Return the settled objects that may hold records, at the places where they belong."""
        places = {place_of(record, route) for record in records for route in self._table.routes_for(record)}
        return self._settled(shard, places, records, claim)

    def _settled(
        self, shard: Shard, places: Collection[Any], records: Sequence[Record], claim: Claim
    ) -> list[Standing]:
        first, last = records[0].position, records[-1].position
        return settled(self._inventory.around(shard, places, first, last, claim.intents), claim.intents)

    def _waiting(
        self, shard: Shard, records: Sequence[Record], claim: Claim
    ) -> tuple[set[tuple[int, bytes]], set[int]]:
        """Return what can be decoded now and is, or was, a dead letter: position and bytes; positions of the erased.

        Names do not tell which records a dead letter holds, so it is read.
        """
        dates = {DEAD_LETTER_ROUTE.partition.date_of(record) for record in records if record.failure is None}
        places = {(layout.DEAD_LETTER, reason, date) for reason in UNDECODABLE for date in dates}
        waiting: set[tuple[int, bytes]] = set()
        erased: set[int] = set()
        for letter in self._settled(shard, places, records, claim) if places else ():
            if is_by(letter, self._table):  # the deployed code cannot decode them
                continue
            for line in map(dead_letter.read_line, gzip.decompress(self._get(letter.name.key).body).splitlines()):
                if line.is_erased:
                    erased.add(int(line.sequence_number))
                    continue
                with suppress(RecordError):
                    waiting.update((record.position, record.data) for record in self._decoder.decode_letter(line))
        return waiting, erased

    # --- the rest ---------------------------------------------------------------------------------------------

    def _redeliver(
        self,
        claim: Claim,
        shard: Shard,
        records: Sequence[Record],
        table: RouteTable,
        *,
        watermark_limit: int | None = None,
        name_suffix: str = "",
    ) -> Report:
        return redeliver(
            claim,
            shard,
            records,
            table=table,
            protector=self._protector,
            sink=self._sink,
            watermark_limit=watermark_limit,
            name_suffix=name_suffix,
        )

    def _may_change(self, claim: Claim, name: Name) -> bool:
        return claim.may_change(name.key, RouteName(name.place[0]), name.first)

    def _held(self, shard: Shard) -> AbstractContextManager[Claim]:
        """Claim a shard; a dry run only looks."""
        if not self._applies:
            return read_only_claim(self._checkpoint, shard, self._table)
        return patient_claim(self._checkpoint, shard, self._table, self._sleep)

    @contextmanager
    def _telling(self, key: str) -> Iterator[list[Replayed]]:
        """Turn what goes wrong with one thing into why it is left, so that the others go on."""
        told: list[Replayed] = []
        try:
            yield told
        except (CtrFanoutError, ClientError, BotoCoreError) as err:
            told.append(Replayed(key=key, left=_said(err)))
        except Exception as err:  # noqa: BLE001 - whatever is stored there, the others go on, and nothing is removed
            told.append(
                Replayed(key=key, left=f"expected what ctr-fanout or Lambda puts here, got {type(err).__name__}")
            )

    def _get(self, key: str) -> _Got:
        answer = self._client.get_object(
            Bucket=self._settings.bucket, Key=key, ExpectedBucketOwner=self._settings.bucket_owner
        )
        return _Got(answer["Body"].read(), answer["Metadata"], answer["ETag"], answer.get("SSEKMSKeyId", ""))

    def _remove(self, key: str, etag: str) -> None:
        """Remove an object if it is still the one that was read.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
        """
        self._client.delete_object(
            Bucket=self._settings.bucket, Key=key, IfMatch=etag, ExpectedBucketOwner=self._settings.bucket_owner
        )


def _renamed(intended: ObjectKey, suffix: str) -> ObjectKey:
    """Return the name that an object without a claim has by another suffix."""
    return ObjectKey(f"{intended.rpartition('-')[0]}-{suffix}.ndjson.gz")


def _left(report: Report) -> str:
    """Return why records of a delivery are not delivered; empty if all are, or wait as dead letters."""
    return "; ".join(trouble.message for trouble in report.troubles) if report.failed_from else ""


def _said(err: Exception) -> str:
    """Return what went wrong without AWS's own text, which may quote anything."""
    if isinstance(err, ClientError):
        return f"{err.operation_name} failed with {err.response['Error']['Code']}"
    return str(err) if isinstance(err, CtrFanoutError) else type(err).__name__
