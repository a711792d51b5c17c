"""The policies of a resolved template, as AWS attaches them: to roles, keys, the bucket and the functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.grants.stack import ARCHIVE_KEY, STREAM_KEY, Stack
from local.resolve import Resolver
from local.translate import Template
from routing.routes import RouteTable, logical_id

type Policy = dict[str, Any]

EXISTING_KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
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
    auditor = "arn:aws:iam::444455556666:role/Auditor"
    reader = "arn:aws:iam::111122223333:role/ReaderOf-{}"
    readers = {
        f"ReadersOf{logical_id(name)}": f"{reader.format(name)},{auditor}"
        for name in (*(route.name for route in table.routes), ARCHIVE_KEY)
    }
    readers |= {
        f"SealedReadersOf{logical_id(route.name)}": f"{reader.format(route.seal_key)},{auditor}"
        for route in table.routes
        if route.seals
    }
    options = {
        "ReplayOperators": "arn:aws:iam::111122223333:role/ReplayOperator",
        "Erasure": "on",
        "ArchiveRawStream": "true",
        "AlarmTopicArn": "arn:aws:sns:ap-northeast-1:111122223333:alarms",
    }
    everything = {**_CONNECT, **readers, **options}
    return {
        "everything": deployed(template, table, everything, "everything"),
        "an existing stream key": deployed(
            template, table, {**everything, "ExistingStreamKeyArn": EXISTING_KEY}, "an existing stream key"
        ),
        "nothing optional": deployed(template, table, {}, "nothing optional"),
    }


def deployed(template: Template, table: RouteTable, parameters: Mapping[str, str], setting: str) -> Deployed:
    """Resolve the template with some parameters and gather its policies."""
    resolver = Resolver(template, parameters)
    names = [STREAM_KEY, ARCHIVE_KEY, *(route.name for route in table.all_routes), *table.protection_keys]
    keys = {name: resolver.arn(f"{logical_id(name)}Key") for name in names}
    if existing := parameters.get("ExistingStreamKeyArn"):
        keys[STREAM_KEY] = existing
    stack = Stack(
        setting=setting,
        keys=keys,
        roles={name: resolver.arn(f"{logical_id(name)}Role") for name in ("fan-out", "replay", "erase", "archive")},
        mapping=resolver.arn("StreamMapping"),
        has_connect="ConnectServiceRoleArn" in parameters,
        has_readers=any(name.startswith("ReadersOf") for name in parameters),
        has_replay="ReplayOperators" in parameters,
        has_erasure=parameters.get("Erasure") == "on",
        has_archive=parameters.get("ArchiveRawStream") == "true",
        makes_stream_key=not existing,
    )
    return Deployed(stack, tuple(_policies(resolver)))


def _policies(resolver: Resolver) -> list[Attached]:
    found = []
    for name, resource in resolver.resources().items():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::IAM::ManagedPolicy":
                roles = tuple(resolver.arn(role) for role in properties["Roles"])
                found.append(Attached(name, properties["PolicyDocument"], roles=roles))
            case "AWS::IAM::Role":
                found.append(Attached(name, properties["AssumeRolePolicyDocument"], resource=resolver.arn(name)))
            case "AWS::KMS::Key":
                found.append(Attached(name, properties["KeyPolicy"], resource=resolver.arn(name)))
            case "AWS::S3::BucketPolicy":
                found.append(Attached(name, properties["PolicyDocument"], resource=resolver.arn("Bucket")))
            case "AWS::Lambda::Permission":
                function = resolver.function_arn(properties["FunctionName"])
                found.append(Attached(name, _permission(properties, function), resource=function))
    return found


def _permission(properties: Mapping[str, Any], function: str) -> Policy:
    """Return the policy that `AddPermission` makes.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
    """
    statement = {
        "Sid": "Permission",
        "Effect": "Allow",
        "Principal": {"Service": properties["Principal"]},
        "Action": properties["Action"],
        "Resource": function,
        "Condition": {"ArnLike": {"AWS:SourceArn": properties["SourceArn"]}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
