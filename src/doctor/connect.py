"""The Connect side: the instance, its service-linked role, and where each of its storage configs points.

Source: https://docs.aws.amazon.com/connect/latest/adminguide/data-streaming.html
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from doctor.account import Account, MissingError
from doctor.finding import Finding, fail, ok, warn
from routing.model import Kind
from routing.table.routes import RouteTable

CONTACT_RECORDS = "CONTACT_TRACE_RECORDS"
AGENT_EVENTS = "AGENT_EVENTS"
_SENT_TO_THE_STREAM = {CONTACT_RECORDS: "contact records", AGENT_EVENTS: "agent events"}
_SEGMENTS = (
    "REAL_TIME_CONTACT_ANALYSIS_VOICE_SEGMENTS",
    "REAL_TIME_CONTACT_ANALYSIS_CHAT_SEGMENTS",
    "REAL_TIME_CONTACT_ANALYSIS_SEGMENTS",
)
_RESOURCE_TYPES = (
    "CHAT_TRANSCRIPTS", "CALL_RECORDINGS", "SCHEDULED_REPORTS", "MEDIA_STREAMS", CONTACT_RECORDS, AGENT_EVENTS,
    "REAL_TIME_CONTACT_ANALYSIS_SEGMENTS", "ATTACHMENTS", "CONTACT_EVALUATIONS", "SCREEN_RECORDINGS",
    "REAL_TIME_CONTACT_ANALYSIS_CHAT_SEGMENTS", "REAL_TIME_CONTACT_ANALYSIS_VOICE_SEGMENTS", "EMAIL_MESSAGES",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """Where an instance sends one kind of thing.

    Attributes:
        kind: Connect's resource type, e.g. `CALL_RECORDINGS`.
        target: ARN of a stream, a delivery stream, or the name of a bucket.
        storage: `KINESIS_STREAM`, `KINESIS_FIREHOSE`, `S3` or `KINESIS_VIDEO_STREAM`.
        key: ARN of the key that it is configured with; empty without.
        id: Of the association.
    """

    kind: str
    target: str
    storage: str
    key: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance and all of its storage.

    Attributes:
        arn: Its ARN.
        status: `ACTIVE` or another.
        role: The ARN of its service-linked role.
        storage: Its storage configs, of every type that may be read.
    """

    arn: str
    status: str
    role: str
    storage: tuple[StorageConfig, ...]

    @property
    def id(self) -> str:
        """The id in its ARN."""
        return self.arn.rpartition("/")[2]

    def streams(self) -> list[str]:
        """Return the data streams that it sends to."""
        return sorted({one.target for one in self.storage if one.storage == "KINESIS_STREAM"})

    def deliveries(self) -> list[str]:
        """Return the delivery streams of Firehose that it sends to without a data stream."""
        return sorted({one.target for one in self.storage if one.storage == "KINESIS_FIREHOSE"})

    def kinds_to(self, target: str) -> list[str]:
        """Return the resource types that it sends to a target."""
        return [one.kind for one in self.storage if one.target == target]


def read_instance(account: Account, instance: str) -> Instance | None:
    """Read an instance by id or ARN; None if it may not be read.

    Raises:
        MissingError: There is none of that id in this account and Region.
    """
    described = account.ask("connect", "describe_instance", InstanceId=instance.rpartition("/")[2])
    if described is None:
        return None
    found = described["Instance"]
    storage = [one for kind in _RESOURCE_TYPES for one in _storage(account, found["Id"], kind)]
    return Instance(
        arn=found["Arn"], status=found["InstanceStatus"], role=found.get("ServiceRole", ""), storage=tuple(storage)
    )


def other_instances(account: Account, stream: str, known: Instance | None) -> list[Instance]:
    """Return the other instances of the account that send to a stream."""
    listed = account.pages("connect", "list_instances", "InstanceSummaryList")
    found = []
    for one in listed or []:
        if known is not None and one["Id"] == known.id:
            continue
        with suppress(MissingError):  # deleted meanwhile
            instance = read_instance(account, one["Id"])
            if instance is not None and instance.kinds_to(stream):
                found.append(instance)
    return found


def check_connect(instance: Instance, stream: str | None, table: RouteTable | None = None) -> Iterator[Finding]:
    """Check what the instance sends where.

    Args:
        instance: The instance.
        stream: The stream that should get contact records and agent events; None to take any.
        table: The routes of our stack, which may take segments of Contact Lens as well; None without a stack.
    """
    if instance.status == "ACTIVE":
        yield ok("InstanceActive", instance.arn, f"ACTIVE, acts as {instance.role}")
    else:
        yield fail(
            "InstanceNotActive", instance.arn, seen=instance.status, expected="ACTIVE",
            cure="wait until the instance is created, or look at its StatusReason in the console",
        )  # fmt: skip
    if "/aws-service-role/" not in instance.role:
        yield warn(
            "InstanceWithoutServiceLinkedRole", instance.arn, seen=instance.role or "no service role",
            expected="a service-linked role, to name in the stream key's policy",
            cure="migrate the instance: https://docs.aws.amazon.com/connect/latest/adminguide/connect-slr.html",
        )  # fmt: skip
    for kind, what in _SENT_TO_THE_STREAM.items():
        yield from _check_target(instance, kind, what, stream)
    if table is not None and any(Kind.CONTACT_LENS_SEGMENT in route.kinds for route in table.routes):
        yield from _check_segments(instance, stream)


