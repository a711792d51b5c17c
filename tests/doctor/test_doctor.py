"""Broken accounts: each is built, and the doctor names the right cause first."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from moto.awslambda_simple.models import lambda_simple_backends

from doctor.account import IAM_NAMES, IAM_SERVICES
from doctor.examine import Given
from doctor.finding import Severity, worst
from doctor.permissions import ACTIONS
from local.translate import translated
from routing.lambda_event import ACCOUNT, REGION
from tests.doctor.apply import apply
from tests.doctor.conftest import Examine, examine_all
from tests.doctor.world import CONNECT_ROLE, INSTANCE, INSTANCE_ARN, READER, STACK, STREAM_ARN, World

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
DEFAULT = {"Sid": "Default", "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}


def statement(sid: str, principal: str, action: str | list[str], **rest: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*", **rest}


def add(world: World, key: str, *statements: dict[str, Any]) -> None:
    policy = world.key_policy(key)
    world.set_key_policy(key, {**policy, "Statement": [*policy["Statement"], *statements]})


def mapping(world: World) -> Any:
    """Return moto's own mapping, for what no API sets."""
    return lambda_simple_backends[ACCOUNT][REGION]._event_source_mappings[world.mapping]


def move_stream_to(world: World, key: str) -> None:
    """Encrypt the stream with another key; the function may decrypt with it, as its policy is changed, too."""
    kinesis = world.client("kinesis")
    kinesis.stop_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys["Stream"])
    kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys[key])
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream", Resource=world.keys[key])
    (mine,) = world.statements("DenyOutsidePolicy", "DenyOtherKeys")
    allowed = [world.keys[key] if one == world.keys["Stream"] else one for one in mine["NotResource"]]
    world.edit_policy("DenyOutsidePolicy", "DenyOtherKeys", NotResource=allowed)
    world.parameters["ExistingStreamKeyArn"] = world.keys[key]
    del world.resources["StreamKey"]
    if world.key_policy(key)["Statement"][0].get("Sid") != "Default":
        world.set_key_policy(key, {"Version": "2012-10-17", "Statement": [DEFAULT]})


# --- Connect ------------------------------------------------------------------------------------------------


def instance_is_gone(world: World) -> None:
    world.connect.instances.clear()


def instance_is_being_made(world: World) -> None:
    world.connect.instances[INSTANCE]["InstanceStatus"] = "CREATION_IN_PROGRESS"


def instance_has_no_service_linked_role(world: World) -> None:
    world.connect.instances[INSTANCE]["ServiceRole"] = f"arn:aws:iam::{ACCOUNT}:role/connect-of-2017"
    world.parameters["ConnectServiceRoleArn"] = f"arn:aws:iam::{ACCOUNT}:role/connect-of-2017"
    world.edit_key("Stream", "ConnectEncrypts", Principal={"AWS": world.parameters["ConnectServiceRoleArn"]})


def contact_records_are_not_streamed(world: World) -> None:
    del world.connect.storage[INSTANCE, "CONTACT_TRACE_RECORDS"]


def agent_events_are_not_streamed(world: World) -> None:
    del world.connect.storage[INSTANCE, "AGENT_EVENTS"]


def contact_records_go_to_firehose(world: World) -> None:
    firehose = {"FirehoseArn": f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/other"}
    world.connect.storage[INSTANCE, "CONTACT_TRACE_RECORDS"] = [
        {"AssociationId": "a", "StorageType": "KINESIS_FIREHOSE", "KinesisFirehoseConfig": firehose}
    ]


def contact_records_go_to_another_stream(world: World) -> None:
    other = {"StreamArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/other"}
    world.connect.storage[INSTANCE, "CONTACT_TRACE_RECORDS"] = [
        {"AssociationId": "a", "StorageType": "KINESIS_STREAM", "KinesisStreamConfig": other}
    ]


# --- the stream and its key ---------------------------------------------------------------------------------


def stream_is_gone(world: World) -> None:
    world.client("kinesis").delete_stream(StreamName="ctr-fanout")


def stream_is_not_encrypted(world: World) -> None:
    key = world.keys["Stream"]
    world.client("kinesis").stop_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=key)


def stream_key_is_disabled(world: World) -> None:
    world.client("kms").disable_key(KeyId=world.keys["Stream"].rpartition("/")[2])


def stream_key_is_going(world: World) -> None:
    world.client("kms").schedule_key_deletion(KeyId=world.keys["Stream"].rpartition("/")[2], PendingWindowInDays=7)


def stream_key_does_not_exist(world: World) -> None:
    kinesis = world.client("kinesis")
    kinesis.stop_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys["Stream"])
    gone = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"
    kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=gone)


def classic_trap(world: World) -> None:
    """A key of its own for the stream, no storage key, and nothing about Connect in its policy."""
    world.edit_key("Stream", "ConnectEncrypts")


def only_the_account_is_named(world: World) -> None:
    """The default policy looks generous, and Connect's role has no policy of its own that allows it."""
    world.keys["Default"] = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    move_stream_to(world, "Default")


def recordings_key_with_its_grant(world: World) -> None:
    world.client("kms").create_grant(
        KeyId=world.keys["Recordings"], GranteePrincipal=CONNECT_ROLE,
        Operations=["GenerateDataKey", "Decrypt", "Encrypt"],
    )  # fmt: skip
    move_stream_to(world, "Recordings")


def recordings_key_whose_grant_is_gone(world: World) -> None:
    move_stream_to(world, "Recordings")


