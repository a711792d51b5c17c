"""The vault on moto's KMS: real AES-GCM, real MACs, and what is asked how often."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from moto import mock_aws

from aws.encryption_sdk import Opener, kms_master_key
from aws.kms_vault import KmsVault
from aws.settings import Settings
from routing.errors import DeliveryError
from routing.model import Kind, RouteName
from routing.protection.sealing import SealError, context_of
from routing.reasons import Reason

CLAIMS, OTHER = RouteName("claims"), RouteName("other")


class Keys:
    """A KMS with the keys of a stack, which counts what it is asked."""

    def __init__(self) -> None:
        self.kms: Any = boto3.client(
            "kms", region_name="ap-northeast-1", config=Config(retries={"total_max_attempts": 1})
        )
        self.hash = self.make(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        self.seal = {CLAIMS: self.make(), OTHER: self.make()}
        self.calls: Counter[str] = Counter()
        self.contexts: list[Any] = []
        self.kms.meta.events.register("before-parameter-build.kms", self._count)

    def make(self, **kind: str) -> str:
        return str(self.kms.create_key(**kind)["KeyMetadata"]["Arn"])

    def vault(self) -> KmsVault:
        settings = Settings(
            bucket="b", bucket_owner="111122223333", key_arns={}, checkpoint_table=None, service="stack", stream_arn="",
            hash_key_arn=self.hash, seal_key_arns=self.seal,
        )  # fmt: skip
        return KmsVault(lambda: self.kms, settings)

    def opener(self, route: RouteName = CLAIMS) -> Opener:
        return Opener(kms_master_key(self.kms, self.seal[route]))

    def _count(self, model: Any, params: Any, **_: Any) -> None:
        self.calls[model.name] += 1
        self.contexts.append(params.get("EncryptionContext"))


@pytest.fixture
def keys() -> Iterator[Keys]:
    with mock_aws():
        yield Keys()


def context(contact: str = "c-1", route: RouteName = CLAIMS) -> Any:
    return context_of("stack", route, Kind.CONTACT_RECORD, b'{"ContactId":"%s"}' % contact.encode())


def test_sealed_message_is_opened_with_its_context(keys: Keys) -> None:
    message = keys.vault().seal(CLAIMS, context(), b"secret")
    assert keys.opener().open_sealed(message) == (b"secret", context())
    assert b"secret" not in base64.b64decode(message)


def test_kms_is_asked_once_for_many_contacts_and_sees_none(keys: Keys) -> None:
    vault, opener = keys.vault(), keys.opener()
    messages = [vault.seal(CLAIMS, context(f"c-{number}"), b"x") for number in range(200)]
    assert keys.calls == {"GenerateDataKey": 1}
    assert [opener.open_sealed(message)[1] for message in messages] == [context(f"c-{n}") for n in range(200)]
    assert keys.calls == {"GenerateDataKey": 1, "Decrypt": 1}
    assert all(set(asked) == {"ctr-fanout:stack", "ctr-fanout:route"} for asked in keys.contexts)


def test_same_text_is_sealed_differently_each_time(keys: Keys) -> None:
    vault = keys.vault()
    assert vault.seal(CLAIMS, context(), b"x") != vault.seal(CLAIMS, context(), b"x")


def test_message_that_was_changed_anywhere_does_not_open(keys: Keys) -> None:
    message = base64.b64decode(keys.vault().seal(CLAIMS, context(), b"secret"))
    opener = keys.opener()
    for place in range(0, len(message), 7):
        changed = bytearray(message)
        changed[place] ^= 1
        with pytest.raises((SealError, keys.kms.exceptions.ClientError)):
            opener.open_sealed(base64.b64encode(changed).decode())


@pytest.mark.parametrize("message", ["", "!", "e30=", "AgV4"])
def test_what_is_no_message_is_told(keys: Keys, message: str) -> None:
    with pytest.raises(SealError, match="expected"):
        keys.opener().open_sealed(message)


def test_another_routes_key_opens_nothing(keys: Keys) -> None:
    message = keys.vault().seal(CLAIMS, context(), b"secret")
    with pytest.raises(SealError):
        keys.opener(OTHER).open_sealed(message)


def test_token_keys_are_the_same_at_every_start_and_differ_by_scope(keys: Keys) -> None:
    first, second = keys.vault(), keys.vault()
    assert first.token_key("route/claims") == first.token_key("route/claims") == second.token_key("route/claims")
    assert keys.calls == {"GenerateMac": 2}
    assert len({first.token_key(scope) for scope in ("route/claims", "route/other", "join/claims")}) == 3
    assert len(first.token_key("route/claims")) == 32


@pytest.mark.parametrize(
    ("code", "reason", "cure"),
    [
        ("DisabledException", Reason.KMS_KEY_DISABLED, "enable {} again"),
        ("KMSInvalidStateException", Reason.KMS_KEY_INVALID_STATE, "cancel the deletion of {}"),
        ("AccessDeniedException", Reason.KMS_KEY_ACCESS_DENIED, "allow the function role kms:Generate"),
        ("NotFoundException", Reason.KMS_KEY_NOT_FOUND, "instead of {}"),
        ("ThrottlingException", Reason.UNAVAILABLE, "failed with ThrottlingException"),
    ],
)
@pytest.mark.parametrize("use", ["seal", "token"])
def test_key_that_cannot_be_used_is_told_by_its_reason(
    keys: Keys, use: str, code: str, reason: Reason, cure: str
) -> None:
    vault = keys.vault()
    answers = [code] * 9  # more often than the SDK tries

    def answer(request: Any, **_: object) -> AWSResponse | None:
        if not answers:
            return None
        answers.pop()
        body = json.dumps({"__type": code, "message": "secret"}).encode()
        raw = type("Raw", (), {"stream": lambda *_a, **_k: iter([body])})()
        made: Any = AWSResponse
        response: AWSResponse = made(request.url, 400, {}, raw)
        return response

    keys.kms.meta.events.register_first("before-send.kms", answer)
    with pytest.raises(DeliveryError) as told:
        _ = vault.token_key("route/claims") if use == "token" else vault.seal(CLAIMS, context(), b"x")
    assert (told.value.reason, told.value.is_transient) == (reason, reason is Reason.UNAVAILABLE)
    assert cure.format("HashKey" if use == "token" else "ClaimsSealKey") in str(told.value)
    assert "secret" not in str(told.value)
    answers.clear()
    assert vault.token_key("route/claims") if use == "token" else vault.seal(CLAIMS, context(), b"x")
