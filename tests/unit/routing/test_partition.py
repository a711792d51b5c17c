"""Partition: only a validated time and declared words enter a key; another time is that of arrival."""

import pytest

from routing.errors import ConfigurationError, Fault
from routing.stages.decode import Decoder
from routing.table.partition import Partition, read_partition
from routing.table.toml_reader import TomlReader
from tests.builders import ROUTES, contact, numbered_event, table

ARRIVAL = "2026-03-02"


def partition_of(partition: object, document: bytes, arrived_at: float = 1772413962.0) -> str:
    compiled, faults = read(partition)
    assert not faults
    _, (record,) = Decoder(compiled.paths).decode(numbered_event([(1, document)], arrived_at=arrived_at))
    return compiled.of(record)


def date_of(partition: object, document: bytes, arrived_at: float = 1772413962.0) -> str:
    return partition_of(partition, document, arrived_at).removeprefix("date=")


def read(partition: object) -> tuple[Partition, list[str]]:
    faults: list[Fault] = []
    compiled = read_partition(TomlReader({"partition": partition}, "", faults))
    return compiled, [str(fault) for fault in faults]


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
    expected = "expected 'arrival' or a dotted field name of at most 32 names"
    assert read(text)[1] == [f"partition: {expected}, got {text!r}"]
    assert read([{"date": text}])[1] == [f"partition[0].date: {expected}, got {text!r}"]


CHANNEL = {"field": "Channel", "values": ["VOICE", "CHAT"]}
AT = 1772413962.0
"""2026-03-02T01:12:42Z."""


@pytest.mark.parametrize(
    ("partition", "folders"),
    [
        ("arrival", "date=2026-03-02"),
        (["date"], "date=2026-03-02"),
        (["date", "hour"], "date=2026-03-02/hour=01"),
        (["date", CHANNEL], "date=2026-03-02/channel=CHAT"),
        (["date", "hour", CHANNEL], "date=2026-03-02/hour=01/channel=CHAT"),
        ([{"date": "arrival"}, "hour"], "date=2026-03-02/hour=01"),
        ([{"date": "DisconnectTimestamp"}], "date=2025-12-31"),
        ([{"date": "DisconnectTimestamp"}, "hour"], "date=2025-12-31/hour=23"),
        ([{"date": "InitiationTimestamp"}, "hour"], "date=2026-03-02/hour=01"),
        (
            ["date", {"field": "Queue.Name", "values": ["Orders", "orders-2"]}, CHANNEL],
            "date=2026-03-02/queue_name=orders-2/channel=CHAT",
        ),
        (
            ["date", {"field": "SegmentAttributes.connect:Subtype.ValueString", "values": ["connect"]}],
            "date=2026-03-02/segment_attributes_connect_subtype_value_string=other",
        ),
    ],
)
def test_hours_and_declared_values_are_folders_below_the_date(partition: object, folders: str) -> None:
    document = contact(
        Channel="CHAT",
        Queue={"Name": "orders-2"},
        DisconnectTimestamp="2025-12-31T23:59:60Z",
        InitiationTimestamp="2025-12-31T24:00:00Z",
        SegmentAttributes={"connect:Subtype": {"ValueString": "connect:SMS"}},
    )
    assert partition_of(partition, document, AT) == folders


@pytest.mark.parametrize(
    ("arrived_at", "folders"),
    [
        (0.0, "date=1970-01-01/hour=00"),
        (1772409599.999, "date=2026-03-01/hour=23"),
        (1772409600.0, "date=2026-03-02/hour=00"),
        (253402300799.0, "date=9999-12-31/hour=23"),
    ],
)
def test_hours_of_arrival_are_those_of_utc(arrived_at: float, folders: str) -> None:
    assert partition_of(["date", "hour"], contact(), arrived_at) == folders


@pytest.mark.parametrize(
    "value",
    [
        "voice",
        "VOICE ",
        "VOICE/../x",
        "other",
        "",
        None,
        1,
        True,
        ["VOICE", "CHAT"],
        {"VOICE": 1},
        "ＶＯＩＣＥ",
        "V" * 999,
    ],
)
def test_value_that_is_not_declared_never_enters_a_key(value: object) -> None:
    assert partition_of(["date", CHANNEL], contact(Channel=value)) == "date=2026-03-02/channel=other"


def test_record_without_the_declared_field_is_stored_below_other() -> None:
    assert partition_of(["date", CHANNEL], contact()) == "date=2026-03-02/channel=other"


