"""The event that Lambda hands to a Kinesis function, made of stream records or of bare documents."""

import base64
import json
from collections.abc import Iterable
from typing import Any

ACCOUNT = "111122223333"
REGION = "ap-northeast-1"
STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/ctr-fanout"
SHARD_ID = "shardId-000000000000"
FIRST_SEQUENCE_NUMBER = 49651069415459828167084584974714785136462334983055343634
_ARRIVED_AT = 1772413962.881

type Event = dict[str, Any]


def lambda_event(
    records: Iterable[tuple[str, bytes, str, float]], *, shard_id: str = SHARD_ID, stream_arn: str = STREAM_ARN
) -> Event:
    """Make an event.

    Args:
        records: Sequence number, data, partition key and arrival (seconds since 1970) of each.
        shard_id: Where they come from.
        stream_arn: The stream of the event.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
    """
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": partition_key,
                    "sequenceNumber": sequence_number,
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": arrived_at,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard_id}:{sequence_number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/ctr-fanout",
                "awsRegion": REGION,
                "eventSourceARN": stream_arn,
            }
            for sequence_number, data, partition_key, arrived_at in records
        ]
    }


def event_of_documents(documents: Iterable[bytes]) -> Event:
    """Make an event of bare documents, with invented but valid envelopes."""
    return lambda_event(
        (str(FIRST_SEQUENCE_NUMBER + i * 2**16), document, f"key-{i % 7}", _ARRIVED_AT + i / 100)
        for i, document in enumerate(documents)
    )


def event_in(data: bytes) -> tuple[Event, bool]:
    """Read a whole Lambda event, or make one of a single record or of JSON Lines.

    What is neither is taken as one record, so that a poison record can be tried too.

    Returns:
        The event; True if its arrival times are real, False if they are made up here.
    """
    document = _json_or_none(data)
    if isinstance(document, dict) and "Records" in document:
        return document, True
    lines = [line for line in data.splitlines() if line.strip()]
    if document is None and len(lines) > 1 and _json_or_none(lines[0]) is not None:
        return event_of_documents(lines), False
    return event_of_documents([data]), False


def _json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
