"""What a deployed stack declares: the policies and properties of its template, with the ids of its live resources.

CloudFormation keeps the template that it has deployed. Against it a live policy is compared, and from it the command
is written that puts a policy back: a deployment compares templates, and restores nothing that was changed by hand.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from doctor.account import Account, MissingError
from doctor.live_stack import LiveStack
from doctor.resolve import Place, ResolveError, Resolver
from grants.policy import Policy, Statement, principals, read_policy, statements

_POLICIES = {
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::IAM::Role": "AssumeRolePolicyDocument",
    "AWS::IAM::ManagedPolicy": "PolicyDocument",
}
_BOUND = ("aws:principalarn", "aws:userid", "aws:principalaccount", "aws:principalorgid", "kms:calleraccount")


@dataclass(frozen=True)
class Declared:
    """The template of a live stack; empty where it may not be read.

    Attributes:
        account: The account to examine.
        live: The stack.
    """

    account: Account
    live: LiveStack

    @cached_property
    def _template(self) -> Mapping[str, Any] | None:
        try:
            found = self.account.ask(
                "cloudformation", "get_template", StackName=self.live.name, TemplateStage="Processed"
            )
        except MissingError:
            return None
        if found is None:
            return None
        body = found["TemplateBody"]
        return read_policy(body) if isinstance(body, (str, Mapping)) else None

    @cached_property
    def _resolver(self) -> Resolver | None:
        if self._template is None:
            return None
        place = Place(
            partition=self.account.partition,
            region=self.account.region,
            account=self.account.identify(),
            stack=self.live.name,
        )
        return Resolver(self._template, self.live.parameters, physical=self.live.resources, place=place)

    def properties(self, logical_id: str) -> dict[str, Any] | None:
        """Return the declared properties of a resource; None if there are none, or they are not known."""
        try:
            return None if self._resolver is None else self._resolver.properties(logical_id)
        except (ResolveError, KeyError):
            return None

    def of_type(self, kind: str) -> Iterator[str]:
        """Return the logical ids of all resources of a type that are deployed."""
        for logical_id, resource in (self._template or {}).get("Resources", {}).items():
            if resource["Type"] == kind and self.live.resources.get(logical_id):
                yield logical_id

    def policy(self, logical_id: str) -> Policy | None:
        """Return the policy that a resource carries."""
        resource = (self._template or {}).get("Resources", {}).get(logical_id)
        properties = self.properties(logical_id)
        if resource is None or properties is None:
            return None
        found: Policy | None = properties.get(_POLICIES.get(resource["Type"], ""))
        return found

    def permissions(self, function: str) -> Policy:
        """Return the resource policy of a function, by its name."""
        resources = (self._template or {}).get("Resources", {})
        names = [one for one, resource in resources.items() if resource["Type"] == "AWS::Lambda::Permission"]
        found = [self.properties(one) or {} for one in names]
        return {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": one["Principal"]},
                    "Action": one["Action"],
                    "Condition": {"ArnLike": {"AWS:SourceArn": one.get("SourceArn", "")}},
                }
                for one in found
                if one.get("FunctionName") == function
            ]
        }

    def restore(self, logical_id: str) -> str:
        """Return the command that puts the declared policy of a resource back; `make deploy` if it is not known."""
        policy = self.policy(logical_id)
        if policy is None:
            return "make deploy"
        kind = self._template["Resources"][logical_id]["Type"] if self._template else ""
        document, physical = _quoted(policy), self.live.resources.get(logical_id, logical_id)
        match kind:
            case "AWS::KMS::Key":
                return f"aws kms put-key-policy --key-id {physical} --policy-name default --policy {document}"
            case "AWS::S3::BucketPolicy":
                bucket = self.live.resources.get("Bucket", physical)
                return f"aws s3api put-bucket-policy --bucket {bucket} --policy {document}"
            case "AWS::IAM::Role":
                return f"aws iam update-assume-role-policy --role-name {physical} --policy-document {document}"
            case _:
                return f"aws iam create-policy-version --policy-arn {physical} --set-as-default --policy-document {document}"


def differs(live: Policy, declared: Policy) -> bool:
    """Return True if two policies do not have the same statements, in whatever order and spelling."""
    return _canonical(live) != _canonical(declared)


def admitted(policy: Policy) -> dict[str, str]:
    """Return whom a policy admits, each with the name of a statement that does.

    Principals by name; of an account, a star or `NotPrincipal` what the conditions on the caller leave; services with
    what they have to come from.
    """
    found: dict[str, str] = {}
    for one in statements(policy):
        if one["Effect"] == "Allow":
            for name in _admitted_by(one):
                found.setdefault(name, str(one.get("Sid", "without Sid")))
    return found


def _admitted_by(one: Statement) -> Iterator[str]:
    principal = one.get("Principal", {})
    if "NotPrincipal" in one:
        yield f"everybody but {json.dumps(one['NotPrincipal'])}"
    bounds = {
        str(value)
        for operator, keys in one.get("Condition", {}).items()
        for key, values in keys.items()
        if key.lower() in _BOUND and "Not" not in operator and "IfExists" not in operator
        for value in (values if isinstance(values, list) else [values])
    }
    for name in principals(one):
        is_whole = name == "*" or name.endswith(":root") or name.isdecimal()
        if is_whole and bounds:
            yield from sorted(bounds - {""})
        elif is_whole:
            yield f"{_account(name)} ({', '.join(sorted(_actions(one)))})"
        elif name:
            yield name
    for kind in ("Service", "Federated", "CanonicalUser"):
        values = principal.get(kind, []) if isinstance(principal, Mapping) else []
        source = _sources(one)
        for name in values if isinstance(values, list) else [values]:
            yield f"{name}{source}"


def _sources(one: Statement) -> str:
    found = sorted(
        str(value)
        for keys in one.get("Condition", {}).values()
        for key, values in keys.items()
        if key.lower() in {"aws:sourcearn", "aws:sourceaccount"}
        for value in (values if isinstance(values, list) else [values])
    )
    return f" for {', '.join(found)}" if found else ""


def _account(name: str) -> str:
    return name.split(":")[4] if name.startswith("arn:") else name


def _actions(one: Statement) -> list[str]:
    actions = one.get("Action", one.get("NotAction", []))
    return actions if isinstance(actions, list) else [actions]


def _canonical(policy: Policy) -> list[str]:
    """Write statements so that policies that mean the same are equal: without names, and without what admits nobody."""
    return sorted(
        json.dumps({name: _ordered(value) for name, value in one.items() if name != "Sid"}, sort_keys=True)
        for one in statements(policy)
        if one["Effect"] == "Deny" or "Principal" not in one or list(_admitted_by(one))
    )


def _ordered(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {name.lower(): _ordered(below) for name, below in value.items()}
    values = value if isinstance(value, list) else [value]
    return sorted(_account(str(one)) if str(one).endswith(":root") else str(one) for one in values)


def _quoted(policy: Policy) -> str:
    return "'" + json.dumps(policy).replace("'", "'\\''") + "'"
