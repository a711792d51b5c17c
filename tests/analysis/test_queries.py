"""Every saved query and view, run on what the function has delivered."""

import base64
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from aws.route_file import shipped_routes
from infrastructure.analysis.queries import SAVED_QUERIES, SavedQuery, latest_sql, queries_for, sql_of, view_sql
from infrastructure.analysis.resources import analysis
from local.lake import Lake, lake_of
from routing.model import Kind
from routing.table.reader import load_routes
from schema.columns import columns_of, fields_of, tables_of

type Records = list[dict[str, Any]]

_TABLE = shipped_routes()
ASKED = [
    (query, name)
    for route in _TABLE.routes
    for kind, name in tables_of(route, _TABLE)
    for query in queries_for(kind, columns_of(route, kind))
    if route.name != "unrouted"  # the traffic leaves nothing there
]


def saved(name: str) -> str:
    (query,) = (query for query in SAVED_QUERIES if query.name == name)
    return sql_of(query, "analytics_contact_record" if query.kind is Kind.CONTACT_RECORD else "workforce_agent_event")


def contacts(sent: Records) -> Records:
    """Return the newest version of each contact."""
    newest: dict[str, dict[str, Any]] = {}
    for record in sent:
        if "AWSContactTraceRecordFormatVersion" in record:
            before = newest.get(record["ContactId"])
            if before is None or before["LastUpdateTimestamp"] <= record["LastUpdateTimestamp"]:
                newest[record["ContactId"]] = record
    return list(newest.values())


@pytest.mark.parametrize("query", SAVED_QUERIES, ids=lambda query: query.name)
def test_saved_query_runs_on_every_table_that_has_it_and_finds_something(lake: Lake, query: SavedQuery) -> None:
    assert [name for asked, name in ASKED if asked is query and lake.ask(sql_of(query, name))]


def test_every_saved_query_is_asked() -> None:
    assert {query.name for query, _ in ASKED} == {query.name for query in SAVED_QUERIES}


