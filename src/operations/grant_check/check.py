"""The grant check: does every grant still hold that the next contact will need?

It does what a delivery does, with the same role, stream, sink, keys and table, for one empty object per route;
so it finds a revoked grant, a disabled key or a changed bucket policy before a record meets it. What it cannot
try is Connect's own grant: only Connect has that role.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.s3_sink import S3Sink, classified
from routing import layout
from routing.errors import CheckpointError, DeliveryError
from routing.model import FencingToken, Kind, ObjectKey, RenderedObject, RouteName, Shard
from routing.protection.sealing import context_of
from routing.reasons import Reason
from routing.stages.protect import Vault, scope_of
from routing.stages.render import render_empty
from routing.table.routes import DEAD_LETTER_ROUTE, HASH_KEY, Route, RouteTable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient

CHECKPOINT = "checkpoint"
ON_FAILURE = "on-failure"
STREAM = "stream"
CHECKED_BESIDE_ROUTES = (CHECKPOINT, ON_FAILURE, STREAM)

# Readers of data lakes skip names that begin with an underscore, and an empty gzip file has no line anyway.
# https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html
_NAME = "_grant-check.ndjson.gz"
_EMPTY = gzip.compress(b"", mtime=0)
_ROW = Shard("grant-check", "grant-check")
_MOST_READS = 10
_READING = {"Creating", "Enabling", "Enabled", "Updating"}
_TABLE_REFUSES = {"AccessDeniedException", "ResourceNotFoundException", "KMSAccessDeniedException"}
_STREAM_REFUSES = {
    "AccessDeniedException": Reason.ACCESS_DENIED,
    "ResourceNotFoundException": Reason.ACCESS_DENIED,
    "KMSAccessDeniedException": Reason.KMS_KEY_ACCESS_DENIED,
    "KMSDisabledException": Reason.KMS_KEY_DISABLED,
    "KMSInvalidStateException": Reason.KMS_KEY_INVALID_STATE,
    "KMSNotFoundException": Reason.KMS_KEY_NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one try.

    Attributes:
        name: A route, a key of protection, or one of `CHECKED_BESIDE_ROUTES`.
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


def check_protection(vault: Vault, table: RouteTable, stack: str) -> Iterator[Check]:
    """Ask for the keys of protection, as the first record after a cold start does.

    Args:
        vault: One that has asked for nothing yet.
        table: Tells which routes seal, and whether any hashes.
        stack: The name of the stack.
    """
    asks: dict[str, Callable[[], object]] = {
        route.seal_key: partial(vault.seal, route.name, context_of(stack, route.name, Kind.OTHER, b"{}"), b"")
        for route in table.routes
        if route.seals
    }
    asks |= {HASH_KEY: partial(vault.token_key, scope_of(RouteName("grant-check"), None))} if table.hashes else {}
    for name, ask in asks.items():
        try:
            ask()
        except DeliveryError as err:
            yield Check(name, err.reason, str(err), err.is_transient)
        else:
            yield Check(name)


def check_on_failure(bucket: Bucket, expected: str) -> Check:
    """Put as Lambda puts a batch that it gave up on: naming no key, so that the bucket's default decides.

    Args:
        bucket: Of the stack.
        expected: The ARN of the key that the bucket's default has to be.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    try:
        put = bucket.put_without_key(f"{layout.HANDED_OVER}{_NAME}", _EMPTY)
    except ClientError as err:
        error = classified(ON_FAILURE, layout.DEAD_LETTER, err)
        return Check(ON_FAILURE, error.reason, str(error), error.is_transient)
    except BotoCoreError as err:
        return Check(ON_FAILURE, Reason.UNAVAILABLE, f"put failed with {type(err).__name__}", is_unknown=True)
    if put.get("SSEKMSKeyId", "").rpartition("/")[2] != expected.rpartition("/")[2]:
        found = put.get("SSEKMSKeyId", put.get("ServerSideEncryption", "no encryption"))
        detail = f"on-failure: expected the bucket's default to be {expected}, got {found}; deploy again"
        return Check(ON_FAILURE, Reason.WRONG_KEY, detail)
    return Check(ON_FAILURE)


def check_checkpoint(checkpoint: CheckpointTable | NoCheckpoint, table: RouteTable) -> Check:
    """Claim and release a row that no shard has."""
    try:
        with checkpoint.claim(_ROW, table):
            return Check(CHECKPOINT)
    except CheckpointError as err:
        if err.reason == Reason.CLAIMED_ELSEWHERE:  # by another check at the same time, which the grant allowed
            return Check(CHECKPOINT)
        cause = err.__cause__
        code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
        return Check(CHECKPOINT, err.reason, str(err), is_unknown=code not in _TABLE_REFUSES)


