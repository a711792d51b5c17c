"""A stack of ours: the grant matrix on its live policies, its keys, bucket, table and environment.

The rows that prove the template (docs/grants.md) are asked again of what stands in the account now.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cli.doctor.account import Account, Key, MissingError, Role
from cli.doctor.finding import Finding, fail, ok, statement, warn
from cli.doctor.locks import check_use
from cli.doctor.stream import check_key_state
from cli.grants.matrix import matrix
from cli.grants.row import Row
from cli.grants.stack import ARCHIVE_KEY, STREAM_KEY, Stack
from cli.policy import (
    EVERYTHING,
    Answer,
    Policy,
    Request,
    decide,
    default_key_policy,
    matching_statements,
    principals,
    read_policy,
    statements,
)
from handlers.route_file import routes_text
from handlers.settings import OFF, key_variable
from routing import dead_letter
from routing.routes import RouteTable, logical_id

_ROLES = {"fan-out": "FanOutRole", "replay": "ReplayRole", "archive": "ArchiveRole"}
# Who stands in the matrix under a made-up name, because only the parameters know them.
_MADE_UP = ("connect", "another instance's connect", "replay operator", "reader of ", "auditor")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStack:
    """What CloudFormation says about a stack.

    Attributes:
        name: Of the stack.
        parameters: As it was deployed.
        resources: Physical ids by logical id.
    """

    name: str
    parameters: Mapping[str, str]
    resources: Mapping[str, str]


def read_stack(account: Account, name: str) -> LiveStack | None:
    """Read a stack; None if it may not be read.

    Raises:
        MissingError: There is none of that name.
    """
    described = account.ask("cloudformation", "describe_stacks", StackName=name)
    found = account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=name)
    if described is None or found is None:
        return None
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in described["Stacks"][0].get("Parameters", [])}
    resources = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in found}
    return LiveStack(name=name, parameters=parameters, resources=resources)


def check_stack(account: Account, live: LiveStack, table: RouteTable) -> Iterator[Finding]:
    """Check everything that the template has made."""
    yield from _check_environment(account, live, table)
    keys: dict[str, Key] = {}
    for name in (*(route.name for route in table.all_routes), ARCHIVE_KEY, STREAM_KEY):
        yield from _check_key(account, live, name, keys)
    yield from _check_bucket(account, live, keys)
    yield from _check_table(account, live)
    yield from _check_mapping(account, live)
    for route in table.routes:
        if route.name in keys:
            yield from _check_readers(live, route.name, keys[route.name])
    yield from _check_grants(account, live, table, keys)


def _check_environment(account: Account, live: LiveStack, table: RouteTable) -> Iterator[Finding]:
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
        expected = {key_variable(route.name) for route in table.all_routes}
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
        elif variables.get("ROUTES_SHA256") != hashlib.sha256(routes_text().encode()).hexdigest():
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


def _check_key(account: Account, live: LiveStack, name: str, keys: dict[str, Key]) -> Iterator[Finding]:
    """Check one key of the stack, and keep it for the grants."""
    logical = f"{logical_id(name)}Key"
    physical = live.resources.get(logical) or (
        live.parameters.get("ExistingStreamKeyArn") if name == STREAM_KEY else ""
    )
    if not physical:
        return
    try:
        key = account.key(physical)
    except MissingError:
        yield fail(
            "KeyMissing", physical, seen=f"{logical} does not exist any more", expected=f"the key of {name}",
            cure="what it encrypted cannot be read again; deploy a new one by renaming the route",
        )  # fmt: skip
        return
    if key is None:
        return
    keys[name] = key
    if name != STREAM_KEY:  # the stream's own check has told that
        yield from check_key_state(key, "RouteKey", f"route {name}")
    rotation = account.ask("kms", "get_key_rotation_status", KeyId=key.arn)
    if key.state == "Enabled" and rotation is not None and not rotation["KeyRotationEnabled"]:
        yield warn(
            "KeyNotRotated", key.arn, seen=f"the key of {name} does not rotate", expected="yearly rotation",
            cure=f"aws kms enable-key-rotation --key-id {key.arn}",
        )  # fmt: skip


def _check_readers(live: LiveStack, route: str, key: Key) -> Iterator[Finding]:
    """Hold who may decrypt a route by name against the parameter that says who should."""
    if key.policy is None:
        return
    parameter = f"ReadersOf{logical_id(route)}"
    wanted = {one for one in live.parameters.get(parameter, "").split(",") if one}
    named = {
        name
        for one in statements(key.policy)
        if one["Effect"] == "Allow" and one.get("Sid") not in {"AdministratorsManage", "WritersEncrypt"}
        for name in principals(one)
        if name  # an empty one admits nobody
    }
    for name in sorted(named - wanted):
        yield fail(
            "UnexpectedReader", key.arn, seen=f"the key of {route} admits {name}", expected=f"the readers in {parameter} only",
            cure="make deploy restores the key policy; then see in CloudTrail who called PutKeyPolicy",
        )  # fmt: skip
    for name in sorted(wanted - named):
        yield fail(
            "ReaderNotAdmitted", key.arn, seen=f"the key of {route} does not name {name}", expected=f"every reader in {parameter}",
            cure="make deploy restores the key policy",
        )  # fmt: skip


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
    wanted = keys.get(dead_letter.ROUTE)
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
    ttl = account.ask("dynamodb", "describe_time_to_live", TableName=name)
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


def _check_grants(account: Account, live: LiveStack, table: RouteTable, keys: Mapping[str, Key]) -> Iterator[Finding]:
    roles = {
        name: role for name, logical in _ROLES.items() if (role := _role(account, live.resources.get(logical, "")))
    }
    if not set(keys) >= {route.name for route in table.all_routes} or "fan-out" not in roles:
        return  # told above, or not readable: most rows could not be asked
    asked = _Live(account, live, keys, roles)
    rows = [row for row in matrix(table, asked.stack) if not row.who.label.startswith(_MADE_UP)]
    told: set[tuple[str, str, str]] = set()
    held = 0
    for row in rows:
        answers = [(action, asked.answer(row, action)) for action in row.request.actions]
        wrong = [(action, answer) for action, answer in answers if answer is not None and answer is not _expected(row)]
        held += not wrong
        # One statement that is gone shows in several rows: the first of a caller and a resource stands for them.
        topic = (row.who.role, row.request.resource.partition("/date=")[0], str(row.is_allowed))
        if wrong and topic not in told:
            told.add(topic)
            yield from asked.explain(row, *wrong[0])
    if not told:
        yield ok("GrantsHold", live.name, f"all {held} rows of the grant matrix hold on the live policies")


class _Live:
    """The policies of a live stack, and the answers that they give to the rows of the matrix."""

    def __init__(self, account: Account, live: LiveStack, keys: Mapping[str, Key], roles: Mapping[str, Role]) -> None:
        self._account = account
        self._keys = {key.arn: key for key in keys.values()}
        self._roles = {role.arn: role for role in roles.values()}
        own = account.identify()
        here = f"{account.region}:{own}"
        missing = {name: f"arn:aws:kms:{here}:key/{name}" for name in (STREAM_KEY, ARCHIVE_KEY)}
        self.stack = Stack(
            name=live.parameters.get("Name", live.resources.get("Stream", live.name)),
            account=own,
            region=account.region,
            setting="live",
            keys=missing | {name: key.arn for name, key in keys.items()},
            roles={name: f"arn:aws:iam::{own}:role/{name}" for name in _ROLES}
            | {name: role.arn for name, role in roles.items()},
            mapping=f"arn:aws:lambda:{here}:event-source-mapping:{live.resources.get('StreamMapping', '')}",
            has_connect=False,
            has_readers=False,
            has_replay="replay" in roles,
            has_archive=ARCHIVE_KEY in keys and "archive" in roles,
            makes_stream_key=not live.parameters.get("ExistingStreamKeyArn") and STREAM_KEY in keys,
        )
        self._policies: dict[str, Policy | None] = {key.arn: key.policy for key in keys.values()}
        self._policies |= {role.arn: role.trust for role in roles.values()}
        self._policies[self.stack.bucket] = self._bucket_policy(live.resources.get("Bucket", ""))
        check = live.resources.get("GrantCheckFunction", "")
        self._policies[self.stack.here("lambda", f"function:{check}")] = self._function_policy(check)

    def answer(self, row: Row, action: str) -> Answer | None:
        """Return what AWS would answer; None if a policy may not be read."""
        role = self._roles.get(row.who.role)
        identity: list[Policy] | None = []
        if row.who.policies == "everything":
            identity = [EVERYTHING]
        elif row.who.policies == "of the stack":
            identity = None if role is None else role.policies
        carrier = next((arn for arn in self._policies if row.request.resource in {arn, *_below(row, arn)}), None)
        resource = None if carrier is None else self._policies[carrier]
        if identity is None or (carrier is not None and resource is None):
            return None
        if row.assuming == "default key policy":
            resource = default_key_policy(self.stack.account)
        elif row.assuming == "no bucket policy":
            resource = None
        limits = [role.boundary] if role is not None and role.boundary is not None else []
        return decide(self._request(row, action), identity, resource, *limits)

    def explain(self, row: Row, action: str, answer: Answer) -> Iterator[Finding]:
        """Say what a row that does not hold means, and what mends it."""
        what = f"{row.who.label}: {action} on {row.request.on}" + (f" ({row.request.how})" if row.request.how else "")
        key, role = self._keys.get(row.request.resource), self._roles.get(row.who.role)
        if row.is_allowed and key is not None and role is not None:
            context = {name: value for name, value in row.request.context.items() if isinstance(value, str)}
            found = [one for one in check_use(role, action, key, context, what=what, code="Grant") if one.severity]
            if found:
                yield from (replace(one, cure=f"make deploy restores it; or {one.cure}") for one in found)
                return
        request = self._request(row, action)
        policies = [policy for policy in self._policies.values() if policy] + ((role.policies or []) if role else [])
        if row.is_allowed:
            denying = [one for policy in policies for one in matching_statements(request, policy, "Deny")]
            sid = denying[0].get("Sid", "without Sid") if denying else ""
            wanted = row.request.resource.replace("/date=2026-03-02/x.ndjson.gz", "/*")
            yield fail(
                "GrantDenied" if denying else "GrantMissing", row.request.resource,
                seen=f"{what} is denied by the statement {sid!r}" if denying else f"{what} is allowed by no policy",
                expected=f"allowed: {row.why}",
                cure="make deploy restores what template.yaml declares" + (
                    "" if denying else f"; or add: {statement('Restored', '', action, wanted)}"),
            )  # fmt: skip
            return
        allowing = [one for policy in policies for one in matching_statements(request, policy, "Allow")]
        sid = allowing[0].get("Sid", "without Sid") if allowing else "that is gone: a denial"
        complain, doubt = (
            (warn, "one of two locks is open: ") if row.assuming or "Access" in row.who.label else (fail, "")
        )
        yield complain(
            "GrantUncertain" if answer is Answer.MAYBE else "GrantTooWide", row.request.resource,
            seen=f"{doubt}{what} is {'perhaps ' if answer is Answer.MAYBE else ''}allowed, by the statement {sid!r}",
            expected=f"denied: {row.why}", cure=f"make deploy restores what template.yaml declares; look at {sid!r}",
        )  # fmt: skip

    def _request(self, row: Row, action: str) -> Request:
        who = row.who
        added = {"aws:PrincipalArn": who.role, "aws:PrincipalAccount": who.role.split(":")[4]} if who.role else {}
        return Request(
            principal=who.role or who.arn,
            action=action,
            resource=row.request.resource,
            account=self.stack.account,
            context={**added, **who.context, **row.request.context},
        )

    def _bucket_policy(self, bucket: str) -> Policy | None:
        try:
            found: Any = self._account.ask("s3", "get_bucket_policy", Bucket=bucket)
        except MissingError:
            return {"Statement": []}
        return None if found is None else read_policy(found["Policy"])

    def _function_policy(self, function: str) -> Policy | None:
        try:
            found: Any = self._account.ask("lambda", "get_policy", FunctionName=function)
        except MissingError:
            return {"Statement": []}
        return None if found is None else read_policy(found["Policy"])


def _below(row: Row, arn: str) -> set[str]:
    """Return the request's resource if it lies below an ARN, as objects do below their bucket."""
    return {row.request.resource} if row.request.resource.startswith(f"{arn}/") else set()


def _expected(row: Row) -> Answer:
    return Answer.YES if row.is_allowed else Answer.NO


def _role(account: Account, name: str) -> Role | None:
    if not name:
        return None
    try:
        return account.role(name)
    except MissingError:
        return None
