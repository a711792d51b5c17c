"""Batching: cuts between commits, and groups that never mix routes, kinds or dates."""

import pytest
from msgspec import structs

from routing.model import Record, RouteName
from routing.stages.batch import Grouping, first_segment, fitting, group
from routing.stages.decode import Decoder
from routing.table.routes import Limits
from tests.builders import agent_event, claim, contact, numbered_event, segment, table

TABLE = table()


def decoded(*documents: bytes) -> list[Record]:
    return Decoder(TABLE.paths).decode(numbered_event(enumerate(documents, start=1)))[1]


def sizes(records: list[Record], *, count: int = 10_000, plain_bytes: int = 1 << 20) -> list[int]:
    cuts: list[int] = []
    while left := records[sum(cuts) :]:
        cuts.append(len(first_segment(left, Limits(records=count, plain_bytes=plain_bytes))))
    return cuts


def grouped(*documents: bytes, watermarks: dict[RouteName, int] | None = None) -> Grouping:
    return group([(record, TABLE.routes_for(record)) for record in decoded(*documents)], watermarks or {})


def groups(*documents: bytes) -> list[tuple[str, str, str, list[int]]]:
    return [(b.route.name, b.kind, b.partition, [r.position for r in b.records]) for b in grouped(*documents).batches]


def test_records_within_the_limits_are_one_segment() -> None:
    assert sizes(decoded(*[contact()] * 7)) == [7]


def test_segments_hold_at_most_the_count() -> None:
    assert sizes(decoded(*[contact()] * 7), count=3) == [3, 3, 1]


def test_segments_hold_at_most_the_bytes() -> None:
    records = decoded(*[contact(x="a" * 400)] * 5)
    assert sizes(records, plain_bytes=len(records[0].data) * 2) == [2, 2, 1]


def test_record_beyond_the_bytes_passes_alone() -> None:
    records = decoded(contact(), contact(x="a" * 5000), contact())
    assert sizes(records, plain_bytes=1000) == [1, 1, 1]


def test_segments_never_divide_a_sequence_number() -> None:
    """The parts of an aggregate share it, and a watermark can name only the whole."""
    first, second, third = decoded(contact(), contact(), contact())
    parts = [first, second, second, second, third]
    assert sizes(parts, count=2) == [1, 3, 1]


def test_groups_are_apart_by_route_kind_and_date_in_stream_order() -> None:
    assert groups(
        claim(DisconnectTimestamp="2026-03-01T23:59:59Z"),
        agent_event(),
        contact(DisconnectTimestamp="2026-03-02T00:00:00Z"),
        claim(DisconnectTimestamp="2026-03-01T10:00:00Z"),
        segment(),
        b"poison",
    ) == [
        ("all", "contact_record", "date=2026-03-01", [1, 4]),
        ("claims", "contact_record", "date=2026-03-02", [1, 4]),
        ("all", "agent_event", "date=2026-03-02", [2]),
        ("all", "contact_record", "date=2026-03-02", [3]),
        ("speech", "contact_lens_segment", "date=2026-03-02", [5]),
        ("dead-letter", "NotJson", "date=2026-03-02", [6]),
    ]


def test_records_at_or_below_a_routes_watermark_are_skipped_for_that_route_only() -> None:
    made = grouped(claim(), claim(), claim(), watermarks={RouteName("claims"): 2})
    found = [(batch.route.name, [record.position for record in batch.records]) for batch in made.batches]
    assert found == [("all", [1, 2, 3]), ("claims", [3])]
    assert made.skipped == {"claims": 2}
    assert (made.attempted, made.pairs) == (3, 6)


def test_records_to_drop_are_counted_by_kind() -> None:
    made = grouped(b"{}", b'{"a":1}')
    assert (made.batches, made.dropped) == ([], {"other": 2})


def dated(day: int) -> bytes:
    return contact(DisconnectTimestamp=f"2026-03-{day:02}T00:00:00Z")


def positions_that_fit(records: list[Record], room: int) -> list[int]:
    made = group([(record, TABLE.routes_for(record)) for record in records], {})
    return [record.position for record in fitting(records, made, room)]


@pytest.mark.parametrize(("room", "count"), [(9, 4), (4, 4), (3, 3), (2, 2), (1, 1), (0, 1)])
def test_commit_covers_no_more_objects_than_there_is_room_for(room: int, count: int) -> None:
    records = decoded(*(dated(day) for day in range(1, 5)))
    assert positions_that_fit(records, room) == list(range(1, count + 1))


def test_records_that_make_no_further_object_come_along() -> None:
    records = decoded(dated(1), dated(2), dated(1), dated(3), dated(1))
    assert positions_that_fit(records, 2) == [1, 2, 3]


def test_one_sequence_number_is_never_cut_by_the_room_either() -> None:
    first, *others = decoded(dated(1), dated(2), dated(3), dated(4))
    together = [structs.replace(record, position=first.position) for record in (first, *others[:2])]
    assert positions_that_fit([*together, others[2]], 2) == [1, 1, 1]
