"""Translate template.yaml to the plain CloudFormation that AWS makes of it, without AWS.

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
    """Return the template as plain CloudFormation.

    Args:
        path: A SAM template.
        parameters: Values that become the defaults of its parameters.
    """
    raw, problems = decode(str(path))
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    template = json.loads(json.dumps(raw, default=str))
    for name, value in parameters.items():
        template["Parameters"][name]["Default"] = value
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/bundle.zip"  # local folders are for `sam package`
    session = boto3.Session(region_name=REGION)
    made: Template = Translator({}, Parser(), boto_session=session).translate(template, parameters)
    return made


if __name__ == "__main__":
    sys.stdout.write(json.dumps(translated(TEMPLATE, **dict(pair.split("=", 1) for pair in sys.argv[1:])), indent=1))
