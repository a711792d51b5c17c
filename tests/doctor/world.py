"""A whole account on moto: the stack as its template makes it, Connect in front, Firehose beside it.

Keys, policies, stream, bucket, table, functions, mapping and delivery stream are real calls to moto; their
policies are those of template.yaml, resolved. CloudFormation's own listing is replayed, since moto makes
only a part of such a template.
"""

import io
import json
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from moto.awslambda_simple.models import lambda_simple_backends
from moto.backends import get_backend

from doctor.resolve import Resolver
from local.translate import Template
from routing.lambda_event import ACCOUNT, REGION
from tests.doctor.connect_api import ConnectApi

INSTANCE = "11111111-2222-4333-8444-555555555555"
INSTANCE_ARN = f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/{INSTANCE}"
CONNECT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/connect.amazonaws.com/AWSServiceRoleForAmazonConnect_x"
READER = f"arn:aws:iam::{ACCOUNT}:role/OrdersReader"
STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/ctr-fanout"
STACK = "ctr-fanout"
_MODELS = botocore.loaders.create_loader()  # AWS's service models, read once for all tests
_BY_ACCOUNT = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    ],
}
PARAMETERS = {
    "ConnectInstanceArn": INSTANCE_ARN,
    "ConnectServiceRoleArn": CONNECT_ROLE,
    "ReadersOfOrders": READER,
    "ReplayOperators": f"arn:aws:iam::{ACCOUNT}:role/Operator",
    "ArchiveRawStream": "true",
}


@dataclass
class World:
    """A healthy account, and handles to break it by."""

    session: boto3.Session
    connect: ConnectApi = field(default_factory=ConnectApi)
    _clients: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _listeners: list[tuple[str, Callable[..., Any]]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=lambda: dict(PARAMETERS))

    def __post_init__(self) -> None:
        """Answer what is replayed, and make each client once: most of the time of a test went into them."""
        events: Any = self.session.events
        events.register_first("before-call", self._heard)
        events.register("after-call", self._heard)
        make: Any = self.session.client

        def client_of(service: str, **options: Any) -> Any:
            key = service, *map(repr, options.items())
            if key not in self._clients:
                self._clients[key] = make(service, **options)
            return self._clients[key]

        vars(self.session)["client"] = client_of

    def _heard(self, event_name: str, **given: Any) -> Any:
        """Let what listens to an event of botocore answer; its emitters are copied into each client."""
        for pattern, listener in reversed(self._listeners):
            if fnmatchcase(event_name, pattern) and (answer := listener(event_name=event_name, **given)) is not None:
                return answer
        return None

    def listen(self, pattern: str, listener: Callable[..., Any]) -> None:
        """Call a listener before or after calls, e.g. `before-call.kms.*`; the last one answers first."""
        self._listeners.append((pattern, listener))

    def client(self, service: str) -> Any:
        make: Any = self.session.client
        return make(service)

    def replay(self, service: str, operation: str, answer: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        """Answer an operation in place of moto, with a status and what botocore would have parsed."""

        def replayed(**_given: object) -> tuple[Any, dict[str, Any]]:
            status, parsed = answer()
            return type("Http", (), {"status_code": status})(), parsed

        self.listen(f"before-call.{service}.{operation}", replayed)

    def deny(self, service: str, operation: str, code: str = "AccessDeniedException") -> None:
        """Refuse an operation to whoever examines the account."""
        error = {"Error": {"Code": code, "Message": "refused"}, "ResponseMetadata": {}}
        self.replay(service, operation, lambda: (400, error))

    @property
    def mapping(self) -> str:
        return self.resources["StreamMapping"]

    @property
    def bucket(self) -> str:
        return self.resources["Bucket"]

    def key_policy(self, key: str) -> dict[str, Any]:
        found = self.client("kms").get_key_policy(KeyId=self.keys[key], PolicyName="default")["Policy"]
        policy: dict[str, Any] = json.loads(found)
        return policy

    def set_key_policy(self, key: str, policy: dict[str, Any]) -> None:
        self.client("kms").put_key_policy(KeyId=self.keys[key], PolicyName="default", Policy=json.dumps(policy))

    def edit_key(self, key: str, sid: str, **changes: Any) -> None:
        """Change a statement of a key policy; without changes take it out."""
        self.set_key_policy(key, _edited(self.key_policy(key), sid, changes))

    def edit_policy(self, policy: str, sid: str, **changes: Any) -> None:
        """Change a statement of a managed policy; without changes take it out."""
        iam, arn = self.client("iam"), self.policies[policy]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        changed = json.dumps(_edited(document, sid, changes))
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=changed, SetAsDefault=True)

    def statements(self, policy: str, sid: str) -> list[dict[str, Any]]:
        """Return the statements of a name of a managed policy."""
        iam, arn = self.client("iam"), self.policies[policy]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return [one for one in document["Statement"] if one["Sid"] == sid]

    def edit_bucket(self, sid: str, **changes: Any) -> None:
        """Change a statement of the bucket policy; without changes take it out."""
        s3 = self.client("s3")
        policy = json.loads(s3.get_bucket_policy(Bucket=self.bucket)["Policy"])
        s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(_edited(policy, sid, changes)))


