"""CloudFormation's YAML: intrinsic functions in their short form, as people write them."""

import re
from collections.abc import Collection
from textwrap import indent
from typing import Any

import yaml

_WIDTH = 138
_NAME_IN_QUOTES = re.compile(r"(!(?:Ref|GetAtt|Condition)) '([\w.:]+)'")
_BESIDE = "~because~"
_EXPLAINED = re.compile(rf"(?<=: )'?([^\s']+){_BESIDE}([^'\n]+)'?")


class Ref(str):
    """`!Ref Name`."""

    __slots__ = ()


class GetAtt(str):
    """`!GetAtt Name.Attribute`."""

    __slots__ = ()


class Sub(str):
    """`!Sub "text with ${Name}"`."""

    __slots__ = ()


class SubText(str):
    """`!Sub` of a text of many lines, written as it is."""

    __slots__ = ()


class Text(str):
    """A text of many lines, written as it is."""

    __slots__ = ()


class Function(tuple[str, list[Any]]):
    """Any intrinsic function of a list, e.g. `Function(("If", [condition, one, other]))`."""

    __slots__ = ()


class Explained(str):
    """A text with the reason for it beside it: `Explained.of("*", "in a key policy: this key")`."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str, reason: str) -> "Explained":
        """Join text and reason by a mark that neither holds."""
        return cls(f"{text}{_BESIDE}{reason}")


class Inline(list[Any]):
    """A list in one line, e.g. of actions."""


class InlineMap(dict[str, Any]):
    """A mapping in one line, e.g. a column."""


class InlineFunction(Function):
    """An intrinsic function in one line, with all that is in it."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Write everything out: CloudFormation takes no YAML aliases."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists below their key."""
        super().increase_indent(flow, False)


_Dumper.add_representer(Ref, lambda dumper, value: dumper.represent_scalar("!Ref", str(value)))
_Dumper.add_representer(GetAtt, lambda dumper, value: dumper.represent_scalar("!GetAtt", str(value)))
_Dumper.add_representer(Explained, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value)))
_Dumper.add_representer(Sub, lambda dumper, value: dumper.represent_scalar("!Sub", str(value), style='"'))
_Dumper.add_representer(SubText, lambda dumper, value: dumper.represent_scalar("!Sub", str(value), style="|"))
_Dumper.add_representer(
    Text, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="|")
)
_Dumper.add_representer(Inline, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True))
_Dumper.add_representer(
    InlineMap, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)
)
_Dumper.add_representer(
    InlineFunction, lambda dumper, value: dumper.represent_sequence(f"!{value[0]}", value[1], flow_style=True)
)
_Dumper.add_representer(Function, lambda dumper, value: dumper.represent_sequence(f"!{value[0]}", value[1]))


def cfn_yaml(value: object, by: int) -> str:
    """Write a part of a template, indented by some spaces; nothing for an empty one."""
    if not value:
        return ""
    # What is written begins on a line of its own.
    text = _dumped(_folded(value, _WIDTH - by, used=_WIDTH), width=_WIDTH)
    return indent(_EXPLAINED.sub(r"'\1' # \2", text), " " * by)


def _dumped(value: object, *, width: float) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True, default_flow_style=False)
    return _NAME_IN_QUOTES.sub(r"\1 \2", text)


def _folded(value: object, room: int, used: int = 0) -> object:
    """Return a value whose lists, mappings and functions of single values are written in one line where they fit.

    A mapping of one key counts as a single value, e.g. `{ArnEquals: {"aws:PrincipalArn": !GetAtt Role.Arn}}`.

    Args:
        value: A part of a template.
        room: Characters of a line behind its indentation.
        used: Those of the key before the value.
    """
    if isinstance(value, (Inline, InlineMap)) or not isinstance(value, (dict, list, Function)):
        return value
    one_line = _in_one_line(value)
    if one_line is not None and _fits(one_line, room - used):
        return one_line
    if isinstance(value, dict):
        return {key: _folded(below, room - 2, len(str(key)) + 2) for key, below in value.items()}
    if isinstance(value, Function):
        return Function((value[0], [_folded(below, room - 4) for below in value[1]]))
    return [_folded(below, room - 4) for below in value]


def _in_one_line(value: dict[str, Any] | list[Any] | Function) -> object:
    """Return a function, or what holds single values only, in the form of one line."""
    if isinstance(value, Function):
        return InlineFunction(value)
    if isinstance(value, dict):
        below = {key: _one_of_one(one) for key, one in value.items()}
        return InlineMap(below) if _is_leaf(below.values()) else None
    return Inline(value) if _is_leaf(value) else None


def _one_of_one(value: object) -> object:
    if isinstance(value, dict) and len(value) == 1:
        return _in_one_line(value) or value
    return value


def _is_leaf(values: Collection[object]) -> bool:
    return bool(values) and not any(
        isinstance(one, (dict, list)) and not isinstance(one, (Inline, InlineMap)) for one in values
    )


def _fits(value: object, room: int) -> bool:
    text = _dumped([value], width=float("inf")).removeprefix("- ").rstrip("\n")
    return len(text) <= room and "\n" not in text and _BESIDE not in text
