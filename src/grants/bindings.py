"""The rows that every prefix with a writer has: key and prefix bind each other, and each lock holds alone."""

from collections.abc import Iterator

from grants.principals import Principal, Principals
from grants.requests import Requests
from grants.row import DEFAULT_KEY_POLICY, NO_BUCKET_POLICY, Row, Section
from grants.stack import Stack
from routing.table.routes import Route

_ENCRYPT = "kms:GenerateDataKey"


def bindings(section: Section, stack: Stack, key: str, prefix: str, other: Route) -> Iterator[Row]:
    """Return the rows of a prefix that the function writes.

    Args:
        section: Where they belong.
        stack: The stack whose grants are described.
        key: The name of the prefix's key.
        prefix: The prefix.
        other: Any other route.
    """
    ask, who = Requests(stack), Principals(stack)
    function = who.function
    yield from key_alone(section, ask, function, key=key, actions=_ENCRYPT, prefix=prefix, elsewhere=other.prefix)
    yield from role_alone(section, ask, function, key=key, actions=_ENCRYPT, prefix=prefix, other=other)
    loose = NO_BUCKET_POLICY
    yield section.may_not(function, ask.put(prefix, other.name), "its own policy: this key only", loose)
    yield section.may_not(function, ask.put(prefix, None), "its own policy: a key, and this one", loose)
    yield section.may_not(function, ask.put(prefix, key, bucket=OTHER_BUCKET), "its own policy: this bucket", loose)
    yield section.may_not(function, ask.put(prefix, key, action="s3:ReplicateObject"), "its own policy: puts", loose)
    yield section.may_not(
        function, ask.objects("s3:DeleteObject s3:GetObjectVersion", prefix), "and nothing else", loose
    )
    away = ask.objects("s3:GetObject s3:PutObject", prefix, bucket=OTHER_BUCKET)
    yield section.may_not(function, away, "no other bucket")
    yield section.may_not(
        who.administrator, ask.via_s3(_ENCRYPT, key, prefix), "only the writers encrypt under the key"
    )
    managed = stack.here("kms", "alias/aws/s3")
    own = ask.put(prefix, key)
    yield section.may(who.administrator, own, "S3 lets administrators; without the key nothing is stored")
    for caller in everybody(stack):
        yield section.may_not(caller, ask.put(prefix, other.name), "the bucket: no other key than the prefix's")
        yield section.may_not(caller, ask.put(prefix, None), "the bucket: no put that names no key")
        yield section.may_not(caller, ask.put(prefix, "aws/s3", algorithm="AES256"), "the bucket: no SSE-S3")
        yield section.may_not(
            caller, ask.put(prefix, "own", algorithm="SSE-C"), "the bucket: no key of the caller's own"
        )
        yield section.may_not(caller, ask.put(prefix, managed), "the bucket: aws:kms without a key means aws/s3")
        blind = ask.put(prefix, key, write="overwrites")
        yield section.may_not(caller, blind, "the bucket: no put that could undo a newer one")


def key_alone(
    section: Section, ask: Requests, caller: Principal, *, key: str, actions: str, prefix: str, elsewhere: str
) -> Iterator[Row]:
    """Return rows where the key's policy holds alone, since the role may do everything."""
    bold, nothing = caller.given_everything(), caller.given_nothing()
    yield section.may_not(bold, ask.via_s3(actions, key, elsewhere), "the key serves its prefix only")
    yield section.may_not(bold, ask.direct_for(actions, key, prefix), "the key serves through S3 only")
    yield section.may_not(bold, ask.for_bucket(actions, key), "the key serves no Bucket Key")
    yield section.may_not(bold, ask.without_context(actions, key), "the key serves nothing without a context")
    yield section.may_not(
        bold, ask.via_s3("kms:CreateGrant kms:Encrypt kms:ReEncryptFrom", key, prefix), "and nothing else"
    )
    yield section.may_not(nothing, ask.via_s3(actions, key, prefix), "two locks: the key policy alone admits no role")


def role_alone(
    section: Section, ask: Requests, caller: Principal, *, key: str, actions: str, prefix: str, other: Route
) -> Iterator[Row]:
    """Return rows where the role's policy holds alone, since the key leaves it to IAM."""
    loose = DEFAULT_KEY_POLICY
    yield section.may_not(caller, ask.via_s3(actions, key, other.prefix), "its own policy: this prefix only", loose)
    yield section.may_not(caller, ask.direct_for(actions, key, prefix), "its own policy: through S3 only", loose)
    yield section.may_not(caller, ask.via_s3(actions, other.name, prefix), "its own policy: this key only", loose)
    yield section.may_not(caller, ask.for_bucket(actions, key), "its own policy: no Bucket Key", loose)
    yield section.may_not(caller, ask.without_context(actions, key), "its own policy: nothing without a context", loose)
    not_granted = {"kms:CreateGrant", "kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"} - set(actions.split())
    rest = ask.via_s3(" ".join(sorted(not_granted)), key, prefix)
    yield section.may_not(caller, rest, "its own policy: nothing else", loose)


def readers_locks(
    section: Section, ask: Requests, reader: Principal, *, key: str, prefix: str, other: Route
) -> Iterator[Row]:
    """Return rows where the policy that is attached to a reader holds alone, and where its entry in a parameter does."""
    loose = DEFAULT_KEY_POLICY
    nothing = reader.given_nothing()
    yield section.may_not(
        nothing, ask.via_s3("kms:Decrypt", key, prefix), "two locks: the key policy alone admits no reader"
    )
    yield section.may_not(reader, ask.via_s3("kms:Decrypt", key, other.prefix), "its policy: this prefix only", loose)
    yield section.may_not(reader, ask.direct_for("kms:Decrypt", key, prefix), "its policy: through S3 only", loose)
    yield section.may_not(reader, ask.via_s3("kms:Decrypt", other.name, prefix), "its policy: this key only", loose)
    yield section.may_not(reader, ask.for_bucket("kms:Decrypt", key), "its policy: no Bucket Key", loose)
    yield section.may_not(reader, ask.without_context("kms:Decrypt", key), "its policy: with the context", loose)
    rest = ask.via_s3("kms:CreateGrant kms:Encrypt kms:GenerateDataKey", key, prefix)
    yield section.may_not(reader, rest, "its policy: it only decrypts", loose)
    away = ask.objects("s3:GetObject", prefix, bucket=OTHER_BUCKET)
    yield section.may_not(reader, away, "no other bucket")
    yield section.may_not(reader, ask.names(prefix, bucket=OTHER_BUCKET), "no other bucket")
    yield section.may_not(reader, ask.bucket("s3:PutBucketPolicy s3:DeleteBucket"), "and nothing of the bucket itself")


def everybody(stack: Stack) -> list[Principal]:
    """Return who might put something, all with every right in IAM: what holds for them holds for anybody."""
    who = Principals(stack)
    roles = [who.function, *([who.replay] if stack.has_replay else []), *([who.archive] if stack.has_archive else [])]
    roles += [who.erase] if stack.has_erasure else []
    roles += [who.convert] if stack.has_columns else []
    return [who.administrator, *(role.given_everything() for role in roles)]


OTHER_BUCKET = "arn:aws:s3:::another-bucket"
