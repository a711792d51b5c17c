"""The canary: does every grant still hold that the next contact will need?

It does what a delivery does, with the same role, sink, keys and table, for one empty object per route; so it
finds a revoked grant, a disabled key or a changed bucket policy before a record meets it.
"""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from handlers.checkpoint import CheckpointTable, NoCheckpoint
from handlers.s3_sink import S3Sink, classified
from handlers.settings import Settings
from routing import dead_letter
from routing.errors import CheckpointError
from routing.model import Kind, ObjectKey, RenderedObject, RouteName, Shard
from routing.reasons import Reason
from routing.routes import DEAD_LETTER_ROUTE, Route

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

CHECKPOINT = "checkpoint"
ON_FAILURE = "on-failure"
STREAM = "stream"
CHECKED_BESIDE_ROUTES = (CHECKPOINT, ON_FAILURE, STREAM)

# Readers of data lakes skip names that begin with an underscore, and an empty gzip file has no line anyway.
# https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html
_NAME = "_grant-check.ndjson.gz"
_EMPTY = gzip.compress(b"", mtime=0)
_ROW = Shard("grant-check", "grant-check")


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one try.

    Attributes:
        name: A route, or one of `CHECKED_BESIDE_ROUTES`.
        reason: Why it failed; None if the grant holds.
        detail: What was seen and what to do, without a value of a record.
        is_unknown: True if the try itself failed, so that nothing is known about the grant.
    """

    name: str
    reason: Reason | None = None
    detail: str = ""
    is_unknown: bool = False


def check_routes(sink: S3Sink, routes: Sequence[Route]) -> Iterator[Check]:
    """Put an empty object below the prefix of each route, as a batch of records is put."""
    objects = [_empty_object(route) for route in routes]
    for rendered, error in zip(objects, sink.put_all(objects), strict=True):
        if error is None:
            yield Check(rendered.route)
        else:
            yield Check(rendered.route, error.reason, str(error), error.is_transient)


def check_on_failure(client: "S3Client", settings: Settings) -> Check:
    """Put as Lambda puts a batch that it gave up on: naming no key, so that the bucket's default decides.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    try:
        client.put_object(
            Bucket=settings.bucket, Key=f"aws/lambda/{_NAME}", Body=_EMPTY, ExpectedBucketOwner=settings.bucket_owner
        )
    except ClientError as err:
        error = classified(ON_FAILURE, dead_letter.ROUTE, err)
        return Check(ON_FAILURE, error.reason, str(error), error.is_transient)
    except BotoCoreError as err:
        return Check(ON_FAILURE, Reason.UNAVAILABLE, f"put failed with {type(err).__name__}", is_unknown=True)
    return Check(ON_FAILURE)


def check_checkpoint(checkpoint: CheckpointTable | NoCheckpoint) -> Check:
    """Claim and release a row that no shard has."""
    try:
        with checkpoint.claim(_ROW):
            return Check(CHECKPOINT)
    except CheckpointError as err:
        if err.reason == Reason.CLAIMED_ELSEWHERE:  # by another check at the same time, which the grant allowed
            return Check(CHECKPOINT)
        return Check(CHECKPOINT, err.reason, str(err))


def check_stream(client: "LambdaClient", mapping_id: str) -> Check:
    """Read what Lambda says about its last try to read the stream and to call the function.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html
    """
    try:
        mapping = client.get_event_source_mapping(UUID=mapping_id)
    except ClientError as err:
        code = err.response["Error"]["Code"]
        detail = f"mapping: GetEventSourceMapping failed with {code}; allow the function role to call it"
        return Check(STREAM, Reason.MAPPING_UNKNOWN, detail)
    except BotoCoreError as err:
        return Check(STREAM, Reason.UNAVAILABLE, f"mapping: failed with {type(err).__name__}", is_unknown=True)
    state, result = mapping.get("State", "unknown"), mapping.get("LastProcessingResult", "")
    if state in {"Disabled", "Disabling"}:
        detail = f"mapping: expected it enabled, got {state}; deploy with MappingEnabled=true"
        return Check(STREAM, Reason.MAPPING_DISABLED, detail)
    if result.startswith("PROBLEM"):
        detail = f"mapping: {result}; run `ctr-fanout doctor` for the statement that is missing"
        return Check(STREAM, Reason.MAPPING_PROBLEM, detail)
    return Check(STREAM)


def _empty_object(route: Route) -> RenderedObject:
    prefix = dead_letter.PREFIX if route is DEAD_LETTER_ROUTE else route.prefix
    return RenderedObject(
        route=RouteName(route.name),
        kind=Kind.OTHER,
        key=ObjectKey(f"{prefix}/{_NAME}"),
        body=_EMPTY,
        metadata={"written-by": "grant-check"},
        record_count=0,
        plain_bytes=0,
        oldest_arrived_at=0.0,
    )
