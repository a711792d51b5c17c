"""Reconcile: what the stream held against what stands, by names and metadata alone.

An object tells its range of records, their count and the CRC-32 of its lines; so every line is compared
without decrypting one.
"""

import zlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from routing import dead_letter
from routing.model import ObjectKey, Record, RouteName, SequenceNumber
from routing.routes import RouteTable
from routing.standing import Place, Standing, place_of, settled


@dataclass(slots=True)
class Balance:
    """The balance of one route and shard.

    Attributes:
        expected: Records that take the route.
        delivered: Those that stand once below its prefix.
        dead_lettered: Those that wait below `dead-letter/objects/`.
        pending: Those that the route has not reached yet.
        missing: Sequence numbers of those that are nowhere.
        duplicated: Sequence numbers of those that stand more than once.
        unexpected: Names of objects that do not hold what they should, and why.
    """

    expected: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    pending: int = 0
    missing: list[SequenceNumber] = field(default_factory=list)
    duplicated: list[SequenceNumber] = field(default_factory=list)
    unexpected: list[tuple[ObjectKey, str]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True if nothing is missing, duplicated or unexpected."""
        return not (self.missing or self.duplicated or self.unexpected)


def reconcile(
    records: Sequence[Record],
    objects: Iterable[Standing],
    table: RouteTable,
    *,
    watermarks: Mapping[RouteName, int],
    intents: Collection[ObjectKey],
) -> dict[RouteName, Balance]:
    """Hold what a shard held in a range against the objects that may hold it.

    Args:
        records: All of the range, in stream order.
        objects: Those of the shard that may reach into the range.
        table: The deployed routes.
        watermarks: How far each route is.
        intents: Names that nobody has committed.

    Returns:
        A balance for each route, the one of dead letters among them.
    """
    balances = {route.name: Balance() for route in table.all_routes}
    belonging: dict[Place, list[Record]] = defaultdict(list)
    for record in records:
        for route in table.routes_for(record):
            balances[route.name].expected += 1
            belonging[place_of(record, route)].append(record)
    if not records:
        return balances
    first, last = records[0].position, records[-1].position
    standing: dict[Place, list[Standing]] = defaultdict(list)
    for one in settled(objects, intents):
        if one.last >= first and one.name.first <= last:
            standing[one.name.place].append(one)
    for place in belonging.keys() | standing.keys():
        balance, mark = balances[place[0]], watermarks.get(place[0], -1)
        _compare(belonging[place], standing[place], balance, mark, within=(first, last))
    return balances


def _compare(
    records: Sequence[Record], objects: Sequence[Standing], balance: Balance, mark: int, *, within: tuple[int, int]
) -> None:
    """Compare one place: its records against its objects."""
    positions = [record.position for record in records]
    holders: list[list[Standing]] = [[] for _ in records]
    for one in objects:
        begin, end = bisect_left(positions, one.name.first), bisect_right(positions, one.last)
        for place in range(begin, end):
            holders[place].append(one)
        if within[0] <= one.name.first and one.last <= within[1] and (why := _wrong(one, records[begin:end])):
            balance.unexpected.append((one.name.key, why))
    for record, holding in zip(records, holders, strict=True):
        if len(holding) > 1:
            balance.duplicated.append(record.sequence_number)
        elif holding:
            is_letter = holding[0].is_letter or holding[0].name.place[0] == dead_letter.ROUTE
            balance.dead_lettered += is_letter
            balance.delivered += not is_letter
        elif record.position > mark:
            balance.pending += 1
        else:
            balance.missing.append(record.sequence_number)


def _wrong(one: Standing, records: Sequence[Record]) -> str:
    """Tell what is wrong with an object, by the records that it should hold."""
    if one.record_count != len(records):
        return f"expected {len(records)} records between its first and its last, got {one.record_count}"
    checksum = 0
    for record in records:
        checksum = zlib.crc32(record.data + b"\n", checksum)
    return "" if one.checksum == f"{checksum:08x}" else "expected the stream's records, got lines with another CRC-32"
