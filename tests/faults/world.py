"""A world around the function: a stream, pollers with Lambda's rules, a bucket, a checkpoint, and trouble.

The pipeline, the sink, the replay and the event source are the real ones; S3 and the checkpoint keep their
contracts in memory. Everything that is not settled by them comes from one random source, so that a schedule
is its seed.
"""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, cast
from uuid import UUID

from botocore.exceptions import ClientError

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.inventory import Inventory
from aws.invocation import Invocation
from aws.origin import Origin
from aws.refusals import Refusals
from aws.s3_sink import S3Sink
from aws.settings import Settings
from local.event_source.lane import GivenUp
from local.event_source.mapping import Mapping
from local.event_source.on_failure import object_for_s3
from local.event_source.records import StreamRecord, event_of
from local.event_source.shard import ShardReader
from local.event_source.verdict import Answer, Outcome
from operations.convert.converter import Converter
from operations.convert.request import ConversionRequest
from operations.erase.eraser import Eraser
from operations.erase.request import ErasureRequest
from operations.erase.walk import ErasureWalk
from operations.replay.context import ReplayContext
from operations.replay.object_letters import ObjectLetters
from operations.replay.on_failure import OnFailureBatches
from operations.replay.record_letters import RecordLetters
from operations.replay.recovery import Recovery
from operations.replay.replayed import Replayed
from operations.replay.stream_records import StreamRecords
from routing import layout
from routing.errors import CheckpointError, DeliveryError, EventError, OutOfTimeError, RecordError
from routing.fields import Node
from routing.model import Kind, Shard
from routing.pipeline import process
from routing.reasons import Reason
from routing.stages.decode import Decoder
from routing.stored import dead_letter
from routing.stored.object_format import PENDING, PROTECTION
from routing.stored.parts import is_beside_objects
from routing.table.routes import Route, RouteTable
from schema.columns import tables_of
from tests.builders import agent_event, aggregated, claim, contact, lines_in, segment
from tests.fakes import (
    Crash,
    Inline,
    MemoryCheckpoint,
    MemoryS3,
    MemoryVault,
    Row,
    Shuffled,
    client_error,
    protector,
)
from tests.faults.tables import READS_POISON, TABLE
from tests.parquet_rows import rows_of

STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
SECONDS_TO_LIVE = 60.0
CONTACTS = 5
"""Whose records there are: `contact-0` and so on."""
# Two digits become three on the way, where text and number order differ.
_FIRST_NUMBER = 90
_AGGREGATES = 0.1
_SHAPES = ("claim", "contact", "contact", "agent", "segment", "other", "poison")
_UNTIL_ALL_DAYS_ARE_CLOSED = 30 * 86_400
_CHANNELS = ("VOICE", "CHAT", "../odd")
_DATES = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", None)
_REFUSALS = ("KMS.DisabledException", "KMS.KMSInvalidStateException", "AccessDenied")
_NO_KEY = DeliveryError("protection: denied", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
_NOT_NOW = DeliveryError("protection: down", reason=Reason.UNAVAILABLE, is_transient=True)
_STATES = ("troubles", "refused", "is_bucket_down", "is_table_down", "seconds_a_request")
_OUTAGES = ("SlowDown", "InternalError", "KMS.ThrottlingException", "RequestTimeout")


@dataclass
class OpenShard:
    """What the stream holds of one shard."""

    shard_id: str
    parents: tuple[str, ...] = ()
    records: list[StreamRecord] = field(default_factory=list)
    is_closed: bool = False
    is_expired: bool = False


@dataclass
class Poller:
    """One poller of the mapping; a second one may live beside it for a while."""

    mapping: Mapping
    readers: dict[str, ShardReader] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)


class Killed(Crash):
    """The invocation has lived for as long as it may."""


