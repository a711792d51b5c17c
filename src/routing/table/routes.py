"""The route table: which routes does a record take?

The table is the single source of truth: the decoder, the matcher, the per-route blocks of
`template.yaml` and the grants all derive from it. `route_reader.py` makes it of `routes.toml`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from routing import layout
from routing.fields import Node, Path
from routing.model import Kind, ObjectKey, Record, RouteName, RoutesDigest
from routing.protection.rules import Action, Rule
from routing.reasons import Reason
from routing.table.operators import kind_of
from routing.table.partition import Partition
from routing.table.pattern import Matcher, Pattern, Show

_DIGITS_OF_ORIGIN = 16
SEAL_SUFFIX = "-seal"
HASH_KEY = "hash"
"""Names of keys that are no route's: no route may be called so."""


class Example(Struct, frozen=True, kw_only=True):
    """A record that tells what a route is for, run by `ctr-fanout routes check`.

    Attributes:
        says: What it shows, e.g. `a call that waited in the motor queue`.
        kind: The kind of the record; its discriminating fields are filled in.
        record: Only the fields that the example is about.
        takes: True if the route takes it, False for a near miss.
    """

    says: str
    kind: Kind
    record: Mapping[str, Any]
    takes: bool


class Route(Struct, frozen=True, kw_only=True):
    """Where records of some kinds and a pattern go.

    Attributes:
        name: Lower case with hyphens; logical ids of the template derive from it.
        about: One sentence for people: what the route is for, shown in the key's description.
        kinds: The kinds it takes; empty if only the `unmatched` policy sends records here.
        pattern: None if it takes every record of its kinds.
        prefix: Where its objects stand, without a slash at either end.
        partition: Below which folders of the prefix a record is stored.
        blocks_when_denied: True if a refused key stops the shard instead of making dead letters.
        examples: At least one that it takes and, with a pattern, one that it does not.
        rules: What it may see of a record; none if all of it.
        rules_digest: Tells these rules from others; empty if there are none.
        retain_days: After how many days its objects expire; None if they stay.
    """

    name: RouteName
    about: str
    kinds: frozenset[Kind]
    pattern: Pattern | None
    prefix: str
    partition: Partition
    blocks_when_denied: bool
    examples: tuple[Example, ...]
    rules: tuple[Rule, ...] = ()
    rules_digest: str = ""
    retain_days: int | None = None

    @property
    def seal_key(self) -> str:
        """The name of its sealing key, should it seal."""
        return f"{self.name}{SEAL_SUFFIX}"

    @property
    def seals(self) -> bool:
        """True if it needs a sealing key."""
        return any(rule.action is Action.SEAL for rule in self.rules)

    @property
    def hashes(self) -> bool:
        """True if it needs the hash key."""
        return any(rule.action is Action.HASH for rule in self.rules)

    def misses(self, kind: Kind | Reason, fields: Node, show: Show = kind_of) -> tuple[str, ...]:
        """Explain why the route does not take a record; empty if it does. By default no value is shown, only its type."""
        if kind not in self.kinds:
            wanted = ", ".join(sorted(self.kinds)) or "none: only the unmatched policy sends records here"
            return (f"kind: expected {wanted}, got {kind}",)
        return () if self.pattern is None else self.pattern.misses(fields, show)


DEAD_LETTER_ROUTE = Route(
    name=layout.DEAD_LETTER,
    about="Records that cannot be processed and objects that cannot be delivered",
    kinds=frozenset(),
    pattern=None,
    prefix=layout.RECORD_LETTER_PREFIX,
    partition=Partition(),
    blocks_when_denied=True,
    examples=(),
)


class Limits(Struct, frozen=True, kw_only=True):
    """How much one commit may cover, so that no object grows beyond it.

    Attributes:
        records: Stream records, 1 to 10,000.
        plain_bytes: Bytes before gzip, 1 MiB to 64 MiB; a single larger stream record passes alone.
    """

    records: int
    plain_bytes: int


class RetainDays(Struct, frozen=True, kw_only=True):
    """After how many days what belongs to no route expires; None if it stays.

    Attributes:
        dead_letters: Dead letters, of records and of objects.
        on_failure: Batches that Lambda gave up on.
        archive: The raw stream.
    """

    dead_letters: int | None = None
    on_failure: int | None = None
    archive: int | None = None


_FOR_EVER = RetainDays()


