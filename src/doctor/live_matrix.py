"""The grant matrix on the policies of a live stack: the rows that prove the template, asked again."""

from collections.abc import Iterator, Mapping
from copy import replace
from functools import cached_property
from typing import Any

from doctor.account import Account, Key, MissingError, Role
from doctor.bucket import KEY_HEADER
from doctor.declared import Declared
from doctor.drift import check_drift
from doctor.finding import Finding, fail, ok, statement, warn
from doctor.locks import check_use, limits_of
from grants.matrix import matrix
from grants.policy import (
    EVERYBODY,
    EVERYTHING,
    Answer,
    Policy,
    Request,
    decide,
    default_key_policy,
    matching_statements,
    read_policy,
    statements,
)
from grants.row import DEFAULT_KEY_POLICY, NAMED_ELSEWHERE, NO_BUCKET_POLICY, OPEN_BUCKET_POLICY, Row
from grants.stack import ARCHIVE_KEY, STREAM_KEY, Stack
from routing.table.routes import RouteTable

_ROLES = {
    "fan-out": "FanOutRole",
    "replay": "ReplayRole",
    "erase": "EraseRole",
    "convert": "ConvertRole",
    "archive": "ArchiveRole",
}
# The functions of the stack are in no VPC, and Firehose is not either: a denial of all that comes from elsewhere is certain.
_OUTSIDE_A_VPC = dict.fromkeys(("aws:SourceVpc", "aws:SourceVpce", "aws:VpcSourceIp"))
# Callers that have an example name in the matrix, because only the parameters know them.
_MADE_UP = ("connect", "another instance's connect", "replay operator", "reader of ", "auditor")


def check_matrix(account: Account, declared: Declared, table: RouteTable, keys: Mapping[str, Key]) -> Iterator[Finding]:
    """Decide every row of the matrix whose callers are known.

    Args:
        account: The account to examine.
        declared: The template of the stack.
        table: Its routes.
        keys: Its keys by name.
    """
    live = declared.live
    roles = {
        name: role for name, logical in _ROLES.items() if (role := _role(account, live.resources.get(logical, "")))
    }
    if not set(keys) >= {route.name for route in table.all_routes} or "fan-out" not in roles:
        return  # already reported, or not readable: most rows cannot be decided
    asked = _Live(account, declared, table, keys, roles)
    rows = [row for row in matrix(table, asked.stack) if not row.who.label.startswith(_MADE_UP)]
    reported: set[tuple[str, ...]] = set()
    held = 0
    for row in rows:
        answers = [(action, asked.answer(row, action)) for action in row.request.actions]
        wrong = [(action, answer) for action, answer in answers if answer is not None and answer is not _expected(row)]
        held += not wrong
        # One missing statement breaks several rows: only the first of each caller and resource is reported.
        doubtful = bool(wrong) and all(answer is Answer.MAYBE for _, answer in wrong)
        carrier = asked.carrier(row) if doubtful else None
        about = (carrier or row.who.role,) if doubtful else (row.who.role, row.request.resource.partition("/date=")[0])
        topic = (*about, "perhaps" if doubtful else str(row.is_allowed))
        if wrong and topic not in reported:
            reported.add(topic)
            yield from asked.explain(row, *wrong[0])
    if not reported:
        yield ok("GrantsHold", live.name, f"all {held} rows of the grant matrix hold on the live policies")


