"""Firehose on a stream, or straight behind Connect: one role, one key or two. This is trap 2 at its most common."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from doctor.account import Account, Key, MissingError, Role
from doctor.bucket import ALGORITHM_HEADER, KEY_HEADER, Bucket, check_put, default_key, read_bucket, via_s3
from doctor.finding import Finding, fail, warn
from doctor.locks import check_use
from doctor.reader import check_reading, check_trust, read_role
from doctor.stream import Stream, check_key_state, check_rotation

_READ = ("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards")


def delivery_streams(account: Account, stream: str) -> Iterator[dict[str, Any]]:
    """Return the delivery streams that read a stream; the listing has pages of its own kind."""
    after: dict[str, str] = {}
    while True:
        listed = account.ask("firehose", "list_delivery_streams", **after)
        for name in (listed or {}).get("DeliveryStreamNames", []):
            try:
                described = account.ask("firehose", "describe_delivery_stream", DeliveryStreamName=name)
            except MissingError:
                continue  # deleted meanwhile
            found = (described or {}).get("DeliveryStreamDescription", {})
            source = found.get("Source", {}).get("KinesisStreamSourceDescription", {})
            if source.get("KinesisStreamARN") == stream:
                yield found
        if not listed or not listed.get("HasMoreDeliveryStreams"):
            return
        after = {"ExclusiveStartDeliveryStreamName": listed["DeliveryStreamNames"][-1]}


def check_direct(account: Account, arn: str) -> Iterator[Finding]:
    """Check a delivery stream that Connect puts into itself, without a data stream.

    Source: https://docs.aws.amazon.com/connect/latest/adminguide/data-streaming.html
    """
    try:
        described = account.ask("firehose", "describe_delivery_stream", DeliveryStreamName=arn.rpartition("/")[2])
    except MissingError:
        yield fail(
            "FirehoseMissing", arn, seen="Connect sends to a delivery stream that does not exist",
            expected="a delivery stream", cure="create it, or associate another target in Connect",
        )  # fmt: skip
        return
    if described is not None:
        delivery = described["DeliveryStreamDescription"]
        yield from _check_own_key(account, arn, delivery.get("DeliveryStreamEncryptionConfiguration", {}))
        yield from check_delivery(account, None, delivery)


def _check_own_key(account: Account, arn: str, encryption: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the key under which Firehose keeps what it has not delivered; Firehose uses it by a grant.

    Source: https://docs.aws.amazon.com/firehose/latest/dev/encryption.html
    """
    configured = encryption.get("KeyARN", "")
    if not configured:
        return
    try:
        key = account.key(configured)
    except MissingError:
        key = None
    if key is not None:
        yield from check_key_state(key, "FirehoseKey", arn)
        yield from check_rotation(account, key, arn)
    if encryption.get("Status") in {"ENABLING_FAILED", "DISABLING_FAILED"} or (key and key.grants == []):
        yield fail(
            "FirehoseKeyNotGranted", arn, seen=f"server-side encryption is {encryption.get('Status', 'unknown')}, and the "
            "key has no grant", expected="a grant that Firehose makes when encryption is turned on",
            cure=f"as somebody who may call kms:CreateGrant on the key: aws firehose start-delivery-stream-encryption "
                 f"--delivery-stream-name {arn.rpartition('/')[2]} --delivery-stream-encryption-configuration-input "
                 f"KeyType=CUSTOMER_MANAGED_CMK,KeyARN={configured}",
        )  # fmt: skip


def check_delivery(account: Account, stream: Stream | None, delivery: Mapping[str, Any]) -> Iterator[Finding]:
    """Check one delivery stream: its roles, both keys, its bucket, its log.

    Args:
        account: The account to examine.
        stream: The data stream that it reads; None if it gets records without one.
        delivery: As `DescribeDeliveryStream` tells it.
    """
    arn = delivery["DeliveryStreamARN"]
    if delivery.get("DeliveryStreamStatus") != "ACTIVE":
        yield fail(
            "FirehoseNotActive", arn, seen=str(delivery.get("DeliveryStreamStatus")), expected="ACTIVE",
            cure=f"aws firehose describe-delivery-stream --delivery-stream-name {delivery['DeliveryStreamName']}",
        )  # fmt: skip
    if stream is not None:
        yield from _check_source(account, stream, delivery)
    for destination in delivery.get("Destinations", []):
        s3 = destination.get("ExtendedS3DestinationDescription") or destination.get("S3DestinationDescription")
        if s3:
            yield from _check_s3(account, arn, s3)


