"""Commands about Amazon Connect: `connect associate`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli.shared import Profile, Region, RoutesFile, fail, session_of, table_of
from cli.stack_function import StackFunctionError, raise_missing
from routing.model import Kind
from routing.table.routes import RouteTable

connect = typer.Typer(no_args_is_help=True, help="Associate a Connect instance with the stream.")

# What Connect calls the records of each kind, and the resource of the template that associates them.
# https://docs.aws.amazon.com/connect/latest/APIReference/API_AssociateInstanceStorageConfig.html
_TYPES = {
    Kind.CONTACT_RECORD: (("CONTACT_TRACE_RECORDS", "ConnectContactRecords"),),
    Kind.AGENT_EVENT: (("AGENT_EVENTS", "ConnectAgentEvents"),),
    Kind.CONTACT_LENS_SEGMENT: (
        ("REAL_TIME_CONTACT_ANALYSIS_VOICE_SEGMENTS", ""),
        ("REAL_TIME_CONTACT_ANALYSIS_CHAT_SEGMENTS", ""),
    ),
}


@dataclass(frozen=True, slots=True)
class Association:
    """What an instance does with records of one type.

    Attributes:
        type: As Connect calls it, e.g. `AGENT_EVENTS`.
        target: Where they go now; empty if nowhere.
        is_of_stack: True if the template associates them.
    """

    type: str
    target: str
    is_of_stack: bool


@connect.command(epilog="Example: ctr-fanout connect associate --instance 11111111-2222-4333-8444-555555555555 --apply")
def associate(
    *,
    instance: Annotated[str, typer.Option(help="Id or ARN of the Amazon Connect instance.")],
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
    region: Region = None,
    profile: Profile = None,
    routes_file: RoutesFile = None,
) -> None:
    """Let Connect send to the stream what the routes take and the template does not associate: Contact Lens segments.

    Run it after the deployment, when the stream's key admits Connect. Exits with 1 if something goes elsewhere.
    """
    table, session = table_of(routes_file), session_of(region, profile)
    instance_id = instance.rpartition("/")[2]
    client: Any = session.client("connect")
    try:
        stream, resources = _stream_of(stack, session.client)
    except StackFunctionError as err:
        fail(str(err))
    elsewhere = False
    for one in _associations(client, instance_id, table, resources):
        if one.target == stream:
            typer.echo(f"{one.type}: sent to {stream}")
        elif one.target:
            elsewhere = True
            typer.echo(f"{one.type}: sent to {one.target}; Connect has one target a type: disassociate it first")
        elif one.is_of_stack:
            typer.echo(f"{one.type}: the template associates it; deploy with ConnectInstanceArn")
        elif apply:
            storage = {"StorageType": "KINESIS_STREAM", "KinesisStreamConfig": {"StreamArn": stream}}
            client.associate_instance_storage_config(
                InstanceId=instance_id, ResourceType=one.type, StorageConfig=storage
            )
            typer.echo(f"{one.type}: associated with {stream}")
        else:
            typer.echo(f"{one.type}: would be associated with {stream}; --apply does it")
    raise typer.Exit(int(elsewhere))


def _stream_of(stack: str, client: Callable[..., Any]) -> tuple[str, set[str]]:
    """Return the ARN of the stack's stream, and the logical ids of its resources."""
    try:
        described = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        resources = {one["LogicalResourceId"] for page in pages for one in page["StackResourceSummaries"]}
    except ClientError as err:
        raise_missing(err, stack, client)
        raise
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
    if "StreamArn" not in outputs:
        raise StackFunctionError(
            f"stack {stack!r}: expected the output StreamArn of template.yaml, got {len(outputs)} others"
        )
    return outputs["StreamArn"], resources


def _associations(client: Any, instance_id: str, table: RouteTable, resources: set[str]) -> Iterator[Association]:  # noqa: ANN401
    taken = {kind for route in table.routes for kind in route.kinds}
    taken |= {kind for kind, route in table.unmatched.items() if route is not None}
    for kind, types in _TYPES.items():
        for name, logical_id in types if kind in taken else ():
            found = client.list_instance_storage_configs(InstanceId=instance_id, ResourceType=name)["StorageConfigs"]
            config = found[0] if found else {}
            target = config.get("KinesisStreamConfig", {}).get("StreamArn")
            target = target or config.get("KinesisFirehoseConfig", {}).get("FirehoseArn", "")
            yield Association(name, target, is_of_stack=bool(logical_id) and logical_id in resources)
