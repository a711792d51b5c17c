"""Telemetry: the only place that spells log sentences and metric names.

Log events are constant sentences with structured fields, and hold no value of a record: one summary an
invocation, one line a failure. Metrics are EMF lines with the dimensions `service`, `Route` and `Reason`.
"""

import resource
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from aws.invocation import Invocation
from routing.stages.report import Report, RouteCounts

if TYPE_CHECKING:
    from operations.convert.request import ConversionRequest, ConversionSlice
    from operations.erase.request import ErasureRequest, ErasureSlice
    from operations.grant_check.check import Check
    from operations.replay.request import ReplayRequest, ReplaySlice

NAMESPACE = "CtrFanout"
# Linux counts the resident set of getrusage(2) in KiB. Lambda itself has no metric of memory.
_BYTES_A_UNIT = 1024
_DAY_SECONDS = 86_400

OF_LOSS = ("RecordsDeadLettered", "InvocationsToRetry", "RoutesPassedOver")
"""What is counted of an invocation where `Metrics` is `lean`."""

type Measures = Mapping[str, tuple[MetricUnit, float]]


class Telemetry:
    """Logs and counts what invocations did."""

    def __init__(self, service: str, *, is_lean: bool = False) -> None:
        """Make the logger; the level comes from Powertools' own POWERTOOLS_LOG_LEVEL.

        Args:
            service: The stack's name: the dimension `service` of every metric.
            is_lean: True to count only what an alarm for loss looks at; the log says the rest.
        """
        self._service = service
        self._is_lean = is_lean
        self._logger = Logger(service=service, utc=True)
        self._is_cold = True

    def publish(self, report: Report, invocation: Invocation) -> None:
        """Log and count one invocation."""
        for trouble in report.troubles:
            fields = {"route": trouble.route, "reason": trouble.reason, "detail": trouble.message}
            self._logger.error("records did not reach their destination", extra=fields)
        self._logger.info("batch processed", extra={"request_id": invocation.id, **_summary(report)})
        measures = self._of_invocation(report)
        if self._is_lean:
            self._emit({}, {name: measures[name] for name in OF_LOSS})
            return
        self._emit({}, measures)
        for route, counts in report.routes.items():
            self._emit({"Route": route}, _of_route(counts, invocation.now()))
            for reason, count in counts.dead_lettered.items():
                self._emit({"Route": route, "Reason": reason}, {"RecordsDeadLettered": (MetricUnit.Count, count)})

    def publish_checks(self, checks: "Sequence[Check]") -> None:
        """Log and count what the grant check found; of what is unknown there is no number, only a line."""
        for check in checks:
            if check.reason is not None:
                fields = {"route": check.name, "reason": check.reason, "detail": check.detail}
                self._logger.error("grant check failed", extra=fields)
            if not check.is_unknown:
                self._emit(
                    {"Route": check.name}, {"GrantCheckFailed": (MetricUnit.Count, int(check.reason is not None))}
                )

    def publish_replay(self, request: "ReplayRequest", done: "ReplaySlice") -> None:
        """Log and count one slice of a replay: who moves dead letters leaves a trace."""
        for result in done.results:
            if result["raised_at"]:
                fields = {name: result[name] for name in ("key", "blocked_by", "raised_at")}
                self._logger.error("unexpected error of a replay", extra=fields)
        left = sum(1 for result in done.results if result["blocked_by"])
        records = sum(result["records"] for result in done.results if not result["blocked_by"])
        fields = {"source": request.source, "applies": request.apply, "results": len(done.results), "left": left}
        self._logger.info("replay", extra={**fields, "records": records, "next": done.next})
        if request.apply:
            self._emit({}, {"RecordsReplayed": (MetricUnit.Count, records)})

    def publish_erasure(self, request: "ErasureRequest", done: "ErasureSlice") -> None:
        """Log how much one slice of an erasure found; whose it was stays with who asked."""
        left = sum(1 for result in done.results if result["blocked_by"])
        fields = {"applies": request.apply, "scanned": done.scanned, "found": len(done.results), "left": left}
        self._logger.info("erase", extra={**fields, "is_last": done.next is None})

    def publish_conversion(self, request: "ConversionRequest", done: "ConversionSlice", now: float) -> None:
        """Log and count one slice of a conversion: how far columns are behind the day that ended last."""
        for result in done.results:
            if result["blocked_by"]:
                fields = {"route": request.route, "key": result["key"], "detail": result["blocked_by"]}
                self._logger.error("a part was not made", extra=fields)
        made = [result for result in done.results if not result["blocked_by"]]
        records, refused = (sum(result[name] for result in made) for name in ("records", "refused"))
        fields = {"route": request.route, "applies": request.apply, "parts": len(made), "records": records}
        more = {"refused": refused, "deleted": done.deleted, "until": done.until, "is_last": done.next is None}
        self._logger.info("convert", extra={**fields, **more})
        if request.apply:
            self._emit({}, {"ConversionDelay": (MetricUnit.Seconds, _delay(done.until.values(), now))})

    def _of_invocation(self, report: Report) -> Measures:
        is_cold, self._is_cold = self._is_cold, False
        return {
            "RecordsReceived": (MetricUnit.Count, report.received),
            "RecordsDropped": (MetricUnit.Count, report.dropped.total()),
            "InvocationsToRetry": (MetricUnit.Count, int(report.failed_from is not None)),
            "RecordsDeadLettered": (
                MetricUnit.Count,
                sum(counts.dead_lettered.total() for counts in report.routes.values()),
            ),
            "RoutesPassedOver": (MetricUnit.Count, sum(counts.is_passed_over for counts in report.routes.values())),
            "ColdStarts": (MetricUnit.Count, int(is_cold)),
            "MemoryUsed": (MetricUnit.Bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_A_UNIT),
        }

    def _emit(self, dimensions: Mapping[str, str], measures: Measures) -> None:
        """Write one EMF line; each set of dimensions needs a line of its own.

        Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
        """
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        for name, dimension in dimensions.items():
            metrics.add_dimension(name, dimension)
        for name, (unit, value) in measures.items():
            metrics.add_metric(name, unit, value)
        metrics.flush_metrics()