def _check_source(account: Account, stream: Stream, delivery: Mapping[str, Any]) -> Iterator[Finding]:
    arn, source = delivery["DeliveryStreamARN"], delivery.get("Source", {}).get("KinesisStreamSourceDescription", {})
    what = f"Firehose reads for {arn}"
    for found in read_role(account, source.get("RoleARN", ""), what=what):
        if isinstance(found, Finding):
            yield found
        else:
            yield from check_trust(found, "firehose.amazonaws.com", {"aws:SourceArn": arn})
            yield from check_reading(account, stream, found, _READ, what=what)


def _check_s3(account: Account, arn: str, s3: Mapping[str, Any]) -> Iterator[Finding]:
    if not s3.get("CloudWatchLoggingOptions", {}).get("Enabled"):
        yield warn(
            "FirehoseLogsNothing", arn, seen="CloudWatch logging is off: a refused key would leave no trace",
            expected="logging on", cure="turn on CloudWatchLoggingOptions of the destination",
        )  # fmt: skip
    try:
        bucket = read_bucket(account, s3["BucketARN"])
    except MissingError:
        yield fail(
            "BucketMissing", s3["BucketARN"], seen="the bucket does not exist", expected="the destination of Firehose",
            cure=f"aws s3 mb s3://{s3['BucketARN'].rpartition(':')[2]}",
        )  # fmt: skip
        return
    key = yield from _key(account, arn, s3, bucket)
    for found in read_role(account, s3["RoleARN"], what=f"Firehose delivers for {arn}"):
        if isinstance(found, Finding):
            yield found
        else:
            yield from check_trust(found, "firehose.amazonaws.com", {"aws:SourceArn": arn})
            yield from _check_delivery_role(account, found, s3, bucket, key)


def _check_delivery_role(
    account: Account, role: Role, s3: Mapping[str, Any], bucket: Bucket, key: Key | None
) -> Iterator[Finding]:
    prefix = s3.get("Prefix", "").partition("!{")[0]
    what = f"Firehose writes {bucket.arn}/{prefix}"
    if key is not None:
        yield from check_key_state(key, "DestinationKey", f"{bucket.arn}/{prefix}")
        yield from check_rotation(account, key, f"{bucket.arn}/{prefix}")
        context = via_s3(bucket, f"{prefix}x")
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            yield from check_use(role, action, key, context, what=what, code="DestinationKey")
    # Only a destination with a key of its own sends headers; the bucket's default goes without.
    configured = _configured_key(s3)
    headers = {ALGORITHM_HEADER: "aws:kms", KEY_HEADER: key.arn if key else configured} if configured else {}
    yield from check_put(role, bucket, prefix, headers, what=what, code="FirehosePut")


def _key(account: Account, arn: str, s3: Mapping[str, Any], bucket: Bucket) -> Generator[Finding, None, Key | None]:
    """Find the key that encrypts what Firehose writes: its own, or the bucket's default."""
    configured = _configured_key(s3)
    try:
        key = account.key(configured) if configured else default_key(account, bucket)
    except MissingError:
        yield fail(
            "DestinationKeyMissing", configured or bucket.key_id, seen="there is no such key in this account and Region",
            expected=f"the key of {arn}", cure="give the destination a key that exists",
        )  # fmt: skip
        return None
    if not configured and not bucket.key_id and bucket.algorithm:
        yield warn(
            "DestinationNotUnderOwnKey", arn, seen=f"what it writes is encrypted with {bucket.algorithm} and no own key",
            expected="a customer managed key, or everyone who may read the bucket reads everything",
            cure="give the destination an EncryptionConfiguration with a key",
        )  # fmt: skip
    return key


def _configured_key(s3: Mapping[str, Any]) -> str:
    """Return the key of a destination, as it is configured; empty for the bucket's default."""
    return str(s3.get("EncryptionConfiguration", {}).get("KMSEncryptionConfig", {}).get("AWSKMSKeyARN", ""))
