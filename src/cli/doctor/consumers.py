"""Who reads the stream: event source mappings and Firehose, their roles, and where they deliver.

Trap 2 lives here: with one key for the stream and another for S3, the reading role needs `kms:Decrypt` on the
first, `kms:GenerateDataKey` on the second, and each key's policy has to let it in.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from cli.doctor.account import Account, Key, MissingError, Role
from cli.doctor.finding import Finding, fail, ok, statement, warn
from cli.doctor.locks import check_use, limits_of
from cli.doctor.stream import Stream, check_key_state
from cli.policy import Answer, Policy, Request, decide, matching_statements, read_policy

_READ = ("kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards", "kinesis:DescribeStreamSummary")
_FIREHOSE_READ = ("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards")
_KEY_HEADER = "s3:x-amz-server-side-encryption-aws-kms-key-id"


def check_consumers(account: Account, stream: Stream) -> Iterator[Finding]:
    """Check every event source mapping and delivery stream that reads a stream."""
    mappings = account.pages("lambda", "list_event_source_mappings", "EventSourceMappings", EventSourceArn=stream.arn)
    deliveries = list(_delivery_streams(account, stream.arn))
    if mappings == [] and not deliveries and not account.unreadable:
        yield fail(
            "StreamNotRead", stream.arn, seen="no event source mapping and no Firehose reads it",
            expected="a consumer, or records expire unread",
            cure="deploy ctr-fanout with this stream, or create an event source mapping",
        )  # fmt: skip
    for mapping in mappings or []:
        yield from check_mapping(account, stream, mapping)
    for delivery in deliveries:
        yield from check_delivery(account, stream, delivery)


def check_mapping(account: Account, stream: Stream, mapping: Mapping[str, Any]) -> Iterator[Finding]:
    """Check one event source mapping: state, role, failure handling, last result."""
    uuid, function = mapping["UUID"], mapping.get("FunctionArn", "")
    update = f"aws lambda update-event-source-mapping --uuid {uuid}"
    if mapping.get("State") in {"Disabled", "Disabling"}:
        yield fail(
            "MappingDisabled", uuid, seen=f"the mapping to {function} is {mapping['State']}", expected="Enabled",
            cure=f"{update} --enabled",
        )  # fmt: skip
    try:
        configuration = account.ask("lambda", "get_function_configuration", FunctionName=function)
    except MissingError:
        yield fail(
            "FunctionMissing", function, seen="the mapping's function does not exist", expected="a function",
            cure=f"aws lambda delete-event-source-mapping --uuid {uuid}, or deploy the function",
        )  # fmt: skip
        return
    if configuration is not None:
        yield from _check_reader(account, stream, configuration["Role"], _READ, f"Lambda reads for {function}")
        yield from _check_on_failure(account, mapping, configuration["Role"])
    yield from _check_retries(stream, mapping, update)
    result = mapping.get("LastProcessingResult") or ""
    if result.startswith("PROBLEM"):
        yield fail(
            "MappingHasProblem", uuid, seen=result, expected="OK or No records processed",
            cure="mend what is named above; if nothing is, look into the function's log group",
        )  # fmt: skip
    elif mapping.get("State") == "Enabled":
        yield ok("MappingReads", uuid, f"last result: {result or 'none yet'}")


def _check_retries(stream: Stream, mapping: Mapping[str, Any], update: str) -> Iterator[Finding]:
    uuid, age = mapping["UUID"], mapping.get("MaximumRecordAgeInSeconds", -1)
    if mapping.get("MaximumRetryAttempts", -1) == -1 and age == -1:
        yield warn(
            "MappingRetriesForEver", uuid, seen="no limit of retries or age: one bad batch blocks its shard until it "
            "expires, and is lost then", expected="a limit, and a destination for what fails",
            cure=f"{update} --maximum-retry-attempts 10000 --maximum-record-age-in-seconds 604800 "
                 "--destination-config '{\"OnFailure\":{\"Destination\":\"arn:aws:s3:::BUCKET\"}}'",
        )  # fmt: skip
    elif age > stream.retention_hours * 3600:
        yield warn(
            "RetentionBelowRecordAge", stream.arn,
            seen=f"the stream forgets after {stream.retention_hours} h, the mapping would retry for {age // 3600} h",
            expected="retention above the record age, so that what fails is handed over before it expires",
            cure=f"aws kinesis increase-stream-retention-period --stream-arn {stream.arn} "
                 f"--retention-period-hours {age // 3600 * 2}",
        )  # fmt: skip
    if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield warn(
            "MappingIgnoresPartialFailures", uuid, seen="FunctionResponseTypes without ReportBatchItemFailures: what a "
            "function reports as failed counts as done", expected="ReportBatchItemFailures, if the function reports",
            cure=f"{update} --function-response-types ReportBatchItemFailures",
        )  # fmt: skip


def _check_on_failure(account: Account, mapping: Mapping[str, Any], role_arn: str) -> Iterator[Finding]:
    destination = mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", "")
    uuid = mapping["UUID"]
    if not destination:
        yield warn(
            "NoOnFailureDestination", uuid, seen="no on-failure destination: what Lambda gives up on is gone",
            expected="an S3 bucket, which gets the records themselves",
            cure=f"aws lambda update-event-source-mapping --uuid {uuid} --destination-config "
                 "'{\"OnFailure\":{\"Destination\":\"arn:aws:s3:::BUCKET\"}}'",
        )  # fmt: skip
        return
    if not destination.startswith("arn:aws:s3:::"):
        return
    bucket = destination.rpartition(":")[2]
    try:
        account.ask("s3", "head_bucket", Bucket=bucket)
    except MissingError:
        yield fail(
            "OnFailureBucketMissing", destination, seen="the on-failure bucket does not exist", expected="a bucket",
            cure=f"create it, or point the mapping {uuid} at another",
        )  # fmt: skip
        return
    role = account.role(role_arn)
    objects = f"{destination}/aws/lambda/{uuid}/x"
    request = Request(principal=role_arn, action="s3:PutObject", resource=objects, account=role_arn.split(":")[4],
                      context=_bucket_context(role_arn.split(":")[4]))  # fmt: skip
    policy = _bucket_policy(account, bucket)
    if role and role.policies is not None and decide(request, role.policies, policy, *limits_of(role)) is Answer.NO:
        denying = matching_statements(request, policy, "Deny")
        seen = (
            f"the bucket policy's {denying[0].get('Sid', 'statement')!r} denies it"
            if denying
            else "no policy allows it"
        )
        yield fail(
            "OnFailureDenied", destination, seen=f"{role_arn} may not put what Lambda gives up on: {seen}",
            expected="s3:PutObject below aws/lambda/, without a key header",
            cure=f"add to the role's policy: {statement('HandOverWhatFailed', '', 's3:PutObject', f'{destination}/aws/lambda/*')}; "
                 "no denial of a missing key header may cover aws/lambda/*",
        )  # fmt: skip


def check_delivery(account: Account, stream: Stream, delivery: Mapping[str, Any]) -> Iterator[Finding]:
    """Check one Firehose delivery stream: its role, both keys, its bucket, its log."""
    arn = delivery["DeliveryStreamARN"]
    if delivery.get("DeliveryStreamStatus") != "ACTIVE":
        yield fail(
            "FirehoseNotActive", arn, seen=str(delivery.get("DeliveryStreamStatus")), expected="ACTIVE",
            cure=f"aws firehose describe-delivery-stream --delivery-stream-name {delivery['DeliveryStreamName']}",
        )  # fmt: skip
    source = delivery.get("Source", {}).get("KinesisStreamSourceDescription", {})
    if role := source.get("RoleARN"):
        yield from _check_reader(account, stream, role, _FIREHOSE_READ, f"Firehose reads for {arn}")
    for destination in delivery.get("Destinations", []):
        s3 = destination.get("ExtendedS3DestinationDescription") or destination.get("S3DestinationDescription")
        if s3:
            yield from _check_s3(account, arn, s3)


def _check_s3(account: Account, arn: str, s3: Mapping[str, Any]) -> Iterator[Finding]:
    bucket, role_arn = s3["BucketARN"], s3["RoleARN"]
    if not s3.get("CloudWatchLoggingOptions", {}).get("Enabled"):
        yield warn(
            "FirehoseLogsNothing", arn, seen="CloudWatch logging is off: a refused key would leave no trace",
            expected="logging on", cure="turn on CloudWatchLoggingOptions of the destination",
        )  # fmt: skip
    role = _role(account, role_arn)
    if role is None:
        if not any(one.subject == role_arn.rpartition("/")[2] for one in account.unreadable):
            yield _role_missing(role_arn, f"Firehose delivers for {arn}")
        return
    name = bucket.removeprefix("arn:aws:s3:::")
    try:
        account.ask("s3", "head_bucket", Bucket=name)
    except MissingError:
        yield fail(
            "BucketMissing", bucket, seen="the bucket does not exist", expected="the destination of Firehose",
            cure=f"aws s3 mb s3://{name}",
        )  # fmt: skip
        return
    key = yield from _key_of_destination(account, arn, s3, name)
    prefix = s3.get("Prefix", "").partition("!{")[0]
    objects = f"{bucket}/{prefix}x"
    if key is not None:
        yield from check_key_state(key, "DestinationKey", f"{bucket}/{prefix}")
        context = _via_s3(account.region, objects)
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            yield from check_use(
                role, action, key, context, what=f"Firehose writes {bucket}/{prefix}", code="DestinationKey"
            )
    configured = _configured_key(s3)
    put = Request(
        principal=role.arn, action="s3:PutObject", resource=objects, account=role.arn.split(":")[4],
        context={**_bucket_context(role.arn.split(":")[4]), "s3:x-amz-server-side-encryption": "aws:kms",
                 **({_KEY_HEADER: key.arn if key else configured} if key or configured else {})},
    )  # fmt: skip
    policy = _bucket_policy(account, name)
    if role.policies is not None and decide(put, role.policies, policy, *limits_of(role)) is Answer.NO:
        denying = matching_statements(put, policy, "Deny")
        if denying:
            sid = denying[0].get("Sid", "without Sid")
            yield fail(
                "BucketPolicyDeniesFirehose", bucket, seen=f"the bucket policy's statement {sid!r} denies the put",
                expected=f"{role.arn} puts below {prefix or 'the bucket'}",
                cure=f"let the statement {sid!r} except this prefix and its key",
            )  # fmt: skip
        else:
            yield fail(
                "RoleMayNotPut", role.arn, seen=f"no policy lets it put to {bucket}/{prefix}", expected="s3:PutObject",
                cure=f"add to the role's policy: {statement('Put', '', 's3:PutObject', f'{bucket}/{prefix}*')}",
            )  # fmt: skip


def _configured_key(s3: Mapping[str, Any]) -> str:
    """Return the key of a Firehose destination, as it is configured; empty for the bucket's default."""
    return str(s3.get("EncryptionConfiguration", {}).get("KMSEncryptionConfig", {}).get("AWSKMSKeyARN", ""))


