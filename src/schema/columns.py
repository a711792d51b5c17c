"""The schema of a kind of record -> the columns that a route's table has, after the route's protection.

A tree of names: a leaf is a type, an array has the one key `*`. Names keep Connect's spelling.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing.fields import column_name
from routing.model import Kind
from routing.protection.paths import ANY, FieldPath, read_path
from routing.protection.rules import SEALED, Protection
from routing.table.routes import Route, RouteTable

type Tree = str | dict[str, Tree]
"""A type, or the fields of an object; `{"*": ...}` is an array."""

_FILE = Path(__file__).with_name("schema.toml")
_SNAPSHOTS = ("CurrentAgentSnapshot", "PreviousAgentSnapshot")
_ELEMENT = "*"
JSON = "json"
STRING = "string"
INTEGER = "integer"
# What stands for a value of each type in the record that a route's rules are tried on.
_EXAMPLES: Mapping[str, object] = {STRING: "text of some length", "bigint": 1, "double": 1.5, "boolean": True}
_JSON_EXAMPLE = {"any": "text of some length"}
_GLUE = {JSON: "string", INTEGER: "int"}
_ATHENA = {STRING: "varchar", JSON: "varchar"}


def version() -> int:
    """Return the version of the schema."""
    number: int = _read()["version"]
    return number


def fields_of(kind: Kind) -> dict[str, Tree]:
    """Return the fields of a kind; of `other` there are none that anybody knows."""
    tree: dict[str, Tree] = {}
    for path, of_type in typed_paths(kind):
        _grow(tree, [_ELEMENT if name == ANY else str(name) for name in path], of_type)
    return tree


def columns_of(route: Route, kind: Kind) -> dict[str, Tree]:
    """Return the fields of a kind as a route shows them: what its rules take out is no column, what they mask is text."""
    fields = fields_of(kind)
    if not route.rules:
        return fields
    protection = Protection(route.rules, lambda _: lambda text: f"token of {len(text)} characters")
    before = _example(fields)
    after = json.loads(protection.apply(json.dumps(before).encode()).data)
    shown = _shown(fields, after) or {}  # rules may take out all of them
    assert isinstance(shown, dict)
    return shown | ({SEALED: STRING} if protection.seals else {})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view, read from the line of a record.

    Attributes:
        name: e.g. `queue_name`.
        path: Of the field, e.g. `("Queue", "Name")`.
        type: `string`, `integer`, `bigint`, `double`, `boolean`, or `json`: an array or an object, as text.
        tree: Of an array, the type of its elements.
    """

    name: str
    path: tuple[str, ...]
    type: str
    tree: Tree | None = None

    @property
    def is_array(self) -> bool:
        """True for an array whose elements have a type."""
        return self.tree is not None

    @property
    def parquet_type(self) -> str:
        """Its type as Glue spells it where columns are stored: arrays keep their nested types."""
        return self.glue_type if self.tree is None else f"array<{_nested(self.tree)}>"

    @property
    def glue_type(self) -> str:
        """Its type as Glue spells it."""
        return _GLUE.get(self.type, self.type)

    @property
    def athena_type(self) -> str:
        """Its type as Athena's SQL spells it."""
        return _ATHENA.get(self.type, self.type)


def flat(columns: Mapping[str, Tree], above: tuple[str, ...] = ()) -> Iterator[Column]:
    """Yield a column for each field that is no object; an array is one column."""
    for name, tree in columns.items():
        path = (*above, name)
        if isinstance(tree, str):
            yield Column(column_name(path), path, tree)
        elif _ELEMENT in tree:
            yield Column(column_name(path), path, JSON, tree[_ELEMENT])
        else:
            yield from flat(tree, path)


def _nested(tree: Tree) -> str:
    if isinstance(tree, str):
        return _GLUE.get(tree, tree)
    if _ELEMENT in tree:
        return f"array<{_nested(tree[_ELEMENT])}>"
    return f"struct<{','.join(f'{column_name((name,))}:{_nested(below)}' for name, below in tree.items())}>"


def paths_in(tree: Tree, path: FieldPath = ()) -> Iterator[FieldPath]:
    """Yield the path of every leaf, as rules would name it."""
    if isinstance(tree, str):
        yield path
        return
    for name, below in tree.items():
        yield from paths_in(below, (*path, ANY if name == _ELEMENT else name))


def misfits(value: object, tree: Tree, where: str = "") -> Iterator[str]:
    """Yield what of a record does not fit: where, the type that is declared and the type that was found."""
    if value is None or tree == JSON:
        return
    if isinstance(tree, str):
        if not isinstance(value, _PYTHON[tree]) or (isinstance(value, bool) and tree != "boolean"):
            yield f"{where}: expected {tree}, got {type(value).__name__}"
    elif _ELEMENT in tree:
        if not isinstance(value, list):
            yield f"{where}: expected an array, got {type(value).__name__}"
            return
        for element in value:
            yield from misfits(element, tree[_ELEMENT], f"{where}[]")
    elif not isinstance(value, dict):
        yield f"{where}: expected an object, got {type(value).__name__}"
    else:
        for name, below in value.items():
            if name not in tree:
                yield f"{where}.{name}: expected a declared field, got {type(below).__name__}"
            else:
                yield from misfits(below, tree[name], f"{where}.{name}")


_PYTHON: Mapping[str, type | tuple[type, ...]] = {STRING: str, "bigint": int, "double": (int, float), "boolean": bool}


def _read() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def typed_paths(kind: Kind) -> Iterator[tuple[FieldPath, str]]:
    """Yield the path of every declared field of a kind, with its type."""
    document = _read()
    for of_type, text in document.get(kind, {}).items():
        yield from ((read_path(path), of_type) for path in text.split())
    if kind is Kind.AGENT_EVENT:
        for of_type, text in document["snapshot"].items():
            yield from ((read_path(f"{name}.{path}"), of_type) for name in _SNAPSHOTS for path in text.split())


def _grow(tree: dict[str, Tree], path: list[str], of_type: str) -> None:
    name, *rest = path
    if not rest:
        tree[name] = of_type
        return
    below = tree.setdefault(name, {})
    assert isinstance(below, dict), f"{name} is declared twice"
    _grow(below, rest, of_type)


def _example(tree: Tree) -> object:
    """Make a record that has every field."""
    if tree == JSON:
        return _JSON_EXAMPLE
    if isinstance(tree, str):
        return _EXAMPLES[tree]
    if _ELEMENT in tree:
        return [_example(tree[_ELEMENT])]
    return {name: _example(below) for name, below in tree.items()}


def _shown(tree: Tree, after: object) -> Tree | None:
    """Return a type as it is after the rules; None if nothing of it is left."""
    if tree == JSON:
        return JSON
    if isinstance(tree, str):
        return STRING if isinstance(after, str) else tree
    if _ELEMENT in tree:
        below = _shown(tree[_ELEMENT], after[0]) if isinstance(after, list) and after else None
        return None if below is None else {_ELEMENT: below}
    kept = {
        name: _shown(below, after[name]) for name, below in tree.items() if isinstance(after, dict) and name in after
    }
    left = {name: below for name, below in kept.items() if below is not None}
    return left or None


def tables_of(route: Route, table: RouteTable) -> Iterator[tuple[Kind, str]]:
    """Yield the kinds that may stand below a route's prefix, each with the name of its table."""
    for kind in Kind:
        if kind in route.kinds or table.unmatched.get(kind) is route:
            yield kind, f"{route.name.replace('-', '_')}_{kind}"