def key_with_a_grant_by_hand(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts")
    world.client("kms").create_grant(
        KeyId=world.keys["Stream"], GranteePrincipal=CONNECT_ROLE, Operations=["GenerateDataKey"]
    )


def grant_is_too_small(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts")
    world.client("kms").create_grant(KeyId=world.keys["Stream"], GranteePrincipal=CONNECT_ROLE, Operations=["Decrypt"])


def grant_is_for_another_stream(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts")
    world.client("kms").create_grant(
        KeyId=world.keys["Stream"], GranteePrincipal=CONNECT_ROLE, Operations=["GenerateDataKey"],
        Constraints={"EncryptionContextEquals": {"aws:kinesis:arn": "arn:aws:kinesis:eu-west-2:1:stream/x"}},
    )  # fmt: skip


def key_names_a_deleted_role(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts", Principal={"AWS": "AROAEXAMPLEEXAMPLE123"})


def key_names_another_instances_role(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts", Principal={"AWS": CONNECT_ROLE.replace("_x", "_y")})


def key_lets_connect_only_decrypt(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts", Action="kms:Decrypt")


def key_denies_connect(world: World) -> None:
    denial = statement("NoServices", "*", "kms:GenerateDataKey", Effect="Deny",
                       Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/aws-service-role/*"}})  # fmt: skip
    add(world, "Stream", denial)


def key_admits_connect_from_an_organization(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})


# --- who reads it -------------------------------------------------------------------------------------------


def nobody_reads(world: World) -> None:
    world.client("lambda").delete_event_source_mapping(UUID=world.mapping)
    world.client("firehose").delete_delivery_stream(DeliveryStreamName="ctr-fanout-archive")


def mapping_is_disabled(world: World) -> None:
    mapping(world).enabled = False


def mapping_has_a_problem(world: World) -> None:
    def replayed(parsed: dict[str, Any], **_: object) -> None:
        """Say what moto never says."""
        for one in parsed["EventSourceMappings"]:
            one["LastProcessingResult"] = "PROBLEM: Function call failed"

    world.listen("after-call.lambda.ListEventSourceMappings", replayed)


def mapping_retries_for_ever(world: World) -> None:
    mapping(world).max_retry_attempts = -1
    mapping(world).max_record_age = -1


def retention_is_short(world: World) -> None:
    world.client("kinesis").decrease_stream_retention_period(StreamName="ctr-fanout", RetentionPeriodHours=24)


def partial_failures_are_ignored(world: World) -> None:
    mapping(world).function_response_types = []


def nothing_takes_what_fails(world: World) -> None:
    mapping(world).destination_config = {}


def on_failure_is_not_allowed(world: World) -> None:
    world.edit_policy("FunctionPolicy", "PutFailedBatches")


def on_failure_is_denied(world: World) -> None:
    denial = {"Sid": "HeaderOrNothing", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
              "Resource": f"arn:aws:s3:::{world.bucket}/*",
              "Condition": {"Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "true"}}}  # fmt: skip
    policy = json.loads(world.client("s3").get_bucket_policy(Bucket=world.bucket)["Policy"])
    policy["Statement"].append(denial)
    world.client("s3").put_bucket_policy(Bucket=world.bucket, Policy=json.dumps(policy))


def function_may_not_read(world: World) -> None:
    world.edit_policy("StreamConsumerPolicy", "ReadTheStream")


def function_may_not_decrypt(world: World) -> None:
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream")


def stream_key_admits_no_consumer(world: World) -> None:
    world.edit_key("Stream", "ConsumersDecrypt")


def function_decrypts_another_stream(world: World) -> None:
    other = {"StringEquals": {"kms:EncryptionContext:aws:kinesis:arn": STREAM_ARN + "-of-last-year"}}
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream", Condition=other)


def stream_key_wants_another_region(world: World) -> None:
    world.edit_key("Stream", "ConsumersDecrypt",
                   Condition={"StringEquals": {"kms:ViaService": "kinesis.eu-west-2.amazonaws.com"}})  # fmt: skip


def function_is_out_of_bounds(world: World) -> None:
    bounds = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "kinesis:*", "logs:*",
              "dynamodb:*", "lambda:*"], "Resource": "*"}]}  # fmt: skip
    iam = world.client("iam")
    arn = iam.create_policy(PolicyName="bounds", PolicyDocument=json.dumps(bounds))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="FanOutRole", PermissionsBoundary=arn)


def function_is_denied(world: World) -> None:
    denial = {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "NoKms", "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}],
    }
    world.client("iam").put_role_policy(
        RoleName="FanOutRole", PolicyName="guardrail", PolicyDocument=json.dumps(denial)
    )


# --- Firehose -----------------------------------------------------------------------------------------------


def firehose_may_not_decrypt(world: World) -> None:
    """Trap 2, first half."""
    iam = world.client("iam")
    iam.detach_role_policy(RoleName="ArchiveRole", PolicyArn=world.policies["StreamConsumerPolicy"])
    read = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kinesis:*", "Resource": STREAM_ARN}]}
    iam.put_role_policy(RoleName="ArchiveRole", PolicyName="read", PolicyDocument=json.dumps(read))


def archive_key_does_not_admit_firehose(world: World) -> None:
    """Trap 2, second half."""
    world.edit_key("Archive", "FirehoseWrites")


def firehose_may_not_encrypt(world: World) -> None:
    world.edit_policy("ArchivePolicy", "ArchiveEncrypt")


def firehose_may_not_put(world: World) -> None:
    world.edit_policy("ArchivePolicy", "ArchivePut")


def bucket_denies_firehose(world: World) -> None:
    world.edit_bucket("DenyUnknownPrefixes", NotResource=[f"arn:aws:s3:::{world.bucket}/aws/lambda/*"])


def archive_key_is_disabled(world: World) -> None:
    world.client("kms").disable_key(KeyId=world.keys["Archive"].rpartition("/")[2])


def firehose_role_is_gone(world: World) -> None:
    iam = world.client("iam")
    for policy in ("StreamConsumerPolicy", "ArchivePolicy", "DenyOutsidePolicy"):
        iam.detach_role_policy(RoleName="ArchiveRole", PolicyArn=world.policies[policy])
    iam.delete_role(RoleName="ArchiveRole")


# --- the stack's destinations -------------------------------------------------------------------------------


def route_key_is_disabled(world: World) -> None:
    world.client("kms").disable_key(KeyId=world.keys["Orders"].rpartition("/")[2])


def route_key_is_going(world: World) -> None:
    world.client("kms").schedule_key_deletion(KeyId=world.keys["Orders"].rpartition("/")[2], PendingWindowInDays=7)


def route_key_is_gone(world: World) -> None:
    """Deleted for good: moto only ever schedules that, so KMS's answer is replayed."""
    gone = world.keys["Orders"].rpartition("/")[2]
    missing = {"Error": {"Code": "NotFoundException", "Message": "gone"}, "ResponseMetadata": {}}

    def hook(params: Any, **_: object) -> tuple[Any, dict[str, Any]] | None:
        asked = json.loads(params["body"])["KeyId"]
        return (type("Http", (), {"status_code": 400})(), missing) if asked.endswith(gone) else None

    world.listen("before-call.kms.DescribeKey", hook)


def route_key_does_not_rotate(world: World) -> None:
    world.client("kms").disable_key_rotation(KeyId=world.keys["Orders"])


def stream_key_does_not_rotate(world: World) -> None:
    world.client("kms").disable_key_rotation(KeyId=world.keys["Stream"])


def archive_key_does_not_rotate(world: World) -> None:
    world.client("kms").disable_key_rotation(KeyId=world.keys["Archive"])


def route_key_admits_no_writer(world: World) -> None:
    world.edit_key("Orders", "WritersEncrypt")


def function_may_not_encrypt_a_route(world: World) -> None:
    world.edit_policy("WriterPolicy1", "OrdersEncrypt")


def function_may_not_put_a_route(world: World) -> None:
    world.edit_policy("WriterPolicy1", "OrdersPut")


def bucket_denies_a_route(world: World) -> None:
    world.edit_bucket("DenyOtherKeysOfOrders", Condition={"ArnNotEquals": {
        "s3:x-amz-server-side-encryption-aws-kms-key-id": world.keys["Billing"]}})  # fmt: skip


def bucket_takes_any_key(world: World) -> None:
    world.edit_bucket("DenyOtherKeysOfOrders")


def bucket_takes_plain_http(world: World) -> None:
    world.edit_bucket("DenyInsecureTransport")


def key_leaves_it_to_iam(world: World) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}
    world.client("iam").put_role_policy(RoleName="FanOutRole", PolicyName="kms", PolicyDocument=json.dumps(policy))
    add(world, "Orders", DEFAULT)


def somebody_else_reads_a_route(world: World) -> None:
    world.edit_key("Orders", "ReadersDecrypt", Principal={"AWS": [READER, f"arn:aws:iam::{ACCOUNT}:role/Curious"]})


def reader_is_not_admitted(world: World) -> None:
    world.edit_key("Orders", "ReadersDecrypt")


def reader_may_not_fetch(world: World) -> None:
    world.edit_policy("OrdersReaderPolicy", "OrdersRead")


def reader_may_not_list(world: World) -> None:
    world.edit_policy("OrdersReaderPolicy", "OrdersList")


def bucket_default_is_another_key(world: World) -> None:
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": world.keys["Orders"]}
    world.client("s3").put_bucket_encryption(Bucket=world.bucket, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": False}]})  # fmt: skip


def bucket_keys_are_on(world: World) -> None:
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": world.keys["DeadLetter"]}
    world.client("s3").put_bucket_encryption(Bucket=world.bucket, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": True}]})  # fmt: skip


def table_is_gone(world: World) -> None:
    dynamodb = world.client("dynamodb")
    dynamodb.update_table(TableName="ctr-fanout-checkpoint", DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName="ctr-fanout-checkpoint")


def table_rows_never_expire(world: World) -> None:
    world.client("dynamodb").update_time_to_live(
        TableName="ctr-fanout-checkpoint", TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"}
    )


def function_may_not_keep_its_checkpoint(world: World) -> None:
    world.edit_policy("FunctionPolicy", "WriteCheckpoint")


def mapping_reads_in_lanes(world: World) -> None:
    mapping(world).parallelization_factor = 4


def change_environment(world: World, function: str = "ctr-fanout", **changes: str | None) -> None:
    functions = world.client("lambda")
    variables = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    changed = {name: value for name, value in {**variables, **changes}.items() if value is not None}
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": changed})


def function_lacks_a_route(world: World) -> None:
    change_environment(world, KEY_ARN_ORDERS=None)


def function_uses_another_key(world: World) -> None:
    change_environment(world, KEY_ARN_ORDERS=world.keys["Billing"])


def function_has_other_routes(world: World) -> None:
    change_environment(world, ROUTES_SHA256="0" * 64)


def function_is_gone(world: World) -> None:
    world.client("lambda").delete_function(FunctionName="ctr-fanout")


# --- what a second look found -----------------------------------------------------------------------------


def on_failure_key_is_not_allowed(world: World) -> None:
    world.edit_policy("FunctionPolicy", "DeadLetterEncrypt")


def on_failure_bucket_is_gone(world: World) -> None:
    mapping(world).destination_config = {"OnFailure": {"Destination": "arn:aws:s3:::of-last-year"}}


def function_role_trusts_another_service(world: World) -> None:
    _trust(world, "FanOutRole", "ec2.amazonaws.com")


def firehose_role_trusts_another_service(world: World) -> None:
    _trust(world, "ArchiveRole", "glue.amazonaws.com")


def _trust(world: World, role: str, service: str) -> None:
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    world.client("iam").update_assume_role_policy(RoleName=role, PolicyDocument=document)


def key_has_a_foreign_grant(world: World) -> None:
    world.client("kms").create_grant(
        KeyId=world.keys["Orders"], GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:role/Curious", Operations=["Decrypt"]
    )


def function_is_denied_the_stream(world: World) -> None:
    _inline(world, {"Sid": "NoStreams", "Effect": "Deny", "Action": "kinesis:*", "Resource": "*"})


def function_is_denied_by_its_boundary(world: World) -> None:
    bounds = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Sid": "NoKeys", "Effect": "Deny", "Action": "kms:*", "Resource": "*"}]}  # fmt: skip
    iam = world.client("iam")
    arn = iam.create_policy(PolicyName="bounds", PolicyDocument=json.dumps(bounds))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="FanOutRole", PermissionsBoundary=arn)


def grant_does_not_beat_a_denial(world: World) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/FanOutRole"
    world.client("kms").create_grant(KeyId=world.keys["Stream"], GranteePrincipal=role, Operations=["Decrypt"])
    _inline(world, {"Sid": "NoKms", "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"})


def firehose_names_no_key(world: World) -> None:
    """It goes by the bucket's default then, and the bucket policy wants a header."""
    _firehose(world, EncryptionConfiguration={"NoEncryptionConfig": "NoEncryption"})
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": world.keys["Archive"]}
    world.client("s3").put_bucket_encryption(Bucket=world.bucket, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": False}]})  # fmt: skip
    world.edit_policy("FunctionPolicy", "DeadLetterEncrypt", Resource="*", Condition={})
    add(world, "Archive", statement("Function", f"arn:aws:iam::{ACCOUNT}:role/FanOutRole", "kms:GenerateDataKey"))


def function_role_is_gone(world: World) -> None:
    iam = world.client("iam")
    for policy in iam.list_attached_role_policies(RoleName="FanOutRole")["AttachedPolicies"]:
        iam.detach_role_policy(RoleName="FanOutRole", PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName="FanOutRole")


CURIOUS = f"arn:aws:iam::{ACCOUNT}:role/Curious"


def somebody_reads_the_archive(world: World) -> None:
    add(world, "Archive", statement("Curious", CURIOUS, "kms:Decrypt"))


def somebody_reads_dead_letters(world: World) -> None:
    add(world, "DeadLetter", statement("Curious", CURIOUS, "kms:Decrypt"))


def somebody_reads_the_stream(world: World) -> None:
    add(world, "Stream", statement("Curious", CURIOUS, "kms:Decrypt"))


def everybody_but_one_reads_a_route(world: World) -> None:
    open_to_all = {
        "Sid": "Open",
        "Effect": "Allow",
        "NotPrincipal": {"AWS": CURIOUS},
        "Action": "kms:Decrypt",
        "Resource": "*",
    }
    add(world, "Orders", open_to_all)


def _inline(world: World, one: dict[str, Any]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [one]})
    world.client("iam").put_role_policy(RoleName="FanOutRole", PolicyName="guardrail", PolicyDocument=policy)


def checkpoint_is_off(world: World) -> None:
    world.parameters["Checkpoint"] = "off"
    for function in ("ctr-fanout", "ctr-fanout-grant-check"):
        change_environment(world, function, CHECKPOINT_TABLE="off")


def firehose_logs_nothing(world: World) -> None:
    _firehose(world, CloudWatchLoggingOptions={"Enabled": False})


def firehose_key_is_gone(world: World) -> None:
    gone = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"
    _firehose(world, EncryptionConfiguration={"KMSEncryptionConfig": {"AWSKMSKeyARN": gone}})


def firehose_bucket_is_gone(world: World) -> None:
    _firehose(world, BucketARN="arn:aws:s3:::of-last-year")


def _firehose(world: World, **changes: Any) -> None:
    """Let Firehose describe its destination otherwise."""

    def changed(parsed: dict[str, Any], **_: object) -> None:
        parsed["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"] |= changes

    world.listen("after-call.firehose.DescribeDeliveryStream", changed)


# --- backdoors, and a pipeline that was stopped or diverted by hand (each without a deployment) ---------------

STRANGER = "arn:aws:iam::444455556666:role/Stranger"


def stranger_in_a_condition(world: World) -> None:
    (admit,) = [one for one in world.key_policy("Orders")["Statement"] if one["Sid"] == "WritersEncrypt"]
    condition = {**admit["Condition"], "ArnEquals": {"aws:PrincipalArn": [
        *admit["Condition"]["ArnEquals"]["aws:PrincipalArn"], f"arn:aws:iam::{ACCOUNT}:role/Curious"]}}  # fmt: skip
    world.edit_key("Orders", "WritersEncrypt", Condition=condition)


def role_of_the_account_may_do_everything_with_a_key(world: World) -> None:
    bound = {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/Curious"}}
    root = f"arn:aws:iam::{ACCOUNT}:root"
    add(world, "Billing", statement("Backdoor", root, "kms:*", Condition=bound))


def roles_of_a_name_may_use_a_key(world: World) -> None:
    bound = {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/ops-*"}}
    add(world, "DeadLetter", statement("Operators", f"arn:aws:iam::{ACCOUNT}:root", "kms:Decrypt", Condition=bound))


def stranger_makes_tokens(world: World) -> None:
    add(world, "Hash", statement("Backdoor", f"arn:aws:iam::{ACCOUNT}:role/Curious", "kms:GenerateMac"))


def _admit(world: World, role: str, principal: dict[str, str]) -> None:
    iam = world.client("iam")
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    trust["Statement"].append({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))


def stranger_takes_the_functions_role(world: World) -> None:
    _admit(world, "FanOutRole", {"AWS": STRANGER})


def another_service_takes_the_archives_role(world: World) -> None:
    _admit(world, "ArchiveRole", {"Service": "glue.amazonaws.com"})


def another_account_reads_the_bucket(world: World) -> None:
    s3 = world.client("s3")
    policy = json.loads(s3.get_bucket_policy(Bucket=world.bucket)["Policy"])
    policy["Statement"].append({"Sid": "Partner", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
                                "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{world.bucket}/*"})  # fmt: skip
    s3.put_bucket_policy(Bucket=world.bucket, Policy=json.dumps(policy))


def another_account_calls_the_function(world: World) -> None:
    world.client("lambda").add_permission(
        FunctionName="ctr-fanout", StatementId="Partner", Action="lambda:InvokeFunction", Principal="444455556666"
    )


def function_is_throttled(world: World) -> None:
    world.client("lambda").put_function_concurrency(FunctionName="ctr-fanout", ReservedConcurrentExecutions=0)


def function_has_failed(world: World) -> None:
    def failed(parsed: dict[str, Any], **_: object) -> None:
        parsed |= {"State": "Failed", "StateReasonCode": "InvalidRuntime"}

    world.listen("after-call.lambda.GetFunctionConfiguration", failed)


def function_has_another_handler(world: World) -> None:
    world.client("lambda").update_function_configuration(FunctionName="ctr-fanout", Handler="evil.handler")


def function_writes_to_another_bucket(world: World) -> None:
    change_environment(world, BUCKET="of-somebody-else")


def mapping_drops_what_it_does_not_match(world: World) -> None:
    def filtered(parsed: dict[str, Any], **_: object) -> None:
        parsed["FilterCriteria"] = {"Filters": [{"Pattern": '{"data": {"never": [true]}}'}]}

    world.listen("after-call.lambda.GetEventSourceMapping", filtered)


def mapping_calls_an_old_version(world: World) -> None:
    def old(parsed: dict[str, Any], **_: object) -> None:
        parsed["FunctionArn"] = f"{parsed['FunctionArn']}:7"

    world.listen("after-call.lambda.GetEventSourceMapping", old)


def second_mapping_calls_the_function(world: World) -> None:
    kinesis = world.client("kinesis")
    kinesis.create_stream(StreamName="of-somebody-else", ShardCount=1)
    world.client("lambda").create_event_source_mapping(
        FunctionName="ctr-fanout",
        EventSourceArn=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/of-somebody-else",
        StartingPosition="LATEST",
    )


def stream_is_under_another_key(world: World) -> None:
    kinesis = world.client("kinesis")
    kinesis.stop_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys["Stream"])
    kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys["Orders"])


def readers_decrypt_through_another_region(world: World) -> None:
    (admit,) = [one for one in world.key_policy("Orders")["Statement"] if one["Sid"] == "ReadersDecrypt"]
    condition = {**admit["Condition"], "StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}
    world.edit_key("Orders", "ReadersDecrypt", Condition=condition)


def reader_does_not_exist(world: World) -> None:
    iam = world.client("iam")
    iam.detach_role_policy(RoleName="OrdersReader", PolicyArn=world.policies["OrdersReaderPolicy"])
    iam.delete_role(RoleName="OrdersReader")


def reader_has_no_policy(world: World) -> None:
    iam = world.client("iam")
    iam.detach_role_policy(RoleName="OrdersReader", PolicyArn=world.policies["OrdersReaderPolicy"])


def reader_is_of_another_account(world: World) -> None:
    world.parameters["ReadersOfBilling"] = STRANGER
    admit = next(one for one in world.key_policy("Orders")["Statement"] if one["Sid"] == "ReadersDecrypt")
    bound = {**admit["Condition"], "ArnEquals": {"aws:PrincipalArn": STRANGER}}
    via = f"arn:aws:s3:::{world.bucket}/departments/billing/*"
    add(world, "Billing", {**admit, "Condition": {**bound, "StringLike": {"kms:EncryptionContext:aws:s3:arn": via}}})


def second_instance_is_not_admitted(world: World) -> None:
    second = "22222222-2222-4333-8444-555555555555"
    world.connect.instances[second] = {
        **world.connect.instances[INSTANCE],
        "Id": second,
        "Arn": INSTANCE_ARN.replace(INSTANCE, second),
        "ServiceRole": f"{CONNECT_ROLE}2",
    }
    stream = {"StorageType": "KINESIS_STREAM", "KinesisStreamConfig": {"StreamArn": STREAM_ARN}}
    world.connect.storage[second, "CONTACT_TRACE_RECORDS"] = [{"AssociationId": "second", **stream}]


def everything_expires(world: World) -> None:
    rule = {"ID": "Cheap", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    world.client("s3").put_bucket_lifecycle_configuration(Bucket=world.bucket, LifecycleConfiguration={"Rules": [rule]})


def _declare_expiration(world: World, days: int, *, live: int, prefix: str = "departments/orders/") -> None:
    template = copy.deepcopy(translated())
    declared = {"Id": "ExpireOrders", "Status": "Enabled", "Prefix": "departments/orders/", "ExpirationInDays": days}
    template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"].append(declared)
    world.replay("cloudformation", "GetTemplate", lambda: (200, {"TemplateBody": template}))
    rule = {"ID": "ExpireOrders", "Status": "Enabled", "Filter": {"Prefix": prefix}}
    world.client("s3").put_bucket_lifecycle_configuration(
        Bucket=world.bucket, LifecycleConfiguration={"Rules": [{**rule, "Expiration": {"Days": live}}]}
    )


def objects_expire_later_than_declared(world: World) -> None:
    _declare_expiration(world, 90, live=900)


def all_objects_expire_by_the_rule_of_one_route(world: World) -> None:
    _declare_expiration(world, 90, live=90, prefix="")


def objects_expire_before_the_stream_forgets(world: World) -> None:
    _declare_expiration(world, 20, live=20)
    world.client("kinesis").increase_stream_retention_period(StreamName="ctr-fanout", RetentionPeriodHours=720)


def bucket_forgets_versions(world: World) -> None:
    world.client("s3").put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Suspended"})


def bucket_is_public_one_day(world: World) -> None:
    world.client("s3").delete_public_access_block(Bucket=world.bucket)


def roles_are_kept_in_no_longer(world: World) -> None:
    world.edit_policy("DenyOutsidePolicy", "DenyOtherBuckets")


def connect_is_admitted_on_a_condition_that_is_not_met(world: World) -> None:
    world.edit_key("Stream", "ConnectEncrypts", Condition={"StringEquals": {"kms:CallerAccount": "999988887777"}})


def connect_may_not_put(world: World) -> None:
    denial = {"Sid": "NobodyPuts", "Effect": "Deny", "Action": "kinesis:Put*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denial]})
    name = CONNECT_ROLE.rpartition("/")[2]
    world.client("iam").put_role_policy(RoleName=name, PolicyName="guardrail", PolicyDocument=policy)


def bucket_takes_only_what_comes_from_a_network(world: World) -> None:
    s3 = world.client("s3")
    policy = json.loads(s3.get_bucket_policy(Bucket=world.bucket)["Policy"])
    policy["Statement"].append({"Sid": "OurNetworkOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
                                "Resource": [f"arn:aws:s3:::{world.bucket}", f"arn:aws:s3:::{world.bucket}/*"],
                                "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}})  # fmt: skip
    s3.put_bucket_policy(Bucket=world.bucket, Policy=json.dumps(policy))


def firehose_beside_ours(world: World, *, region: str, key_admits: str) -> str:
    """Make a delivery stream that gets records without a data stream, into a bucket of a Region under a key of it."""
    make: Any = world.session.client
    kms, s3 = (make(service, region_name=region) for service in ("kms", "s3"))
    role = f"arn:aws:iam::{ACCOUNT}:role/OtherDelivery"
    via = {"StringEquals": {"kms:ViaService": f"s3.{key_admits}.amazonaws.com"}}
    admit = statement("UseIt", role, ["kms:GenerateDataKey", "kms:Decrypt"], Condition=via)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [admit]})
    key = kms.create_key(Policy=policy)["KeyMetadata"]
    kms.enable_key_rotation(KeyId=key["KeyId"])
    bucket = f"elsewhere-{region}-{key_admits}"
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **where)
    iam = world.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    iam.create_role(RoleName="OtherDelivery", AssumeRolePolicyDocument=document)
    puts = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": puts})
    iam.put_role_policy(RoleName="OtherDelivery", PolicyName="puts", PolicyDocument=policy)
    made = world.client("firehose").create_delivery_stream(
        DeliveryStreamName="other",
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            "RoleARN": role,
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "calls/",
            "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": key["Arn"]}},
            "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "x", "LogStreamName": "y"},
        },
    )
    firehose: str = made["DeliveryStreamARN"]
    for kind in ("CONTACT_TRACE_RECORDS", "AGENT_EVENTS"):
        world.connect.storage[INSTANCE, kind] = [
            {
                "AssociationId": "a",
                "StorageType": "KINESIS_FIREHOSE",
                "KinesisFirehoseConfig": {"FirehoseArn": firehose},
            }
        ]
    return firehose


def alarms_are_silenced(world: World) -> None:
    world.client("cloudwatch").disable_alarm_actions(AlarmNames=["ctr-fanout late"])


def alarm_was_deleted(world: World) -> None:
    world.client("cloudwatch").delete_alarms(AlarmNames=["ctr-fanout silent"])


def nobody_hears_the_alarms(world: World) -> None:
    sns = world.client("sns")
    for one in sns.list_subscriptions_by_topic(TopicArn=world.resources["AlarmTopic"])["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def topic_of_the_alarms_is_gone(world: World) -> None:
    world.client("sns").delete_topic(TopicArn=world.resources["AlarmTopic"])


def topic_refuses_the_alarms(world: World) -> None:
    topic = world.resources["AlarmTopic"]
    publishes = {
        "Sid": "X",
        "Effect": "Allow",
        "Principal": {"AWS": ACCOUNT},
        "Action": "sns:Publish",
        "Resource": topic,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [publishes]})
    world.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)


def alarm_key_is_the_default_one(world: World) -> None:
    """A key whose policy says nothing of CloudWatch: no alarm arrives, and nothing says so."""
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    world.client("sns").set_topic_attributes(
        TopicArn=world.resources["AlarmTopic"], AttributeName="KmsMasterKeyId", AttributeValue=key
    )


def alarm_key_is_disabled(world: World) -> None:
    world.client("kms").disable_key(KeyId=world.keys["Alarm"].rpartition("/")[2])


def table_leads_to_another_bucket(world: World) -> None:
    table = {"Name": "orders_contact_record", "StorageDescriptor": {"Location": "s3://elsewhere/orders/"}}
    world.client("glue").update_table(DatabaseName="ctr_fanout", TableInput=table)


def database_is_gone(world: World) -> None:
    world.client("glue").delete_table(DatabaseName="ctr_fanout", Name="orders_contact_record")
    world.client("glue").delete_database(Name="ctr_fanout")


def segments_are_not_streamed(world: World) -> None:
    for kind in ("VOICE_SEGMENTS", "CHAT_SEGMENTS", "SEGMENTS"):
        world.connect.storage.pop((INSTANCE, f"REAL_TIME_CONTACT_ANALYSIS_{kind}"), None)


def segments_go_elsewhere(world: World) -> None:
    elsewhere = {"StreamArn": STREAM_ARN.replace("stream/ctr-fanout", "stream/of-somebody-else")}
    world.connect.storage[INSTANCE, "REAL_TIME_CONTACT_ANALYSIS_VOICE_SEGMENTS"] = [
        {"AssociationId": "voice", "StorageType": "KINESIS_STREAM", "KinesisStreamConfig": elsewhere}
    ]


BROKEN: dict[str, tuple[Callable[[World], None], ...]] = {
    "InstanceMissing": (instance_is_gone,),
    "InstanceNotActive": (instance_is_being_made,),
    "InstanceWithoutServiceLinkedRole": (instance_has_no_service_linked_role,),
    "ContactRecordsNotStreamed": (contact_records_are_not_streamed,),
    "AgentEventsNotStreamed": (agent_events_are_not_streamed,),
    "ContactRecordsGoToFirehose": (contact_records_go_to_firehose,),
    "ContactRecordsGoElsewhere": (contact_records_go_to_another_stream,),
    "StreamMissing": (stream_is_gone,),
    "StreamNotEncrypted": (stream_is_not_encrypted,),
    "StreamKeyDisabled": (stream_key_is_disabled,),
    "StreamKeyPendingDeletion": (stream_key_is_going,),
    "StreamKeyMissing": (stream_key_does_not_exist,),
    "StreamKeyNotGranted": (classic_trap, only_the_account_is_named),
    "StreamKeyGrantedByAssociation": (recordings_key_with_its_grant,),
    "StreamKeyGrantGone": (recordings_key_whose_grant_is_gone,),
    "StreamKeyGrantedByHand": (key_with_a_grant_by_hand,),
    "StreamKeyGrantTooSmall": (grant_is_too_small,),
    "StreamKeyNamesDeletedRole": (key_names_a_deleted_role,),
    "StreamKeyAdmitsAnotherConnect": (
        key_names_another_instances_role,
        key_lets_connect_only_decrypt,
        second_instance_is_not_admitted,
    ),
    "StreamKeyDeniesConnect": (key_denies_connect,),
    "StreamKeyAdmitsConnectOnConditions": (key_admits_connect_from_an_organization,),
    "MappingMissing": (nobody_reads,),
    "MappingDisabled": (mapping_is_disabled,),
    "MappingHasProblem": (mapping_has_a_problem,),
    "MappingRetriesForEver": (mapping_retries_for_ever,),
    "RetentionBelowRecordAge": (retention_is_short,),
    "MappingIgnoresPartialFailures": (partial_failures_are_ignored,),
    "NoOnFailureDestination": (nothing_takes_what_fails,),
    "OnFailurePutNotAllowed": (on_failure_is_not_allowed,),
    "OnFailurePutDeniedByBucket": (on_failure_is_denied,),
    "OnFailureKeyRoleLacksGenerateDataKey": (on_failure_key_is_not_allowed,),
    "OnFailureElsewhere": (on_failure_bucket_is_gone,),
    "RoleNotTrusting": (function_role_trusts_another_service, firehose_role_trusts_another_service),
    "UnexpectedGrant": (key_has_a_foreign_grant,),
    "RoleMayNotReadStream": (function_may_not_read, function_is_denied_the_stream),
    "StreamKeyRoleLacksDecrypt": (function_may_not_decrypt, firehose_may_not_decrypt),
    "StreamKeyPolicyDoesNotAdmit": (stream_key_admits_no_consumer,),
    "StreamKeyRoleLacksDecryptOnCondition": (function_decrypts_another_stream,),
    "StreamKeyPolicyDoesNotAdmitOnCondition": (stream_key_wants_another_region,),
    "StreamKeyOutOfBounds": (function_is_out_of_bounds,),
    "StreamKeyDenied": (function_is_denied, function_is_denied_by_its_boundary, grant_does_not_beat_a_denial),
    "DestinationKeyPolicyDoesNotAdmit": (archive_key_does_not_admit_firehose,),
    "DestinationKeyRoleLacksGenerateDataKey": (firehose_may_not_encrypt,),
    "FirehosePutNotAllowed": (firehose_may_not_put,),
    "FirehosePutDeniedByBucket": (bucket_denies_firehose,),
    "RoleMissing": (firehose_role_is_gone, function_role_is_gone),
    "RouteKeyDisabled": (route_key_is_disabled,),
    "RouteKeyPendingDeletion": (route_key_is_going,),
    "DestinationKeyDisabled": (archive_key_is_disabled,),
    "KeyMissing": (route_key_is_gone,),
    "KeyNotRotated": (route_key_does_not_rotate, stream_key_does_not_rotate),
    "GrantPolicyDoesNotAdmit": (route_key_admits_no_writer,),
    "GrantRoleLacksGenerateDataKey": (function_may_not_encrypt_a_route,),
    "GrantMissing": (function_may_not_put_a_route, function_may_not_keep_its_checkpoint),
    "GrantDenied": (bucket_denies_a_route, bucket_takes_only_what_comes_from_a_network),
    "GrantTooWide": (bucket_takes_any_key, bucket_takes_plain_http, roles_are_kept_in_no_longer),
    "UnexpectedReader": (
        somebody_else_reads_a_route,
        key_leaves_it_to_iam,
        somebody_reads_the_archive,
        somebody_reads_dead_letters,
        somebody_reads_the_stream,
        everybody_but_one_reads_a_route,
        stranger_in_a_condition,
        role_of_the_account_may_do_everything_with_a_key,
        roles_of_a_name_may_use_a_key,
        stranger_makes_tokens,
    ),
    "ReaderNotAdmitted": (reader_is_not_admitted, reader_may_not_fetch, reader_may_not_list, reader_has_no_policy),
    "BucketDefaultIsNotDeadLetterKey": (bucket_default_is_another_key,),
    "BucketKeyOn": (bucket_keys_are_on,),
    "CheckpointTableMissing": (table_is_gone,),
    "CheckpointRowsNeverExpire": (table_rows_never_expire,),
    "MappingReadsInLanes": (mapping_reads_in_lanes,),
    "FunctionKnowsOtherRoutes": (function_lacks_a_route,),
    "FunctionUsesAnotherKey": (function_uses_another_key,),
    "RoutesFileDiffers": (function_has_other_routes,),
    "FunctionMissing": (function_is_gone,),
    "CheckpointOff": (checkpoint_is_off,),
    "FirehoseLogsNothing": (firehose_logs_nothing,),
    "DestinationKeyMissing": (firehose_key_is_gone,),
    "BucketMissing": (firehose_bucket_is_gone,),
    "FunctionThrottled": (function_is_throttled,),
    "FunctionNotActive": (function_has_failed,),
    "FunctionChanged": (function_has_another_handler, function_writes_to_another_bucket),
    "MappingFiltersRecords": (mapping_drops_what_it_does_not_match,),
    "MappingCallsAnotherFunction": (mapping_calls_an_old_version,),
    "SecondMapping": (second_mapping_calls_the_function,),
    "StreamUnderAnotherKey": (stream_is_under_another_key,),
    "ReaderPolicyDoesNotAdmitOnCondition": (readers_decrypt_through_another_region,),
    "ReaderMissing": (reader_does_not_exist,),
    "ReaderOfAnotherAccount": (reader_is_of_another_account,),
    "ObjectsExpire": (everything_expires,),
    "RetentionDiffers": (objects_expire_later_than_declared, all_objects_expire_by_the_rule_of_one_route),
    "ExpiresBeforeTheStream": (objects_expire_before_the_stream_forgets,),
    "BucketKeepsNoVersions": (bucket_forgets_versions,),
    "PublicAccessNotBlocked": (bucket_is_public_one_day,),
    "UnexpectedPrincipal": (
        stranger_takes_the_functions_role,
        another_service_takes_the_archives_role,
        another_account_reads_the_bucket,
        another_account_calls_the_function,
    ),
    "AlarmsSilenced": (alarms_are_silenced,),
    "AlarmsMissing": (alarm_was_deleted,),
    "AlarmsReachNobody": (nobody_hears_the_alarms,),
    "AlarmTopicMissing": (topic_of_the_alarms_is_gone,),
    "AlarmTopicRefusesAlarms": (topic_refuses_the_alarms,),
    "AlarmKeyRefusesAlarms": (alarm_key_is_the_default_one,),
    "AlarmKeyDisabled": (alarm_key_is_disabled,),
    "TableElsewhere": (table_leads_to_another_bucket,),
    "DatabaseMissing": (database_is_gone,),
    "SegmentsNotStreamed": (segments_are_not_streamed,),
    "StreamKeyConditionOnConnect": (connect_is_admitted_on_a_condition_that_is_not_met,),
    "StreamKeyGrantForAnotherContext": (grant_is_for_another_stream,),
    "ConnectDeniedTheStream": (connect_may_not_put,),
    "SegmentsGoElsewhere": (segments_go_elsewhere,),
}
CASES = [pytest.param(code, breaking, id=breaking.__name__) for code, those in BROKEN.items() for breaking in those]


def test_healthy_account_gives_no_finding(doctor: Examine) -> None:
    assert doctor() == []


def test_healthy_account_is_healthy_from_wherever_one_looks(doctor: Examine) -> None:
    assert doctor(instance=INSTANCE) == []
    assert doctor(instance=INSTANCE_ARN) == []
    assert [finding.code for finding in doctor(stream="ctr-fanout")] == ["InstanceNotGiven"]


@pytest.mark.parametrize(
    ("code", "breaking"),
    [("KeyNotRotated", archive_key_does_not_rotate), ("FirehosePutDeniedByBucket", firehose_names_no_key),
     ("StreamNotRead", nobody_reads), ("OnFailureBucketMissing", on_failure_bucket_is_gone)],
)  # fmt: skip
def test_broken_chain_that_is_not_ours_is_told_by_its_cause_first(
    world: World, doctor: Examine, code: str, breaking: Callable[[World], None]
) -> None:
    breaking(world)
    assert doctor(instance=INSTANCE)[0].code == code


def test_failure_downstream_comes_before_a_warning_upstream(world: World, doctor: Examine) -> None:
    agent_events_are_not_streamed(world)
    route_key_is_disabled(world)
    assert [finding.code for finding in doctor()] == ["RouteKeyDisabled", "AgentEventsNotStreamed"]


def test_classic_trap_names_both_cures(world: World, doctor: Examine) -> None:
    classic_trap(world)
    (finding, *_) = doctor()
    assert "reports no error" in finding.seen
    pasted = json.loads(finding.cure[finding.cure.index("{") : finding.cure.index("}; that is") + 1])
    assert pasted == {"Sid": "ConnectEncrypts", "Effect": "Allow", "Principal": {"AWS": CONNECT_ROLE},
                      "Action": "kms:GenerateDataKey", "Resource": "*"}  # fmt: skip
    assert world.keys["Recordings"] in finding.cure


def test_cure_of_the_trap_cures_it(world: World, doctor: Examine) -> None:
    classic_trap(world)
    cure = doctor()[0].cure
    add(world, "Stream", json.loads(cure[cure.index("{") : cure.index("}; that is") + 1]))
    assert doctor() == []


@pytest.mark.parametrize("breaking", [stream_key_admits_no_consumer, function_may_not_decrypt])
def test_statement_that_is_shown_opens_the_lock(
    world: World, doctor: Examine, breaking: Callable[[World], None]
) -> None:
    breaking(world)
    first = doctor()[0]
    shown = json.loads(first.cure[first.cure.index("{") :])
    if "Principal" in shown:
        add(world, "Stream", shown)
    else:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [shown]})
        world.client("iam").put_role_policy(RoleName="FanOutRole", PolicyName="cure", PolicyDocument=policy)
    assert first not in doctor()


def test_association_that_a_stream_hangs_on_is_named(world: World, doctor: Examine) -> None:
    recordings_key_with_its_grant(world)
    (finding, *_) = doctor()
    assert "CALL_RECORDINGS" in finding.seen
    assert "disassociating" in finding.seen


def test_missing_stack_is_one_finding(world: World) -> None:
    world.deny("cloudformation", "DescribeStacks", "ValidationError")
    findings = examine_all(world, Given(stack="nowhere"))
    assert findings[0].code == "StackMissing"


@pytest.mark.parametrize(
    ("service", "operation"),
    [("kms", "GetKeyPolicy"), ("kms", "DescribeKey"), ("kms", "ListGrants"), ("iam", "GetRole"), ("iam", "GetPolicyVersion"),
     ("kinesis", "DescribeStreamSummary"), ("lambda", "ListEventSourceMappings"), ("lambda", "GetFunctionConfiguration"),
     ("s3", "GetBucketPolicy"), ("s3", "GetEncryptionConfiguration"), ("firehose", "DescribeDeliveryStream"),
     ("dynamodb", "DescribeTable"), ("cloudformation", "ListStackResources")],
)  # fmt: skip
def test_what_the_operator_may_not_see_is_a_finding_and_no_crash(
    world: World, doctor: Examine, service: str, operation: str
) -> None:
    api = {"GetEncryptionConfiguration": "GetBucketEncryption"}.get(operation, operation)
    world.deny(service, api)
    findings = doctor()
    assert {finding.severity for finding in findings} <= {Severity.UNKNOWN, Severity.WARN}
    unknown = [finding for finding in findings if finding.severity is Severity.UNKNOWN]
    assert any(
        f"{service}:{operation}" in finding.seen and f"{service}:{operation}" in finding.cure for finding in unknown
    )
    assert worst(findings) is Severity.UNKNOWN


def test_connect_that_may_not_be_seen_is_a_finding(world: World, doctor: Examine) -> None:
    world.connect.denied.add("ListInstanceStorageConfigs")
    codes = {finding.code for finding in doctor()}
    assert "NotReadable" in codes


def test_chain_that_is_not_ours_is_examined_from_the_instance(world: World, doctor: Examine) -> None:
    """Another team's function on the stream, no stack of ours: trap 2 is found all the same."""
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream")
    findings = doctor(instance=INSTANCE)
    assert [finding.code for finding in findings] == ["StreamKeyRoleLacksDecrypt", "StreamKeyRoleLacksDecrypt"]
    assert {finding.subject.rpartition("/")[2] for finding in findings} == {"FanOutRole", "ArchiveRole"}


@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_connect_that_sends_to_firehose_itself_is_examined(world: World, doctor: Examine, region: str) -> None:
    """Valid without a data stream, and with a bucket and its key in another Region."""
    firehose_beside_ours(world, region=region, key_admits=region)
    for kind in ("VOICE", "CHAT"):
        del world.connect.storage[INSTANCE, f"REAL_TIME_CONTACT_ANALYSIS_{kind}_SEGMENTS"]
    assert doctor(instance=INSTANCE) == []


def test_key_in_another_region_has_to_admit_by_that_region(world: World, doctor: Examine) -> None:
    firehose_beside_ours(world, region="us-east-1", key_admits=REGION)
    codes = {finding.code for finding in doctor(instance=INSTANCE)}
    assert "DestinationKeyPolicyDoesNotAdmitOnCondition" in codes


def test_delivery_stream_that_connect_sends_to_is_missing(world: World, doctor: Examine) -> None:
    contact_records_go_to_firehose(world)
    assert "FirehoseMissing" in {finding.code for finding in doctor(instance=INSTANCE)}


def test_key_of_another_account_is_examined_from_this_side(world: World, doctor: Examine) -> None:
    """KMS shows a key's policy to its own account only; the role's own policy has to allow its use all the same."""
    foreign = world.keys["Stream"].replace(ACCOUNT, "999988887777")

    def described(parsed: dict[str, Any], **_: object) -> None:
        if parsed.get("KeyMetadata", {}).get("Arn") == world.keys["Stream"]:
            parsed["KeyMetadata"]["Arn"] = foreign

    world.listen("after-call.kms.DescribeKey", described)
    found = {finding.code: finding for finding in doctor(instance=INSTANCE)}
    assert set(found) == {"StreamKeyRoleLacksDecrypt", "KeyOfAnotherAccount"}
    assert f"as 999988887777: aws kms get-key-policy --key-id {foreign}" in found["KeyOfAnotherAccount"].cure
    assert foreign in found["StreamKeyRoleLacksDecrypt"].cure


def test_stack_is_found_healthy_by_its_name(world: World) -> None:
    findings = examine_all(world, Given(stack=STACK))
    (held,) = [finding for finding in findings if finding.code == "GrantsHold"]
    assert "rows of the grant matrix hold" in held.seen


def test_operators_policy_is_exactly_what_the_doctor_calls(world: World, doctor: Examine) -> None:
    """Every call of a whole examination, with inline policies and a boundary to be read as well."""
    function_is_denied(world)
    called: set[str] = set()

    def note(model: Any, **_: object) -> None:
        name = IAM_NAMES.get(model.name, model.name)
        service = model.service_model.signing_name
        called.add(f"{IAM_SERVICES.get(service, service)}:{name}")

    world.listen("before-call.*.*", note)
    assert doctor()
    assert called - {"sts:GetCallerIdentity"} == set(ACTIONS), "docs/doctor.md shows this policy"
    assert all(action.partition(":")[2].startswith(("Get", "List", "Describe")) for action in ACTIONS)


# --- healthy, and different ---------------------------------------------------------------------------------


def function_named_in_the_key(world: World) -> None:
    """The usual statement of other stacks: the role as principal, and nothing for KMS in its own policy."""
    role, region = f"arn:aws:iam::{ACCOUNT}:role/FanOutRole", f"kinesis.{REGION}.amazonaws.com"
    via = {"StringEquals": {"kms:ViaService": region, "kms:CallerAccount": ACCOUNT}}
    add(world, "Stream", statement("Function", role, "kms:Decrypt", Condition=via))
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream")
    add(world, "Stream", statement("Archive", f"arn:aws:iam::{ACCOUNT}:role/ArchiveRole", "kms:Decrypt", Condition=via))


def key_left_to_iam(world: World) -> None:
    world.set_key_policy("Stream", {"Version": "2012-10-17", "Statement": [
        DEFAULT, statement("Connect", CONNECT_ROLE, "kms:GenerateDataKey")]})  # fmt: skip


def data_perimeter_with_variables(world: World) -> None:
    _inline(world, {"Sid": "Perimeter", "Effect": "Deny", "Action": ["s3:*", "kms:*", "kinesis:*"], "Resource": "*",
                    "Condition": {"StringNotEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}})  # fmt: skip


def tls_only_for_everything(world: World) -> None:
    _inline(world, {"Sid": "Tls", "Effect": "Deny", "Action": "*", "Resource": "*",
                    "Condition": {"BoolIfExists": {"aws:SecureTransport": "false"}}})  # fmt: skip


def single_statements_as_objects(world: World) -> None:
    allow = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::elsewhere/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": allow})
    world.client("iam").put_role_policy(RoleName="FanOutRole", PolicyName="odd", PolicyDocument=policy)


def second_mapping_that_is_off(world: World) -> None:
    functions = world.client("lambda")
    one = functions.get_event_source_mapping(UUID=world.mapping)
    functions.create_event_source_mapping(
        FunctionName="ctr-fanout", EventSourceArn=one["EventSourceArn"], Enabled=True, StartingPosition="LATEST",
        MaximumRetryAttempts=5, MaximumRecordAgeInSeconds=3600, FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig=one["DestinationConfig"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "changing",
    [function_named_in_the_key, key_left_to_iam, data_perimeter_with_variables, tls_only_for_everything,
     single_statements_as_objects, second_mapping_that_is_off],
)  # fmt: skip
def test_healthy_and_different_account_gives_no_finding(
    world: World, doctor: Examine, changing: Callable[[World], None]
) -> None:
    changing(world)
    assert [f"{finding.code}: {finding.seen}" for finding in doctor(instance=INSTANCE)] == []


def test_condition_that_only_aws_can_decide_is_a_doubt_and_no_failure(world: World, doctor: Examine) -> None:
    denial = {"Sid": "OurOrganization", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
              "Resource": [f"arn:aws:s3:::{world.bucket}", f"arn:aws:s3:::{world.bucket}/*"],
              "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}}  # fmt: skip
    policy = json.loads(world.client("s3").get_bucket_policy(Bucket=world.bucket)["Policy"])
    policy["Statement"].append(denial)
    world.client("s3").put_bucket_policy(Bucket=world.bucket, Policy=json.dumps(policy))
    found = [(finding.severity.name, finding.code) for finding in doctor()]
    assert found == [("WARN", "GrantUncertain"), ("WARN", "PolicyChanged")]


def test_missing_statement_is_named_although_a_denial_is_in_doubt(world: World, doctor: Examine) -> None:
    world.edit_policy("StreamConsumerPolicy", "DecryptTheStream")
    _inline(world, {"Sid": "CorpNet", "Effect": "Deny", "Action": "*", "Resource": "*",
                    "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})  # fmt: skip
    assert doctor(instance=INSTANCE)[0].code == "StreamKeyRoleLacksDecrypt"


def test_statement_that_is_shown_is_for_every_date(world: World, doctor: Examine) -> None:
    function_may_not_encrypt_a_route(world)
    shown = doctor()[0].cure
    assert "/departments/orders/*" in shown
    assert "date=" not in shown


def test_unread_stream_is_told_even_if_something_else_may_not_be_seen(world: World, doctor: Examine) -> None:
    nobody_reads(world)
    world.deny("kms", "ListGrants")
    assert "StreamNotRead" in {finding.code for finding in doctor(instance=INSTANCE)}


def test_grants_that_may_not_be_seen_are_not_taken_for_gone(world: World, doctor: Examine) -> None:
    recordings_key_with_its_grant(world)
    world.deny("kms", "ListGrants")
    assert not [finding for finding in doctor(instance=INSTANCE) if finding.severity is Severity.FAIL]


def test_stream_of_another_account_is_not_mistaken_for_ours(doctor: Examine) -> None:
    foreign = "arn:aws:kinesis:us-east-1:999900001111:stream/ctr-fanout"
    assert [finding.code for finding in doctor(stream=foreign)] == ["StreamElsewhere"]


def test_stack_that_is_not_ours_is_one_finding(world: World, doctor: Examine) -> None:
    del world.resources["FanOutFunction"]
    assert [finding.code for finding in doctor()] == ["NotOurStack", "InstanceNotGiven"]


def test_consumer_with_enhanced_fan_out_counts(world: World, doctor: Examine) -> None:
    mapping(world).event_source_arn = f"{STREAM_ARN}/consumer/fast:1"
    assert "StreamNotRead" not in {finding.code for finding in doctor(instance=INSTANCE)}


def test_spaces_between_readers_are_none_of_their_names(world: World, doctor: Examine) -> None:
    world.parameters["ReadersOfOrders"] = f" {READER} "
    assert doctor() == []


# --- cures ----------------------------------------------------------------------------------------------------


# No command mends these: something is gone for good, is somebody else's, is to be decided, or is a hook of the test.
NO_COMMAND = {
    alarm_key_is_the_default_one,
    alarm_was_deleted,
    checkpoint_is_off,
    database_is_gone,
    nobody_hears_the_alarms,
    table_leads_to_another_bucket,
    topic_of_the_alarms_is_gone,
    topic_refuses_the_alarms,
    firehose_bucket_is_gone,
    firehose_key_is_gone,
    firehose_logs_nothing,
    firehose_role_is_gone,
    function_has_failed,
    function_is_gone,
    function_role_is_gone,
    connect_may_not_put,
    instance_has_no_service_linked_role,
    instance_is_being_made,
    instance_is_gone,
    mapping_calls_an_old_version,
    mapping_drops_what_it_does_not_match,
    mapping_has_a_problem,
    nobody_reads,
    objects_expire_before_the_stream_forgets,
    reader_does_not_exist,
    reader_is_of_another_account,
    route_key_is_gone,
    stream_is_gone,
    table_is_gone,
}


@pytest.mark.parametrize(("code", "breaking"), CASES)
def test_broken_account_is_told_by_its_cause_first_and_commands_that_cure_make_it_healthy(
    world: World, doctor: Examine, code: str, breaking: Callable[[World], None]
) -> None:
    breaking(world)
    findings = doctor()
    assert findings, "a broken account looks healthy"
    assert findings[0].code == code, [f"{finding.code}: {finding.seen}" for finding in findings]
    assert all((findings[0].seen, findings[0].expected, findings[0].cure))
    if breaking in NO_COMMAND:
        return
    for _ in range(6):
        if not any(apply(world, finding.cure) for finding in findings):
            break
        findings = doctor()
        if not findings:
            return
    raise AssertionError([(finding.code, finding.cure[:150]) for finding in findings])
