"""What Lambda hands over when it gives up on a batch.

Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from local.event_source.lane import GivenUp
from local.event_source.mapping import Mapping
from local.event_source.records import event_of
from local.event_source.verdict import Outcome


def message(mapping: Mapping, shard_id: str, given_up: GivenUp, now: float) -> dict[str, Any]:
    """Make the message for a queue or a topic: metadata, by which the records can be read again.

    Assumption: `functionError` is left out of a partial response, which is no error of the function; and
    without any invocation there is no `responseContext`.
    """
    records = given_up.batch.records
    made: dict[str, Any] = {
        "requestContext": {
            "requestId": given_up.answer.request_id if given_up.answer else str(uuid.uuid4()),
            "functionArn": mapping.function_arn,
            "condition": given_up.condition,
            "approximateInvokeCount": given_up.batch.invocations,
        },
        "version": "1.0",
        "timestamp": _iso(now),
        "KinesisBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": records[0].sequence_number,
            "endSequenceNumber": records[-1].sequence_number,
            "approximateArrivalOfFirstRecord": _iso(records[0].arrived_at),
            "approximateArrivalOfLastRecord": _iso(records[-1].arrived_at),
            "batchSize": len(records),
            "streamArn": mapping.stream_arn,
        },
    }
    if given_up.answer is not None:
        made["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if given_up.answer.outcome is Outcome.FAILED:
            made["responseContext"]["functionError"] = "Unhandled"
    return made


def object_for_s3(
    mapping: Mapping, shard_id: str, given_up: GivenUp, now: float, name: uuid.UUID | None = None
) -> tuple[str, bytes]:
    """Return key and body of the object for a bucket: the message, and the whole event as text in `payload`.

    Args:
        mapping: That gave up.
        shard_id: Where the batch comes from.
        given_up: The batch, and why.
        now: Seconds since 1970.
        name: Ends the key; by default a new one.
    """
    at = datetime.fromtimestamp(now, UTC)
    key = f"aws/lambda/{mapping.uuid}/{shard_id}/{at:%Y/%m/%d}/{at:%Y-%m-%dT%H.%M.%S}-{name or uuid.uuid4()}"
    payload = event_of(given_up.batch.records, shard_id, mapping.stream_arn)
    body = {**message(mapping, shard_id, given_up, now), "payload": json.dumps(payload, separators=(",", ":"))}
    return key, json.dumps(body).encode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
