"""The mapping: what Lambda's API says that it is configured to do, checked."""

import json
from collections.abc import Mapping as Described
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local.event_source.filters import NO_FILTERS, Filters, compile_filters

_REPORT = "ReportBatchItemFailures"
_POSITIONS = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")


class MappingError(Exception):
    """The mapping is configured for something that this event source refuses, or that AWS does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The configuration of one mapping.

    Attributes:
        uuid: Its id, part of the names of on-failure objects.
        stream_arn: What it reads.
        function_arn: What it invokes.
        batch_size: Records a batch, 1 to 10,000.
        window_seconds: How long it gathers, 0 to 300.
        starting_position: `TRIM_HORIZON`, `LATEST` or `AT_TIMESTAMP`.
        starting_at: Seconds since 1970, with `AT_TIMESTAMP` only.
        lanes: Concurrent batches of a shard, 1 to 10.
        bisects: Whether a failed batch is split in two.
        retries: After the first try, 0 to 10,000; None retries until the record expires.
        max_age_seconds: 60 to 604,800; None knows no age.
        reports_failures: Whether the function's answer counts.
        on_failure_arn: A bucket, queue or topic; None discards.
        filters: What it hands over at all.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html
    """

    uuid: str
    stream_arn: str
    function_arn: str
    batch_size: int = 100
    window_seconds: float = 0
    starting_position: str = "TRIM_HORIZON"
    starting_at: float | None = None
    lanes: int = 1
    bisects: bool = False
    retries: int | None = None
    max_age_seconds: float | None = None
    reports_failures: bool = False
    on_failure_arn: str | None = None
    filters: Filters = NO_FILTERS

    @classmethod
    def of(cls, described: Described[str, Any]) -> "Mapping":
        """Read what `GetEventSourceMapping` answers.

        Raises:
            MappingError: A value is out of AWS's range, or asks for what is not simulated here.
        """
        if described.get("TumblingWindowInSeconds"):
            raise MappingError(
                "mapping: TumblingWindowInSeconds: expected none, got a tumbling window; its state is not simulated here"
            )
        if ":stream/" not in described["EventSourceArn"] or "/consumer/" in described["EventSourceArn"]:
            raise MappingError("mapping: EventSourceArn: expected a Kinesis stream without enhanced fan-out")
        starting_at = described.get("StartingPositionTimestamp")
        if described.get("StartingPosition") == "AT_TIMESTAMP" and starting_at is None:
            raise MappingError("mapping: StartingPositionTimestamp: expected a time with AT_TIMESTAMP, got none")
        on_failure = described.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination") or None
        return cls(
            uuid=described["UUID"],
            stream_arn=described["EventSourceArn"],
            function_arn=described["FunctionArn"],
            batch_size=_in_range(described, "BatchSize", 100, 1, 10_000),
            window_seconds=_in_range(described, "MaximumBatchingWindowInSeconds", 0, 0, 300),
            starting_position=_position(described.get("StartingPosition", "TRIM_HORIZON")),
            starting_at=starting_at.timestamp() if isinstance(starting_at, datetime) else starting_at,
            lanes=_in_range(described, "ParallelizationFactor", 1, 1, 10),
            bisects=bool(described.get("BisectBatchOnFunctionError")),
            retries=_or_endless(_in_range(described, "MaximumRetryAttempts", -1, -1, 10_000)),
            max_age_seconds=_age(_in_range(described, "MaximumRecordAgeInSeconds", -1, -1, 604_800)),
            reports_failures=_REPORT in described.get("FunctionResponseTypes", []),
            on_failure_arn=on_failure,
            filters=_filters(described.get("FilterCriteria", {}).get("Filters", [])),
        )


def _in_range(described: Described[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = described.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise MappingError(f"mapping: {name}: expected {least} to {most}, got {value!r}")
    return value


def _position(text: str) -> str:
    if text not in _POSITIONS:
        raise MappingError(f"mapping: StartingPosition: expected one of {', '.join(_POSITIONS)}, got {text!r}")
    return text


def _or_endless(value: int) -> int | None:
    return None if value == -1 else value


def _age(value: int) -> int | None:
    """Refuse 0 to 59, as the API does: https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html."""
    if 0 <= value < 60:  # noqa: PLR2004 - the API's least
        raise MappingError(f"mapping: MaximumRecordAgeInSeconds: expected -1 or 60 to 604800, got {value}")
    return _or_endless(value)


def _filters(described: list[dict[str, str]]) -> Filters:
    patterns = []
    for index, one in enumerate(described):
        try:
            patterns.append(json.loads(one["Pattern"]))
        except (KeyError, ValueError):
            raise MappingError(f"mapping: FilterCriteria.Filters[{index}]: expected a Pattern of JSON") from None
    try:
        return compile_filters(patterns)
    except ValueError as err:
        raise MappingError(f"mapping: FilterCriteria: {err}") from None
