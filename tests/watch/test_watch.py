"""Dashboard and alarms against what the code really emits: nothing unseen, nothing that nobody emits."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aws.invocation import Invocation
from aws.route_file import shipped_routes
from cost.estimate import (
    ALARMS_A_ROUTE,
    ALARMS_BESIDE_ROUTES,
    COLUMNS_ALARMS,
    KEYS_BESIDE_ROUTES,
    Load,
    of_fan_out,
    read_prices,
    total,
)
from doctor.resolve import Resolver
from handlers.telemetry import NAMESPACE, Telemetry
from handlers.wiring.fan_out import FanOut
from infrastructure.monitoring.alarms import alarms, sections
from infrastructure.monitoring.log_queries import LOG_QUERIES
from local.metric_math import Graphs
from local.metrics import Point
from local.translate import translated
from operations.convert.request import ConversionRequest, ConversionSlice
from operations.grant_check.check import Check
from operations.replay.request import ReplayRequest, ReplaySlice
from routing.lambda_event import event_of_documents
from routing.model import RouteName
from routing.reasons import Reason
from routing.stages.report import Report, Trouble
from tests.builders import claim, contact, table
from tests.integration.conftest import Aws, aws

__all__ = ["aws"]

type Metric = tuple[str, str, frozenset[str]]
"""Namespace, name and dimensions."""

# What AWS emits by itself, of the services that the dashboard and the alarms look at.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
_FUNCTION = "Invocations Errors Throttles Duration ConcurrentExecutions IteratorAge DestinationDeliveryFailures"
_MAPPING = (
    "PolledEventCount InvokedEventCount FilteredOutEventCount FailedInvokeEventCount DroppedEventCount "
    "OnFailureDestinationDeliveredEventCount"
)
_STREAM = (
    "IncomingRecords IncomingBytes GetRecords.Bytes WriteProvisionedThroughputExceeded "
    "ReadProvisionedThroughputExceeded"
)
OF_AWS: set[Metric] = {
    *(("AWS/Lambda", name, frozenset({"FunctionName"})) for name in _FUNCTION.split()),
    *(("AWS/Lambda", name, frozenset({"EventSourceMappingUUID"})) for name in _MAPPING.split()),
    *(("AWS/Kinesis", name, frozenset({"StreamName"})) for name in _STREAM.split()),
    ("AWS/Events", "TriggeredRules", frozenset({"RuleName"})),
}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return Resolver(translated(), {"SilenceMinutes": "60", "Parquet": "on"}).resources()


@pytest.fixture(scope="module")
def body(resources: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"])
    return found


def emitted_in(text: str) -> Iterator[Metric]:
    """Read EMF lines as CloudWatch does."""
    for line in text.splitlines():
        document = json.loads(line) if line.startswith("{") else {}
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            for dimensions in directive["Dimensions"]:
                assert all(name in document for name in dimensions)
                for metric in directive["Metrics"]:
                    assert metric["Name"] in document
                    yield directive["Namespace"], metric["Name"], frozenset(dimensions)


@pytest.fixture
def emitted(aws: Aws, capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """Run the wired function on good and poison records, and everything else that counts something."""
    fan_out = FanOut(aws.environment(table()), table())
    capsys.readouterr()
    fan_out(event_of_documents([claim(), contact(), b"poison"]), Invocation("i", lambda: 60.0))
    telemetry = Telemetry("ctr-fanout")
    telemetry.publish_checks([Check("orders"), Check("japan", Reason.KMS_KEY_DISABLED, "disabled")])
    telemetry.publish_replay(ReplayRequest(source="dead-letters", apply=True), ReplaySlice(results=[], next=None))
    done = ConversionSlice(results=[], deleted=0, until={"contact_record": "2026-03-01"}, next=None)
    telemetry.publish_conversion(ConversionRequest(route=RouteName("all")), done, 1_772_500_000.0)
    return set(emitted_in(capsys.readouterr().out))


def expressions(body: dict[str, Any]) -> Iterator[str]:
    for widget in body["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                yield metric[0]["expression"]


def shown_in(body: dict[str, Any]) -> set[Metric]:
    """Return the metrics of a dashboard, those that are searched for among them."""
    found: set[Metric] = set()
    for widget in body["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if not isinstance(metric[0], dict):
                namespace, name, *dimensions, _ = metric
                found.add((namespace, name, frozenset(dimensions[::2])))
    for expression in expressions(body):
        for schema, query in re.findall(r"SEARCH\('\{([^}]*)\} (.*?)', '", expression):
            namespace, *dimensions = schema.split(",")
            (name,) = re.findall(r'MetricName="(\w+)"', query)
            found.add((namespace, name, frozenset(dimensions)))
    return found


def watched_by(resources: dict[str, Any]) -> set[Metric]:
    alarms_ = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    alarms_ += [one["MetricStat"]["Metric"] for a in alarms_ for one in a.get("Metrics", []) if "MetricStat" in one]
    return {
        (alarm["Namespace"], alarm["MetricName"], frozenset(one["Name"] for one in alarm["Dimensions"]))
        for alarm in alarms_
        if "MetricName" in alarm
    }


def test_whatever_is_emitted_is_shown_or_alarmed(
    emitted: set[Metric], body: dict[str, Any], resources: dict[str, Any]
) -> None:
    assert emitted - shown_in(body) - watched_by(resources) == set()


def test_whatever_is_shown_or_alarmed_is_emitted(
    emitted: set[Metric], body: dict[str, Any], resources: dict[str, Any]
) -> None:
    assert (shown_in(body) | watched_by(resources)) - emitted - OF_AWS == set()


def test_what_is_watched_of_this_stack_is_of_this_stack(body: dict[str, Any]) -> None:
    """Two stacks in one account are told apart."""
    for expression in expressions(body):
        assert expression.count("SEARCH(") == expression.count('service="ctr-fanout"')
    for widget in body["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if not isinstance(metric[0], dict) and metric[0] == NAMESPACE:
                assert dict(zip(metric[2:-1:2], metric[3:-1:2], strict=True))["service"] == "ctr-fanout"


def test_searches_are_short_enough(body: dict[str, Any]) -> None:
    for expression in expressions(body):
        assert len(expression) <= 1024, "the limit of a search expression"


def test_widgets_fill_a_grid_of_24_columns_and_do_not_overlap(body: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in body["widgets"]:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        taken |= cells
    assert {x for x, _ in taken} == set(range(24))
    assert len(body["widgets"]) <= 500


def test_first_row_answers_whether_anything_is_lost_late_or_denied(body: dict[str, Any]) -> None:
    first = [widget["properties"]["title"] for widget in body["widgets"] if widget["y"] == 0]
    assert first == ["Alarms", "Lost?", "Late?", "Denied?"]


def test_list_of_alarms_has_every_alarm_that_exists(body: dict[str, Any], resources: dict[str, Any]) -> None:
    (shown,) = (widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm")
    names = {
        resource["Properties"]["AlarmName"]
        for resource in resources.values()
        if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}
    }
    assert {arn.partition(":alarm:")[2] for arn in shown} == names
    assert {"ctr-fanout data at risk", "ctr-fanout silent", "ctr-fanout grant check: orders"} <= names
    assert len(shown) <= 100, "the limit of an alarm widget"


def test_list_of_alarms_has_none_that_does_not_exist() -> None:
    resources = Resolver(translated(), {"GrantCheck": "off"}).resources()
    shown = resources["Dashboard"]["Properties"]["DashboardBody"]
    assert "grant check: orders" not in shown
    assert json.loads(shown)


def panels(body: dict[str, Any], view: str) -> Iterator[dict[str, Any]]:
    yield from (one["properties"] for one in body["widgets"] if one["properties"].get("view") == view)


def test_route_has_one_colour_on_every_panel(body: dict[str, Any]) -> None:
    colours: dict[str, set[str]] = {}
    for panel in panels(body, "timeSeries"):
        for metric in panel["metrics"]:
            if "color" in metric[-1]:
                colours.setdefault(metric[-1]["label"], set()).add(metric[-1]["color"])
    assert set(colours) == {str(route.name) for route in shipped_routes().all_routes}
    assert all(len(found) == 1 for found in colours.values())
    assert len(set().union(*colours.values())) == len(colours)


def test_every_panel_names_its_unit(body: dict[str, Any]) -> None:
    units = {panel["yAxis"]["left"]["label"].removesuffix(" a minute") for panel in panels(body, "timeSeries")}
    assert units == {"records", "objects", "batches", "calls", "invocations", "seconds", "MB"}
    assert "(ms)" not in json.dumps(body)
    assert "bytes)" not in json.dumps(body)


def test_grant_checks_have_a_row_each(body: dict[str, Any], resources: dict[str, Any]) -> None:
    (panel,) = panels(body, "table")
    shown = [metric[-1]["label"] for metric in panel["metrics"]]
    alarmed = {name.removesuffix("GrantAlarm") for name in resources if name.endswith("GrantAlarm")}
    assert len(shown) == len(set(shown)) == len(alarmed)


def test_thresholds_of_the_alarms_are_drawn(body: dict[str, Any]) -> None:
    drawn = {
        line["label"]: line["value"]
        for panel in panels(body, "timeSeries")
        for line in panel.get("annotations", {}).get("horizontal", [])
    }
    assert drawn == {"alarm: freshness": 300, "alarm: late": 900, "alarm: dead letters": 0, "alarm: retrying": 0}


def test_nothing_counted_is_told_from_nothing_lost(body: dict[str, Any]) -> None:
    """AWS counts losses only when there are some: 0 is shown if the function ran, and nothing if it did not."""
    (lost,) = (panel for panel in panels(body, "singleValue") if panel["title"] == "Lost?")
    shown = [metric[0] for metric in lost["metrics"] if isinstance(metric[0], dict)]
    assert len(shown) == 4
    graphs = Graphs([], 0, 120, 60)
    assert [line.values for line in graphs.lines({"properties": lost})] == [[None, None]] * 4
    ran = Point(("AWS/Lambda", "Invocations", frozenset({("FunctionName", "ctr-fanout")})), 61, 1)
    graphs = Graphs([ran], 0, 120, 60)
    assert [line.values for line in graphs.lines({"properties": lost})] == [[None, 0]] * 4


def runbook() -> str:
    return Path("docs/runbook.md").read_text(encoding="utf-8")


def test_every_alarm_names_a_section_of_the_runbook_and_every_section_is_named(resources: dict[str, Any]) -> None:
    headings = set(re.findall(r"^## ([a-z-]+)$", runbook(), re.MULTILINE))
    assert headings == sections(shipped_routes())
    for resource in resources.values():
        if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}:
            (section,) = re.findall(
                r"What to do: docs/runbook\.md#([a-z-]+)", resource["Properties"]["AlarmDescription"]
            )
            assert section in headings


def test_each_section_says_what_it_means_where_to_look_and_what_cures() -> None:
    for section in re.split(r"^## ", runbook(), flags=re.MULTILINE)[1:]:
        for part in ("**Means.**", "**Look.**", "**Cure.**"):
            assert part in section, section.splitlines()[0]
        if re.match(r"[a-z-]+\n", section):  # of an alarm
            assert "**Over.**" in section, section.splitlines()[0]


def test_table_of_the_runbook_leads_from_every_alarm_to_its_section_with_its_severity(
    resources: dict[str, Any],
) -> None:
    rows = re.findall(r"^\| (`.+`) \| \[([a-z-]+)\]\(#\2\) \| (\w+)", runbook(), re.MULTILINE)
    listed = {
        name.partition(": ")[0]: (section, level)
        for names, section, level in rows
        for name in names.strip("`").split("`, `")
    }
    alarms = [one["Properties"] for one in resources.values() if one["Type"].endswith(("::Alarm", "::CompositeAlarm"))]
    assert {alarm["AlarmName"].removeprefix("ctr-fanout ").partition(": ")[0] for alarm in alarms} == {*listed}
    for alarm in alarms:
        section, level = listed[alarm["AlarmName"].removeprefix("ctr-fanout ").partition(": ")[0]]
        assert alarm["AlarmDescription"].endswith(f"#{section}")
        assert f"## {section}\n\n**Severity.** {level.title()}" in runbook()


def test_every_alarm_goes_to_the_topic(resources: dict[str, Any]) -> None:
    topic = "arn:aws:sns:ap-northeast-1:111122223333:ctr-fanout-alarms"
    for resource in resources.values():
        if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}:
            assert resource["Properties"]["AlarmActions"] == resource["Properties"]["OKActions"] == [topic]
    assert resources["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == Resolver(translated(), {}).arn("AlarmKey")


def test_topic_of_the_users_own_takes_the_place_of_ours() -> None:
    mine = "arn:aws:sns:ap-northeast-1:111122223333:mine"
    resources = Resolver(translated(), {"AlarmTopicArn": mine}).resources()
    assert not {"AlarmTopic", "AlarmTopicPolicy", "AlarmKey"} & resources.keys()
    assert resources["LateAlarm"]["Properties"]["AlarmActions"] == [mine]


def test_silence_is_watched_only_where_that_is_asked() -> None:
    assert "SilentAlarm" not in Resolver(translated(), {}).resources()
    alarm = Resolver(translated(), {"SilenceMinutes": "90"}).resources()["SilentAlarm"]["Properties"]
    assert (alarm["EvaluationPeriods"], alarm["Period"], alarm["TreatMissingData"]) == ("90", 60, "breaching")


def test_only_what_has_to_come_is_missed(resources: dict[str, Any]) -> None:
    silent = {alarm.id for alarm in alarms(shipped_routes()) if alarm.silence == "breaching"}
    grants = {alarm.id for alarm in alarms(shipped_routes()) if alarm.metric == "GrantCheckFailed"}
    assert silent == {*grants, "SilentAlarm", "ColumnsLateAlarm"}


def test_data_at_risk_rings_with_whatever_may_lose_records(resources: dict[str, Any]) -> None:
    rule = resources["DataAtRiskAlarm"]["Properties"]["AlarmRule"]
    rings = set(re.findall(r'ALARM\("ctr-fanout ([^"]+)"\)', rule))
    assert rings == {
        "late", "Lambda gave up", "not handed over", "dropped by Lambda", "stream full", "passed over", "silent",
        "grant check: dead-letter", "grant check: checkpoint", "grant check: on-failure", "grant check: stream",
    }  # fmt: skip
    names = {r["Properties"]["AlarmName"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"}
    assert {f"ctr-fanout {name}" for name in rings} <= names


def test_alarm_of_every_route_follows_the_route_table(resources: dict[str, Any]) -> None:
    named = {alarm.dimensions["Route"] for alarm in alarms(shipped_routes()) if alarm.metric == "Freshness"}
    assert named == {route.name for route in shipped_routes().routes}


def test_change_of_any_key_has_the_grants_tried_at_once(resources: dict[str, Any]) -> None:
    rule = resources["KeyChangedRule"]["Properties"]
    resolver = Resolver(translated(), {})
    keys = [name for name, resource in resources.items() if resource["Type"] == "AWS::KMS::Key" and name != "AlarmKey"]
    endings = [one["suffix"] for one in rule["EventPattern"]["detail"]["resources"]["ARN"]]
    assert sorted(endings) == sorted(resolver.arn(name).rpartition("/")[2] for name in keys)
    assert [target["Id"] for target in rule["Targets"]] == ["GrantCheckFunction"]


def test_saved_log_queries_name_what_the_log_says() -> None:
    """The sentences that queries filter by are those of the telemetry, and so are the fields."""
    source = Path("src/handlers/telemetry.py").read_text(encoding="utf-8")
    for query in LOG_QUERIES.values():
        for sentence in re.findall(r'message (?:=|in) \[?((?:"[^"]+"(?:, )?)+)', query):
            for one in re.findall(r'"([^"]+)"', sentence):
                assert f'"{one}"' in source
        for fields in re.findall(r"fields (.*)", query):
            for name in fields.split(", "):
                assert name.startswith("@") or name == "message" or f'"{name}"' in source, name


def test_log_says_what_queries_filter_by(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()
    report.troubles.append(Trouble(None, Reason.UNAVAILABLE, "detail"))
    telemetry = Telemetry("ctr-fanout")
    caplog.set_level("INFO", logger="ctr-fanout")  # whatever level another test has left
    telemetry.publish(report, Invocation("i", lambda: 1.0))
    assert caplog.messages == ["records did not reach their destination", "batch processed"]


@pytest.mark.parametrize(("given", "alarms"), [({}, 0), ({"Parquet": "on"}, COLUMNS_ALARMS)])
def test_cost_estimate_counts_the_alarms_and_keys_that_the_template_makes(given: dict[str, str], alarms: int) -> None:
    kinds = Counter(resource["Type"] for resource in Resolver(translated(), given).resources().values())
    table = shipped_routes()
    made = kinds["AWS::CloudWatch::Alarm"] + kinds["AWS::CloudWatch::CompositeAlarm"]
    assert made == len(table.routes) * ALARMS_A_ROUTE + ALARMS_BESIDE_ROUTES + alarms
    assert kinds["AWS::KMS::Key"] == len(table.routes) + len(table.protection_keys) + KEYS_BESIDE_ROUTES


def test_lean_metrics_are_those_of_the_alarms_for_loss(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    fan_out = FanOut({**aws.environment(table()), "METRICS": "lean"}, table())
    capsys.readouterr()
    fan_out(event_of_documents([claim(), contact(), b"poison"]), Invocation("i", lambda: 60.0))
    emitted = {name for _, name, _ in emitted_in(capsys.readouterr().out)}
    resources = Resolver(translated(), {"Metrics": "lean"}).resources()
    ours = {name for namespace, name, _ in watched_by(resources) if namespace == "CtrFanout"}
    in_math = {"RoutesPassedOver", "InvocationsToRetry"}
    assert emitted == (ours | in_math) - {"GrantCheckFailed"}
    assert not [name for name in resources if name.endswith("FreshnessAlarm")]
    assert {"LateAlarm", "GivenUpAlarm", "DeadLettersAlarm", "PassedOverAlarm", "DataAtRiskAlarm"} <= resources.keys()


def test_lean_stack_of_three_routes_and_a_record_a_second_costs_less_than_45_dollars() -> None:
    prices, _ = read_prices(region="us-east-1")
    load = Load(records_per_second=1, routes=3, is_lean=True, window_seconds=300)
    assert total(of_fan_out(load, prices)) < 45