@dataclass(frozen=True)
class ReadableStream:
    """What a replay asks the stream."""

    known: dict[str, OpenShard]
    arn: str = STREAM

    def shards(self) -> list[str]:
        return sorted(shard.shard_id for shard in self.known.values() if not shard.is_expired)

    def has_issued(self, shard_id: str, sequence_number: str) -> bool | None:
        records = self._records(shard_id)
        return any(record.position >= int(sequence_number) for record in records) if records else None

    def between(self, shard_id: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        records = self._records(shard_id)
        if records and records[0].position <= first:
            yield event_of([one for one in records if first <= one.position <= last], shard_id, STREAM)

    def oldest(self, shard_id: str) -> str | None:
        records = self._records(shard_id)
        return records[0].sequence_number if records else None

    def _records(self, shard_id: str) -> list[StreamRecord]:
        shard = self.known.get(shard_id)
        return [] if shard is None or shard.is_expired else shard.records


class World:
    """Everything between Kinesis and S3, and what may go wrong there."""

    def __init__(
        self,
        random: Random,
        *,
        has_checkpoint: bool = True,
        table: RouteTable = TABLE,
        etags_tell_content: bool = False,
    ) -> None:
        self.random = random
        self.has_checkpoint = has_checkpoint
        self.table = table
        self.tables = [table]
        self.s3 = MemoryS3(lambda: self.clock, etags_tell_content=etags_tell_content)
        self.rows: dict[Shard, Row] = {}
        self.shards = {"shardId-000000000000": OpenShard("shardId-000000000000")}
        self.stream = ReadableStream(self.shards)
        self.sent: dict[tuple[str, int, int], bytes] = {}
        self.clock = 1_772_413_962.0
        self.has_columns = False
        self.doubled: list[str] = []
        self.refused: dict[str, str] = {}
        self.vault = MemoryVault()
        self.refusals = Refusals(lambda: self.clock)
        self.is_bucket_down = self.is_table_down = self.is_destination_down = False
        self.skew = 0.0
        self.seconds_a_request = 0.01
        self.asked_to_erase: set[str] = set()
        self.erased: set[str] = set()
        self.backup: dict[Shard, Row] = {}
        self.troubles: list[Callable[[], None]] = []
        self.late: list[dict[str, Any]] = []
        self.before_request: Callable[[dict[str, Any]], None] = lambda _: None
        self.calls = Counter[str]()
        self._number = _FIRST_NUMBER
        self._depth = 0

    # --- the stream -------------------------------------------------------------------------------------------

    def produce(self, count: int) -> None:
        """Let Connect send records; each tells its number."""
        open_shards = [shard for shard in self.shards.values() if not shard.is_closed]
        for _ in range(count):
            shard = self.random.choice(open_shards)
            self._number += self.random.randint(1, 3)
            is_aggregate = self.random.random() < _AGGREGATES
            made = [
                _document(10 * self._number + index, self.random.choice(_SHAPES), self.random.choice(_DATES))
                for index in range(self.random.randint(2, 4) if is_aggregate else 1)
            ]
            self._put_record(shard, made)

    def _put_record(self, shard: OpenShard, documents: Sequence[bytes]) -> int:
        """Put one stream record, an aggregate if it holds several documents; return its number."""
        data = aggregated(*documents) if len(documents) > 1 else documents[0]
        shard.records.append(StreamRecord(str(self._number), data, f"key-{self._number % 3}", self.clock))
        self.sent |= {(shard.shard_id, self._number, index): document for index, document in enumerate(documents)}
        return self._number

    def send(self, *documents: bytes | Sequence[bytes]) -> list[int]:
        """Let Connect send these to the first shard, a sequence as one aggregate; return their numbers."""
        numbers = []
        for document in documents:
            self._number += 1
            together = [document] if isinstance(document, bytes) else document
            numbers.append(self._put_record(self.shards["shardId-000000000000"], together))
        return numbers

    def reshard(self) -> None:
        """Split an open shard, or merge two."""
        open_ids = [shard.shard_id for shard in self.shards.values() if not shard.is_closed]
        parents = tuple(self.random.sample(open_ids, min(len(open_ids), self.random.randint(1, 2))))
        for shard_id in parents:
            self.shards[shard_id].is_closed = True
        for _ in range(2 if len(parents) == 1 else 1):
            shard_id = f"shardId-{len(self.shards):012}"
            self.shards[shard_id] = OpenShard(shard_id, parents)

    def expire(self, poller: Poller) -> None:
        """Let the stream forget the shards that are closed and read to their end."""
        for shard in self.shards.values():
            shard.is_expired |= shard.shard_id in poller.closed

    def readable(self) -> list[OpenShard]:
        """Return the shards that the stream still lists."""
        return [shard for shard in self.shards.values() if not shard.is_expired]

    # --- Lambda -----------------------------------------------------------------------------------------------

    def poller(self, **settings: Any) -> Poller:
        """Start a poller that has read nothing yet."""
        return Poller(
            Mapping(
                uuid="mapping",
                stream_arn=STREAM,
                function_arn="arn:aws:lambda:ap-northeast-1:111122223333:function:ctr-fanout",
                reports_failures=True,
                **{"batch_size": self.random.randint(1, 9), "bisects": True, **settings},
            )
        )

    def poll(self, poller: Poller) -> bool:
        """Read a shard a little further and send what is due; return False if there was nothing to do."""
        ready = [shard for shard in self.shards.values() if self._may_read(shard, poller)]
        if not ready:
            return False
        shard = self.random.choice(ready)
        reader = poller.readers.setdefault(shard.shard_id, ShardReader(poller.mapping, shard.shard_id))
        read_to = int(reader.read_to or -1)
        unread = [record for record in shard.records if record.position > read_to]
        if reader.gathered < 2 * poller.mapping.batch_size:
            reader.feed(unread[: self.random.randint(1, 12)], self.clock)
        for given_up in reader.expire(self.clock):
            self.hand_over(poller.mapping, shard.shard_id, given_up)
        for lane, batch in reader.take(self.clock, is_window_over=True):
            answer = self._invoke(event_of(batch.records, shard.shard_id, STREAM))
            if poller.readers.get(shard.shard_id) is not reader:
                return True  # restarted meanwhile: nobody takes the answer
            gone = reader.settle(lane, batch, answer)
            if gone is not None:
                self.hand_over(poller.mapping, shard.shard_id, gone)
        if shard.is_closed and reader.is_settled and int(reader.read_to or -1) >= _last(shard):
            poller.closed.add(shard.shard_id)
        return True

    def restart(self, poller: Poller) -> None:
        """Let a poller go on from any older position of a shard."""
        shard_id = self.random.choice([shard.shard_id for shard in self.readable()])
        reader = ShardReader(poller.mapping, shard_id)
        older = [record.sequence_number for record in self.shards[shard_id].records]
        known = poller.readers.get(shard_id)
        resumes_at = int((known.resumes_at or known.read_to or -1) if known else -1)
        before = [number for number in older if int(number) < resumes_at]
        reader.read_to = self.random.choice([None, *before])
        poller.readers[shard_id] = reader
        poller.closed.discard(shard_id)

    def drain(self, poller: Poller) -> None:
        """Deliver everything that is left, calmly."""
        for _ in range(3000):
            self.clock += 2 * SECONDS_TO_LIVE
            if not self.poll(poller):
                return
        raise AssertionError("the stream does not come to rest")

    def _may_read(self, shard: OpenShard, poller: Poller) -> bool:
        if shard.shard_id in poller.closed or not poller.closed.issuperset(shard.parents):
            return False
        reader = poller.readers.get(shard.shard_id)
        if reader is None or not reader.is_settled:
            return True
        return shard.is_closed or int(reader.read_to or -1) < _last(shard)

    def hand_over(self, mapping: Mapping, shard_id: str, given_up: GivenUp) -> None:
        """Let Lambda put what it gives up on below `aws/lambda/`."""
        self.calls["given up"] += 1
        if self.is_destination_down:
            return  # what is discarded is still in the stream
        key, body = object_for_s3(mapping, shard_id, given_up, self.clock, UUID(int=self.random.getrandbits(128)))
        self.s3.land({"Key": key, "Body": body, "Metadata": {}, "SSEKMSKeyId": f"key-of-{layout.DEAD_LETTER}"})

    def invoke(self, first: int, last: int) -> Answer:
        """Send the records of the first shard between two numbers to the function."""
        shard = self.shards["shardId-000000000000"]
        records = [record for record in shard.records if first <= record.position <= last]
        return self._invoke(event_of(records, shard.shard_id, STREAM))

    def _invoke(self, event: dict[str, Any]) -> Answer:
        self.calls["invocations"] += 1
        table = self.table
        try:
            with self._invocation() as invocation:
                report = process(
                    event,
                    decoder=decoder_of(table),
                    table=table,
                    protector=protector(self.vault),
                    sink=self._sink(invocation, table),
                    checkpoint=self._checkpoint(invocation),
                    admit=Origin(cast("Any", self.stream)).admit,
                )
        except EventError:
            self.calls["refused events"] += 1
            return Answer(Outcome.FAILED)
        except Crash as crash:
            self.calls[type(crash).__name__] += 1
            return Answer(Outcome.FAILED)
        self.calls.update(str(trouble.reason) for trouble in report.troubles)
        try:
            return Answer(Outcome.ANSWERED, report.response())
        except OutOfTimeError:
            self.calls["too long"] += 1
            return Answer(Outcome.FAILED)

    # --- the function's world ---------------------------------------------------------------------------------

    @contextmanager
    def _invocation(self) -> Iterator[Invocation]:
        """Run one invocation; another may run inside it, where a trouble starts one."""
        self.calls["ids"] += 1
        deadline = self.clock + SECONDS_TO_LIVE
        skew = self.random.uniform(-self.skew, self.skew)
        invocation = Invocation(
            f"invocation-{self.calls['ids']}", lambda: deadline - self.clock, now=lambda: self.clock + skew
        )
        before, after = self.s3.before, self.s3.after
        has_trouble = self.troubles and self._depth < 3
        troubles_at = (
            {self.random.randint(0, 40) for _ in range(self.random.choice((0, 1, 1, 2)))} if has_trouble else ()
        )
        steps = iter(range(1_000_000))

        def step(request: dict[str, Any] | None, *, is_before: bool) -> None:
            self.clock += self.seconds_a_request
            if next(steps) in troubles_at:
                self.random.choice(self.troubles)()
            if self.clock >= deadline:
                self._keep_for_later(request)
                raise Killed
            if is_before:
                self._refuse(request)

        self.s3.before = lambda request: step(request, is_before=True)
        self.s3.after = lambda request: step(request, is_before=False)
        self._depth += 1
        try:
            yield invocation
        finally:
            self.s3.before, self.s3.after = before, after
            self._depth -= 1

    def _sink(self, invocation: Invocation, table: RouteTable) -> S3Sink:
        return S3Sink(self._bucket(), settings_of(table).key_arns, invocation, Shuffled(self.random), self.refusals)

    def _checkpoint(self, invocation: Invocation) -> Any:
        if not self.has_checkpoint:
            return NoCheckpoint()
        before, after = self.s3.before, self.s3.after  # those of this invocation, also while another runs inside it

        def ask(step: Callable[[Any], None]) -> None:
            try:
                step({})
            except ClientError as err:
                raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, "checkpoint: failed") from err
            if self.is_table_down:
                raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, "checkpoint: down")

        return MemoryCheckpoint(
            now=invocation.now,
            owner=invocation.id,
            deadline=invocation.deadline,
            before=lambda _: ask(before),
            after=lambda _: ask(after),
            rows=self.rows,
        )

    def _refuse(self, request: dict[str, Any] | None) -> None:
        """Refuse what the state of keys and bucket does not allow."""
        if not request:
            return
        self.before_request(request)
        key = request.get("SSEKMSKeyId", "")
        if key in self.refused:
            raise client_error(self.refused[key])
        if self.is_bucket_down:
            raise client_error(self.random.choice(_OUTAGES))

    def _keep_for_later(self, request: dict[str, Any] | None) -> None:
        """A killed invocation may have sent a put that lands later, by the conditions it was sent with."""
        if request and "Body" in request and self.random.random() < 0.7:
            self.late.append({**request, "sent_at": self.clock})

    def land_late_puts(self, share: float) -> None:
        """Let a share of the puts of killed invocations reach S3 now; none is under way for longer than ten minutes."""
        waiting, self.late = self.late, []
        for request in waiting:
            if self.random.random() > share and self.clock - request["sent_at"] < 600:
                self.late.append(request)
                continue
            try:
                self.s3.land(request)
            except Exception as err:  # noqa: BLE001 - whatever S3 answers, nobody is there to hear it
                assert "PreconditionFailed" in str(err)

    # --- troubles: each may happen between any two steps -----------------------------------------------------------

    def kill(self) -> None:
        self.clock += SECONDS_TO_LIVE

    def be_slow(self) -> None:
        self.clock += self.random.uniform(0, SECONDS_TO_LIVE * 0.95)

    def fail_once(self) -> None:
        """One request fails, before or after it has done its work."""
        self.calls["failed requests"] += 1
        raise client_error(self.random.choice(_OUTAGES))

    def switch_key(self) -> None:
        """Disable a route's key, or schedule its deletion, or take the grant; or heal all."""
        if self.refused and self.random.random() < 0.5:
            self.refused.clear()
        else:
            route = self.random.choice(self.table.all_routes)
            self.refused[f"key-of-{route.name}"] = self.random.choice(_REFUSALS)

    def switch_bucket(self) -> None:
        self.is_bucket_down = not self.is_bucket_down

    def switch_table(self) -> None:
        self.is_table_down = not self.is_table_down

    def switch_vault(self) -> None:
        """Let the keys of protection refuse, for good or for now, or heal."""
        self.vault.refuses = self.random.choice((None, _NO_KEY, _NO_KEY, _NOT_NOW))

    def deploy(self, tables: list[RouteTable]) -> None:
        """Change the routes; invocations under way go on with the old ones."""
        self.table = self.random.choice(tables)
        self.tables.append(self.table)

    def heal(self) -> None:
        self.refused.clear()
        self.is_bucket_down = self.is_table_down = self.is_destination_down = False
        self.vault.refuses = None
        self.skew = 0.0
        self.troubles = []

    # --- replay ---------------------------------------------------------------------------------------------------

    @contextmanager
    def replaying(self) -> Iterator[ReplayContext]:
        """Run a replay as an invocation of its own."""
        with self._invocation() as invocation:
            yield self._replay_context(invocation)

    def _replay_context(self, invocation: Invocation) -> ReplayContext:
        table = self.table
        return ReplayContext(
            bucket=self._bucket(),
            dead_letter_key_arn=settings_of(table).key_arns[layout.DEAD_LETTER],
            table=table,
            decoder=decoder_of(table),
            protector=protector(self.vault),
            sink=self._sink(invocation, table),
            checkpoint=cast("CheckpointTable", self._checkpoint(invocation)),
            inventory=self.inventory(),
            stream=self.stream,
            mappings={"mapping"},
            applies=True,
            sleep=self._wait,
        )

    def _bucket(self) -> Bucket:
        return Bucket(cast("Any", self.s3), "bucket", "111122223333")

    def inventory(self) -> Inventory:
        """List and look at what is stored, by the deployed routes."""
        return Inventory(self._bucket(), self.table, Inline())

    def replay(self, *, stream: bool = False, is_settled: bool = False, records: bool = False) -> list[Replayed]:
        """Replay what waits: dead letters of objects, then what Lambda gave up on, then the stream if asked to.

        Args:
            stream: Also the stream.
            is_settled: Whether the mapping will not send its records again.
            records: Also dead letters of records, before or after the others.
        """
        told: list[Replayed] = []
        prefixes = ["dead-letter/objects/", "aws/lambda/"]
        if records:
            prefixes.insert(self.random.randint(0, 2), "dead-letter/records/")
        for prefix in prefixes:
            for listed in list(self.inventory().below(prefix)):
                with self.replaying() as context:
                    if prefix == "aws/lambda/":
                        told.append(OnFailureBatches(context).replay(listed))
                    elif prefix == "dead-letter/records/":
                        told.append(RecordLetters(context).replay(listed, now=self.clock))
                    elif (one := ObjectLetters(context).replay(listed, now=self.clock)) is not None:
                        told.append(one)
        for shard in self.readable() if stream else ():
            for start in range(0, len(shard.records), 4):
                event = event_of(shard.records[start : start + 4], shard.shard_id, STREAM)
                with self.replaying() as context:
                    told.append(
                        StreamRecords(context).replay(event, f"{shard.shard_id} from {start}", is_settled=is_settled)
                    )
        return told

    # --- erasure, restored tables, forgeries --------------------------------------------------------------------

    def erase(self, contact_id: str) -> bool:
        """Erase a contact, slice by slice, with whatever happens between the slices; return True if it says done."""
        self.asked_to_erase.add(contact_id)
        after: str | None = None
        is_done = True
        while True:
            request = ErasureRequest(contact_ids=[contact_id], apply=True, limit=self.random.randint(1, 3), after=after)
            done = self._erase_slice(request)
            is_done = is_done and not any(result["blocked_by"] for result in done.results)
            self.calls["erased"] += len(done.results)
            if done.next is None:
                self.calls["done erasures"] += is_done
                return is_done and (not self.has_columns or self.convert())
            after = done.next
            if self.random.random() < 0.3:
                self.replay(records=True)

    def _erase_slice(self, request: ErasureRequest) -> Any:
        table = self.table
        with self._invocation() as invocation:
            eraser = Eraser(
                request,
                bucket=self._bucket(),
                table=table,
                decoder=decoder_of(table),
                protector=protector(self.vault),
                sink=self._sink(invocation, table),
                checkpoint=cast("CheckpointTable", self._checkpoint(invocation)),
                workers=Inline(),
                stream_arn=STREAM,
                sleep=self._wait,
            )
            patient = Invocation(invocation.id, lambda: 900.0, now=invocation.now)
            return ErasureWalk(bucket=self._bucket(), table=table, invocation=patient).run(request, eraser)

    # --- columns ------------------------------------------------------------------------------------------------

    def convert(self) -> bool:
        """Make the columns of every route; return True if all are what they should be."""
        outcomes = [self._convert(route) for route in self.table.routes]
        return all(outcomes)

    def convert_one(self) -> None:
        """Make the columns of a route, with whatever happens meanwhile."""
        self._convert(self.random.choice(self.table.routes))

    def _convert(self, route: Route) -> bool:
        table = self.table
        with self._invocation() as invocation:
            patient = Invocation(
                invocation.id, lambda: 900.0, now=lambda: invocation.now() + _UNTIL_ALL_DAYS_ARE_CLOSED
            )
            converter = Converter(
                route,
                bucket=self._bucket(),
                table=table,
                key_arn=f"key-of-{route.name}",
                checkpoint=cast("CheckpointTable", self._checkpoint(patient)),
                stream_arn=STREAM,
                invocation=patient,
                workers=Inline(),
            )
            done = converter.run(ConversionRequest(route=route.name))
        self.calls["parts"] += len(done.results)
        self.doubled += self._in_two_parts()
        return done.next is None and not any(result["blocked_by"] for result in done.results)

    def _in_two_parts(self) -> list[str]:
        """Return the lines that stand in two parts."""
        places = Counter(
            place for key in self.s3.objects if key.endswith(".parquet") for place in set(self._origins(key))
        )
        return [f"in two parts: {place}" for place, count in places.items() if count > 1]

    def _origins(self, key: str) -> list[tuple[str, int]]:
        return [(row["_object"], row["_line"]) for row in rows_of(self.s3.objects[key]["Body"], ["_object", "_line"])]

    def wrong_columns(self) -> list[str]:
        """Return the places of the deployed routes whose columns are not the lines that stand there."""
        lines: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
        columns: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
        for route in self.table.routes:
            kinds = [kind for kind, _ in tables_of(route, self.table)]
            for key, put in self.s3.objects.items():
                if key.endswith(".parquet") and is_beside_objects(key, route.prefix):
                    rows = rows_of(put["Body"], ["record"])
                    place = key.rpartition("/")[0].replace("/parquet/", "/")
                    columns[place].update(row["record"].encode() for row in rows)
                elif any(key.startswith(f"{route.prefix}/{kind}/") for kind in kinds):
                    lines[key.rpartition("/")[0]].update(lines_in(put["Body"]))
        return [f"columns of {place}" for place in lines.keys() | columns.keys() if lines[place] != columns[place]]

    def _delivered(self) -> dict[str, dict[str, Any]]:
        """Return everything but columns."""
        beside = "/parquet/"
        return {key: put for key, put in self.s3.objects.items() if beside not in key}

    def back_up(self) -> None:
        """Keep the rows as they are now."""
        self.backup = deepcopy(self.rows)

    def restore(self) -> None:
        """Restore the backup, and recover as the runbook says: nothing is sent meanwhile, and nothing goes wrong."""
        self.calls["restored"] += 1
        self.rows = deepcopy(self.backup)
        self.clock += 1000
        self.land_late_puts(1.0)
        with self._calm():
            self._recover()

    def _recover(self) -> None:
        recovery = self.recovery()
        for shard_id in recovery.shards():
            recovery.recover(Shard(STREAM, shard_id))
        for shard in self.readable():
            for start in range(0, len(shard.records), 4):
                event = event_of(shard.records[start : start + 4], shard.shard_id, STREAM)
                with self.replaying() as context:
                    StreamRecords(context).replay(event, f"{shard.shard_id} from {start}", is_settled=True)

    @contextmanager
    def _calm(self) -> Iterator[None]:
        """Let nothing go wrong for a while."""
        kept = {name: vars(self)[name] for name in _STATES}
        vars(self).update(troubles=[], refused={}, is_bucket_down=False, is_table_down=False, seconds_a_request=0.01)
        vault, self.vault.refuses = self.vault.refuses, None
        yield
        vars(self).update(kept)
        self.vault.refuses = vault

    def recovery(self) -> Recovery:
        invocation = Invocation(f"recovery-{self.clock}", lambda: 900.0, now=lambda: self.clock)
        return Recovery(self._replay_context(invocation))

    def forge(self) -> None:
        """Let somebody plant a batch below `aws/lambda/`, or invoke the function with an invented event."""
        self.calls["forged"] += 1
        # Of a shard without records nobody can tell what it has issued; what is planted there hides nothing.
        written = [shard.shard_id for shard in self.readable() if shard.records]
        if not written:
            return
        number, shard_id = "9" * 56, self.random.choice(written)
        forged = [StreamRecord(number, claim(n=-1), "key", self.clock)]
        mapping, stream, key = "mapping", STREAM, f"key-of-{layout.DEAD_LETTER}"
        match self.random.choice(("mapping", "stream", "key", "number", "event", "foreign event")):
            case "mapping":
                mapping = "another"
            case "stream":
                stream += "-of-another"
            case "key":
                key = "aws/s3"
            case "event":
                self._invoke(event_of(forged, shard_id, STREAM))
                return
            case "foreign event":
                self._invoke(event_of(forged, shard_id, f"{STREAM}-of-another"))
                return
        body = json.dumps(
            {
                "requestContext": {"condition": "RetryAttemptsExhausted"},
                "KinesisBatchInfo": {"shardId": shard_id, "streamArn": stream},
                "payload": json.dumps(event_of(forged, shard_id, stream)),
            }
        )
        name = f"aws/lambda/{mapping}/{shard_id}/forged-{self.calls['forged']}"
        self.s3.land({"Key": name, "Body": body.encode(), "Metadata": {}, "SSEKMSKeyId": key})

    def _wait(self, seconds: float) -> None:
        self.clock += 10 * seconds

    # --- what stands ------------------------------------------------------------------------------------------

    def standing(self) -> Counter[tuple[str, bytes]]:
        """Return every line that stands, with the prefix where it is or, in a dead letter, where it belongs.

        What a killed invocation has left below a prefix that was taken away cannot be emptied, and is known as
        an intent.
        """
        letters = "dead-letter/objects/"
        found: Counter[tuple[str, bytes]] = Counter()
        out_of_reach = {key for row in self.rows.values() for key in row.intents if self.table.owner_of(key) is None}
        waiting = self._full_letters()
        for key, put in self._delivered().items():
            if key.startswith("aws/lambda/") or f"{letters}{key}" in waiting or key in out_of_reach:
                continue
            intended = key.removeprefix(letters)
            prefix = next(p for p in _prefixes(self.tables) if intended.startswith(f"{p}/"))
            is_pending = put["Metadata"].get(PROTECTION) == PENDING
            if is_pending and key == intended:
                found[f"unprotected: {key}", b""] += 1
            for line in lines_in(put["Body"]):
                if prefix == layout.RECORD_LETTER_PREFIX and dead_letter.read_line(line).is_erased:
                    continue
                found[prefix, self._protected(line, prefix) if is_pending else _sent(line, prefix)] += 1
        return found

    def _protected(self, line: bytes, prefix: str) -> bytes:
        """Return what a line will be once its dead letter is replayed."""
        routes = [route for table in self.tables for route in table.routes if route.prefix == prefix and route.rules]
        return protector().line(routes[0], Kind.CONTACT_RECORD, line)

    def expected(self) -> dict[tuple[str, int, int], list[set[tuple[str, bytes]]]]:
        """Return, for each record, where it has to stand by each of the tables there were."""
        return {
            place: [lines_of(document, place[1], place[0], table) for table in dict.fromkeys(self.tables)]
            for place, document in self.sent.items()
        }

    def problems(self) -> list[str]:
        """Return what is lost, stands twice, or stands where no table sends it."""
        standing, found = self.standing(), []
        in_reach = {route.prefix for route in self.table.all_routes}  # an erasure has no key for other prefixes
        found += [
            f"erased, and still there: {line}"
            for line in standing
            if line[0] in in_reach and _names(line[1], self.erased)
        ]
        owners: dict[tuple[str, bytes], tuple[str, int, int]] = {}
        for place, by_table in self.expected().items():
            everywhere = set().union(*by_table)
            # A dead letter obeys the rules of the day on which it is replayed, also those of a route of another name.
            others = set().union(
                *(
                    lines_by_rules(self.sent[place], place[1], place[0], table)
                    for table in dict.fromkeys(self.tables)
                    if any(route.rules for route in table.routes)
                )
            )
            owners |= dict.fromkeys(everywhere | others, place)
            if _names(self.sent[place], self.asked_to_erase):
                continue
            stands = {line[0] for line in everywhere | others if standing[line]}
            needed = [{prefix for prefix, _ in lines} for lines in by_table]
            if not any(prefixes <= stands for prefixes in needed):
                missing = sorted(set.intersection(*needed) - stands)
                found.append(f"lost: {place} from {missing or 'some route'}")
        found += [
            f"{count} times: {owners.get(line, line)} in {line[0]}" for line, count in standing.items() if count > 1
        ]
        found += [f"unexpected: {line}" for line in standing if line not in owners]
        return found + self._misplaced() + self.doubled

    def _misplaced(self) -> list[str]:
        """Return objects under the key of another prefix, and those whose records are not in the stream's order."""
        found = []
        for key, put in self._delivered().items():
            if key.startswith("aws/lambda/"):
                continue
            name = put["SSEKMSKeyId"].removeprefix("key-of-")
            prefixes = {one.prefix for table in self.tables for one in table.all_routes if one.name == name}
            prefixes |= {layout.OBJECT_LETTER_PREFIX} if name == layout.DEAD_LETTER else set()
            if not any(key.startswith(f"{prefix}/") for prefix in prefixes):
                found.append(f"under the key of {name}: {key}")
            numbers = [int(n) for n in re.findall(rb'(?:"n":|poison )(\d+)', b"\n".join(lines_in(put["Body"])))]
            if numbers != sorted(numbers):
                found.append(f"out of order: {key}")
        return found

    def _full_letters(self) -> set[str]:
        return {
            key
            for key, put in self._delivered().items()
            if key.startswith("dead-letter/objects/") and lines_in(put["Body"])
        }


