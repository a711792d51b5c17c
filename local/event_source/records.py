"""A stream record, and the event that Lambda makes of records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.lambda_event import Event, lambda_event

# Lambda's limit on a synchronous invocation; base64 and envelopes count.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_BYTES = 6 * 1024 * 1024
_AROUND = len(json.dumps({"Records": []}))


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One record as `GetRecords` answers it.

    Attributes:
        sequence_number: Decimal digits; compares as an integer.
        data: Decoded from base64.
        partition_key: Decides the shard, and the lane inside it.
        arrived_at: Seconds since 1970.
    """

    sequence_number: str
    data: bytes
    partition_key: str
    arrived_at: float

    @property
    def position(self) -> int:
        """The sequence number as a number."""
        return int(self.sequence_number)

    @classmethod
    def of(cls, answered: Mapping[str, Any]) -> "StreamRecord":
        """Read one record of boto3's `get_records`."""
        arrived_at = answered["ApproximateArrivalTimestamp"].timestamp()
        return cls(answered["SequenceNumber"], answered["Data"], answered["PartitionKey"], arrived_at)


def event_of(records: Sequence[StreamRecord], shard_id: str, stream_arn: str) -> Event:
    """Make the event of a batch.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
    """
    tuples = ((r.sequence_number, r.data, r.partition_key, r.arrived_at) for r in records)
    return lambda_event(tuples, shard_id=shard_id, stream_arn=stream_arn)


def payload_bytes(record: StreamRecord, envelope_bytes: int) -> int:
    """Return what a record adds to the payload of its event."""
    return envelope_bytes + 4 * ((len(record.data) + 2) // 3) + len(record.sequence_number) * 2


def envelope_bytes(shard_id: str, stream_arn: str) -> int:
    """Return the size of a record of an event without its data and numbers, with room for its key."""
    longest_key = "k" * 256  # https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
    empty = StreamRecord("", b"", longest_key, 1772413962.881)
    return len(json.dumps(event_of([empty], shard_id, stream_arn))) - _AROUND + len(", ")
