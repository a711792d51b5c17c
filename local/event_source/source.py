"""The poller: reads a stream with the function's role, shard by shard, and invokes the function."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.event_source.lane import Batch, GivenUp, Lane
from local.event_source.mapping import Mapping
from local.event_source.on_failure import message, object_for_s3
from local.event_source.records import StreamRecord, event_of
from local.event_source.shard import Counts, ShardReader
from local.event_source.verdict import Answer, Outcome

_RECORDS_A_READ = 2000
_SECONDS_BETWEEN_READS = 1.0  # https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html: once a second
_PAUSES = (0.0, 0.05, 0.2, 1.0)
# A mapping with endless retries would never let `drain` end.
_MOST_FAILURES = 1000

type MakeClient = Callable[..., Any]
"""(service, role=<ARN, or empty for the account's root>) -> a boto3 client."""


class EventSourceError(Exception):
    """A batch failed a thousand times."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a shard is read from: the arguments of `get_shard_iterator`."""

    arguments: dict[str, Any]


class EventSource:
    """One mapping, deployed and disabled, whose work is done here.

    Use it from one thread; it reads shards and lanes in threads of its own.

    Attributes:
        mapping: What it keeps to.
        invocations: How often it has called the function.
        between: Called after each invocation, e.g. to let time pass.
    """

    def __init__(self, client: MakeClient, mapping_id: str) -> None:
        """Read the deployed mapping and the function's role.

        Args:
            client: Makes clients, as the account's root or as a role.
            mapping_id: The mapping's UUID.

        Raises:
            MappingError: It asks for what is not simulated here.
        """
        self._lambda = client("lambda")
        self.mapping = Mapping.of(self._lambda.get_event_source_mapping(UUID=mapping_id))
        self._role = self._lambda.get_function_configuration(FunctionName=self.mapping.function_arn)["Role"]
        self._client = client
        self._kinesis = client("kinesis", role=self._role)
        self._starts: dict[str, _Start] = {}
        self._readers: dict[str, ShardReader] = {}
        self._closed: set[str] = set()
        self._lock = threading.Lock()
        self.invocations = 0
        self.between: Callable[[], None] = lambda: None

    @property
    def counts(self) -> Counts:
        """What was read, sent, failed and handed over so far, all shards together."""
        readers = list(self._readers.values())
        return Counts(**{f.name: sum(getattr(r.counts, f.name) for r in readers) for f in fields(Counts)})

    def start(self) -> None:
        """Fix the starting position of the shards that there are; `LATEST` means the moment of this call.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
        """
        for shard in self._shards():
            arguments: dict[str, Any] = {"ShardIteratorType": self.mapping.starting_position}
            if self.mapping.starting_position == "AT_TIMESTAMP":
                arguments["Timestamp"] = self.mapping.starting_at
            if self.mapping.starting_position == "LATEST":
                last = self._last_of(shard["ShardId"])
                after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": last}
                arguments = after if last else {"ShardIteratorType": "TRIM_HORIZON"}
            self._starts[shard["ShardId"]] = _Start(arguments)

    def lose_checkpoint(self, shard_id: str, back_to: str | None = None) -> None:
        """Forget how far a shard was read, as a restarted poller may.

        Args:
            shard_id: Which.
            back_to: The sequence number to read again from; by default the oldest that the stream holds.
        """
        at = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": back_to}
        self._starts[shard_id] = _Start(at if back_to else {"ShardIteratorType": "TRIM_HORIZON"})
        self._readers.pop(shard_id, None)
        self._closed.discard(shard_id)

    def drain(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Deliver everything that the stream holds now, without waiting for windows.

        Args:
            progress: Called with the number of stream records that were settled after each invocation.

        Returns:
            The number of invocations.

        Raises:
            EventSourceError: A batch keeps failing.
            ClientError: The stream cannot be read with the function's role.
        """
        before = self.invocations
        self._read(progress, lambda is_at_tip: is_at_tip)
        return self.invocations - before

    def run(self, is_over: Callable[[], bool], progress: Callable[[int], None] = lambda _: None) -> int:
        """Deliver what comes, with the mapping's window, until `is_over`; then what was read by then.

        Returns:
            The number of invocations.
        """
        before = self.invocations
        self._read(progress, lambda is_at_tip: is_at_tip and is_over(), keeps_window=True)
        return self.invocations - before

    def _read(
        self, progress: Callable[[int], None], is_done: Callable[[bool], bool], *, keeps_window: bool = False
    ) -> None:
        """Read all shards, parents before their children, as many at once as there are."""
        if not self._starts:
            self.start()
        finished: set[str] = set()
        with ThreadPoolExecutor(max_workers=256) as workers:
            running: dict[str, Any] = {}
            while True:
                for shard_id in self._eligible():
                    if shard_id not in running:
                        running[shard_id] = workers.submit(
                            self._read_shard, shard_id, progress, is_done, keeps_window=keeps_window
                        )
                done = {shard_id for shard_id, future in running.items() if future.done()}
                for shard_id in done - finished:
                    running[shard_id].result()
                finished |= done
                if done == set(running) and set(self._eligible()) <= done:
                    return
                time.sleep(0.01)

    def _eligible(self) -> Iterator[str]:
        """Yield the shards that may be read: those whose parents are read to their end, or are gone.

        Source: https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html
        """
        shards = self._shards()
        there = {shard["ShardId"] for shard in shards}
        for shard in shards:
            parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} & there
            if parents <= self._closed and shard["ShardId"] not in self._closed:
                yield shard["ShardId"]

    def _shards(self) -> list[dict[str, Any]]:
        pages = self._kinesis.get_paginator("list_shards").paginate(StreamARN=self.mapping.stream_arn)
        return [shard for page in pages for shard in page["Shards"]]

    def _read_shard(
        self, shard_id: str, progress: Callable[[int], None], is_done: Callable[[bool], bool], *, keeps_window: bool
    ) -> None:
        reader = self._readers.setdefault(shard_id, ShardReader(self.mapping, shard_id))
        iterator = self._iterator(reader)
        is_at_tip, fruitless = False, 0
        with ThreadPoolExecutor(self.mapping.lanes) as lanes:
            while True:
                if iterator and reader.gathered < self.mapping.batch_size * self.mapping.lanes:
                    page = self._kinesis.get_records(
                        ShardIterator=iterator, Limit=_RECORDS_A_READ, StreamARN=self.mapping.stream_arn
                    )
                    reader.feed(map(StreamRecord.of, page["Records"]), time.time())
                    iterator = page.get("NextShardIterator")
                    is_at_tip = not page["Records"] and not page.get("MillisBehindLatest")
                is_ended = iterator is None
                outstanding = reader.gathered
                self._settle_due(reader, lanes, is_window_over=is_ended or (is_at_tip and not keeps_window))
                if settled := outstanding - reader.gathered:
                    progress(settled)
                    fruitless = 0
                if reader.is_settled and is_ended:
                    self._closed.add(shard_id)
                    return
                if is_done(is_at_tip):
                    self._settle_due(reader, lanes, is_window_over=True)
                    if reader.is_settled:
                        return
                if not settled:
                    fruitless += outstanding > 0 and not keeps_window
                    if fruitless > _MOST_FAILURES:
                        raise EventSourceError(f"{shard_id}: {outstanding} records failed {fruitless} times in a row")
                    time.sleep(_PAUSES[min(fruitless, len(_PAUSES) - 1)] if not is_at_tip else 0.01)
                if keeps_window and is_at_tip:
                    time.sleep(_SECONDS_BETWEEN_READS / 4)

    def _settle_due(self, reader: ShardReader, lanes: ThreadPoolExecutor, *, is_window_over: bool) -> None:
        """Invoke the function with every batch that is due, the lanes at once."""
        for expired in reader.expire(time.time()):
            self._hand_over(reader, expired)
        due = reader.take(time.time(), is_window_over=is_window_over)
        for given_up in lanes.map(lambda one: self._invoke(reader, *one), due):
            if given_up is not None:
                self._hand_over(reader, given_up)

    def _invoke(self, reader: ShardReader, lane: Lane, batch: Batch) -> GivenUp | None:
        event = event_of(batch.records, reader.shard_id, self.mapping.stream_arn)
        with self._lock:
            self.invocations += 1
        try:
            answer = _answer(self._lambda.invoke(FunctionName=self.mapping.function_arn, Payload=json.dumps(event)))
        except (ClientError, BotoCoreError):
            answer = Answer(Outcome.NOT_INVOKED)
        self.between()
        return reader.settle(lane, batch, answer)

    def _hand_over(self, reader: ShardReader, given_up: GivenUp) -> None:
        """Put what is given up where the mapping says, with the function's role; else it is discarded.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        arn, count = self.mapping.on_failure_arn, len(given_up.batch.records)
        try:
            if arn is None:
                reader.counts.discarded += count
                return
            service, name = arn.split(":")[2], arn.rpartition(":")[2]
            client = self._client(service, role=self._role)
            if service == "s3":
                key, body = object_for_s3(self.mapping, reader.shard_id, given_up, time.time())
                client.put_object(Bucket=name, Key=key, Body=body)
            else:
                text = json.dumps(message(self.mapping, reader.shard_id, given_up, time.time()))
                if service == "sqs":
                    client.send_message(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=text)
                else:
                    client.publish(TopicArn=arn, Message=text)
        except (ClientError, BotoCoreError):  # DestinationDeliveryFailures: nobody hears of these records again
            reader.counts.discarded += count
        else:
            reader.counts.handed_over += count

    def _iterator(self, reader: ShardReader) -> str | None:
        shard_id = reader.shard_id
        if reader.read_to is not None:
            arguments = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": reader.read_to}
        elif shard_id in self._starts:
            arguments = self._starts[shard_id].arguments
        else:  # a child that came after the start is read from its beginning, or records between would be missed
            arguments = {"ShardIteratorType": "TRIM_HORIZON"}
        answer = self._kinesis.get_shard_iterator(StreamARN=self.mapping.stream_arn, ShardId=shard_id, **arguments)
        iterator: str | None = answer.get("ShardIterator")
        return iterator

    def _last_of(self, shard_id: str) -> str | None:
        """Return the last sequence number of a shard, so that `LATEST` stays what it is now."""
        iterator = self._kinesis.get_shard_iterator(
            StreamARN=self.mapping.stream_arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        last = None
        while iterator:
            page = self._kinesis.get_records(ShardIterator=iterator, StreamARN=self.mapping.stream_arn)
            last = page["Records"][-1]["SequenceNumber"] if page["Records"] else last
            if not page["Records"] and not page.get("MillisBehindLatest"):
                break
            iterator = page.get("NextShardIterator")
        return last


def _answer(invoked: dict[str, Any]) -> Answer:
    """Read what `Invoke` answered: throttled, failed, or a payload."""
    request_id = invoked["ResponseMetadata"].get("RequestId", "")
    if invoked.get("FunctionError"):
        return Answer(Outcome.FAILED, request_id=request_id)
    try:
        return Answer(Outcome.ANSWERED, json.loads(invoked["Payload"].read() or "null"), request_id)
    except ValueError:
        return Answer(Outcome.FAILED, request_id=request_id)