class _Live:
    """The policies of a live stack, and the answers that they give to the rows of the matrix."""

    def __init__(
        self,
        account: Account,
        declared: Declared,
        table: RouteTable,
        keys: Mapping[str, Key],
        roles: Mapping[str, Role],
    ) -> None:
        live = declared.live
        self._account = account
        self._declared = declared
        self._keys = {key.arn: key for key in keys.values()}
        self._roles = {role.arn: role for role in roles.values()}
        own = account.identify()
        here = f"{account.region}:{own}"
        missing = {name: f"arn:{account.partition}:kms:{here}:key/{name}" for name in (STREAM_KEY, ARCHIVE_KEY)}
        self.stack = Stack(
            name=live.parameters.get("Name", live.resources.get("Stream", live.name)),
            account=own,
            region=account.region,
            partition=account.partition,
            setting="live",
            keys=missing | {name: key.arn for name, key in keys.items()},
            roles={name: f"arn:{account.partition}:iam::{own}:role/{name}" for name in _ROLES}
            | {name: role.arn for name, role in roles.items()},
            mapping=f"arn:{account.partition}:lambda:{here}:event-source-mapping:{live.resources.get('StreamMapping', '')}",
            has_connect=False,
            unread=frozenset({*(route.name for route in table.routes), *table.protection_keys, ARCHIVE_KEY}),
            has_replay="replay" in roles,
            has_erasure="erase" in roles,
            has_columns="convert" in roles,
            has_archive=ARCHIVE_KEY in keys and "archive" in roles,
            has_alarm_topic=False,  # neither the topic nor the catalog is looked at
            has_analysis=False,
            has_tracing="TracingPolicy" in live.resources,
            makes_stream_key=not live.parameters.get("ExistingStreamKeyArn") and STREAM_KEY in keys,
        )
        self._policies: dict[str, Policy | None] = {key.arn: key.policy for key in keys.values()}
        self._policies |= {role.arn: role.trust for role in roles.values()}
        self.bucket_policy = self._bucket_policy(live.resources.get("Bucket", ""))
        self._policies[self.stack.bucket] = self.bucket_policy
        for logical in ("GrantCheckFunction", "ConvertFunction"):
            if function := live.resources.get(logical):
                self._policies[self.stack.here("lambda", f"function:{function}")] = self._function_policy(function)

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
        if row.assuming == DEFAULT_KEY_POLICY:
            resource = default_key_policy(self.stack.account)
        elif row.assuming == NO_BUCKET_POLICY:
            resource = None
        elif row.assuming == NAMED_ELSEWHERE:
            resource = EVERYBODY
        elif row.assuming == OPEN_BUCKET_POLICY and resource is not None:
            resource = {**resource, "Statement": [*statements(resource), *EVERYBODY["Statement"]]}
        limits = limits_of(role) if role else []
        return decide(self._request(row, action), identity, resource, *limits)

    def carrier(self, row: Row) -> str | None:
        """Return the ARN of what carries the resource policy of a row, if anything does."""
        return next((arn for arn in self._policies if row.request.resource in {arn, *_below(row, arn)}), None)

    def explain(self, row: Row, action: str, answer: Answer) -> Iterator[Finding]:
        """Return the finding of a row that does not hold, with its cure."""
        what = f"{row.who.label}: {action} on {row.request.on}" + (f" ({row.request.how})" if row.request.how else "")
        key, role = self._keys.get(row.request.resource), self._roles.get(row.who.role)
        if row.is_allowed and key is not None and role is not None:
            context = {name: value for name, value in row.request.context.items() if isinstance(value, str)}
            found = [one for one in check_use(role, action, key, context, what=what, code="Grant") if one.severity]
            if found:
                yield from (replace(one, cure=self._restore(row) or one.cure) for one in found)
                return
        request = self._request(row, action)
        resource = self._policies.get(self.carrier(row) or "")
        limits = limits_of(role) if role else []
        policies = [one for one in (resource, *((role.policies or []) if role else []), *limits) if one]
        deploy = self._restore(row) or "make deploy"
        if answer is Answer.MAYBE:
            yield warn(
                "GrantUncertain", self.carrier(row) or row.who.role, expected=f"{'allowed' if row.is_allowed else 'denied'}: {row.why}",
                seen=f"{what} hangs on a condition that only AWS can decide", cure=f"{deploy}; or see that the condition is met",
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

    def _restore(self, row: Row) -> str:
        """Return the commands that put back the policies that decide a row, where they were changed; empty if none was."""
        role = next((name for name, arn in self.stack.roles.items() if arn == row.who.role), "")
        carrier = self.carrier(row)
        changed = [
            finding.cure
            for logical, finding in self._drift.items()
            if carrier == self._arn_of(logical) or _ROLES.get(role, "") in self._attached(logical)
        ]
        return "; ".join(changed)

    @cached_property
    def _drift(self) -> dict[str, Finding]:
        physical = {name: logical for logical, name in self._declared.live.resources.items()}
        return {physical[one.subject]: one for one in check_drift(self._account, self._declared)}

    def _arn_of(self, logical: str) -> str | None:
        if logical == "BucketPolicy":
            return self.stack.bucket
        physical = self._declared.live.resources.get(logical, "")
        return next((arn for arn in self._policies if arn.rpartition("/")[2] == physical and physical), None)

    def _attached(self, logical: str) -> list[str]:
        roles = (self._declared.properties(logical) or {}).get("Roles", [])
        return [name for name, physical in self._declared.live.resources.items() if physical in roles]

    def _request(self, row: Row, action: str) -> Request:
        who = row.who
        added = {"aws:PrincipalArn": who.role, "aws:PrincipalAccount": who.role.split(":")[4]} if who.role else {}
        return Request(
            principal=who.role or who.arn,
            action=action,
            resource=row.request.resource,
            account=self.stack.account,
            context={**added, **_OUTSIDE_A_VPC, **who.context, **row.request.context},
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