def _key_of_destination(
    account: Account, arn: str, s3: Mapping[str, Any], bucket: str
) -> Generator[Finding, None, Key | None]:
    """Find the key that encrypts what Firehose writes: its own, or the bucket's default."""
    key_id = _configured_key(s3)
    if not key_id:
        try:
            default = account.ask("s3", "get_bucket_encryption", Bucket=bucket)
        except MissingError:
            default = {"ServerSideEncryptionConfiguration": {"Rules": []}}
        if default is None:
            return None
        rules = default["ServerSideEncryptionConfiguration"]["Rules"]
        applied = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
        key_id = applied.get("KMSMasterKeyID", "")
        if not key_id:
            yield warn(
                "DestinationNotUnderOwnKey", arn, seen=f"what it writes is encrypted with {applied.get('SSEAlgorithm', 'AES256')}",
                expected="a customer managed key, or whoever may read the bucket reads everything",
                cure="give the destination an EncryptionConfiguration with a key",
            )  # fmt: skip
            return None
    try:
        return account.key(key_id)
    except MissingError:
        yield fail(
            "DestinationKeyMissing", key_id, seen="there is no such key in this account and Region",
            expected=f"the key of {arn}", cure="give the destination a key that exists",
        )  # fmt: skip
        return None


def _check_reader(
    account: Account, stream: Stream, role_arn: str, actions: tuple[str, ...], what: str
) -> Iterator[Finding]:
    """Check that a role may read the stream and decrypt it."""
    role = _role(account, role_arn)
    if role is None:
        if not any(one.subject == role_arn.rpartition("/")[2] for one in account.unreadable):
            yield _role_missing(role_arn, what)
        return
    if role.policies is None:
        return
    owner = stream.arn.split(":")[4]
    refused = [
        action
        for action in actions
        if decide(
            Request(principal=role.arn, action=action, resource=stream.arn, account=owner), role.policies, None,
            *limits_of(role),
        ) is Answer.NO
    ]  # fmt: skip
    if refused:
        yield fail(
            "RoleMayNotReadStream", role.arn, seen=f"may not call {', '.join(refused)}", expected=f"{what}: {', '.join(actions)}",
            cure=f"add to the role's policy: {statement('ReadTheStream', '', list(actions), stream.arn)}",
        )  # fmt: skip
    if stream.key is not None and stream.key.is_customers:
        yield from check_use(role, "kms:Decrypt", stream.key, stream.context, what=what, code="StreamKey")