class RouteTable:
    """All routes, compiled. Build it with `load_routes`."""

    def __init__(
        self,
        *,
        routes: tuple[Route, ...],
        unmatched: Mapping[Kind, Route | None],
        limits: Limits,
        routes_digest: RoutesDigest,
        code: str = "",
        retain_days: RetainDays = _FOR_EVER,
    ) -> None:
        """Sort the routes by kind once, so that a record only meets those that can take it.

        Args:
            routes: In the order of the file.
            unmatched: For every kind the route of records that no route takes; None drops them.
            limits: How much one commit may cover.
            routes_digest: Identifies its text.
            code: Identifies the code that reads records by it.
            retain_days: When what belongs to no route expires.
        """
        self.routes_digest = routes_digest
        self.code = code
        self.digest = RoutesDigest(f"{routes_digest}{code}")
        self.routes = routes
        self.unmatched = unmatched
        self.limits = limits
        self.retain_days = retain_days
        self._prefixes = {route.name: route.prefix for route in self.all_routes}
        self._always: dict[Kind | Reason, tuple[Route, ...]] = {
            k: tuple(r for r in routes if k in r.kinds and r.pattern is None) for k in Kind
        }
        self._asked: dict[Kind | Reason, tuple[tuple[Route, Matcher], ...]] = {
            k: tuple((r, r.pattern.matcher) for r in routes if k in r.kinds and r.pattern is not None) for k in Kind
        }
        self._otherwise: dict[Kind | Reason, tuple[Route, ...]] = {
            k: () if route is None else (route,) for k, route in unmatched.items()
        }

    @property
    def origin(self) -> dict[str, str]:
        """What the metadata of an object tells of the deployment that has chosen its records."""
        code = {"code": self.code[:_DIGITS_OF_ORIGIN]} if self.code else {}
        return {"routes": self.routes_digest[:_DIGITS_OF_ORIGIN], **code}

    @property
    def paths(self) -> frozenset[Path]:
        """Every field that has to be decoded."""
        patterns = (route.pattern.paths for route in self.routes if route.pattern is not None)
        partitions = (route.partition.paths for route in self.routes)
        return frozenset().union(*patterns, *partitions)

    @property
    def all_routes(self) -> tuple[Route, ...]:
        """The routes of the table and the one of dead letters."""
        return (*self.routes, DEAD_LETTER_ROUTE)

    @property
    def hashes(self) -> bool:
        """True if some route needs the hash key."""
        return any(route.hashes for route in self.routes)

    @property
    def protection_keys(self) -> tuple[str, ...]:
        """The names of the keys that rules need: of each route that seals, and the hash key."""
        sealing = (route.seal_key for route in self.routes if route.seals)
        return (*sealing, *([HASH_KEY] if self.hashes else []))

    @property
    def names(self) -> frozenset[RouteName]:
        """The names of all routes, that of dead letters among them."""
        return frozenset(route.name for route in self.all_routes)

    @property
    def prefixes(self) -> Mapping[RouteName, str]:
        """The prefix of each route, that of dead letters included."""
        return self._prefixes

    def owner_of(self, key: ObjectKey) -> RouteName | None:
        """Return the route whose records an object holds, by the prefix of its name or of its intended name.

        Returns:
            None if no route has that prefix, so that no key is there to write the name with; a dead letter can
            always be written.
        """
        intended = layout.intended_key(key)
        for route, prefix in self._prefixes.items():
            if intended.startswith(f"{prefix}/"):
                return route
        return layout.DEAD_LETTER if key.startswith(f"{layout.DEAD_LETTER_PREFIX}/") else None

    def routes_for(self, record: Record) -> tuple[Route, ...]:
        """Return every route that a record takes.

        Routes do not compete: their order changes nothing and one record may take many.

        Returns:
            At least one route, each once; empty only if the `unmatched` policy drops the record.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
        """
        if record.failure is not None:
            return (DEAD_LETTER_ROUTE,)
        kind, fields = record.kind, record.fields
        taken = self._always[kind]
        for route, matches in self._asked[kind]:
            if matches(fields, fields):
                taken += (route,)
        return taken or self._otherwise[kind]


def logical_id(name: str) -> str:
    """Return the stem of a route's logical ids, e.g. `ClaimsJapan` for `claims-japan`."""
    return "".join(part.capitalize() for part in name.split("-"))