def test_field_in_an_array_is_no_folder_since_rules_may_hide_its_elements_alone() -> None:
    assert partition_of(["date", CHANNEL], contact(Channel=["VOICE"])) == "date=2026-03-02/channel=other"
    nested = {"field": "References.Type", "values": ["URL"]}
    document = contact(References=[{"Type": "URL"}])
    assert partition_of(["date", nested], document) == "date=2026-03-02/references_type=other"
    own = [{"date": "DisconnectTimestamp"}, "hour"]
    assert partition_of(own, contact(DisconnectTimestamp=["2025-12-31T23:59:59Z"])) == "date=2026-03-02/hour=01"
    assert date_of("DisconnectTimestamp", contact(DisconnectTimestamp=["2025-12-31T23:59:59Z"])) == "2025-12-31"


@pytest.mark.parametrize(
    ("partition", "fault"),
    [
        ([], "partition[0]: expected 'date' or { date = <timestamp field> } first, got nothing"),
        (["hour"], "partition[0]: expected 'date' or { date = <timestamp field> } first, got 'hour'"),
        ([CHANNEL], "partition[0].date: expected a non-empty string, got nothing"),
        (["Date"], "partition[0]: expected 'date' or { date = <timestamp field> } first, got 'Date'"),
        (["date", "date"], "partition[1]: expected { field = ..., values = [...] }, got 'date'"),
        (["date", "Channel"], "partition[1]: expected { field = ..., values = [...] }, got 'Channel'"),
        (
            ["date", CHANNEL, "hour"],
            "partition[2]: expected { field = ..., values = [...] }, got 'hour'; 'hour' comes right behind the date, once",
        ),
        (["date", CHANNEL, CHANNEL], "partition: expected folders of different names, got 'channel' twice"),
        (["date", {**CHANNEL, "field": "Hour"}], "partition: expected folders of different names, got 'hour' twice"),
        (["date", {"field": "Channel"}], "partition[1].values: expected an array of 1 to 50 texts, got nothing"),
        (["date", {**CHANNEL, "values": []}], "partition[1].values: expected an array of 1 to 50 texts, got 0"),
        (
            ["date", {**CHANNEL, "values": "VOICE"}],
            "partition[1].values: expected an array of 1 to 50 texts, got string",
        ),
        (
            ["date", {**CHANNEL, "values": ["VOICE", "other"]}],
            "partition[1].values[1]: expected no 'other': what is not declared is stored there",
        ),
        (["date", {**CHANNEL, "values": ["A", "A"]}], "partition[1].values[1]: expected each once, got 'A' twice"),
        (
            ["date", {**CHANNEL, "values": ["a/b"]}],
            "partition[1].values[0]: expected up to 64 letters, digits, _ and -, since it stands in object keys, got 'a/b'",
        ),
        (
            ["date", {**CHANNEL, "values": [7]}],
            "partition[1].values[0]: expected up to 64 letters, digits, _ and -, since it stands in object keys, "
            "got int",
        ),
        (
            ["date", {**CHANNEL, "field": "名"}],
            "partition[1].field: expected a dotted field name of at most 64 letters, digits, _, - and :, got '名'",
        ),
        (["date", {**CHANNEL, "name": "x"}], "partition[1].name: expected one of field, values, got an unknown key"),
        ("date", "partition: expected 'arrival' or a field, got 'date'; did you mean ['date', 'hour']?"),
        (7, "partition: expected a non-empty string, got int"),
    ],
)
def test_partition_that_is_none_is_one_fault(partition: object, fault: str) -> None:
    assert fault in read(partition)[1]


def test_four_fields_are_too_many() -> None:
    fields = [{"field": f"Attributes.a{n}", "values": ["x"]} for n in range(4)]
    assert read(["date", *fields])[1] == ["partition: expected at most 3 fields, got 4"]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ('remove = ["Channel"]', "partition[2]"),
        ('hash = ["**.Channel"]', "partition[2]"),
        ('seal = ["*"]', "partition[2]"),
        ('keep = ["ContactId"]', "partition[2]"),
        ('keep = ["ContactId", "DisconnectTimestamp"]', "partition[2]"),
        ('mask = ["Channel"]\nwith = "x"', "partition[2]"),
        ('mask = ["DisconnectTimestamp"]\nwith = "x"', "partition[0]"),
        ('remove = ["Attributes"]', None),
    ],
)
def test_field_that_a_route_hides_is_no_folder_of_it(rule: str, place: str | None) -> None:
    partition = 'partition = [{ date = "DisconnectTimestamp" }, "hour", { field = "Channel", values = ["VOICE"] }]'
    text = ROUTES.replace('partition = "DisconnectTimestamp"', f"{partition}\n[[routes.protect]]\n{rule}")
    if place is None:
        table(text)
        return
    with pytest.raises(ConfigurationError) as found:
        table(text)
    assert f"route 'all': {place}: expected fields that the route shows, got" in str(found.value)
