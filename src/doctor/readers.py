"""The readers of a stack: may each one really fetch, list and decrypt what its parameter promises?"""

from collections.abc import Iterator, Mapping

from doctor.account import Account, Key, MissingError, Role
from doctor.declared import Declared
from doctor.finding import Finding, fail
from doctor.locks import check_use, limits_of
from grants.policy import Answer, Policy, Request, decide, read_policy
from grants.stack import ARCHIVE, ARCHIVE_KEY
from routing.table.routes import RouteTable, logical_id


def check_readers(
    account: Account, declared: Declared, table: RouteTable, keys: Mapping[str, Key]
) -> Iterator[Finding]:
    """Check every role that a `ReadersOf...` parameter names."""
    live = declared.live
    prefixes = {f"ReadersOf{logical_id(route.name)}": (str(route.name), route.prefix) for route in table.routes}
    prefixes |= {"ReadersOfArchive": (ARCHIVE_KEY, ARCHIVE)} if ARCHIVE_KEY in keys else {}
    for parameter, (name, prefix) in prefixes.items():
        for reader in filter(None, (one.strip() for one in live.parameters.get(parameter, "").split(","))):
            if reader.split(":")[4] != account.identify():
                yield fail(
                    "ReaderOfAnotherAccount", reader, seen=f"{parameter} names a role of another account, which no policy admits",
                    expected=f"a role of this account that {reader.split(':')[4]} may assume",
                    cure="make such a role, name it instead, and deploy (docs/deploy.md)",
                )  # fmt: skip
            elif ":role/" in reader:  # policies of users are not looked at
                yield from _check_reader(account, declared, reader, name, prefix, keys.get(name))


def _check_reader(  # noqa: PLR0917 - one reader of one prefix
    account: Account, declared: Declared, reader: str, name: str, prefix: str, key: Key | None
) -> Iterator[Finding]:
    policy = f"{logical_id(name)}ReaderPolicy"
    attach = (
        f"aws iam attach-role-policy --role-name {reader.rpartition('/')[2]} "
        f"--policy-arn {declared.live.resources.get(policy, policy)}"
    )
    try:
        role = account.role(reader)
    except MissingError:
        yield fail(
            "ReaderMissing", reader, seen=f"the reader of {prefix}/ does not exist", expected="a role of this account",
            cure=f"create it, then {attach}; or take it out of the parameter",
        )  # fmt: skip
        return
    if role is None or role.policies is None:
        return
    bucket = f"arn:{account.partition}:s3:::{declared.live.resources.get('Bucket', '')}"
    context = {"aws:SecureTransport": "true", "s3:ResourceAccount": account.identify()}
    fetch = _request(account, role, "s3:GetObject", f"{bucket}/{prefix}/date=2026-03-02/x.ndjson.gz", context)
    names = _request(account, role, "s3:ListBucket", bucket, {**context, "s3:prefix": f"{prefix}/"})
    of_bucket = _bucket_policy(account, declared.live.resources.get("Bucket", ""))
    for request in (fetch, names):
        if of_bucket is not None and decide(request, role.policies, of_bucket, *limits_of(role)) is Answer.NO:
            yield fail(
                "ReaderNotAdmitted", reader, seen=f"may not call {request.action} below {prefix}/",
                expected=f"{policy} attached, unchanged, and no denial", cure=f"{attach}; {declared.restore(policy)}",
            )  # fmt: skip
    if key is not None:
        objects = {
            "kms:ViaService": f"s3.{account.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": f"{bucket}/{prefix}/date=2026-03-02/x.ndjson.gz",
            "kms:CallerAccount": account.identify(),
        }
        what = f"{reader} reads {prefix}/"
        restore = declared.restore(f"{logical_id(name)}Key")
        for finding in check_use(role, "kms:Decrypt", key, objects, what=what, code="Reader"):
            if finding.severity:
                from_policy = "RoleLacks" in finding.code
                cure = f"{attach}; {declared.restore(policy)}" if from_policy else restore
                yield fail(finding.code, finding.subject, seen=finding.seen, expected=finding.expected, cure=cure)


def _request(account: Account, role: Role, action: str, resource: str, context: Mapping[str, str]) -> Request:
    return Request(principal=role.arn, action=action, resource=resource, account=account.identify(), context=context)


def _bucket_policy(account: Account, bucket: str) -> Policy | None:
    try:
        found = account.ask("s3", "get_bucket_policy", Bucket=bucket)
    except MissingError:
        return {"Statement": []}
    return None if found is None else read_policy(found["Policy"])
