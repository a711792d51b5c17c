"""The AWS CLI's commands as a runbook spells them, run by boto3: names come from botocore's own models.

As a program, for shells: `python -m tests.e2e.aws_cli kms describe-key --key-id alias/x --query KeyMetadata.KeyId`.
"""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name


def run(command: str, client: Callable[[str], Any]) -> Any:
    """Run e.g. `aws kms describe-key --key-id alias/x`; an option that the operation does not have is an error."""
    program, service, operation, *rest = shlex.split(command)
    assert program == "aws"
    maker = client({"s3api": "s3"}.get(service, service))
    if operation == "wait":
        waiter, *rest = rest
        return maker.get_waiter(waiter.replace("-", "_")).wait(**{_camel(rest[0]): rest[1]})
    names = {xform_name(name, "-"): name for name in maker.meta.service_model.operation_names}
    shape = maker.meta.service_model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
    request: dict[str, Any] = {}
    while rest:
        option = rest.pop(0).removeprefix("--")
        name, member = members[option.removeprefix("no-")] if option not in members else members[option]
        request[name] = _value(rest, member.type_name, is_on=option in members)
    return getattr(maker, xform_name(names[operation]))(**request)


def _value(rest: list[str], of_type: str, *, is_on: bool) -> Any:
    if of_type == "boolean":
        return is_on
    text = rest.pop(0)
    if text.startswith("file://"):
        return json.loads(Path(text.removeprefix("file://")).read_text(encoding="utf-8"))
    return int(text) if of_type in {"integer", "long"} else text


def _camel(option: str) -> str:
    return "".join(word.title() for word in option.removeprefix("--").split("-"))


def main(arguments: list[str]) -> None:
    """Run one command and print what `--query` finds, as text if `--output text` asks for it."""
    asked = dict.fromkeys(("--query", "--output"), "")
    rest = list(arguments)
    for name in asked:
        if name in rest:
            at = rest.index(name)
            asked[name] = rest[at + 1]
            del rest[at : at + 2]
    make: Any = boto3.client
    answer = run(shlex.join(["aws", *rest]), make)
    found = jmespath.search(asked["--query"], answer) if asked["--query"] else answer
    if asked["--output"] == "text":
        print("\t".join(map(str, found)) if isinstance(found, list) else found)
    elif asked["--query"]:
        print(json.dumps(found, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
