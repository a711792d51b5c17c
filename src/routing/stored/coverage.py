"""Which records are stored, by the ranges of the objects of their shard."""

import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, combinations
from math import comb

from routing.errors import CtrFanoutError
from routing.model import Record
from routing.stored.object_format import Place, checksum_of_numbers
from routing.stored.objects import StoredObject, is_by, place_of
from routing.table.routes import Route, RouteTable

_MOST_COMBINATIONS = 2000


def is_gapless(
    one: StoredObject, records: Sequence[Record], table: RouteTable, *, trusts_what_reaches_beyond: bool = True
) -> bool:
    """Return True if an object holds every record of its place between its first and its last, by this table.

    What the deployed routes and code have chosen under a claim does; of anything else count and CRC-32 of the
    sequence numbers have to be those of the records, as far as these reach.

    Args:
        one: The object.
        records: What a shard holds in a range, without gaps.
        table: The deployed routes.
        trusts_what_reaches_beyond: What to return for an object of the same routes and other code that holds records
            before or behind these, so that it cannot be compared.
    """
    if is_by(one, table) and not one.is_content_named:
        return True
    if not is_within(one, records):
        is_of_these_routes = one.routes == table.origin["routes"] and not one.is_content_named
        return is_of_these_routes and trusts_what_reaches_beyond
    held = _in_range(one, records, table)
    return (len(held), checksum_of_numbers(held)) == (one.record_count, one.numbers)


def holes(one: StoredObject, records: Sequence[Record], table: RouteTable, *, is_shown: bool) -> list[Record]:
    """Return the records that an object of the same routes and other code reaches over and does not hold.

    The other code could not decode them, and could not set them aside either. Count and CRC-32s
    identify them, if there are few.

    Args:
        one: The object.
        records: What a shard holds in a range, without gaps.
        table: The deployed routes.
        is_shown: True if the object's lines are the records as they came.

    Returns:
        Empty if the object holds all of them, or if that is undecidable: there would be too many combinations to try.
    """
    if is_by(one, table) or one.is_content_named or one.routes != table.origin["routes"]:
        return []
    held = _in_range(one, records, table) if is_within(one, records) else []
    lacking = len(held) - one.record_count
    if lacking <= 0 or comb(len(held), lacking) > _MOST_COMBINATIONS:
        return []
    found = [left_out for left_out in combinations(held, lacking) if _is_rest(one, held, left_out, is_shown=is_shown)]
    return list(found[0]) if len(found) == 1 else []


def _is_rest(one: StoredObject, held: Sequence[Record], left_out: Sequence[Record], *, is_shown: bool) -> bool:
    """Return True if an object holds some records without those that are left out."""
    rest = [record for record in held if not any(record is one_of for one_of in left_out)]
    if checksum_of_numbers(rest) != one.numbers:
        return False
    return not is_shown or one.is_erased or one.checksum == f"{zlib.crc32(b''.join(r.data + b'\n' for r in rest)):08x}"


def is_within(one: StoredObject, records: Sequence[Record]) -> bool:
    """Return True if the range of an object does not reach beyond some records, in stream order."""
    return bool(records) and records[0].position <= one.name.first and one.last <= records[-1].position


def _in_range(one: StoredObject, records: Sequence[Record], table: RouteTable) -> list[Record]:
    """Return the records that an object holds if it holds every one of its place and range."""
    return [
        record
        for record in records
        if one.name.first <= record.position <= one.last
        and any(place_of(record, route) == one.name.place for route in table.routes_for(record))
    ]


class Coverage:
    """Which records stand already, by the ranges of objects."""

    def __init__(self, objects: Iterable[StoredObject]) -> None:
        """Index objects of one shard; those of one place overlap only if they were put without a claim."""
        ranges: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        for one in objects:
            ranges[one.name.place].append((one.name.first, one.last))
        self._ranges: dict[Place, list[tuple[int, int]]] = {}
        for place, found in ranges.items():
            reach = accumulate((last for _, last in sorted(found)), max)
            self._ranges[place] = list(zip(sorted(first for first, _ in found), reach, strict=True))

    def covers(self, place: Place, position: int) -> bool:
        """Return True if a record is stored at a place."""
        ranges = self._ranges.get(place, [])
        index = bisect_right(ranges, position, key=lambda one: one[0]) - 1
        return index >= 0 and position <= ranges[index][1]


