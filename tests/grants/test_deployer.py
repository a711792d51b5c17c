"""The policy of whoever deploys covers every type of resource in the templates, by actions that AWS has."""

import json
from pathlib import Path

import pytest

from doctor.resolve import Resolver
from grants.deployer import LONGEST, NEEDED, deployer_policy, service_of
from local.translate import translated

_ACTIONS = Path(__file__).parent / "engine" / "node_modules" / "@cloud-copilot" / "iam-data" / "data" / "actions"


def types() -> set[str]:
    resources = Resolver(translated(), {}).resources()
    everything = Resolver(
        translated(),
        {"ArchiveRawStream": "true", "Erasure": "on", "ReplayOperators": "arn:aws:iam::111122223333:role/x",
         "ConnectInstanceArn": "arn:aws:connect:ap-northeast-1:111122223333:instance/x", "AlarmEmail": "a@example.com"},
    ).resources()  # fmt: skip
    return {resource["Type"] for resource in (*resources.values(), *everything.values())}


def test_every_type_of_resource_is_covered_and_no_other() -> None:
    assert types() | {"AWS::CloudFormation::Stack"} == {*NEEDED}


@pytest.mark.parametrize("of_type", NEEDED)
def test_actions_are_those_of_aws(of_type: str) -> None:
    known = json.loads((_ACTIONS / f"{service_of(of_type)}.json").read_text(encoding="utf-8"))
    assert {name.lower() for name in NEEDED[of_type]} <= {*known}


def test_policy_allows_each_of_them_and_fits_into_a_role() -> None:
    policy = deployer_policy()
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {f"{service_of(of_type)}:{name}" for of_type, names in NEEDED.items() for name in names} <= allowed
    assert len("".join(json.dumps(policy, separators=(",", ":")).split())) <= LONGEST
