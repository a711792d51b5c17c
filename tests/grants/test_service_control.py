"""The service control policies: each action of the services in use is denied, or has no path to a record.

The actions are AWS's own list, as the policy engine's package has it.
"""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from grants.policy import Answer, Request, decide, like, statements
from grants.service_control import DEPLOYER, LONGEST, OPERATOR, service_control_policies

_ACTIONS = Path(__file__).parent / "engine" / "node_modules" / "@cloud-copilot" / "iam-data" / "data" / "actions"
_SERVICES = (
    "athena", "cloudformation", "cloudwatch", "connect", "dynamodb", "events", "firehose", "glue", "iam", "kinesis", "kms",
    "lambda", "logs", "s3", "sns",
)  # fmt: skip
_CHANGES = {"Write", "Permissions management", "Tagging"}
_HERE = "REGION:ACCOUNT"
# What a stack has, and what guards it, by AWS's names of resource types.
_OURS: Mapping[str, str] = {
    "athena workgroup": f"arn:aws:athena:{_HERE}:workgroup/NAME-orders",
    "cloudformation stack": f"arn:aws:cloudformation:{_HERE}:stack/NAME/x",
    "cloudwatch alarm": f"arn:aws:cloudwatch:{_HERE}:alarm:NAME late",
    "connect instance": f"arn:aws:connect:{_HERE}:instance/x",
    "dynamodb backup": f"arn:aws:dynamodb:{_HERE}:table/NAME-checkpoint/backup/x",
    "dynamodb table": f"arn:aws:dynamodb:{_HERE}:table/NAME-checkpoint",
    "events rule-on-default-event-bus": f"arn:aws:events:{_HERE}:rule/NAME-grant-check",
    "firehose deliverystream": f"arn:aws:firehose:{_HERE}:deliverystream/NAME-archive",
    "glue database": f"arn:aws:glue:{_HERE}:database/DATABASE",
    "glue table": f"arn:aws:glue:{_HERE}:table/DATABASE/orders_contact_record",
    "iam oidc-provider": "arn:aws:iam::ACCOUNT:oidc-provider/x",
    "iam policy": "arn:aws:iam::ACCOUNT:policy/NAME-FunctionPolicy-X",
    "iam role": "arn:aws:iam::ACCOUNT:role/NAME-FanOutRole-X",
    "iam saml-provider": "arn:aws:iam::ACCOUNT:saml-provider/x",
    "iam user": "arn:aws:iam::ACCOUNT:user/READERS-X",
    "kinesis consumer": f"arn:aws:kinesis:{_HERE}:stream/NAME/consumer/x:1",
    "kinesis stream": f"arn:aws:kinesis:{_HERE}:stream/NAME",
    "kms alias": f"arn:aws:kms:{_HERE}:alias/NAME/orders",
    "kms key": f"arn:aws:kms:{_HERE}:key/x",
    "lambda eventSourceMapping": f"arn:aws:lambda:{_HERE}:event-source-mapping:x",
    "lambda function": f"arn:aws:lambda:{_HERE}:function:NAME-erase",
    "lambda function alias": f"arn:aws:lambda:{_HERE}:function:NAME:x",
    "lambda function version": f"arn:aws:lambda:{_HERE}:function:NAME:1",
    "logs log-group": f"arn:aws:logs:{_HERE}:log-group:/aws/lambda/NAME",
    "logs log-stream": f"arn:aws:logs:{_HERE}:log-group:/aws/lambda/NAME:log-stream:x",
    "s3 bucket": "arn:aws:s3:::NAME-ACCOUNT-REGION",
    "s3 object": "arn:aws:s3:::NAME-ACCOUNT-REGION/departments/orders/x",
    "sns topic": f"arn:aws:sns:{_HERE}:NAME-alarms",
}
# What is not denied although it changes something of ours, or names no resource: why there is no path.
_NO_PATH: Mapping[str, str] = {
    "athena:*Capacity*": "capacity of queries",
    "athena:*Notebook*": "code of queries, which read with the caller's own rights",
    "athena:*Query*": "queries read with the caller's own rights, and the keys decide",
    "athena:*PreparedStatement": "a query under a name",
    "athena:*Session*": "a session reads with a role that the keys do not admit",
    "athena:*CalculationExecution": "a session reads with a role that the keys do not admit",
    "athena:CreateWorkGroup": "another workgroup; the key of results serves those of the stack",
    "cloudformation:*": "what names no stack acts with the caller's rights, or those of a role that is denied as well",
    "cloudwatch:*": "the account's views and metrics; alarms are denied",
    "connect:*": "the contact centre itself, whose console shows contacts as well; what leaves for the stream is denied",
    "dynamodb:InjectError": "a fault test that the account has to set up",
    "dynamodb:PurchaseReservedCapacityOfferings": "a bill",
    "events:PutPartnerEvents": "events of partners",
    "glue:*": "jobs and catalogs of the account, which read with roles that the keys do not admit",
    "iam:*Account*": "settings of the account",
    "iam:*CloudFrontPublicKey": "keys of a content network",
    "iam:*OrganizationsRoot*": "settings of the organization",
    "iam:*OutboundWebIdentityFederation": "tokens for other clouds",
    "iam:SetS*": "settings of tokens",
    "kinesis:*EnhancedMonitoring": "metrics",
    "kinesis:InjectApiError": "a fault test that the account has to set up",
    "kinesis:Update*": "capacity: records stay where they are",
    "kms:*CustomKeyStore": "key stores of others",
    "kms:CreateKey": "another key",
    "kms:Decrypt": "the key's policy decides",
    "kms:GenerateDataKey": "the key's policy decides",
    "kms:GenerateMac": "the key's policy decides",
    "kms:GenerateRandom": "nothing of ours",
    "lambda:*": "other kinds of compute, which the keys do not admit",
    "logs:*": "logs hold no value of a record",
    "s3:*": "jobs and access points, which need a role or a caller that the keys admit",
    "sns:*": "messages to telephones",
}


