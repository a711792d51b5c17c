"""Records and lines of protected routes in a form that can be compared: as they are before they are sealed."""

from aws.encryption_sdk import Opener, kms_master_key
from aws.kms_vault import KmsVault
from aws.settings import Settings
from local.deployment import Deployed
from local.emulator import Emulator
from routing.lambda_event import ACCOUNT
from routing.protection.sealing import detach, restore, unpack
from routing.stages.protect import Protector
from routing.table.routes import HASH_KEY, Route, RouteTable


class Comparable:
    """Asks the emulator's KMS for the keys, as who has every right."""

    def __init__(self, emulator: Emulator, deployed: Deployed, table: RouteTable) -> None:
        """Take a deployed stack."""
        kms = emulator.client("kms")
        arn_of = {name: deployed.key_arn(name) for name in table.protection_keys}
        settings = Settings(
            bucket=deployed.bucket,
            bucket_owner=ACCOUNT,
            key_arns={},
            checkpoint_table=None,
            stream_arn=deployed.target.stream_arn,
            service=deployed.stream,  # all names derive from the parameter `Name`
            hash_key_arn=arn_of.get(HASH_KEY, ""),
        )
        self._protector = Protector(KmsVault(lambda: kms, settings), settings.service)
        self._routes: dict[str, Route] = {route.name: route for route in table.routes if route.rules}
        self._openers: dict[str, Opener] = {
            route.name: Opener(kms_master_key(kms, arn_of[route.seal_key])) for route in table.routes if route.seals
        }

    def sent(self, route: str, data: bytes) -> bytes:
        """Return what has to stand for a record."""
        if route not in self._routes:
            return data
        protected = self._protector.protection_of(self._routes[route]).apply(data)
        return restore(protected.data, protected.pieces)

    def standing(self, route: str, line: bytes) -> bytes:
        """Return what stands on a line."""
        if route not in self._openers:
            return line
        seen, message = detach(line)
        return seen if message is None else restore(seen, unpack(self._openers[route].open_sealed(message)[0]))
