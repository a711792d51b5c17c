"""A stack of ours: the grant matrix on its live policies, its keys, bucket, table and environment.

The rows that prove the template (docs/grants.md) are asked again of what stands in the account now.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cli.doctor.account import Account, Key, MissingError, Role
from cli.doctor.bucket import KEY_HEADER
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
    Statement,
    decide,
    default_key_policy,
    matching_statements,
    principals,
    read_policy,
    statements,
)
from handlers.settings import OFF, key_variable
from routing import dead_letter
from routing.routes import RouteTable, logical_id

_OURS = ("FanOutFunction", "FanOutRole", "Stream", "Bucket", "StreamMapping")
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
        account: Whose.
        live: The stack.
        table: The routes that it should have.
        digest: The SHA-256 of their file.
    """
    yield from _check_environment(account, live, table, digest)
    keys: dict[str, Key] = {}
    for name in _key_names(table):
        yield from _check_key(account, live, name, keys)
    yield from _check_bucket(account, live, keys)
    yield from _check_table(account, live)
    yield from _check_mapping(account, live)


def check_grants(account: Account, live: LiveStack, table: RouteTable) -> Iterator[Finding]:
    """Check who is let in by name, and the grant matrix on the live policies."""
    keys: dict[str, Key] = {}
    for name in _key_names(table):
        for _ in _check_key(account, live, name, keys):
            pass  # told with the resources
    for name, key in keys.items():
        if name != STREAM_KEY or live.resources.get("StreamKey"):  # an existing key has its own users
            yield from _check_users(live, name, key)
    yield from _check_matrix(account, live, table, keys)


def _key_names(table: RouteTable) -> tuple[str, ...]:
    return (*(route.name for route in table.all_routes), ARCHIVE_KEY, STREAM_KEY)


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
    rotation = account.ask("kms", "get_key_rotation_status", KeyId=key.arn) if logical in live.resources else None
    if key.state == "Enabled" and rotation is not None and not rotation["KeyRotationEnabled"]:
        yield warn(
            "KeyNotRotated", key.arn, seen=f"the key of {name} does not rotate", expected="yearly rotation",
            cure=f"aws kms enable-key-rotation --key-id {key.arn}",
        )  # fmt: skip


def _check_users(live: LiveStack, name: str, key: Key) -> Iterator[Finding]:
    """Hold who may use a key by name, or by a grant, against the parameter that says who should."""
    parameter = {
        STREAM_KEY: "ConnectServiceRoleArn", dead_letter.ROUTE: "", ARCHIVE_KEY: "ReadersOfArchive",
    }.get(name, f"ReadersOf{logical_id(name)}")  # fmt: skip
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


def _check_matrix(account: Account, live: LiveStack, table: RouteTable, keys: Mapping[str, Key]) -> Iterator[Finding]:
    roles = {
        name: role for name, logical in _ROLES.items() if (role := _role(account, live.resources.get(logical, "")))
    }
    if not set(keys) >= {route.name for route in table.all_routes} or "fan-out" not in roles:
        return  # told above, or not readable: most rows could not be asked
    asked = _Live(account, live, keys, roles)
    rows = [row for row in matrix(table, asked.stack) if not row.who.label.startswith(_MADE_UP)]
    told: set[tuple[str, ...]] = set()
    held = 0
    for row in rows:
        answers = [(action, asked.answer(row, action)) for action in row.request.actions]
        wrong = [(action, answer) for action, answer in answers if answer is not None and answer is not _expected(row)]
        held += not wrong
        # One statement that is gone shows in several rows: the first of a caller and a resource stands for them.
        doubtful = bool(wrong) and all(answer is Answer.MAYBE for _, answer in wrong)
        carrier = asked.carrier(row) if doubtful else None
        about = (carrier or row.who.role,) if doubtful else (row.who.role, row.request.resource.partition("/date=")[0])
        topic = (*about, "perhaps" if doubtful else str(row.is_allowed))
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
        carrier = self.carrier(row)
        resource = None if carrier is None else self._policies[carrier]
        if identity is None or (carrier is not None and resource is None):
            return None
        if row.assuming == "default key policy":
            resource = default_key_policy(self.stack.account)
        elif row.assuming == "no bucket policy":
            resource = None
        limits = [role.boundary] if role is not None and role.boundary is not None else []
        return decide(self._request(row, action), identity, resource, *limits)

    def carrier(self, row: Row) -> str | None:
        """Return the ARN of what carries the resource policy of a row, if anything does."""
        return next((arn for arn in self._policies if row.request.resource in {arn, *_below(row, arn)}), None)

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
        resource = self._policies.get(self.carrier(row) or "")
        limits = [role.boundary] if role is not None and role.boundary is not None else []
        policies = [one for one in (resource, *((role.policies or []) if role else []), *limits) if one]
        deploy = "make deploy restores what template.yaml declares"
        if answer is Answer.MAYBE:
            yield warn(
                "GrantUncertain", self.carrier(row) or row.who.role, expected=f"{'allowed' if row.is_allowed else 'denied'}: {row.why}",
                seen=f"{what} hangs on a condition that only AWS can decide", cure=f"{deploy}; or see that it is met",
            )  # fmt: skip
        elif row.is_allowed:
            denying = [one for policy in policies for one in matching_statements(request, policy, "Deny")]
            sid = denying[0].get("Sid", "without Sid") if denying else ""
            missing = _missing(row, action)
            yield fail(
                "GrantDenied" if denying else "GrantMissing", row.request.resource,
                seen=f"{what} is denied by the statement {sid!r}" if denying else f"{what} is allowed by no policy",
                expected=f"allowed: {row.why}", cure=deploy if denying or not missing else f"{deploy}; or add: {missing}",
            )  # fmt: skip
        else:
            allowing = [one for policy in policies for one in matching_statements(request, policy, "Allow")]
            sid = repr(allowing[0].get("Sid", "without Sid")) if allowing else "that is gone, a denial"
            is_second = bool(row.assuming) or "Administrator" in row.who.label
            yield (warn if is_second else fail)(
                "GrantTooWide", row.request.resource, expected=f"denied: {row.why}",
                seen=f"{'one of two locks is open: ' if is_second else ''}{what} is allowed, by the statement {sid}",
                cure=f"{deploy}; look at {sid}",
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


def _missing(row: Row, action: str) -> str:
    """Write the statement that a role lacks; nothing where a role's trust or a function's permission is at fault."""
    if action.startswith(("sts:", "lambda:Invoke")):
        return ""
    key = row.request.context.get(KEY_HEADER)
    bound = {"ArnEquals": {KEY_HEADER: key}} if key else {}
    resource = row.request.resource
    return statement(
        "Restored", "", action, f"{resource.partition('/date=')[0]}/*" if "/date=" in resource else resource, **bound
    )


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