def actions(service: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the actions that change something, each with what of ours it may be about."""
    found: dict[str, dict[str, Any]] = json.loads((_ACTIONS / f"{service}.json").read_text(encoding="utf-8"))
    for one in found.values():
        if one["accessLevel"] in _CHANGES:
            kinds = [f"{service} {kind['name']}" for kind in one["resourceTypes"]]
            yield f"{service}:{one['name']}", [_OURS[kind] for kind in kinds if kind in _OURS] if kinds else ["*"]


def is_denied(action: str, resource: str, principal: str = "arn:aws:iam::ACCOUNT:role/Admin") -> bool:
    context: dict[str, Any] = {"aws:PrincipalArn": principal}
    for policy in service_control_policies():
        for one in statements(policy):
            if one["Sid"] == "KeepKeys" and ":key/" not in resource:
                continue  # bound by the key's alias
            bound = {"ArnNotLike": {"aws:PrincipalArn": one["Condition"]["ArnNotLike"]["aws:PrincipalArn"]}}
            named = ["*"] if one["Resource"] == ["*"] else one["Resource"]
            request = Request(principal=principal, action=action, resource=resource, account="ACCOUNT", context=context)
            limit = {"Statement": [{**one, "Effect": "Allow", "Condition": bound, "Resource": named}]}
            if any(like(each, resource) for each in named) and decide(request, [limit], None) is Answer.YES:
                return True
    return False


@pytest.mark.parametrize("service", _SERVICES)
def test_every_action_is_denied_or_has_no_path_to_a_record(service: str) -> None:
    open_ = [
        f"{action} on {resource}"
        for action, resources in actions(service)
        for resource in resources
        if not is_denied(action, resource) and not _has_no_path(action, resource)
    ]
    assert open_ == []


def _has_no_path(action: str, resource: str) -> bool:
    """Return True where a reason is written down; one for all of a service counts only where nothing of ours is named."""
    return any(
        fnmatchcase(action, pattern) and (not pattern.endswith(":*") or resource in {"*", _OURS["connect instance"]})
        for pattern in _NO_PATH
    )


def test_every_reason_is_needed() -> None:
    open_ = [a for service in _SERVICES for a, resources in actions(service) for r in resources if not is_denied(a, r)]
    assert [pattern for pattern in _NO_PATH if not any(fnmatchcase(action, pattern) for action in open_)] == []


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("lambda:UpdateEventSourceMapping", "lambda eventSourceMapping"),
        ("lambda:CreateEventSourceMapping", "lambda function"),
        ("lambda:InvokeFunction", "lambda function"),
        ("lambda:PutFunctionConcurrency", "lambda function"),
        ("lambda:DeleteFunction", "lambda function"),
        ("s3:PutEncryptionConfiguration", "s3 bucket"),
        ("s3:PutLifecycleConfiguration", "s3 bucket"),
        ("s3:DeleteObjectVersion", "s3 object"),
        ("kinesis:StartStreamEncryption", "kinesis stream"),
        ("kinesis:PutRecord", "kinesis stream"),
        ("kms:RevokeGrant", "kms key"),
        ("kms:PutKeyPolicy", "kms key"),
        ("kms:UpdateAlias", "kms alias"),
        ("connect:UpdateInstanceStorageConfig", "connect instance"),
        ("athena:UpdateWorkGroup", "athena workgroup"),
        ("dynamodb:DeleteTable", "dynamodb table"),
        ("dynamodb:UpdateItem", "dynamodb table"),
        ("iam:CreateAccessKey", "iam user"),
        ("iam:UpdateAssumeRolePolicy", "iam role"),
        ("iam:UpdateSAMLProvider", "iam saml-provider"),
        ("events:DisableRule", "events rule-on-default-event-bus"),
        ("cloudwatch:DeleteAlarms", "cloudwatch alarm"),
    ],
)
def test_what_an_administrator_could_do_is_denied_to_all_but_the_deployer(action: str, kind: str) -> None:
    assert is_denied(action, _OURS[kind])
    assert not is_denied(action, _OURS[kind], DEPLOYER)


def test_operators_call_the_functions_and_readers_read() -> None:
    assert not is_denied("lambda:InvokeFunction", _OURS["lambda function"], OPERATOR)
    assert is_denied("lambda:UpdateFunctionCode", _OURS["lambda function"], OPERATOR)
    for action, kind in (("s3:GetObject", "s3 object"), ("s3:ListBucket", "s3 bucket"), ("kms:Decrypt", "kms key")):
        assert not is_denied(action, _OURS[kind])


def test_each_fits_into_one_policy() -> None:
    assert all(len(json.dumps(policy, separators=(",", ":"))) <= LONGEST for policy in service_control_policies())
