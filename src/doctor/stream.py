"""The stream: is it encrypted, is its key alive, and may Connect encrypt with it?

This is where Connect falls silent: a refused `GenerateDataKey` is no error anywhere, records just do not come.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from doctor.account import Account, Key, MissingError, deleted_principal, grants_of
from doctor.connect import Instance
from doctor.finding import Finding, fail, ok, statement, warn
from grants.policy import (
    Answer,
    Policy,
    Request,
    Statement,
    decide,
    like,
    matching_statements,
    nearly_matching,
    principals,
    read_policy,
    statements,
)

_ENCRYPT = "kms:GenerateDataKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A data stream.

    Attributes:
        arn: Its ARN.
        status: `ACTIVE` or another.
        retention_hours: How long it keeps a record.
        key_id: The key that encrypts it, as it was given; empty without encryption.
        key: That key; None if there is none, or if it may not be read.
    """

    arn: str
    status: str
    retention_hours: int
    key_id: str
    key: Key | None

    @property
    def context(self) -> dict[str, str]:
        """The condition keys of a request that Kinesis makes to KMS for a caller."""
        region, account = self.arn.split(":")[3:5]
        return {
            "kms:ViaService": f"kinesis.{region}.amazonaws.com",
            "kms:EncryptionContext:aws:kinesis:arn": self.arn,
            "kms:CallerAccount": account,
        }

    def resource_policy(self, account: Account) -> Policy | None:
        """Return the stream's own policy, if it has one and it may be read."""
        try:
            found = account.ask("kinesis", "get_resource_policy", ResourceARN=self.arn)
        except MissingError:
            return None
        return read_policy(found["Policy"]) if found and found.get("Policy") else None


def read_stream(account: Account, arn: str) -> Stream | None:
    """Read a stream; None if it may not be read.

    Raises:
        MissingError: It does not exist.
    """
    described = account.ask("kinesis", "describe_stream_summary", StreamName=arn.rpartition("/")[2])
    if described is None:
        return None
    summary = described["StreamDescriptionSummary"]
    key_id = summary.get("KeyId", "") if summary.get("EncryptionType") == "KMS" else ""
    try:
        key = account.key(key_id) if key_id else None
    except MissingError:
        key = None
    return Stream(
        arn=summary["StreamARN"],
        status=summary["StreamStatus"],
        retention_hours=summary["RetentionPeriodHours"],
        key_id=key_id,
        key=key,
    )


def check_stream(
    stream: Stream, account: Account, instances: Sequence[Instance], own_key: str = "KEY_ARN"
) -> Iterator[Finding]:
    """Check encryption, key and Connect's right to use it.

    Args:
        stream: The stream.
        account: The account to examine.
        instances: All that send to it.
        own_key: The key that a stack of ours has for it; the default stands for one to choose.
    """
    if stream.status not in {"ACTIVE", "UPDATING"}:
        yield fail(
            "StreamNotActive", stream.arn, seen=stream.status, expected="ACTIVE", cure="wait, or create it again"
        )
    if not stream.key_id:
        yield warn(
            "StreamNotEncrypted", stream.arn, seen="no server-side encryption", expected="a customer managed key",
            cure=f"admit Connect to a key first, then: aws kinesis start-stream-encryption --encryption-type KMS "
                 f"--stream-arn {stream.arn} --key-id {own_key}",
        )  # fmt: skip
        return
    key = stream.key
    if key is None:
        if not any(finding.subject == stream.key_id for finding in account.unreadable):
            yield fail(
                "StreamKeyMissing", stream.key_id, seen="there is no such key in this account and Region",
                expected="the key that encrypts the stream",
                cure=f"aws kinesis start-stream-encryption --encryption-type KMS --stream-arn {stream.arn} --key-id {own_key}",
            )  # fmt: skip
        return
    if not key.is_customers:
        yield warn(
            "StreamUnderAwsManagedKey", key.arn, seen="a key that AWS manages (aws/kinesis)",
            expected="a customer managed key, whose use can be granted and revoked",
            cure=f"aws kinesis start-stream-encryption --encryption-type KMS --stream-arn {stream.arn} --key-id {own_key}",
        )  # fmt: skip
        return
    yield from check_key_state(key, "StreamKey", f"the stream {stream.arn}")
    for instance in instances:
        if instance.role and instance.kinds_to(stream.arn):
            yield from check_connect_may_put(account, stream, instance)
            yield from _check_connect_may_encrypt(stream, key, instance)
    yield from check_rotation(account, key, f"the stream {stream.arn}")


