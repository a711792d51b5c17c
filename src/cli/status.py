"""The `status` command: one screen from live metrics, the mapping and the alarms. Read only."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.stack_function import StackFunctionError, raise_missing
from handlers.telemetry import NAMESPACE
from routing.model import RouteName
from routing.table.routes import DEAD_LETTER_ROUTE, RouteTable

type Client = Callable[..., Any]

# The column, the metric and the statistic of each number of a route.
_OF_ROUTE = (
    ("records", "RecordsDelivered", "Sum"),
    ("objects", "ObjectsDelivered", "Sum"),
    ("bytes", "BytesDelivered", "Sum"),
    ("before", "RecordsDeduplicated", "Sum"),
    ("dead letters", "RecordsDeadLettered", "Sum"),
    ("to retry", "RecordsToRetry", "Sum"),
    ("fresh p99", "Freshness", "p99"),
    ("grant", "GrantCheckFailed", "Maximum"),
)
_OF_STACK = (
    ("received", NAMESPACE, "RecordsReceived", "Sum"),
    ("dropped", NAMESPACE, "RecordsDropped", "Sum"),
    ("batches to retry", NAMESPACE, "InvocationsToRetry", "Sum"),
    ("invocations", "AWS/Lambda", "Invocations", "Sum"),
    ("errors", "AWS/Lambda", "Errors", "Sum"),
    ("throttles", "AWS/Lambda", "Throttles", "Sum"),
    ("oldest waiting (ms)", "AWS/Lambda", "IteratorAge", "Maximum"),
)
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
_MOST_QUERIES = 500
_MINUTE = 60


class StatusError(StackFunctionError):
    """The stack is not there, or may not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a stack is doing.

    Attributes:
        name: The parameter `Name`.
        mapping: The state of the mapping, and what Lambda said of it last.
        alarms: Those that ring, with their reason.
        quiet: How many alarms do not.
        stack: Numbers of the stack; None where nothing was counted.
        routes: Numbers of each route by column, over the same time.
        minutes: Over how long they are.
        retain_days: After how many days the objects of each route expire; None if they stay.
        looked_at: When.
    """

    name: str
    mapping: str
    alarms: list[str]
    quiet: int
    stack: Mapping[str, float | None]
    routes: Mapping[RouteName, Mapping[str, float | None]]
    minutes: int
    retain_days: Mapping[RouteName, int | None] = field(default_factory=dict)
    looked_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_well(self) -> bool:
        """True if no alarm is in state ALARM and the stream is being read."""
        return not self.alarms and self.mapping.startswith(("Enabled", "Updating"))


def look(stack: str, client: Client, table: RouteTable, minutes: int) -> Status:
    """Look at a stack.

    Args:
        stack: Its name.
        client: Makes boto3 clients.
        table: Whose routes to show.
        minutes: Over how long.

    Raises:
        StatusError: It is not there, or may not be looked at.
    """
    try:
        # DescribeStackResources tells of a hundred at most.
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        found = [one for page in pages for one in page["StackResourceSummaries"]]
        resources = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
        if not {"FanOutFunction", "StreamMapping"} <= resources.keys():
            raise StatusError(f"stack {stack!r}: expected the resources of template.yaml, got {len(resources)} others")
        name = resources["FanOutFunction"].rpartition(":")[2]
        mapping = client("lambda").get_event_source_mapping(UUID=resources["StreamMapping"])
        ringing, quiet = _alarms(client, name)
        numbers = _numbers(client, name, table, minutes)
    except ClientError as err:
        raise_missing(err, stack, client)
        raise
    return Status(
        name=name,
        mapping=f"{mapping['State']}: {mapping.get('LastProcessingResult', 'nothing processed yet')}",
        alarms=ringing,
        quiet=quiet,
        stack={label: numbers.get(("", label)) for label, *_ in _OF_STACK},
        routes={
            route.name: {column: numbers.get((route.name, column)) for column, *_ in _OF_ROUTE}
            for route in table.all_routes
        },
        minutes=minutes,
        retain_days={route.name: route.retain_days for route in table.routes}
        | {DEAD_LETTER_ROUTE.name: table.retain_days.dead_letters},
    )


def screen(status: Status) -> Group:
    """Draw the screen."""
    state = Text("all is well", "green") if status.is_well else Text("look at this", "red")
    head = Text.assemble(
        (status.name, "bold"), "  ", state, f"  {status.looked_at:%H:%M:%S} UTC, last {status.minutes} minutes"
    )
    lines = [head, Text(f"stream mapping {status.mapping}")]
    lines += [Text(f"ALARM {alarm}", "red") for alarm in status.alarms]
    lines += [Text(f"{status.quiet} alarms are quiet", "dim")]
    numbers = Table(box=None, pad_edge=False)
    for label in status.stack:
        numbers.add_column(label, justify="right")
    numbers.add_row(*(_shown(value) for value in status.stack.values()))
    routes = Table(box=None, pad_edge=False)
    routes.add_column("route")
    has_days = any(status.retain_days.values())
    for column in (*(column for column, *_ in _OF_ROUTE), *(["kept days"] if has_days else [])):
        routes.add_column(column, justify="right")
    for route, counts in status.routes.items():
        wrong = any(counts[column] for column in ("dead letters", "to retry", "grant"))
        cells = [_grant(counts[column]) if column == "grant" else _shown(counts[column]) for column in counts]
        if has_days:
            days = status.retain_days.get(route)
            cells.append("for ever" if days is None else f"{days}")
        routes.add_row(route, *cells, style="red" if wrong else "")
    return Group(*lines, Text(""), numbers, Text(""), routes)


def as_object(status: Status) -> dict[str, Any]:
    """Return it as JSON holds it."""
    return {
        "name": status.name,
        "isWell": status.is_well,
        "mapping": status.mapping,
        "alarms": status.alarms,
        "minutes": status.minutes,
        "retainDays": dict(status.retain_days),
        "stack": dict(status.stack),
        "routes": {route: dict(counts) for route, counts in status.routes.items()},
    }


def _alarms(client: Client, name: str) -> tuple[list[str], int]:
    ringing: list[str] = []
    quiet = 0
    pages = (
        client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=f"{name} ", AlarmTypes=["CompositeAlarm", "MetricAlarm"])
    )
    for page in pages:
        for alarm in (*page.get("CompositeAlarms", []), *page.get("MetricAlarms", [])):
            if alarm["StateValue"] == "ALARM":
                ringing.append(f"{alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}")
            else:
                quiet += 1
    return ringing, quiet


def _numbers(client: Client, name: str, table: RouteTable, minutes: int) -> dict[tuple[str, str], float]:
    """Ask for all numbers at once, minute by minute: longer datapoints begin long before the time that is asked for.

    A percentile of many minutes cannot be made of those of each; the worst minute is shown.
    """
    asked = [(place, {"Id": f"m{number}", **query}) for number, (place, query) in enumerate(_queries(name, table))]
    now = datetime.now(UTC)
    found: dict[tuple[str, str], float] = {}
    for start in range(0, len(asked), _MOST_QUERIES):
        few = asked[start : start + _MOST_QUERIES]
        pages = (
            client("cloudwatch")
            .get_paginator("get_metric_data")
            .paginate(
                MetricDataQueries=[query for _, query in few],
                StartTime=now - timedelta(minutes=minutes),
                EndTime=now,
            )
        )
        of_id = {query["Id"]: (place, query["MetricStat"]["Stat"]) for place, query in few}
        for page in pages:
            for result in page["MetricDataResults"]:
                place, stat = of_id[result["Id"]]
                if result["Values"]:
                    both = [*result["Values"], *([found[place]] if place in found else [])]
                    found[place] = sum(both) if stat == "Sum" else max(both)
    return found


def _queries(name: str, table: RouteTable) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for label, namespace, metric, stat in _OF_STACK:
        dimensions = {"service": name} if namespace == NAMESPACE else {"FunctionName": name}
        yield ("", label), _query((namespace, metric), dimensions, stat)
    for route in table.all_routes:
        for column, metric, stat in _OF_ROUTE:
            dimensions = {"service": name, "Route": route.name}
            yield (route.name, column), _query((NAMESPACE, metric), dimensions, stat)


def _query(of: tuple[str, str], dimensions: Mapping[str, str], stat: str) -> dict[str, Any]:
    namespace, metric = of
    return {
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            },
            "Period": _MINUTE,
            "Stat": stat,
        },
    }


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _grant(value: float | None) -> str:
    return "-" if value is None else "FAILED" if value else "holds"