def check_stream(mappings: "LambdaClient", streams: "KinesisClient", mapping_id: str) -> Check:
    """Ask what Lambda says about its last try, and read one record as Lambda does; it is not looked at.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html
    """
    try:
        mapping = mappings.get_event_source_mapping(UUID=mapping_id)
    except ClientError as err:
        code = err.response["Error"]["Code"]
        detail = f"mapping: GetEventSourceMapping failed with {code}; allow the function role to call it"
        return Check(STREAM, Reason.MAPPING_UNKNOWN, detail)
    except BotoCoreError as err:
        return Check(STREAM, Reason.UNAVAILABLE, f"mapping: failed with {type(err).__name__}", is_unknown=True)
    return _check_mapping(mapping) or _check_reading(streams, mapping["EventSourceArn"])


def _check_mapping(mapping: Mapping[str, Any]) -> Check | None:
    """Return what is wrong with the mapping's state or settings; None if nothing is."""
    state, result = mapping.get("State", "unknown"), mapping.get("LastProcessingResult", "")
    if state not in _READING:
        detail = f"mapping: expected it enabled, got {state}; deploy with MappingEnabled=true"
        return Check(STREAM, Reason.MAPPING_DISABLED, detail)
    if result.startswith("PROBLEM"):
        detail = f"mapping: {result}; run `ctr-fanout doctor` for the statement that is missing"
        return Check(STREAM, Reason.MAPPING_PROBLEM, detail)
    if (lanes := mapping.get("ParallelizationFactor") or 1) > 1:
        detail = (
            f"mapping: expected ParallelizationFactor 1, got {lanes}: batches of one shard overtake each other, and the "
            "records of the slower one count as delivered; deploy again, then replay the stream"
        )
        return Check(STREAM, Reason.MAPPING_PROBLEM, detail)
    if not mapping.get("BisectBatchOnFunctionError", True):
        detail = "mapping: expected BisectBatchOnFunctionError: a batch that is too long for one invocation never ends"
        return Check(STREAM, Reason.MAPPING_PROBLEM, detail)
    return None


def _check_reading(streams: "KinesisClient", stream: str) -> Check:
    """Read a record: on a quiet stream the mapping itself would notice a refused key with the next record only."""
    try:
        is_sure = _reads(streams, stream)
        summary = streams.describe_stream_summary(StreamARN=stream)["StreamDescriptionSummary"]
    except ClientError as err:
        code = err.response["Error"]["Code"]
        reason = _STREAM_REFUSES.get(code)
        detail = f"stream: {err.operation_name} refused with {code}; run `ctr-fanout doctor` for what is missing"
        return Check(STREAM, reason or Reason.UNAVAILABLE, detail, is_unknown=reason is None)
    except BotoCoreError as err:
        return Check(STREAM, Reason.UNAVAILABLE, f"stream: failed with {type(err).__name__}", is_unknown=True)
    if summary.get("EncryptionType") != "KMS":
        detail = (
            "stream: expected it encrypted with a KMS key, got no encryption; run `ctr-fanout doctor` for the command"
        )
        return Check(STREAM, Reason.WRONG_KEY, detail)
    if not is_sure:
        detail = f"stream: no record met in {_MOST_READS} reads of a quiet shard, so its key was not tried"
        return Check(STREAM, Reason.UNAVAILABLE, detail, is_unknown=True)
    return Check(STREAM)


def _reads(streams: "KinesisClient", stream: str) -> bool:
    """Read until a record comes; return True if one has come, or if there is none to come.

    Kinesis decrypts nothing for an empty answer, and an answer may be empty although records follow. A shard that a
    resharding has closed may have none left. Reads count against the shard's limit of five a second, so they are few.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
    """
    shards = streams.list_shards(StreamARN=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    shard = next(one["ShardId"] for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"])
    recently = datetime.now(UTC) - timedelta(hours=1)  # on a busy stream the first read finds one
    return (
        bool(_read_from(streams, stream, shard, {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": recently}))
        or _read_from(streams, stream, shard, {"ShardIteratorType": "TRIM_HORIZON"}) is not None
    )


def _read_from(streams: "KinesisClient", stream: str, shard: str, start: Any) -> bool | None:  # noqa: ANN401 - a place
    """Follow an iterator; return True if a record comes, False at the end of the shard, None if neither is reached."""
    iterator = streams.get_shard_iterator(StreamARN=stream, ShardId=shard, **start)["ShardIterator"]
    for _ in range(_MOST_READS // 2):
        answer = streams.get_records(ShardIterator=iterator, StreamARN=stream, Limit=1)
        if answer["Records"]:
            return True
        if not answer.get("NextShardIterator") or not answer.get("MillisBehindLatest"):
            return False
        iterator = answer["NextShardIterator"]
    return None


def _empty_object(route: Route) -> RenderedObject:
    prefix = layout.DEAD_LETTER_PREFIX if route is DEAD_LETTER_ROUTE else route.prefix
    return render_empty(ObjectKey(f"{prefix}/{_NAME}"), route.name, FencingToken(0))
