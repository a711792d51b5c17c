"""What CloudWatch would count, on the emulator: EMF lines of the log, and what Lambda and Kinesis count by themselves.

The emulator keeps metrics that are put, and takes none out of logs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from local.deployment import Deployed
from local.emulator import Emulator

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
_MOST_AT_ONCE = 500

type Key = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, and dimensions with their values."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value that was counted."""

    key: Key
    at: float
    value: float


@dataclass(slots=True)
class Counted:
    """Points that somebody has counted, for tests and pictures."""

    points: list[Point] = field(default_factory=list)

    def count(self, namespace: str, name: str, at: float, value: float, **dimensions: str) -> None:
        """Add a point."""
        self.points.append(Point((namespace, name, frozenset(dimensions.items())), at, value))

    def put(self, emulator: Emulator) -> None:
        """Put all of it into the emulator's CloudWatch."""
        cloudwatch = emulator.client("cloudwatch")
        for namespace in {point.key[0] for point in self.points}:
            mine = [point for point in self.points if point.key[0] == namespace]
            for few in batched(mine, _MOST_AT_ONCE, strict=False):
                cloudwatch.put_metric_data(
                    Namespace=namespace,
                    MetricData=[
                        {
                            "MetricName": point.key[1],
                            "Dimensions": [{"Name": name, "Value": value} for name, value in sorted(point.key[2])],
                            "Timestamp": datetime.fromtimestamp(point.at, UTC),
                            "Value": point.value,
                        }
                        for point in few
                    ],
                )


def of_logs(emulator: Emulator, deployed: Deployed) -> Counted:
    """Read the EMF lines that the functions have logged.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    counted = Counted()
    logs = emulator.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=deployed.resources["LogGroup"])
    for page in pages:
        for event in page["events"]:
            counted.points += points_in(event["message"])
    return counted


def points_in(text: str) -> Iterator[Point]:
    """Yield the points of EMF lines."""
    for line in text.splitlines():
        start = line.find('{"_aws"')
        if start < 0:
            continue
        document: Mapping[str, Any] = json.loads(line[start:])
        at = document["_aws"]["Timestamp"] / 1000
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, str(document[name])) for name in names)
                for metric in directive["Metrics"]:
                    values = document[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        yield Point((directive["Namespace"], metric["Name"], dimensions), at, float(value))
