"""Sealed messages: the AWS Encryption SDK with key commitment, and data keys that many messages share.

A message is bound to its whole context; a data key in KMS only to stack and route, or every contact would ask
KMS for one of its own. So a message is opened with `open_sealed`, not by the SDK's own command line, and KMS
sees no contact (docs/adr/0008-protection.md).

Imported late: the SDK and its cryptography take half a second.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs
from aws_encryption_sdk import CachingCryptoMaterialsManager, EncryptionSDKClient, LocalCryptoMaterialsCache
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import AlgorithmSuite, CommitmentPolicy
from aws_encryption_sdk.key_providers.base import MasterKeyProvider, MasterKeyProviderConfig
from aws_encryption_sdk.key_providers.kms import KMSMasterKey
from aws_encryption_sdk.materials_managers import (
    DecryptionMaterials,
    DecryptionMaterialsRequest,
    EncryptionMaterials,
    EncryptionMaterialsRequest,
)
from aws_encryption_sdk.materials_managers.base import CryptoMaterialsManager
from botocore.exceptions import BotoCoreError, ClientError

from routing.protection.sealing import BOUND_IN_KMS, SealContext, SealError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

# A data key is used for five minutes, a million messages or a gigabyte, whichever ends first.
_SECONDS = 300.0
_MESSAGES = 1_000_000
_BYTES = 1 << 30
_DATA_KEYS = 64
# Committing, and not signed: those who may open a message may not write it, so a signature adds nothing.
# https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/supported-algorithms.html
_ALGORITHM = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
_SDK = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


class _Bound(CryptoMaterialsManager):  # type: ignore[misc]
    """Data keys bound to stack and route; the message's header keeps, and authenticates, the whole context."""

    def __init__(self, provider: MasterKeyProvider) -> None:
        self._cached = CachingCryptoMaterialsManager(
            master_key_provider=provider,
            cache=LocalCryptoMaterialsCache(_DATA_KEYS),
            max_age=_SECONDS,
            max_messages_encrypted=_MESSAGES,
            max_bytes_encrypted=_BYTES,
        )

    def get_encryption_materials(self, request: EncryptionMaterialsRequest) -> EncryptionMaterials:
        materials = self._cached.get_encryption_materials(_narrowed(request))
        return attrs.evolve(materials, encryption_context=request.encryption_context)

    def decrypt_materials(self, request: DecryptionMaterialsRequest) -> DecryptionMaterials:
        return self._cached.decrypt_materials(_narrowed(request))


def kms_master_key(client: "KMSClient", key_arn: str) -> MasterKeyProvider:
    """Return a provider that knows one key."""
    return KMSMasterKey(key_id=key_arn, client=client)


class KeyOfMessage(MasterKeyProvider):  # type: ignore[misc]
    """Knows the key that a message names, and lets what KMS answers come through.

    The SDK's own discovery tells a missing grant as it tells a damaged message.
    """

    provider_id = "aws-kms"
    _config_class = MasterKeyProviderConfig

    def __init__(self, clients: "Callable[[str], KMSClient]") -> None:
        """Bind a factory of KMS clients, by Region."""
        self._clients = clients

    def __new__(cls, clients: "Callable[[str], KMSClient]") -> "KeyOfMessage":  # noqa: ARG004, PYI034 - the SDK takes a configuration
        """Make it without the SDK's configuration."""
        made: KeyOfMessage = object.__new__(cls)
        return made

    def decrypt_data_key_from_list(
        self,
        encrypted_data_keys: Iterable[Any],
        algorithm: Any,  # noqa: ANN401 - the SDK's
        encryption_context: dict[str, str],
    ) -> Any:  # noqa: ANN401
        """Decrypt the one data key that a message of ours has."""
        (encrypted,) = encrypted_data_keys
        arn = encrypted.key_provider.key_info.decode()
        key = kms_master_key(self._clients(arn.split(":")[3]), arn)
        return key.decrypt_data_key(encrypted, algorithm, encryption_context)

    def _new_master_key(self, key_id: str) -> Any:  # noqa: ANN401
        raise NotImplementedError(key_id)


class Sealer:
    """Seals under one key."""

    def __init__(self, client: "KMSClient", key_arn: str) -> None:
        """Bind the sealing key of a route."""
        self._materials = _Bound(kms_master_key(client, key_arn))

    def seal(self, text: bytes, context: SealContext) -> str:
        """Encrypt a text; return one Encryption SDK message as base64.

        Raises:
            ClientError: KMS refuses.
            BotoCoreError: KMS cannot be reached.
            SealError: The SDK cannot seal it.
        """
        try:
            message, _ = _SDK.encrypt(
                source=text,
                materials_manager=self._materials,
                encryption_context=dict(context),
                algorithm=_ALGORITHM,
                frame_length=0,
            )
        except AWSEncryptionSDKClientError as err:
            raise _of_aws(err) or SealError(f"sealing {len(text)} bytes failed with {type(err).__name__}") from None
        return base64.b64encode(message).decode()


class Opener:
    """Opens messages, with whatever key sealed them."""

    def __init__(self, provider: MasterKeyProvider) -> None:
        """Bind a provider of keys."""
        self._materials = _Bound(provider)

    def open_sealed(self, message: str) -> tuple[bytes, SealContext]:
        """Decrypt a message; return the text and the context that it is bound to.

        Raises:
            SealError: It is no message, or was tampered with.
            ClientError: KMS refuses.
        """
        try:
            source = base64.b64decode(message, validate=True)
        except binascii.Error:
            raise SealError(f"expected base64, got {len(message)} characters of something else") from None
        stream = _SDK.stream(mode="decrypt", source=source, materials_manager=self._materials)
        try:
            return stream.read(), stream.header.encryption_context
        except Exception as err:  # noqa: BLE001 - bytes of any kind may stand there, and errors of the SDK's parts come through
            if (cause := _of_aws(err)) is not None:
                raise cause from None
            raise SealError(
                f"expected a message as it was sealed, got one that fails with {type(err).__name__}"
            ) from None
        finally:
            # The stream of a bad message complains a second time when it is collected, on standard error.
            stream.footer = None


def _narrowed(request: Any) -> Any:  # noqa: ANN401 - either of two requests
    context = {name: value for name, value in request.encryption_context.items() if name in BOUND_IN_KMS}
    return attrs.evolve(request, encryption_context=context)


def _of_aws(err: BaseException | None) -> ClientError | BotoCoreError | None:
    """Return what AWS answered, which the SDK wraps."""
    while err is not None:
        if isinstance(err, (ClientError, BotoCoreError)):
            return err
        err = err.__cause__ or err.__context__
    return None
