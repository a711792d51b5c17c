"""Convert: the settled objects of a route and a closed day -> Parquet parts below the same prefix.

A part is read before the objects that it covers, and put only if nobody has changed it since. So of two conversions at
once, or of one that was killed and lands late, the one that has seen less is refused; and parts never share a line,
whoever makes them (routing/stored/parts.py).
"""

import gzip
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched, groupby
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.invocation import Invocation
from operations.convert.columns import Columns, Lines, write
from operations.convert.request import ConversionRequest, ConversionSlice
from routing.errors import CtrFanoutError
from routing.model import Kind, ObjectKey, Shard
from routing.stages.progress import Progress
from routing.stored import parts
from routing.stored.object_format import Name, read_name
from routing.stored.parts import Part, Source
from routing.table.routes import Route, RouteTable
from schema.columns import columns_of, tables_of
from schema.statistics import told_by

PARQUET = "application/vnd.apache.parquet"
# How long after its end a day is left alone: what arrives late then is a change, and makes its part anew.
_SECONDS_BEHIND_A_DAY = 3600
# What the largest part may take, with a wait for S3.
_SECONDS_FOR_A_PART = 180
_MOST_TRIES = 5
_OPENED_AT_ONCE = 8
_GONE = ("404", "NoSuchKey", "NotFound")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What became of one part.

    Attributes:
        key: The part.
        sources: How many objects it covers.
        records: Lines in it.
        refused: How many of them no column could be read of; they stand in `record`.
        blocked_by: Why it is not what it should be; empty if it is.
    """

    key: str
    sources: int = 0
    records: int = 0
    refused: int = 0
    blocked_by: str = ""


class UnreadableObjectError(CtrFanoutError):
    """A delivered object that does not hold what its metadata says."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Objects of one kind and partition, and the columns of their kind."""

    kind: Kind
    partition: str
    columns: Columns

    @property
    def date(self) -> str:
        return self.partition[len("date=") :][: len("2026-03-02")]


@dataclass(slots=True)
class _Done:
    results: list[Conversion] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)  # dates of which something is still to be made
    is_last: bool = True