def test_every_saved_query_of_the_template_is_one_of_these(template: Any) -> None:
    found = {
        resource["Properties"]["QueryString"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Athena::NamedQuery"
    }
    expected = {
        sql_of(query, name)
        for route in _TABLE.routes
        for kind, name in tables_of(route, _TABLE)
        for query in queries_for(kind, columns_of(route, kind))
    }
    assert found == expected


def test_abandoned_contacts_are_counted_by_queue(lake: Lake, sent: Records) -> None:
    queued = [record for record in contacts(sent) if (record.get("Queue") or {}).get("EnqueueTimestamp")]
    expected = Counter(record["Queue"]["Name"] for record in queued)
    gone = Counter(
        record["Queue"]["Name"] for record in queued if not (record.get("Agent") or {}).get("ConnectedToAgentTimestamp")
    )
    rows = lake.ask(saved("Abandoned by queue"))
    assert {row["queue_name"]: row["enqueued"] for row in rows} == expected
    assert {row["queue_name"]: row["abandoned"] for row in rows if row["abandoned"]} == gone
    assert gone


def test_handle_time_is_talk_hold_and_after_contact_work(lake: Lake, sent: Records) -> None:
    times: dict[tuple[str | None, str], list[int]] = defaultdict(list)
    for record in contacts(sent):
        agent = record.get("Agent") or {}
        if agent.get("ConnectedToAgentTimestamp"):
            parts = ("AgentInteractionDuration", "CustomerHoldDuration", "AfterContactWorkDuration")
            queue = (record.get("Queue") or {}).get("Name")
            times[queue, record["Channel"]].append(sum(agent.get(part) or 0 for part in parts))
    rows = {(row["queue_name"], row["channel"]): row for row in lake.ask(saved("Handle time"))}
    assert {place: row["handled"] for place, row in rows.items()} == {place: len(of) for place, of in times.items()}
    for place, of in times.items():
        assert rows[place]["average_handle_seconds"] == pytest.approx(sum(of) / len(of), abs=0.051)


def test_contact_that_came_three_times_is_found(lake: Lake, sent: Records) -> None:
    times = Counter(record["ContactId"] for record in sent if "AWSContactTraceRecordFormatVersion" in record)
    rows = {row["contact_id"]: row["times"] for row in lake.ask(saved("Re-emissions"))}
    assert rows == {contact: count for contact, count in times.items() if count > 1}
    assert 3 in rows.values()


def test_view_shows_the_newest_version_of_each_contact_once(lake: Lake, sent: Records) -> None:
    expected = {record["ContactId"]: record["LastUpdateTimestamp"] for record in contacts(sent)}
    rows = lake.ask("SELECT contact_id, last_update_timestamp FROM analytics_contact_record_latest")
    assert len(rows) == len(expected)
    assert {row["contact_id"]: row["last_update_timestamp"] for row in rows} == expected


def test_state_durations_add_up_to_the_time_between_first_and_last_event(lake: Lake, sent: Records) -> None:
    events = [record for record in sent if record.get("EventType") not in {None, "HEART_BEAT"} and "AgentARN" in record]
    times: dict[str, list[datetime]] = defaultdict(list)
    for event in events:
        times[event["AgentARN"]].append(datetime.fromisoformat(event["EventTimestamp"]))
    spans = {agent: (max(of) - min(of)).total_seconds() for agent, of in times.items() if len(of) > 1}
    found: dict[str, float] = defaultdict(float)
    for row in lake.ask(saved("Agent state durations")):
        found[row["agent_arn"]] += row["seconds"]
    assert found.keys() <= spans.keys()
    assert len(found) > 0
    for agent, seconds in found.items():  # the time after a logout has no state
        assert 0 < seconds <= spans[agent] + 0.1


def test_columns_and_lines_show_the_same_records(lakes: dict[str, Lake]) -> None:
    for name in sorted({name for _, name in ASKED}):
        lines, columns = (
            {row["record"]: row for row in lakes[kind].ask(f"SELECT * FROM {name}")}  # noqa: S608 - names of ours
            for kind in ("lines", "columns")
        )
        assert lines.keys() == columns.keys() != set()
        for record, row in lines.items():
            others = {name: value for name, value in columns[record].items() if value != row[name]}
            assert others.keys() <= {"object", "line"}, {name: (row[name], value) for name, value in others.items()}
    numbered = lakes["columns"].ask("SELECT count(line) AS n, count(*) AS every FROM analytics_contact_record")
    assert numbered[0]["n"] == numbered[0]["every"] > 0
    split = lakes["columns"].ask("SELECT count(line) AS n, count(*) AS every FROM japan_contact_record")
    assert 0 < split[0]["n"] < split[0]["every"], "the newest day is still lines"


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Ask about records of ours: a query by its name, or SQL on the view `t`."""

    def asked(sql: str, *records: dict[str, Any] | str, kind: Kind = Kind.CONTACT_RECORD) -> list[dict[str, Any]]:
        folder = tmp_path / "x" / "date=2026-03-02"
        folder.mkdir(parents=True, exist_ok=True)
        for number, record in enumerate(records):
            text = record if isinstance(record, str) else json.dumps(record)
            (folder / f"{number}.ndjson.gz").write_bytes(gzip.compress(text.encode() + b"\n"))
        lake, columns = Lake(tmp_path), fields_of(kind)
        lake.add_lines("t_lines", "x/")
        lake.add_view("t", view_sql(columns, "t_lines"))
        if (latest := latest_sql(kind, columns, "t")) is not None:
            lake.add_view("t_latest", latest)
        query = next((one for one in SAVED_QUERIES if one.name == sql), None)
        return lake.ask(sql if query is None else sql_of(query, "t"))

    return asked


def contact(**fields: Any) -> dict[str, Any]:
    return {"ContactId": "c-1", "LastUpdateTimestamp": "2026-03-02T00:00:00Z", **fields}


def test_unknown_fields_do_not_break_a_query_and_are_in_the_record(ask: Any) -> None:
    sql = "SELECT contact_id, json_extract_scalar(record, '$.Novelty.a') AS novelty FROM t"
    assert ask(sql, contact(Novelty={"a": 1}, Queue={"New": 1})) == [{"contact_id": "c-1", "novelty": "1"}]


def test_names_that_differ_by_case_only_do_not_break_a_day(ask: Any) -> None:
    """Athena's OpenX SerDe lower-cases every key and refuses the line; contact-redelivery-3 has such a pair."""
    pair = contact(Attributes={"Locale": "ja", "locale": "en", "menuChoice": "2", "connect:Subtype": "x"})
    columns = ("Locale", "locale", "menuChoice")
    shown = ", ".join(f"json_extract_scalar(attributes, '$.{name}') AS c{n}" for n, name in enumerate(columns))
    sql = f"SELECT {shown} FROM t"  # noqa: S608 - names of ours
    assert ask(sql, pair) == [{"c0": "ja", "c1": "en", "c2": "2"}]
    assert ask("SELECT json_extract_scalar(attributes, '$[\"connect:Subtype\"]') AS s FROM t", pair) == [{"s": "x"}]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (contact(Queue=None, Attributes=None), (None, None, None)),
        (contact(), (None, None, None)),
        (contact(Queue={"Name": None, "Duration": None}), (None, None, None)),
        (contact(Queue={"Name": "Orders", "Duration": 7}, Attributes={}), ("Orders", 7, "{}")),
        (contact(Queue="moved", Attributes=[1]), (None, None, "[1]")),
        (contact(Queue={"Name": "Orders", "Duration": "7 s"}), ("Orders", None, None)),
    ],
)
def test_null_absent_and_of_another_type_is_null(ask: Any, record: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (row,) = ask("SELECT queue_name, queue_duration, attributes FROM t", record)
    assert tuple(row.values()) == expected


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-03-02T00:00:31Z", "2026-03-02T00:00:31.999Z"),
        ("2026-03-02T00:00:31.5Z", "2026-03-02T00:00:31.75Z"),
        ("2026-03-02T09:00:00+09:00", "2026-03-02T00:00:01Z"),
        ("2026-03-01T23:59:59Z", "2026-03-02T08:59:59.001+09:00"),
        ("yesterday", "2026-03-02T00:00:00Z"),
        ("", "2026-03-02T00:00:00Z"),
    ],
)
def test_newest_is_chosen_by_instant(ask: Any, older: str, newer: str) -> None:
    """As text the older one is often the greater."""
    records = [contact(LastUpdateTimestamp=newer, Channel="new"), contact(LastUpdateTimestamp=older, Channel="old")]
    assert ask("SELECT channel FROM t_latest", *records) == [{"channel": "new"}]
    assert [row["channel"] for row in ask("Newest of each contact", *records)] == ["new"]
    (row,) = ask("Re-emissions", *records)
    assert row["times"] == 2
    assert row["last_update"] == newer


