"""Reading the stream again: records of a shard, as the events that Lambda would make of them."""

import base64
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError
from msgspec import Struct

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef

_RECORDS_AT_ONCE = 1000

type Chunk = tuple[dict[str, Any], str, str]
"""An event, and its first and last sequence number."""


class Start(Struct, frozen=True):
    """Where to begin: a sequence number or seconds since 1970, as the type of the iterator demands.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
    """

    type: Literal["TRIM_HORIZON", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"]
    at: str | float = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `get_shard_iterator`."""
        named = {"TRIM_HORIZON": {}, "AT_TIMESTAMP": {"Timestamp": self.at}}
        return {"ShardIteratorType": self.type, **named.get(self.type, {"StartingSequenceNumber": self.at})}


class StreamReader:
    """Reads one stream."""

    def __init__(self, client: "KinesisClient", arn: str, now: Callable[[], float] = time.time) -> None:
        """Bind a client to the ARN of a stream: IAM compares ARNs, not names."""
        self._client = client
        self._now = now
        self.arn = arn

    def shards(self) -> list[str]:
        """Return the ids of the shards that can still be read, in order."""
        pages = self._client.get_paginator("list_shards").paginate(StreamARN=self.arn)
        return sorted(shard["ShardId"] for page in pages for shard in page["Shards"])

    def read(
        self, shard_id: str, start: Start, *, until: float | None = None, last: int | None = None
    ) -> Iterator[Chunk]:
        """Yield what a shard holds now, a thousand records at a time.

        Args:
            shard_id: Which.
            start: Where to begin.
            until: Leave off at records that arrived at this time or later; seconds since 1970. Those that arrive
                while it reads are beyond the range, too, so that a busy shard comes to an end.
            last: Leave off behind this sequence number.
        """
        until = min(until or self._now(), self._now())
        answer = self._client.get_shard_iterator(StreamARN=self.arn, ShardId=shard_id, **start.arguments)
        iterator: str | None = answer["ShardIterator"]
        while iterator:
            page = self._client.get_records(ShardIterator=iterator, Limit=_RECORDS_AT_ONCE, StreamARN=self.arn)
            # Cut at the first record beyond: arrival times need not increase, and a range may have no gaps.
            inside = list(takewhile(lambda record: _is_before(record, until, last), page["Records"]))
            if inside:
                yield self._event(inside, shard_id), inside[0]["SequenceNumber"], inside[-1]["SequenceNumber"]
            if len(inside) < len(page["Records"]) or not (page["Records"] or page.get("MillisBehindLatest")):
                return
            iterator = page.get("NextShardIterator")

    def between(self, shard_id: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Yield what a shard holds between two sequence numbers; nothing if it does not hold the first any more."""
        oldest = self.oldest(shard_id)
        if oldest is not None and int(oldest) <= first:
            start = Start("AT_SEQUENCE_NUMBER", str(first).zfill(len(oldest)))
            yield from (event for event, _, _ in self.read(shard_id, start, last=last))

    def has_issued(self, shard_id: str, sequence_number: str) -> bool | None:
        """Return whether a shard has issued a sequence number.

        Returns:
            None if the stream no longer tells: the shard holds no record any more, or is gone.

        Raises:
            ClientError: The stream cannot be read.

        Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
        """
        try:
            # A number that has expired is followed by the oldest record that is left.
            if self._first(shard_id, Start("AT_SEQUENCE_NUMBER", sequence_number)):
                return True
            return False if self._first(shard_id, Start("TRIM_HORIZON")) else None
        except ClientError as err:
            code = err.response["Error"]["Code"]
            if code == "InvalidArgumentException":  # "it did not come from this stream"
                return False
            if code == "ResourceNotFoundException":
                return None
            raise

    def oldest(self, shard_id: str) -> str | None:
        """Return the first sequence number that a shard still holds; None if it holds none, or is gone."""
        try:
            return self._first(shard_id, Start("TRIM_HORIZON"))
        except ClientError as err:
            if err.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise

    def _first(self, shard_id: str, start: Start) -> str | None:
        """Return the first sequence number from a position on; an answer may hold none although there is one.

        Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
        """
        answer = self._client.get_shard_iterator(StreamARN=self.arn, ShardId=shard_id, **start.arguments)
        iterator: str | None = answer["ShardIterator"]
        while iterator:
            page = self._client.get_records(ShardIterator=iterator, Limit=1, StreamARN=self.arn)
            if page["Records"]:
                return page["Records"][0]["SequenceNumber"]
            if not page.get("MillisBehindLatest"):
                return None
            iterator = page.get("NextShardIterator")
        return None

    def _event(self, records: list["RecordTypeDef"], shard_id: str) -> dict[str, Any]:
        """Make of stream records what the decoder reads of Lambda's event."""
        return {
            "Records": [
                {
                    "kinesis": {
                        "sequenceNumber": record["SequenceNumber"],
                        "data": base64.b64encode(record["Data"]).decode(),
                        "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                    },
                    "eventID": f"{shard_id}:{record['SequenceNumber']}",
                    "eventSourceARN": self.arn,
                }
                for record in records
            ]
        }


def _is_before(record: "RecordTypeDef", until: float, last: int | None) -> bool:
    has_arrived = record["ApproximateArrivalTimestamp"].timestamp() < until
    return has_arrived and (last is None or int(record["SequenceNumber"]) <= last)
