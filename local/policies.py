"""The policies of a resolved template, as AWS attaches them: to roles, keys, the bucket and the functions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from doctor.resolve import Resolver
from grants.stack import ALARM_KEY, ARCHIVE_KEY, RESULTS_KEY, STREAM_KEY, Stack
from local.translate import Template
from routing.lambda_event import ACCOUNT
from routing.table.routes import RouteTable, logical_id

type Policy = dict[str, Any]

DENIALS = "DenyOutsidePolicy"
"""The policy that allows nothing, and keeps the roles of the stack inside it."""
EXISTING_KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
TOPIC = "arn:aws:sns:ap-northeast-1:111122223333:alarms"
_CONNECT = {
    "ConnectInstanceArn": "arn:aws:connect:ap-northeast-1:111122223333:instance/abc",
    "ConnectServiceRoleArn": "arn:aws:iam::111122223333:role/aws-service-role/connect.amazonaws.com/Connect_x",
}


@dataclass(frozen=True, slots=True)
class Attached:
    """A policy of the template and what it hangs on.

    Attributes:
        name: Logical id of the resource that carries it, for messages.
        document: The policy.
        roles: ARNs of the roles that it is an identity policy of.
        resource: The ARN that it is the resource policy of; empty for an identity policy.
    """

    name: str
    document: Policy
    roles: tuple[str, ...] = ()
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack with one choice of parameters, and its policies."""

    stack: Stack
    policies: tuple[Attached, ...]


def settings(template: Template, table: RouteTable) -> dict[str, Deployed]:
    """Return the stack with everything switched on, with an existing stream key, and with nothing optional."""
    nothing = {"AlarmTopicArn": TOPIC, "Analysis": "off"}
    options = {
        "ReplayOperators": "arn:aws:iam::111122223333:role/ReplayOperator",
        "Erasure": "on",
        "Parquet": "on",
        "ArchiveRawStream": "true",
        "Tracing": "Active",
    }
    everything = {**_CONNECT, **readers_of(table), **options}
    return {
        "everything": deployed(template, table, everything, "everything"),
        "an existing stream key": deployed(
            template, table, {**everything, "ExistingStreamKeyArn": EXISTING_KEY}, "an existing stream key"
        ),
        "nothing optional": deployed(template, table, nothing, "nothing optional"),
    }


def combinations_of_options(template: Template, table: RouteTable) -> Iterator[Deployed]:
    """Yield the stack with every option alone and with every two of them."""
    every = readers_of(table)
    first = f"ReadersOf{logical_id(table.routes[0].name)}"
    options: dict[str, dict[str, str]] = {
        "an instance": {"ConnectInstanceArn": _CONNECT["ConnectInstanceArn"]},
        "Connect's role": {"ConnectServiceRoleArn": _CONNECT["ConnectServiceRoleArn"]},
        "an existing stream key": {"ExistingStreamKeyArn": EXISTING_KEY},
        "replay": {"ReplayOperators": "arn:aws:iam::111122223333:role/ReplayOperator"},
        "erasure": {"Erasure": "on"},
        "columns": {"Parquet": "on"},
        "the archive": {"ArchiveRawStream": "true"},
        "readers of the archive": {"ReadersOfArchive": every["ReadersOfArchive"]},
        "one reader": {first: every[first]},
        "readers": {name: one for name, one in every.items() if name.startswith("ReadersOf") and "Archive" not in name},
        "sealed readers": {name: one for name, one in every.items() if name.startswith("SealedReadersOf")},
        "no analysis": {"Analysis": "off"},
        "a topic of one's own": {"AlarmTopicArn": TOPIC},
        "traces": {"Tracing": "Active"},
        "no checkpoint": {"Checkpoint": "off"},
    }
    for size in (0, 1, 2):
        for names in combinations(options, size):
            given = {name: value for one in names for name, value in options[one].items()}
            yield deployed(template, table, given, " and ".join(names) or "nothing given")


def readers_of(table: RouteTable) -> dict[str, str]:
    """Return a reader and an auditor for every parameter that names readers."""
    reader, auditor = "arn:aws:iam::111122223333:role/ReaderOf-{}", "arn:aws:iam::111122223333:role/Auditor"
    readers = {
        f"ReadersOf{logical_id(name)}": f"{reader.format(name)},{auditor}"
        for name in (*(route.name for route in table.routes), ARCHIVE_KEY)
    }
    return readers | {
        f"SealedReadersOf{logical_id(route.name)}": f"{reader.format(route.seal_key)},{auditor}"
        for route in table.routes
        if route.seals
    }


