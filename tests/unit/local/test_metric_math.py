"""Metric math: what the dashboard asks, answered on points that were counted."""

import json
from typing import Any

import pytest

from doctor.resolve import Resolver
from local.metric_math import Graphs, MetricMathError
from local.metrics import Counted, points_in
from local.translate import translated


def graphs() -> Graphs:
    counted = Counted()
    for at, route, value in ((0.0, "orders", 2.0), (1.0, "orders", 3.0), (12.0, "orders", 4.0), (2.0, "japan", 10.0)):
        counted.count("CtrFanout", "RecordsDelivered", at, value, service="s", Route=route)
    counted.count("CtrFanout", "RecordsDelivered", 1.0, 99.0, service="another", Route="orders")
    counted.count("AWS/Lambda", "Invocations", 3.0, 5.0, FunctionName="s")
    return Graphs(counted.points, 0.0, 20.0, 10.0)


def lines(*metrics: list[Any]) -> dict[str, list[float | None]]:
    widget = {"properties": {"metrics": list(metrics)}}
    return {line.label: line.values for line in graphs().lines(widget)}


SEARCH = "SEARCH('{CtrFanout,Route,service} MetricName=\"RecordsDelivered\" service=\"s\"', 'Sum', 60)"


def test_search_finds_every_route_of_this_service_and_labels_it() -> None:
    found = lines([{"expression": SEARCH, "label": "${PROP('Dim.Route')}"}])
    assert found == {"orders": [5.0, 4.0], "japan": [10.0, None]}


def test_search_with_other_dimensions_finds_nothing() -> None:
    assert lines([{"expression": SEARCH.replace("Route,service", "service"), "label": "x"}]) == {}


def test_sum_and_maximum_go_across_series() -> None:
    assert lines([{"expression": f"SUM({SEARCH})", "label": "x"}]) == {"x": [15.0, 4.0]}
    assert lines([{"expression": f"MAX({SEARCH})", "label": "x"}]) == {"x": [10.0, 4.0]}


def test_hidden_metrics_count_in_expressions_only() -> None:
    metric = [
        "AWS/Lambda",
        "Invocations",
        "FunctionName",
        "s",
        {"label": "i", "stat": "Sum", "id": "i", "visible": False},
    ]
    assert lines(metric, [{"expression": "i/PERIOD(i)*4+1", "label": "rate"}]) == {"rate": [3.0, None]}


def test_what_is_not_known_is_told() -> None:
    with pytest.raises(MetricMathError, match="ANOMALY_DETECTION_BAND"):
        lines([{"expression": "ANOMALY_DETECTION_BAND(m1, 2)", "label": "x"}])


def test_every_widget_of_the_dashboard_can_be_evaluated() -> None:
    body = json.loads(Resolver(translated(), {}).resources()["Dashboard"]["Properties"]["DashboardBody"])
    for widget in body["widgets"]:
        if widget["type"] == "metric":
            graphs().lines(widget)


def test_emf_lines_are_read_out_of_a_log() -> None:
    line = {
        "_aws": {
            "Timestamp": 2000,
            "CloudWatchMetrics": [{"Namespace": "N", "Dimensions": [["service"]], "Metrics": [{"Name": "A"}]}],
        },
        "service": "s",
        "A": [1.0, 2.0],
    }
    found = list(points_in(f"START\n2026 {json.dumps(line, separators=(',', ':'))}\n" + '{"message":"x"}'))
    assert [(point.key, point.at, point.value) for point in found] == [
        (("N", "A", frozenset({("service", "s")})), 2.0, 1.0),
        (("N", "A", frozenset({("service", "s")})), 2.0, 2.0),
    ]
