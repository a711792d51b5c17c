"""Two locks on every key, the key's policy and the role's own: which of them is shut, and by which statement?"""

import json
from collections.abc import Iterator, Mapping

from doctor.account import Key, Role, deleted_principal, denials, may
from doctor.finding import Finding, fail, ok, statement
from grants.policy import EVERYBODY, EVERYTHING, Answer, Policy, Request, Statement, decide, nearly_matching


def check_use(
    role: Role, action: str, key: Key, context: Mapping[str, str], *, what: str, code: str
) -> Iterator[Finding]:
    """Check that a role may use a key, and tell which of its two locks is shut."""
    if role.policies is None:
        return
    if key.policy is None:
        yield from _check_own_lock(role, action, key, context, what=what, code=code)
        return
    if may(role, action, key, context) is not Answer.NO:
        yield ok(f"{code}Admits", key.arn, f"{role.arn} may call {action}")
        return
    request = Request(principal=role.arn, action=action, resource=key.arn, account=key.account, context=context)
    expected, conditions = f"{what}: {action} on {key.arn}", _conditions(context)
    own = f"add to the role's policy: {statement('UseTheKey', '', action, key.arn, **conditions)}"
    theirs = f"add to the policy of {key.arn}: {statement('UseTheKey', role.arn, action, '*', **conditions)}"
    denying = denials(role, action, key, context)
    if denying:
        sid = denying[0].get("Sid", "without Sid")
        yield fail(
            f"{code}Denied", key.arn, seen=f"the statement {sid!r} denies {role.arn} {action}", expected=expected,
            cure=f"take the role out of the statement {sid!r}",
        )  # fmt: skip
    elif decide(request, [EVERYTHING], key.policy) is Answer.NO:
        near = nearly_matching(request, key.policy)
        deleted = deleted_principal(key.policy, action)
        again = (
            f"; it names {deleted}, the id of a deleted role: one of the same name is another one" if deleted else ""
        )
        seen = f"the key policy does not let {role.arn} call {action}{again}"
        yield _shut(f"{code}PolicyDoesNotAdmit", key.arn, seen=seen, near=near, expected=expected, cure=theirs)
    elif decide(request, role.policies, None) is not Answer.NO and role.boundary is not None:
        yield fail(
            f"{code}OutOfBounds", role.arn, seen=f"the role's permissions boundary does not allow {action}",
            expected=expected, cure=own.replace("the role's policy", "the permissions boundary"),
        )  # fmt: skip
    else:
        near = [one for policy in role.policies for one in nearly_matching(request, policy)]
        lacks = f"{code}RoleLacks{action.partition(':')[2]}"
        seen = f"no policy of the role allows {action}, and the key's policy leaves it to them"
        yield _shut(lacks, role.arn, seen=seen, near=near, expected=expected, cure=own)


def _check_own_lock(
    role: Role, action: str, key: Key, context: Mapping[str, str], *, what: str, code: str
) -> Iterator[Finding]:
    """Check the one lock that can be read here: across accounts both have to be open.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
    """
    request = Request(principal=role.arn, action=action, resource=key.arn, account=key.account, context=context)
    assert role.policies is not None
    is_open = decide(request, role.policies, EVERYBODY, *limits_of(role)) is not Answer.NO
    if key.account != role.arn.split(":")[4] and not is_open:
        yield fail(
            f"{code}RoleLacks{action.partition(':')[2]}", role.arn,
            seen=f"no policy of the role allows {action} on a key of another account", expected=f"{what}: {action} on {key.arn}",
            cure=f"add to the role's policy: {statement('UseTheKey', '', action, key.arn, **_conditions(context))}",
        )  # fmt: skip


def _shut(code: str, subject: str, *, seen: str, near: list[Statement], expected: str, cure: str) -> Finding:
    """Distinguish a missing statement from an unmet condition."""
    if not near:
        return fail(code, subject, seen=seen, expected=expected, cure=cure)
    sid, condition = near[0].get("Sid", "without Sid"), json.dumps(near[0].get("Condition", {}))
    return fail(
        f"{code}OnCondition", subject, seen=f"the statement {sid!r} would allow it, but its condition is not met: {condition}",
        expected=expected, cure=f"change the condition of {sid!r}, or {cure}",
    )  # fmt: skip


def _conditions(context: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the conditions that bind a grant to what it is for."""
    bound = {n: value for n, value in context.items() if n.startswith(("kms:ViaService", "kms:EncryptionContext:"))}
    objects = {name: _below(value) for name, value in bound.items() if name.endswith("aws:s3:arn") and "/" in value}
    equal = {name: value for name, value in bound.items() if name not in objects}
    return {"StringEquals": equal} | ({"StringLike": objects} if objects else {})


def _below(objects: str) -> str:
    """Return the pattern of all objects beside one: of its prefix, whatever its date."""
    return f"{objects.partition('/date=')[0] if '/date=' in objects else objects.rpartition('/')[0]}/*"


def limits_of(role: Role) -> list[Policy]:
    """Return the policies that narrow a role."""
    return [] if role.boundary is None else [role.boundary]