class StoredRecords:
    """Which records of a range are stored already, at which of their places."""

    def __init__(
        self,
        objects: Sequence[StoredObject],
        records: Sequence[Record],
        table: RouteTable,
        waiting: Collection[tuple[int, bytes]] = (),
        erased: Collection[int] = (),
        *,
        trusts_what_reaches_beyond: bool = True,
    ) -> None:
        """Compare objects with records.

        Args:
            objects: The settled ones that may hold the records.
            records: What a shard holds in a range, without gaps.
            table: The deployed routes.
            waiting: Position and bytes of records that wait as dead letters, although they can be decoded now.
            erased: Positions of records that an erasure has taken out of dead letters.
            trusts_what_reaches_beyond: As of `is_gapless`.
        """
        self._waiting = frozenset(waiting)
        self._erased = frozenset(erased)
        # A line that its route shows as it is can be identified by its CRC-32 among the others of an aggregate.
        shown = {route.name for route in table.all_routes if not route.rules}
        self._lines: set[tuple[Place, int, str]] = set()
        self._singles: Counter[tuple[Place, int]] = Counter()
        self._beside: Counter[tuple[Place, int]] = Counter()
        for one in objects:
            if one.is_single:
                self._beside[one.name.place, one.name.first] += one.record_count
            if one.is_single and one.record_count == 1 and one.name.place[0] in shown:
                self._lines.add((one.name.place, one.name.first, one.checksum))
            elif one.is_single:
                self._singles[one.name.place, one.name.first] += one.record_count
        places = ((place_of(r, route), r.position) for r in records for route in table.routes_for(r))
        self._totals = Counter(places)
        delivered = [one for one in objects if not one.is_single]
        mine = {one.name.place: [r for r in records if self._is_of_deliveries(r, one.name.place)] for one in delivered}
        self._coverage = Coverage(delivered)
        self._holes = {
            (one.name.place, record.position, record.data)
            for one in delivered
            for record in holes(one, mine[one.name.place], table, is_shown=one.name.place[0] in shown)
        }
        filled = {
            place: [r for r in of_place if (place, r.position, r.data) not in self._holes]
            for place, of_place in mine.items()
        }
        self._unsure = Coverage(
            one
            for one in delivered
            if not is_gapless(one, filled[one.name.place], table, trusts_what_reaches_beyond=trusts_what_reaches_beyond)
        )

    def waits(self, record: Record) -> bool:
        """Return True if a record waits as a dead letter, whose replay delivers it."""
        return (record.position, record.data) in self._waiting

    def is_erased(self, record: Record) -> bool:
        """Return True if a record was a dead letter and has been erased from it."""
        return record.position in self._erased

    def holds(self, record: Record, route: Route) -> bool:
        """Return True if a record is stored at its place on a route, or if that is undecidable (`is_unsure`)."""
        place, position = place_of(record, route), record.position
        if self._is_line(record, place) or self._singles[place, position] > 0:
            return True
        return self._coverage.covers(place, position) and not self.is_hole(record, route)

    def is_hole(self, record: Record, route: Route) -> bool:
        """Return True if an object reaches over a record without holding it: other code could not decode it."""
        return (place_of(record, route), record.position, record.data) in self._holes

    def is_unsure(self, record: Record, route: Route) -> bool:
        """Return True if names and metadata do not tell whether a record is stored."""
        place, position = place_of(record, route), record.position
        if self._is_line(record, place) or self.is_hole(record, route):
            return False
        if self._coverage.covers(place, position):
            return self._unsure.covers(place, position)
        return self._singles[place, position] > 0 and self._beside[place, position] < self._totals[place, position]

    def _is_of_deliveries(self, record: Record, place: Place) -> bool:
        """Return False for what is stored beside the objects of deliveries: as a dead letter, or replayed from one."""
        where = (place, record.position)
        is_beside = self._is_line(record, place) or 0 < self._totals[where] <= self._beside[where]
        return not (self.waits(record) or self.is_erased(record) or is_beside)

    def _is_line(self, record: Record, place: Place) -> bool:
        return (place, record.position, f"{zlib.crc32(record.data + b'\n'):08x}") in self._lines


class LetterDoubtError(CtrFanoutError):
    """Names and metadata do not tell whether the records of a dead letter are stored at a place."""


def lacks(
    letter: StoredObject, record: Record, place: Place, objects: Iterable[StoredObject], table: RouteTable
) -> bool:
    """Return True if a record that was a dead letter is not stored at a place.

    An object of the deployment that could not decode it does not hold it; one of the deployment that decodes it
    does, if its range reaches over it.

    Args:
        letter: The dead letter.
        record: Decoded now.
        place: Where it belongs.
        objects: The settled ones that may hold it.
        table: The deployed routes.

    Raises:
        LetterDoubtError: An object of a third deployment reaches over it.
    """
    for one in objects:
        if one.name.place != place or one.is_single or not one.name.first <= record.position <= one.last:
            continue
        if is_by(one, table):
            return False
        if (one.routes, one.code) != (letter.routes, letter.code):
            raise LetterDoubtError(
                f"{one.name.key} reaches over its records, and neither the code that set them aside nor the deployed "
                "code has put it; compare them by hand"
            )
    return True
