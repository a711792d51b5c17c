"""Dead letters: what cannot be processed or delivered, kept readable without our code.

A record that cannot be decoded becomes one line in the shape of Firehose's error records. An object that
its destination refuses keeps its bytes and names its intended place in its metadata.

Source: https://docs.aws.amazon.com/firehose/latest/dev/retry.html
"""

import base64
from copy import replace

import msgspec
from msgspec import Struct

from routing.errors import RecordError
from routing.fields import Node
from routing.layout import DEAD_LETTER, letter_key
from routing.model import Record, RenderedObject, SequenceNumber, Shard
from routing.reasons import Reason


def from_record(  # noqa: PLR0917 - five of the six are one envelope
    shard: Shard, sequence_number: SequenceNumber, position: int, arrived_at: float, raw: bytes, failure: RecordError
) -> Record:
    """Turn a record that cannot be decoded into a record of the dead-letter route.

    The line is `{"errorCode": "NotJson", "errorMessage": ..., "stage": "decode", "streamArn": ...,
    "shardId": ..., "sequenceNumber": ..., "arrivalTimestamp": <ms since 1970>, "rawData": <base64>}`.
    """
    line = {
        "errorCode": failure.reason,
        "errorMessage": failure.detail,
        "stage": "decode",
        "streamArn": shard.stream_arn,
        "shardId": shard.shard_id,
        "sequenceNumber": sequence_number,
        "arrivalTimestamp": round(arrived_at * 1000),
        "rawData": base64.b64encode(raw).decode(),
    }
    return Record(
        kind=failure.reason,
        data=msgspec.json.encode(line),
        fields=Node(),
        sequence_number=sequence_number,
        position=position,
        arrived_at=arrived_at,
        failure=failure.detail,
    )


class RecordLetter(Struct, frozen=True, kw_only=True):
    """A line that `from_record` has made, read back.

    Attributes:
        shard: Where the record came from.
        sequence_number: Its own, or that of the aggregate that held it.
        arrived_at: Seconds since 1970.
        raw: Its bytes; none if it was erased.
        reason: Why it could not be decoded.
        is_erased: True if a contact was taken out of it. Its line remains, so that nothing brings it back.
    """

    shard: Shard
    sequence_number: SequenceNumber
    arrived_at: float
    raw: bytes
    reason: str
    is_erased: bool = False


def read_line(line: bytes) -> RecordLetter:
    """Read a line that `from_record` has made.

    Raises:
        ValueError: It is none.
    """
    try:
        read = msgspec.json.decode(line, type=_Line)
        raw = base64.b64decode(read.raw_data, validate=True)
    except (msgspec.DecodeError, ValueError):
        raise ValueError(f"expected a dead letter of a record, got a line of {len(line)} bytes") from None
    return RecordLetter(
        shard=Shard(read.stream_arn, read.shard_id),
        sequence_number=SequenceNumber(read.sequence_number),
        arrived_at=read.arrival_timestamp / 1000,
        raw=raw,
        reason=read.error_code,
        is_erased=read.erased,
    )


def without_record(line: bytes) -> bytes:
    """Return a line of `from_record` without its record: `rawData` is empty, and `erased` is true.

    Raises:
        ValueError: It is no such line.
    """
    read_line(line)
    return msgspec.json.encode({**msgspec.json.decode(line), "rawData": "", "erased": True})


class _Line(msgspec.Struct, rename="camel"):
    error_code: str
    stream_arn: str
    shard_id: str
    sequence_number: str
    arrival_timestamp: int
    raw_data: str
    erased: bool = False


def from_object(refused: RenderedObject, reason: Reason) -> RenderedObject:
    """Turn an object that its destination refuses into an object for the dead-letter key.

    Its name is a function of the intended name, not of the reason: a retry that is refused for another
    reason must not make a second dead letter.
    """
    return replace(
        refused,
        route=DEAD_LETTER,
        key=letter_key(refused.key),
        may_exist=False,
        metadata={**refused.metadata, "reason": reason, "intended-key": refused.key},
    )
