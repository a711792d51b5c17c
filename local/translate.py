"""Translate template.yaml to the plain CloudFormation that AWS makes of it, without AWS, nested stacks included.

`python -m local.translate [Parameter=Value ...]` prints it. cfn-lint reads the YAML, AWS's own translator
does the SAM transform.
"""

import json
import sys
from pathlib import Path
from typing import Any

import boto3
from cfnlint.decode import decode
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from routing.lambda_event import REGION

TEMPLATE = Path(__file__).parent.parent / "template.yaml"

type Template = dict[str, Any]


def translated(path: Path = TEMPLATE, **parameters: str) -> Template:
    """Return the template and its nested stacks as one template of plain CloudFormation.

    Args:
        path: A SAM template.
        parameters: Values that become the defaults of its parameters.
    """
    template = _decoded(path)
    for name, value in parameters.items():
        template["Parameters"][name]["Default"] = value
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/bundle.zip"  # local folders are for `sam package`
    session = boto3.Session(region_name=REGION)
    made: Template = Translator({}, Parser(), boto_session=session).translate(template, parameters)
    return _flattened(made, path.parent)


def nested_templates(folder: Path) -> list[Path]:
    """Return the files of the nested stacks."""
    return sorted((folder / "templates").glob("*.yaml"))


def _decoded(path: Path) -> Template:
    raw, problems = decode(str(path))
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    template: Template = json.loads(json.dumps(raw, default=str))
    return template


def _flattened(template: Template, folder: Path) -> Template:
    """Put the resources of nested stacks into the template.

    A parameter of a nested stack has the name of the parameter or resource that fills it, so that nothing in it has
    to be rewritten, or it is a constant.

    Raises:
        ValueError: A parameter is filled by something else.
    """
    outputs: dict[str, Any] = {}
    stacks = [name for name, one in template["Resources"].items() if one["Type"] == "AWS::CloudFormation::Stack"]
    for name, stack in list(template["Resources"].items()):
        if stack["Type"] != "AWS::CloudFormation::Stack":
            continue
        nested = _decoded(folder / stack["Properties"]["TemplateURL"])
        given = stack["Properties"]["Parameters"]
        fills = {one: [{"Ref": one}, {"Fn::Join": [",", {"Ref": one}]}] for one in nested["Parameters"]}
        for one, allowed in fills.items():  # or what another nested stack makes under that name
            allowed += [{"Fn::GetAtt": [other, f"Outputs.{one}"]} for other in stacks]
        constants = {one: value for one, value in given.items() if isinstance(value, str)}
        if given.keys() != fills.keys() or any(given[one] not in fills[one] for one in fills.keys() - constants.keys()):
            raise ValueError(f"{name}: expected each parameter filled by what has its name")
        template["Parameters"] |= {one: {"Type": "String", "Default": value} for one, value in constants.items()}
        del template["Resources"][name]
        for resource in template["Resources"].values():
            waits = resource.get("DependsOn", [])
            resource["DependsOn"] = [one for one in ([waits] if isinstance(waits, str) else waits) if one != name]
        template["Conditions"] |= nested.get("Conditions", {})
        for logical_id, resource in nested["Resources"].items():
            template["Resources"][logical_id] = _on_condition(template, resource, stack.get("Condition"))
        outputs |= {f"{name}.Outputs.{one}": output["Value"] for one, output in nested.get("Outputs", {}).items()}
    flat: Template = _with_outputs(template, outputs)
    return flat


def _on_condition(template: Template, resource: Template, condition: str | None) -> Template:
    """Return a resource that exists if its stack does."""
    if condition is None:
        return resource
    own = resource.get("Condition")
    if own is None:
        return resource | {"Condition": condition}
    both = f"{condition}And{own}"
    template["Conditions"][both] = {"Fn::And": [{"Condition": condition}, {"Condition": own}]}
    return resource | {"Condition": both}


def _with_outputs(value: Any, outputs: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a value with what it gets of nested stacks."""
    if isinstance(value, list):
        return [_with_outputs(one, outputs) for one in value]
    if not isinstance(value, dict):
        return value
    got = value.get("Fn::GetAtt")
    if got is not None and (name := got if isinstance(got, str) else ".".join(got)) in outputs:
        return outputs[name]
    return {key: _with_outputs(below, outputs) for key, below in value.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(translated(TEMPLATE, **dict(pair.split("=", 1) for pair in sys.argv[1:])), indent=1))
