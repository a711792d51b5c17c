"""The template: what keeps records from being lost, read by the wrong people, or delivered twice."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.template import refresh
from handlers.route_file import shipped_routes
from handlers.settings import read_settings
from local.resolve import Resolver
from local.translate import TEMPLATE, Template
from routing.routes import logical_id

type Resources = dict[str, Any]

ROUTES = shipped_routes().all_routes
BUCKET = "arn:aws:s3:::ctr-fanout-111122223333-ap-northeast-1"


def top(prefix: str) -> str:
    return "dead-letter" if prefix.startswith("dead-letter") else prefix


def statements(resources: Resources, sid: str) -> list[dict[str, Any]]:
    """Return every statement of a name, in whichever policy."""
    found = []
    for resource in resources.values():
        for name in ("KeyPolicy", "PolicyDocument"):
            policy = resource["Properties"].get(name, {})
            found += [statement for statement in policy.get("Statement", []) if statement.get("Sid") == sid]
    return found


def test_blocks_are_up_to_date_with_the_route_table() -> None:
    assert refresh([TEMPLATE], is_check=True)


def test_mapping_reads_in_one_lane_bisects_and_never_retries_for_ever(resources: Resources) -> None:
    assert resources["StreamMapping"]["Type"] == "AWS::Lambda::EventSourceMapping"
    assert resources["StreamMapping"]["Properties"] == {
        "FunctionName": "ctr-fanout",
        "EventSourceArn": "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout",
        "Enabled": "true",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": "2000",
        "MaximumBatchingWindowInSeconds": "60",
        "ParallelizationFactor": 1,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": "10000",
        "MaximumRecordAgeInSeconds": "604800",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MetricsConfig": {"Metrics": ["EventCount"]},
        "DestinationConfig": {"OnFailure": {"Destination": BUCKET}},
    }


@pytest.mark.parametrize(
    "kind",
    ["AWS::KMS::Key", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::Kinesis::Stream",
     "AWS::DynamoDB::Table", "AWS::IAM::Role"],
)  # fmt: skip
def test_deleting_the_stack_deletes_no_record_and_no_key(resources: Resources, kind: str) -> None:
    """The role stays too: the keys that stay know it by its unique id."""
    found = [resource for resource in resources.values() if resource["Type"] == kind]
    assert found
    for resource in found:
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"


def test_stream_is_encrypted_with_its_own_key(template: Template, resources: Resources) -> None:
    encryption = resources["Stream"]["Properties"]["StreamEncryption"]
    assert encryption == {"EncryptionType": "KMS", "KeyId": Resolver(template, {}).arn("StreamKey")}


def test_existing_stream_key_takes_the_place_of_a_new_one(template: Template) -> None:
    arn = "arn:aws:kms:ap-northeast-1:111122223333:key/recordings"
    resources = Resolver(template, {"ExistingStreamKeyArn": arn}).resources()
    assert "StreamKey" not in resources
    assert resources["Stream"]["Properties"]["StreamEncryption"]["KeyId"] == arn
    (decrypt,) = statements(resources, "DecryptTheStream")
    assert decrypt["Resource"] == arn


def test_connect_may_encrypt_on_the_stream_key(resources: Resources) -> None:
    (statement,) = statements(resources, "ConnectEncrypts")
    assert statement["Principal"]["AWS"].endswith("role/aws-service-role/connect.amazonaws.com/Connect_x")
    assert statement["Action"] == "kms:GenerateDataKey"
    assert "Condition" not in statement


def test_connect_sends_contact_records_and_agent_events_to_the_stream(resources: Resources) -> None:
    found = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Connect::InstanceStorageConfig"]
    assert {properties["ResourceType"] for properties in found} == {"CONTACT_TRACE_RECORDS", "AGENT_EVENTS"}
    assert all(p["KinesisStreamConfig"]["StreamArn"].endswith("stream/ctr-fanout") for p in found)


def test_without_connect_the_template_still_deploys(template: Template) -> None:
    resources = Resolver(template, {}).resources()
    assert not [r for r in resources.values() if r["Type"].startswith("AWS::Connect")]
    assert statements(resources, "ConnectEncrypts") == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_key_of_a_route_is_bound_to_its_prefix_three_times(
    template: Template, resources: Resources, route: Any
) -> None:
    stem, objects = logical_id(route.name), f"{BUCKET}/{top(route.prefix)}/*"
    key = Resolver(template, {}).arn(f"{stem}Key")
    via_s3 = {
        "StringEquals": {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": objects},
    }
    policy = resources[f"{stem}Key"]["Properties"]["KeyPolicy"]["Statement"]
    (writes,) = [statement for statement in policy if statement["Sid"] == "FanOutWrites"]
    assert (writes["Action"], writes["Condition"]) == ("kms:GenerateDataKey", via_s3)
    assert writes["Principal"] == {"AWS": "arn:aws:iam::111122223333:role/FanOutRole"}

    (denied,) = statements(resources, f"KeyOf{stem}")
    header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    assert (denied["Effect"], denied["Principal"], denied["Resource"]) == ("Deny", "*", objects)
    assert denied["Condition"] == {"ArnNotEquals": {header: key}}

    (put,), (encrypt,) = statements(resources, f"{stem}Put"), statements(resources, f"{stem}Encrypt")
    assert (put["Resource"], put["Condition"]) == (objects, {"ArnEquals": {header: key}})
    assert (encrypt["Resource"], encrypt["Action"], encrypt["Condition"]) == (key, "kms:GenerateDataKey", via_s3)


@pytest.mark.parametrize("route", ROUTES[:-1], ids=lambda route: route.name)
def test_readers_of_a_route_decrypt_only_below_its_prefix(resources: Resources, route: Any) -> None:
    stem = logical_id(route.name)
    policy = resources[f"{stem}Key"]["Properties"]["KeyPolicy"]["Statement"]
    (reads,) = [statement for statement in policy if statement["Sid"] == "ReadersDecrypt"]
    assert reads["Principal"] == {"AWS": [f"arn:aws:iam::111122223333:role/ReadersOf{stem}"]}
    assert reads["Action"] == "kms:Decrypt"
    assert reads["Condition"]["StringLike"] == {"kms:EncryptionContext:aws:s3:arn": f"{BUCKET}/{route.prefix}/*"}


def test_route_without_readers_is_readable_by_nobody(template: Template) -> None:
    assert statements(Resolver(template, {}).resources(), "ReadersDecrypt") == []


def test_function_may_decrypt_nothing_but_its_stream(resources: Resources) -> None:
    decrypting = [
        statement
        for resource in resources.values()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        if "Decrypt" in str(statement["Action"]) or "*" in str(statement["Action"])
    ]
    assert [statement["Sid"] for statement in decrypting] == ["DecryptTheStream"]
    assert decrypting[0]["Condition"]["StringEquals"] == {
        "kms:ViaService": "kinesis.ap-northeast-1.amazonaws.com",
        "kms:EncryptionContext:aws:kinesis:arn": "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout",
    }


def test_administrators_of_a_key_cannot_use_it(resources: Resources) -> None:
    keys = [resource for resource in resources.values() if resource["Type"] == "AWS::KMS::Key"]
    assert len(keys) == len(ROUTES) + 1
    for key in keys:
        admin = key["Properties"]["KeyPolicy"]["Statement"][0]
        assert admin["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
        uses = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:CreateGrant", "kms:*"}
        assert not uses & set(admin["Action"])
        assert key["Properties"]["EnableKeyRotation"] is True


def test_what_lambda_gives_up_on_lands_under_the_dead_letter_key(template: Template, resources: Resources) -> None:
    """Lambda's delivery names no key: the bucket's default decides, and no denial may stand in its way."""
    (rule,) = resources["Bucket"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is False
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": Resolver(template, {}).arn("DeadLetterKey"),
    }
    denials = [
        statement
        for statement in resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Action"] == "s3:PutObject"
    ]
    delivered = f"{BUCKET}/aws/lambda/*"
    for statement in denials:
        if "NotResource" in statement:
            assert delivered in statement["NotResource"]
        else:
            assert delivered not in statement["Resource"]


def test_only_conditional_writes_reach_the_prefixes(resources: Resources) -> None:
    (statement,) = statements(resources, "ConditionalWritesOnly")
    assert statement["Condition"] == {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}}
    assert statement["Resource"] == [f"{BUCKET}/{top(route.prefix)}/*" for route in ROUTES]


def test_function_finds_every_setting_it_reads(resources: Resources) -> None:
    variables = resources["FanOutFunction"]["Properties"]["Environment"]["Variables"]
    settings = read_settings(variables, shipped_routes())
    assert settings.checkpoint_table == "ctr-fanout-checkpoint"
    assert set(settings.key_arns) == {route.name for route in ROUTES}


def test_checkpoint_can_be_turned_off_and_on_again(template: Template) -> None:
    """The table stays: one that is kept when it leaves the stack could not be made again under its name."""
    resources = Resolver(template, {"Checkpoint": "off"}).resources()
    assert "CheckpointTable" in resources
    variables = resources["FanOutFunction"]["Properties"]["Environment"]["Variables"]
    assert read_settings(variables, shipped_routes()).checkpoint_table is None


def test_checkpoint_rows_expire_by_the_attribute_that_the_function_writes(resources: Resources) -> None:
    table = resources["CheckpointTable"]["Properties"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "shard", "KeyType": "HASH"}]


def test_function_waits_for_every_grant(template: Template) -> None:
    policies = {name for name, r in template["Resources"].items() if r["Type"] == "AWS::IAM::ManagedPolicy"}
    assert set(template["Resources"]["FanOutFunction"]["DependsOn"]) == {*policies, "BucketPolicy"}


def test_reader_policy_is_exactly_what_the_function_needs(template: Template, resources: Resources) -> None:
    stream = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
    key = Resolver(template, {}).arn
    assert resources["ReaderPolicy"]["Properties"]["PolicyDocument"]["Statement"] == [
        {
            "Sid": "ReadTheStream",
            "Effect": "Allow",
            "Action": [
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ],
            "Resource": stream,
        },
        {
            "Sid": "DecryptTheStream",
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": key("StreamKey"),
            "Condition": {
                "StringEquals": {
                    "kms:ViaService": "kinesis.ap-northeast-1.amazonaws.com",
                    "kms:EncryptionContext:aws:kinesis:arn": stream,
                }
            },
        },
        {
            "Sid": "LookAtObjects",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [f"{BUCKET}/{top(route.prefix)}/*" for route in ROUTES],
        },
        {
            "Sid": "KeepTheCheckpoint",
            "Effect": "Allow",
            "Action": "dynamodb:UpdateItem",
            "Resource": "arn:aws:dynamodb:ap-northeast-1:111122223333:table/ctr-fanout-checkpoint",
        },
        {
            "Sid": "Log",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "arn:aws:logs:ap-northeast-1:111122223333:log-group:/aws/lambda/ctr-fanout:*",
        },
        {
            "Sid": "HandOverWhatFailed",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"{BUCKET}/aws/lambda/*",
            "Condition": {"StringEquals": {"s3:ResourceAccount": "111122223333"}},
        },
        {
            "Sid": "FindTheBucket",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": BUCKET,
            "Condition": {"StringEquals": {"s3:ResourceAccount": "111122223333"}},
        },
        {
            "Sid": "EncryptWhatFailed",
            "Effect": "Allow",
            "Action": "kms:GenerateDataKey",
            "Resource": key("DeadLetterKey"),
            "Condition": {
                "StringEquals": {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"},
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": f"{BUCKET}/aws/lambda/*"},
            },
        },
    ]


def test_bucket_policy_denies_plain_http_unknown_prefixes_and_blind_writes(resources: Resources) -> None:
    objects = [f"{BUCKET}/{top(route.prefix)}/*" for route in ROUTES]
    fixed = [s for s in resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"] if "Key" not in s["Sid"]]
    assert fixed[:3] == [
        {
            "Sid": "EncryptedTransportOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [BUCKET, f"{BUCKET}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {
            "Sid": "KnownPrefixesOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "NotResource": [f"{BUCKET}/aws/lambda/*", *objects],
        },
        {
            "Sid": "ConditionalWritesOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": objects,
            "Condition": {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}},
        },
    ]
    assert {s["Sid"].removesuffix("Read").removesuffix("List") for s in fixed[3:]} == {
        logical_id(route.name) for route in ROUTES[:-1]
    }
    assert all(s["Effect"] == "Allow" for s in fixed[3:])


def test_stream_key_admits_its_administrators_connect_and_the_function(resources: Resources) -> None:
    _, connect, function = resources["StreamKey"]["Properties"]["KeyPolicy"]["Statement"]
    assert connect["Sid"] == "ConnectEncrypts"
    assert function == {
        "Sid": "FanOutReads",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:role/FanOutRole"},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                "kms:ViaService": "kinesis.ap-northeast-1.amazonaws.com",
                "kms:EncryptionContext:aws:kinesis:arn": "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout",
            }
        },
    }


def test_bucket_is_private_versioned_and_expires_no_current_object(resources: Resources) -> None:
    properties = resources["Bucket"]["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert set(rule) == {"Id", "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"}


def test_nothing_is_forgotten_too_soon(resources: Resources) -> None:
    """A deleted key could not be brought back, and a shorter retention leaves less time to mend a failure."""
    keys = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::KMS::Key"]
    assert {key["PendingWindowInDays"] for key in keys} == {30}
    retention = int(resources["Stream"]["Properties"]["RetentionPeriodHours"]) * 3600
    age = int(resources["StreamMapping"]["Properties"]["MaximumRecordAgeInSeconds"])
    assert retention >= 2 * age, "records would expire in the stream before Lambda hands them over"
    assert resources["CheckpointTable"]["Properties"]["PointInTimeRecoverySpecification"] == {
        "PointInTimeRecoveryEnabled": True
    }
    assert resources["FanOutFunction"]["Properties"]["Timeout"] == 120


def test_function_has_its_role_log_group_and_retention(resources: Resources) -> None:
    properties = resources["FanOutFunction"]["Properties"]
    assert properties["Role"] == "arn:aws:iam::111122223333:role/FanOutRole"
    assert properties["Runtime"] == "python3.13"
    assert properties["LoggingConfig"] == {"LogGroup": "/aws/lambda/ctr-fanout"}
    assert resources["LogGroup"]["Properties"]["RetentionInDays"] == "90"


def test_samconfig_names_the_region_of_the_original_set_up() -> None:
    config = tomllib.loads(Path(TEMPLATE.parent, "samconfig.toml").read_text())
    assert {config[name]["global"]["parameters"]["region"] for name in ("default", "prod", "local")} == {
        "ap-northeast-1"
    }


def test_template_is_plain_yaml_without_anchors() -> None:
    """CloudFormation takes no aliases."""
    tokens = yaml.scan(TEMPLATE.read_text())
    assert not [t for t in tokens if isinstance(t, yaml.AnchorToken | yaml.AliasToken)]
