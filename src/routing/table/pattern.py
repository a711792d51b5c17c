"""Event patterns: what a route matches, in the language of Amazon EventBridge.

A pattern nests like the record; its leaves are arrays; an array means *any of* and the fields of an
object mean *all of*. `docs/patterns.md` defines the language one example at a time, and what it does not
define is refused here, with the path to the fault.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import UNSET, Struct

from routing.errors import Fault
from routing.fields import DEEPEST, Node, Path, Scalar, attribute, is_field_name, scalars_at
from routing.table.operators import BadTestError, Test, compile_test, kind_of

type Matcher = Callable[[Any, Node], bool]
"""A compiled part of a pattern: (the value at its field, the whole record) -> does it match?"""

type Show = Callable[[Scalar], str]
"""What is shown of a value that does not match."""

_OR = "$or"


class Leaf(Struct, frozen=True, kw_only=True):
    """One field of a pattern with all it accepts.

    Attributes:
        path: The field, e.g. `("Queue", "Name")`.
        expected: The array as JSON, e.g. `[{"prefix": "Claims"}]`.
        strings: The strings that are accepted as they are, the most frequent test of all.
        tests: One per other element of the array; any may accept.
        accepts_absence: True if the array holds `{"exists": false}`.
    """

    path: Path
    expected: str
    strings: frozenset[str]
    tests: tuple[Test, ...]
    accepts_absence: bool

    def matches(self, node: object, root: Node) -> bool:
        """Return True if the value found at this field is accepted; of an array any element may be.

        A field exists if it holds a scalar anywhere in the record, in whichever element of an array on
        the way: that is why absence is asked of `root`.
        """
        found = scalars_at(node, ())
        if found:
            return any(value in self.strings or any(test(value) for test in self.tests) for value in found)
        return self.accepts_absence and not scalars_at(root, self.path)


class Branch(Struct, frozen=True, kw_only=True):
    """An object of a pattern: all fields have to match, and of each `$or` one alternative."""

    fields: tuple[tuple[str, "Branch | Leaf"], ...]
    alternatives: tuple[tuple["Branch", ...], ...]

    def leaves(self) -> Iterator[Leaf]:
        """Yield every leaf below, those of alternatives included."""
        for _, part in self.fields:
            if isinstance(part, Leaf):
                yield part
            else:
                yield from part.leaves()
        for alternative in self.alternatives:
            for branch in alternative:
                yield from branch.leaves()


class Pattern:
    """A compiled pattern. Build it with `compile_pattern`."""

    __slots__ = ("_root", "matcher")

    def __init__(self, root: Branch) -> None:
        """Compile the tree into closures, once per cold start; `matcher` takes the record twice."""
        self._root = root
        self.matcher = _compile(root)

    @property
    def paths(self) -> frozenset[Path]:
        """The fields that have to be decoded for this pattern."""
        return frozenset(leaf.path for leaf in self._root.leaves())

    def matches(self, record: Node) -> bool:
        """Return True if a record, decoded with at least `paths`, matches."""
        return self.matcher(record, record)

    def misses(self, record: Node, show: Show = kind_of) -> tuple[str, ...]:
        """Explain why a record does not match.

        Args:
            record: Decoded with at least `paths`.
            show: What is shown of a value that was found; by default its type.

        Returns:
            One line per field that keeps it from matching, e.g.
            `Queue.Name: expected any of [{"prefix": "Claims"}], got null`; empty if it matches.
        """
        return tuple(_misses(self._root, record, record, show))


def compile_pattern(document: object, where: str, faults: list[Fault]) -> Pattern | None:
    """Compile a pattern or say everything that is wrong with it.

    Args:
        document: The pattern as TOML or JSON reads it, e.g. `{"Channel": ["VOICE"]}`.
        where: Path of the pattern in its file; the faults' paths grow from it.
        faults: Gains a line for every fault.

    Returns:
        The pattern, or None if a fault was added.
    """
    known = len(faults)
    root = _branch(document, (), where, faults)
    return Pattern(root) if root is not None and len(faults) == known else None


# --- reading ------------------------------------------------------------------------------------------


def _branch(document: object, path: Path, where: str, faults: list[Fault], depth: int = 0) -> Branch | None:
    if not isinstance(document, Mapping) or not document:
        faults.append(Fault(where, f"expected a non-empty object of fields, got {kind_of(document)}"))
        return None
    if depth >= DEEPEST:
        faults.append(Fault(where, f"expected at most {DEEPEST} names, one below the other, got more"))
        return None
    fields: list[tuple[str, Branch | Leaf]] = []
    alternatives: list[tuple[Branch, ...]] = []
    for name, below in document.items():
        place = f"{where}.{name}"
        if not is_field_name(name):
            what = "expected a field name without quotes, backslashes and control characters"
            faults.append(Fault(f"{where}.{name!r}", what))
        elif name == _OR:
            alternatives.append(_alternatives(below, path, place, faults, depth))
        elif isinstance(below, Mapping):
            if (branch := _branch(below, (*path, name), place, faults, depth + 1)) is not None:
                fields.append((name, branch))
        else:
            fields.append((name, _leaf(below, (*path, name), place, faults)))
    return Branch(fields=tuple(fields), alternatives=tuple(alternatives))


def _alternatives(document: object, path: Path, where: str, faults: list[Fault], depth: int) -> tuple[Branch, ...]:
    if not isinstance(document, list) or len(document) < 2:  # noqa: PLR2004 - one alternative is none
        faults.append(Fault(where, f"expected an array of two or more patterns, got {kind_of(document)}"))
        return ()
    branches = (_branch(part, path, f"{where}[{i}]", faults, depth + 1) for i, part in enumerate(document))
    return tuple(branch for branch in branches if branch is not None)


def _leaf(document: object, path: Path, where: str, faults: list[Fault]) -> Leaf:
    strings: set[str] = set()
    tests: list[Test] = []
    accepts_absence = False
    if not isinstance(document, list) or not document:
        faults.append(Fault(where, f"expected a non-empty array of what is accepted, got {kind_of(document)}"))
        document = []
    for i, element in enumerate(document):
        try:
            if isinstance(element, str):
                strings.add(element)
            elif isinstance(element, Mapping) and list(element) == ["exists"] and element["exists"] is False:
                accepts_absence = True
            else:
                tests.append(compile_test(element))
        except BadTestError as bad:
            faults.append(Fault(f"{where}[{i}]{bad.below}", bad.what))
    return Leaf(
        path=path,
        expected=json.dumps(document, ensure_ascii=False, default=str),
        strings=frozenset(strings),
        tests=tuple(tests),
        accepts_absence=accepts_absence,
    )


# --- matching -----------------------------------------------------------------------------------------


# Plain loops and no all() or any() over a generator: this runs for every record and route.


def _compile(branch: Branch) -> Matcher:
    parts = [_compile_field(name, part) for name, part in branch.fields]
    parts += [_compile_alternatives(alternative) for alternative in branch.alternatives]
    if len(parts) == 1:
        return parts[0]

    def matches(node: Any, root: Node) -> bool:  # noqa: ANN401 - a decoded value of any type
        for part in parts:  # noqa: SIM110
            if not part(node, root):
                return False
        return True

    return matches


def _compile_alternatives(branches: tuple[Branch, ...]) -> Matcher:
    compiled = [_compile(branch) for branch in branches]

    def matches(node: Any, root: Node) -> bool:  # noqa: ANN401
        for alternative in compiled:  # noqa: SIM110
            if alternative(node, root):
                return True
        return False

    return matches


def _compile_field(name: str, part: Branch | Leaf) -> Matcher:
    field = attribute(name)
    if isinstance(part, Leaf):
        return _compile_leaf(field, part)
    below = _compile(part)

    def matches(node: Any, root: Node) -> bool:  # noqa: ANN401
        # What is neither an object nor an array has no such attribute either, so below it all is absent.
        found = getattr(node, field, UNSET)
        if type(found) is list:
            return any(below(element, root) for element in _objects_in(found))
        return below(found, root)

    return matches


def _compile_leaf(field: str, leaf: Leaf) -> Matcher:
    strings, tests, accepts_absence = leaf.strings, leaf.tests, leaf.accepts_absence

    def matches(node: Any, root: Node) -> bool:  # noqa: ANN401
        found = getattr(node, field, UNSET)
        if type(found) is str:
            if found in strings:
                return True
            for test in tests:  # noqa: SIM110
                if test(found):
                    return True
            return False
        if found is UNSET and not accepts_absence:
            return False
        return leaf.matches(found, root)

    return matches


def _objects_in(array: list[Any]) -> list[Node | None]:
    """Return the objects of an array, however nested; None for an array without any."""
    objects: list[Node | None] = []
    waiting = [array]
    while waiting:
        for element in waiting.pop():
            if isinstance(element, Node):
                objects.append(element)
            elif isinstance(element, list):
                waiting.append(element)
    return objects or [None]


# --- explaining ---------------------------------------------------------------------------------------


def _misses(branch: Branch, record: object, root: Node, show: Show) -> Iterator[str]:
    for name, part in branch.fields:
        if _compile_field(name, part)(record, root):
            continue
        if isinstance(part, Leaf):
            yield f"{'.'.join(part.path)}: expected any of {part.expected}, got {_found(root, part.path, show)}"
            continue
        found = getattr(record, attribute(name), UNSET)
        objects = _objects_in(found) if isinstance(found, list) else [found]
        near = [tuple(_misses(part, element, root, show)) for element in objects]
        yield from min(near, key=len)
    for branches in branch.alternatives:
        if not any(_compile(alternative)(record, root) for alternative in branches):
            for alternative in branches:
                yield from (f"$or: {miss}" for miss in _misses(alternative, record, root, show))


def _found(root: Node, path: Path, show: Show) -> str:
    shown = sorted({show(value) for value in scalars_at(root, path)})
    return " or ".join(shown) or "nothing"
