"""Paths of protection rules: where in a record a rule looks.

`Agent.Username` names a field, `*` any key or element, `**` any number of them, none included; a key with a
dot, a star or a quote is written in double quotes, as in JSON: `Attributes."order.id"`. Elements of arrays
have no names: `References.*.Value` meets each.
"""

import json
import re
from collections.abc import Iterable
from typing import Literal

type Segment = str | tuple[Literal["*", "**"]]
"""A key, or a wildcard."""

type FieldPath = tuple[Segment, ...]

ANY: Segment = ("*",)
DEEP: Segment = ("**",)
_SEGMENT = re.compile(r'"(?:[^"\\]|\\.)*"|\*\*|\*|[^".*\s]+')
_DEEPEST = 32


def read_path(text: str) -> FieldPath:
    """Read a path.

    Raises:
        ValueError: It is none; the message tells what was expected.
    """
    segments: list[Segment] = []
    position = 0
    while True:
        match = _SEGMENT.match(text, position)
        if match is None:
            raise ValueError(f"expected a key, * or ** at character {position + 1}")
        segments.append(_segment(match[0]))
        position = match.end()
        if position == len(text):
            break
        if text[position] != ".":
            raise ValueError(f"expected a dot at character {position + 1}")
        position += 1
    if len(segments) > _DEEPEST:
        raise ValueError(f"expected at most {_DEEPEST} keys, got {len(segments)}")
    return tuple(segments)


def show_path(path: Iterable[Segment]) -> str:
    """Write a path as `read_path` reads it."""
    return ".".join(segment[0] if isinstance(segment, tuple) else _shown(segment) for segment in path)


def _segment(text: str) -> Segment:
    if text == "*":
        return ANY
    if text == "**":
        return DEEP
    if not text.startswith('"'):
        return text
    try:
        key: str = json.loads(text)
    except ValueError:
        raise ValueError(f"expected a key as JSON spells it, got {text}") from None
    return key


def _shown(key: str) -> str:
    return key if _SEGMENT.fullmatch(key) and not key.startswith(('"', "*")) else json.dumps(key, ensure_ascii=False)


type _Paths = frozenset[tuple[int, FieldPath]]
_MOST_STATES = 1000


class Reach:
    """What a walk from the root of a record may still meet: the rules whose paths begin that way.

    An automaton over the paths of all rules, made as it is walked. Rules are numbers, lower ones first.
    """

    __slots__ = ("_known", "_named", "_next", "_open", "below", "here", "is_idle", "only")

    def __init__(self, paths: _Paths, known: "dict[_Paths, Reach]") -> None:
        """Bind rules to the rest of their paths; `reach_of` makes the first.

        `here` is the first rule that meets this value, `below` the first that may meet one inside; None if none.
        `is_idle` is true if there is neither. `only` holds the keys below which something may be met; None if any may be.
        """
        closed = _closure(paths)
        self._known = known
        self._open = frozenset((rule, path) for rule, path in closed if path)
        self._named = frozenset(path[0] for _, path in self._open)
        self._next: dict[str | None, Reach] = {}
        self.here = min((rule for rule, path in closed if not path), default=None)
        self.below = min((rule for rule, _ in self._open), default=None)
        self.is_idle = self.here is None and self.below is None
        self.only = None if {ANY, DEEP} & self._named else self._named

    def enter(self, key: str | None) -> "Reach":
        """Return what may be met below a key, or below an element of an array: None."""
        if key not in self._named:
            key = None  # keys of attributes are free: what is remembered must not grow with the records
        found = self._next.get(key)
        return self._after(key) if found is None else found

    def _after(self, key: str | None) -> "Reach":
        paths = frozenset(
            (rule, path if path[0] == DEEP else path[1:]) for rule, path in self._open if path[0] in {ANY, DEEP, key}
        )
        found = self._known.get(paths)
        if found is None:
            found = Reach(paths, self._known)
            if len(self._known) >= _MOST_STATES:
                return found  # rules of many wildcards have more states than are worth remembering
            self._known[paths] = found
        self._next[key] = found
        return found


def reach_of(paths: Iterable[tuple[int, FieldPath]]) -> Reach:
    """Return where a walk begins, given the paths of each rule."""
    return Reach(frozenset(paths), {})


def _closure(open_paths: _Paths) -> _Paths:
    """Let `**` meet nothing as well."""
    found = set(open_paths)
    for rule, path in open_paths:
        rest = path
        while rest and rest[0] == DEEP:
            rest = rest[1:]
            found.add((rule, rest))
    return frozenset(found)
