"""What stands in the bucket, as names and metadata tell it; nobody has to decrypt an object to know.

An object holds every record of its route, kind, date and shard between its first and its last sequence
number, as long as its name is not among the intents of its shard: then nobody has committed it.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import attrgetter

from routing import dead_letter
from routing.model import Kind, ObjectKey, Record, RouteName, Shard
from routing.reasons import Reason
from routing.render import ERASED, checksum_of_numbers
from routing.routes import Route, RouteTable

_NAME = re.compile(
    r"(?P<kind>\w+)/date=(?P<date>\d{4}-\d{2}-\d{2})/"
    r"(?P<stream>[a-zA-Z0-9_.-]+)-(?P<shard>shardId-\d+)-(?P<first>\d+)(?P<content>-[0-9a-f]{8})?\.ndjson\.gz"
)
_LETTERS = f"{dead_letter.OBJECTS_PREFIX}/"
_KINDS: Mapping[str, Kind | Reason] = {str(kind): kind for kind in (*Kind, *Reason)}

type Place = tuple[RouteName, Kind | Reason, str]
"""Route, kind and date: what becomes one object of an invocation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What an object's key tells.

    Attributes:
        key: The key itself.
        intended: Where its content belongs; differs from the key for a dead letter of an object.
        place: Route, kind and date of its records.
        stream_name: Where they come from.
        shard_id: Likewise.
        first: Sequence number of its first record, as a number.
    """

    key: ObjectKey
    intended: ObjectKey
    place: Place
    stream_name: str
    shard_id: str
    first: int

    def shard_beside(self, stream_arn: str) -> Shard:
        """Return the shard that its records come from; its stream is in the account and Region of another."""
        return Shard(f"{stream_arn.rpartition('/')[0]}/{self.stream_name}", self.shard_id)

    def is_of(self, shard: Shard) -> bool:
        """Tell whether its records come from a shard."""
        return (self.stream_name, self.shard_id) == (shard.stream_name, shard.shard_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An object as it stands, with what its metadata tells.

    Attributes:
        name: What its key tells.
        last: Sequence number of its last record; its first if it is empty.
        record_count: Lines as they were delivered; 0 if it only takes a place.
        checksum: CRC-32 of its lines, eight hexadecimal digits.
        numbers: CRC-32 of the sequence numbers of its records, likewise.
        reason: Of a dead letter of an object, why it is one; None of all others.
        is_content_named: True if it was put without a claim, under a name that tells its content.
        routes: The beginning of the digest of the table that has chosen its records.
        modified_at: When it was put, seconds since 1970.
        is_erased: True if a contact was taken out of it: its lines are no longer those that were delivered.
    """

    name: Name
    last: int
    record_count: int
    checksum: str
    numbers: str
    reason: str | None = None
    is_content_named: bool = False
    routes: str = ""
    modified_at: float = 0.0
    is_erased: bool = False

    @property
    def is_letter(self) -> bool:
        """True if its content waits to be moved to where it belongs."""
        return self.reason is not None


def read_name(key: str, table: RouteTable) -> Name | None:
    """Read a key; None if this table makes no such name."""
    intended = key.removeprefix(_LETTERS)
    for route in table.all_routes:
        if not intended.startswith(f"{route.prefix}/"):
            continue
        match = _NAME.fullmatch(intended[len(route.prefix) + 1 :])
        if match is None or match["kind"] not in _KINDS:
            return None
        return Name(
            key=ObjectKey(key),
            intended=ObjectKey(intended),
            place=(route.name, _KINDS[match["kind"]], match["date"]),
            stream_name=match["stream"],
            shard_id=match["shard"],
            first=int(match["first"]),
        )
    return None


def read_standing(name: Name, metadata: Mapping[str, str], modified_at: float) -> Standing:
    """Read the user metadata of an object that was put at a time, seconds since 1970."""
    return Standing(
        name=name,
        last=int(metadata.get("last-sequence-number", name.first)),
        record_count=int(metadata.get("record-count", "0")),
        checksum=metadata.get("plain-crc32", ""),
        numbers=metadata.get("numbers-crc32", ""),
        reason=metadata["reason"] if "intended-key" in metadata else None,
        is_content_named="fencing-token" not in metadata,
        routes=metadata.get("routes", ""),
        modified_at=modified_at,
        is_erased=ERASED in metadata,
    )