class Converter:
    """Makes the parts of one route, day by day, until time ends."""

    def __init__(
        self,
        route: Route,
        *,
        bucket: Bucket,
        table: RouteTable,
        key_arn: str,
        checkpoint: CheckpointTable | NoCheckpoint,
        stream_arn: str,
        invocation: Invocation,
        workers: Executor,
    ) -> None:
        """Bind a route to the bucket, its key, and the progress of its shards."""
        self._route = route
        self._bucket = bucket
        self._table = table
        self._key_arn = key_arn
        self._checkpoint = checkpoint
        self._stream_arn = stream_arn
        self._invocation = invocation
        self._workers = workers
        self._progress: dict[Shard, Progress] = {}

    def run(self, request: ConversionRequest) -> ConversionSlice:
        """Make what is to be made, the oldest day first."""
        results: list[Conversion] = []
        until: dict[str, str] = {}
        deleted, is_last = 0, True
        for kind, _ in tables_of(self._route, self._table):
            done = self._kind(kind, request)
            results += done.results
            is_last = is_last and done.is_last
            until[kind] = self._advance(kind, done, request)
            if request.old_versions and done.is_last and not done.pending:
                deleted += self._delete_old_versions(kind, applies=request.apply)
        return ConversionSlice(
            results=[asdict(result) for result in results], deleted=deleted, until=until, is_last=is_last
        )

    def _kind(self, kind: Kind, request: ConversionRequest) -> _Done:
        done = _Done()
        columns = Columns(columns_of(self._route, kind), told_by(self._route))
        for partition, listed in self._partitions(kind):
            place = _Place(kind, partition, columns)
            if place.date > self._closed_until():
                continue
            if self._invocation.remaining_seconds() < _SECONDS_FOR_A_PART:
                done.pending.add(place.date)
                done.is_last = False
                break
            if unsettled := self._unsettled(kind, partition, listed):
                done.results.append(Conversion(key=f"{self._route.prefix}/{kind}/{partition}/", blocked_by=unsettled))
                done.pending.add(place.date)
                continue
            self._partition(place, request, done)
        return done

    # --- what there is ------------------------------------------------------------------------------------

    def _partitions(self, kind: Kind) -> Iterator[tuple[str, list[tuple[Name, Source]]]]:
        """Yield each partition with its objects, in the order of their dates; those that have parts only come last."""
        folder = parts.folder_of(self._route.prefix, kind)
        left = {one.key[len(folder) :].rpartition("/")[0] for one in self._listed(f"{folder}date=")}
        listed = self._listed(f"{self._route.prefix}/{kind}/")
        named = ((name, source) for source in listed if (name := read_name(source.key, self._table)) is not None)
        for partition, objects in groupby(named, key=lambda one: one[0].place[2]):
            left.discard(partition)
            yield partition, list(objects)
        yield from ((partition, []) for partition in sorted(left))

    def _listed(self, prefix: str) -> Iterator[Source]:
        for entry in self._bucket.list(prefix):
            yield Source(key=ObjectKey(entry["Key"]), etag=entry["ETag"], size=entry["Size"])

    def _closed_until(self) -> str:
        """Return the last day that has ended a while ago, UTC."""
        then = datetime.fromtimestamp(self._invocation.now() - _SECONDS_BEHIND_A_DAY, UTC)
        return (then.date() - timedelta(days=1)).isoformat()

    def _unsettled(self, kind: Kind, partition: str, listed: Iterable[tuple[Name, Source]]) -> str:
        """Return why the objects of a partition may still change by their delivery; empty if they may not."""
        below = f"{self._route.prefix}/{kind}/{partition}/"
        for shard in {name.shard_beside(self._stream_arn) for name, _ in listed}:
            if shard not in self._progress:
                self._progress[shard] = self._checkpoint.look(shard)
            progress = self._progress[shard]
            open_names = progress.intents | (progress.trial.settled if progress.trial else frozenset())
            if any(key.startswith(below) for key in open_names):
                return "a batch of it is still being tried; it is converted when that is settled"
            mark = progress.watermarks_of(self._table.prefixes).get(self._route.name)
            if mark is not None and any(name.first > mark for name, _ in listed if name.is_of(shard)):
                return "it has records behind the route's watermark; it is converted when that has passed them"
        return ""

    # --- one partition ------------------------------------------------------------------------------------

    def _partition(self, place: _Place, request: ConversionRequest, done: _Done) -> None:
        """Make the parts of a partition that are not those of its objects."""
        number, count = 0, 1
        while number < count:
            if number and self._invocation.remaining_seconds() < _SECONDS_FOR_A_PART:
                done.pending.add(place.date)
                done.is_last = False
                return
            key = parts.part_key(self._route.prefix, place.kind, place.partition, number)
            try:
                made, count = self._part(key, number, count, place, applies=request.apply)
            except ClientError as err:
                made = Conversion(
                    key=key, blocked_by=f"{err.operation_name} failed with {err.response['Error']['Code']}"
                )
            except BotoCoreError as err:
                made = Conversion(key=key, blocked_by=type(err).__name__)
            except CtrFanoutError as err:
                made = Conversion(key=key, blocked_by=str(err))
            if made is not None:
                done.results.append(made)
                if made.blocked_by or not request.apply:
                    done.pending.add(place.date)
            number += 1

    def _part(
        self, key: ObjectKey, number: int, count: int, place: _Place, *, applies: bool
    ) -> tuple[Conversion | None, int]:
        """Make one part if it is not that of its objects; return what was made, and how many its partition has."""
        for _ in range(_MOST_TRIES):
            part = self._look(key)  # before the objects: see above
            below = self._listed(f"{self._route.prefix}/{place.kind}/{place.partition}/")
            sources = parts.of_partition(below, place.partition, self._table)
            if number == 0:
                count = part.parts if part else parts.parts_for(sources)
            covered = parts.of_part(sources, number, count)
            if (part is None and not covered and number) or (
                part is not None and part.digest == parts.sources_digest(covered)
            ):
                return None, count
            if not applies:
                return Conversion(key=key, sources=len(covered)), count
            made = self._make(key, covered, part, count, place.columns)
            if made is not None:
                return made, count
        return Conversion(key=key, blocked_by="others make it at the same time; the next run looks again"), count

    def _look(self, key: ObjectKey) -> Part | None:
        """Read the metadata of a part; None if there is none.

        Raises:
            UnreadableObjectError: Something else stands there.
        """
        try:
            answer = self._bucket.head(key)
        except ClientError as err:
            if err.response["Error"]["Code"] in _GONE:
                return None
            raise
        try:
            return parts.read_part(answer["Metadata"], answer["ETag"])
        except ValueError as err:
            raise UnreadableObjectError(f"{err}; look at it by hand") from None

    def _make(
        self, key: ObjectKey, covered: list[Source], replaces: Part | None, count: int, columns: Columns
    ) -> Conversion | None:
        """Write a part and put it; None if it has been changed meanwhile.

        Raises:
            UnreadableObjectError: An object does not hold what its metadata says.
        """
        read: list[Source] = []
        checksums: dict[ObjectKey, str] = {}

        def opened() -> Iterator[Lines]:
            for few in batched(covered, _OPENED_AT_ONCE, strict=False):
                for source, (lines, etag, checksum) in zip(few, self._workers.map(self._open, few), strict=True):
                    read.append(Source(key=source.key, etag=etag, size=source.size))
                    checksums[source.key] = checksum
                    yield lines

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "part"
            written = write(file, columns, opened())
            part = Part(
                parts=replaces.parts if replaces else count,
                sources=len(read),
                digest=parts.sources_digest(read),
                lines_digest=parts.lines_digest(checksums),
                records=written.records,
                refused=written.refused,
            )
            with file.open("rb") as body:
                try:
                    self._bucket.put(
                        key,
                        body,
                        key_arn=self._key_arn,
                        metadata=parts.metadata_of(part),
                        replaces=None if replaces is None else replaces.etag,
                        content_type=PARQUET,
                    )
                except ClientError as err:
                    if err.response["Error"]["Code"] in _CHANGED:
                        return None
                    raise
        return Conversion(key=key, sources=len(read), records=written.records, refused=written.refused)

    def _open(self, source: Source) -> tuple[Lines, str, str]:
        """Read an object: its lines, its ETag and the CRC-32 of its lines."""
        key = source.key
        got = self._bucket.get(key)
        try:
            plain = gzip.decompress(got.body)
        except (OSError, EOFError, zlib.error):
            raise UnreadableObjectError(f"{key}: expected gzip, got {len(got.body)} other bytes") from None
        checksum = f"{zlib.crc32(plain):08x}"
        if got.metadata.get("plain-crc32", checksum) != checksum:
            raise UnreadableObjectError(f"{key}: expected the lines that its metadata tells of, got others")
        name = read_name(key, self._table)
        return Lines(key, str(name.first) if name else "", plain.splitlines()), got.etag, checksum

    # --- up to which day ----------------------------------------------------------------------------------

    def _advance(self, kind: Kind, done: _Done, request: ConversionRequest) -> str:
        """Tell readers up to which day columns are complete: the last closed one, or the one before what is pending.

        It never goes back: what changes a day that was complete shows in its columns when its part is made anew.
        """
        key = parts.until_key(self._route.prefix, kind)
        try:
            got = self._bucket.get(key)
            before, etag = got.body.decode().strip(), got.etag
        except ClientError as err:
            if err.response["Error"]["Code"] not in _GONE:
                raise
            before, etag = "", None
        day = self._closed_until()
        if done.pending:
            day = (datetime.fromisoformat(min(done.pending)) - timedelta(days=1)).date().isoformat()
        if day <= before or not request.apply:
            return before
        try:
            self._bucket.put(
                key,
                f"{day}\n".encode(),
                key_arn=self._key_arn,
                metadata={"format-version": parts.PART_FORMAT},
                replaces=etag,
                content_type="text/plain",
            )
        except ClientError as err:
            if err.response["Error"]["Code"] not in _CHANGED:
                raise
            return before
        return day

    def _delete_old_versions(self, kind: Kind, *, applies: bool) -> int:
        """Delete the old versions of the parts of a kind: each is of objects as they were."""
        deleted = 0
        for entry in self._bucket.list_versions(parts.folder_of(self._route.prefix, kind)):
            if not entry.get("IsLatest", True):
                if applies:
                    self._bucket.delete_version(entry["Key"], entry["VersionId"])
                deleted += 1
        return deleted
