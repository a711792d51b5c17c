"""The roles that a stack of this project meets in an account and does not make itself: Connect's, and those of people."""

import json
from collections.abc import Mapping

from local.deployment import Deployed
from local.emulator import Emulator
from routing.lambda_event import ACCOUNT

CONNECT = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/connect.amazonaws.com/Connect_x"
_ASSUMED_BY_THE_ACCOUNT = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sts:AssumeRole",
}
# As AWS's managed policy of the service-linked role has it: the stream, and nothing of KMS.
_OF_CONNECT = {"Effect": "Allow", "Action": ["kinesis:PutRecord", "kinesis:PutRecords"], "Resource": "*"}
_OF_OPERATORS = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}


def role_arn(name: str) -> str:
    """Return the ARN of a role of the emulator's account."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def make_roles(running: Emulator) -> Mapping[str, str]:
    """Make the roles, and return the parameters of the stack that admit them."""
    _make(running, "Connect_x", "stream", _OF_CONNECT, Path="/aws-service-role/connect.amazonaws.com/")
    _make(running, "ReplayOperator", "takes-roles", _OF_OPERATORS)
    for route in ("orders", "billing"):
        _make(running, f"ReaderOf-{route}")
    return {
        "ConnectServiceRoleArn": CONNECT,
        "ReadersOfOrders": role_arn("ReaderOf-orders"),
        "ReadersOfBilling": role_arn("ReaderOf-billing"),
        "ReplayOperators": role_arn("ReplayOperator"),
    }


def admit(running: Emulator, deployed: Deployed) -> None:
    """Attach the readers' policies, as docs/deploy.md asks whoever deploys to do."""
    for route in ("orders", "billing"):
        policy = deployed.resources[f"{route.title()}ReaderPolicy"]
        running.client("iam").attach_role_policy(RoleName=f"ReaderOf-{route}", PolicyArn=policy)


def _make(running: Emulator, name: str, policy: str = "", statement: object = None, **more: str) -> None:
    iam = running.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(_ASSUMED_BY_THE_ACCOUNT), **more)
    if statement is not None:
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=_document(statement))


def _document(statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
