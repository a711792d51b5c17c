"""The alarms of a stack, each with the section of docs/runbook.md that tells what to do.

Missing data: a metric that only comes when something is wrong (dead letters, errors, refused deliveries) is
`notBreaching` when it does not come; one that has to come (the grant check, records of a busy stream) is
`breaching`, since silence is what it is there to notice.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from handlers.telemetry import NAMESPACE
from infrastructure.cfn_yaml import Function, Ref, Sub
from operations.grant_check.check import CHECKED_BESIDE_ROUTES
from routing import layout
from routing.table.routes import RouteTable, logical_id

type Block = dict[str, Any]
type Value = str | int | Ref | Sub

DATA_AT_RISK = "DataAtRiskAlarm"
_SERVICE = {"service": Ref("Name")}
_FUNCTION = {"FunctionName": Ref("Name")}
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
_MAPPING = {"EventSourceMappingUUID": Ref("StreamMapping")}
_STREAM = {"StreamName": Ref("Stream")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm.

    Attributes:
        id: Its logical id.
        name: What it says, for people; the stack's name goes before it.
        section: The section of the runbook.
        meaning: What is wrong when it fires, in one sentence.
        namespace: Of the metric.
        metric: Its name.
        dimensions: All of them.
        statistic: e.g. `Sum` or `p99`.
        threshold: It fires above it, or below it if `fires_below`.
        period_seconds: How long one datapoint is.
        periods: How many datapoints are looked at.
        breaching: How many of those have to be beyond the threshold.
        silence: What missing data means.
        condition: The template's condition for having it; None for always.
        fires_below: True if too little is what is wrong.
        unless: Metrics, each as namespace, name and dimensions, which explain it: while any of them counts
            something the alarm counts nothing.
    """

    id: str
    name: str
    section: str
    meaning: str
    namespace: str = NAMESPACE
    metric: str
    dimensions: Mapping[str, Value] = field(default_factory=lambda: _SERVICE)
    statistic: str = "Sum"
    threshold: Value = 0
    period_seconds: int = 60
    periods: Value = 1
    breaching: int | None = None
    silence: Literal["notBreaching", "breaching"] = "notBreaching"
    condition: str | None = None
    fires_below: bool = False
    unless: tuple[tuple[str, str, Mapping[str, Value]], ...] = ()


