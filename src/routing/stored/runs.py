"""What a replay still has to deliver, cut so that no new object reaches over one that is stored."""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from routing.model import Record
from routing.stored.object_format import Place
from routing.stored.objects import StoredObject, place_of
from routing.table.routes import Route, RouteTable


class Narrowed(RouteTable):
    """A route table that leaves out some of the routes that a record takes."""

    def __init__(self, table: RouteTable, keeps: Callable[[Record, Route], bool]) -> None:
        """Bind a table to a predicate: does a record still have to be delivered to a route?"""
        super().__init__(
            routes=table.routes,
            unmatched=table.unmatched,
            limits=table.limits,
            routes_digest=table.routes_digest,
            code=table.code,
        )
        self._keeps = keeps

    def routes_for(self, record: Record) -> tuple[Route, ...]:
        """Return the routes that are left."""
        return tuple(route for route in super().routes_for(record) if self._keeps(record, route))


def runs(
    records: Sequence[Record], table: RouteTable, missing: RouteTable, objects: Iterable[StoredObject] = ()
) -> Iterator[Sequence[Record]]:
    """Cut records so that no object of the missing ones would reach over an object that is stored.

    Args:
        records: Of one shard, in stream order, without gaps.
        table: All routes that they take.
        missing: Those that they still have to go to.
        objects: Those that are stored: other routes may have chosen what they hold.
    """
    run: list[Record] = []
    begun: dict[Place, int] = {}
    passed: set[Place] = set()
    firsts: dict[Place, list[int]] = defaultdict(list)
    for one in objects:
        if not one.is_single:
            insort(firsts[one.name.place], one.name.first)

    def is_over_another(place: Place, position: int) -> bool:
        between = firsts.get(place, [])
        return place in begun and bisect_right(between, begun[place]) < bisect_right(between, position)

    for position, parts in groupby(records, key=attrgetter("position")):  # the records of one aggregate share a name
        together = list(parts)
        to_go = {place_of(record, route) for record in together for route in missing.routes_for(record)}
        if to_go & passed or any(is_over_another(place, position) for place in to_go):
            yield run
            run, begun, passed = [], {}, set()
        run += together
        begun = dict.fromkeys(to_go, position) | begun
        places = {place_of(record, route) for record in together for route in table.routes_for(record)}
        passed |= begun.keys() & (places - to_go)
    yield run
