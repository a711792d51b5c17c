"""The shape of what is decoded: only the fields that routes name, as msgspec types built once.

`path -> tree -> type`: the paths that patterns and partitions use become a tree of names, and the tree
becomes a struct type that tells the JSON parser to skip everything else. No field can fail the decoding
by its type: every node takes an object, an array, a scalar or null, and absent stays different from null.
"""

import functools
import re
from collections.abc import Iterable
from typing import Any, Union, cast

from msgspec import UNSET, Struct, UnsetType, defstruct

type Path = tuple[str, ...]
"""A field by its names from the root, e.g. `("Queue", "Name")`."""

type Scalar = str | int | float | bool | None

DEEPEST = 32
"""How many names a path may have: five are the most in a contact record, and types and matchers recurse."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_SCALARS = (str, int, float, bool, None, UnsetType)


class Node(Struct, frozen=True, gc=False):
    """An object of a record, holding only the fields that some route names."""


def is_field_name(name: str) -> bool:
    """Return True if a field of this name can be decoded: msgspec compares names as JSON spells them."""
    return name.isprintable() and not {'"', "\\"} & set(name)


def column_name(path: Path) -> str:
    """Return the name of a field's column: its path in snake case, as in Connect's own analytics data lake.

    Source: https://docs.aws.amazon.com/connect/latest/adminguide/data-lake.html
    """
    return "_".join(_WORDS.sub("_", name).lower() for name in path)


@functools.cache
def attribute(name: str) -> str:
    """Return the Python attribute that holds the field `name`: any text, e.g. `connect:Subtype`."""
    return "f_" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name)


def node_type(paths: Iterable[Path]) -> type[Node]:
    """Build the type that decodes `paths` out of a record and skips the rest.

    Args:
        paths: Fields by their names, e.g. `[("Channel",), ("Queue", "Name")]`.

    Returns:
        A subclass of `Node`; a field that the record lacks is `UNSET`.
    """
    below: dict[str, list[Path]] = {}
    for head, *tail in paths:
        below.setdefault(head, [])
        if tail:
            below[head].append(tuple(tail))
    made = defstruct(
        "Node",
        [(attribute(name), _field_type(node_type(rest)), UNSET) for name, rest in below.items()],
        bases=(Node,),
        rename={attribute(name): name for name in below},
        frozen=True,
        gc=False,
    )
    return cast("type[Node]", made)


def _field_type(node: type[Node]) -> Any:  # noqa: ANN401 - a union made at run time has no static type
    """Return the type of a field that may hold anything, with `node` for the objects in it.

    An EventBridge pattern looks into arrays of arrays too. Three deep is more than any contact record has;
    objects that lie deeper are decoded as dictionaries, and no pattern looks into those.
    """
    array: Any = list[Any]
    for _ in range(3):
        array = list[Union[(node, *_SCALARS[:-1], array)]]  # type: ignore[misc]
    return Union[(node, *_SCALARS, array)]


def scalars_at(node: object, path: Path) -> list[Scalar]:
    """Return the scalars that a field holds, e.g. `["VOICE"]`; none if it is absent or an object.

    An array matches by its elements, at any depth; a loop follows it, since it may be deeper than Python's stack.
    """
    found: list[Scalar] = []
    waiting = [(node, path)]
    while waiting:
        here, rest = waiting.pop()
        if type(here) is list:
            waiting += [(element, rest) for element in reversed(here)]
        elif isinstance(here, Node):
            if rest:
                waiting.append((getattr(here, attribute(rest[0]), UNSET), rest[1:]))
        elif not rest and (here is None or isinstance(here, str | int | float)):
            found.append(here)
    return found
