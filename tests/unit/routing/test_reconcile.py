"""Reconcile: every record against the objects whose names and metadata speak of it."""

from collections.abc import Iterable, Mapping, Sequence
from copy import replace
from typing import Any

from routing.model import FencingToken, ObjectKey, Record, RouteName, Shard
from routing.stages.batch import group
from routing.stages.decode import Decoder
from routing.stages.render import render
from routing.stored.object_format import read_name
from routing.stored.objects import StoredObject, read_stored_object
from routing.stored.reconcile import Balance, reconcile
from tests.builders import claim, contact, numbered_event, table

TABLE = table()
CLAIMS = RouteName("claims")
TOKEN = FencingToken(1)
ARRIVED = 1_772_413_962.0


def stream(*documents: bytes, first: int = 100) -> tuple[Shard, Sequence[Record]]:
    shard, records = Decoder(TABLE.paths).decode(numbered_event(enumerate(documents, start=first)))
    assert shard is not None
    return shard, records


def delivered(shard: Shard, records: Sequence[Record], *, token: FencingToken | None = TOKEN) -> list[StoredObject]:
    """Return what stands after a delivery of these records."""
    routed = [(record, TABLE.routes_for(record)) for record in records]
    rendered = [render(batch, shard, token, TABLE.origin) for batch in group(routed, {}).batches]
    names = [(read_name(one.key, TABLE), one.metadata) for one in rendered]
    return [read_stored_object(name, metadata, ARRIVED) for name, metadata in names if name is not None]


def claims(
    records: Iterable[Record],
    objects: Iterable[StoredObject],
    *,
    mark: int = 10**6,
    intents: Sequence[ObjectKey] = (),
    due_before: float = 0.0,
) -> Balance:
    marks: Mapping[RouteName, int] = dict.fromkeys(TABLE.names, mark)
    return reconcile(records, objects, TABLE, watermarks=marks, intents=intents, due_before=due_before)[CLAIMS]


DOCUMENTS = [claim(n=0), contact(n=1), claim(n=2), claim(n=3), contact(n=4), claim(n=5)]


def test_balance_holds_when_every_record_stands_once() -> None:
    shard, records = stream(*DOCUMENTS)
    objects = delivered(shard, records[:3]) + delivered(shard, records[3:])
    assert claims(iter(records), objects) == Balance(expected=4, delivered=4)
    by_route = reconcile(records, objects, TABLE, watermarks={}, intents=(), due_before=0.0)
    assert all(balance.holds for balance in by_route.values())


def test_record_that_no_object_holds_is_missing_where_the_route_has_passed_it() -> None:
    shard, records = stream(*DOCUMENTS)
    found = claims(records, delivered(shard, records[:3]), mark=103)
    assert (found.missing, found.pending, found.late, found.holds) == (["103"], 1, [], False)


def test_pending_record_is_late_when_it_is_due() -> None:
    """Where nothing moves a watermark, a loss would look like a delay for ever."""
    _, records = stream(*DOCUMENTS[:3])
    assert claims(records, [], mark=-1, due_before=ARRIVED) == Balance(expected=2, pending=2)
    late = claims(records, [], mark=-1, due_before=ARRIVED + 1)
    assert (late.late, late.holds) == (["100", "102"], False)


def test_record_in_two_objects_is_duplicated() -> None:
    shard, records = stream(*DOCUMENTS)
    found = claims(records, delivered(shard, records) + delivered(shard, records[2:4]))
    assert (found.duplicated, found.delivered, found.unexpected) == (["102", "103"], 2, [])


def test_object_with_other_records_than_the_streams_is_unexpected() -> None:
    shard, records = stream(*DOCUMENTS)
    _, others = stream(*[claim(n=9)] * len(DOCUMENTS))
    found = claims(records, delivered(shard, [*records[:2], others[2], *records[3:]]))
    assert [why for _, why in found.unexpected] == ["expected the stream's records, got lines with another CRC-32"]


def test_object_with_a_hole_is_unexpected() -> None:
    shard, records = stream(*DOCUMENTS)
    found = claims(records, delivered(shard, [records[0], *records[3:]]))
    assert [why for _, why in found.unexpected] == ["expected 4 records between its first and its last, got 3"]


def test_object_that_reaches_beyond_the_range_is_not_held_against_it() -> None:
    shard, records = stream(*DOCUMENTS)
    assert claims(records[2:4], delivered(shard, records)) == Balance(expected=2, delivered=2)


def test_name_that_nobody_has_committed_holds_nothing() -> None:
    shard, records = stream(*DOCUMENTS)
    objects = delivered(shard, records)
    found = claims(records, objects, intents=[one.name.key for one in objects])
    assert len(found.missing) == 4


def test_object_without_records_in_the_stream_is_unexpected() -> None:
    shard, records = stream(claim(n=0), contact(n=1), contact(n=2), claim(n=3))
    _, strangers = stream(contact(n=0), claim(n=1), claim(n=2))
    found = claims(
        records, [*delivered(shard, records[:1]), *delivered(shard, strangers[1:]), *delivered(shard, records[3:])]
    )
    assert [why for _, why in found.unexpected] == ["expected 0 records between its first and its last, got 2"]


def test_content_named_object_holds_what_others_lack() -> None:
    """A replay of record letters leaves holes, where records had another way."""
    shard, records = stream(*DOCUMENTS)
    late = delivered(shard, [records[0], records[3]], token=None)
    found = claims(records, [*late, *delivered(shard, records[2:3]), *delivered(shard, records[4:])])
    assert found == Balance(expected=4, delivered=4)


def test_content_named_object_that_comes_on_top_doubles() -> None:
    shard, records = stream(*DOCUMENTS)
    found = claims(records, delivered(shard, records) + delivered(shard, records[2:4], token=None))
    assert (found.duplicated, found.unexpected) == (["102", "103"], [])


def test_no_more_records_are_kept_than_the_objects_under_way_have() -> None:
    """A day of a busy shard does not fit into memory."""
    shard, records = stream(*[claim(n=number) for number in range(400)])
    objects = [one for start in range(0, 400, 10) for one in delivered(shard, records[start : start + 10])]
    alive: list[int] = []

    class Counted:
        """A record that tells when it is let go."""

        living = 0

        def __init__(self, record: Record) -> None:
            self._record = record
            Counted.living += 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._record, name)

        def __del__(self) -> None:
            Counted.living -= 1

    def flowing() -> Iterable[Any]:
        for record in records:
            yield Counted(record)
            alive.append(Counted.living)

    assert claims(flowing(), objects) == Balance(expected=400, delivered=400)
    assert max(alive) < 40


def test_object_that_a_contact_was_erased_from_still_holds_its_records() -> None:
    """Its lines are others then; its name, count and sequence numbers are not."""
    shard, records = stream(*DOCUMENTS)
    (whole,) = (one for one in delivered(shard, records) if one.name.place[0] == CLAIMS)
    changed = replace(whole, checksum="00000000")
    assert claims(records, [changed]).unexpected != []
    assert claims(records, [replace(changed, is_erased=True)]) == Balance(expected=4, delivered=4)


def test_erased_object_with_other_records_is_still_unexpected() -> None:
    shard, records = stream(*DOCUMENTS)
    (whole,) = (one for one in delivered(shard, records) if one.name.place[0] == CLAIMS)
    assert claims(records, [replace(whole, numbers="00000000", is_erased=True)]).unexpected != []
