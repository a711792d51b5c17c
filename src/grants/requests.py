"""Requests as AWS sees them: an action, a resource, and the context keys that each service sends along.

What a service puts into the context is what the conditions of the policies look at, so each key here has
its source. Requests to KMS that S3 or Kinesis make for a caller come with the caller's identity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from grants.stack import RESULTS_KEY, STREAM_KEY, Stack
from routing.protection.sealing import BOUND_TO_ROUTE, BOUND_TO_STACK

type Write = Literal["creates", "replaces", "overwrites"]

_SECURE = {"aws:SecureTransport": "true"}
# The object's first name below any prefix; what counts is the prefix.
_OBJECT = "date=2026-03-02/x.ndjson.gz"


@dataclass(frozen=True, slots=True)
class Request:
    """One authorization that AWS decides, or several alike.

    Attributes:
        actions: IAM actions, e.g. `("kms:Decrypt",)`.
        resource: The ARN that it is about.
        on: The resource for people, e.g. `departments/orders/`.
        how: What the conditions look at, for people, e.g. `via S3, for departments/orders/`.
        context: Context keys and their values.
    """

    actions: tuple[str, ...]
    resource: str
    on: str
    how: str = ""
    context: Mapping[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes the requests of one stack."""

    stack: Stack

    def put(
        self,
        prefix: str,
        key: str | None,
        *,
        action: str = "s3:PutObject",
        write: Write = "creates",
        algorithm: str = "aws:kms",
        names_key: bool = True,
        secure: bool = True,
        bucket: str = "",
    ) -> Request:
        """Put an object below a prefix.

        Args:
            prefix: Where.
            action: Replication puts as well, with the same headers.
            key: The name of the key in the header, or the ARN of a foreign one; None sends no header.
            write: On the condition that nothing is there, that it replaces what was seen, or on none.
            algorithm: The encryption header; `AES256` is SSE-S3, `SSE-C` a key of the caller's.
            names_key: False for the header `aws:kms` without a key, which means the account's managed key.
            secure: False for plain HTTP.
            bucket: Another one.

        Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
        """
        context: dict[str, str | list[str]] = self._bucket_context(secure=secure)
        named = {"aws:kms": f"{key} key", "AES256": "SSE-S3", "SSE-C": "SSE-C", "aws:kms:dsse": "DSSE-KMS"}[algorithm]
        how = [named if key else "no key named", write]
        if algorithm == "SSE-C":
            context["s3:x-amz-server-side-encryption-customer-algorithm"] = "AES256"
        elif key:
            context["s3:x-amz-server-side-encryption"] = algorithm
        if key and algorithm == "aws:kms" and names_key:
            context["s3:x-amz-server-side-encryption-aws-kms-key-id"] = self.stack.keys.get(key, key)
            how[0] = f"{key} key" if key in self.stack.keys else "AWS managed key aws/s3"
        if write == "creates":
            context["s3:if-none-match"] = "*"
        if write == "replaces":
            context["s3:if-match"] = '"etag"'
        if not secure:
            how.append("plain HTTP")
        if bucket:
            how.append("in another bucket")
        resource = self._object(prefix).replace(self.stack.bucket, bucket or self.stack.bucket)
        return Request((action,), resource, f"{prefix}/", ", ".join(how), context)

    def objects(self, actions: str, prefix: str, *, secure: bool = True, bucket: str = "") -> Request:
        """Do something else with an object below a prefix, e.g. `s3:GetObject`, of this bucket or another."""
        how = "in another bucket" if bucket else "" if secure else "plain HTTP"
        resource = self._object(prefix).replace(self.stack.bucket, bucket or self.stack.bucket)
        return Request(tuple(actions.split()), resource, f"{prefix}/", how, self._bucket_context(secure=secure))

    def names(
        self, prefix: str | None, *, action: str = "s3:ListBucket", secure: bool = True, bucket: str = ""
    ) -> Request:
        """List the bucket, or another one, below a prefix or as a whole."""
        context: dict[str, str | list[str]] = self._bucket_context(secure=secure)
        if prefix is not None:
            context["s3:prefix"] = f"{prefix}/"
        how = f"prefix {prefix}/" if prefix else "no prefix"
        on = "another bucket" if bucket else "the bucket"
        return Request((action,), bucket or self.stack.bucket, on, how if secure else f"{how}, plain HTTP", context)

    def bucket(self, actions: str) -> Request:
        """Do something with the bucket itself."""
        return Request(tuple(actions.split()), self.stack.bucket, "the bucket", "", self._bucket_context())

    def elsewhere(self, request: Request) -> Request:
        """Let the bucket's name belong to another account, as after a deletion."""
        context = {**request.context, "s3:ResourceAccount": "999988887777"}
        return Request(request.actions, request.resource, request.on, "bucket of another account", context)

    def via_s3(self, actions: str, key: str, prefix: str) -> Request:
        """Use a key through S3, for an object below a prefix.

        Without a Bucket Key the encryption context is the object's ARN.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context
        """
        return self._kms(actions, key, f"via S3, for {prefix}/", "s3", {"aws:s3:arn": self._object(prefix)})

    def for_bucket(self, actions: str, key: str) -> Request:
        """Use a key through S3 with the bucket's ARN as context, which is what a Bucket Key does."""
        return self._kms(actions, key, "via S3, for the bucket (a Bucket Key)", "s3", {"aws:s3:arn": self.stack.bucket})

    def without_context(self, actions: str, key: str) -> Request:
        """Use a key through S3 without any encryption context."""
        return self._kms(actions, key, "via S3, without a context", "s3", {})

    def via_kinesis(
        self, actions: str, key: str = STREAM_KEY, stream: str | None = None, *, without_context: bool = False
    ) -> Request:
        """Use a key through Kinesis, for this stream or another, or without saying for which.

        Source: https://docs.aws.amazon.com/streams/latest/dev/permissions-user-key-KMS.html
        """
        if without_context:
            return self._kms(actions, key, "via Kinesis, without a context", "kinesis", {})
        how = "via Kinesis, for another stream" if stream else "via Kinesis, for the stream"
        return self._kms(actions, key, how, "kinesis", {"aws:kinesis:arn": stream or self.stack.stream})

    def directly(self, actions: str, key: str, encryption_context: Mapping[str, str]) -> Request:
        """Call KMS itself, with the encryption context that a service would send."""
        return self._kms(actions, key, "calling KMS itself", None, encryption_context)

    def direct_for(self, actions: str, key: str, prefix: str) -> Request:
        """Call KMS itself with the encryption context of an object below a prefix."""
        return self.directly(actions, key, {"aws:s3:arn": self._object(prefix)})

    def sealed(self, actions: str, key: str, *, stack: str = "", route: str = "") -> Request:
        """Call KMS itself for messages of a stack and a route; without either name, with no context."""
        named = {BOUND_TO_STACK: stack, BOUND_TO_ROUTE: route}
        context = {name: value for name, value in named.items() if value}
        how = f"for messages of {stack or 'no stack'}, {route or 'no route'}"
        return self._kms(actions, key, how, None, context)

    def results(self, actions: str, group: str) -> Request:
        """Use the key of query results for a workgroup, or without saying for which.

        Source: https://docs.aws.amazon.com/athena/latest/ug/managed-results.html
        """
        how = f"for results of {group.rpartition('/')[2] or 'no workgroup'}"
        return self._kms(actions, RESULTS_KEY, how, None, {"aws:athena:arn": group} if group else {})

    def manage(self, actions: str, key: str) -> Request:
        """Administer a key."""
        return Request(tuple(actions.split()), self.stack.keys[key], f"{key} key", "", dict(_SECURE))

    def plain(self, actions: str, resource: str, on: str, how: str = "", **context: str) -> Request:
        """Call a service whose conditions the policies do not look at; `aws_SourceArn` becomes `aws:SourceArn`."""
        keys = {name.replace("_", ":"): value for name, value in context.items()}
        return Request(tuple(actions.split()), resource, on, how, {**_SECURE, **keys})

    def _object(self, prefix: str) -> str:
        return f"{self.stack.bucket}/{prefix}/{_OBJECT}"

    def _bucket_context(self, *, secure: bool = True) -> dict[str, str | list[str]]:
        return {"aws:SecureTransport": str(secure).lower(), "s3:ResourceAccount": self.stack.account}

    def _kms(
        self, actions: str, key: str, how: str, service: str | None, encryption_context: Mapping[str, str]
    ) -> Request:
        """Use a key.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
        """
        context: dict[str, str | list[str]] = {
            **_SECURE,
            "kms:CallerAccount": self.stack.account,
            "kms:EncryptionContextKeys": [*encryption_context],
        }
        context |= {f"kms:EncryptionContext:{name}": value for name, value in encryption_context.items()}
        if service:
            context["kms:ViaService"] = f"{service}.{self.stack.region}.amazonaws.com"
        return Request(tuple(actions.split()), self.stack.keys[key], f"{key} key", how, context)
