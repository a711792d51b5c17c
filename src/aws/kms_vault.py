"""The vault: the keys of protection in KMS, asked once for many records.

Tokens: the key of a scope is a MAC that a KMS HMAC key makes of the scope's name, so it is the same in every
container and is never stored. Sealing: the AWS Encryption SDK with key commitment, its data keys cached.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from aws.s3_sink import classified
from aws.settings import Settings
from routing.errors import DeliveryError
from routing.model import RouteName
from routing.protection.sealing import SealContext, SealError
from routing.reasons import Reason
from routing.table.routes import HASH_KEY, SEAL_SUFFIX

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

    from aws.encryption_sdk import Sealer


class KmsVault:
    """The keys of one stack; it lives as long as its container."""

    def __init__(self, client: Callable[[], "KMSClient"], settings: Settings) -> None:
        """Call nothing yet: neither the client nor the Encryption SDK is loaded before it is needed.

        Args:
            client: Makes the client.
            settings: Which keys.
        """
        self._client = client
        self._settings = settings
        self._token_keys: dict[str, bytes] = {}
        self._sealers: dict[RouteName, Sealer] = {}

    def token_key(self, scope: str) -> bytes:
        """Return the key of a scope, 32 bytes: `GenerateMac` gives the same MAC for the same message.

        Raises:
            DeliveryError: The hash key cannot be used.

        Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html
        """
        if scope not in self._token_keys:
            message = f"ctr-fanout/1/{self._settings.service}/{scope}".encode()
            try:
                answer = self._client().generate_mac(
                    KeyId=self._settings.hash_key_arn, Message=message, MacAlgorithm="HMAC_SHA_256"
                )
            except ClientError as err:
                raise classified("the hash key", HASH_KEY, err) from None
            except BotoCoreError as err:
                raise _unavailable("the hash key", err) from None
            self._token_keys[scope] = answer["Mac"]
        return self._token_keys[scope]

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:
        """Encrypt a text under the sealing key of a route.

        Raises:
            DeliveryError: The sealing key cannot be used.
        """
        if route not in self._sealers:
            # Half a second that only a sealing route pays.
            from aws import encryption_sdk  # noqa: PLC0415

            self._sealers[route] = encryption_sdk.Sealer(self._client(), self._settings.seal_key_arns[route])
        try:
            return self._sealers[route].seal(text, context)
        except ClientError as err:
            raise classified(f"the sealing key of route {route!r}", f"{route}{SEAL_SUFFIX}", err) from None
        except BotoCoreError as err:
            raise _unavailable(f"the sealing key of route {route!r}", err) from None
        except SealError as err:
            raise DeliveryError(f"route {route!r}: {err}", reason=Reason.SEALING_FAILED, is_transient=False) from None


def _unavailable(what: str, err: BotoCoreError) -> DeliveryError:
    message = f"{what}: KMS failed with {type(err).__name__}"
    return DeliveryError(message, reason=Reason.UNAVAILABLE, is_transient=True)
