"""Templates that a tired or a hostile author would write: each of them fails the proof.

Every case changes a copy of the expanded template in one place, in the ways that slipped through once.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from aws.route_file import shipped_routes
from local.translate import Template, translated
from tests.grants.proof import complaints

type Weaken = Callable[[dict[str, Any]], None]
type Statement = dict[str, Any]

PARTNER = "444455556666"
ROOT = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def template() -> Template:
    return translated()


def statements(resources: dict[str, Any], name: str) -> list[Any]:
    properties = resources[name]["Properties"]
    carrier = next(one for one in ("KeyPolicy", "PolicyDocument", "AssumeRolePolicyDocument") if one in properties)
    found: list[Any] = properties[carrier]["Statement"]
    return found


def every(entries: Any) -> Iterator[Statement]:
    """Yield the statements of a policy, those under a condition among them."""
    for entry in entries:
        if "Fn::If" in entry:
            yield from every(one for one in entry["Fn::If"][1:] if "Ref" not in one)
        else:
            yield entry


def named(resources: dict[str, Any], name: str, sid: str) -> Statement:
    return next(one for one in every(statements(resources, name)) if one.get("Sid") == sid)


# --- what carries policies --------------------------------------------------------------------------------------


def managed(policy: str, role: str = "FanOutRole") -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        resources[role]["Properties"]["ManagedPolicyArns"] = [f"arn:aws:iam::aws:policy/{policy}"]

    return weaken


def inline(resources: dict[str, Any]) -> None:
    resources["FanOutRole"]["Properties"]["Policies"] = [{"PolicyName": "x", "PolicyDocument": EVERYTHING}]


def path_of_a_role(resources: dict[str, Any]) -> None:
    resources["FanOutRole"]["Properties"]["Path"] = "/aws-service-role/connect.amazonaws.com/"


def another(kind: str, **properties: Any) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        resources["Another"] = {"Type": kind, "Properties": properties}

    return weaken


def attached_to(policy: str, **to: Any) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        properties = resources[policy]["Properties"]
        for name, value in to.items():
            properties[name] = [*properties.get(name, []), value]

    return weaken


def with_property(name: str, **properties: Any) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        resources[name]["Properties"] |= properties

    return weaken


# --- statements -------------------------------------------------------------------------------------------------


def under(condition: str, name: str, sid: str) -> Weaken:
    """Move a statement under another condition of the template, or put it under one."""

    def weaken(resources: dict[str, Any]) -> None:
        entries = statements(resources, name)
        for place, entry in enumerate(entries):
            if any(one.get("Sid") == sid for one in every([entry])):
                entries[place] = {"Fn::If": [condition, next(every([entry])), {"Ref": "AWS::NoValue"}]}

    return weaken


def without_condition(name: str, sid: str) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        entries = statements(resources, name)
        for place, entry in enumerate(entries):
            if any(one.get("Sid") == sid for one in every([entry])):
                entries[place] = next(every([entry]))

    return weaken


def resource_under(condition: str | None, name: str) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        resources[name].pop("Condition", None)
        if condition is not None:
            resources[name]["Condition"] = condition

    return weaken


def edited(name: str, sid: str, **elements: Any) -> Weaken:
    """Change elements of a statement; None takes one out."""

    def weaken(resources: dict[str, Any]) -> None:
        one = named(resources, name, sid)
        for element, value in elements.items():
            if value is None:
                del one[element]
            else:
                one[element] = value

    return weaken


def replaced(name: str, sid: str, old: str, new: str) -> Weaken:
    """Replace a text in all that a statement says."""

    def weaken(resources: dict[str, Any]) -> None:
        one = named(resources, name, sid)
        changed = _replaced(one, old, new)
        assert changed != one, f"{sid} does not say {old!r}"
        one.clear()
        one.update(changed)

    return weaken


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {_replaced(name, old, new): _replaced(below, old, new) for name, below in value.items()}
    if isinstance(value, list):
        return [_replaced(below, old, new) for below in value]
    return value.replace(old, new) if isinstance(value, str) else value


def also(name: str, **statement: Any) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        statements(resources, name).append({"Sid": "Another", "Effect": "Allow", **statement})

    return weaken


def gone(name: str) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        del resources[name]

    return weaken


def trust(role: str, **elements: Any) -> Weaken:
    def weaken(resources: dict[str, Any]) -> None:
        statements(resources, role)[0] |= elements

    return weaken


FIREHOSE_ANYWHERE = {"ArnLike": {"aws:SourceArn": "arn:aws:firehose:*:*:*"}}
OURS_ONLY = {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
PRINCIPAL = "aws:PrincipalArn"
STREAMS = "arn:${AWS::Partition}:kinesis:${AWS::Region}:${AWS::AccountId}:stream"

WEAKENINGS: dict[str, Weaken] = {
    "AWS's policy for Kinesis on the function's role": managed("service-role/AWSLambdaKinesisExecutionRole"),
    "AWS's policy for S3 on the erase role": managed("AmazonS3FullAccess", "EraseRole"),
    "an inline policy": inline,
    "a path that looks like a service-linked role": path_of_a_role,
    "an inline policy as a resource": another("AWS::IAM::Policy", PolicyName="x", PolicyDocument=EVERYTHING, Roles=["x"]),
    "a role policy as a resource": another("AWS::IAM::RolePolicy", PolicyName="x", RoleName="x", PolicyDocument=EVERYTHING),
    "a user": another("AWS::IAM::User"),
    "a stream's resource policy": another("AWS::Kinesis::ResourcePolicy", ResourceArn="x", ResourcePolicy=EVERYTHING),
    "a consumer of the stream": another("AWS::Kinesis::StreamConsumer", ConsumerName="x", StreamARN="x"),
    "an access point": another("AWS::S3::AccessPoint", Bucket={"Ref": "Bucket"}),
    "a function's URL": another("AWS::Lambda::Url", AuthType="NONE", TargetFunctionArn="x"),
    "a replica of a key": another("AWS::KMS::ReplicaKey", PrimaryKeyArn="x", KeyPolicy=EVERYTHING),
    "a second mapping": another("AWS::Lambda::EventSourceMapping", FunctionName="x", EventSourceArn="x"),
    "a second bucket": another("AWS::S3::Bucket"),
    "another subscriber of the alarms": another("AWS::SNS::Subscription", Endpoint="x", Protocol="https", TopicArn="x"),
    "replication to a partner": with_property("Bucket", ReplicationConfiguration={"Role": "x", "Rules": []}),
    "notifications of the bucket": with_property("Bucket", NotificationConfiguration={"QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": "arn:aws:sqs:::x"}]}),
    "an ACL of the bucket": with_property("Bucket", AccessControl="PublicRead"),
    "a key of several Regions": with_property("OrdersKey", MultiRegion=True),
    "a function in a network of its own": with_property("FanOutFunction", VpcConfig={}),
    "a layer of somebody else's": with_property("FanOutFunction", Layers=["arn:aws:lambda:x:444455556666:layer:x:1"]),
    "filters of the mapping": with_property("StreamMapping", FilterCriteria={"Filters": []}),
    "a policy for a user as well": attached_to("OrdersReaderPolicy", Users="somebody"),
    "a policy for a group as well": attached_to("ErasePolicy", Groups="everybody"),
    "the stream's policy for the erase role as well": attached_to("StreamConsumerPolicy", Roles={"Ref": "EraseRole"}),
    "a writer's policy for the archive's role as well": attached_to("WriterPolicy1", Roles={"Ref": "ArchiveRole"}),
    "the replay policy for the function as well": attached_to("ReplayPolicy", Roles={"Ref": "FanOutRole"}),
    "no denials": gone("DenyOutsidePolicy"),
    "no bucket policy": gone("BucketPolicy"),
    # conditions of the template
    "Connect only with an instance": under("HasConnectInstance", "StreamKey", "ConnectEncrypts"),
    "Connect always": without_condition("StreamKey", "ConnectEncrypts"),
    "the archive's key bound only with readers": under("HasArchiveReaders", "BucketPolicy", "DenyOtherKeysOfArchive"),
    "the archive's role only with readers": resource_under("HasArchiveReaders", "ArchivePolicy"),
    "the archive's readers without an archive": resource_under("ErasesContacts", "ArchiveReaderPolicy"),
    "denials only with an archive": resource_under("ArchivesStream", "DenyOutsidePolicy"),
    "the bucket policy only with replay": resource_under("HasReplayOperators", "BucketPolicy"),
    "replay on its key only with erasure": under("ErasesContacts", "DeadLetterKey", "ReplayDecrypts"),
    "erasure on its key always": without_condition("OrdersKey", "EraserDecrypts"),
    "readers of one route by those of another": under("HasBillingReaders", "OrdersKey", "ReadersDecrypt"),
    "sealed readers by readers": under("HasAnalyticsReaders", "AnalyticsSealKey", "SealedReadersOpen"),
    "traces only with erasure": resource_under("ErasesContacts", "TracingPolicy"),
    # names with a star
    "streams of a similar name": edited("StreamConsumerPolicy", "ReadTheStream", Resource={"Fn::Sub": f"{STREAMS}/${{Name}}*"}),
    "contexts of a similar name": replaced("StreamKey", "ConsumersDecrypt", "stream/${Name}", "stream/${Name}*"),
    "prefixes of a similar name": replaced("ArchivePolicy", "ArchivePut", "/archive/*", "/archive*"),
    "everything below aws/": replaced("FunctionPolicy", "PutFailedBatches", "/aws/lambda/*", "/aws/*"),
    "every object": replaced("FunctionPolicy", "DeadLetterPut", "/dead-letter/*", "/*"),
    "every bucket": edited("WriterPolicy1", "OrdersPut", Resource="arn:aws:s3:::*/departments/orders/*"),
    "alarms of a similar name": replaced("AlarmTopicPolicy", "AlarmsPublish", "alarm:${Name} *", "alarm:${Name}*"),
    "every alarm": replaced("AlarmTopicPolicy", "AlarmsPublish", "alarm:${Name} *", "alarm:*"),
    "roles of a similar name on a key": edited("OrdersKey", "WritersEncrypt", Condition={"ArnLike": {PRINCIPAL: "arn:aws:iam::111122223333:role/*FanOut*"}}),
    "roles of a similar name on the archive": edited("ArchiveKey", "FirehoseWrites", Condition={"ArnLike": {PRINCIPAL: "arn:aws:iam::111122223333:role/*Archive*"}}),
    "any table": edited("FunctionPolicy", "WriteCheckpoint", Resource="*"),
    "any action of a table": edited("FunctionPolicy", "WriteCheckpoint", Action="dynamodb:*"),
    "a glob in an action": edited("WriterPolicy1", "OrdersPut", Action="s3:Put*"),
    # principals
    "not those": edited("OrdersKey", "ReadersDecrypt", Principal=None, NotPrincipal={"AWS": "arn:aws:iam::111122223333:role/x"}),
    "a partner on a key": also("OrdersKey", Principal={"AWS": f"arn:aws:iam::{PARTNER}:root"}, Action="kms:Decrypt", Resource="*"),
    "a partner on the bucket": also("BucketPolicy", Principal={"AWS": PARTNER}, Action="s3:GetObject", Resource={"Fn::Sub": "${Bucket.Arn}/*"}),
    "everybody on the bucket": also("BucketPolicy", Principal="*", Action="s3:ListBucket", Resource={"Fn::GetAtt": "Bucket.Arn"}),
    "the whole account on a key": also("OrdersKey", Principal=ROOT, Action="kms:Decrypt", Resource="*"),
    "administrators use a key": edited("OrdersKey", "AdministratorsManage", Action="kms:*"),
    "administrators make grants": also("DeadLetterKey", Principal=ROOT, Action="kms:CreateGrant", Resource="*"),
    "a service on a key": also("StreamKey", Principal={"Service": "lambda.amazonaws.com"}, Action="kms:Decrypt", Resource="*"),
    "any delivery stream takes the archive's role": trust("ArchiveRole", Condition=FIREHOSE_ANYWHERE),
    "any service takes the function's role": trust("FanOutRole", Principal={"Service": "ec2.amazonaws.com"}),
    "the account takes the erase role": trust("EraseRole", Principal=ROOT),
    "the account takes the convert role": trust("ConvertRole", Principal=ROOT),
    "columns on its key always": without_condition("OrdersKey", "ConverterUses"),
    "columns anywhere below the prefix": replaced("ConvertPolicy1", "OrdersPutColumns", "/parquet/*", "/*"),
    "any schedule makes columns": with_property("ConvertPermission", SourceArn="arn:aws:events:*:*:rule/*"),
    "lines of every kind and place": replaced("ConvertPolicy1", "ReadLines", "/contact_record/*", "/*"),
    "sessions with tags": trust("FanOutRole", Action=["sts:AssumeRole", "sts:TagSession"]),
    "everybody operates the replay": trust("ReplayRole", Principal={"AWS": "*"}),
    # conditions of statements
    "a test that absence passes": replaced("FunctionPolicy", "ListBucketAsLambda", "Null", "StringNotEquals"),
    "a key that need not be named": replaced("WriterPolicy1", "OrdersPut", "ArnEquals", "ArnEqualsIfExists"),
    "another service on behalf": replaced("OrdersKey", "WritersEncrypt", "s3.${AWS::Region}", "*.${AWS::Region}"),
    "denials for this account only": edited("BucketPolicy", "DenyInsecureTransport", Condition={"Bool": {"aws:SecureTransport": "false"}, **OURS_ONLY}),
    "unknown prefixes denied to this account only": edited("BucketPolicy", "DenyUnknownPrefixes", Condition=OURS_ONLY),
    "other keys denied to this account only": edited("BucketPolicy", "DenyOtherKeysOfOrders", Condition={**OURS_ONLY, "Null": {"s3:x-amz-server-side-encryption": "false"}}),
    "denials for roles only": edited("BucketPolicy", "DenyReplication", Principal={"AWS": {"Fn::GetAtt": "FanOutRole.Arn"}}),
    "denials but for an administrator": edited("DenyOutsidePolicy", "DenyOtherBuckets", Condition={"ArnNotEquals": {PRINCIPAL: {"Fn::GetAtt": "FanOutRole.Arn"}}}),
    "denials of puts only": edited("DenyOutsidePolicy", "DenyOtherBuckets", Action=["s3:PutObject"]),
    "denials but for one key more": edited("DenyOutsidePolicy", "DenyOtherKeys", NotResource="arn:aws:kms:*:*:key/*"),
    "an allowance of all but something": edited("FunctionPolicy", "WriteLogs", Action=None, NotAction="s3:*"),
    "readers list the bucket": edited("OrdersReaderPolicy", "OrdersList", Condition=None),
    "readers decrypt anywhere": edited("OrdersReaderPolicy", "OrdersDecrypt", Condition=None),
    "readers read old versions": edited("OrdersReaderPolicy", "OrdersRead", Action=["s3:GetObject", "s3:GetObjectVersion"]),
    "analysts change the workgroup": edited("OrdersQueryPolicy", "QueryWorkGroup", Action="athena:*"),
    "results of every workgroup": edited("OrdersQueryPolicy", "UseResultsKey", Condition=None),
    "results of another account's workgroup": edited("QueryResultsKey", "AthenaKeepsResults", Condition={}),
}  # fmt: skip


def test_template_as_it_is_has_none(template: Template) -> None:
    assert list(complaints(template, shipped_routes())) == []


@pytest.mark.parametrize("weaken", [pytest.param(weaken, id=idea) for idea, weaken in WEAKENINGS.items()])
def test_weakening_is_noticed(template: Template, weaken: Weaken) -> None:
    copy = dict(deepcopy(template))
    weaken(copy["Resources"])
    assert next(complaints(copy, shipped_routes()), None) is not None


@pytest.mark.parametrize(
    "parameter",
    ["Name", "ConnectInstanceArn", "ConnectServiceRoleArn", "ExistingStreamKeyArn", "AlarmTopicArn", "ReplayOperators",
     "ReadersOfOrders", "ReadersOfArchive", "SealedReadersOfAnalytics"],
)  # fmt: skip
@pytest.mark.parametrize("pattern", [None, ".*", ".+", "|arn:aws[-a-z0-9]*:iam::[0-9]{12}:.+"])
def test_parameter_that_takes_more_is_noticed(template: Template, parameter: str, pattern: str | None) -> None:
    if pattern is not None and "iam" in pattern and not re.search("Readers|Operators|Role", parameter):
        pattern = ".*"
    copy = dict(deepcopy(template))
    copy["Parameters"][parameter].pop("AllowedPattern")
    if pattern is not None:
        copy["Parameters"][parameter]["AllowedPattern"] = pattern
    assert next(complaints(copy, shipped_routes()), "").startswith(parameter)
