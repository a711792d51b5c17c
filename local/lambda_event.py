"""The event that Lambda hands to a Kinesis function, made of stream records or of bare documents."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.emulator import ACCOUNT, REGION

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
        stream_arn: Likewise.

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


def event_in(path: Path) -> Event:
    """Read a whole Lambda event, or wrap a single record or JSON Lines into one."""
    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return event_of_documents(line.encode() for line in text.splitlines() if line.strip())
    if isinstance(document, dict) and "Records" in document:
        return document
    return event_of_documents([text.encode()])
