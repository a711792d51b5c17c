"""Who reads the stream: event source mappings and Firehose, their roles, and where they deliver.

Trap 2 lives here: with one key for the stream and another for S3, the reading role needs `kms:Decrypt` on the
first, `kms:GenerateDataKey` on the second, and each key's policy has to let it in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from doctor.account import Account, MissingError, Role
from doctor.bucket import check_put, default_key, read_bucket, via_s3
from doctor.finding import Finding, fail, ok, warn
from doctor.firehose import check_delivery, delivery_streams
from doctor.locks import check_use
from doctor.reader import check_reading, check_trust, read_role
from doctor.stream import Stream, check_key_state

_READ = ("kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards", "kinesis:DescribeStreamSummary")
_TO_A_BUCKET = '--destination-config \'{"OnFailure":{"Destination":"arn:aws:s3:::BUCKET"}}\''


def check_consumers(account: Account, stream: Stream) -> Iterator[Finding]:
    """Check every event source mapping and delivery stream that reads a stream."""
    listed = account.pages("lambda", "list_event_source_mappings", "EventSourceMappings")
    mappings = [one for one in listed or [] if _reads(one, stream.arn)]
    deliveries = list(delivery_streams(account, stream.arn))
    is_firehose_seen = not any("firehose:" in finding.seen for finding in account.unreadable)
    if listed is not None and not mappings and not deliveries and is_firehose_seen:
        yield warn(
            "StreamNotRead", stream.arn, expected="a consumer, or records expire unread",
            seen="no event source mapping and no Firehose reads it; other kinds of consumers are not seen from here",
            cure="deploy ctr-fanout with this stream, or create an event source mapping",
        )  # fmt: skip
    is_read = any(mapping.get("State") == "Enabled" for mapping in mappings)
    for mapping in mappings:
        yield from check_mapping(account, stream, mapping, is_alone=not is_read)
    for delivery in deliveries:
        yield from check_delivery(account, stream, delivery)


def check_mapping(account: Account, stream: Stream, mapping: Mapping[str, Any], *, is_alone: bool) -> Iterator[Finding]:
    """Check one event source mapping: state, role, failure handling, last result.

    Args:
        account: The account to examine.
        stream: What it reads.
        mapping: As `ListEventSourceMappings` tells it.
        is_alone: True if no other one reads the stream, so that it had better.
    """
    uuid, function = mapping["UUID"], mapping.get("FunctionArn", "")
    update = f"aws lambda update-event-source-mapping --uuid {uuid}"
    if mapping.get("State") in {"Disabled", "Disabling"}:
        complain = fail if is_alone else warn
        yield complain(
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
        what = f"Lambda reads for {function}"
        for found in read_role(account, configuration["Role"], what=what):
            if isinstance(found, Finding):
                yield found
            else:
                yield from check_trust(found, "lambda.amazonaws.com", {"aws:SourceArn": function})
                yield from check_reading(account, stream, found, _READ, what=what)
                yield from _check_on_failure(account, mapping, found, update)
    yield from _check_retries(stream, mapping, update)
    result = mapping.get("LastProcessingResult") or ""
    if result.startswith("PROBLEM"):
        yield fail(
            "MappingHasProblem", uuid, seen=result, expected="OK or No records processed",
            cure="mend what is named above; if nothing is, look into the function's log group",
        )  # fmt: skip
    elif mapping.get("State") == "Enabled":
        yield ok("MappingReads", uuid, f"last result: {result or 'none yet'}")


def _reads(mapping: Mapping[str, Any], stream: str) -> bool:
    """Return True if a mapping reads a stream, by itself or as a consumer with enhanced fan-out."""
    source = mapping.get("EventSourceArn", "")
    return bool(source == stream or source.startswith(f"{stream}/consumer/"))


def _check_retries(stream: Stream, mapping: Mapping[str, Any], update: str) -> Iterator[Finding]:
    uuid, age = mapping["UUID"], mapping.get("MaximumRecordAgeInSeconds", -1)
    if mapping.get("MaximumRetryAttempts", -1) == -1 and age == -1:
        destination = "" if _destination(mapping) else f" {_TO_A_BUCKET}"
        yield warn(
            "MappingRetriesForEver", uuid, seen="no limit of retries or age: one bad batch blocks its shard until it "
            "expires, and is lost then", expected="a limit, and a destination for what fails",
            cure=f"{update} --maximum-retry-attempts 10000 --maximum-record-age-in-seconds 604800{destination}",
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


def _check_on_failure(account: Account, mapping: Mapping[str, Any], role: Role, update: str) -> Iterator[Finding]:
    """Check where Lambda puts what it gives up on; of destinations other than S3 only that there is one."""
    destination, uuid = _destination(mapping), mapping["UUID"]
    if not destination:
        yield warn(
            "NoOnFailureDestination", uuid, seen="no on-failure destination: what Lambda gives up on is gone",
            expected="an S3 bucket, which gets the records themselves", cure=f"{update} {_TO_A_BUCKET}",
        )  # fmt: skip
        return
    if ":s3:::" not in destination:
        return
    try:
        bucket = read_bucket(account, destination)
        key = default_key(account, bucket)
    except MissingError:
        yield fail(
            "OnFailureBucketMissing", destination, seen="the on-failure bucket, or the key of its default, does not exist",
            expected="a bucket that takes what Lambda gives up on", cure=f"create it, or point the mapping {uuid} at another",
        )  # fmt: skip
        return
    what = f"Lambda hands over what it gave up on to {destination}"
    yield from check_put(role, bucket, f"aws/lambda/{uuid}/", {}, what=what, code="OnFailurePut")
    if key is not None and key.is_customers:
        yield from check_key_state(key, "OnFailureKey", destination)
        context = via_s3(bucket, f"aws/lambda/{uuid}/x")
        yield from check_use(role, "kms:GenerateDataKey", key, context, what=what, code="OnFailureKey")


def _destination(mapping: Mapping[str, Any]) -> str:
    return str((mapping.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination", ""))