def test_of_the_same_instant_and_text_the_later_object_is_newer(ask: Any) -> None:
    assert ask("SELECT channel FROM t_latest", contact(Channel="a"), contact(Channel="b")) == [{"channel": "b"}]


def event(at: str, state: str, working_in: str | None, number: int) -> dict[str, Any]:
    routing = {} if working_in is None else {"AgentCrossRegionRoutingConfiguration": {"CurrentRegion": working_in}}
    return {
        "EventId": f"e-{number}",
        "AgentARN": "arn:aws:connect:ap-northeast-1:111122223333:instance/i/agent/a",
        "EventType": "STATE_CHANGE",
        "EventTimestamp": at,
        "CurrentAgentSnapshot": {"AgentStatus": {"Name": state}, **routing},
    }


@pytest.mark.parametrize("here", [None, "ap-northeast-1"])
def test_state_counts_where_the_agent_works(ask: Any, here: str | None) -> None:
    """With Global Resiliency the linked Region gets Login and Offline of an agent who works in the other one."""
    events = [
        event("2026-03-02T00:00:00.000Z", "Available", here, 1),
        event("2026-03-02T00:01:00Z", "Available", "us-east-1", 2),
        event("2026-03-02T10:00:00+01:00", "Offline", "us-east-1", 3),
    ]
    assert ask("Agent state durations", *events, kind=Kind.AGENT_EVENT) == [
        {"agent_arn": events[0]["AgentARN"], "state": "Available", "times": 1, "seconds": 60.0}
    ]


def test_sentiment_is_counted_of_transcripts_only(ask: Any) -> None:
    turn = {"Transcript": {"Id": "1", "ParticipantRole": "AGENT", "Sentiment": "NEGATIVE"}}
    one = {"ContactId": "c-1", "Segments": [turn, {"Utterance": {"Id": "2"}}, turn]}
    rows = ask("Sentiment of segments", one, {"ContactId": "c-2", "Segments": None}, kind=Kind.CONTACT_LENS_SEGMENT)
    assert rows == [{"contact_id": "c-1", "participant": "AGENT", "sentiment": "NEGATIVE", "turns": 2}]


