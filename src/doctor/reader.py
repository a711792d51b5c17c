"""A role that reads a stream: who may take it, may it read, and may it decrypt?"""

from collections.abc import Iterator, Mapping

from doctor.account import Account, MissingError, Role
from doctor.finding import Finding, fail, statement
from doctor.locks import check_use, limits_of
from doctor.stream import Stream
from grants.policy import Answer, Request, decide, matching_statements


def read_role(account: Account, arn: str, *, what: str) -> Iterator[Finding | Role]:
    """Return a role, or the finding that it does not exist; nothing if it may not be read."""
    try:
        role = account.role(arn)
    except MissingError:
        yield fail(
            "RoleMissing", arn, seen="the role does not exist", expected=what,
            cure="create it, or point its user at a role that exists",
        )  # fmt: skip
        return
    if role is not None:
        yield role


def check_trust(role: Role, service: str, context: Mapping[str, str]) -> Iterator[Finding]:
    """Check that a service may take a role."""
    account = role.arn.split(":")[4]
    request = Request(
        principal=service, action="sts:AssumeRole", resource=role.arn, account=account,
        context={"aws:SourceAccount": account, "sts:ExternalId": account, **context},
    )  # fmt: skip
    if decide(request, [], role.trust) is Answer.NO:
        yield fail(
            "RoleNotTrusting", role.arn, seen=f"its trust policy does not let {service} take it",
            expected=f"sts:AssumeRole for {service}",
            cure=f'aws iam update-assume-role-policy --role-name {role.arn.rpartition("/")[2]} --policy-document '
                 f'\'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{service}"}},'
                 f'"Action":"sts:AssumeRole"}}]}}\'',
        )  # fmt: skip


def check_reading(
    account: Account, stream: Stream, role: Role, actions: tuple[str, ...], *, what: str
) -> Iterator[Finding]:
    """Check that a role may read the stream and decrypt it."""
    if role.policies is None:
        return
    policy = stream.resource_policy(account)
    refused, denying = [], []
    for action in actions:
        request = Request(principal=role.arn, action=action, resource=stream.arn, account=stream.arn.split(":")[4])
        if decide(request, role.policies, policy, *limits_of(role)) is Answer.NO:
            refused.append(action)
            everywhere = (*role.policies, *limits_of(role), *([policy] if policy else []))
            denying += [one for one in everywhere for one in matching_statements(request, one, "Deny")]
    if denying:
        sid = denying[0].get("Sid", "without Sid")
        yield fail(
            "RoleMayNotReadStream", role.arn, seen=f"the statement {sid!r} denies {', '.join(refused)}",
            expected=f"{what}: {', '.join(actions)}", cure=f"take the stream out of the statement {sid!r}",
        )  # fmt: skip
    elif refused:
        where = "the permissions boundary" if _is_bound(role, stream, refused[0]) else "the role's policy"
        yield fail(
            "RoleMayNotReadStream", role.arn, seen=f"may not call {', '.join(refused)}",
            expected=f"{what}: {', '.join(actions)}",
            cure=f"add to {where}: {statement('ReadTheStream', '', list(actions), stream.arn)}",
        )  # fmt: skip
    if stream.key is not None and stream.key.is_customers:
        yield from check_use(role, "kms:Decrypt", stream.key, stream.context, what=what, code="StreamKey")


def _is_bound(role: Role, stream: Stream, action: str) -> bool:
    request = Request(principal=role.arn, action=action, resource=stream.arn, account=stream.arn.split(":")[4])
    return role.boundary is not None and decide(request, role.policies or [], None) is not Answer.NO
