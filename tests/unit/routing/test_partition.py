"""Partition: only a validated date enters a key; anything else falls back to the arrival."""

import pytest

from routing.errors import Fault
from routing.stages.decode import Decoder
from routing.table.partition import compile_partition
from tests.builders import contact, numbered_event

ARRIVAL = "2026-03-02"


def date_of(partition: str, document: bytes, arrived_at: float = 1772413962.0) -> str:
    faults: list[Fault] = []
    compiled = compile_partition(partition, "partition", faults)
    assert not faults
    _, (record,) = Decoder(compiled.paths).decode(numbered_event([(1, document)], arrived_at=arrived_at))
    return compiled.date_of(record)


@pytest.mark.parametrize(
    ("arrived_at", "date"),
    [(0.0, "1970-01-01"), (1772409599.999, "2026-03-01"), (1772409600.0, "2026-03-02"), (253402300799.0, "9999-12-31")],
)
def test_arrival_is_dated_in_utc(arrived_at: float, date: str) -> None:
    assert date_of("arrival", contact(), arrived_at) == date


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29"),
        ("2024-02-29T12:00:00.123Z", "2024-02-29"),
        ("2023-02-29T12:00:00Z", ARRIVAL),
        ("2024-02-29T99:99:99Z", ARRIVAL),
        ("2024-02-29T24:00:00Z", ARRIVAL),
        ("2024-02-29T23:59:60Z", "2024-02-29"),
        ("1999-01-01T00:00:00Z", ARRIVAL),
        ("2024-02-29T12:00:00+09:00", ARRIVAL),
        ("2024-02-29", ARRIVAL),
        ("../../x", ARRIVAL),
        ("2024-02-29T12:00:00Z/../x", ARRIVAL),
        ("２０２４-02-29T12:00:00Z", ARRIVAL),
        ("", ARRIVAL),
        (None, ARRIVAL),
        (1709208000, ARRIVAL),
        (["2024-02-29T12:00:00Z", "2024-03-01T12:00:00Z"], ARRIVAL),
        ({"x": 1}, ARRIVAL),
    ],
)
def test_timestamp_of_the_record_dates_it_if_it_is_one(value: object, date: str) -> None:
    assert date_of("DisconnectTimestamp", contact(DisconnectTimestamp=value)) == date


def test_record_without_the_field_is_dated_by_arrival() -> None:
    assert date_of("Agent.ConnectedToAgentTimestamp", contact(Agent=None)) == ARRIVAL


def test_nested_field_dates_the_record() -> None:
    document = contact(Agent={"ConnectedToAgentTimestamp": "2025-01-31T00:00:00Z"})
    assert date_of("Agent.ConnectedToAgentTimestamp", document) == "2025-01-31"


@pytest.mark.parametrize("text", ["a..b", ".a", "a b", "a."])
def test_partition_that_is_no_field_name_is_refused(text: str) -> None:
    faults: list[Fault] = []
    compile_partition(text, "partition", faults)
    assert [str(fault) for fault in faults] == [
        f"partition: expected 'arrival' or a dotted field name of at most 32 names, got {text!r}"
    ]
