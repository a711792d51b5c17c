"""The settings of the stack's bucket that nothing refuses when they are wrong.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from doctor.account import Account, MissingError
from doctor.declared import Declared
from doctor.finding import Finding, fail, warn


def check_bucket_settings(account: Account, declared: Declared) -> Iterator[Finding]:
    """Check versions, expiration, replication and public access."""
    bucket = declared.live.resources.get("Bucket", "")
    try:
        versioning = account.ask("s3", "get_bucket_versioning", Bucket=bucket)
    except MissingError:
        return  # reported with its encryption
    if versioning is not None and versioning.get("Status") != "Enabled":
        yield fail(
            "BucketKeepsNoVersions", bucket, seen=f"versioning is {versioning.get('Status', 'off')}",
            expected="Enabled: a replaced object can be restored for thirty days",
            cure=f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        )  # fmt: skip
    yield from _check_expiration(account, declared, bucket)
    if _answer(account, "get_bucket_replication", bucket):
        yield fail(
            "BucketReplicates", bucket, seen="the bucket replicates its objects to another one", expected="no replication",
            cure=f"aws s3api delete-bucket-replication --bucket {bucket}",
        )  # fmt: skip
    try:
        block = (account.ask("s3", "get_public_access_block", Bucket=bucket) or {}).get(
            "PublicAccessBlockConfiguration"
        )
    except MissingError:
        block = {"anything": False}
    if block is not None and not all(block.values()):
        every = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
        yield fail(
            "PublicAccessNotBlocked", bucket, seen=f"not blocked: {', '.join(n for n, on in block.items() if not on)}",
            expected="all public access blocked",
            cure=f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration {every}",
        )  # fmt: skip


def _check_expiration(account: Account, declared: Declared, bucket: str) -> Iterator[Finding]:
    """Find rules that expire current objects and that the stack does not declare."""
    try:
        answer = account.ask("s3", "get_bucket_lifecycle_configuration", Bucket=bucket)
    except MissingError:
        answer = {}
    if answer is None:
        return  # reported as unknown: nothing follows from it
    found = answer.get("Rules", [])
    properties = declared.properties("Bucket") or {}
    ours = properties.get("LifecycleConfiguration", {}).get("Rules", [])
    known = {rule.get("Id") for rule in ours}
    odd = [
        rule.get("ID", "without ID")
        for rule in found
        if rule.get("Status") == "Enabled"
        and {"Days", "Date"} & set(rule.get("Expiration", {}))
        and rule.get("ID") not in known
    ]
    if odd:
        yield fail(
            "ObjectsExpire", bucket, seen=f"lifecycle rules expire what is delivered: {', '.join(odd)}",
            expected="only rules of the stack",
            cure=_restore(bucket, ours),
        )  # fmt: skip
    yield from _check_days(account, declared, bucket, found, ours)


def _check_days(
    account: Account,
    declared: Declared,
    bucket: str,
    found: Iterable[Mapping[str, Any]],
    ours: Iterable[Mapping[str, Any]],
) -> Iterator[Finding]:
    """Find what expires later or earlier than the stack declares, and what expires before the stream forgets it."""
    live = {rule.get("ID"): rule for rule in found if rule.get("Status") == "Enabled"}
    declared_days = {rule["Id"]: int(rule["ExpirationInDays"]) for rule in ours if "ExpirationInDays" in rule}
    differing = [
        f"{name}: {live.get(name, {}).get('Expiration', {}).get('Days', 'never')} instead of {days} days"
        for name, days in declared_days.items()
        if live.get(name, {}).get("Expiration", {}).get("Days") != days
    ]
    differing += [
        f"{rule['Id']}: another prefix or other days than declared"
        for rule in ours
        if rule["Id"] in live and _effect(live[rule["Id"]]) != _effect(_as_api(rule))
    ]
    if differing:
        yield fail(
            "RetentionDiffers", bucket, seen=f"objects expire at another time: {', '.join(differing)}",
            expected="the retain_days of routes.toml",
            cure=_restore(bucket, ours),
        )  # fmt: skip
    stream = declared.live.resources.get("Stream", "")
    try:
        summary = account.ask("kinesis", "describe_stream_summary", StreamName=stream)
    except MissingError:
        return  # reported with the stream
    hours = 0 if summary is None else int(summary["StreamDescriptionSummary"]["RetentionPeriodHours"])
    early = sorted(name for name, days in declared_days.items() if days * 24 <= hours)
    if early:
        yield warn(
            "ExpiresBeforeTheStream", bucket, seen=f"{', '.join(early)} removes objects whose records the stream still holds",
            expected=f"more than the stream's {hours} hours; a replay of the stream would deliver them again",
            cure="raise retain_days in routes.toml, or lower StreamRetentionHours, and run make deploy",
        )  # fmt: skip


def _restore(bucket: str, ours: Iterable[Mapping[str, Any]]) -> str:
    """Return the command that puts the declared lifecycle rules back."""
    made = json.dumps({"Rules": [_as_api(rule) for rule in ours]})
    return f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration '{made}'"


def _effect(rule: Mapping[str, Any]) -> tuple[str, object, object]:
    """Return what a rule of the API removes, and when."""
    prefix = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix", "")
    old = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    return prefix, rule.get("Expiration", {}).get("Days"), old


def _as_api(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule of a template as the API spells it."""
    renamed = {"Id": "ID", "ExpirationInDays": "Expiration"}
    made: dict[str, Any] = {renamed.get(name, name): value for name, value in rule.items()}
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "ExpiredObjectDeleteMarker" in rule:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": made.pop("ExpiredObjectDeleteMarker")}
    return {"Filter": {"Prefix": rule.get("Prefix", "")}, **{name: v for name, v in made.items() if name != "Prefix"}}


def _answer(account: Account, operation: str, bucket: str) -> Any:  # noqa: ANN401 - one shape per operation
    """Ask for a setting; None if there is none, or it may not be read."""
    try:
        return account.ask("s3", operation, Bucket=bucket)
    except MissingError:
        return None
