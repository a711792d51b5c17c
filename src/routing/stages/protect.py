"""Protect: the records of a batch -> the same as their route may see them.

Keys come from a `Vault`; docs/protection.md says which key hashes and which seals.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from copy import replace
from typing import Protocol

import msgspec

from routing.errors import DeliveryError
from routing.model import Kind, Record, RouteName
from routing.protection.rules import Action, Change, Protection, Rule
from routing.protection.sealing import SealContext, attach, context_of, pack
from routing.reasons import Reason
from routing.stages.batch import Batch
from routing.table.routes import Route


class Vault(Protocol):
    """Holds the keys of protection; each of its methods raises DeliveryError if a key cannot be used."""

    def token_key(self, scope: str) -> bytes:
        """Return the key that makes the tokens of a scope: 32 bytes, the same at every time."""

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:
        """Encrypt a text under the sealing key of a route, bound to a context; return the message as base64."""


class Protector:
    """Protects records by the rules of their routes."""

    def __init__(self, vault: Vault, stack: str) -> None:
        """Compile nothing yet: keys are asked for by the first record that needs them.

        Args:
            vault: The keys.
            stack: The name of the stack, which sealed messages are bound to.
        """
        self._vault = vault
        self._stack = stack
        self._protections: dict[RouteName, Protection] = {}

    def batch(self, batch: Batch) -> Batch:
        """Return a batch as its route may see it.

        Raises:
            DeliveryError: A key of the route's protection cannot be used.
        """
        if not batch.route.rules:
            return batch
        return replace(batch, records=[self._record(batch.route, record) for record in batch.records])

    def line(self, route: Route, kind: Kind | Reason, data: bytes) -> bytes:
        """Return one record as a route may see it.

        Raises:
            DeliveryError: A key of the route's protection cannot be used.
        """
        try:
            protected = self.protection_of(route).apply(data)
        except RecursionError:
            message = f"route {route.name!r}: a record of {len(data)} bytes is nested too deeply to be protected"
            raise DeliveryError(message, reason=Reason.TOO_DEEP, is_transient=False) from None
        if not protected.pieces:
            return protected.data
        context = context_of(self._stack, route.name, kind, protected.data)
        return attach(protected.data, self._vault.seal(route.name, context, pack(protected.pieces)))

    def _record(self, route: Route, record: Record) -> Record:
        return msgspec.structs.replace(record, data=self.line(route, record.kind, record.data))

    def protection_of(self, route: Route) -> Protection:
        """Return the compiled rules of a route.

        Raises:
            DeliveryError: The hash key cannot be used.
        """
        known = self._protections.get(route.name)
        if known is None:
            known = self._protections[route.name] = Protection(route.rules, lambda rule: self._token_of(route, rule))
        return known

    def shown(self, route: Route, texts: Iterable[str]) -> dict[str, str]:
        """Return every way in which a route may show some texts: itself, and its tokens -> the text.

        Raises:
            DeliveryError: The hash key cannot be used.
        """
        texts = list(texts)
        scopes = {scope_of(route.name, rule.join) for rule in route.rules if rule.action is Action.HASH}
        makers = [token_maker(self._vault.token_key(scope)) for scope in sorted(scopes)]
        return {text: text for text in texts} | {maker(text): text for maker in makers for text in texts}

    def _token_of(self, route: Route, rule: Rule) -> Change:
        return token_maker(self._vault.token_key(scope_of(route.name, rule.join)))


def scope_of(route: RouteName, join: str | None) -> str:
    """Return within what equal values have equal tokens: a route, or a group that several have joined."""
    return f"route/{route}" if join is None else f"join/{join}"


def token_maker(key: bytes) -> Callable[[str], str]:
    """Return what makes tokens: HMAC-SHA-256 of the text as UTF-8, 64 hexadecimal digits.

    Source: https://www.rfc-editor.org/rfc/rfc2104
    """
    return lambda text: hmac.new(key, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
