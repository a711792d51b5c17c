"""Every saved query and view, run on what the function has delivered."""

import base64
import gzip
import json
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import pytest

from aws.route_file import shipped_routes
from infrastructure.analysis.queries import SAVED_QUERIES, SavedQuery, queries_for, sql_of
from routing.model import Kind
from schema.columns import columns_of, tables_of
from tests.analysis.lake import Lake

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
    rows = {row["contactid"]: row["times"] for row in lake.ask(saved("Re-emissions"))}
    assert rows == {contact: count for contact, count in times.items() if count > 1}
    assert 3 in rows.values()


def test_view_shows_the_newest_version_of_each_contact_once(lake: Lake, sent: Records) -> None:
    expected = {record["ContactId"]: record["LastUpdateTimestamp"] for record in contacts(sent)}
    rows = lake.ask("SELECT contactid, lastupdatetimestamp FROM analytics_contact_record_latest")
    assert len(rows) == len(expected)
    assert {row["contactid"]: row["lastupdatetimestamp"] for row in rows} == expected


def test_state_durations_add_up_to_the_time_between_first_and_last_event(lake: Lake, sent: Records) -> None:
    events = [record for record in sent if record.get("EventType") not in {None, "HEART_BEAT"} and "AgentARN" in record]
    times: dict[str, list[datetime]] = defaultdict(list)
    for event in events:
        times[event["AgentARN"]].append(datetime.fromisoformat(event["EventTimestamp"]))
    spans = {agent: (max(of) - min(of)).total_seconds() for agent, of in times.items() if len(of) > 1}
    found: dict[str, float] = defaultdict(float)
    for row in lake.ask(saved("Agent state durations")):
        found[row["agentarn"]] += row["seconds"]
    assert found.keys() <= spans.keys()
    assert len(found) > 0
    for agent, seconds in found.items():  # the time after a logout has no state
        assert 0 < seconds <= spans[agent] + 0.1


def test_unknown_fields_do_not_break_a_query(lake: Lake, tmp_path: Any) -> None:
    folder = tmp_path / "x" / "date=2026-03-02"
    folder.mkdir(parents=True)
    new = {
        "ContactId": "c-1",
        "LastUpdateTimestamp": "2026-03-02T00:00:00Z",
        "Novelty": {"a": [1]},
        "Queue": {"New": 1},
    }
    (folder / "s.ndjson.gz").write_bytes(_gzipped(new))
    (route,) = (route for route in _TABLE.routes if route.name == "orders")
    other = Lake(tmp_path)
    other.add_table("t", "x/", columns_of(route, Kind.CONTACT_RECORD))
    assert other.ask("SELECT contactid FROM t") == [{"contactid": "c-1"}]


def _gzipped(record: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(record).encode() + b"\n")


def test_views_of_the_template_are_those_that_are_tested(resources: dict[str, Any]) -> None:
    views = {n: r["Properties"]["TableInput"] for n, r in resources.items() if n.endswith("LatestView")}
    assert {"OrdersContactRecordLatestView", "WorkforceAgentEventLatestView"} <= views.keys()
    for view in views.values():
        text = view["ViewOriginalText"]
        assert text.startswith("/* Presto View: ")
        definition = json.loads(base64.b64decode(text.removeprefix("/* Presto View: ").removesuffix(" */")))
        assert definition["schema"] == "ctr_fanout"
        names = [column["Name"] for column in view["StorageDescriptor"]["Columns"]]
        assert [column["name"] for column in definition["columns"]] == names
        assert all(f'"{name}"' in definition["originalSql"] for name in names)


def test_table_of_the_template_finds_the_objects_that_the_function_puts(resources: dict[str, Any]) -> None:
    for route in _TABLE.routes:
        for kind, name in tables_of(route, _TABLE):
            (table,) = (
                resource["Properties"]["TableInput"]
                for resource in resources.values()
                if resource["Type"] == "AWS::Glue::Table" and resource["Properties"]["TableInput"]["Name"] == name
            )
            where = f"s3://ctr-fanout-111122223333-ap-northeast-1/{route.prefix}/{kind}/"
            assert table["StorageDescriptor"]["Location"] == where
            assert table["Parameters"]["storage.location.template"] == f"{where}date=${{day}}/"