class Snapshot:
    """The state of a world and of moto, to begin each test with: to copy it takes milliseconds, to build it a second."""

    def __init__(self, world: World) -> None:
        """Copy the state."""
        self._world = world
        services: list[Any] = [lambda_simple_backends]
        names = ("cloudwatch", "dynamodb", "firehose", "glue", "iam", "kinesis", "kms", "logs", "s3", "sns", "sts")
        services += [get_backend(name) for name in names]  # type: ignore[call-overload] # one of many literals
        regions = [of_account for of_service in services for of_account in of_service.values()]
        self._backends = [backend for of_account in regions for backend in of_account.values()]
        self._listeners = list(world._listeners)
        self._state = self._copy([*map(vars, self._backends), *self._parts()])

    def restore(self) -> None:
        """Put the state back."""
        for part, kept in zip([*map(vars, self._backends), *self._parts()], self._copy(self._state), strict=True):
            part.clear()
            part.update(kept)
        self._world._listeners[:] = self._listeners

    def _parts(self) -> list[Any]:
        world = self._world
        of_connect = world.connect.instances, world.connect.storage, world.connect.denied
        return [*of_connect, world.keys, world.policies, world.resources, world.parameters]

    def _copy(self, parts: list[Any]) -> list[Any]:
        # What refers to a backend goes on to refer to it; what two of them share stays shared.
        return deepcopy(parts, {id(backend): backend for backend in self._backends})


def _edited(policy: dict[str, Any], sid: str, changes: dict[str, Any]) -> dict[str, Any]:
    found = [one for one in policy["Statement"] if one.get("Sid") == sid]
    assert found, f"no statement {sid}"
    rest = [one for one in policy["Statement"] if one.get("Sid") != sid]
    return {**policy, "Statement": rest + ([{**found[0], **changes}] if changes else [])}


def healthy(template: Template) -> World:
    """Build an account where everything is as it should be."""
    core = botocore.session.Session()
    core.register_component("data_loader", _MODELS)
    session = boto3.Session(botocore_session=core, region_name=REGION)
    world = World(session)
    world.connect.serve(session)
    world.replay("cloudformation", "DescribeStacks", lambda: (200, _stacks(world)))
    world.replay("cloudformation", "ListStackResources", lambda: (200, _listed(world)))
    world.replay("cloudformation", "GetTemplate", lambda: (200, {"TemplateBody": template}))
    _make_keys(world, template)
    for path, name in (
        ("/", "OrdersReader"),
        (f"/{CONNECT_ROLE.partition('role/')[2].rpartition('/')[0]}/", "AWSServiceRoleForAmazonConnect_x"),
    ):
        world.client("iam").create_role(Path=path, RoleName=name, AssumeRolePolicyDocument=json.dumps(_BY_ACCOUNT))
    arns = {f"{name}Key": arn for name, arn in world.keys.items()}
    resolver = Resolver(template, PARAMETERS, arns=arns)
    resources = resolver.resources()
    _make_roles(world, resources)
    _make_stream(world)
    _make_bucket(world, resources)
    _make_table(world, resources)
    _make_functions(world, resources)
    mapping = world.mapping
    # The policies name the mapping by its UUID, which is known only now.
    resources = Resolver(template, PARAMETERS, arns=arns | {"StreamMapping": _mapping_arn(mapping)}).resources()
    _make_policies(world, resources)
    _make_firehose(world, resources)
    _make_alarms(world)
    _make_catalog(world)
    _make_connect(world)
    return world


