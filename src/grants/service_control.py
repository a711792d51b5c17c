"""The service control policy that keeps administrators out of a stack: what they could read, lose or silence.

It denies what changes something of the stack to everybody but the role that deploys it, service by service: whatever is
not a question is denied, so that an action that AWS adds tomorrow is denied as well. AWS services and service-linked
roles, Connect's among them, are not subject to it.

Source: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
"""

from collections.abc import Sequence
from typing import Any

from grants.policy import Policy

NAME, ACCOUNT, REGION = "NAME", "ACCOUNT", "REGION"
DEPLOYER = "arn:aws:iam::ACCOUNT:role/DEPLOYER"
"""The role that deploys the stack, e.g. that of the workflow."""
OPERATOR = "arn:aws:iam::ACCOUNT:role/OPERATOR"
"""The roles that replay and erase; their functions still check what they ask for."""
READERS = "arn:aws:iam::ACCOUNT:*/READERS-*"
"""The roles and users that the parameters name as readers."""
LONGEST = 5_120
"""Characters of one policy. https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html"""

_ROLES = "arn:aws:iam::ACCOUNT:role/NAME-*"


def service_control_policies() -> tuple[Policy, Policy]:
    """Return the policies to fill in and attach: what holds records, and what surrounds them."""
    records = [
        _keep("Bucket", "s3:Get* s3:List*", ["arn:aws:s3:::NAME-ACCOUNT-REGION", "arn:aws:s3:::NAME-ACCOUNT-REGION/*"], _ROLES),
        {
            **_keep("Keys", "kms:Describe* kms:Get* kms:List* kms:Decrypt kms:GenerateDataKey kms:GenerateMac", ["*"]),
            "Condition": {
                "ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/NAME/*"},
                "ArnNotLike": {"aws:PrincipalArn": [DEPLOYER]},
            },
        },
        _deny("Aliases", "kms:CreateAlias kms:DeleteAlias kms:UpdateAlias", ["arn:aws:kms:REGION:ACCOUNT:alias/NAME/*"]),
        _keep("Stream", "kinesis:Describe* kinesis:Get* kinesis:List* kinesis:SubscribeToShard",
              ["arn:aws:kinesis:REGION:ACCOUNT:stream/NAME", "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/*"]),
        _keep("Functions", "lambda:Get* lambda:List* lambda:InvokeFunction", ["arn:aws:lambda:REGION:ACCOUNT:function:NAME*"]),
        _deny("Invocations", "lambda:InvokeFunction", ["arn:aws:lambda:REGION:ACCOUNT:function:NAME*"], OPERATOR),
        {
            **_deny("Mappings", "lambda:CreateEventSourceMapping lambda:DeleteEventSourceMapping lambda:UpdateEventSourceMapping",
                    ["*"]),
            "Condition": {
                "ArnLikeIfExists": {"lambda:FunctionArn": "arn:aws:lambda:REGION:ACCOUNT:function:NAME*"},
                "ArnNotLike": {"aws:PrincipalArn": [DEPLOYER]},
            },
        },
        _keep("Table", "dynamodb:Describe* dynamodb:List* dynamodb:GetItem",
              ["arn:aws:dynamodb:REGION:ACCOUNT:table/NAME-checkpoint", "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME-checkpoint/*"],
              _ROLES),
        _keep("Archive", "firehose:Describe* firehose:List*", ["arn:aws:firehose:REGION:ACCOUNT:deliverystream/NAME-archive"]),
        _deny("Associations", "connect:*InstanceStorageConfig connect:DeleteInstance connect:ReplicateInstance",
              ["arn:aws:connect:REGION:ACCOUNT:instance/*"]),
    ]  # fmt: skip
    around = [
        _keep("Identities", "iam:Get* iam:List* iam:Simulate*",
              [_ROLES, "arn:aws:iam::ACCOUNT:policy/NAME-*", READERS]),
        _deny("Federation", "iam:*SAMLProvider iam:*OpenIDConnectProvider*",
              ["arn:aws:iam::ACCOUNT:saml-provider/*", "arn:aws:iam::ACCOUNT:oidc-provider/*"]),
        _keep("Stack", "cloudformation:Describe* cloudformation:Get* cloudformation:List* cloudformation:Detect*",
              ["arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/*", "arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME-*"]),
        _keep("Watch", "events:Describe* events:List* cloudwatch:Describe* cloudwatch:Get* cloudwatch:List* sns:Get* sns:List*",
              ["arn:aws:events:REGION:ACCOUNT:rule/NAME-*", "arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME *",
               "arn:aws:sns:REGION:ACCOUNT:NAME-alarms"]),
        _keep("Log", "logs:Describe* logs:Filter* logs:Get* logs:List* logs:StartQuery logs:StopQuery logs:Test* logs:Unmask",
              ["arn:aws:logs:REGION:ACCOUNT:log-group:/aws/lambda/NAME*", "arn:aws:logs:REGION:ACCOUNT:log-group:/aws/*/NAME-archive*"],
              _ROLES),
        _keep("Tables", "glue:Get* glue:BatchGet* glue:Search* glue:List*",
              ["arn:aws:glue:REGION:ACCOUNT:database/DATABASE", "arn:aws:glue:REGION:ACCOUNT:table/DATABASE/*"]),
        _deny("Workgroups", "athena:UpdateWorkGroup athena:DeleteWorkGroup athena:CreateNamedQuery athena:UpdateNamedQuery "
              "athena:DeleteNamedQuery athena:TagResource athena:UntagResource",
              ["arn:aws:athena:REGION:ACCOUNT:workgroup/NAME-*"]),
    ]  # fmt: skip
    return _policy(records), _policy(around)


def _keep(what: str, questions: str, resources: Sequence[str], *besides: str) -> dict[str, Any]:
    """Deny everything about some resources but questions."""
    return {
        "Sid": f"Keep{what}",
        "Effect": "Deny",
        "NotAction": questions.split(),
        "Resource": list(resources),
        "Condition": {"ArnNotLike": {"aws:PrincipalArn": [DEPLOYER, *besides]}},
    }


def _deny(what: str, actions: str, resources: Sequence[str], *besides: str) -> dict[str, Any]:
    return {
        "Sid": f"Keep{what}",
        "Effect": "Deny",
        "Action": actions.split(),
        "Resource": list(resources),
        "Condition": {"ArnNotLike": {"aws:PrincipalArn": [DEPLOYER, *besides]}},
    }


def _policy(statements: list[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": statements}
