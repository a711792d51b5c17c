"""Convert: the settled objects of a route and a closed day -> Parquet parts below the same prefix.

A part is read before the objects that it covers, and put only if nobody has changed it since. So of two conversions at
once, or of one that was killed and lands late, the one that has seen less is refused; and parts never share a line,
whoever makes them (routing/stored/parts.py).
"""

import gzip
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
_LOOKED_AT_ONCE = 32
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


type _Standing = Mapping[str, list[ObjectKey]]
"""Names of parts by partition."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Objects of one kind and partition, and the columns of their kind."""

    kind: Kind
    partition: str
    columns: Columns
    standing: tuple[ObjectKey, ...]
    has_columns: bool

    @property
    def date(self) -> str:
        return _date_of(self.partition)


@dataclass(slots=True)
class _Done:
    results: list[Conversion] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)  # dates of which something is still to be made
    ended_at: str = ""  # the date at which time ended

    def take(self, place: _Place, made: Conversion) -> None:
        self.results.append(made)
        if made.blocked_by:
            self.pending.add(place.date)

    def end(self, place: _Place) -> None:
        self.pending.add(place.date)
        self.ended_at = place.date


def _date_of(partition: str) -> str:
    return partition[len("date=") :][: len("2026-03-02")]


def _day_before(date: str) -> str:
    return (datetime.fromisoformat(date) - timedelta(days=1)).date().isoformat()


