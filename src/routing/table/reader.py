"""Read a route table: the text of `routes.toml` -> compiled routes, or every fault of it with its path."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import replace
from typing import Any

from routing import layout
from routing.errors import ConfigurationError, Fault
from routing.model import Kind, RouteName, RoutesDigest
from routing.protection.rules import Protection
from routing.table.lines import Lines
from routing.table.operators import kind_of
from routing.table.partition import read_partition
from routing.table.pattern import compile_pattern
from routing.table.routes import HASH_KEY, SEAL_SUFFIX, Example, Limits, RetainDays, Route, RouteTable, logical_id
from routing.table.rule_reader import read_rule
from routing.table.toml_reader import TomlReader, shown_number

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 32
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")
_LONGEST_PREFIX = 128
# A role takes ten managed policies, and four routes share one of its writer policies (infrastructure/limits.py has the rest).
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MOST_ROUTES = 16
_DIGITS_OF_RULES = 16
_SOME_TIME = "2026-03-02T13:00:00Z"
# A Lambda function has 4 KB of variables, and the ARN of a key takes a hundred of them.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_MOST_SEALING = 8
_LEAST_DAYS, _MOST_DAYS = 15, 36_500
DROP = "drop"
# Names that resources of the template, other prefixes or the unmatched policy already have.
RESERVED_NAMES = frozenset(
    {
        "archive",
        "athena",
        "checkpoint",
        layout.DEAD_LETTER,
        DROP,
        "fan-out",
        "grant-check",
        HASH_KEY,
        "on-failure",
        "records",
        "replay",
        "stream",
    }
)
# `aws/lambda/` is where Lambda itself puts the batches that it gave up on.
RESERVED_PREFIXES = ("archive", "athena-results", "aws", layout.DEAD_LETTER_PREFIX)


def load_routes(text: str, source: str = "routes.toml", *, code: str = "") -> RouteTable:
    """Read and compile a route table.

    Args:
        text: The file's text, TOML.
        source: The file's name, for messages.
        code: Identifies the code that decodes and matches: like the text, it decides where a record is delivered.

    Raises:
        ConfigurationError: With every fault of the file.
    """
    if text.startswith("\ufeff"):
        what = "expected TOML, got a byte order mark (BOM) before it; save the file as UTF-8 without one"
        raise ConfigurationError(source, [Fault("", what, 1)])
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:  # tomllib's own error is a ValueError, as is an endless number
        raise ConfigurationError(source, [Fault("", f"expected TOML: {err}")]) from err
    faults: list[Fault] = []
    top = TomlReader(document, "", faults)
    tables = top.tables("routes")
    if not 0 < len(tables) <= _MOST_ROUTES:
        top.fault("routes", f"expected 1 to {_MOST_ROUTES} routes, got {len(tables)}")
    lines = Lines(text)
    places = [_place(tables, i, lines) for i in range(len(tables))]
    routes = tuple(_route(table, place, faults) for table, place in zip(tables, places, strict=True))
    if sum(route.seals for route in routes) > _MOST_SEALING:
        top.fault("routes", f"expected at most {_MOST_SEALING} routes that seal, got {sum(r.seals for r in routes)}")
    _check_names(routes, places, faults)
    _check_prefixes(routes, places, faults)
    unmatched = _unmatched(top.below("unmatched"), routes, faults)
    limits = _limits(TomlReader({}, "limits", faults) if top.get("limits") is None else top.below("limits"))
    kept = _retain_days(TomlReader({}, "", faults) if top.get("retain_days") is None else top.below("retain_days"))
    top.done()
    if faults:
        raise ConfigurationError(source, [replace(fault, line=lines.of(fault.where)) for fault in faults])
    digest = RoutesDigest(hashlib.sha256(text.encode()).hexdigest())
    return RouteTable(
        routes=routes, unmatched=unmatched, limits=limits, routes_digest=digest, code=code, retain_days=kept
    )


def _is_reserved(name: str) -> bool:
    return name in RESERVED_NAMES or name.endswith(SEAL_SUFFIX)


# --- one route ----------------------------------------------------------------------------------------


def _place(tables: Sequence[Mapping[str, Any]], index: int, lines: Lines) -> str:
    """Return how faults name a route: by its name, and by its line where two have one name."""
    shown = tables[index].get("name")
    if not isinstance(shown, str):
        return f"route '#{index + 1}'"
    is_alone = sum(table.get("name") == shown for table in tables) == 1
    line = lines.of_route(index)
    return f"route {shown!r}" if is_alone or line is None else f"route {shown!r} of line {line}"


def _broken_rule(name: str) -> str | None:
    """Return the rule that a name breaks; None if it is a good one."""
    if len(name) > _LONGEST_NAME:
        return f"it has {len(name)} characters"
    if _is_reserved(name):
        return "it is reserved"
    if odd := re.search(r"[^a-z0-9-]", name):
        return f"{odd[0]!r} is none of these"
    if not _NAME.fullmatch(name):
        return "it begins with a digit or a hyphen, ends with a hyphen, or has two in a row"
    return None


def _route(table: Mapping[str, Any], place: str, faults: list[Fault]) -> Route:
    reader = TomlReader(table, place, faults)
    name = reader.text("name")
    if name and (broken := _broken_rule(name)):
        expected = f"expected up to {_LONGEST_NAME} lower-case letters, digits and hyphens, not reserved"
        reader.fault("name", f"{expected}, got {name!r}: {broken}")
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
        partition=read_partition(reader),
        blocks_when_denied=reader.choice("on_key_denied", ("dead_letter", "block"), "dead_letter") == "block",
        examples=tuple(
            _example(TomlReader(e, f"{reader.where}: examples[{i}]", faults), kinds)
            for i, e in enumerate(reader.tables("examples"))
        ),
        rules=tuple(
            rule
            for i, r in enumerate(reader.tables("protect"))
            if (rule := read_rule(r, f"{reader.where}: protect[{i}]", faults)) is not None
        ),
        rules_digest=_digest(reader.tables("protect")),
        retain_days=_days(reader, "retain_days"),
    )
    for index, hidden in _hidden_folders(route):
        what = f"expected fields that the route shows, got {hidden}, which its rules change; a key would show it"
        reader.fault(f"partition[{index}]", what)
    reader.done()
    return route


def _hidden_folders(route: Route) -> Iterator[tuple[int, str]]:
    """Yield the place and name of each field whose value the names of objects would show and the route does not."""
    partition = route.partition
    if not route.rules:
        return
    protection = Protection(route.rules, lambda _: lambda _: "a token")
    first = 1 + partition.has_hours
    shown = [(place, one.path, one.values) for place, one in enumerate(partition.fields, first)]
    if partition.has_hours and partition.path is not None:
        shown.append((0, partition.path, (_SOME_TIME,)))
    for place, path, values in shown:
        records = (json.dumps(_nested(path, value)).encode() for value in values)
        if any(protection.apply(record).data != record for record in records):
            yield place, ".".join(path)


def _nested(path: Sequence[str], value: str) -> object:
    """Return a record of one field alone."""
    record: object = value
    for name in reversed(path):
        record = {name: record}
    return record


def _digest(rules: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of rules; the paths of a preset never change, so its name is enough."""
    text = json.dumps(rules, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS_OF_RULES] if rules else ""