def deployed(template: Template, table: RouteTable, parameters: Mapping[str, str], setting: str) -> Deployed:
    """Resolve the template with some parameters and gather its policies."""
    resolver = Resolver(template, parameters)
    names = [STREAM_KEY, ARCHIVE_KEY, *(route.name for route in table.all_routes), *table.protection_keys]
    has_topic, has_analysis = "AlarmTopicArn" not in parameters, parameters.get("Analysis") != "off"
    names += [*([ALARM_KEY] if has_topic else []), *([RESULTS_KEY] if has_analysis else [])]
    keys = {name: resolver.arn(f"{logical_id(name)}Key") for name in names}
    if existing := parameters.get("ExistingStreamKeyArn"):
        keys[STREAM_KEY] = existing
    stack = Stack(
        setting=setting,
        keys=keys,
        roles={
            name: resolver.arn(f"{logical_id(name)}Role")
            for name in ("fan-out", "replay", "erase", "convert", "archive")
        },
        mapping=resolver.arn("StreamMapping"),
        has_connect="ConnectServiceRoleArn" in parameters,
        unread=frozenset(_unread(table, parameters)),
        has_replay="ReplayOperators" in parameters,
        has_erasure=parameters.get("Erasure") == "on",
        has_columns=parameters.get("Parquet") == "on",
        has_archive=parameters.get("ArchiveRawStream") == "true",
        has_alarm_topic=has_topic,
        has_analysis=has_analysis,
        has_tracing=parameters.get("Tracing") == "Active",
        makes_stream_key=not existing,
    )
    return Deployed(stack, tuple(_policies(resolver, _attached_by_hand(table, stack))))


def _policies(resolver: Resolver, attached: Mapping[str, tuple[str, ...]]) -> list[Attached]:
    found = []
    permissions: dict[str, list[dict[str, Any]]] = {}
    for name, resource in resolver.resources().items():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::IAM::ManagedPolicy":
                roles = tuple(resolver.arn(role) for role in properties.get("Roles", []))
                roles += tuple(f"arn:aws:iam::{ACCOUNT}:role/{role}" for role in attached.get(name, ()))
                found.append(Attached(name, properties["PolicyDocument"], roles=roles))
            case "AWS::IAM::Role":
                found.append(Attached(name, properties["AssumeRolePolicyDocument"], resource=resolver.arn(name)))
            case "AWS::KMS::Key":
                found.append(Attached(name, properties["KeyPolicy"], resource=resolver.arn(name)))
            case "AWS::S3::BucketPolicy":
                found.append(Attached(name, properties["PolicyDocument"], resource=resolver.arn("Bucket")))
            case "AWS::SNS::TopicPolicy":
                (topic,) = properties["Topics"]
                found.append(Attached(name, properties["PolicyDocument"], resource=topic))
            case "AWS::Lambda::Permission":
                function = resolver.function_arn(properties["FunctionName"])
                permissions.setdefault(function, []).append(_permission(name, properties, function))
    found += [
        Attached(f"permissions of {function.rpartition(':')[2]}", {"Version": "2012-10-17", "Statement": statements},
                 resource=function)
        for function, statements in permissions.items()
    ]  # fmt: skip
    return found


def _unread(table: RouteTable, parameters: Mapping[str, str]) -> Iterator[str]:
    yield from (r.name for r in table.routes if f"ReadersOf{logical_id(r.name)}" not in parameters)
    yield from (r.seal_key for r in table.routes if f"SealedReadersOf{logical_id(r.name)}" not in parameters)
    if "ReadersOfArchive" not in parameters:
        yield ARCHIVE_KEY


def _attached_by_hand(table: RouteTable, stack: Stack) -> dict[str, tuple[str, ...]]:
    """Return the roles that an administrator attaches a policy to: readers, and one that is named in no parameter."""
    attached: dict[str, tuple[str, ...]] = {}
    if stack.is_read(ARCHIVE_KEY):
        attached["ArchiveReaderPolicy"] = (f"ReaderOf-{ARCHIVE_KEY}", "Auditor")
    for route in table.routes:
        stem, reader, analyst = logical_id(route.name), f"ReaderOf-{route.name}", f"AnalystOf-{route.name}"
        attached[f"{stem}QueryPolicy"] = (analyst,)
        if stack.is_read(route.name):
            attached[f"{stem}ReaderPolicy"] = (reader, "Auditor")
            attached[f"{stem}QueryPolicy"] = (reader, "Auditor", analyst)
        if stack.is_read(route.seal_key):
            attached[f"{stem}SealedReaderPolicy"] = (f"ReaderOf-{route.seal_key}", "Auditor")
    return attached


def _permission(name: str, properties: Mapping[str, Any], function: str) -> dict[str, Any]:
    """Return the statement that `AddPermission` makes.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
    """
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": properties["Principal"]},
        "Action": properties["Action"],
        "Resource": function,
        "Condition": {"ArnLike": {"AWS:SourceArn": properties["SourceArn"]}},
    }