def check_key_state(key: Key, code: str, of: str) -> Iterator[Finding]:
    """Check that a key can be used at all."""
    if key.state == "Enabled":
        yield ok(f"{code}Enabled", key.arn, f"the key of {of} is enabled")
    elif key.state == "PendingDeletion":
        yield fail(
            f"{code}PendingDeletion", key.arn, seen="the key is about to be deleted, and with it all that it encrypts",
            expected=f"the key of {of} enabled",
            cure=f"aws kms cancel-key-deletion --key-id {key.id} && aws kms enable-key --key-id {key.id}",
        )  # fmt: skip
    elif key.state == "Disabled":
        yield fail(
            f"{code}Disabled", key.arn, seen="the key is disabled", expected=f"the key of {of} enabled",
            cure=f"aws kms enable-key --key-id {key.id}",
        )  # fmt: skip
    else:
        yield fail(
            f"{code}NotUsable", key.arn, seen=f"key state {key.state}", expected=f"the key of {of} enabled",
            cure="https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html",
        )  # fmt: skip


def check_rotation(account: Account, key: Key, of: str) -> Iterator[Finding]:
    """Check that a key is made anew each year; a disabled one cannot be asked."""
    if key.state != "Enabled" or not key.is_customers:
        return
    rotation = account.ask("kms", "get_key_rotation_status", KeyId=key.arn)
    if rotation is not None and not rotation["KeyRotationEnabled"] and not key.is_replica:
        yield warn(
            "KeyNotRotated", key.arn, seen=f"the key of {of} does not rotate", expected="yearly rotation",
            cure=f"unless its material is imported: aws kms enable-key-rotation --key-id {key.id}",
        )  # fmt: skip


def _check_connect_may_encrypt(stream: Stream, key: Key, instance: Instance) -> Iterator[Finding]:
    if key.policy is None or key.grants is None:
        return  # reported as NotReadable: without both nothing can be decided
    grants = list(grants_of(key, instance.role, _ENCRYPT, stream.context))
    associations = [one.kind for one in instance.storage if one.key == key.arn]
    denials = matching_statements(_request(stream, key, instance), key.policy, "Deny")
    bare, full = (_by_policy(stream, key, instance, with_context=known) for known in (False, True))
    missing = statement("ConnectEncrypts", instance.role, _ENCRYPT, "*")
    admit = f"add to the policy of {key.arn}: {missing}; that is: {_put_with(key, missing, denials)}"
    expected = f"{instance.role} may call {_ENCRYPT} on the stream's key"
    if denials and Answer.YES not in {bare, full}:
        sid = denials[0].get("Sid", "without Sid")
        yield fail(
            "StreamKeyDeniesConnect", key.arn, seen=f"the key policy's statement {sid!r} denies it", expected=expected,
            cure=f"take Connect's role out of the statement {sid!r}; {admit}",
        )  # fmt: skip
    elif bare is Answer.YES:
        yield ok("StreamKeyAdmitsConnect", key.arn, f"the key policy lets {instance.role} call {_ENCRYPT}")
    elif grants and associations:
        yield warn(
            "StreamKeyGrantedByAssociation", key.arn,
            seen=f"Connect encrypts by grant {grants[0]['GrantId'][:12]}..., which hangs on its storage of "
                 f"{', '.join(associations)}: disassociating that would stop the stream in silence",
            expected="a statement of the key policy, which no association takes away", cure=admit,
        )  # fmt: skip
    elif grants:
        yield warn(
            "StreamKeyGrantedByHand", key.arn, seen="Connect encrypts by a grant that no storage config explains",
            expected="a statement of the key policy", cure=admit,
        )  # fmt: skip
    elif Answer.MAYBE in {bare, full} or full is Answer.YES:
        yield warn(
            "StreamKeyAdmitsConnectOnConditions", key.arn,
            seen="the key policy admits Connect on conditions that AWS does not document for its requests",
            expected="the documented statement, without conditions", cure=admit,
        )  # fmt: skip
    else:
        yield _not_granted(key, instance, expected, admit)


def _put_with(key: Key, missing: str, denials: Sequence[Statement]) -> str:
    """Return the command that gives a key its policy with one more statement, and without those that deny it.

    KMS refuses the names of deleted roles, so what names one is left out.
    """
    assert key.policy is not None
    kept = [
        one
        for one in statements(key.policy)
        if one not in denials and not any(like("AROA*", name) or like("AIDA*", name) for name in principals(one))
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [*kept, json.loads(missing)]})
    return f"aws kms put-key-policy --key-id {key.id} --policy-name default --policy '{policy}'"


