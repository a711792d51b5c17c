"""An event source mapping for Kinesis that honours what the emulator's own one ignores.

It reads its configuration from the deployed mapping and keeps Lambda's rules for batch size, payload,
one batch in flight per shard, partial batch responses and retries. What it does not do yet is refused:
a batch that uses up its retries stops the run with an error.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cli.lambda_event import lambda_event
from local.deployment import Deployed
from local.emulator import Emulator

# Lambda's limit on a synchronous invocation; base64 and envelopes count.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_PAYLOAD_BYTES = 6 * 1024 * 1024
_ENVELOPE_BYTES = 600

type StreamRecord = dict[str, Any]


class EventSourceError(Exception):
    """A batch failed until its retries were used up, or the function answered something undocumented."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """The configuration of the deployed mapping that this one keeps."""

    batch_size: int
    retries: int
    reports_failures: bool


class EventSource:
    """Reads a stream and invokes the deployed function, shard by shard."""

    def __init__(self, emulator: Emulator, deployed: Deployed) -> None:
        """Read the deployed mapping."""
        self._emulator = emulator
        self._lambda = emulator.client("lambda")
        self._deployed = deployed
        deployed_as = self._lambda.get_event_source_mapping(UUID=deployed.mapping)
        self._mapping = Mapping(
            batch_size=deployed_as["BatchSize"],
            retries=deployed_as.get("MaximumRetryAttempts", 100),
            reports_failures=deployed_as.get("FunctionResponseTypes") == ["ReportBatchItemFailures"],
        )
        self._stream_arn = deployed_as["EventSourceArn"]
        # Lambda polls with the function's role, so its grants count here as well.
        self._role = self._lambda.get_function_configuration(FunctionName=deployed.function)["Role"]

    def drain(self, progress: Callable[[int], None]) -> int:
        """Deliver everything that the stream holds now, all shards at once.

        Args:
            progress: Called with the number of stream records after each batch.

        Returns:
            The number of invocations.
        """
        kinesis = self._emulator.client("kinesis", role=self._role)
        shards = [shard["ShardId"] for shard in kinesis.list_shards(StreamARN=self._stream_arn)["Shards"]]
        with ThreadPoolExecutor(len(shards)) as lanes:
            return sum(lanes.map(lambda shard_id: self._drain_shard(shard_id, progress), shards))

    def _drain_shard(self, shard_id: str, progress: Callable[[int], None]) -> int:
        invocations = 0
        for batch in _batches(self._records(shard_id), self._mapping.batch_size):
            rest, failures = batch, 0
            while rest:
                invocations += 1
                kept, answer = self._invoke(shard_id, rest)
                failures = failures + 1 if len(kept) == len(rest) else 0
                if failures > self._mapping.retries:
                    what = f"{shard_id}: a batch of {len(rest)} records failed {failures} times; the last answer was"
                    raise EventSourceError(f"{what} {json.dumps(answer)[:500]}")
                rest = kept
            progress(len(batch))
        return invocations

    def _records(self, shard_id: str) -> Iterator[StreamRecord]:
        kinesis = self._emulator.client("kinesis", role=self._role)
        iterator = kinesis.get_shard_iterator(
            StreamARN=self._stream_arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=2000, StreamARN=self._stream_arn)
            yield from answer["Records"]
            if not answer["Records"] and not answer.get("MillisBehindLatest"):
                return
            iterator = answer.get("NextShardIterator")

    def _invoke(self, shard_id: str, batch: list[StreamRecord]) -> tuple[list[StreamRecord], object]:
        """Invoke the function and return the records that have to be sent again, and its answer."""
        event = lambda_event(
            (
                (r["SequenceNumber"], r["Data"], r["PartitionKey"], r["ApproximateArrivalTimestamp"].timestamp())
                for r in batch
            ),
            shard_id=shard_id,
            stream_arn=self._stream_arn,
        )
        answer = self._lambda.invoke(FunctionName=self._deployed.function, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read() or "null")
        if answer.get("FunctionError"):
            return batch, payload
        if not self._mapping.reports_failures:
            return [], payload
        failures = (payload or {}).get("batchItemFailures") or []
        numbers = [failure.get("itemIdentifier") for failure in failures]
        if not numbers:
            return [], payload
        positions = [int(record["SequenceNumber"]) for record in batch]
        if not all(isinstance(n, str) and n.isdecimal() and int(n) in positions for n in numbers):
            return batch, payload
        return batch[positions.index(min(int(n) for n in numbers)) :], payload


def _batches(records: Iterator[StreamRecord], size: int) -> Iterator[list[StreamRecord]]:
    batch: list[StreamRecord] = []
    payload_bytes = 0
    for record in records:
        grown = payload_bytes + _ENVELOPE_BYTES + len(record["Data"]) * 4 // 3
        if batch and (len(batch) == size or grown > _PAYLOAD_BYTES):
            yield batch
            batch, grown = [], grown - payload_bytes
        batch.append(record)
        payload_bytes = grown
    if batch:
        yield batch