@pytest.mark.parametrize("value", ["a\u2028b\u0085c", "tab, comma; \\N | 'q'", "😀 é", '\\\\ " \\n'])
def test_line_is_one_row_whatever_stands_in_it(ask: Any, value: str) -> None:
    text = json.dumps(contact(CustomerId=value), ensure_ascii=False)
    assert ask("SELECT record, customer_id FROM t", text) == [{"record": text, "customer_id": value}]


def test_views_of_the_template_are_those_that_are_tested(resources: dict[str, Any]) -> None:
    views = {n: r["Properties"]["TableInput"] for n, r in resources.items() if n.endswith("View")}
    assert {"OrdersContactRecordView", "OrdersContactRecordLatestView", "SpeechContactLensSegmentView"} <= views.keys()
    for view in views.values():
        text = view["ViewOriginalText"]
        assert text.startswith("/* Presto View: ")
        definition = json.loads(base64.b64decode(text.removeprefix("/* Presto View: ").removesuffix(" */")))
        assert definition["schema"] == "ctr_fanout"
        names = [column["Name"] for column in view["StorageDescriptor"]["Columns"]]
        assert [column["name"] for column in definition["columns"]] == names
        parsed: Any = sqlglot.parse_one(definition["originalSql"], read="athena")
        assert parsed.named_selects == names
        assert view["PartitionKeys"] == []


def test_table_of_the_template_finds_the_objects_that_the_function_puts(resources: dict[str, Any]) -> None:
    for route in _TABLE.routes:
        for kind, name in tables_of(route, _TABLE):
            (table,) = (
                resource["Properties"]["TableInput"]
                for resource in resources.values()
                if resource["Type"] == "AWS::Glue::Table"
                and resource["Properties"]["TableInput"]["Name"] == f"{name}_lines"
            )
            where = f"s3://ctr-fanout-111122223333-ap-northeast-1/{route.prefix}/{kind}/"
            assert table["StorageDescriptor"]["Location"] == where
            assert table["Parameters"]["storage.location.template"] == f"{where}date=${{day}}/"


_BY_FOLDERS = """
[[routes]]
name = "all"
about = "All"
kinds = ["contact_record"]
prefix = "all"
partition = ["date", "hour", { field = "Channel", values = ["VOICE", "CHAT"] }]
[unmatched]
contact_record = "drop"
agent_event = "drop"
contact_lens_segment = "drop"
other = "drop"
"""


def test_hours_and_declared_values_are_projected_and_are_columns_of_every_view(tmp_path: Path) -> None:
    """Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html."""
    table = load_routes(_BY_FOLDERS)
    lines = analysis(table)["AllContactRecordLines"]["Properties"]["TableInput"]
    assert [key["Name"] for key in lines["PartitionKeys"]] == ["day", "hour", "partition_channel"]
    shown = {name: value for name, value in lines["Parameters"].items() if name.startswith("projection")}
    assert shown["projection.hour.type"] == shown["projection.partition_channel.type"] == "enum"
    assert shown["projection.hour.values"].split(",") == [f"{hour:02}" for hour in range(24)]
    assert shown["projection.partition_channel.values"] == "VOICE,CHAT,other"
    template = lines["Parameters"]["storage.location.template"]
    assert template.endswith("/contact_record/date=${!day}/hour=${!hour}/channel=${!partition_channel}/")
    for day, channel in (("2026-03-02", "CHAT"), ("2026-03-03", "other")):
        folder = tmp_path / f"all/contact_record/date={day}/hour=07/channel={channel}"
        folder.mkdir(parents=True)
        line = json.dumps(contact(Channel="EMAIL", LastUpdateTimestamp=f"{day}T00:00:00Z")).encode()
        (folder / "s-shardId-000000000000-1.ndjson.gz").write_bytes(gzip.compress(line + b"\n"))
    rows = lake_of(tmp_path, table).ask(
        "SELECT day, hour, partition_channel, channel FROM all_contact_record ORDER BY day"
    )
    assert [list(row.values()) for row in rows] == [
        ["2026-03-02", "07", "CHAT", "EMAIL"],
        ["2026-03-03", "07", "other", "EMAIL"],
    ]
    newest = lake_of(tmp_path, table).ask("SELECT day, partition_channel FROM all_contact_record_latest")
    assert newest == [{"day": "2026-03-03", "partition_channel": "other"}]
