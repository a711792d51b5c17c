"""The dashboard of a stack: a grid of widgets, the first row for a reader with one minute.

Routes are found by search, so a new one appears by itself. Texts may hold `${Name}` and other references of the
template; what CloudWatch itself fills in is spelled `${!...}` for CloudFormation.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from cost.estimate import Prices
from handlers.telemetry import NAMESPACE
from infrastructure.monitoring.alarms import alarms
from routing.reasons import Reason
from routing.table.routes import RouteTable

type Widget = dict[str, Any]
type Metric = list[Any]

_COLUMNS = 24
_HEIGHT = 6
_MINUTE = 60
_SECONDS_A_MONTH = 30 * 86_400
_OF_KEYS = tuple(reason for reason in Reason if reason.startswith("KmsKey"))
_CONSOLE = "https://${AWS::Region}.console.aws.amazon.com"
_LINKS = f"""
[What to do when an alarm fires](${{RunbookUrl}})

[Log of the functions]({_CONSOLE}/cloudwatch/home?region=${{AWS::Region}}#logsV2:log-groups/log-group/$252Faws$252Flambda$252F${{Name}})

[Saved queries: Logs Insights, folder ${{Name}}]({_CONSOLE}/cloudwatch/home?region=${{AWS::Region}}#logsV2:logs-insights)

[The function]({_CONSOLE}/lambda/home?region=${{AWS::Region}}#/functions/${{Name}})
"""


def dashboard_body(table: RouteTable, prices: Prices) -> str:
    """Return the body, as the text of a `!Sub`."""
    rows = [_first_row(table), _routes(), _freshness(), _set_aside(), _mapping(), _function(), _stream(prices)]
    widgets = [widget for y, row in enumerate(rows) for widget in _placed(row, y * _HEIGHT)]
    return json.dumps({"start": "-PT6H", "periodOverride": "inherit", "widgets": widgets}, indent=1)


def _first_row(table: RouteTable) -> list[Widget]:
    """Is anything lost, late or denied?"""
    shown = [f"${{{alarm.id}.Arn}}" for alarm in alarms(table) if alarm.condition is None]
    lost = [
        _lambda("OnFailureDestinationDeliveredEventCount", "given up, kept below aws/lambda/", mapping=True),
        _lambda("DestinationDeliveryFailures", "given up and not kept"),
        _lambda("DroppedEventCount", "dropped by Lambda", mapping=True),
        _kinesis("WriteProvisionedThroughputExceeded", "refused by the stream"),
    ]
    late = [
        _lambda("IteratorAge", "oldest record waiting (ms)", "Maximum"),
        _one(f"MAX({_search('Freshness', 'p99')})", "slowest route, p99 (s)"),
    ]
    denied = [
        _own("RecordsDeadLettered", "records dead-lettered"),
        _one(f"SUM({_search('GrantCheckFailed', 'Maximum')})", "grants that fail"),
        _own("InvocationsToRetry", "batches to retry"),
    ]
    return [
        {"type": "alarm", "width": 6, "properties": {"title": "Alarms", "alarms": shown}},
        _numbers("Lost?", lost),
        _numbers("Late?", late),
        _numbers("Denied?", denied),
    ]


def _routes() -> list[Widget]:
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
        _lines("Records delivered, by route", [_by_route("RecordsDelivered", "Sum")]),
        _lines("Bytes delivered, by route", [_by_route("BytesDelivered", "Sum")]),
        _lines("Objects delivered, by route", [_by_route("ObjectsDelivered", "Sum")]),
        _lines("Accounts: matched = the other four together", accounts),
    ]


def _freshness() -> list[Widget]:
    sizes = [
        _one(f"SUM({_search('PlainBytesDelivered', 'Sum')})", "before gzip"),
        _one(f"SUM({_search('BytesDelivered', 'Sum')})", "as put"),
    ]
    return [
        _lines("Freshness by route, p50: arrival to delivery (s)", [_by_route("Freshness", "p50")]),
        _lines("Freshness by route, p99 (s)", [_by_route("Freshness", "p99")]),
        _lines("Delivered before, by route: what Lambda sent again", [_by_route("RecordsDeduplicated", "Sum")]),
        _lines("Bytes before and after gzip", sizes),
    ]


def _set_aside() -> list[Widget]:
    reasons = " OR ".join(f'Reason="{reason}"' for reason in _OF_KEYS)
    search = _search_of(
        "Reason,Route,service", f'MetricName="RecordsDeadLettered" service="${{Name}}" ({reasons})', "Sum"
    )
    every = _search_of("Reason,Route,service", 'MetricName="RecordsDeadLettered" service="${Name}"', "Sum")
    label = "${!PROP('Dim.Route')} ${!PROP('Dim.Reason')}"
    return [
        _lines("Dead letters, by route and reason", [_labelled(every, label)]),
        _lines("Keys that refuse, by route and error", [_labelled(search, label)]),
        _lines("Grant check: 1 is failed", [_by_route("GrantCheckFailed", "Maximum")]),
        _lines("Records replayed", [_own("RecordsReplayed", "moved to their place")]),
    ]


def _mapping() -> list[Widget]:
    counts = [
        _lambda("PolledEventCount", "read", mapping=True),
        _lambda("InvokedEventCount", "handed to the function", mapping=True),
        _lambda("FailedInvokeEventCount", "failed", mapping=True),
        _lambda("FilteredOutEventCount", "filtered out", mapping=True),
    ]
    intake = [_own("RecordsReceived", "received"), _own("RecordsDropped", "dropped by the route table")]
    return [
        _lines("Event source mapping: records", counts),
        _lines("Iterator age (ms)", [_lambda("IteratorAge", "maximum", "Maximum")]),
        _lines("Records in, aggregates taken apart", intake),
        _lines("Batches that Lambda sends again", [_own("InvocationsToRetry", "batches to retry")]),
    ]


def _function() -> list[Widget]:
    calls = [
        _lambda("Invocations", "invocations"),
        _lambda("Errors", "errors"),
        _lambda("Throttles", "throttles"),
        _own("ColdStarts", "cold starts"),
    ]
    durations = [_lambda("Duration", f"{stat} (ms)", stat) for stat in ("p50", "p99", "Maximum")]
    return [
        _lines("Function: calls", calls),
        _lines("Function: duration", durations),
        _lines("Function: concurrency", [_lambda("ConcurrentExecutions", "at once", "Maximum")]),
        _lines("Function: memory at its peak (bytes)", [_own("MemoryUsed", "resident", "Maximum")]),
    ]


def _stream(prices: Prices) -> list[Widget]:
    refused = [
        _kinesis("WriteProvisionedThroughputExceeded", "writes refused"),
        _kinesis("ReadProvisionedThroughputExceeded", "reads refused"),
    ]
    return [
        _lines("Stream: records in", [_kinesis("IncomingRecords", "records")]),
        _lines("Stream: bytes in and out", [_kinesis("IncomingBytes", "in"), _kinesis("GetRecords.Bytes", "out")]),
        _lines("Stream: refused", refused),
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


def _lines(title: str, metrics: list[Metric]) -> Widget:
    return _metric_widget(title, metrics, "timeSeries")


def _numbers(title: str, metrics: list[Metric]) -> Widget:
    return _metric_widget(title, metrics, "singleValue")


def _metric_widget(title: str, metrics: list[Metric], view: str) -> Widget:
    properties = {
        "title": title,
        "view": view,
        "region": "${AWS::Region}",
        "period": _MINUTE,
        "metrics": metrics,
        **({"stacked": False, "yAxis": {"left": {"min": 0}}} if view == "timeSeries" else {"sparkline": True}),
    }
    return {"type": "metric", "width": 6, "properties": properties}


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


def _by_route(metric: str, stat: str) -> Metric:
    return _labelled(_search(metric, stat), "${!PROP('Dim.Route')}")


def _labelled(expression: str, label: str) -> Metric:
    return [{"expression": expression, "label": label}]


def _search(metric: str, stat: str) -> str:
    return _search_of("Route,service", f'MetricName="{metric}" service="${{Name}}"', stat)


def _search_of(dimensions: str, query: str, stat: str) -> str:
    """Find metrics with exactly these dimensions."""
    return f"SEARCH('{{{NAMESPACE},{dimensions}}} {query}', '{stat}', {_MINUTE})"