def _via_s3(region: str, objects: str) -> dict[str, str]:
    return {"kms:ViaService": f"s3.{region}.amazonaws.com", "kms:EncryptionContext:aws:s3:arn": objects}


def _bucket_context(account: str) -> dict[str, str]:
    return {"aws:SecureTransport": "true", "s3:ResourceAccount": account, "aws:ResourceAccount": account}


def _role(account: Account, arn: str) -> Role | None:
    try:
        return account.role(arn)
    except MissingError:
        return None


def _role_missing(arn: str, what: str) -> Finding:
    return fail(
        "RoleMissing", arn, seen="the role does not exist", expected=what,
        cure="create it, or point its user at a role that exists",
    )  # fmt: skip


def _bucket_policy(account: Account, bucket: str) -> Policy | None:
    try:
        found = account.ask("s3", "get_bucket_policy", Bucket=bucket)
    except MissingError:
        return None
    return None if found is None else read_policy(found["Policy"])


def _delivery_streams(account: Account, stream: str) -> Iterator[dict[str, Any]]:
    """Return the delivery streams that read a stream; the listing has pages of its own kind."""
    after: dict[str, str] = {}
    while True:
        listed = account.ask("firehose", "list_delivery_streams", **after)
        for name in (listed or {}).get("DeliveryStreamNames", []):
            described = account.ask("firehose", "describe_delivery_stream", DeliveryStreamName=name)
            found = (described or {}).get("DeliveryStreamDescription", {})
            source = found.get("Source", {}).get("KinesisStreamSourceDescription", {})
            if source.get("KinesisStreamARN") == stream:
                yield found
        if not listed or not listed.get("HasMoreDeliveryStreams"):
            return
        after = {"ExclusiveStartDeliveryStreamName": listed["DeliveryStreamNames"][-1]}