def _pattern_document(reader: TomlReader) -> object | None:
    """Return the pattern as a document: a TOML table, or JSON text where null is needed."""
    document: object = reader.get("pattern")
    if isinstance(document, str):
        try:
            document = json.loads(document, object_pairs_hook=_without_repetition)
            if document is None:  # not the same as no pattern, which takes every record
                reader.fault("pattern", "expected a non-empty object of fields, got null")
        except (ValueError, RecursionError) as err:
            reader.fault("pattern", f"expected a table or JSON text, got text that is not: {err}")
            return None
    return document


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a repeated key: the earlier value would be ignored silently."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _example(reader: TomlReader, kinds: frozenset[Kind]) -> Example:
    # Without kinds their own fault has been found already.
    kind = reader.choice("kind", Kind, min(kinds) if len(kinds) == 1 else None if kinds else Kind.OTHER)
    example = Example(
        says=reader.text("says"),
        kind=Kind(kind) if kind in tuple(Kind) else Kind.OTHER,
        record=reader.below("record").table,
        takes=reader.truth("takes"),
    )
    reader.done()
    return example


# --- the table as a whole -----------------------------------------------------------------------------


def _check_names(routes: tuple[Route, ...], places: Sequence[str], faults: list[Fault]) -> None:
    seen: dict[str, str] = {}
    for route, place in zip(routes, places, strict=True):
        stem = logical_id(route.name)
        if route.name and stem in seen:
            what = f"expected a name of its own, got one that resources of {seen[stem]} have"
            faults.append(Fault(f"{place}: name", what))
        seen.setdefault(stem, place)


def _check_prefixes(routes: tuple[Route, ...], places: Sequence[str], faults: list[Fault]) -> None:
    taken = [(f"reserved prefix {prefix!r}", prefix) for prefix in RESERVED_PREFIXES]
    for route, place in zip(routes, places, strict=True):
        for owner, other in taken:
            if (
                route.prefix
                and other
                and (f"{route.prefix}/".startswith(f"{other}/") or f"{other}/".startswith(f"{route.prefix}/"))
            ):
                what = f"expected a prefix apart from all others, got {route.prefix!r}; {owner} contains it or is contained"
                faults.append(Fault(f"{place}: prefix", what))
        taken.append((f"the prefix of {place}", route.prefix))


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
    """Return True if the route's kinds could not be read, so that nothing follows from their absence."""
    named = f"route {route.name!r}"
    return any(fault.where.startswith(named) and ": kinds" in fault.where for fault in faults)


def _days(reader: TomlReader, key: str) -> int | None:
    days = reader.get(key)
    if days is None or (isinstance(days, int) and not isinstance(days, bool) and _LEAST_DAYS <= days <= _MOST_DAYS):
        return days
    found = shown_number(days) if isinstance(days, int) and not isinstance(days, bool) else kind_of(days)
    reader.fault(
        key,
        f"expected {_LEAST_DAYS} to {_MOST_DAYS} days, got {found}: the stream keeps a record for 14 days by default, and a "
        "replay of it must find what was delivered",
    )
    return None


def _retain_days(reader: TomlReader) -> RetainDays:
    found = RetainDays(
        dead_letters=_days(reader, "dead_letters"),
        on_failure=_days(reader, "on_failure"),
        archive=_days(reader, "archive"),
    )
    reader.done()
    return found


def _limits(reader: TomlReader) -> Limits:
    limits = Limits(
        records=reader.integer("records", 10_000, least=1, most=10_000),
        plain_bytes=reader.integer("plain_bytes", 16 << 20, least=1 << 20, most=64 << 20),
    )
    reader.done()
    return limits