def _document(number: int, shape: str, disconnected_at: str | None) -> bytes:
    """Make a document that tells its number, so that order and identity can be seen in the output."""
    if shape == "poison":
        return b"poison %d" % number
    if shape == "other":
        return b'{"n":%d}' % number
    make = {"claim": claim, "contact": contact, "agent": agent_event, "segment": segment}[shape]
    more = {} if shape == "agent" else {"ContactId": f"contact-{number % CONTACTS}"}
    return make(n=number, DisconnectTimestamp=disconnected_at, Channel=_CHANNELS[number % 3], **more)


def _names(line: bytes, contact_ids: set[str]) -> bool:
    return any(contact_id.encode() in line for contact_id in contact_ids)


def _sent(line: bytes, prefix: str) -> bytes:
    """Return what was sent; the dead letter of a record holds it as base64."""
    return base64.b64decode(json.loads(line)["rawData"]) if prefix == layout.RECORD_LETTER_PREFIX else line


def _last(shard: OpenShard) -> int:
    return shard.records[-1].position if shard.records else -1


def _prefixes(tables: list[RouteTable]) -> list[str]:
    return sorted({route.prefix for table in tables for route in table.all_routes}, key=len, reverse=True)


class ReadsPoison(Decoder):
    """Code that can decode what the code before it sets aside."""

    def _read(self, raw: bytes) -> tuple[bytes, Node]:
        number = raw.removeprefix(b"poison ")
        try:
            return super()._read(raw)
        except RecordError:
            if number == raw:
                raise
            return super()._read(claim(n=int(number), DisconnectTimestamp=_DATES[0], ContactId="once-poison"))


