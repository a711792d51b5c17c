"""AWS's limits on what a route table makes: `ctr-fanout routes check` refuses what could not be deployed.

Sizes are those of the worst case: the longest `Name`, the longest Region and partition, and every option on.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from infrastructure.analysis.resources import analysis, column_tables, latest_views
from infrastructure.blocks.bucket_policy import key_of_prefix, routed_objects
from infrastructure.blocks.inputs import environment
from infrastructure.blocks.role_policies import (
    convert_policies,
    erase_policies,
    keys_of_stack,
    reader_policies,
    writer_policies,
)
from infrastructure.cfn_yaml import Explained, Function, GetAtt, Ref, Sub
from routing.errors import Fault
from routing.table.routes import RouteTable

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html
_BUCKET_POLICY = 20_480
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MANAGED_POLICY = 6_144
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_ENVIRONMENT = 4_096
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
_EVENT_PATTERN = 2_048
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_TEMPLATE = 1_000_000
# What is written by hand beside the blocks (tests/template/test_limits.py holds all of it against a resolved template).
_BUCKET_POLICY_BY_HAND = 3_600
_ENVIRONMENT_BY_HAND = 900
_EVENT_PATTERN_BY_HAND = 500
_DENIALS_BY_HAND = 1_200
_TEMPLATE_BY_HAND = 25_000
_YAML_BY_JSON = 1.02  # as long, and a hundred times as fast to write (tests/template/test_limits.py)

_CURE = "shorten prefixes, or use fewer routes"
_ARN = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/11111111-2222-4333-8444-555555555555"
_KEY_ID = "11111111-2222-4333-8444-555555555555"
_NAMES = {
    "Name": "n" * 26,
    "AWS::AccountId": "111122223333",
    "AWS::Region": "ap-northeast-1",
    "AWS::Partition": "aws-us-gov",
    "Bucket.Arn": f"arn:aws-us-gov:s3:::{'n' * 26}-111122223333-ap-northeast-1",
}


def faults_of_size(table: RouteTable) -> Iterator[Fault]:
    """Yield what of a stack with these routes would be refused by AWS, because it is too large."""
    for policies in (writer_policies(table), erase_policies(table), convert_policies(table), reader_policies(table)):
        for name, policy in policies.items():
            yield from _fault(name, _size(policy["Properties"]["PolicyDocument"]), _MANAGED_POLICY, "a managed policy")
    denials = _size(keys_of_stack(table)) + _DENIALS_BY_HAND
    yield from _fault("DenyOutsidePolicy", denials, _MANAGED_POLICY, "a managed policy")
    bucket = _size(key_of_prefix(table)) + 2 * _size(routed_objects(table)) + _BUCKET_POLICY_BY_HAND
    yield from _fault("BucketPolicy", bucket, _BUCKET_POLICY, "a bucket policy")
    variables = sum(len(name) + len(_ARN) for name in environment(table)) + _ENVIRONMENT_BY_HAND
    yield from _fault("the function's variables", variables, _ENVIRONMENT, "a function")
    pattern = len(keys_of_stack(table)) * (len(_KEY_ID) + len('{"suffix":""},')) + _EVENT_PATTERN_BY_HAND
    yield from _fault("KeyChangedRule", pattern, _EVENT_PATTERN, "an event pattern")
    cure = "use fewer routes, or fewer kinds or declared values of partitions in them"
    for name, block in nested(table).items():
        size = round(len(json.dumps(block)) * _YAML_BY_JSON) + _TEMPLATE_BY_HAND
        yield from _fault(f"templates/{name}", size, _TEMPLATE, "a template", cure)


def nested(table: RouteTable) -> dict[str, Any]:
    """Return the blocks of the nested stacks for analysts, by the name of their template."""
    return {
        "analysis.yaml": analysis(table),
        "latest.yaml": latest_views(table),
        "columns.yaml": column_tables(table),
    }


def _fault(what: str, size: int, limit: int, of: str, cure: str = _CURE) -> Iterator[Fault]:
    if size > limit:
        message = f"expected at most {limit:,} characters in {of}, got {size:,}; {cure}"
        yield Fault(what, message)


def _size(value: object) -> int:
    return len(json.dumps(_resolved(value), separators=(",", ":")))


def _resolved(value: object) -> Any:  # noqa: ANN401, PLR0911 - JSON; one line per kind
    """Return a block with something of the greatest length in the place of every reference."""
    if isinstance(value, Sub):
        return re.sub(r"\$\{([^}]+)\}", lambda match: _NAMES.get(match[1], _ARN), value)
    if isinstance(value, (GetAtt, Ref)):
        return _NAMES.get(value, _ARN)
    if isinstance(value, Explained):
        return "*"
    if isinstance(value, Function):
        _, arguments = value
        return _resolved(arguments[1])
    if isinstance(value, dict):
        return {name: _resolved(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_resolved(below) for below in value]
    return value
