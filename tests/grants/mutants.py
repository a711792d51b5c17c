"""Every way to take something out of a policy, or to let more in: a row of the matrix has to notice each."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from local.policies import Attached, Policy

type Statement = dict[str, Any]
type Change = tuple[str, str, Statement]
"""What, whom or what it is about, and the statement as it is then."""

_LISTS = ("Action", "NotAction", "Resource", "NotResource")
_POSITIVE = ("StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool")
_SENSITIVE = {
    "athena": ("athena:UpdateWorkGroup",),
    "glue": ("glue:UpdateTable",),
    "sns": ("sns:Subscribe",),
    "xray": ("xray:BatchGetTraces",),
    "dynamodb": ("dynamodb:DeleteItem", "dynamodb:Scan"),
    "kinesis": ("kinesis:PutRecord", "kinesis:DeleteStream"),
    "kms": ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant"),
    "lambda": ("lambda:UpdateEventSourceMapping", "lambda:UpdateFunctionCode"),
    "logs": ("logs:DeleteLogStream", "logs:GetLogEvents"),
    "s3": (
        "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucket",
        "s3:ListBucketVersions", "s3:PutBucketPolicy",
    ),
    "sts": ("sts:TagSession", "sts:SetSourceIdentity"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed policy.

    Attributes:
        what: Where and what, for messages.
        hint: A principal, an action or a place by which the row that notices may be found sooner.
        statement: The statement as it was.
        changed: The statement as it is then; None if it is gone.
        policy: The document as it is then.
        role: The only role for which it is so; empty for all.
    """

    what: str
    hint: str
    statement: Statement
    changed: Statement | None
    policy: Policy
    role: str = ""

    def concerns(self, action: str, resource: str) -> bool:
        """Tell whether the change may decide a request: a statement about other things decides nothing of it."""
        return any(_speaks_of(one, action, resource) for one in (self.statement, self.changed) if one is not None)


def mutants(attached: Attached, outsiders: Sequence[str], writers: Sequence[str]) -> Iterator[Mutant]:
    """Return every mutant of one policy.

    Args:
        attached: The policy.
        outsiders: ARNs of roles without a policy of their own, that might be let in where they do not belong.
        writers: ARNs of roles that can put something, and might be let out of a denial.
    """
    for place, statement in enumerate(attached.document["Statement"]):
        where = f"{attached.name}.{statement.get('Sid', place)}"
        yield Mutant(f"{where}: removed", "", statement, None, _with(attached, place, None))
        changes = [*_without_conditions(statement), *_without_entries(statement)]
        if statement["Effect"] == "Allow":
            changes += [*_widened(attached, statement), *_loosened(statement), *_extended(statement)]
            changes += _admitting(attached, statement, outsiders)
        else:
            changes += [*_excepting(attached, statement, writers), *_narrowed(statement)]
        for what, hint, changed in changes:
            yield Mutant(f"{where}: {what}", hint, statement, changed, _with(attached, place, changed))


def detached(attached: Attached, role: str) -> Mutant:
    """Return what a policy is for a role that it is not attached to."""
    every = {"Action": "*", "Resource": "*"}
    what = f"{attached.name}: detached from {role}"
    return Mutant(what, "", every, None, {**attached.document, "Statement": []}, role)


def _speaks_of(statement: Statement, action: str, resource: str) -> bool:
    if not any(_matches(action.lower(), pattern.lower()) for pattern in _actions(statement)):
        return False
    if "NotResource" in statement:
        return True
    named = statement.get("Resource", "*")
    return any(_matches(resource, pattern) for pattern in (named if isinstance(named, list) else [named]))


_matches = cache(fnmatchcase)


def _with(attached: Attached, place: int, statement: Statement | None) -> Policy:
    statements = list(attached.document["Statement"])
    statements[place : place + 1] = [] if statement is None else [statement]
    return {**attached.document, "Statement": statements}


def _without_conditions(statement: Statement) -> Iterator[Change]:
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            changed = deepcopy(statement)
            del changed["Condition"][operator][key]
            changed["Condition"] = {name: left for name, left in changed["Condition"].items() if left}
            yield f"without {operator} {key}", "", changed
            for value in values if isinstance(values, list) and len(values) > 1 else []:
                changed = deepcopy(statement)
                changed["Condition"][operator][key].remove(value)
                yield f"without {operator} {key} = {value}", value, changed


def _without_entries(statement: Statement) -> Iterator[Change]:
    for element in _LISTS:
        entries = statement.get(element)
        for entry in entries if isinstance(entries, list) and len(entries) > 1 else []:
            changed = deepcopy(statement)
            changed[element].remove(entry)
            yield f"without {element} {entry}", entry, changed
    for name in _named(statement) if len(_named(statement)) > 1 else []:
        changed = deepcopy(statement)
        changed["Principal"]["AWS"].remove(name)
        yield f"without Principal {name}", name, changed


def _widened(attached: Attached, statement: Statement) -> Iterator[Change]:
    """Any resource, any action, any principal."""
    resource = statement.get("Resource", "*")
    if resource != "*" and not attached.resource:
        yield "any Resource", "", {**statement, "Resource": "*"}
    elif isinstance(resource, str) and resource.endswith("/*"):  # a resource policy speaks of its own resource only
        yield "any Resource", "", {**statement, "Resource": f"{attached.resource}/*"}
    if isinstance(resource, str) and resource.startswith("arn:aws:s3:::") and not attached.resource:
        any_bucket = f"arn:aws:s3:::*{resource[resource.index('/') :] if '/' in resource else ''}"
        yield "any bucket", "another", {**statement, "Resource": any_bucket}
    yield "any Action", "", {**statement, "Action": f"{_actions(statement)[0].partition(':')[0]}:*"}
    if attached.resource:
        yield "any Principal", "", {**statement, "Principal": "*"}


