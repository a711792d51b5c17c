"""A destination bucket: is it there, what encrypts by default, and may a role put below a prefix of it?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from doctor.account import Account, Key, MissingError, Role
from doctor.finding import Finding, fail, statement
from doctor.locks import limits_of
from grants.policy import Answer, Policy, Request, decide, matching_statements, read_policy

KEY_HEADER = "s3:x-amz-server-side-encryption-aws-kms-key-id"
ALGORITHM_HEADER = "s3:x-amz-server-side-encryption"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket.

    Attributes:
        arn: Its ARN.
        policy: Its policy, an empty one if it has none; None if it may not be read.
        algorithm: What it encrypts with by default; empty if that may not be read.
        key_id: The key of that; empty without one.
        has_bucket_key: S3 Bucket Keys are on.
        region: Where it is, which may be another Region than the one that is examined.
    """

    arn: str
    policy: Policy | None
    algorithm: str
    key_id: str
    has_bucket_key: bool
    region: str


def read_bucket(account: Account, arn: str) -> Bucket:
    """Read a bucket.

    Raises:
        MissingError: It does not exist.
    """
    name = arn.rpartition(":")[2]
    head = account.ask("s3", "head_bucket", Bucket=name) or {}
    try:
        found = account.ask("s3", "get_bucket_policy", Bucket=name)
        policy = None if found is None else read_policy(found["Policy"])
    except MissingError:
        policy = {"Statement": []}
    algorithm, key_id, has_bucket_key = "", "", False
    try:
        encryption = account.ask("s3", "get_bucket_encryption", Bucket=name)
    except MissingError:
        algorithm = "AES256"
    else:
        if encryption is not None:
            rule = encryption["ServerSideEncryptionConfiguration"]["Rules"][0]
            default = rule.get("ApplyServerSideEncryptionByDefault", {})
            algorithm, key_id = default.get("SSEAlgorithm", "AES256"), default.get("KMSMasterKeyID", "")
            has_bucket_key = bool(rule.get("BucketKeyEnabled"))
    return Bucket(
        arn=arn,
        policy=policy,
        algorithm=algorithm,
        key_id=key_id,
        has_bucket_key=has_bucket_key,
        region=head.get("BucketRegion", account.region),
    )


def default_key(account: Account, bucket: Bucket) -> Key | None:
    """Return the key that encrypts what names none; None if there is none or it may not be read.

    Raises:
        MissingError: The bucket names a key that does not exist.
    """
    return account.key(bucket.key_id) if bucket.key_id else None


def via_s3(bucket: Bucket, path: str) -> dict[str, str]:
    """Return the context of a key that S3 uses for an object; with a Bucket Key it is the bucket's ARN.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
    """
    named = bucket.arn if bucket.has_bucket_key else f"{bucket.arn}/{path}"
    return {"kms:ViaService": f"s3.{bucket.region}.amazonaws.com", "kms:EncryptionContext:aws:s3:arn": named}


def check_put(
    role: Role, bucket: Bucket, prefix: str, headers: Mapping[str, str], *, what: str, code: str
) -> Iterator[Finding]:
    """Check that a role may put below a prefix, and tell who denies it.

    Args:
        role: The role that puts.
        bucket: Where.
        prefix: Below what; with a slash at its end.
        headers: The encryption headers that the put carries, by their condition keys.
        what: What it is for.
        code: What the finding is called.
    """
    if role.policies is None or bucket.policy is None:
        return
    request = Request(
        principal=role.arn, action="s3:PutObject", resource=f"{bucket.arn}/{prefix}x", account=role.arn.split(":")[4],
        context={"s3:ResourceAccount": role.arn.split(":")[4], **headers},
    )  # fmt: skip
    if decide(request, role.policies, bucket.policy, *limits_of(role)) is not Answer.NO:
        return
    by_bucket = matching_statements(request, bucket.policy, "Deny")
    by_role = [
        one for policy in (*role.policies, *limits_of(role)) for one in matching_statements(request, policy, "Deny")
    ]
    if by_bucket:
        sid = by_bucket[0].get("Sid", "without Sid")
        yield fail(
            f"{code}DeniedByBucket", bucket.arn, seen=f"{what}: the bucket policy's statement {sid!r} denies the put",
            expected=f"{role.arn} puts below {prefix or 'the bucket'}",
            cure=f"let the statement {sid!r} except this prefix, or the request that it denies",
        )  # fmt: skip
    elif by_role:
        sid = by_role[0].get("Sid", "without Sid")
        yield fail(
            f"{code}DeniedByRole", role.arn, seen=f"{what}: the statement {sid!r} of its policies denies the put",
            expected=f"s3:PutObject below {bucket.arn}/{prefix}", cure=f"take the prefix out of the statement {sid!r}",
        )  # fmt: skip
    elif role.boundary is not None and decide(request, role.policies, bucket.policy) is not Answer.NO:
        yield fail(
            f"{code}OutOfBounds", role.arn, seen=f"{what}: its permissions boundary does not allow the put",
            expected=f"s3:PutObject below {bucket.arn}/{prefix}",
            cure=f"add to the boundary: {statement('Put', '', 's3:PutObject', f'{bucket.arn}/{prefix}*')}",
        )  # fmt: skip
    else:
        yield fail(
            f"{code}NotAllowed", role.arn, seen=f"{what}: no policy lets it put below {bucket.arn}/{prefix}",
            expected=f"s3:PutObject below {bucket.arn}/{prefix}",
            cure=f"add to the role's policy: {statement('Put', '', 's3:PutObject', f'{bucket.arn}/{prefix}*')}",
        )  # fmt: skip
