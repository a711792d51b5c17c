"""What whoever deploys needs: for each type of resource in the templates the actions that CloudFormation calls as them.

CloudFormation asks with the deployer's own rights, unless a service role is given. The deployer writes roles and key
policies, so these are the rights of an administrator over everything named after the stack.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from collections.abc import Iterator, Mapping

from grants.policy import Policy
from grants.service_control import ACCOUNT, NAME, REGION

LONGEST = 10_240
"""Characters of a role's inline policies. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""

_TAGS = ("TagResource", "UntagResource", "ListTagsForResource")

NEEDED: Mapping[str, tuple[str, ...]] = {
    "AWS::Athena::NamedQuery": ("CreateNamedQuery", "GetNamedQuery", "DeleteNamedQuery", "ListNamedQueries"),
    "AWS::Athena::WorkGroup": ("CreateWorkGroup", "GetWorkGroup", "UpdateWorkGroup", "DeleteWorkGroup", *_TAGS),
    "AWS::CloudFormation::Stack": (
        "CreateStack", "UpdateStack", "DeleteStack", "CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet",
        "DeleteChangeSet", "DescribeStacks", "DescribeStackEvents", "DescribeStackResource", "DescribeStackResources",
        "ListStackResources", "GetTemplate", "GetTemplateSummary", "TagResource", "UntagResource",
    ),
    "AWS::CloudWatch::Alarm": ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms", *_TAGS),
    "AWS::CloudWatch::CompositeAlarm": ("PutCompositeAlarm", "DescribeAlarms", "DeleteAlarms", *_TAGS),
    "AWS::CloudWatch::Dashboard": ("PutDashboard", "GetDashboard", "ListDashboards", "DeleteDashboards"),
    "AWS::Connect::InstanceStorageConfig": (
        "AssociateInstanceStorageConfig", "DescribeInstanceStorageConfig", "UpdateInstanceStorageConfig",
        "DisassociateInstanceStorageConfig", "ListInstanceStorageConfigs", "DescribeInstance",
    ),
    "AWS::DynamoDB::Table": (
        "CreateTable", "DescribeTable", "UpdateTable", "DeleteTable", "DescribeTimeToLive", "UpdateTimeToLive",
        "DescribeContinuousBackups", "UpdateContinuousBackups", "DescribeContributorInsights", "GetResourcePolicy",
        "DescribeKinesisStreamingDestination", "TagResource", "UntagResource", "ListTagsOfResource",
    ),
    "AWS::Events::Rule": (
        "PutRule", "DescribeRule", "DeleteRule", "PutTargets", "RemoveTargets", "ListTargetsByRule", "EnableRule",
        "DisableRule", *_TAGS,
    ),
    "AWS::Glue::Database": ("CreateDatabase", "GetDatabase", "UpdateDatabase", "DeleteDatabase"),
    "AWS::Glue::Table": ("CreateTable", "GetTable", "GetTables", "UpdateTable", "DeleteTable"),
    "AWS::IAM::ManagedPolicy": (
        "CreatePolicy", "GetPolicy", "DeletePolicy", "CreatePolicyVersion", "GetPolicyVersion", "ListPolicyVersions",
        "DeletePolicyVersion", "ListEntitiesForPolicy", "AttachRolePolicy", "DetachRolePolicy", "TagPolicy", "UntagPolicy",
    ),
    "AWS::IAM::Role": (
        "CreateRole", "GetRole", "UpdateRole", "UpdateRoleDescription", "UpdateAssumeRolePolicy", "DeleteRole",
        "ListRolePolicies", "GetRolePolicy", "PutRolePolicy", "DeleteRolePolicy", "ListAttachedRolePolicies",
        "AttachRolePolicy", "DetachRolePolicy", "PassRole", "TagRole", "UntagRole",
    ),
    "AWS::KMS::Alias": ("CreateAlias", "UpdateAlias", "DeleteAlias", "ListAliases"),
    "AWS::KMS::Key": (
        "CreateKey", "DescribeKey", "GetKeyPolicy", "PutKeyPolicy", "GetKeyRotationStatus", "EnableKeyRotation",
        "DisableKeyRotation", "EnableKey", "DisableKey", "UpdateKeyDescription", "ScheduleKeyDeletion",
        "TagResource", "UntagResource", "ListResourceTags",
    ),
    "AWS::Kinesis::Stream": (
        "CreateStream", "DescribeStream", "DescribeStreamSummary", "UpdateShardCount", "UpdateStreamMode",
        "IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod", "StartStreamEncryption",
        "StopStreamEncryption", "DeleteStream", "AddTagsToStream", "RemoveTagsFromStream", "ListTagsForStream",
        "TagResource", "UntagResource", "ListTagsForResource",
    ),
    "AWS::KinesisFirehose::DeliveryStream": (
        "CreateDeliveryStream", "DescribeDeliveryStream", "UpdateDestination", "DeleteDeliveryStream",
        "TagDeliveryStream", "UntagDeliveryStream", "ListTagsForDeliveryStream",
    ),
    "AWS::Lambda::EventSourceMapping": (
        "CreateEventSourceMapping", "GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping",
        "ListTags", "TagResource", "UntagResource",
    ),
    "AWS::Lambda::Function": (
        "CreateFunction", "GetFunction", "GetFunctionConfiguration", "UpdateFunctionCode", "UpdateFunctionConfiguration",
        "DeleteFunction", "PutFunctionConcurrency", "DeleteFunctionConcurrency", "GetFunctionCodeSigningConfig",
        "GetRuntimeManagementConfig", "GetFunctionRecursionConfig", "ListTags", "TagResource", "UntagResource",
    ),
    "AWS::Lambda::Permission": ("AddPermission", "RemovePermission", "GetPolicy"),
    "AWS::Logs::LogGroup": (
        "CreateLogGroup", "DescribeLogGroups", "PutRetentionPolicy", "DeleteRetentionPolicy", "DeleteLogGroup", *_TAGS,
    ),
    "AWS::Logs::LogStream": ("CreateLogStream", "DescribeLogStreams", "DeleteLogStream"),
    "AWS::Logs::QueryDefinition": ("PutQueryDefinition", "DescribeQueryDefinitions", "DeleteQueryDefinition"),
    "AWS::S3::Bucket": (
        "CreateBucket", "DeleteBucket", "ListBucket", "GetBucketLocation", "GetEncryptionConfiguration",
        "PutEncryptionConfiguration", "GetBucketVersioning", "PutBucketVersioning", "GetLifecycleConfiguration",
        "PutLifecycleConfiguration", "GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock",
        "GetBucketOwnershipControls", "PutBucketOwnershipControls", "GetBucketTagging", "PutBucketTagging", "GetBucketNotification", "PutBucketNotification",
    ),
    "AWS::S3::BucketPolicy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "AWS::SNS::Subscription": ("Subscribe", "Unsubscribe", "GetSubscriptionAttributes", "ListSubscriptionsByTopic"),
    "AWS::SNS::Topic": ("CreateTopic", "GetTopicAttributes", "SetTopicAttributes", "DeleteTopic", *_TAGS),
    "AWS::SNS::TopicPolicy": ("GetTopicAttributes", "SetTopicAttributes"),
}  # fmt: skip
"""By type of resource: what CloudFormation calls to make, read, change and delete one."""

