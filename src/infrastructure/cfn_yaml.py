"""CloudFormation's YAML: intrinsic functions in their short form, as people write them."""

import re
from textwrap import indent
from typing import Any

import yaml

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
_Dumper.add_representer(Function, lambda dumper, value: dumper.represent_sequence(f"!{value[0]}", value[1]))


def cfn_yaml(value: object, by: int) -> str:
    """Write a part of a template, indented by some spaces; nothing for an empty one."""
    if not value:
        return ""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True, default_flow_style=False)
    return indent(_EXPLAINED.sub(r"'\1' # \2", text), " " * by)