def _not_granted(  # noqa: PLR0911 - one cause after the other
    key: Key, instance: Instance, expected: str, admit: str
) -> Finding:
    """Name the trap: nothing arrives, and nothing says so."""
    assert key.policy is not None
    named = [one for one in statements(key.policy) if "Principal" in one]
    deleted = deleted_principal(key.policy)
    storage = [one for one in instance.storage if one.key]
    if deleted:
        return fail(
            "StreamKeyNamesDeletedRole", key.arn, seen=f"the key policy names {deleted}, the id of a deleted role",
            expected=expected, cure=f"the role was made anew and is another one now; {admit}",
        )  # fmt: skip
    others = [one for one in key.grants or [] if one.get("GranteePrincipal") == instance.role]
    if others:
        operations = sorted({operation for one in others for operation in one["Operations"]})
        if _ENCRYPT.partition(":")[2] in operations:
            constraints = json.dumps([one.get("Constraints", {}) for one in others])
            return fail(
                "StreamKeyGrantForAnotherContext", key.arn, seen=f"Connect's grant is for another stream: {constraints}",
                expected=expected, cure=admit,
            )  # fmt: skip
        return fail(
            "StreamKeyGrantTooSmall", key.arn, seen=f"Connect's grant covers {', '.join(operations)} only",
            expected=expected, cure=admit,
        )  # fmt: skip
    request = _request_for(key, instance)
    if near := [one for one in nearly_matching(request, key.policy) if one.get("Condition")]:
        sid, condition = near[0].get("Sid", "without Sid"), json.dumps(near[0].get("Condition", {}))
        return fail(
            "StreamKeyConditionOnConnect", key.arn,
            seen=f"the statement {sid!r} would admit Connect, but its condition is not met: {condition}",
            expected=expected, cure=admit,
        )  # fmt: skip
    if any("aws-service-role/connect.amazonaws.com" in str(one["Principal"]) for one in named):
        return fail(
            "StreamKeyAdmitsAnotherConnect", key.arn,
            seen="the key policy names a Connect role that is not this instance's, or another action",
            expected=expected, cure=admit,
        )  # fmt: skip
    if any(one.key == key.arn for one in storage):
        return fail(
            "StreamKeyGrantGone", key.arn,
            seen="the key belongs to a storage config, and the grant that the association makes is gone",
            expected=expected, cure=f"associate that storage again, or better: {admit}",
        )  # fmt: skip
    recordings = next((one for one in storage if one.kind in {"CALL_RECORDINGS", "SCHEDULED_REPORTS"}), None)
    reuse = (
        f"or encrypt the stream with the key of {recordings.kind}, where a grant exists: {recordings.key}"
        if recordings
        else "or encrypt the stream with the key of the call recordings or reports, where a grant would exist"
    )
    return fail(
        "StreamKeyNotGranted", key.arn,
        seen="Connect may not use the key: no statement, no grant, and it is the key of no storage config. "
             "Connect delivers nothing, and reports no error",
        expected=expected, cure=f"{admit}; {reuse}",
    )  # fmt: skip


def _by_policy(stream: Stream, key: Key, instance: Instance, *, with_context: bool) -> Answer:
    request = _request(stream, key, instance, with_context=with_context)
    return decide(request, [], key.policy)


def _request_for(key: Key, instance: Instance) -> Request:
    return Request(principal=instance.role, action=_ENCRYPT, resource=key.arn, account=key.account)


def check_connect_may_put(account: Account, stream: Stream, instance: Instance) -> Iterator[Finding]:
    """Check that nothing denies Connect the put itself: its role's policies, or the stream's own.

    Source: https://docs.aws.amazon.com/connect/latest/adminguide/connect-slr.html
    """
    try:
        role = account.role(instance.role)
    except MissingError:
        return  # reported with the instance
    if role is None or role.policies is None:
        return
    request = Request(
        principal=role.arn, action="kinesis:PutRecord", resource=stream.arn, account=stream.arn.split(":")[4]
    )
    policy = stream.resource_policy(account)
    denying = [
        one
        for each in (*role.policies, *([policy] if policy else []))
        for one in matching_statements(request, each, "Deny")
    ]
    if denying:
        sid = denying[0].get("Sid", "without Sid")
        yield fail(
            "ConnectDeniedTheStream", stream.arn, seen=f"the statement {sid!r} denies Connect kinesis:PutRecord",
            expected=f"{instance.role} may put records", cure=f"take Connect's role out of the statement {sid!r}",
        )  # fmt: skip


def _request(stream: Stream, key: Key, instance: Instance, *, with_context: bool = True) -> Request:
    """What Connect asks for; only the encryption context is documented, and for Kinesis in general."""
    context = stream.context if with_context else {}
    return Request(principal=instance.role, action=_ENCRYPT, resource=key.arn, account=key.account, context=context)
