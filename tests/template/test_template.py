"""The template: what keeps records from being lost, read by the wrong people, or delivered twice."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cfnlint.decode import decode

from aws.route_file import routes_text, shipped_routes
from aws.settings import read_settings
from doctor.resolve import Resolver
from grants.sentences import SENTENCES
from handlers.telemetry import NAMESPACE
from infrastructure.pages.grants import named_statements
from infrastructure.refresh import refresh
from local.translate import TEMPLATE, Template, nested_templates, translated
from operations.grant_check.check import CHECKED_BESIDE_ROUTES
from routing.errors import Fault
from routing.fields import node_type
from routing.table.pattern import compile_pattern

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
    assert refresh([TEMPLATE, *nested_templates(TEMPLATE.parent)], is_check=True)


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
     "AWS::DynamoDB::Table"],
)  # fmt: skip
def test_deleting_the_stack_deletes_no_record_and_no_key(resources: Resources, kind: str) -> None:
    of_no_record = {"AlarmKey", "QueryResultsKey"}
    found = [r for name, r in resources.items() if r["Type"] == kind and name not in of_no_record]
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


def test_connect_sends_contact_records_and_agent_events_to_the_stream(resources: Resources) -> None:
    found = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Connect::InstanceStorageConfig"]
    assert {properties["ResourceType"] for properties in found} == {"CONTACT_TRACE_RECORDS", "AGENT_EVENTS"}
    assert all(p["KinesisStreamConfig"]["StreamArn"].endswith("stream/ctr-fanout") for p in found)


def test_without_connect_the_template_still_deploys(template: Template) -> None:
    resources = Resolver(template, {}).resources()
    assert not [r for r in resources.values() if r["Type"].startswith("AWS::Connect")]
    assert statements(resources, "ConnectEncrypts") == []


def test_what_lambda_gives_up_on_lands_under_the_dead_letter_key(template: Template, resources: Resources) -> None:
    """Lambda's delivery names no key: the bucket's default decides. That no denial stands in its way is a row of the matrix."""
    (rule,) = resources["Bucket"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is False
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": Resolver(template, {}).arn("DeadLetterKey"),
    }


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


def _comes_after(template: Template, late: str, early: str) -> bool:
    """Return True if CloudFormation makes a resource after another, by references and DependsOn."""
    waits: dict[str, set[str]] = {}
    for name, resource in template["Resources"].items():
        text = json.dumps(resource)
        named = {other for other in template["Resources"] if re.search(rf'["{{]{other}["}}.]', text)}
        waits[name] = named - {name}
    reached, left = set(), {late}
    while left:
        reached |= left
        left = set().union(*(waits[name] for name in left)) - reached
    return early in reached


@pytest.mark.parametrize(
    "late", ["ConnectContactRecords", "ConnectAgentEvents", "GrantCheckSchedule", "CheckpointTable"]
)
def test_first_deployment_that_fails_can_be_rolled_back(late: str) -> None:
    """What puts objects into the bucket, and the table that is protected from deletion, come after what may fail."""
    template = _written()
    early = [
        "FanOutFunction",
        "StreamMapping",
        "GrantCheckFunction",
        "BucketPolicy",
        "MonitoringStack",
        "AnalysisStack",
    ]
    assert [name for name in early if not _comes_after(template, late, name)] == []


def test_table_comes_after_connect_and_one_association_after_the_other() -> None:
    template = _written()
    assert _comes_after(template, "CheckpointTable", "ConnectAgentEvents")
    assert _comes_after(template, "ConnectAgentEvents", "ConnectContactRecords")
    assert not any(
        _comes_after(template, name, "CheckpointTable") for name in template["Resources"] if name != "CheckpointTable"
    )


def _written() -> Template:
    """Return template.yaml as it is written, its nested stacks not put in."""
    raw, problems = decode(str(TEMPLATE))
    assert not problems
    written: Template = json.loads(json.dumps(raw, default=str))
    return written


def test_every_parameter_has_a_description_and_none_is_for_an_emulator() -> None:
    parameters = _written()["Parameters"]
    assert [name for name, one in parameters.items() if not one.get("Description")] == []
    assert [name for name, one in parameters.items() if "Default" not in one] == []
    assert [name for name, one in parameters.items() if "emulator" in one["Description"]] == []


def test_function_waits_for_every_grant(template: Template) -> None:
    """All policies of its role, but for traces and the one that names the mapping, which in turn needs the function."""
    policies = {
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
        and {"Ref": "FanOutRole"} in resource["Properties"].get("Roles", [])
    }
    grants = {*policies - {"MappingStatePolicy", "TracingPolicy"}, "BucketPolicy"}
    for function in ("FanOutFunction", "GrantCheckFunction"):
        assert set(template["Resources"][function]["DependsOn"]) == grants


def test_every_key_rotates(resources: Resources) -> None:
    keys = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::KMS::Key"]
    assert len(keys) == len(ROUTES) + len(shipped_routes().protection_keys) + 4
    still = [key for key in keys if not key.get("EnableKeyRotation")]
    assert [key["KeySpec"] for key in still] == ["HMAC_256"], "KMS rotates all but the key of tokens"


def test_archive_is_the_classic_set_up_of_two_keys(template: Template, resources: Resources) -> None:
    key = Resolver(template, {}).arn
    archive = resources["ArchiveStream"]["Properties"]
    role, destination = key("ArchiveRole"), archive["ExtendedS3DestinationConfiguration"]
    assert archive["DeliveryStreamType"] == "KinesisStreamAsSource"
    assert archive["KinesisStreamSourceConfiguration"] == {"KinesisStreamARN": key("Stream"), "RoleARN": role}
    assert destination["EncryptionConfiguration"] == {"KMSEncryptionConfig": {"AWSKMSKeyARN": key("ArchiveKey")}}
    assert (destination["BucketARN"], destination["RoleARN"]) == (BUCKET, role)
    assert destination["Prefix"].startswith("archive/")
    assert destination["ErrorOutputPrefix"].startswith("archive/errors/")
    lines = {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]}
    assert destination["ProcessingConfiguration"] == lines, "or a whole object is one line"
    logging = destination["CloudWatchLoggingOptions"]
    assert logging["Enabled"] is True
    assert logging["LogStreamName"] == resources["ArchiveLogStream"]["Properties"]["LogStreamName"]
    assert not [name for name in Resolver(template, {}).resources() if name.startswith("Archive")]


def grant_alarms(resources: Resources) -> list[dict[str, Any]]:
    alarms = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    return [alarm for alarm in alarms if alarm.get("MetricName") == "GrantCheckFailed"]


def test_whatever_the_grant_check_tries_has_an_alarm_that_notices_its_silence(resources: Resources) -> None:
    alarms = grant_alarms(resources)
    watched = {d["Value"] for alarm in alarms for d in alarm["Dimensions"] if d["Name"] == "Route"}
    assert watched == {*(route.name for route in ROUTES), *shipped_routes().protection_keys, *CHECKED_BESIDE_ROUTES}
    longest = 60 * 10  # GrantCheckMinutes allows ten
    for alarm in alarms:
        assert alarm["Namespace"] == NAMESPACE
        assert {"Name": "service", "Value": "ctr-fanout"} in alarm["Dimensions"]
        assert alarm["TreatMissingData"] == "breaching"
        assert alarm["Period"] > longest


def test_grant_check_can_be_turned_off_with_its_alarms(template: Template) -> None:
    resources = Resolver(template, {"GrantCheck": "off"}).resources()
    assert resources["GrantCheckSchedule"]["Properties"]["State"] == "DISABLED"
    assert grant_alarms(resources) == []
    assert template["Parameters"]["GrantCheckMinutes"]["MaxValue"] == 10


def test_function_names_the_route_table_that_it_was_deployed_with(resources: Resources) -> None:
    """By it the doctor tells a stack that was deployed from another file."""
    for function in ("FanOutFunction", "GrantCheckFunction"):
        variables = resources[function]["Properties"]["Environment"]["Variables"]
        assert variables["ROUTES_SHA256"] == hashlib.sha256(routes_text().encode()).hexdigest()


def test_bucket_is_private_versioned_and_expires_no_current_object(resources: Resources) -> None:
    properties = resources["Bucket"]["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert set(rule) == {
        "Id", "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "ExpiredObjectDeleteMarker",
    }  # fmt: skip


def test_bucket_sends_events_only_if_asked_to(resources: Resources) -> None:
    assert "NotificationConfiguration" not in resources["Bucket"]["Properties"]
    asked = Resolver(translated(), {"ObjectEvents": "on"}).resources()["Bucket"]["Properties"]
    assert asked["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_rule_of_the_docs_takes_the_objects_of_a_route_and_not_those_of_the_grant_check() -> None:
    (text,) = re.findall(
        r'```json\n(\{\n  "source": \["aws.s3"\].*?)```', Path("docs/routes.md").read_text(encoding="utf-8"), re.DOTALL
    )
    rule = json.loads(text)
    faults: list[Fault] = []
    pattern = compile_pattern(rule, "rule", faults)
    assert pattern is not None, faults

    def takes(key: str) -> bool:
        detail = {"bucket": {"name": "ctr-fanout-111122223333-ap-northeast-1"}, "object": {"key": key}}
        event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
        return pattern.matches(msgspec.json.decode(json.dumps(event), type=node_type(pattern.paths)))

    assert takes("departments/orders/contact_record/date=2026-03-02/ctr-fanout-shardId-000000000000-1.ndjson.gz")
    assert not takes("departments/orders/_grant-check.ndjson.gz")
    assert not takes("departments/billing/contact_record/date=2026-03-02/x.ndjson.gz")


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
    assert {config[name]["global"]["parameters"]["region"] for name in ("default", "dev", "prod", "local")} == {
        "ap-northeast-1"
    }


def test_parameters_of_every_environment_are_those_of_the_template(template: Template) -> None:
    config = tomllib.loads(Path(TEMPLATE.parent, "samconfig.toml").read_text())
    named = {
        name: {one.partition("=")[0] for one in config[name]["deploy"]["parameters"]["parameter_overrides"]}
        for name in config
        if name != "version"
    }
    assert {"default", "dev", "lean", "prod", "local"} == named.keys()
    for parameters in named.values():
        assert parameters <= template["Parameters"].keys()


def test_workflow_deploys_the_environments_of_samconfig_and_pins_what_it_uses() -> None:
    folder = TEMPLATE.parent / ".github" / "workflows"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yml")}
    config = tomllib.loads(Path(TEMPLATE.parent, "samconfig.toml").read_text())
    deployed = set(re.findall(r"with: \{environment: (\w+)\}", texts["deploy.yml"]))
    assert deployed == {"dev", "prod"}
    for name in deployed:
        assert config[name]["global"]["parameters"]["stack_name"] == f"ctr-fanout-{name}"
    for text in texts.values():
        assert yaml.safe_load(text)["permissions"] == {}
        used = re.findall(r"uses: ([^.\s]\S+)", text)
        assert all(re.fullmatch(r"\S+@[0-9a-f]{40}", one) for one in used), used


def test_template_is_plain_yaml_without_anchors() -> None:
    """CloudFormation takes no aliases."""
    tokens = yaml.scan(TEMPLATE.read_text())
    assert not [t for t in tokens if isinstance(t, yaml.AnchorToken | yaml.AliasToken)]


def test_who_may_do_what_is_written_in_one_part() -> None:
    """A security officer reads it from the first role to the last policy, and nothing else in between."""
    grants = ("AWS::IAM::Role", "AWS::KMS::", "AWS::S3::Bucket", "AWS::IAM::ManagedPolicy")
    written, _ = decode(str(TEMPLATE))
    assert written
    kinds = [resource["Type"] for resource in written["Resources"].values()]
    places = [place for place, kind in enumerate(kinds) if kind.startswith(grants)]

    assert kinds[places[0]] == "AWS::IAM::Role"
    assert places == list(range(places[0], places[-1] + 1))


def test_every_statement_has_a_sentence_and_every_sentence_a_statement() -> None:
    """docs/grants.md lists them; a Sid that nothing explains, or an explanation of nothing, fails here."""
    templates = [path.read_text(encoding="utf-8") for path in (TEMPLATE, *nested_templates(TEMPLATE.parent))]
    named = {sid for _, sid in named_statements(shipped_routes(), templates)}
    assert named == set(SENTENCES)
