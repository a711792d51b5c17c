"""A stack of ours: its variables, keys, bucket, table and mapping, and who is let in."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress

from aws.settings import OFF, key_variable
from doctor.account import Account, Key, MissingError
from doctor.finding import Finding, fail, warn
from doctor.live_matrix import LiveStack, check_matrix
from doctor.stream import check_key_state, check_rotation
from grants.policy import Statement, principals, statements
from grants.stack import ARCHIVE_KEY, STREAM_KEY
from routing import layout
from routing.table.routes import HASH_KEY, SEAL_SUFFIX, RouteTable, logical_id

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


def check_resources(account: Account, live: LiveStack, table: RouteTable, digest: str) -> Iterator[Finding]:
    """Check what the template has made: variables, keys, bucket, table, mapping.

    Args:
        account: The account to examine.
        live: The stack.
        table: The routes that it should have.
        digest: The SHA-256 of their file.
    """
    yield from _check_environment(account, live, table, digest)
    yield from _check_keys(account, live, _key_names(table))
    yield from _check_bucket(account, live, _keys(account, live, (layout.DEAD_LETTER,)))
    yield from _check_table(account, live)
    yield from _check_mapping(account, live)


def check_grants(account: Account, live: LiveStack, table: RouteTable) -> Iterator[Finding]:
    """Check who is let in by name, and the grant matrix on the live policies."""
    keys = _keys(account, live, _key_names(table))
    for name, key in keys.items():
        if name != STREAM_KEY or live.resources.get("StreamKey"):  # an existing key has its own users
            yield from _check_users(live, name, key)
    yield from check_matrix(account, live, table, keys)


def _key_names(table: RouteTable) -> tuple[str, ...]:
    return (*(route.name for route in table.all_routes), *table.protection_keys, ARCHIVE_KEY, STREAM_KEY)


def _check_environment(account: Account, live: LiveStack, table: RouteTable, digest: str) -> Iterator[Finding]:
    for logical in ("FanOutFunction", "GrantCheckFunction"):
        function = live.resources.get(logical, logical)
        try:
            configuration = account.ask("lambda", "get_function_configuration", FunctionName=function)
        except MissingError:
            yield fail(
                "FunctionMissing", function, seen="the stack's function does not exist", expected="the function",
                cure="make deploy",
            )  # fmt: skip
            continue
        if configuration is None:
            continue
        variables = configuration.get("Environment", {}).get("Variables", {})
        expected = {
            key_variable(name) for name in (*(route.name for route in table.all_routes), *table.protection_keys)
        }
        there = {name for name in variables if name.startswith("KEY_ARN_")}
        if expected != there:
            seen = [f"no {name}" for name in sorted(expected - there)] + [
                f"{name} too many" for name in sorted(there - expected)
            ]
            yield fail(
                "FunctionKnowsOtherRoutes", function, seen=", ".join(seen),
                expected="a key for each route of routes.toml, and no other",
                cure="deploy code and template together: make template && make deploy",
            )  # fmt: skip
        elif variables.get("ROUTES_SHA256") != digest:
            yield warn(
                "RoutesFileDiffers", function, seen="the function was deployed with another routes.toml than this one",
                expected="the same", cure="run the doctor from the commit that is deployed, or make deploy",
            )  # fmt: skip
        for name in sorted(expected & there):
            yield from _check_variable(live, function, name, variables[name])
        if logical == "FanOutFunction" and variables.get("CHECKPOINT_TABLE") == OFF:
            yield warn(
                "CheckpointOff", function, seen="the checkpoint is off: records are delivered at least once",
                expected="Checkpoint=on, exactly once", cure='make deploy PARAMETERS="Checkpoint=on"',
            )  # fmt: skip


def _check_variable(live: LiveStack, function: str, name: str, value: str) -> Iterator[Finding]:
    logical = logical_id(name.removeprefix("KEY_ARN_").lower().replace("_", "-")) + "Key"
    physical = live.resources.get(logical, "")
    if physical and value.rpartition("/")[2] != physical.rpartition("/")[2]:
        yield fail(
            "FunctionUsesAnotherKey", function, seen=f"{name} is {value}", expected=f"the stack's {logical}, {physical}",
            cure="make deploy sets it again",
        )  # fmt: skip


def _check_keys(account: Account, live: LiveStack, names: tuple[str, ...]) -> Iterator[Finding]:
    for name in names:
        try:
            key = _key(account, live, name)
        except MissingError:
            yield fail(
                "KeyMissing", _key_id(live, name), seen="the key does not exist any more", expected=f"the key of {name}",
                cure="what it encrypted cannot be read again; deploy a new one by renaming the route",
            )  # fmt: skip
            continue
        if key is not None and name not in {STREAM_KEY, ARCHIVE_KEY}:  # reported with the stream and with Firehose
            yield from check_key_state(key, "RouteKey", f"route {name}")
            if name != HASH_KEY:  # KMS rotates no HMAC key
                yield from check_rotation(account, key, f"route {name}")


def _keys(account: Account, live: LiveStack, names: tuple[str, ...]) -> dict[str, Key]:
    """Return the keys of a stack that are there and may be read, by name."""
    found: dict[str, Key] = {}
    for name in names:
        with suppress(MissingError):
            key = _key(account, live, name)
            if key is not None:
                found[name] = key
    return found


def _key(account: Account, live: LiveStack, name: str) -> Key | None:
    """Read a key of a stack; None if the stack has none of that name, or if it may not be read."""
    key_id = _key_id(live, name)
    return account.key(key_id) if key_id else None


def _key_id(live: LiveStack, name: str) -> str:
    existing = live.parameters.get("ExistingStreamKeyArn", "") if name == STREAM_KEY else ""
    return live.resources.get(f"{logical_id(name)}Key", "") or existing


def _check_users(live: LiveStack, name: str, key: Key) -> Iterator[Finding]:
    """Compare who may use a key, by name or by a grant, with the parameter that names its readers."""
    parameter = {
        STREAM_KEY: "ConnectServiceRoleArn", layout.DEAD_LETTER: "", ARCHIVE_KEY: "ReadersOfArchive", HASH_KEY: "",
    }.get(name, f"{'Sealed' * name.endswith(SEAL_SUFFIX)}ReadersOf{logical_id(name.removesuffix(SEAL_SUFFIX))}")  # fmt: skip
    wanted = {one.strip() for one in live.parameters.get(parameter, "").split(",")} - {""}
    named = {user for one in statements(key.policy or {}) if one["Effect"] == "Allow" for user in _users(one)}
    expected = f"those in {parameter} only" if parameter else "nobody by name"
    for user in sorted(named - wanted) if key.policy is not None else []:
        yield fail(
            "UnexpectedReader", key.arn, seen=f"the key of {name} admits {user}", expected=expected,
            cure="make deploy restores the key policy; then see in CloudTrail who called PutKeyPolicy",
        )  # fmt: skip
    for user in sorted(wanted - named) if key.policy is not None and name != STREAM_KEY else []:  # the stream tells
        yield fail(
            "ReaderNotAdmitted", key.arn, seen=f"the key of {name} does not name {user}", expected=f"all of {parameter}",
            cure="make deploy restores the key policy",
        )  # fmt: skip
    for grant in key.grants or []:
        if grant.get("GranteePrincipal") not in wanted:
            yield fail(
                "UnexpectedGrant", key.arn, expected="no grant beside the template",
                seen=f"a grant on the key of {name} lets {grant.get('GranteePrincipal')} {', '.join(grant['Operations'])}",
                cure=f"aws kms revoke-grant --key-id {key.arn} --grant-id {grant['GrantId']}",
            )  # fmt: skip


def _users(one: Statement) -> list[str]:
    """Return whom a statement lets in by name; the account itself only counts where no condition narrows it."""
    if "NotPrincipal" in one:
        return ["everybody but " + ", ".join(principals({"Principal": one["NotPrincipal"]}))]
    is_managing = one.get("Sid") == "AdministratorsManage"  # the matrix looks at its actions
    is_narrowed = "aws:PrincipalArn" in one.get("Condition", {}).get("ArnEquals", {})
    found = [name for name in principals(one) if name]  # an empty one admits nobody
    return [name for name in found if not (name.endswith(":root") and (is_managing or is_narrowed))]


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


def _check_mapping(account: Account, live: LiveStack) -> Iterator[Finding]:
    uuid = live.resources.get("StreamMapping", "")
    try:
        mapping = account.ask("lambda", "get_event_source_mapping", UUID=uuid)
    except MissingError:
        yield fail(
            "MappingMissing", uuid, seen="the stack's mapping does not exist: nobody calls the function",
            expected="the mapping", cure="delete it from the template, deploy, and deploy it again",
        )  # fmt: skip
        return
    if mapping is not None and (mapping.get("ParallelizationFactor") or 1) > 1:
        yield fail(
            "MappingReadsInLanes", uuid, seen=f"ParallelizationFactor {mapping['ParallelizationFactor']}",
            expected="1: a watermark per shard is sound only if the shard is read in one lane",
            cure=f"aws lambda update-event-source-mapping --uuid {uuid} --parallelization-factor 1",
        )  # fmt: skip
