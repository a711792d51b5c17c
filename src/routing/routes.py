"""The route table: `routes.toml` -> compiled routes; which routes does a record take?

The table is the single source of truth: the decoder, the matcher, the per-route blocks of
`template.yaml` and the grants all derive from it. A table with any fault is refused as a whole, every
fault named with its path.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing import dead_letter
from routing.errors import ConfigurationError, Fault
from routing.fields import Node, Path
from routing.model import Kind, Record, RouteName
from routing.partition import Partition, compile_partition
from routing.pattern import Matcher, Pattern, compile_pattern
from routing.reasons import Reason
from routing.toml_reader import TomlReader

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 32
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")
_LONGEST_PREFIX = 128
# A bucket policy holds 20 KB, and a route with a reader takes about one (tests/template/test_limits.py).
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html
_MOST_ROUTES = 16
DROP = "drop"
# Names that resources of the template, other prefixes or the unmatched policy already have.
RESERVED_NAMES = frozenset(
    {"archive", "athena", "canary", "checkpoint", dead_letter.ROUTE, DROP, "fan-out", "records", "replay", "stream"}
)
# `aws/lambda/` is where Lambda itself puts the batches that it gave up on.
RESERVED_PREFIXES = ("archive", "athena-results", "aws", "canary", dead_letter.PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where records of some kinds and a pattern go.

    Attributes:
        name: Lower case with hyphens; logical ids of the template derive from it.
        about: One sentence for people: what the route is for, shown in the key's description.
        kinds: The kinds it takes; empty if only the `unmatched` policy sends records here.
        pattern: None if it takes every record of its kinds.
        prefix: Where its objects stand, without a slash at either end.
        partition: Which date an object stands under.
        blocks_when_denied: True if a refused key stops the shard instead of making dead letters.
        examples: At least one that it takes and, with a pattern, one that it does not.
    """

    name: RouteName
    about: str
    kinds: frozenset[Kind]
    pattern: Pattern | None
    prefix: str
    partition: Partition
    blocks_when_denied: bool
    examples: tuple[Example, ...]

    def misses(self, kind: Kind | Reason, fields: Node) -> tuple[str, ...]:
        """Explain why the route does not take a record, without a value of it; empty if it does."""
        if kind not in self.kinds:
            wanted = ", ".join(sorted(self.kinds)) or "none: only the unmatched policy sends records here"
            return (f"kind: expected {wanted}, got {kind}",)
        return () if self.pattern is None else self.pattern.misses(fields)