def _of_route(counts: RouteCounts, now: float) -> Measures:
    measures: dict[str, tuple[MetricUnit, float]] = {
        "RecordsMatched": (MetricUnit.Count, counts.matched),
        "RecordsDelivered": (MetricUnit.Count, counts.delivered),
        "RecordsDeduplicated": (MetricUnit.Count, counts.skipped),
        "RecordsDeadLettered": (MetricUnit.Count, counts.dead_lettered.total()),
        "RecordsToRetry": (MetricUnit.Count, counts.failed),
        "ObjectsDelivered": (MetricUnit.Count, counts.objects),
        "BytesDelivered": (MetricUnit.Bytes, counts.body_bytes),
        "PlainBytesDelivered": (MetricUnit.Bytes, counts.plain_bytes),
    }
    if counts.oldest_arrived_at is not None:
        measures["Freshness"] = (MetricUnit.Seconds, max(0.0, now - counts.oldest_arrived_at))
    return measures


def _delay(days: Iterable[str], now: float) -> float:
    """Return the time since the end of the day up to which columns are complete, less the day that is under way."""
    ends = (datetime.fromisoformat(f"{day}T00:00:00Z").timestamp() + 2 * _DAY_SECONDS for day in days if day)
    return max(0.0, now - min(ends, default=now))


def _summary(report: Report) -> dict[str, object]:
    return {
        "records_received": report.received,
        "records_dropped": dict(report.dropped),
        "retry_from": report.failed_from,
        "routes": {
            route: {
                "delivered": counts.delivered,
                "deduplicated": counts.skipped,
                "dead_lettered": dict(counts.dead_lettered),
                "to_retry": counts.failed,
                "objects": counts.objects,
            }
            for route, counts in report.routes.items()
        },
    }
