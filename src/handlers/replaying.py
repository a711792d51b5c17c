"""Replay: what waits below `dead-letter/` or `aws/lambda/`, or is still in the stream, goes to its place.

Everything is done under the claim of its shard, as a delivery is, so that no delivery and no other replay
runs beside it; what stands already is left alone, so that twice is once. Nothing is removed before what it
held has been seen in its place.
"""

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.checkpoint import CheckpointTable, NoCheckpoint
from handlers.held import Held, held, rehearsed
from handlers.inventory import Inventory, Listed
from handlers.s3_sink import S3Sink
from handlers.settings import Settings
from routing import dead_letter
from routing.decode import Decoder
from routing.errors import CtrFanoutError, DeliveryError, RecordError
from routing.model import FencingToken, ObjectKey, Record, RenderedObject, Shard
from routing.pipeline import Checkpoint, fan_out
from routing.progress import Claim
from routing.protect import Protector
from routing.render import FENCING, PROTECTION, RULES, gzipped, render_empty
from routing.report import Report
from routing.routes import Route, RouteTable
from routing.standing import Coverage, Name, Narrowed, Standing, is_gapless, place_of, read_name, runs, settled

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# An invocation lives for fifteen minutes at most; what it has sent cannot land an hour later.
_SECONDS_UNTIL_NOTHING_LANDS = 3600
_STILL_TRIED = "its batch is still being tried; it is settled with the next try"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of one thing that was to be replayed.

    Attributes:
        key: The object, or the range of the stream.
        route: Where it belongs; empty if to many routes.
        reason: Why it was there, e.g. `KmsKeyDisabled`; of a batch Lambda's condition.
        records: Pairs of record and route that it holds and that are not delivered yet.
        left: Why it is still there; empty if it was delivered, or would be.
        to_come: Records of the stream that some route has not reached: the function will deliver them.
    """

    key: str
    route: str = ""
    reason: str = ""
    records: int = 0
    left: str = ""
    to_come: int = 0


class Replayer:
    """Replays one thing after the other; with `applies` false it only tells what it would do."""

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
        applies: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what a delivery takes, and the inventory."""
        self._client = client
        self._settings = settings
        self._table = table
        self._decoder = decoder
        self._protector = protector
        self._sink = sink
        self._checkpoint = checkpoint
        self._inventory = inventory
        self._applies = applies
        self._sleep = sleep

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
            None if it has another reason, or is no dead letter but an empty object, which is swept away when it
            is an hour old: until then it shuts out what a killed invocation may have sent.
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
                    self._remove(name.key)
                return None
            waiting = Replayed(
                key=name.key, route=name.place[0], reason=letter.reason or "", records=letter.record_count
            )
            told.append(replace(waiting, left=self._settle(letter, claim, is_old=is_old)))
        return told[-1]

    def _is_empty(self, name: Name) -> bool:
        with suppress(ClientError, BotoCoreError):  # told where it is looked at again
            return not any(found.is_letter for found in self._inventory.look([name]))
        return False

    def _settle(self, letter: Standing, claim: Claim, *, is_old: bool) -> str:
        """Move a dead letter and let go of it; return why it is left, if it is."""
        if letter.name.key in claim.intents:
            return _STILL_TRIED
        if not self._applies:
            return ""
        if left := self._move(letter, claim.token):
            return left
        self._empty_what_was_refused(claim, letter.name.intended)
        if is_old or claim.token is None:
            self._remove(letter.name.key)
            return ""
        return self._empty(letter, claim.token)

    def record_letter(self, listed: Listed, stream_arn: str, *, now: float) -> Replayed:
        """Decode the records of a dead letter again, and deliver them if all of them can be read now.

        They have lost their place in the order of the shard: their objects are named by their content.

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
        with self._telling(listed.key) as told, self._held(name.shard_beside(stream_arn)) as claim:
            if claim.may_change(name.key):
                return Replayed(key=listed.key, left=_STILL_TRIED)
            body = self._get(listed.key)[0]
            letters = [dead_letter.read_line(line) for line in gzip.decompress(body).splitlines()]
            reason = str(name.place[1])
            if not letters:  # an earlier try, emptied
                return Replayed(key=listed.key)
            try:
                records = [self._decoder.decode_letter(letter) for letter in letters]
            except RecordError as err:
                left = f"still {err.reason}: {err}"
                return Replayed(key=listed.key, reason=reason, records=len(letters), left=left)
            pairs = sum(len(self._table.routes_for(record)) for record in records)
            told.append(Replayed(key=listed.key, reason=reason, records=pairs))
            if self._applies:
                report = self._fan_out(letters[0].shard, records, self._table, NoCheckpoint())
                told.append(replace(told[0], left=_left(report)))
                if not told[-1].left:
                    self._remove(listed.key)
        return told[-1]

    def given_up(self, listed: Listed) -> Replayed:
        """Deliver a batch that Lambda gave up on, as far as it is not delivered yet.

        Lambda gives up in order, so nothing before it is still to come: the watermarks go forward.

        Args:
            listed: Below `aws/lambda/`.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        with self._telling(listed.key) as told:
            message = json.loads(self._get(listed.key)[0])
            shard, records = self._decoder.decode(json.loads(message["payload"]))
            condition = str(message["requestContext"]["condition"])
            if shard is None:
                return Replayed(key=listed.key, reason=condition, left="expected records in its payload, got none")
            told.append(replace(self._deliver(shard, records, listed.key, is_settled=True), reason=condition))
            if self._applies and not told[-1].left:
                self._remove(listed.key)
        return told[-1]

    def stream_records(self, event: Mapping[str, Any], where: str, *, is_settled: bool) -> Replayed:
        """Deliver records that were read from the stream again, as far as all routes have passed them.

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

    def _deliver(self, shard: Shard, records: Sequence[Record], where: str, *, is_settled: bool) -> Replayed:
        """Deliver what does not stand yet, under the claim of the shard."""
        with self._held(shard) as claim:
            to_come = 0
            if not is_settled:
                reached = min(claim.watermarks.get(name, -1) for name in self._table.names)
                passed = [record for record in records if record.position <= reached]
                to_come, records = len(records) - len(passed), passed
            if not records:
                return Replayed(key=where, to_come=to_come)
            claim.begin_replay(records[0].position, records[-1].position, self._table.names)
            places = {place_of(record, route) for record in records for route in self._table.routes_for(record)}
            found = self._inventory.around(shard, places, records[0].position, records[-1].position, claim.intents)
            standing = settled(found, claim.intents)
            coverage = Coverage(standing)
            unsure = Coverage(one for one in standing if not is_gapless(one, records, self._table))
            missing = Narrowed(self._table, lambda r, route: not coverage.covers(place_of(r, route), r.position))
            doubtful = sum(
                unsure.covers(place_of(record, route), record.position)
                for record in records
                for route in self._table.routes_for(record)
            )
            left = (
                f"{doubtful} records are in the range of objects that other routes, or a replay, have put"
                if doubtful
                else ""
            )
            lacking = sum(len(missing.routes_for(record)) for record in records)
            replayed = Replayed(key=where, records=lacking, left=left, to_come=to_come)
            if not self._applies:
                return replayed
            held = Held(claim)
            for run in runs(records, self._table, missing):
                report = self._fan_out(shard, run, missing, held, is_replay=True)
                if report.failed_from:
                    return replace(replayed, left=_left(report))
            return replayed

    def _fan_out(
        self,
        shard: Shard,
        records: Sequence[Record],
        table: RouteTable,
        checkpoint: Checkpoint,
        *,
        is_replay: bool = False,
    ) -> Report:
        """Deliver records as a batch would, to the routes of a table."""
        return fan_out(
            shard,
            records,
            table=table,
            protector=self._protector,
            sink=self._sink,
            checkpoint=checkpoint,
            is_replay=is_replay,
        )

    def _move(self, letter: Standing, token: FencingToken | None) -> str:
        """Put a dead letter to its place and see it there; return why it is left, if it is."""
        body, metadata = self._get(letter.name.key)
        kept = {name: value for name, value in metadata.items() if name not in {"reason", "intended-key", FENCING}}
        route = next(one for one in self._table.all_routes if one.name == letter.name.place[0])
        intended = letter.name.intended
        is_protected_now = route.rules_digest != kept.get(RULES, "")
        if is_protected_now and RULES in kept:
            return "its route had other rules when it was made, and they cannot be undone; deal with it by hand"
        if is_protected_now:
            try:
                body, kept = self._protected(route, letter, body, kept)
            except DeliveryError as err:
                return str(err)
            if letter.is_content_named:
                intended = _renamed_by_content(intended, kept["plain-crc32"])
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
            return str(error)
        there = next(iter(self._inventory.look([replace(letter.name, key=intended)])), None)
        # Sealing is randomised: what stands after an interrupted replay has the same records and other bytes.
        if (
            there is None
            or (there.record_count, there.numbers) != (letter.record_count, letter.numbers)
            or (there.checksum != kept["plain-crc32"] and not route.seals)
        ):
            return "another object stands in its place; compare them by hand"
        return ""

    def _protected(
        self, route: Route, letter: Standing, body: bytes, metadata: Mapping[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        """Protect the lines of a dead letter as they came: its route had no usable key then, or no rules.

        Raises:
            DeliveryError: A key still cannot be used.
        """
        lines = gzip.decompress(body).splitlines()
        made, _, checksum = gzipped([self._protector.line(route, letter.name.place[1], line) for line in lines])
        kept = {name: value for name, value in metadata.items() if name != PROTECTION}
        rules = {RULES: route.rules_digest} if route.rules else {}
        return made, kept | rules | {"plain-crc32": f"{checksum:08x}"}

    def _empty(self, letter: Standing, token: FencingToken | None) -> str:
        """Empty a dead letter that is moved: its name has to shut out a late put for an hour."""
        (error,) = self._sink.put_all([render_empty(letter.name.key, letter.name.place[0], token)])
        return "" if error is None else f"it is delivered, and still here: {error}"

    def _held(self, shard: Shard) -> AbstractContextManager[Claim]:
        """Hold a shard; a rehearsal only looks."""
        if not self._applies:
            return rehearsed(self._checkpoint, shard, self._table.digest)
        return held(self._checkpoint, shard, self._table.digest, self._sleep)

    def _empty_what_was_refused(self, claim: Claim, moved: ObjectKey) -> None:
        """Empty names that a delivery has settled and could not empty, because their key refused every put.

        The next delivery of the shard would do it; a closed shard has none.
        """
        refused = {
            key: owner
            for key, owner in claim.intents.items()
            if key != moved
            and self._table.owns(key, owner)
            and (name := read_name(key, self._table)) is not None
            and name.first <= claim.watermarks.get(owner, -1)
        }
        if refused:
            empties = [render_empty(key, owner, claim.token) for key, owner in refused.items()]
            errors = self._sink.put_all(empties)
            emptied = {empty.key for empty, error in zip(empties, errors, strict=True) if error is None}
            claim.commit({}, kept=set(claim.intents) - emptied, release=False)

    @contextmanager
    def _telling(self, key: str) -> Iterator[list[Replayed]]:
        """Turn what goes wrong with one thing into why it is left, so that the others go on."""
        told: list[Replayed] = []
        try:
            yield told
        except (CtrFanoutError, ClientError, BotoCoreError) as err:
            told.append(Replayed(key=key, left=_said(err)))
        except Exception as err:  # noqa: BLE001 - whatever stands there, the others go on, and nothing is removed
            told.append(
                Replayed(key=key, left=f"expected what ctr-fanout or Lambda puts here, got {type(err).__name__}")
            )

    def _get(self, key: str) -> tuple[bytes, dict[str, str]]:
        answer = self._client.get_object(
            Bucket=self._settings.bucket, Key=key, ExpectedBucketOwner=self._settings.bucket_owner
        )
        return answer["Body"].read(), answer["Metadata"]

    def _remove(self, key: str) -> None:
        self._client.delete_object(
            Bucket=self._settings.bucket, Key=key, ExpectedBucketOwner=self._settings.bucket_owner
        )


def _renamed_by_content(intended: ObjectKey, checksum: str) -> ObjectKey:
    """Return the name that an object without a claim has by its content, as it is now."""
    return ObjectKey(f"{intended.rpartition('-')[0]}-{checksum}.ndjson.gz")


def _left(report: Report) -> str:
    """Say why records of a delivery are not delivered; empty if all are, or wait as dead letters."""
    return "; ".join(trouble.message for trouble in report.troubles) if report.failed_from else ""


def _said(err: Exception) -> str:
    """Say what went wrong without AWS's own text, which may quote anything."""
    if isinstance(err, ClientError):
        return f"{err.operation_name} failed with {err.response['Error']['Code']}"
    return str(err) if isinstance(err, CtrFanoutError) else type(err).__name__
