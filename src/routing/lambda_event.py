"""The event that Lambda hands to a Kinesis function, made of stream records or of bare documents."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

ACCOUNT = "111122223333"
REGION = "ap-northeast-1"
STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/ctr-fanout"
SHARD_ID = "shardId-000000000000"
FIRST_SEQUENCE_NUMBER = 49651069415459828167084584974714785136462334983055343634
_ARRIVED_AT = 1772413962.881
# What `sam local generate-event kinesis get-records` writes in the place of a stream.
_NO_STREAM = re.compile(r"arn:[a-z0-9-]+:kinesis:EXAMPLE")

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
        return with_real_stream(document), True
    lines = [line for line in data.splitlines() if line.strip()]
    if document is None and len(lines) > 1 and _json_or_none(lines[0]) is not None:
        return event_of_documents(lines), False
    return event_of_documents([data]), False


def with_real_stream(event: Mapping[str, object]) -> Event:
    """Return an event whose stream, if `sam local generate-event` has left it open, is that of the samples."""
    records = event.get("Records")
    if not isinstance(records, list):
        return dict(event)

    def named(record: object) -> object:
        if not isinstance(record, dict):
            return record
        arn = record.get("eventSourceARN")
        is_open = isinstance(arn, str) and _NO_STREAM.fullmatch(arn) is not None
        return {**record, "eventSourceARN": STREAM_ARN} if is_open else record

    return {**event, "Records": [named(record) for record in records]}


def _json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
