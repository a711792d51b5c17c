"""The dashboard of a stack: a grid of widgets, the first row for a reader with one minute.

A route has one colour on every panel. Units are seconds and megabytes. A number that is 0 was counted as 0; `--` means
that nothing was counted at all. Texts may hold `${Name}` and other references of the template; what CloudWatch itself
fills in is spelled `${!...}` for CloudFormation.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cost.estimate import Prices
from handlers.telemetry import NAMESPACE
from infrastructure.cfn_yaml import Function, Ref, Sub, Text
from infrastructure.monitoring.alarms import DATA_AT_RISK, Alarm, alarms
from operations.grant_check.check import CHECKED_BESIDE_ROUTES
from routing.reasons import Reason
from routing.table.routes import RouteTable

type Widget = dict[str, Any]
type Metric = list[Any]

_COLUMNS = 24
_HEIGHT = 6
_MINUTE = 60
_SECONDS_A_MONTH = 30 * 86_400
_BYTES_A_MEGABYTE = 1_000_000
_OF_KEYS = tuple(reason for reason in Reason if reason.startswith("KmsKey"))
# Sixteen that are told apart, also by people who do not see red and green alike; dead letters are grey.
# https://colorbrewer2.org (Paired, Dark2)
_COLOURS = (
    "#1f78b4", "#ff7f00", "#33a02c", "#6a3d9a", "#b15928", "#1b9e77", "#e7298a", "#a6cee3",
    "#fdbf6f", "#b2df8a", "#cab2d6", "#d95f02", "#7570b3", "#66a61e", "#e6ab02", "#a6761d",
)  # fmt: skip
_GREY = "#7f7f7f"
_CONSOLE = "https://${AWS::Region}.console.aws.amazon.com"
_LINKS = f"""
[What to do when an alarm fires](${{RunbookUrl}})

