"""Dead letters: what cannot be processed or delivered, kept readable without our code.

A record that cannot be decoded becomes one line in the shape of Firehose's error records. An object that
its destination refuses keeps its bytes and names its intended place in its metadata.

Source: https://docs.aws.amazon.com/firehose/latest/dev/retry.html
"""

import base64
from dataclasses import replace

import msgspec

from routing.errors import RecordError
from routing.fields import Node
from routing.model import ObjectKey, Record, RenderedObject, RouteName, SequenceNumber, Shard
from routing.reasons import Reason

ROUTE = RouteName("dead-letter")
"""Dead letters are a route of their own, with its own key and watermark; no table may define it."""

PREFIX = "dead-letter"
RECORDS_PREFIX = f"{PREFIX}/records"
OBJECTS_PREFIX = f"{PREFIX}/objects"


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


def from_object(refused: RenderedObject, reason: Reason) -> RenderedObject:
    """Turn an object that its destination refuses into an object for the dead-letter key.

    Its name is a function of the intended name, not of the reason: a retry that is refused for another
    reason must not make a second dead letter.
    """
    return replace(
        refused,
        route=ROUTE,
        key=ObjectKey(f"{OBJECTS_PREFIX}/{refused.key}"),
        metadata={**refused.metadata, "reason": reason, "intended-key": refused.key},
    )
