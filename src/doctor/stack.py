"""A stack of ours: read it, and check everything that its template has made."""

import json
from collections.abc import Iterator, Mapping

from aws.settings import OFF
from doctor.account import Account, Key, MissingError
from doctor.alarms import check_alarms
from doctor.bucket_settings import check_bucket_settings
from doctor.catalog import check_catalog
from doctor.declared import Declared
from doctor.drift import check_drift, check_trusts
from doctor.finding import Finding, fail, warn
from doctor.function import check_functions, check_mapping
from doctor.keys import check_keys, check_users, key_names, read_keys
from doctor.live_matrix import check_matrix
from doctor.live_stack import LiveStack
from doctor.readers import check_readers
from grants.stack import STREAM_KEY
from routing import layout
from routing.table.routes import RouteTable

_OURS = ("FanOutFunction", "FanOutRole", "Stream", "Bucket", "StreamMapping")


def read_stack(account: Account, name: str) -> LiveStack | None:
    """Read a stack; None if it may not be read.

    Raises:
        MissingError: There is none of that name.
    """
    described = account.ask("cloudformation", "describe_stacks", StackName=name)
    resources = _resources(account, name)
    if described is None or resources is None:
        return None
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in described["Stacks"][0].get("Parameters", [])}
    return LiveStack(name=name, parameters=parameters, resources=resources)


def _resources(account: Account, stack: str) -> dict[str, str] | None:
    """Return the physical ids of a stack's resources by logical id, those of nested stacks included."""
    found = account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack)
    if found is None:
        return None
    resources = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in found}
    for one in found:
        if one.get("ResourceType") == "AWS::CloudFormation::Stack" and one.get("PhysicalResourceId"):
            resources |= _resources(account, one["PhysicalResourceId"]) or {}
    return resources


def is_ours(live: LiveStack) -> Iterator[Finding]:
    """Return the finding that a stack is none of ours, or not complete."""
    missing = [logical for logical in _OURS if not live.resources.get(logical)]
    if missing:
        yield fail(
            "NotOurStack", live.name, seen=f"the stack has no {', '.join(missing)}", expected="a complete stack of ctr-fanout",
            cure="give --stack NAME, finish or roll back its deployment; for other set-ups --instance or --stream",
        )  # fmt: skip


def check_resources(account: Account, declared: Declared, table: RouteTable, digest: str) -> Iterator[Finding]:
    """Check what the template has made: functions, keys, bucket, table, mapping.

    Args:
        account: The account to examine.
        declared: The template of the stack.
        table: The routes that it should have.
        digest: The SHA-256 of their file.
    """
    live = declared.live
    yield from check_functions(account, declared, table, digest)
    yield from check_keys(account, live, key_names(table))
    yield from _check_bucket(account, live, read_keys(account, live, (layout.DEAD_LETTER,)))
    yield from check_bucket_settings(account, declared)
    yield from _check_table(account, live)
    yield from check_mapping(account, declared)
    yield from check_alarms(account, live)
    yield from check_catalog(account, live)


def check_grants(
    account: Account, declared: Declared, table: RouteTable, connect_roles: frozenset[str]
) -> Iterator[Finding]:
    """Check who is let in, and the grant matrix on the live policies.

    Args:
        account: The account to examine.
        declared: The template of the stack.
        table: The routes that it should have.
        connect_roles: The service-linked roles of all instances that send to the stream.
    """
    live = declared.live
    keys = read_keys(account, live, key_names(table))
    for name, key in keys.items():
        if name != STREAM_KEY or live.resources.get("StreamKey"):  # an existing key has its own users
            yield from check_users(declared, name, key, connect_roles if name == STREAM_KEY else frozenset())
    yield from check_trusts(account, declared)
    yield from check_readers(account, declared, table, keys)
    yield from check_matrix(account, declared, table, keys)
    yield from check_drift(account, declared, connect_roles - declared_roles(live))


def declared_roles(live: LiveStack) -> frozenset[str]:
    """Return the roles of Connect that the parameters name."""
    return frozenset({live.parameters.get("ConnectServiceRoleArn", "")})


def _check_bucket(account: Account, live: LiveStack, keys: Mapping[str, Key]) -> Iterator[Finding]:
    bucket = live.resources.get("Bucket", "")
    try:
        found = account.ask("s3", "get_bucket_encryption", Bucket=bucket)
    except MissingError as err:
        if "Bucket" in str(err) or str(err) == "404":
            yield fail(
                "BucketMissing", bucket, seen="the stack's bucket does not exist", expected="the bucket",
                cure="delete the stack and deploy it again; the stream still holds what its retention keeps",
            )  # fmt: skip
            return
        found = {"ServerSideEncryptionConfiguration": {"Rules": []}}
    wanted = keys.get(layout.DEAD_LETTER)
    if found is None or wanted is None:
        return
    rules = found["ServerSideEncryptionConfiguration"]["Rules"]
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": wanted.arn}}
    cure = (
        f"aws s3api put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration "
        f"'{json.dumps({'Rules': [{**rule, 'BucketKeyEnabled': False}]})}'"
    )
    if default.get("KMSMasterKeyID", "").rpartition("/")[2] != wanted.arn.rpartition("/")[2]:
        yield fail(
            "BucketDefaultIsNotDeadLetterKey", bucket, seen=f"default encryption {default.get('SSEAlgorithm', 'none')} "
            f"{default.get('KMSMasterKeyID', '')}".strip(),
            expected="the dead-letter key: what Lambda gives up on names none", cure=cure,
        )  # fmt: skip
    elif rules[0].get("BucketKeyEnabled"):
        yield fail(
            "BucketKeyOn", bucket, seen="S3 Bucket Keys are on: the encryption context is the bucket, so that no key "
            "policy of a prefix fits", expected="off", cure=cure,
        )  # fmt: skip


def _check_table(account: Account, live: LiveStack) -> Iterator[Finding]:
    name = live.resources.get("CheckpointTable", "")
    if not name or live.parameters.get("Checkpoint") == OFF:
        return
    try:
        described = account.ask("dynamodb", "describe_table", TableName=name)
    except MissingError:
        yield fail(
            "CheckpointTableMissing", name, seen="the table does not exist: every batch fails until Lambda gives up",
            expected="the table", cure="make deploy, or Checkpoint=off until then",
        )  # fmt: skip
        return
    if described is not None and described["Table"]["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        yield fail(
            "CheckpointTableNotActive", name, seen=described["Table"]["TableStatus"], expected="ACTIVE",
            cure="https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html",
        )  # fmt: skip
    try:
        ttl = account.ask("dynamodb", "describe_time_to_live", TableName=name)
    except MissingError:
        return  # deleted meanwhile
    if ttl is not None and ttl["TimeToLiveDescription"].get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        yield warn(
            "CheckpointRowsNeverExpire", name, seen="time to live is off", expected="on, by expires_at",
            cure=f"aws dynamodb update-time-to-live --table-name {name} "
                 "--time-to-live-specification Enabled=true,AttributeName=expires_at",
        )  # fmt: skip