def _check_segments(instance: Instance, stream: str | None) -> Iterator[Finding]:
    """Check that segments reach the stream: CloudFormation does not associate them.

    Source: https://docs.aws.amazon.com/connect/latest/adminguide/enable-contact-analysis-segment-streams.html
    """
    found = [one for one in instance.storage if one.kind in _SEGMENTS]
    associate = "; ".join(
        f"aws connect associate-instance-storage-config --instance-id {instance.id} --resource-type {kind} "
        f"--storage-config StorageType=KINESIS_STREAM,KinesisStreamConfig={{StreamArn={stream}}}"
        for kind in _SEGMENTS[:2]
    )
    elsewhere = [one for one in found if one.target != stream]
    again = (
        f"aws connect associate-instance-storage-config --instance-id {instance.id} --resource-type {elsewhere[0].kind} "
        f"--storage-config StorageType=KINESIS_STREAM,KinesisStreamConfig={{StreamArn={stream}}}"
        if elsewhere
        else ""
    )
    if not found:
        yield warn(
            "SegmentsNotStreamed", instance.arn, seen="a route takes segments of Contact Lens, and none are streamed",
            expected=f"segments sent to {stream}, or no route that takes them", cure=associate,
        )  # fmt: skip
    elif elsewhere:
        yield warn(
            "SegmentsGoElsewhere", elsewhere[0].target, seen=f"{elsewhere[0].kind} go to another target", expected=str(stream),
            cure=f"Connect takes one target per kind: {_disassociate(instance, elsewhere[0])} && {again}",
        )  # fmt: skip


def _check_target(instance: Instance, kind: str, what: str, stream: str | None) -> Iterator[Finding]:
    complain = fail if kind == CONTACT_RECORDS else warn
    found = [one for one in instance.storage if one.kind == kind]
    name = stream or "STREAM_ARN"
    associate = (
        f"aws connect associate-instance-storage-config --instance-id {instance.id} --resource-type {kind} "
        f"--storage-config StorageType=KINESIS_STREAM,KinesisStreamConfig={{StreamArn={name}}}"
    )
    title = what.title().replace(" ", "")
    if not found:
        yield complain(
            f"{title}NotStreamed", instance.arn, seen=f"no storage config for {what}",
            expected=f"{what} sent to {stream or 'a data stream'}", cure=associate,
        )  # fmt: skip
    elif found[0].storage == "KINESIS_FIREHOSE" and stream is None:
        yield ok(f"{title}GoToFirehose", found[0].target, f"{what} go to Firehose, which takes one key")
    elif found[0].storage != "KINESIS_STREAM":
        yield complain(
            f"{title}GoToFirehose", found[0].target, seen=f"{what} go to {found[0].storage}, which takes one key",
            expected=f"a data stream: {stream or 'any'}",
            cure=f"Connect takes one target per kind: {_disassociate(instance, found[0])} && {associate}",
        )  # fmt: skip
    elif stream is not None and found[0].target != stream:
        yield complain(
            f"{title}GoElsewhere", found[0].target, seen=f"{what} go to another stream", expected=stream,
            cure=f"Connect takes one target per kind: {_disassociate(instance, found[0])} && {associate}",
        )  # fmt: skip
    else:
        yield ok(f"{title}Streamed", found[0].target, f"{what} go to this stream")


def _disassociate(instance: Instance, one: StorageConfig) -> str:
    return (
        f"aws connect disassociate-instance-storage-config --instance-id {instance.id} --association-id {one.id} "
        f"--resource-type {one.kind}"
    )


def _storage(account: Account, instance_id: str, kind: str) -> Iterator[StorageConfig]:
    configs = account.pages(
        "connect", "list_instance_storage_configs", "StorageConfigs", InstanceId=instance_id, ResourceType=kind
    )
    for config in configs or []:
        storage = config["StorageType"]
        s3, video = config.get("S3Config", {}), config.get("KinesisVideoStreamConfig", {})
        target = (
            config.get("KinesisStreamConfig", {}).get("StreamArn")
            or config.get("KinesisFirehoseConfig", {}).get("FirehoseArn")
            or s3.get("BucketName")
            or video.get("Prefix", "")
        )
        key = (s3 or video).get("EncryptionConfig", {}).get("KeyId", "")
        yield StorageConfig(
            kind=kind,
            target=target,
            storage=storage,
            key=_key_arn(account, key) if key else "",
            id=config.get("AssociationId", ""),
        )


def _key_arn(account: Account, key_id: str) -> str:
    """Return a key's ARN; storage configs name it by id, alias or ARN."""
    if ":key/" in key_id:
        return key_id
    try:
        described = account.ask("kms", "describe_key", KeyId=key_id)
    except MissingError:
        return key_id
    return key_id if described is None else str(described["KeyMetadata"]["Arn"])
