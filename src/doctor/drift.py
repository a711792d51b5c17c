"""What was changed by hand: policies that admit more than the stack declares, or that differ from it."""

from collections.abc import Iterator
from typing import Any

from doctor.account import Account, MissingError
from doctor.declared import Declared, admitted, differs
from doctor.finding import Finding, fail, warn
from grants.policy import Policy, principals, read_policy, statements

_FUNCTIONS = ("FanOutFunction", "GrantCheckFunction", "ReplayFunction", "EraseFunction", "ConvertFunction")


def check_trusts(account: Account, declared: Declared) -> Iterator[Finding]:
    """Compare whom roles, bucket, topic and functions admit with what the stack declares."""
    for logical in declared.of_type("AWS::IAM::Role"):
        role = declared.live.resources[logical]
        found = _ask(account, "iam", "get_role", RoleName=role)
        if found is not None:
            trust = read_policy(found["Role"]["AssumeRolePolicyDocument"])
            yield from _extra(declared, logical, role, "the trust of the role", trust, declared.policy(logical))
    bucket = declared.live.resources.get("Bucket", "")
    found = _ask(account, "s3", "get_bucket_policy", Bucket=bucket)
    if found is not None:
        policy = read_policy(found["Policy"])
        yield from _extra(
            declared, "BucketPolicy", bucket, "the bucket policy", policy, declared.policy("BucketPolicy")
        )
    for logical in _FUNCTIONS:
        function = declared.live.resources.get(logical)
        found = _ask(account, "lambda", "get_policy", FunctionName=function) if function else None
        if function and found is not None:
            policy = read_policy(found["Policy"])
            yield from _extra(
                declared, logical, function, "the function's policy", policy, declared.permissions(function)
            )


def check_drift(account: Account, declared: Declared, others: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Compare every policy with the declared one, statement by statement.

    Args:
        account: The account to examine.
        declared: The template of the stack.
        others: Roles that may be admitted besides: those of other Connect instances that send to the stream.
    """
    for logical in declared.of_type("AWS::IAM::Role"):
        yield from _check_attached(account, declared, logical)
    for kind in ("AWS::KMS::Key", "AWS::S3::BucketPolicy", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        for logical in declared.of_type(kind):
            wanted, live = declared.policy(logical), _live(account, declared, kind, logical)
            if wanted is not None and live is not None and differs(_without(live, others), wanted):
                yield warn(
                    "PolicyChanged", declared.live.resources[logical], seen=f"the policy of {logical} was changed by hand",
                    expected="what the stack declares", cure=declared.restore(logical),
                )  # fmt: skip


def _without(policy: Policy, others: frozenset[str]) -> Policy:
    kept = [one for one in statements(policy) if not (principals(one) and set(principals(one)) <= others)]
    return {**policy, "Statement": kept}


def _check_attached(account: Account, declared: Declared, logical: str) -> Iterator[Finding]:
    """Find policies that were attached to a role, or taken from it, by hand."""
    role = declared.live.resources[logical]
    wanted = {
        declared.live.resources[one]
        for one in declared.of_type("AWS::IAM::ManagedPolicy")
        if role in (declared.properties(one) or {}).get("Roles", [])
    }
    try:
        attached = account.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
        inline = account.pages("iam", "list_role_policies", "PolicyNames", RoleName=role)
        found = account.ask("iam", "get_role", RoleName=role)
    except MissingError:
        return  # reported where it is needed
    if attached is None or inline is None or found is None or not wanted:
        return
    there = {one["PolicyArn"] for one in attached}
    name = f"--role-name {role}"
    cures = [f"aws iam attach-role-policy {name} --policy-arn {one}" for one in sorted(wanted - there)]
    cures += [f"aws iam detach-role-policy {name} --policy-arn {one}" for one in sorted(there - wanted)]
    cures += [f"aws iam delete-role-policy {name} --policy-name {one}" for one in inline]
    if "PermissionsBoundary" in found["Role"]:
        cures.append(f"aws iam delete-role-permissions-boundary {name}")
    if cures:
        yield warn(
            "RolePoliciesChanged", role, seen=f"{len(cures)} policies of {logical} were added or taken away by hand",
            expected="what the stack declares", cure="; ".join(cures),
        )  # fmt: skip


def _extra(  # noqa: PLR0917 - one policy and what it should be
    declared: Declared, logical: str, subject: str, what: str, live: Policy, wanted: Policy | None
) -> Iterator[Finding]:
    if wanted is None or (not declared.policy(logical) and "Function" not in logical):
        return
    named = admitted(live)
    for user in sorted(set(named) - set(admitted(wanted))):
        sid = named[user]
        restore = (
            f"aws lambda remove-permission --function-name {subject} --statement-id {sid}"
            if "Function" in logical
            else declared.restore(logical)
        )
        yield fail(
            "UnexpectedPrincipal", subject, seen=f"{what} admits {user}, by the statement {sid!r}",
            expected="whom the stack declares", cure=f"{restore}; then see in CloudTrail who changed it",
        )  # fmt: skip


def _live(account: Account, declared: Declared, kind: str, logical: str) -> Policy | None:
    physical = declared.live.resources[logical]
    match kind:
        case "AWS::KMS::Key":
            found = _ask(account, "kms", "get_key_policy", KeyId=physical, PolicyName="default")
            return None if found is None else read_policy(found["Policy"])
        case "AWS::S3::BucketPolicy":
            found = _ask(account, "s3", "get_bucket_policy", Bucket=declared.live.resources.get("Bucket", ""))
            return None if found is None else read_policy(found["Policy"])
        case "AWS::IAM::Role":
            found = _ask(account, "iam", "get_role", RoleName=physical)
            return None if found is None else read_policy(found["Role"]["AssumeRolePolicyDocument"])
        case _:
            return account.managed_policy(physical)


def _ask(account: Account, service: str, operation: str, **parameters: Any) -> Any:  # noqa: ANN401
    try:
        return account.ask(service, operation, **parameters)
    except MissingError:
        return None
