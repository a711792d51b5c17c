"""What an operator needs to run the doctor: reading, and nothing else."""

import json

ACTIONS = (
    "cloudformation:DescribeStacks",
    "cloudformation:GetTemplate",
    "cloudformation:ListStackResources",
    "cloudwatch:DescribeAlarms",
    "connect:DescribeInstance",
    "connect:ListInstanceStorageConfigs",
    "connect:ListInstances",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "firehose:DescribeDeliveryStream",
    "firehose:ListDeliveryStreams",
    "glue:GetTables",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetResourcePolicy",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "lambda:GetEventSourceMapping",
    "lambda:GetFunctionConcurrency",
    "lambda:GetFunctionConfiguration",
    "lambda:GetPolicy",
    "lambda:ListEventSourceMappings",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
)
"""By IAM's names; `s3:ListBucket` is what `HeadBucket` needs, and no object is listed."""


def operators_policy() -> str:
    """Return the policy of an operator who runs the doctor, as JSON."""
    statement = {"Sid": "ExamineReadOnly", "Effect": "Allow", "Action": list(ACTIONS), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2) + "\n"