_SERVICE_OF: Mapping[str, str] = {"KinesisFirehose": "firehose"}
_HERE = f"{REGION}:{ACCOUNT}"
_RESOURCES: Mapping[str, tuple[str, ...]] = {
    "cloudformation": (f"arn:aws:cloudformation:{_HERE}:stack/{NAME}*",),
    "cloudwatch": (f"arn:aws:cloudwatch:{_HERE}:alarm:{NAME} *", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{NAME}"),
    "dynamodb": (f"arn:aws:dynamodb:{_HERE}:table/{NAME}-checkpoint",),
    "events": (f"arn:aws:events:{_HERE}:rule/{NAME}-*",),
    "firehose": (f"arn:aws:firehose:{_HERE}:deliverystream/{NAME}*",),
    "iam": (f"arn:aws:iam::{ACCOUNT}:role/{NAME}-*", f"arn:aws:iam::{ACCOUNT}:policy/{NAME}-*"),
    "kinesis": (f"arn:aws:kinesis:{_HERE}:stream/{NAME}",),
    "lambda": (f"arn:aws:lambda:{_HERE}:function:{NAME}*", f"arn:aws:lambda:{_HERE}:event-source-mapping:*"),
    "s3": (f"arn:aws:s3:::{NAME}-{ACCOUNT}-{REGION}",),
    "sns": (f"arn:aws:sns:{_HERE}:{NAME}-*",),
}
# Actions of the services above that name no resource, or one whose name nobody knows before.
_ANYWHERE = frozenset({"cloudwatch:DescribeAlarms", "lambda:CreateEventSourceMapping", "sns:Unsubscribe"})
_ARTIFACTS = "arn:aws:s3:::aws-sam-cli-managed-default-*"


def deployer_policy() -> Policy:
    """Return the policy to fill in and attach to the role that deploys."""
    by_service: dict[str, set[str]] = {}
    for of_type, names in NEEDED.items():
        service = service_of(of_type)
        by_service.setdefault(service, set()).update(f"{service}:{name}" for name in names)
    return {"Version": "2012-10-17", "Statement": [*_statements(by_service), *_of_sam()]}


def service_of(of_type: str) -> str:
    """Return the IAM prefix of a type's service, e.g. `kms` of `AWS::KMS::Key`."""
    name = of_type.split("::")[1]
    return _SERVICE_OF.get(name, name.lower())


def _statements(by_service: Mapping[str, set[str]]) -> Iterator[dict[str, object]]:
    anywhere: list[str] = []
    for service, actions in sorted(by_service.items()):
        named = sorted(actions - _ANYWHERE)
        if service in _RESOURCES:
            yield _allow(f"Deploy{service.capitalize()}", named, list(_RESOURCES[service]))
            anywhere += sorted(actions & _ANYWHERE)
        else:
            anywhere += sorted(actions)
    yield _allow("DeployWhatHasNoNameYet", anywhere, ["*"])


def _of_sam() -> Iterator[dict[str, object]]:
    yield _allow(
        "Transform",
        ["cloudformation:CreateChangeSet"],
        [f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31"],
    )
    yield _allow(
        "UploadTheBundle",
        [
            "s3:CreateBucket",
            "s3:GetBucketLocation",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:PutBucketPolicy",
            "s3:PutObject",
        ],
        [_ARTIFACTS, f"{_ARTIFACTS}/*"],
    )
    yield _allow(
        "SamStack",
        ["cloudformation:*"],
        [f"arn:aws:cloudformation:{_HERE}:stack/aws-sam-cli-managed-default/*"],
    )
    yield _allow(
        "LetConnectUseTheStream",
        ["iam:CreateServiceLinkedRole", "iam:PutRolePolicy"],
        [f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/connect.amazonaws.com/*"],
    )


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, object]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
