"""Read the protection rules of a route: `[[routes.protect]]` -> rules, or every fault with its path."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from routing.errors import Fault
from routing.protection import masks
from routing.protection.masks import Mask
from routing.protection.paths import FieldPath, read_path
from routing.protection.presets import PRESETS
from routing.protection.rules import Action, Rule
from routing.table.toml_reader import TomlReader

_SHAPES = ("last", "first", "email", "text", "matching")
_OF_HASH = ("join", "keys")
_LONGEST_SHOWN = 64


def read_rule(table: Mapping[str, Any], where: str, faults: list[Fault]) -> Rule | None:
    """Read one rule; None if it has no action.

    Args:
        table: `{"mask": ["CustomerEndpoint.Address"], "last": 4}`.
        where: Its place in the file, for faults.
        faults: Gains what is wrong.
    """
    reader = TomlReader(table, where, faults)
    actions = [action for action in Action if action in table]
    if len(actions) != 1:
        reader.fault("", f"expected one of {', '.join(Action)}, got {len(actions)} of them")
        for key in (*Action, *_SHAPES, *_OF_HASH):
            reader.get(key)
        reader.done()
        return None
    (action,) = actions
    paths = _paths(reader, action)
    mask = _mask(reader) if action is Action.MASK else None
    join = reader.text("join", "") or None if action is Action.HASH else None
    keys = action is Action.HASH and reader.get("keys") is not None and reader.truth("keys")
    reader.done(*(_SHAPES if action is Action.MASK else _OF_HASH if action is Action.HASH else ()))
    matching = table.get("matching")
    return Rule(
        action=action,
        paths=paths,
        mask=mask,
        join=join,
        keys=keys,
        matching=matching if action is Action.MASK and isinstance(matching, str) else "",
    )


def _paths(reader: TomlReader, action: Action) -> tuple[FieldPath, ...]:
    paths: list[FieldPath] = []
    written = reader.get(action)
    if not isinstance(written, list) or not written:
        reader.fault(action, "expected a list of paths, at least one")
        return ()
    for text in written:
        if not isinstance(text, str):
            reader.fault(action, f"expected paths as text, got {type(text).__name__}")
        elif text.startswith("@"):
            preset = PRESETS.get(text[1:])
            if preset is None:
                reader.fault(action, f"expected a preset, {', '.join(f'@{name}' for name in PRESETS)}; got {text!r}")
            else:
                paths += preset.read
        else:
            try:
                paths.append(read_path(text))
            except ValueError as err:
                reader.fault(action, f"path {text!r}: {err}")
    return tuple(paths)


def _mask(reader: TomlReader) -> Mask:
    shapes = [shape for shape in _SHAPES if shape in reader.table]
    misspelt = [key for key in reader.table if key not in _SHAPES and get_close_matches(key, _SHAPES, 1)]
    if len(shapes) != 1:
        if shapes or not misspelt:  # the fault of a misspelt key says what was meant
            reader.fault("mask", f"expected one of {', '.join(_SHAPES)} beside it, got {len(shapes)} of them")
        for shape in shapes:
            reader.get(shape)
        return masks.fixed("")
    (shape,) = shapes
    if shape in {"last", "first"}:
        count = reader.integer(shape, 0, least=1, most=_LONGEST_SHOWN)
        return masks.last(count) if shape == "last" else masks.first(count)
    if shape == "email":
        if not reader.truth("email"):
            reader.fault("email", "expected true; leave the rule out to mask nothing")
        return masks.email
    text = reader.text(shape)
    if shape == "text" or not text:
        return masks.fixed(text)
    try:
        return masks.matching(masks.bounded_pattern(text))
    except ValueError as err:
        reader.fault(shape, str(err))
        return masks.fixed("")