[Log of the functions]({_CONSOLE}/cloudwatch/home?region=${{AWS::Region}}#logsV2:log-groups/log-group/$252Faws$252Flambda$252F${{Name}})

[Saved queries: Logs Insights, folder ${{Name}}]({_CONSOLE}/cloudwatch/home?region=${{AWS::Region}}#logsV2:logs-insights)

[The function]({_CONSOLE}/lambda/home?region=${{AWS::Region}}#/functions/${{Name}})
"""


def dashboard_body(table: RouteTable, prices: Prices) -> Function:
    """Return the body as a `!Sub`, with the alarms that exist on a condition as its variables."""
    panels = _Panels(table)
    rows = [
        _first_row(panels), _routes(panels), _freshness(panels), _set_aside(panels), _mapping(panels), _function(),
        _stream(prices),
    ]  # fmt: skip
    widgets = [widget for y, row in enumerate(rows) for widget in _placed(row, y * _HEIGHT)]
    body = json.dumps({"start": "-PT6H", "periodOverride": "inherit", "widgets": widgets}, indent=1)
    # What JSON cannot hold: a part of a list that may be empty, and a number that only the deployment knows.
    body = re.sub(r',\s*"@list (\w+)"', r"${\1}", body)
    body = re.sub(r'"@number (\w+)"', r"${\1}", body)
    return Function(("Sub", [Text(body + "\n"), panels.conditional_alarms()]))


class _Panels:
    """What the widgets of one table share: its alarms, and a colour for each route."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._alarms = alarms(table)
        self.routes = [str(route.name) for route in table.all_routes]
        self._colours = dict(zip((str(route.name) for route in table.routes), _COLOURS, strict=False))

    def by_route(self, metric: str, stat: str, *, megabytes: bool = False) -> list[Metric]:
        """Return a metric of each route, in its colour."""
        found = []
        for number, name in enumerate(self.routes):
            options = {"label": name, "color": self._colours.get(name, _GREY), "stat": stat}
            if megabytes:
                found += _scaled([NAMESPACE, metric, "Route", name, "service", "${Name}", options], f"b{number}")
            else:
                found.append([NAMESPACE, metric, "Route", name, "service", "${Name}", options])
        return found

    def checks(self) -> list[Metric]:
        """Return a row for each grant check."""
        names = (*self.routes, *self._table.protection_keys, *CHECKED_BESIDE_ROUTES)
        return [
            [NAMESPACE, "GrantCheckFailed", "Route", name, "service", "${Name}", {"label": name, "stat": "Maximum"}]
            for name in names
        ]

    def shown_alarms(self) -> list[str]:
        """Return what the list of alarms holds, for each condition one entry that stands for several."""
        always = [f"${{{alarm.id}.Arn}}" for alarm in self._alarms if alarm.condition is None]
        return [*always, *(f"@list {name}" for name in self.conditional_alarms())]

    def conditional_alarms(self) -> Mapping[str, Function]:
        """Return the alarms that exist on a condition, as text to be put behind the others."""
        found: dict[str, list[str]] = {"IsOnAws": [DATA_AT_RISK]}
        for alarm in self._alarms:
            if alarm.condition is not None:
                found.setdefault(alarm.condition, []).append(alarm.id)
        return {
            f"AlarmsIf{condition}": Function(
                ("If", [condition, Sub("".join(f', "${{{name}.Arn}}"' for name in names)), ""])
            )
            for condition, names in found.items()
        }

    def thresholds(self, *metrics: str) -> list[dict[str, Any]]:
        """Return a line for each alarm on these metrics, one for all routes."""
        lines: dict[str, dict[str, Any]] = {}
        for alarm in self._alarms:
            if alarm.metric in metrics:
                name = alarm.name.partition(":")[0]
                lines[name] = {"label": f"alarm: {name}", "value": _in_seconds(alarm), "color": "#d62728"}
        return list(lines.values())


def _in_seconds(alarm: Alarm) -> object:
    """Return a threshold in the unit of its panel; one of a parameter in milliseconds is written `${Parameter}000`."""
    match alarm.threshold:
        case Ref() as name:
            return f"@number {name}"
        case Sub() as text:
            return f"@number {text.removeprefix('${').partition('}')[0]}"
        case number:
            return number


def _first_row(panels: _Panels) -> list[Widget]:
    """Is anything lost, late or denied?"""
    lost = [
        _lambda("OnFailureDestinationDeliveredEventCount", "given up, kept below aws/lambda/", mapping=True),
        _lambda("DestinationDeliveryFailures", "given up and not kept"),
        _lambda("DroppedEventCount", "dropped by Lambda", mapping=True),
        _kinesis("WriteProvisionedThroughputExceeded", "refused by the stream"),
    ]
    late = [
        *_scaled(_lambda("IteratorAge", "oldest record waiting (s)", "Maximum"), "age", 1000),
        _one(f"MAX({_search('Freshness', 'p99')})", "slowest route, p99 (s)"),
    ]
    denied = [
        _own("RecordsDeadLettered", "records dead-lettered"),
        _one(f"SUM({_search('GrantCheckFailed', 'Maximum')})", "grants that fail"),
        _own("InvocationsToRetry", "batches to retry"),
    ]
    return [
        {"type": "alarm", "width": 6, "properties": {"title": "Alarms", "alarms": panels.shown_alarms()}},
        _numbers("Lost?", _zero_if_it_ran(lost)),
        _numbers("Late?", late),
        _numbers("Denied?", denied),
    ]


def _routes(panels: _Panels) -> list[Widget]:
    accounts = [
        _one(f"SUM({_search(metric, 'Sum')})", label)
        for metric, label in (
            ("RecordsMatched", "matched"),
            ("RecordsDelivered", "delivered"),
            ("RecordsDeduplicated", "delivered before"),
            ("RecordsDeadLettered", "dead-lettered"),
            ("RecordsToRetry", "to retry"),
        )
    ]
    return [
        _lines("Records delivered, by route", panels.by_route("RecordsDelivered", "Sum"), "records a minute"),
        _lines(
            "Megabytes delivered, by route", panels.by_route("BytesDelivered", "Sum", megabytes=True), "MB a minute"
        ),
        _lines("Objects delivered, by route", panels.by_route("ObjectsDelivered", "Sum"), "objects a minute"),
        _lines("Accounts: matched = the other four together", accounts, "records a minute"),
    ]


def _freshness(panels: _Panels) -> list[Widget]:
    sizes = [
        _one(f"SUM({_search('PlainBytesDelivered', 'Sum')})/{_BYTES_A_MEGABYTE}", "before gzip"),
        _one(f"SUM({_search('BytesDelivered', 'Sum')})/{_BYTES_A_MEGABYTE}", "as put"),
    ]
    limits = panels.thresholds("Freshness")
    before = panels.by_route("RecordsDeduplicated", "Sum")
    return [
        _lines("Freshness by route, p50: arrival to delivery", panels.by_route("Freshness", "p50"), "seconds"),
        _lines("Freshness by route, p99", panels.by_route("Freshness", "p99"), "seconds", limits),
        _lines("Delivered before, by route: what Lambda sent again", before, "records a minute"),
        _lines("Megabytes before and after gzip", sizes, "MB a minute"),
    ]


def _set_aside(panels: _Panels) -> list[Widget]:
    reasons = " OR ".join(f'Reason="{reason}"' for reason in _OF_KEYS)
    search = _search_of(
        "Reason,Route,service", f'MetricName="RecordsDeadLettered" service="${{Name}}" ({reasons})', "Sum"
    )
    every = _search_of("Reason,Route,service", 'MetricName="RecordsDeadLettered" service="${Name}"', "Sum")
    label = "${!PROP('Dim.Route')} ${!PROP('Dim.Reason')}"
    limits = panels.thresholds("RecordsDeadLettered")
    replayed = [_own("RecordsReplayed", "moved to their place")]
    return [
        _lines("Dead letters, by route and reason", [_labelled(every, label)], "records a minute", limits),
        _lines("Keys that refuse, by route and error", [_labelled(search, label)], "records a minute"),
        _rows("Grant checks: 0 holds, 1 fails", panels.checks()),
        _lines("Records replayed", replayed, "records a minute"),
    ]


def _mapping(panels: _Panels) -> list[Widget]:
    counts = [
        _lambda("PolledEventCount", "read", mapping=True),
        _lambda("InvokedEventCount", "handed to the function", mapping=True),
        _lambda("FailedInvokeEventCount", "failed", mapping=True),
        _lambda("FilteredOutEventCount", "filtered out", mapping=True),
    ]
    intake = [_own("RecordsReceived", "received"), _own("RecordsDropped", "dropped by the route table")]
    age = _scaled(_lambda("IteratorAge", "oldest record", "Maximum"), "age", 1000)
    retried = [_own("InvocationsToRetry", "batches to retry")]
    limits = panels.thresholds("InvocationsToRetry")
    return [
        _lines("Event source mapping: records", counts, "records a minute"),
        _lines("Iterator age", age, "seconds", panels.thresholds("IteratorAge")),
        _lines("Records in, aggregates taken apart", intake, "records a minute"),
        _lines("Batches that Lambda sends again", retried, "batches a minute", limits),
    ]


def _function() -> list[Widget]:
    calls = [
        _lambda("Invocations", "invocations"),
        _lambda("Errors", "errors"),
        _lambda("Throttles", "throttles"),
        _own("ColdStarts", "cold starts"),
    ]
    durations = [
        one
        for number, stat in enumerate(("p50", "p99", "Maximum"))
        for one in _scaled(_lambda("Duration", stat.lower(), stat), f"d{number}", 1000)
    ]
    memory = _scaled(_own("MemoryUsed", "resident", "Maximum"), "memory")
    return [
        _lines("Function: calls", calls, "calls a minute"),
        _lines("Function: duration", durations, "seconds"),
        _lines("Function: concurrency", [_lambda("ConcurrentExecutions", "at once", "Maximum")], "invocations"),
        _lines("Function: memory at its peak", memory, "MB"),
    ]


def _stream(prices: Prices) -> list[Widget]:
    refused = [
        _kinesis("WriteProvisionedThroughputExceeded", "writes refused"),
        _kinesis("ReadProvisionedThroughputExceeded", "reads refused"),
    ]
    volume = [*_scaled(_kinesis("IncomingBytes", "in"), "into"), *_scaled(_kinesis("GetRecords.Bytes", "out"), "out")]
    return [
        _lines("Stream: records in", [_kinesis("IncomingRecords", "records")], "records a minute"),
        _lines("Stream: megabytes in and out", volume, "MB a minute"),
        _lines("Stream: refused", refused, "records a minute"),
        {**_numbers("Cost a month at the present rate, USD (an estimate)", _cost(prices)), "width": 3},
        {"type": "text", "width": 3, "properties": {"markdown": _LINKS.strip()}},
    ]


def _cost(prices: Prices) -> list[Metric]:
    """Lambda by invocations and duration; puts and KMS requests by objects; two conditional writes an invocation."""
    invocations = _hidden(_lambda("Invocations", "invocations"), "calls")
    duration = _hidden(_lambda("Duration", "duration"), "busy")
    objects: Metric = [{"expression": f"SUM({_search('ObjectsDelivered', 'Sum')})", "id": "puts", "visible": False}]
    month = f"/PERIOD(calls)*{_SECONDS_A_MONTH}"
    per_put = prices["s3_put"] / 1_000 + prices["kms_request"] / 10_000
    per_call = prices["lambda_request"] / 1_000_000 + 3 * prices["dynamodb_write"] / 1_000_000
    gigabytes = "${MemorySize}/1024"
    return [
        invocations,
        duration,
        objects,
        _one(f"busy/1000*{gigabytes}*{prices['lambda_gb_second']:.10f}{month}", "Lambda: time"),
        _one(f"calls*{per_call:.10f}{month}", "Lambda and DynamoDB: requests"),
        _one(f"puts*{per_put:.10f}{month}", "S3 and KMS: objects"),
    ]


def _placed(row: Iterable[Widget], y: int) -> Iterator[Widget]:
    x = 0
    for widget in row:
        width = widget.get("width", 6)
        yield {"x": x, "y": y, "height": _HEIGHT, **widget, "width": width}
        x += width
    assert x == _COLUMNS, "rows are full"


def _lines(title: str, metrics: list[Metric], unit: str, limits: list[dict[str, Any]] | None = None) -> Widget:
    axis = {"stacked": False, "yAxis": {"left": {"min": 0, "label": unit, "showUnits": False}}}
    annotations = {"annotations": {"horizontal": limits}} if limits else {}
    return _metric_widget(title, metrics, "timeSeries", {**axis, **annotations})


def _numbers(title: str, metrics: list[Metric]) -> Widget:
    return _metric_widget(title, metrics, "singleValue", {"sparkline": True})


def _rows(title: str, metrics: list[Metric]) -> Widget:
    """Show a row for each metric: the highest value of the time that is looked at, and the latest ones."""
    shape = {"layout": "horizontal", "showTimeSeriesData": True, "stickySummary": True, "summaryColumns": ["MAX"]}
    return _metric_widget(title, metrics, "table", {"table": shape})


def _metric_widget(title: str, metrics: list[Metric], view: str, more: Mapping[str, Any]) -> Widget:
    properties = {
        "title": title,
        "view": view,
        "region": "${AWS::Region}",
        "period": _MINUTE,
        "metrics": metrics,
        **more,
    }
    return {"type": "metric", "width": 6, "properties": properties}


def _zero_if_it_ran(metrics: list[Metric]) -> list[Metric]:
    """Show 0 instead of nothing for what AWS counts only when it happens; but nothing if the function did not run."""
    hidden = [_hidden(_lambda("Invocations", "invocations"), "calls")]
    shown = []
    for number, metric in enumerate(metrics):
        hidden.append(_hidden(metric, f"m{number}"))
        shown.append(_one(f"IF(calls >= 0, FILL(m{number}, 0))", metric[-1]["label"]))
    return [*hidden, *shown]


def _scaled(metric: Metric, name: str, by: int = _BYTES_A_MEGABYTE) -> list[Metric]:
    """Show a metric in another unit."""
    options = {key: value for key, value in metric[-1].items() if key in {"label", "color"}}
    return [_hidden(metric, name), [{"expression": f"{name}/{by}", **options}]]


def _own(metric: str, label: str, stat: str = "Sum") -> Metric:
    return [NAMESPACE, metric, "service", "${Name}", {"label": label, "stat": stat}]


def _lambda(metric: str, label: str, stat: str = "Sum", *, mapping: bool = False) -> Metric:
    whose = ("EventSourceMappingUUID", "${StreamMapping}") if mapping else ("FunctionName", "${Name}")
    return ["AWS/Lambda", metric, *whose, {"label": label, "stat": stat}]


def _kinesis(metric: str, label: str) -> Metric:
    return ["AWS/Kinesis", metric, "StreamName", "${Stream}", {"label": label, "stat": "Sum"}]


def _hidden(metric: Metric, name: str) -> Metric:
    return [*metric[:-1], {**metric[-1], "id": name, "visible": False}]


def _one(expression: str, label: str) -> Metric:
    return [{"expression": expression, "label": label}]


def _labelled(expression: str, label: str) -> Metric:
    return [{"expression": expression, "label": label}]


def _search(metric: str, stat: str) -> str:
    return _search_of("Route,service", f'MetricName="{metric}" service="${{Name}}"', stat)


def _search_of(dimensions: str, query: str, stat: str) -> str:
    """Find metrics with exactly these dimensions."""
    return f"SEARCH('{{{NAMESPACE},{dimensions}}} {query}', '{stat}', {_MINUTE})"