@cache
def decoder_of(table: RouteTable) -> Decoder:
    return (ReadsPoison if table.code == READS_POISON else Decoder)(table.paths)


@cache
def settings_of(table: RouteTable) -> Settings:
    return Settings(
        bucket="bucket",
        bucket_owner="111122223333",
        key_arns={route.name: f"key-of-{route.name}" for route in table.all_routes},
        service="ctr-fanout",
        checkpoint_table="table",
        stream_arn=STREAM,
    )


@cache
def lines_of(document: bytes, number: int, shard_id: str, table: RouteTable) -> set[tuple[str, bytes]]:
    """Return the lines that one record makes, with the prefix of each."""
    event = event_of([StreamRecord(str(number), document, "key", 1_772_413_962.0)], shard_id, STREAM)
    _, (record,) = decoder_of(table).decode(event)
    if record.failure is not None:  # its dead letter tells when it arrived
        return {(layout.RECORD_LETTER_PREFIX, document)}
    return {
        (route.prefix, protector().line(route, record.kind, record.data) if route.rules else record.data)
        for route in table.routes_for(record)
    }


@cache
def newest_decoder_of(table: RouteTable) -> Decoder:
    return ReadsPoison(table.paths)


@cache
def lines_by_rules(document: bytes, number: int, shard_id: str, table: RouteTable) -> set[tuple[str, bytes]]:
    """Return the lines that one record makes by the rules of every route that has some, whether it takes it or not."""
    event = event_of([StreamRecord(str(number), document, "key", 1_772_413_962.0)], shard_id, STREAM)
    _, (record,) = newest_decoder_of(table).decode(event)
    if record.failure is not None:
        return set()
    return {(route.prefix, protector().line(route, record.kind, record.data)) for route in table.routes if route.rules}
