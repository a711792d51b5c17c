"""The emulator with IAM as AWS has it, where ministack's own enforcement stops short.

Run by the emulator's interpreter with `AUTH=true`: `python local/enforcing.py`. It adds what ministack 1.5.33
does not have, and changes nothing else:

- S3 and Kinesis ask KMS for their caller, through the key's policy and the caller's own, with the encryption
  context that AWS sends, and a key that is disabled or pending deletion refuses;
- of an object that is not there, 403 to who may not list the whole bucket;
- the condition keys of a put: the KMS key's header, `s3:if-none-match`, `s3:if-match`;
- `GetEventSourceMapping` is that, and not `ListEventSourceMappings`;
- `aws:PrincipalArn` is the role's ARN, not the session's;
- the network of this machine counts as TLS, so that a policy against plain HTTP does not refuse everything.

It wraps private functions of that version. `tests/e2e/test_enforcing.py` is the contract: it fails when they
move. Grants (`kms:CreateGrant`) are not known.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import kinesis, kms, s3

_KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
_UNUSABLE = {"Disabled": "KMS.DisabledException", "PendingDeletion": "KMS.KMSInvalidStateException"}
_KINESIS_USES = {
    "kinesis:PutRecord": "kms:GenerateDataKey",
    "kinesis:PutRecords": "kms:GenerateDataKey",
    "kinesis:GetRecords": "kms:Decrypt",
}


@dataclass(frozen=True, slots=True)
class _Request:
    """What the functions below have to know of the request that is being authorized."""

    method: str
    headers: dict[str, str]
    encryption_context: dict[str, str]


@dataclass(frozen=True, slots=True)
class _KeyUse:
    """What a service asks KMS for its caller."""

    action: str
    key: str
    context: dict[str, str]


_request: ContextVar[_Request] = ContextVar("request")
_extract_iam_action = iam_actions.extract_iam_action
_s3_service_context = iam_actions.s3_service_context
_resolve_condition_key = iam_evaluator._resolve_condition_key  # noqa: SLF001 - see the contract above
_enforce = iam_evaluator.enforce


def extract_iam_action(  # noqa: PLR0917 - ministack's own
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, parameters: object
) -> str | None:
    """Remember the request, of which ministack's functions after this one see only parts; tell get from list."""
    if service == "lambda" and method == "GET" and re.search(r"/event-source-mappings/[^/]+$", path):
        return "lambda:GetEventSourceMapping"
    _request.set(_Request(method, headers, _encryption_context(body) if service == "kms" else {}))
    action: str | None = _extract_iam_action(service, method, path, headers, body, parameters)
    return action


def s3_service_context(action: str, query: dict[str, Any], path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Add the condition keys of a put.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
    """
    context: dict[str, Any] = _s3_service_context(action, query, path, headers)
    if action == "s3:PutObject":
        for header in (_KEY_HEADER, "if-none-match", "if-match"):
            if headers.get(header):
                context[f"s3:{header}"] = headers[header]
    return context


def resolve_condition_key(key: str, ctx: iam_evaluator.EvalContext) -> object:
    """Let the request's own context win, and know a role by its own ARN."""
    name = key.lower()
    if name in ctx.service_context:
        return ctx.service_context[name]
    if name == "aws:principalarn":
        return re.sub(r"^arn:aws:sts::(\d+):assumed-role/([^/]+)/.*$", r"arn:aws:iam::\1:role/\2", ctx.principal_arn)
    if name == "aws:securetransport":
        return "true"
    return _resolve_condition_key(key, ctx)


def enforce(  # noqa: PLR0917 - ministack's own
    access_key: str,
    action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:  # noqa: ANN401 - ministack's verdict
    """Decide the request, and then what its service asks KMS in the caller's name."""
    if service == "kms" and (request := _request.get(None)) is not None:
        service_context = {**(service_context or {}), **_of_context(request.encryption_context)}
    denied = _enforce(access_key, action, service, region, resource_arn, service_context)
    if not denied and action == "s3:GetObject" and not _exists(resource_arn):
        bucket = resource_arn.partition("/")[0]
        denied = _enforce(access_key, "s3:ListBucket", service, region, bucket, {})
    if denied:
        return denied
    for use in _key_uses(action, resource_arn):
        record = kms._resolve_key(use.key)  # noqa: SLF001
        if record is None:
            return iam_evaluator.AuthError("KMS.NotFoundException", f"Key {use.key} does not exist")
        if record["KeyState"] in _UNUSABLE:
            return iam_evaluator.AuthError(_UNUSABLE[record["KeyState"]], f"{use.key} is {record['KeyState']}")
        context = {
            "kms:ViaService": f"{service}.{region}.amazonaws.com",
            **_of_context(use.context),
        }
        if _enforce(access_key, use.action, "kms", region, record["Arn"], context):
            caller = iam_evaluator.caller_arn() or "the caller"
            message = f"User: {caller} is not authorized to perform: {use.action} on resource: {record['Arn']}"
            return iam_evaluator.AuthError("AccessDenied", message)
    return None


def _encryption_context(body: bytes) -> dict[str, str]:
    """Return the encryption context of a request to KMS itself."""
    try:
        return dict(json.loads(body or b"{}").get("EncryptionContext") or {})
    except ValueError:
        return {}


def _of_context(context: dict[str, str]) -> dict[str, Any]:
    return {
        "kms:EncryptionContextKeys": [*context],
        **{f"kms:EncryptionContext:{name}": value for name, value in context.items()},
    }


def _key_uses(action: str, resource_arn: str) -> Iterator[_KeyUse]:
    request = _request.get(None)
    if request is None:
        return
    if action == "s3:PutObject":
        bucket = resource_arn.removeprefix("arn:aws:s3:::").partition("/")[0]
        key = request.headers.get(_KEY_HEADER) or s3._bucket_default_sse_headers(bucket).get(_KEY_HEADER)  # noqa: SLF001
        if key:
            yield _KeyUse("kms:GenerateDataKey", key, {"aws:s3:arn": resource_arn})
    elif action == "s3:GetObject" and request.method == "GET":  # a HEAD shows no content, and decrypts none
        bucket, _, name = resource_arn.removeprefix("arn:aws:s3:::").partition("/")
        if key := _key_of_object(bucket, name):
            yield _KeyUse("kms:Decrypt", key, {"aws:s3:arn": resource_arn})
    elif action in _KINESIS_USES:
        stream = kinesis._streams.get(resource_arn.rpartition("/")[2], {})  # noqa: SLF001
        if stream.get("EncryptionType") == "KMS":
            yield _KeyUse(_KINESIS_USES[action], stream["KeyId"], {"aws:kinesis:arn": stream["StreamARN"]})


def _exists(resource_arn: str) -> bool:
    bucket, _, name = resource_arn.removeprefix("arn:aws:s3:::").partition("/")
    return name in s3._buckets.get(bucket, {}).get("objects", {})  # noqa: SLF001


def _key_of_object(bucket: str, name: str) -> str | None:
    stored = s3._buckets.get(bucket, {}).get("objects", {}).get(name, {})  # noqa: SLF001
    key = s3._stored_sse_headers(stored).get(_KEY_HEADER)  # noqa: SLF001
    return key if isinstance(key, str) else None


def install() -> None:
    """Put these functions in the place of ministack's."""
    iam_actions.extract_iam_action = extract_iam_action
    iam_actions.s3_service_context = s3_service_context
    iam_evaluator._resolve_condition_key = resolve_condition_key  # noqa: SLF001
    iam_evaluator.enforce = enforce


if __name__ == "__main__":
    install()
    main: Callable[[], None] = app.main
    main()
