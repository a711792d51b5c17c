"""The inventory: which objects stand in the bucket, by listing and looking, without decrypting any."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from aws.bucket import Bucket
from routing import layout
from routing.model import ObjectKey, Shard
from routing.stored.object_format import Name, Place, read_name
from routing.stored.objects import StoredObject, read_stored_object
from routing.table.routes import RouteTable


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a listing.

    Attributes:
        key: Of the object.
        name: What it tells; None if the route table makes no such name.
        modified_at: When it was put, seconds since 1970.
    """

    key: ObjectKey
    name: Name | None
    modified_at: float


class Inventory:
    """Lists and looks at the objects of one bucket."""

    def __init__(self, bucket: Bucket, table: RouteTable, workers: Executor) -> None:
        """Bind a bucket to the table that tells what a name means, and to threads that look in parallel."""
        self._bucket = bucket
        self._table = table
        self._workers = workers

    def below(self, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """List the objects below a prefix, in the order of their keys as bytes.

        Args:
            prefix: e.g. `dead-letter/objects/`.
            after: Begin behind this key.
        """
        for entry in self._bucket.list(prefix, after=after):
            key = ObjectKey(entry["Key"])
            yield Listed(key, read_name(key, self._table), entry["LastModified"].timestamp())

    def look(self, names: Iterable[Name]) -> list[StoredObject]:
        """Read the metadata of objects; those that are gone meanwhile are left out."""
        return [found for found in self._workers.map(self.look_at, names) if found is not None]

    def look_at(self, name: Name) -> StoredObject | None:
        """Read the metadata of an object; None if it is gone."""
        answer = self._bucket.look(name.key)
        if answer is None:
            return None
        return read_stored_object(name, answer["Metadata"], answer["LastModified"].timestamp(), answer["ETag"])

    def around(
        self, shard: Shard, places: Iterable[Place], first: int, last: int, intents: Collection[ObjectKey]
    ) -> list[StoredObject]:
        """Return the objects of a shard that may hold a record between two sequence numbers.

        Args:
            shard: The shard of the records.
            places: Where to look: routes, kinds and partitions.
            first: The first sequence number, as a number.
            last: The last one.
            intents: Names that are not committed; they do not end the search for an earlier object.
        """
        names = (
            listed.name
            for place in places
            for prefix in self._prefixes(place, shard)
            for listed in self.below(prefix)
            if listed.name is not None and listed.name.is_of(shard)
        )
        return list(self.between(names, first, last, intents))

    def everything(self) -> dict[tuple[str, str], list[Listed]]:
        """List every prefix as a whole; return what has a name by stream name and shard id."""
        found: dict[tuple[str, str], list[Listed]] = defaultdict(list)
        for prefix in (*(route.prefix for route in self._table.all_routes), layout.OBJECT_LETTER_PREFIX):
            for listed in self.below(f"{prefix}/"):
                if listed.name is not None:
                    found[listed.name.stream_name, listed.name.shard_id].append(listed)
        return found

    def between(
        self, names: Iterable[Name], first: int, last: int | None, intents: Collection[ObjectKey]
    ) -> Iterator[StoredObject]:
        """Look at those objects of a shard that may hold a record between two sequence numbers.

        Args:
            names: Of all objects of the shard.
            first: The first sequence number, as a number.
            last: The last one; None for all that come behind.
            intents: Names that are not committed; they do not end the search for an earlier object.
        """
        by_place: dict[tuple[Place, bool], list[Name]] = defaultdict(list)
        for name in names:
            if last is None or name.first <= last:
                by_place[name.place, name.key == name.intended].append(name)
        for of_place in by_place.values():
            of_place.sort(key=lambda name: name.first)
            yield from self.look(name for name in of_place if name.first >= first)
            # The nearest object before may reach into the range; an empty one says nothing about those before it.
            for name in reversed([name for name in of_place if name.first < first]):
                looked = self.look([name])
                yield from looked
                is_sure = looked and looked[0].record_count and not looked[0].is_content_named
                if is_sure and name.key not in intents:
                    break

    def _prefixes(self, place: Place, shard: Shard) -> Iterator[str]:
        route, kind, partition = place
        prefix = next(one.prefix for one in self._table.all_routes if one.name == route)
        below = f"{prefix}/{kind}/{partition}/{shard.stream_name}-{shard.shard_id}-"
        yield below
        if route != layout.DEAD_LETTER:
            yield f"{layout.OBJECT_LETTER_PREFIX}/{below}"
