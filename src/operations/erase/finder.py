"""Find the contacts to erase: those of a customer, or those that Connect has redacted. Nothing is changed."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from copy import replace

from aws.bucket import Bucket
from operations.erase.objects import Erasure, Version, of_version, opened, reporting
from operations.erase.request import ErasureRequest
from routing import layout
from routing.layout import HANDED_OVER
from routing.model import RouteName
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.stored.erased_lines import Ids, contacts_of, redacted_contacts
from routing.table.routes import Route, RouteTable

# Two contacts, so that a route that shows all of them alike is told from one that shows each.
_CONTACTS = ("a-contact", "another-contact")


class Finder:
    """Reads objects and returns whose they are: contacts by id, never what identifies a person."""

    def __init__(
        self,
        request: ErasureRequest,
        *,
        bucket: Bucket,
        table: RouteTable,
        decoder: Decoder,
        protector: Protector,
        workers: Executor,
    ) -> None:
        """Bind a search to what it reads.

        Raises:
            DeliveryError: The key of a route's tokens cannot be used.
        """
        self._bucket = bucket
        self._decoder = decoder
        self._workers = workers
        self._customers = {
            route.name: Ids(protector.shown(route, request.customers)) for route in table.routes if request.customers
        }
        self._plain = Ids(request.customers)
        self._shown = {route.name for route in table.routes if self._shows(route, protector)}
        self.blind = [route.name for route in table.routes if route.name not in self._shown]

    def visit(self, versions: Iterable[Version]) -> list[Erasure]:
        """Search objects in parallel; return those with a contact to erase, and those that cannot be read."""
        return [found for found in self._workers.map(self._look, versions) if found is not None]

    def _look(self, version: Version) -> Erasure | None:
        return reporting(version, lambda: self._look_or_raise(version))

    def _look_or_raise(self, version: Version) -> Erasure | None:
        lines, name = opened(self._bucket, version).lines, version.listed.name
        if version.listed.key.startswith(HANDED_OVER):
            found = frozenset(self._contacts(self._given_up(lines), self._plain))
        elif name is None or name.place[0] == layout.DEAD_LETTER or RouteName(name.place[0]) not in self._shown:
            return None  # nobody can tell whose an unreadable record is, or what is no contact's id
        else:
            found = frozenset(self._contacts(lines, self._customers.get(RouteName(name.place[0]), self._plain)))
        return replace(of_version(version), found=found) if found else None

    def _contacts(self, lines: Iterable[bytes], customers: Ids) -> Iterator[str]:
        return contacts_of(lines, customers) if self._plain else redacted_contacts(lines)

    def _given_up(self, lines: list[bytes]) -> list[bytes]:
        """Return the records of a batch that Lambda gave up on."""
        payload = json.loads(lines[0]).get("payload") if lines else None
        _, records = self._decoder.decode(json.loads(payload)) if payload else (None, [])
        return [record.data for record in records if record.failure is None]

    def _shows(self, route: Route, protector: Protector) -> bool:
        """Return True if a contact to erase can be recognised on this route, and its own id read."""
        return not route.rules or all(self._shows_one(route, protector, contact) for contact in _CONTACTS)

    def _shows_one(self, route: Route, protector: Protector, contact: str) -> bool:
        customer = next(iter(self._plain), "")
        record = {
            "ContactId": contact,
            "CustomerId": customer,
            "CustomerEndpoint": {"Address": customer},
            "SegmentAttributes": {"connect:RedactedFields": {"ValueString": "x"}},
        }
        shown = protector.protection_of(route).apply(json.dumps(record).encode()).data
        return [*self._contacts([shown], self._customers.get(route.name, self._plain))] == [contact]
