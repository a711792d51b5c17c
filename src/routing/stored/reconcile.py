"""Reconcile: compare the records of the stream with the stored objects, by names and metadata alone.

An object tells its range of records, their count, and CRC-32s of its lines and of their sequence numbers; so
every line is compared without decrypting one.
"""

import zlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from routing import layout
from routing.model import ObjectKey, Record, RouteName, SequenceNumber
from routing.stored.object_format import Place, checksum_of_numbers
from routing.stored.objects import StoredObject, place_of, settled
from routing.table.routes import RouteTable


@dataclass(slots=True)
class Balance:
    """The balance of one route and shard.

    Attributes:
        expected: Records that take the route.
        delivered: Those that stand once below its prefix.
        dead_lettered: Those that wait below `dead-letter/objects/`.
        pending: Those that the route has not reached yet.
        late: Sequence numbers of those among the pending that should have been reached by now.
        missing: Sequence numbers of those that the route has passed and that are nowhere.
        duplicated: Sequence numbers of those that stand more than once.
        unexpected: Names of objects that do not hold what they should, and why.
    """

    expected: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    pending: int = 0
    late: list[SequenceNumber] = field(default_factory=list)
    missing: list[SequenceNumber] = field(default_factory=list)
    duplicated: list[SequenceNumber] = field(default_factory=list)
    unexpected: list[tuple[ObjectKey, str]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True if nothing is late, missing, duplicated or unexpected."""
        return not (self.late or self.missing or self.duplicated or self.unexpected)


def reconcile(
    records: Iterable[Record],
    objects: Iterable[StoredObject],
    table: RouteTable,
    *,
    watermarks: Mapping[RouteName, int],
    intents: Collection[ObjectKey],
    due_before: float,
) -> dict[RouteName, Balance]:
    """Compare a shard's records with the stored objects.

    It keeps no more records than the objects under way have, however long the range is.

    Args:
        records: All of the range, in stream order.
        objects: Those of the shard that may reach into the range.
        table: The deployed routes.
        watermarks: How far each route is.
        intents: Names that are not committed.
        due_before: What arrived before this time, seconds since 1970, should have been reached by every route.

    Returns:
        A balance for each route, the one of dead letters among them.
    """
    balances = {route.name: Balance() for route in table.all_routes}
    protected = {route.name for route in table.all_routes if route.rules}
    stored: dict[Place, list[StoredObject]] = defaultdict(list)
    for one in settled(objects, intents):
        stored[one.name.place].append(one)
    places: dict[Place, _Place] = {}
    first = last = -1
    for record in records:
        first, last = first if first >= 0 else record.position, record.position
        for route in table.routes_for(record):
            place = place_of(record, route)
            if place not in places:
                places[place] = _Place(
                    stored.pop(place, []),
                    first,
                    watermarks.get(route.name, -1),
                    due_before,
                    is_protected=bool(route.rules),
                )
            balances[route.name].expected += 1
            places[place].take(record, balances[route.name])
    for place, alone in stored.items():
        places[place] = _Place(alone, first, -1, due_before, is_protected=place[0] in protected)
    for place, found in places.items():
        found.end(last, balances[place[0]])
    return balances


class _Place:
    """The records and objects of one place, compared object by object."""

    def __init__(
        self, objects: Iterable[StoredObject], first: int, mark: int, due_before: float, *, is_protected: bool
    ) -> None:
        """Bind its objects to the beginning of the range and the progress of the route."""
        self._is_protected = is_protected
        self._coming = sorted((one for one in objects if one.last >= first), key=lambda one: -one.name.first)
        self._first = first
        self._mark = mark
        self._due_before = due_before
        self._objects: list[StoredObject] = []
        self._records: list[Record] = []
        self._reach = -1

    def take(self, record: Record, balance: Balance) -> None:
        """Compare the next record."""
        if record.position > self._reach:
            self._compare(self._reach, balance)
        self._take_objects(record.position)
        self._records.append(record)

    def end(self, last: int, balance: Balance) -> None:
        """Compare what is left, where the range ends."""
        self._take_objects(last)
        self._compare(last, balance)

    def _take_objects(self, position: int) -> None:
        while self._coming and self._coming[-1].name.first <= position:
            self._objects.append(self._coming.pop())
            self._reach = max(self._reach, self._objects[-1].last)

    def _compare(self, last: int, balance: Balance) -> None:
        """Compare objects that overlap, if they do, and the records in their range."""
        records, objects = self._records, self._objects
        holders: list[list[StoredObject]] = [[] for _ in records]
        for one, held in _holdings(records, objects, is_protected=self._is_protected):
            is_whole = self._first <= one.name.first and one.last <= last
            whole = [records[index] for index in held]
            if is_whole and (why := _wrong(one, whole, is_protected=self._is_protected)):
                balance.unexpected.append((one.name.key, why))
            for index in held:
                holders[index].append(one)
        for record, holding in zip(records, holders, strict=True):
            self._count(record, holding, balance)
        self._objects, self._records = [], []

    def _count(self, record: Record, holding: Sequence[StoredObject], balance: Balance) -> None:
        if len(holding) > 1:
            balance.duplicated.append(record.sequence_number)
        elif holding:
            is_letter = holding[0].is_letter or holding[0].name.place[0] == layout.DEAD_LETTER
            balance.dead_lettered += is_letter
            balance.delivered += not is_letter
        elif record.position <= self._mark:
            balance.missing.append(record.sequence_number)
        else:
            balance.pending += 1
            if record.arrived_at < self._due_before:
                balance.late.append(record.sequence_number)


def _holdings(
    records: Sequence[Record], objects: Sequence[StoredObject], *, is_protected: bool
) -> Iterator[tuple[StoredObject, Sequence[int]]]:
    """Yield each object with the indices of the records that it holds.

    An object put under a claim holds every record of its range, but for those that were dead letters then and
    have been replayed since, each position as an object of its own. One that was put without a claim has holes
    where records had another way: it holds those that no other holds, if they fit.
    """
    positions = [record.position for record in records]
    free = set(range(len(records)))
    for one in sorted(objects, key=lambda one: (not one.is_single, one.is_content_named, one.name.first)):
        whole = range(bisect_left(positions, one.name.first), bisect_right(positions, one.last))
        rest = [index for index in whole if index in free]
        fits = [
            held
            for held in ((rest, whole) if one.is_content_named else (whole, rest))
            if not _wrong(one, [records[index] for index in held], is_protected=is_protected)
        ]
        held = fits[0] if fits else whole
        free -= set(held)
        yield one, held


def _wrong(one: StoredObject, records: Sequence[Record], *, is_protected: bool) -> str:
    """Return what is wrong with an object, by the records that it should hold.

    Of a protected route, and where a contact was erased, only the sequence numbers can be compared: the lines
    are not those of the stream.
    """
    if one.record_count != len(records):
        return f"expected {len(records)} records between its first and its last, got {one.record_count}"
    if one.numbers != checksum_of_numbers(records):
        return "expected the stream's records, got some with other sequence numbers"
    if is_protected or one.is_erased:
        return ""
    checksum = 0
    for record in records:
        checksum = zlib.crc32(record.data + b"\n", checksum)
    return "" if one.checksum == f"{checksum:08x}" else "expected the stream's records, got lines with another CRC-32"
