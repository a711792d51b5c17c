"""Runs the commands of a cure against a world, as an operator would paste them: `aws <service> <operation> --option ...`."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from botocore import xform_name

from tests.doctor.world import World

_SERVICES = {"s3api": "s3"}


def commands_of(cure: str) -> list[list[str]]:
    """Return the commands in a cure; what lies between them is for people."""
    found = []
    for part in _parts(cure):
        start = part.find("aws ")
        if start >= 0 and (start == 0 or part[start - 1] in " :"):
            found.append(shlex.split(part[start:])[1:])
    return found


def apply(world: World, cure: str) -> int:
    """Run all commands of a cure; return how many there are."""
    commands = commands_of(cure)
    for service, operation, *options in commands:
        client = world.client(_SERVICES.get(service, service))
        members = client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[operation.replace("-", "_")]
        ).input_shape.members
        names = {xform_name(member, "-"): member for member in members}
        getattr(client, operation.replace("-", "_"))(**dict(_parameters(options, names, members)))
    return len(commands)


def _parameters(options: list[str], names: dict[str, str], members: Any) -> Iterator[tuple[str, Any]]:
    given = list(options)
    while given:
        name = names[given.pop(0).removeprefix("--")]
        if members[name].type_name == "boolean":
            yield name, True
            continue
        text = given.pop(0)
        if members[name].type_name in {"structure", "list", "map"}:
            yield name, json.loads(text) if text[:1] in "{[" else _shorthand(text, members[name])
        elif members[name].type_name in {"integer", "long"}:
            yield name, int(text)
        else:
            yield name, text


def _shorthand(text: str, shape: Any) -> Any:
    """Read `A=true,B={C=x}`; of a list its only entry."""
    if shape.type_name == "list":
        return text.split(",")
    found: dict[str, Any] = {}
    while text:
        key, _, rest = text.partition("=")
        if rest.startswith("{"):
            inner, _, text = rest[1:].partition("}")
            found[key] = _shorthand(inner, shape.members[key])
            text = text.removeprefix(",")
        else:
            value, _, text = rest.partition(",")
            found[key] = value == "true" if shape.members[key].type_name == "boolean" else value
    return found


def _parts(cure: str) -> Iterator[str]:
    """Split at semicolons and `&&` outside of quotes."""
    part, is_quoted = "", False
    for character in cure.replace(" && ", "; "):
        is_quoted ^= character == "'"
        if character == ";" and not is_quoted:
            yield part
            part = ""
        else:
            part += character
    yield part
