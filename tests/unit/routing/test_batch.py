"""Batching: cuts between commits, and groups that never mix routes, kinds or dates."""

from routing.batch import group, segments
from routing.decode import Decoder
from routing.model import Record, RouteName
from routing.report import Report
from routing.routes import Limits
from tests.builders import agent_event, claim, contact, numbered_event, segment, table

TABLE = table()


def decoded(*documents: bytes) -> list[Record]:
    return Decoder(TABLE.paths).decode(numbered_event(enumerate(documents, start=1)))[1]


def sizes(records: list[Record], *, count: int = 10_000, plain_bytes: int = 1 << 20) -> list[int]:
    return [len(cut) for cut in segments(records, Limits(records=count, plain_bytes=plain_bytes))]


def groups(
    *documents: bytes, watermarks: dict[RouteName, int] | None = None, report: Report | None = None
) -> list[tuple[str, str, str, list[int]]]:
    routed = [(record, TABLE.routes_for(record)) for record in decoded(*documents)]
    made = group(routed, watermarks or {}, report or Report())
    return [(b.route.name, b.kind, b.date, [r.position for r in b.records]) for b in made]


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
        ("all", "contact_record", "2026-03-01", [1, 4]),
        ("claims", "contact_record", "2026-03-02", [1, 4]),
        ("all", "agent_event", "2026-03-02", [2]),
        ("all", "contact_record", "2026-03-02", [3]),
        ("speech", "contact_lens_segment", "2026-03-02", [5]),
        ("dead-letter", "NotJson", "2026-03-02", [6]),
    ]


def test_records_at_or_below_a_routes_watermark_are_skipped_for_that_route_only() -> None:
    report = Report()
    made = groups(claim(), claim(), claim(), watermarks={RouteName("claims"): 2}, report=report)
    assert [(name, positions) for name, _, _, positions in made] == [("all", [1, 2, 3]), ("claims", [3])]
    assert report.of(RouteName("claims")).skipped == 2
    assert (report.attempted, report.pairs) == (3, 6)


def test_records_to_drop_are_counted_by_kind() -> None:
    report = Report()
    assert groups(b"{}", b'{"a":1}', report=report) == []
    assert report.to_drop == {"other": 2}
