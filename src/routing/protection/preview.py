"""Preview: what a protected route would see, without any key.

The tokens and the seals are stand-ins: they have the right shape, equal values have equal tokens, and they are
worth nothing anywhere else.
"""

import hashlib

from routing.model import RouteName
from routing.protection.sealing import SealContext


class PreviewVault:
    """Takes the place of the vault where nothing is delivered."""

    def token_key(self, scope: str) -> bytes:
        """Return a key for the tokens of a scope that anybody can make."""
        return hashlib.sha256(f"preview of {scope}".encode()).digest()

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:  # noqa: ARG002 - the vault's interface
        """Return a mark in the place of a sealed message."""
        return f"(preview: {len(text)} bytes, sealed for {route})"