DEAD_LETTER_ROUTE = Route(
    name=dead_letter.ROUTE,
    about="Records that cannot be processed and objects that cannot be delivered",
    kinds=frozenset(),
    pattern=None,
    prefix=dead_letter.RECORDS_PREFIX,
    partition=Partition(None),
    blocks_when_denied=True,
    examples=(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one commit may cover, so that no object grows beyond it.

    Attributes:
        records: Stream records, 1 to 10,000.
        plain_bytes: Bytes before gzip, 1 MiB to 64 MiB; a single larger stream record passes alone.
    """

    records: int
    plain_bytes: int


class RouteTable:
    """All routes, compiled. Build it with `load_routes`."""

    def __init__(self, *, routes: tuple[Route, ...], unmatched: Mapping[Kind, Route | None], limits: Limits) -> None:
        """Sort the routes by kind once, so that a record only meets those that can take it.

        Args:
            routes: In the order of the file.
            unmatched: For every kind the route of records that no route takes; None drops them.
            limits: How much one commit may cover.
        """
        self.routes = routes
        self.unmatched = unmatched
        self.limits = limits
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
    def names(self) -> frozenset[RouteName]:
        """The names of all routes, that of dead letters among them."""
        return frozenset(route.name for route in self.all_routes)

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


def load_routes(text: str, source: str = "routes.toml") -> RouteTable:
    """Read and compile a route table.

    Args:
        text: The file's text, TOML.
        source: The file's name, for messages.

    Raises:
        ConfigurationError: With every fault of the file.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:  # tomllib's own error is a ValueError, as is an endless number
        raise ConfigurationError(source, [Fault("", f"expected TOML: {err}")]) from err
    faults: list[Fault] = []
    top = TomlReader(document, "", faults)
    tables = top.tables("routes")
    if not 0 < len(tables) <= _MOST_ROUTES:
        top.fault("routes", f"expected 1 to {_MOST_ROUTES} routes, got {len(tables)}")
    routes = tuple(_route(table, i, faults) for i, table in enumerate(tables))
    _check_names(routes, faults)
    _check_prefixes(routes, faults)
    unmatched = _unmatched(top.below("unmatched"), routes, faults)
    limits = _limits(TomlReader({}, "limits", faults) if top.get("limits") is None else top.below("limits"))
    top.done()
    if faults:
        raise ConfigurationError(source, faults)
    return RouteTable(routes=routes, unmatched=unmatched, limits=limits)


def logical_id(name: str) -> str:
    """Return the stem of a route's logical ids, e.g. `ClaimsJapan` for `claims-japan`."""
    return "".join(part.capitalize() for part in name.split("-"))


# --- one route ----------------------------------------------------------------------------------------


def _route(table: Mapping[str, Any], index: int, faults: list[Fault]) -> Route:
    shown = table.get("name")
    reader = TomlReader(table, f"route {shown!r}" if isinstance(shown, str) else f"route '#{index + 1}'", faults)
    name = reader.text("name")
    if name and (not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name in RESERVED_NAMES):
        reader.fault("name", f"expected up to {_LONGEST_NAME} lower-case letters, digits and hyphens, not reserved")
    prefix = reader.text("prefix")
    if prefix and (not _PREFIX.fullmatch(prefix) or len(prefix) > _LONGEST_PREFIX):
        reader.fault("prefix", f"expected names of a-z, 0-9, _ and - joined by single slashes, got {prefix!r}")
    kinds = frozenset(Kind(kind) for kind in reader.texts("kinds", Kind))
    document = _pattern_document(reader)
    pattern = None if document is None else compile_pattern(document, reader.place("pattern"), faults)
    route = Route(
        name=RouteName(name),
        about=reader.text("about"),
        kinds=kinds,
        pattern=pattern,
        prefix=prefix,
        partition=compile_partition(reader.text("partition", "arrival"), reader.place("partition"), faults),
        blocks_when_denied=reader.choice("on_key_denied", ("dead_letter", "block"), "dead_letter") == "block",
        examples=tuple(
            _example(TomlReader(e, f"{reader.where}: examples[{i}]", faults), kinds)
            for i, e in enumerate(reader.tables("examples"))
        ),
    )
    reader.done()
    return route


def _pattern_document(reader: TomlReader) -> object | None:
    """Return the pattern as a document: a TOML table, or JSON text where null is needed."""
    document: object = reader.get("pattern")
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as err:
            reader.fault("pattern", f"expected a table or JSON text, got text that is not JSON: {err}")
            return None
    return document


def _example(reader: TomlReader, kinds: frozenset[Kind]) -> Example:
    kind = reader.choice("kind", Kind, min(kinds) if len(kinds) == 1 else None)
    example = Example(
        says=reader.text("says"),
        kind=Kind(kind) if kind in tuple(Kind) else Kind.OTHER,
        record=reader.below("record").table,
        takes=reader.truth("takes"),
    )
    reader.done()
    return example


# --- the table as a whole -----------------------------------------------------------------------------


def _check_names(routes: tuple[Route, ...], faults: list[Fault]) -> None:
    seen: dict[str, Route] = {}
    for route in routes:
        stem = logical_id(route.name)
        if route.name and stem in seen:
            what = f"expected a name of its own, got one that resources of route {seen[stem].name!r} have"
            faults.append(Fault(f"route {route.name!r}: name", what))
        seen.setdefault(stem, route)


def _check_prefixes(routes: tuple[Route, ...], faults: list[Fault]) -> None:
    taken = [(f"reserved prefix {prefix!r}", prefix) for prefix in RESERVED_PREFIXES]
    for route in routes:
        for owner, other in taken:
            if (
                route.prefix
                and other
                and (f"{route.prefix}/".startswith(f"{other}/") or f"{other}/".startswith(f"{route.prefix}/"))
            ):
                what = f"expected a prefix apart from all others, got {route.prefix!r}; {owner} contains it or is contained"
                faults.append(Fault(f"route {route.name!r}: prefix", what))
        taken.append((f"the prefix of route {route.name!r}", route.prefix))


def _unmatched(reader: TomlReader, routes: tuple[Route, ...], faults: list[Fault]) -> dict[Kind, Route | None]:
    by_name = {route.name: route for route in routes}
    policy: dict[Kind, Route | None] = {}
    for kind in Kind:
        name = reader.choice(kind, (DROP, *by_name)) if reader.table else DROP
        policy[kind] = by_name.get(RouteName(name))
    reader.done()
    named = {route.name for route in policy.values() if route is not None}
    for route in routes:
        if not route.kinds and route.name not in named and not _is_at_fault(route, faults):
            what = "expected at least one kind, or the route's name under [unmatched]; it can take no record"
            faults.append(Fault(f"route {route.name!r}: kinds", what))
        if not route.kinds and route.pattern is not None and not _is_at_fault(route, faults):
            what = "expected no pattern without kinds; the unmatched policy asks none"
            faults.append(Fault(f"route {route.name!r}: pattern", what))
    return policy


def _is_at_fault(route: Route, faults: list[Fault]) -> bool:
    """Tell whether the route's kinds could not be read, so that nothing follows from their absence."""
    return any(fault.where.startswith(f"route {route.name!r}: kinds") for fault in faults)


def _limits(reader: TomlReader) -> Limits:
    limits = Limits(
        records=reader.integer("records", 10_000, least=1, most=10_000),
        plain_bytes=reader.integer("plain_bytes", 16 << 20, least=1 << 20, most=64 << 20),
    )
    reader.done()
    return limits
