"""The AWS CLI's commands as a runbook spells them, run by boto3: names come from botocore's own models."""

import shlex
from collections.abc import Callable
from typing import Any

from botocore import xform_name


def run(command: str, client: Callable[[str], Any]) -> Any:
    """Run e.g. `aws kms describe-key --key-id alias/x`; an option that the operation does not have is an error."""
    program, service, operation, *rest = shlex.split(command)
    assert program == "aws"
    maker = client({"s3api": "s3"}.get(service, service))
    names = {xform_name(name, "-"): name for name in maker.meta.service_model.operation_names}
    shape = maker.meta.service_model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
    request = {}
    for option, value in zip(rest[::2], rest[1::2], strict=True):
        name, member = members[option.removeprefix("--")]
        request[name] = int(value) if member.type_name in {"integer", "long"} else value
    return getattr(maker, xform_name(names[operation]))(**request)