def _loosened(statement: Statement) -> Iterator[Change]:
    """Conditions that hold when their key is missing, or for the whole bucket as well."""
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            # AWS gives these to each request that they are about: none can come without them.
            if operator in _POSITIVE and key not in {"aws:PrincipalArn", "s3:ResourceAccount"}:
                changed = deepcopy(statement)
                del changed["Condition"][operator][key]
                changed["Condition"] = {name: left for name, left in changed["Condition"].items() if left}
                changed["Condition"].setdefault(f"{operator}IfExists", {})[key] = values
                yield f"{operator}IfExists {key}", "", changed
            if key == "kms:EncryptionContext:aws:s3:arn":
                changed = deepcopy(statement)
                first = values[0] if isinstance(values, list) else values
                changed["Condition"][operator][key] = [first, first.partition("/")[0]]
                yield "the bucket as context, too", "for the bucket", changed
                changed = deepcopy(statement)
                changed["Condition"][operator][key] = f"{first.partition('/')[0]}/*"
                yield "any object as context", "", changed


def _extended(statement: Statement) -> Iterator[Change]:
    """One more action, that matters."""
    actions = _actions(statement)
    conditions = json.dumps(statement.get("Condition", {}))
    if "s3:x-amz-server-side-encryption-aws-kms-key-id" in conditions:
        return  # only what puts an object carries that header
    for action in _SENSITIVE.get(actions[0].partition(":")[0], ()):
        bucket_level, of_objects = (
            action.startswith("s3:List") or "Bucket" in action,
            str(statement.get("Resource")).count("/"),
        )
        if action == "s3:PutBucketPolicy" and "s3:prefix" in conditions:
            continue  # only a listing carries a prefix
        if action not in actions and bool(of_objects) != bucket_level:
            yield f"and {action}", action, {**statement, "Action": [*actions, action]}


def _admitting(attached: Attached, statement: Statement, outsiders: Sequence[str]) -> Iterator[Change]:
    """One more principal, by name or by the condition that names roles; not one who may do just this already."""
    named = _named(statement)
    admitted = {name for one in attached.document["Statement"] if _is_alike(one, statement) for name in _named(one)}
    outsiders = [outsider for outsider in outsiders if outsider not in admitted]
    bound = statement.get("Condition", {}).get("ArnEquals", {}).get("aws:PrincipalArn")
    if bound is not None:
        roles = bound if isinstance(bound, list) else [bound]
        for outsider in outsiders:
            if outsider not in roles and ":111122223333:" in outsider:
                changed = deepcopy(statement)
                changed["Condition"]["ArnEquals"]["aws:PrincipalArn"] = [*roles, outsider]
                yield f"and {outsider}", outsider, changed
    elif named and not named[0].endswith(":root"):
        for outsider in outsiders:
            if outsider not in named:
                yield f"and {outsider}", outsider, {**statement, "Principal": {"AWS": [*named, outsider]}}


def _is_alike(one: Statement, other: Statement) -> bool:
    """Tell whether two statements say the same of different principals."""
    return one["Effect"] == other["Effect"] and _without_principals(one) == _without_principals(other)


def _without_principals(statement: Statement) -> Statement:
    conditions = {name: keys for name, keys in statement.get("Condition", {}).items() if name != "ArnEquals"}
    return {"Action": _actions(statement), "Condition": conditions}


def _excepting(attached: Attached, statement: Statement, writers: Sequence[str]) -> Iterator[Change]:
    """A denial that excepts somebody, whom no other statement denies just the same."""
    alone = [only for one in attached.document["Statement"] if one != statement and (only := _only(one, statement))]
    for outsider in attached.roles or writers:
        if any(outsider != only for only in alone):
            continue
        changed = deepcopy(statement)
        changed.setdefault("Condition", {}).setdefault("ArnNotEquals", {})["aws:PrincipalArn"] = outsider
        if changed != statement:
            yield f"but not {outsider}", outsider, changed


def _only(one: Statement, other: Statement) -> str:
    """Return the one role that a statement does not deny what another statement is about; empty if it is not so."""
    is_same = all(one.get(element) == other.get(element) for element in ("Effect", "Action", "Resource"))
    excepted = one.get("Condition", {}).get("ArnNotEquals", {}).get("aws:PrincipalArn", "")
    return str(excepted) if is_same and len(one.get("Condition", {})) == 1 else ""


def _narrowed(statement: Statement) -> Iterator[Change]:
    """A denial of everything that a service can do, for its commonest actions only; or with one more exception."""
    if (few := _FEW.get(str(statement.get("Action")))) is not None:
        yield "for a few actions only", "", {**statement, "Action": few}
    for element, more in (("NotAction", "sqs:*"), ("NotResource", "arn:aws:*:*:*:*")):
        if element in statement:
            entries = statement[element] if isinstance(statement[element], list) else [statement[element]]
            yield f"but not {more}", "", {**statement, element: [*entries, more]}


_FEW = {
    "s3:*": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
    "kms:*": ["kms:Decrypt", "kms:GenerateDataKey"],
    "kinesis:*": ["kinesis:PutRecord"],
    "dynamodb:*": ["dynamodb:UpdateItem"],
}


def _actions(statement: Statement) -> list[str]:
    actions = statement.get("Action", "*")
    return actions if isinstance(actions, list) else [actions]


def _named(statement: Statement) -> list[str]:
    principal = statement.get("Principal")
    names = principal.get("AWS", []) if isinstance(principal, dict) else []
    return names if isinstance(names, list) else [names]