# Any of these means that records may be lost: together they fire "data at risk".
_AT_RISK = (
    Alarm(
        id="LateAlarm",
        name="late",
        section="late",
        meaning="Records wait in the stream for longer than LateAfterSeconds",
        namespace="AWS/Lambda",
        metric="IteratorAge",
        dimensions=_FUNCTION,
        statistic="Maximum",
        threshold=Sub("${LateAfterSeconds}000"),  # the metric counts milliseconds
        periods=5,
        breaching=5,
    ),
    Alarm(
        id="GivenUpAlarm",
        name="Lambda gave up",
        section="lambda-gave-up",
        meaning="Lambda has given up on records and put them, whole, below aws/lambda/",
        namespace="AWS/Lambda",
        metric="OnFailureDestinationDeliveredEventCount",
        dimensions=_MAPPING,
    ),
    Alarm(
        id="NotHandedOverAlarm",
        name="not handed over",
        section="not-handed-over",
        meaning="Lambda could not put what it gave up on below aws/lambda/; only the stream still holds it",
        namespace="AWS/Lambda",
        metric="DestinationDeliveryFailures",
        dimensions=_FUNCTION,
    ),
    Alarm(
        id="DroppedAlarm",
        name="dropped by Lambda",
        section="not-handed-over",
        meaning="Lambda has dropped records; only the stream still holds them",
        namespace="AWS/Lambda",
        metric="DroppedEventCount",
        dimensions=_MAPPING,
    ),
    Alarm(
        id="PassedOverAlarm",
        name="passed over",
        section="passed-over",
        meaning="A route matches records and delivers none of them, though nothing is being retried",
        metric="RoutesPassedOver",
        period_seconds=300,
        periods=3,
        breaching=3,
        condition="IsOnAws",
        unless=(
            (NAMESPACE, "InvocationsToRetry", _SERVICE),
            ("AWS/Lambda", "Errors", _FUNCTION),
        ),
    ),
    Alarm(
        id="StreamFullAlarm",
        name="stream full",
        section="stream-full",
        meaning="The stream refuses records of Amazon Connect: it takes no more",
        namespace="AWS/Kinesis",
        metric="WriteProvisionedThroughputExceeded",
        dimensions=_STREAM,
        periods=5,
        breaching=2,
    ),
)
_OTHERS = (
    Alarm(
        id="DeadLettersAlarm",
        name="dead letters",
        section="dead-letters",
        meaning="Records were set aside below dead-letter/ instead of being delivered",
        metric="RecordsDeadLettered",
        period_seconds=300,
    ),
    Alarm(
        id="RetryingAlarm",
        name="retrying",
        section="retrying",
        meaning="Batches are being sent again and again: a shard waits",
        metric="InvocationsToRetry",
        periods=15,
        breaching=10,
    ),
    Alarm(
        id="ErrorsAlarm",
        name="function errors",
        section="function-errors",
        meaning="The function fails instead of answering: it is misconfigured, runs out of time or memory, or has a bug",
        namespace="AWS/Lambda",
        metric="Errors",
        dimensions=_FUNCTION,
        periods=5,
        breaching=3,
    ),
    Alarm(
        id="KeyChangedAlarm",
        name="key changed",
        section="key-changed",
        meaning="Somebody has disabled a key of the stack, scheduled its deletion or changed its policy",
        namespace="AWS/Events",
        metric="TriggeredRules",
        dimensions={"RuleName": Ref("KeyChangedRule")},
        period_seconds=300,
    ),
    Alarm(
        id="SilentAlarm",
        name="silent",
        section="silent",
        meaning="Amazon Connect has sent nothing for SilenceMinutes",
        namespace="AWS/Kinesis",
        metric="IncomingRecords",
        dimensions=_STREAM,
        threshold=1,
        periods=Ref("SilenceMinutes"),
        silence="breaching",
        condition="WatchesSilence",
        fires_below=True,
    ),
    Alarm(
        id="ColumnsLateAlarm",
        name="columns late",
        section="columns-late",
        meaning="A day that is over has no columns yet, or the function that makes them does not run",
        metric="ConversionDelay",
        statistic="Maximum",
        threshold=6 * 3600,
        period_seconds=3600,
        periods=3,
        breaching=3,
        silence="breaching",
        condition="MakesColumns",
    ),
    Alarm(
        id="ColumnsErrorsAlarm",
        name="columns failing",
        section="columns-late",
        meaning="The function that makes columns fails for a route: it runs out of time or memory, or may not read or write",
        namespace="AWS/Lambda",
        metric="Errors",
        dimensions={"FunctionName": Sub("${Name}-convert")},
        period_seconds=3600,
        periods=3,
        breaching=3,
        condition="MakesColumns",
    ),
)


def alarms(table: RouteTable) -> tuple[Alarm, ...]:
    """Return every alarm of a stack but the composite one."""
    return (*_AT_RISK, *_OTHERS, *_of_freshness(table), *_of_grants(table))


def alarm_resources(table: RouteTable) -> Block:
    """Return the alarms, and the one that fires when records may be lost."""
    block = {alarm.id: _resource(alarm) for alarm in alarms(table)}
    block[DATA_AT_RISK] = {
        "Type": "AWS::CloudWatch::CompositeAlarm",
        "Condition": "IsOnAws",
        "Properties": {
            "AlarmName": Sub("${Name} data at risk"),
            "AlarmDescription": Sub(
                "Records may be lost without action; the alarms inside say which. What to do: ${RunbookUrl}#data-at-risk"
            ),
            "AlarmRule": Function(("Join", [" OR ", _children()])),
            **_ACTIONS,
        },
    }
    return block


def sections(table: RouteTable) -> set[str]:
    """Return the sections of the runbook that alarms name."""
    return {"data-at-risk", *(alarm.section for alarm in alarms(table))}


def _children() -> list[Any]:
    """Without the grants of these three not even a dead letter can be kept; alarms that are not there ring never."""
    nothing = Ref("AWS::NoValue")
    of_grants = [_grant_alarm_id(name) for name in (layout.DEAD_LETTER, *CHECKED_BESIDE_ROUTES)]
    return [
        *(Sub(f'ALARM("${{{alarm.id}}}")') for alarm in _AT_RISK),
        *(Function(("If", ["ChecksGrants", Sub(f'ALARM("${{{one}}}")'), nothing])) for one in of_grants),
        Function(("If", ["WatchesSilence", Sub('ALARM("${SilentAlarm}")'), nothing])),
    ]


