"""The statements of the templates as they are written: what a reviewer reads, and what changed between two versions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_CARRIERS = ("KeyPolicy", "PolicyDocument", "AssumeRolePolicyDocument")


@dataclass(frozen=True, slots=True, order=True)
class Written:
    """One statement of a template.

    Attributes:
        resource: The logical id of the resource whose policy it belongs to.
        sid: Its name; of a trust its place.
        text: The statement as JSON, intrinsic functions included, keys in order.
    """

    resource: str
    sid: str
    text: str


class _Loader(yaml.SafeLoader):
    """Reads intrinsic functions in their short form, e.g. `!Ref Name` as `{"!Ref": "Name"}`."""


def _function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{name}": loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {f"!{name}": loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {f"!{name}": loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def statements_of(template: str) -> list[Written]:
    """Return all statements of a template, and of its permissions and attachments what they amount to.

    Args:
        template: The text of a template, YAML.
    """
    document = yaml.load(template, _Loader)  # noqa: S506 - a safe loader with CloudFormation's tags
    found: list[Written] = []
    for name, resource in document.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        for carrier in _CARRIERS:
            for place, (one, conditions) in enumerate(_statements(properties.get(carrier, {}).get("Statement", []))):
                sid = str(one.get("Sid", f"{place + 1}"))
                found.append(Written(name, sid, _as_text(one, [*_of_resource(resource), *conditions])))
        if resource.get("Type") == "AWS::Lambda::Permission":
            found.append(Written(name, "permission", _as_text(properties, _of_resource(resource))))
        if "Roles" in properties:
            found.append(Written(name, "attached to", _as_text({"Roles": properties["Roles"]}, _of_resource(resource))))
    return found


def changes(old: list[Written], new: list[Written]) -> Iterator[tuple[str, Written, Written | None]]:
    """Yield what is new, what is gone, and what is changed, with what it was."""
    before = {(one.resource, one.sid): one for one in old}
    after = {(one.resource, one.sid): one for one in new}
    for place in sorted(before.keys() | after.keys()):
        if place not in before:
            yield "new", after[place], None
        elif place not in after:
            yield "gone", before[place], None
        elif before[place] != after[place]:
            yield "changed", after[place], before[place]


def _statements(entries: list[Any]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield statements, each with the conditions of the template under which it is there."""
    for entry in entries:
        if "!If" not in entry:
            yield entry, []
            continue
        condition, one, other = entry["!If"]
        for branch, named in ((one, condition), (other, f"not {condition}")):
            if "!Ref" not in branch:
                for below, conditions in _statements([branch]):
                    yield below, [named, *conditions]


def _of_resource(resource: Mapping[str, Any]) -> list[str]:
    return [resource["Condition"]] if "Condition" in resource else []


def _as_text(one: Mapping[str, Any], conditions: list[str]) -> str:
    made = {name: value for name, value in one.items() if name != "Sid"}
    if conditions:
        made["only if"] = conditions
    return json.dumps(made, sort_keys=True)