def _why(err: Exception) -> str:
    """Tell of an error what holds nothing of a record: others may quote what they could not read."""
    if isinstance(err, ClientError):
        return f"{err.operation_name} failed with {err.response['Error']['Code']}"
    return str(err) if isinstance(err, CtrFanoutError) else type(err).__name__


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
        """Make what is to be made, kind by kind, the oldest day first, from where the slice before ended."""
        results: list[Conversion] = []
        until: dict[str, str] = {}
        deleted, ended_at = 0, None
        begin_kind, _, begin_date = (request.after or "").partition("/")
        deployed = [kind for kind, _ in tables_of(self._route, self._table)]
        for kind in Kind:
            standing = self._standing(kind)
            if (kind not in deployed and not standing) or (begin_kind and kind != begin_kind):
                continue
            begin, begin_kind, begin_date = begin_date, "", ""
            done = self._kind(kind, standing, request, begin, has_columns=kind in deployed)
            results += done.results
            if kind in deployed:
                until[kind] = self._advance(kind, done, request, begin)
            if done.ended_at:
                ended_at = f"{kind}/{done.ended_at}"
                break
            if request.old_versions and not done.pending:
                deleted += self._delete_old_versions(kind, applies=request.apply)
        return ConversionSlice(
            results=[asdict(result) for result in results], deleted=deleted, until=until, next=ended_at
        )

    def _kind(
        self, kind: Kind, standing: _Standing, request: ConversionRequest, begin: str, *, has_columns: bool
    ) -> _Done:
        """Make the parts of a kind; of one that the route has no longer all that are there are emptied."""
        done = _Done()
        columns = Columns(columns_of(self._route, kind), told_by(self._route))
        partitions = self._partitions(kind, standing) if has_columns else ((one, []) for one in sorted(standing))
        for few in batched(partitions, _LOOKED_AT_ONCE, strict=False):
            closed = [
                (partition, listed) for partition, listed in few if begin <= _date_of(partition) <= self._closed_until()
            ]
            known = self._known_parts(standing, closed)
            for partition, listed in closed:
                place = _Place(kind, partition, columns, tuple(standing.get(partition, ())), has_columns=has_columns)
                if self._invocation.remaining_seconds() < _SECONDS_FOR_A_PART:
                    done.end(place)
                    return done
                if unsettled := self._unsettled(kind, partition, listed):
                    key = f"{self._route.prefix}/{kind}/{partition}/"
                    done.take(place, Conversion(key=key, blocked_by=unsettled))
                elif not self._is_current(place, [source for _, source in listed], known):
                    self._partition(place, request, done)
        return done

    # --- what there is ------------------------------------------------------------------------------------

    def _partitions(self, kind: Kind, standing: _Standing) -> Iterator[tuple[str, list[tuple[Name, Source]]]]:
        """Yield each partition with its objects, in the order of their dates; one that has parts only as well."""
        left = sorted(standing)
        listed = self._listed(f"{self._route.prefix}/{kind}/")
        named = ((name, source) for source in listed if (name := read_name(source.key, self._table)) is not None)
        for partition, objects in groupby(named, key=lambda one: one[0].place[2]):
            while left and _date_of(left[0]) < _date_of(partition):
                yield left.pop(0), []
            if partition in left:
                left.remove(partition)
            yield partition, list(objects)
        yield from ((partition, []) for partition in left)

    def _standing(self, kind: Kind) -> _Standing:
        """Return the names of the parts of a kind, by partition."""
        folder, found = parts.folder_of(self._route.prefix, kind), defaultdict[str, list[ObjectKey]](list)
        for one in self._listed(f"{folder}date="):
            found[one.key[len(folder) :].rpartition("/")[0]].append(one.key)
        return found

    def _known_parts(
        self, standing: _Standing, partitions: Iterable[tuple[str, list[tuple[Name, Source]]]]
    ) -> dict[ObjectKey, Part | None]:
        """Look at the parts of some partitions at once: most are what they should be."""
        keys = [key for partition, _ in partitions for key in standing.get(partition, ())]
        return dict(zip(keys, self._workers.map(self._read_or_none, keys), strict=True))

    def _read_or_none(self, key: ObjectKey) -> Part | None:
        try:
            return self._read(key)
        except (ClientError, BotoCoreError, CtrFanoutError):  # told where it is to be made
            return None

    def _is_current(self, place: _Place, sources: list[Source], known: Mapping[ObjectKey, Part | None]) -> bool:
        """Return True if all parts of a partition are those of its objects, as they were listed."""
        found = [(parts.number_of(key), known.get(key)) for key in place.standing]
        first = next((part for number, part in found if number == 0), None)
        if first is None or any(part is None or part.parts != first.parts for _, part in found):
            return False
        by_number = {number: part for number, part in found if part is not None}
        if not by_number.keys() <= set(range(first.parts)):
            return False
        covered = place.has_columns
        return all(
            self._fits(by_number.get(number), parts.of_part(sources, number, first.parts) if covered else [], place)
            for number in range(first.parts)
        )

    @staticmethod
    def _fits(part: Part | None, covered: list[Source], place: _Place) -> bool:
        """Return True if a part is that of its objects, or has none and is not there."""
        if part is None:
            return not covered
        return (part.digest, part.columns) == (parts.sources_digest(covered), place.columns.digest)

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
        try:
            count, surplus = self._count(place)
        except (ClientError, BotoCoreError, CtrFanoutError) as err:
            key = parts.part_key(self._route.prefix, place.kind, place.partition, 0)
            done.take(place, Conversion(key=key, blocked_by=_why(err)))
            return
        for number in range(max(count, surplus)):
            if number and self._invocation.remaining_seconds() < _SECONDS_FOR_A_PART:
                done.end(place)
                return
            key = parts.part_key(self._route.prefix, place.kind, place.partition, number)
            try:
                made = self._part(key, number, count, place, applies=request.apply)
            except Exception as err:  # noqa: BLE001 - one day must not hold up all others, whatever is in it
                made = Conversion(key=key, blocked_by=_why(err))
            if made is not None:
                done.take(place, made)
                if number == 0 and made.blocked_by:
                    return  # whoever makes the first part decides among how many the objects are shared out

    def _count(self, place: _Place) -> tuple[int, int]:
        """Return among how many parts the objects of a partition are shared out, and how many stand there.

        The first part tells; should it be gone, any other of them.
        """
        for key in [parts.part_key(self._route.prefix, place.kind, place.partition, 0), *place.standing]:
            if (part := self._look(key)) is not None:
                return part.parts, max((parts.number_of(one) + 1 for one in place.standing), default=0)
        return parts.parts_for(self._sources(place)), 0

    def _sources(self, place: _Place) -> list[Source]:
        if not place.has_columns:
            return []
        below = self._listed(f"{self._route.prefix}/{place.kind}/{place.partition}/")
        return parts.of_partition(below, place.partition, self._table)

    def _part(self, key: ObjectKey, number: int, count: int, place: _Place, *, applies: bool) -> Conversion | None:
        """Make one part if it is not that of its objects; None if nothing is to be made."""
        for _ in range(_MOST_TRIES):
            part = self._look(key)  # before the objects: see above
            if number == 0 and part is not None and part.parts != count:
                break  # others have decided it meanwhile
            covered = parts.of_part(self._sources(place), number, count)
            if (number or part is not None) and self._fits(part, covered, place):
                return None
            if not applies:
                return Conversion(key=key, sources=len(covered))
            made = self._make(key, covered, part, count, place.columns)
            if made is not None:
                return made
        return Conversion(key=key, blocked_by="others make it at the same time; the next run looks again")

    def _look(self, key: ObjectKey) -> Part | None:
        """Read the metadata of a part; None if there is none.

        Raises:
            UnreadableObjectError: Something else stands there.
        """
        return self._read(key) if self._bucket.has(key) else None

    def _read(self, key: ObjectKey) -> Part | None:
        """Read the metadata of a part that was listed; None if it is gone since.

        Raises:
            UnreadableObjectError: Something else stands there.
        """
        answer = self._bucket.look(key)
        if answer is None:
            return None
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
                parts=count,
                sources=len(read),
                digest=parts.sources_digest(read),
                columns=columns.digest,
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

    def _advance(self, kind: Kind, done: _Done, request: ConversionRequest, begin: str) -> str:
        """Tell readers up to which day columns are complete: the last closed one, or the one before what is pending.

        It never goes back: what changes a day that was complete shows in its columns when its part is made anew.
        """
        key = parts.until_key(self._route.prefix, kind)
        got = self._bucket.get(key) if self._bucket.has(key) else None
        before, etag = ("", None) if got is None else (got.body.decode().strip(), got.etag)
        day = self._closed_until()
        if done.pending:
            day = _day_before(min(done.pending))
        # What the slices before have left behind them is told by how far they came.
        is_behind = bool(begin) and before < _day_before(begin)
        if day <= before or is_behind or not request.apply:
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