def _of_freshness(table: RouteTable) -> Iterator[Alarm]:
    for route in table.routes:
        yield Alarm(
            id=f"{logical_id(route.name)}FreshnessAlarm",
            name=f"freshness: {route.name}",
            section="freshness",
            meaning=f"Records reach {route.prefix}/ later than FreshnessObjectiveSeconds after they arrived",
            metric="Freshness",
            dimensions={**_SERVICE, "Route": route.name},
            statistic="p99",
            threshold=Ref("FreshnessObjectiveSeconds"),
            period_seconds=300,
            periods=3,
            breaching=3,
            condition="CountsRoutes",
        )


def _of_grants(table: RouteTable) -> Iterator[Alarm]:
    """One alarm per route, key of protection and other thing that the grant check tries.

    A check that does not come counts as failed: what watches the grants has to be watched, too.
    """
    for name in (*(route.name for route in table.all_routes), *table.protection_keys, *CHECKED_BESIDE_ROUTES):
        yield Alarm(
            id=_grant_alarm_id(name),
            name=f"grant check: {name}",
            section="grant-check",
            meaning=f"The grant check of {name} fails or does not run; its log line names the cause",
            metric="GrantCheckFailed",
            dimensions={**_SERVICE, "Route": name},
            statistic="Maximum",
            period_seconds=900,
            silence="breaching",
            condition="ChecksGrants",
        )


def _grant_alarm_id(name: str) -> str:
    return f"{logical_id(name)}GrantAlarm"


_TOPIC = [Function(("If", ["MakesAlarmTopic", Ref("AlarmTopic"), Ref("AlarmTopicArn")]))]
_ACTIONS = {"AlarmActions": _TOPIC, "OKActions": _TOPIC}


def _resource(alarm: Alarm) -> Block:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-cw-alarm.html
    properties = {
        "AlarmName": Sub(f"${{Name}} {alarm.name}"),
        "AlarmDescription": Sub(f"{alarm.meaning}. What to do: ${{RunbookUrl}}#{alarm.section}"),
        **(_math(alarm) if alarm.unless else _metric(alarm)),
        "EvaluationPeriods": alarm.periods,
        **({"DatapointsToAlarm": alarm.breaching} if alarm.breaching else {}),
        "Threshold": alarm.threshold,
        "ComparisonOperator": "LessThanThreshold" if alarm.fires_below else "GreaterThanThreshold",
        "TreatMissingData": alarm.silence,
        **_ACTIONS,
    }
    condition = {"Condition": alarm.condition} if alarm.condition else {}
    return {"Type": "AWS::CloudWatch::Alarm", **condition, "Properties": properties}


def _metric(alarm: Alarm) -> Block:
    statistic = "ExtendedStatistic" if alarm.statistic.startswith("p") else "Statistic"
    return {
        "Namespace": alarm.namespace,
        "MetricName": alarm.metric,
        "Dimensions": _dimensions(alarm.dimensions),
        statistic: alarm.statistic,
        "Period": alarm.period_seconds,
    }


def _math(alarm: Alarm) -> Block:
    """The metric as an expression, which is zero while something explains it.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """
    metrics = [(alarm.namespace, alarm.metric, alarm.dimensions), *alarm.unless]
    explained = " + ".join(f"FILL(m{index}, 0)" for index in range(1, len(metrics)))
    return {
        "Metrics": [
            {"Id": "unexplained", "Expression": f"IF({explained} > 0, 0, FILL(m0, 0))", "Label": alarm.name},
            *(
                {
                    "Id": f"m{index}",
                    "ReturnData": False,
                    "MetricStat": {
                        "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": _dimensions(dimensions)},
                        "Period": alarm.period_seconds,
                        "Stat": alarm.statistic,
                    },
                }
                for index, (namespace, name, dimensions) in enumerate(metrics)
            ),
        ]
    }


def _dimensions(dimensions: Mapping[str, Value]) -> list[Block]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]