def settled(objects: Iterable[Standing], intents: Collection[ObjectKey]) -> list[Standing]:
    """Return the objects whose records are delivered, or wait as dead letters.

    An empty object holds none; one whose name is an intent may be emptied by the next try. Where a dead
    letter waits for a place, what stands there is an earlier try that could not be replaced.
    """
    committed = [one for one in objects if one.name.key not in intents]
    replaced = {one.name.intended for one in committed if one.is_letter}
    return [one for one in committed if one.record_count and (one.is_letter or one.name.key not in replaced)]


def is_gapless(one: Standing, records: Sequence[Record], table: RouteTable) -> bool:
    """Tell whether an object holds every record of its place between its first and its last, by this table.

    What the same table has chosen under a claim does; of anything else count and CRC-32 of the sequence
    numbers have to be those of the records.

    Args:
        one: The object.
        records: What a shard holds in a range, without gaps.
        table: The deployed routes.
    """
    if table.digest.startswith(one.routes or "-") and not one.is_content_named:
        return True
    if not records or one.name.first < records[0].position or one.last > records[-1].position:
        return False
    held = [
        record
        for record in records
        if one.name.first <= record.position <= one.last
        and any(place_of(record, route) == one.name.place for route in table.routes_for(record))
    ]
    return (len(held), checksum_of_numbers(held)) == (one.record_count, one.numbers)


class Coverage:
    """Which records stand already, by the ranges of objects."""

    def __init__(self, objects: Iterable[Standing]) -> None:
        """Take objects of one shard; those of one place overlap only if they were put without a claim."""
        ranges: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        for one in objects:
            ranges[one.name.place].append((one.name.first, one.last))
        self._ranges: dict[Place, list[tuple[int, int]]] = {}
        for place, found in ranges.items():
            reach = accumulate((last for _, last in sorted(found)), max)
            self._ranges[place] = list(zip(sorted(first for first, _ in found), reach, strict=True))

    def covers(self, place: Place, position: int) -> bool:
        """Tell whether a record stands at a place."""
        ranges = self._ranges.get(place, [])
        index = bisect_right(ranges, position, key=lambda one: one[0]) - 1
        return index >= 0 and position <= ranges[index][1]


def place_of(record: Record, route: Route) -> Place:
    """Return where a record stands on a route."""
    return route.name, record.kind, route.partition.date_of(record)


class Narrowed(RouteTable):
    """A route table that leaves out some of the routes that a record takes."""

    def __init__(self, table: RouteTable, keeps: Callable[[Record, Route], bool]) -> None:
        """Take the table, and what tells whether a record still has to go to a route."""
        super().__init__(routes=table.routes, unmatched=table.unmatched, limits=table.limits, digest=table.digest)
        self._keeps = keeps

    def routes_for(self, record: Record) -> tuple[Route, ...]:
        """Return the routes that are left."""
        return tuple(route for route in super().routes_for(record) if self._keeps(record, route))


def runs(records: Sequence[Record], table: RouteTable, missing: RouteTable) -> Iterator[Sequence[Record]]:
    """Cut records so that no object of the missing ones would reach over an object that stands.

    Args:
        records: Of one shard, in stream order, without gaps.
        table: All routes that they take.
        missing: Those that they still have to go to.
    """
    run: list[Record] = []
    begun: set[Place] = set()
    passed: set[Place] = set()
    for _, parts in groupby(records, key=attrgetter("position")):  # the records of one aggregate share a name
        together = list(parts)
        to_go = {place_of(record, route) for record in together for route in missing.routes_for(record)}
        if to_go & passed:
            yield run
            run, begun, passed = [], set(), set()
        run += together
        begun |= to_go
        places = {place_of(record, route) for record in together for route in table.routes_for(record)}
        passed |= begun & (places - to_go)
    yield run