def _make_keys(world: World, template: Template) -> None:
    kms = world.client("kms")
    for name, resource in Resolver(template, PARAMETERS).resources().items():
        if resource["Type"] == "AWS::KMS::Key":
            made = kms.create_key(Policy=json.dumps(resource["Properties"]["KeyPolicy"]))["KeyMetadata"]
            kms.enable_key_rotation(KeyId=made["KeyId"])
            world.keys[name.removesuffix("Key")] = made["Arn"]
            world.resources[name] = made["KeyId"]


def _make_roles(world: World, resources: dict[str, Any]) -> None:
    iam = world.client("iam")
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            trust = json.dumps(resource["Properties"]["AssumeRolePolicyDocument"])
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
            world.resources[name] = name


def _make_policies(world: World, resources: dict[str, Any]) -> None:
    iam = world.client("iam")
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            document = json.dumps(resource["Properties"]["PolicyDocument"])
            arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            readers = ["OrdersReader"] if name == "OrdersReaderPolicy" else []
            for role in [*resource["Properties"].get("Roles", []), *readers]:
                iam.attach_role_policy(RoleName=role, PolicyArn=arn)
            world.policies[name] = world.resources[name] = arn


def _make_stream(world: World) -> None:
    kinesis = world.client("kinesis")
    kinesis.create_stream(StreamName="ctr-fanout", ShardCount=1)
    kinesis.increase_stream_retention_period(StreamName="ctr-fanout", RetentionPeriodHours=336)
    kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId=world.keys["Stream"])
    world.resources["Stream"] = "ctr-fanout"


def _make_bucket(world: World, resources: dict[str, Any]) -> None:
    s3, name = world.client("s3"), resources["Bucket"]["Properties"]["BucketName"]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    encryption = resources["Bucket"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [{
        "ApplyServerSideEncryptionByDefault": encryption["ServerSideEncryptionByDefault"], "BucketKeyEnabled": False,
    }]})  # fmt: skip
    policy = resources["BucketPolicy"]["Properties"]["PolicyDocument"]
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    blocked = resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=blocked)
    world.resources["Bucket"] = world.resources["BucketPolicy"] = name


def _make_table(world: World, resources: dict[str, Any]) -> None:
    properties = dict(resources["CheckpointTable"]["Properties"])
    ttl = properties.pop("TimeToLiveSpecification")
    properties.pop("PointInTimeRecoverySpecification")
    dynamodb = world.client("dynamodb")
    dynamodb.create_table(**properties)
    dynamodb.update_time_to_live(TableName=properties["TableName"], TimeToLiveSpecification=ttl)
    world.resources["CheckpointTable"] = properties["TableName"]


