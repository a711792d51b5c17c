"""Stored objects, as their names and metadata describe them; none has to be decrypted.

An object holds every record of its route, kind, partition and shard between its first and its last sequence
number, unless its name is among the intents of its shard: then it is not committed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from routing.model import ObjectKey, Record
from routing.stored.object_format import ERASED, FENCING, Name, Place
from routing.table.routes import Route, RouteTable


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A stored object, as its name and metadata describe it.

    Attributes:
        name: What its key tells.
        last: Sequence number of its last record; its first if it is empty.
        record_count: Lines as they were delivered; 0 if it only takes a place.
        checksum: CRC-32 of its lines, eight hexadecimal digits.
        numbers: CRC-32 of the sequence numbers of its records, eight hexadecimal digits.
        reason: Of a dead letter of an object, why it is one; None of all others.
        is_content_named: True if it was put without a claim, under a name that tells its content.
        token: The fencing token of the claim; -1 without a claim.
        routes: The beginning of the digest of the table that has chosen its records.
        code: The beginning of the digest of the code that has chosen its records.
        modified_at: When it was put, seconds since 1970.
        etag: For conditional requests.
        is_erased: True if a contact was taken out of it: its lines are no longer those that were delivered.
    """

    name: Name
    last: int
    record_count: int
    checksum: str
    numbers: str
    reason: str | None = None
    is_content_named: bool = False
    token: int = -1
    routes: str = ""
    code: str = ""
    modified_at: float = 0.0
    etag: str = ""
    is_erased: bool = False

    @property
    def is_single(self) -> bool:
        """True if it holds records of one position only, beside those that a delivery has put."""
        return self.is_content_named and self.name.first == self.last

    @property
    def is_letter(self) -> bool:
        """True if its content waits to be moved to where it belongs."""
        return self.reason is not None


def read_stored_object(name: Name, metadata: Mapping[str, str], modified_at: float, etag: str = "") -> StoredObject:
    """Read the user metadata of an object that was put at a time, seconds since 1970."""
    return StoredObject(
        name=name,
        last=int(metadata.get("last-sequence-number", name.first)),
        record_count=int(metadata.get("record-count", "0")),
        checksum=metadata.get("plain-crc32", ""),
        numbers=metadata.get("numbers-crc32", ""),
        reason=metadata["reason"] if "intended-key" in metadata else None,
        is_content_named=name.has_suffix,  # an erasure or a move gives it a fencing token
        token=int(metadata.get(FENCING, "-1")),
        routes=metadata.get("routes", ""),
        code=metadata.get("code", ""),
        modified_at=modified_at,
        etag=etag,
        is_erased=ERASED in metadata,
    )


def settled(objects: Iterable[StoredObject], intents: Collection[ObjectKey]) -> list[StoredObject]:
    """Return the objects whose records are delivered, or wait as dead letters.

    An empty object holds none; one whose name is an intent may be emptied by the next try. Where a dead
    letter waits for a place, the object there is an earlier try that could not be replaced.
    """
    committed = [one for one in objects if one.name.key not in intents]
    replaced = {one.name.intended for one in committed if one.is_letter}
    return [one for one in committed if one.record_count and (one.is_letter or one.name.key not in replaced)]


def is_by(one: StoredObject, table: RouteTable) -> bool:
    """Return True if the deployed routes and code have chosen the records of an object."""
    return (one.routes, one.code) == (table.origin["routes"], table.origin.get("code", ""))


def place_of(record: Record, route: Route) -> Place:
    """Return where a record is stored on a route."""
    return route.name, record.kind, route.partition.of(record)


def uncommitted(objects: Iterable[StoredObject]) -> list[tuple[StoredObject, bool]]:
    """Return what an unfinished try has left, as far as objects tell it without the shard's row.

    Objects of one place and shard that were put under claims never overlap once they are committed, whether they
    are in their place or wait as dead letters. Where they do, the one with the lower fencing token is older and was
    to be emptied. Below a dead letter that is newer it stays: the dead letter will replace it.

    Returns:
        The objects, each with whether a later one reaches to its end.
    """
    kept: dict[Place, list[StoredObject]] = defaultdict(list)
    left: list[tuple[StoredObject, bool]] = []
    for one in sorted(objects, key=lambda one: -one.token):
        if not one.record_count or one.is_content_named:
            continue
        beside = kept[one.name.place]
        if any(_overlap(one, other) for other in beside):
            left.append((one, any(other.last >= one.last for other in beside)))
        else:
            beside.append(one)
    return left


def _overlap(older: StoredObject, newer: StoredObject) -> bool:
    is_to_be_replaced = newer.is_letter and newer.name.intended == older.name.key
    return not is_to_be_replaced and older.name.first <= newer.last and newer.name.first <= older.last
