"""The fields that Amazon Connect is known to send, so that a path with a slip of the pen is noticed.

They are those of `schema.toml`. Connect adds new fields without notice, so an unknown path is a warning and no error.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from routing.model import Kind
from routing.protection.paths import ANY, DEEP, FieldPath, show_path
from routing.protection.presets import PRESETS
from routing.table.partition import ARRIVAL, OTHER
from routing.table.routes import Route
from schema.columns import JSON, typed_paths


def unknown_paths(route: Route) -> Iterator[tuple[str, str]]:
    """Yield each path of a route's rules that meets no known field of its kinds, and the nearest one that is known."""
    known = [path for kind in route.kinds or Kind for path in _known(kind)]
    of_presets = {path for preset in PRESETS.values() for path in preset.read}
    for rule in route.rules:
        for path in rule.paths:
            if path not in of_presets and not any(_meet(path, one) for one in known):
                near = get_close_matches(show_path(path), [show_path(one) for one in known], 1, 0.0)
                yield show_path(path), near[0]


def through_arrays(route: Route) -> Iterator[tuple[str, str]]:
    """Yield each path of a route's rules that names what is below an array without `*`, and how it is meant.

    Such a rule protects nothing: a pattern goes into arrays by itself, a path of a rule only by `*`.
    """
    known = [path for kind in route.kinds or Kind for path in _known(kind)]
    for rule in route.rules:
        for path in rule.paths:
            if any(_meet(path, one) for one in known):
                continue
            meant = next((one for one in known if ANY in one and _without_any(one) == _without_any(path)), None)
            if meant is not None:
                yield show_path(path), show_path(meant)


def _without_any(path: FieldPath) -> tuple[object, ...]:
    return tuple(step for step in path if step != ANY)


def unknown_partition(route: Route) -> Iterator[tuple[str, str, str]]:
    """Yield each field of a route's partition that Connect is not known to send: what follows, and the nearest it sends."""
    known = [path for kind in route.kinds or Kind for path in _known(kind)]
    shown = [text for one in known if "*" not in (text := show_path(one))]
    path = route.partition.path
    if path is not None and not any(_meet(path, one) for one in known):
        near = get_close_matches(".".join(path), [one for one in shown if one.endswith("Timestamp")], 1, 0.0)
        yield ".".join(path), "dated by its arrival", near[0] if near else ARRIVAL
    for field in route.partition.fields:
        if not any(_meet(field.path, one) for one in known):
            near = get_close_matches(".".join(field.path), shown, 1, 0.0)
            yield ".".join(field.path), f"stored below {field.name}={OTHER}", near[0] if near else "a known one"


def is_known(path: FieldPath, kind: Kind) -> bool:
    """Return True if a path meets a field that Connect is known to send."""
    return any(_meet(path, one) for one in _known(kind))


@cache
def _known(kind: Kind) -> tuple[FieldPath, ...]:
    """Return every field of a kind and what lies above it; `**` below a field that may have any shape."""
    if kind is Kind.OTHER:
        return ((DEEP,),)
    known: dict[FieldPath, None] = {}
    for path, of_type in typed_paths(kind):
        known |= dict.fromkeys(path[:length] for length in range(1, len(path) + 1))
        if of_type == JSON:
            known[*path, DEEP] = None
    return tuple(known)


def _meet(path: FieldPath, known: FieldPath) -> bool:
    """Return True if a rule's path may name a known field; a known `*` is an array, which no name goes through."""
    if not path:
        return not known or known == (DEEP,)
    if path[0] == DEEP:
        return any(_meet(path[1:], known[start:]) for start in range(len(known) + 1))
    if not known:
        return False
    if known[0] == DEEP:
        return _meet(path, known[1:]) or _meet(path[1:], known)
    return path[0] in {ANY, known[0]} and _meet(path[1:], known[1:])
