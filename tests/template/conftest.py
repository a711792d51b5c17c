"""The template as plain CloudFormation, translated once."""

from typing import Any

import pytest

from doctor.resolve import Resolver
from local.translate import Template, translated


@pytest.fixture(scope="session")
def template() -> Template:
    return translated()


@pytest.fixture(scope="session")
def resources(template: Template) -> dict[str, Any]:
    """All resources with everything switched on, and a reader of each prefix."""
    parameters = {
        "ConnectInstanceArn": "arn:aws:connect:ap-northeast-1:111122223333:instance/abc",
        "ConnectServiceRoleArn": "arn:aws:iam::111122223333:role/aws-service-role/connect.amazonaws.com/Connect_x",
        "ReplayOperators": "arn:aws:iam::111122223333:role/Operator",
        "Erasure": "on",
        "ArchiveRawStream": "true",
    }
    parameters |= {n: f"arn:aws:iam::111122223333:role/{n}" for n in template["Parameters"] if "ReadersOf" in n}
    return Resolver(template, parameters).resources()