def _make_functions(world: World, resources: dict[str, Any]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handlers/fan_out.py", "")
    functions = world.client("lambda")
    for name in ("FanOutFunction", "GrantCheckFunction"):
        properties = resources[name]["Properties"]
        functions.create_function(
            FunctionName=properties["FunctionName"],
            Runtime="python3.13",
            Role=properties["Role"],
            Handler=properties["Handler"],
            Code={"ZipFile": packed.getvalue()},
            Environment={"Variables": {n: str(v) for n, v in properties["Environment"]["Variables"].items()}},
        )
        world.resources[name] = properties["FunctionName"]
    for name in ("GrantCheckPermission", "KeyChangedPermission", "StreamChangedPermission"):
        permission = resources[name]["Properties"]
        functions.add_permission(
            FunctionName=permission["FunctionName"], StatementId=name, Action=permission["Action"],
            Principal=permission["Principal"], SourceArn=permission["SourceArn"],
        )  # fmt: skip
    mapping = resources["StreamMapping"]["Properties"]
    made = functions.create_event_source_mapping(
        FunctionName=mapping["FunctionName"],
        EventSourceArn=mapping["EventSourceArn"],
        Enabled=True,
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=int(mapping["MaximumRetryAttempts"]),
        MaximumRecordAgeInSeconds=int(mapping["MaximumRecordAgeInSeconds"]),
        ParallelizationFactor=1,
        FunctionResponseTypes=mapping["FunctionResponseTypes"],
        DestinationConfig=mapping["DestinationConfig"],
    )
    world.resources["StreamMapping"] = made["UUID"]
    variables = {
        **resources["GrantCheckFunction"]["Properties"]["Environment"]["Variables"],
        "MAPPING_ID": made["UUID"],
    }
    functions.update_function_configuration(
        FunctionName=world.resources["GrantCheckFunction"],
        Environment={"Variables": {name: str(value) for name, value in variables.items()}},
    )


def _make_firehose(world: World, resources: dict[str, Any]) -> None:
    properties = resources["ArchiveStream"]["Properties"]
    s3 = properties["ExtendedS3DestinationConfiguration"]
    world.client("firehose").create_delivery_stream(
        DeliveryStreamName=properties["DeliveryStreamName"],
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration=properties["KinesisStreamSourceConfiguration"],
        ExtendedS3DestinationConfiguration=s3,
    )
    world.resources["ArchiveStream"] = properties["DeliveryStreamName"]


def _make_alarms(world: World) -> None:
    """Make what the nested stack for monitoring has: a topic that somebody hears, and two of its alarms."""
    sns, cloudwatch = world.client("sns"), world.client("cloudwatch")
    allow = {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}}
    uses = {**allow, "Sid": "AlarmsEncrypt", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"}
    key = world.client("kms").create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [uses]}))
    world.keys["Alarm"] = key["KeyMetadata"]["Arn"]
    topic = sns.create_topic(Name="ctr-fanout-alarms", Attributes={"KmsMasterKeyId": world.keys["Alarm"]})["TopicArn"]
    publishes = {**allow, "Sid": "AlarmsPublish", "Action": "sns:Publish", "Resource": topic}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [publishes]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint="+447700900123")
    world.resources["AlarmTopic"] = topic
    for logical, name in (("LateAlarm", "ctr-fanout late"), ("SilentAlarm", "ctr-fanout silent")):
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="AWS/Lambda", MetricName="IteratorAge", Statistic="Maximum", Period=60,
            EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", AlarmActions=[topic],
        )  # fmt: skip
        world.resources[logical] = name


def _make_catalog(world: World) -> None:
    glue, where = world.client("glue"), f"s3://{world.bucket}/departments/orders/contact_record/"
    glue.create_database(DatabaseInput={"Name": "ctr_fanout"})
    table = {"Name": "orders_contact_record", "StorageDescriptor": {"Location": where}}
    glue.create_table(DatabaseName="ctr_fanout", TableInput=table)
    world.resources["Database"] = "ctr_fanout"


def _make_connect(world: World) -> None:
    world.connect.instances[INSTANCE] = {
        "Id": INSTANCE,
        "Arn": INSTANCE_ARN,
        "IdentityManagementType": "SAML",
        "InstanceAlias": "example",
        "ServiceRole": CONNECT_ROLE,
        "InstanceStatus": "ACTIVE",
        "InboundCallsEnabled": True,
        "OutboundCallsEnabled": True,
    }
    recordings = world.client("kms").create_key(Description="call recordings")["KeyMetadata"]["Arn"]
    world.client("kms").enable_key_rotation(KeyId=recordings)
    world.keys["Recordings"] = recordings
    stream = {"StorageType": "KINESIS_STREAM", "KinesisStreamConfig": {"StreamArn": STREAM_ARN}}
    segments = (f"REAL_TIME_CONTACT_ANALYSIS_{channel}_SEGMENTS" for channel in ("VOICE", "CHAT"))
    for kind in ("CONTACT_TRACE_RECORDS", "AGENT_EVENTS", *segments):
        world.connect.storage[INSTANCE, kind] = [{"AssociationId": kind.lower(), **stream}]
    encryption = {"EncryptionType": "KMS", "KeyId": recordings}
    s3 = {"BucketName": "recordings", "BucketPrefix": "calls", "EncryptionConfig": encryption}
    world.connect.storage[INSTANCE, "CALL_RECORDINGS"] = [
        {"AssociationId": "recordings", "StorageType": "S3", "S3Config": s3}
    ]


def _mapping_arn(uuid: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"


def _stacks(world: World) -> dict[str, Any]:
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in world.parameters.items()]
    stack: dict[str, Any] = {"StackName": STACK, "StackStatus": "CREATE_COMPLETE", "Parameters": parameters}
    stack |= {"Outputs": [{"OutputKey": "StreamArn", "OutputValue": STREAM_ARN}]}
    return {"Stacks": [stack]}


def _listed(world: World) -> dict[str, Any]:
    found = [{"LogicalResourceId": n, "PhysicalResourceId": physical} for n, physical in world.resources.items()]
    return {"StackResourceSummaries": found}
