"""The `reconcile` command: compares the records of the stream with the objects below each prefix."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import boto3
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.inventory import Inventory
from aws.invocation import Invocation
from aws.settings import OFF, Settings
from aws.stream_reader import Start, StreamReader
from cli.stack_function import StackFunctionError, raise_missing
from routing.model import Record, RouteName, Shard
from routing.stages.decode import Decoder
from routing.stored.reconcile import Balance, reconcile
from routing.table.routes import RouteTable

_MOST_SHOWN = 20
_PARALLEL_LOOKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployed stack: what a reconciliation has to know of it."""

    stream_arn: str
    bucket: str
    account: str
    checkpoint_table: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What to compare.

    Attributes:
        since: Records that arrived at this time or later, seconds since 1970; None for the oldest.
        until: Before this time; None for now.
        shard: Only this one.
        late_after: Seconds after which a record should have reached every route.
    """

    since: float | None = None
    until: float | None = None
    shard: str | None = None
    late_after: float = 3600.0


class ReconcileError(StackFunctionError):
    """The stack is not what the local routes describe, or is not there."""


def target_of(stack: str, session: boto3.Session, table: RouteTable) -> Target:
    """Look a stack up.

    Raises:
        ReconcileError: It does not exist, or was deployed with other routes.
    """
    try:
        pages = session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        names = {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in pages for r in p["StackResourceSummaries"]}
    except ClientError as err:
        raise_missing(err, stack, session.client)
        raise
    if not {"FanOutFunction", "Stream", "Bucket"} <= names.keys():
        raise ReconcileError(f"stack {stack!r}: expected the resources of template.yaml, got {len(names)} others")
    function = session.client("lambda").get_function_configuration(FunctionName=names["FanOutFunction"])
    variables = function["Environment"]["Variables"]
    if variables.get("ROUTES_SHA256") != table.routes_digest:
        raise ReconcileError(f"stack {stack!r}: deployed with other routes; give theirs with --routes")
    stream = session.client("kinesis").describe_stream_summary(StreamName=names["Stream"])
    checkpoint = variables["CHECKPOINT_TABLE"]
    return Target(
        stream_arn=stream["StreamDescriptionSummary"]["StreamARN"],
        bucket=names["Bucket"],
        account=variables["BUCKET_OWNER"],
        checkpoint_table=None if checkpoint == OFF else checkpoint,
    )


def taking(role: str, session: boto3.Session) -> Callable[[str], Any]:
    """Return a maker of clients that call as a role."""
    taken = session.client("sts").assume_role(RoleArn=role, RoleSessionName="ctr-fanout-reconcile")["Credentials"]

    def client(service: str) -> Any:  # noqa: ANN401
        make: Any = session.client
        return make(
            service,
            aws_access_key_id=taken["AccessKeyId"],
            aws_secret_access_key=taken["SecretAccessKey"],
            aws_session_token=taken["SessionToken"],
        )

    return client


type Balances = dict[str, dict[RouteName, Balance]]
"""By shard id and route."""


def balances(client: Any, target: Target, table: RouteTable, range_: Range) -> Balances:  # noqa: ANN401
    """Read the stream, list and look at the objects, and compare shard by shard.

    Args:
        client: Makes boto3 clients by service: `boto3.client` or the method of a session.
        target: The stack.
        table: The routes that are deployed.
        range_: What to compare.
    """
    stream = StreamReader(client("kinesis"), target.stream_arn)
    settings = Settings(
        bucket=target.bucket,
        bucket_owner=target.account,
        key_arns={},
        checkpoint_table=None,
        stream_arn=target.stream_arn,
        service="ctr-fanout",
    )
    decoder = Decoder(table.paths)
    nobody = Invocation("reconcile", lambda: 0.0)
    checkpoint = (
        CheckpointTable(client("dynamodb"), target.checkpoint_table, nobody)
        if target.checkpoint_table
        else NoCheckpoint()
    )
    found: Balances = {}
    with ThreadPoolExecutor(_PARALLEL_LOOKS) as workers:
        inventory = Inventory(Bucket(client("s3"), settings.bucket, settings.bucket_owner), table, workers)
        known_shards = list(stream.shards())
        if range_.shard is not None and range_.shard not in known_shards:
            raise ReconcileError(f"no shard {range_.shard!r} in the stream; it has {', '.join(known_shards)}")
        shards = [Shard(target.stream_arn, name) for name in known_shards if range_.shard in {None, name}]
        progress = {shard: checkpoint.look(shard) for shard in shards}
        listed = inventory.everything()  # after the watermarks, so that nothing before them is missed
        for shard, known in progress.items():
            records = _records(stream, shard.shard_id, range_, decoder)
            first = next(records, None)
            names = [one.name for one in listed[shard.stream_name, shard.shard_id] if one.name is not None]
            found[shard.shard_id] = reconcile(
                records if first is None else chain([first], records),
                [] if first is None else list(inventory.between(names, first.position, None, known.intents)),
                table,
                watermarks=known.watermarks_of(table.prefixes),
                intents=known.intents,
                due_before=time.time() - range_.late_after,
            )
    return found


def holds(found: Balances) -> bool:
    """Return True if nothing is late, missing, duplicated or unexpected."""
    return all(balance.holds for by_route in found.values() for balance in by_route.values())


def compared(found: Balances) -> int:
    """Return how many records were expected and objects met: 0 means that nothing was compared."""
    every = (balance for by_route in found.values() for balance in by_route.values())
    return sum(one.expected + one.delivered + one.dead_lettered + len(one.unexpected) for one in every)


def verdict(found: Balances) -> str:
    """Return what it comes to, in one line."""
    every = [balance for by_route in found.values() for balance in by_route.values()]
    if not compared(found):
        return "nothing was compared: the stream holds no record of that time that a route takes"
    records = sum(one.expected for one in every)
    if holds(found):
        pending = sum(one.pending for one in every)
        waits = f", {pending} still to come" if pending else ""
        return f"{records} deliveries of {len(found)} shards compared: none late, missing, doubled or unexpected{waits}"
    names = ("late", "missing", "duplicated", "unexpected")
    counts = [f"{sum(len(getattr(one, name)) for one in every)} {name}" for name in names]
    return f"{records} deliveries of {len(found)} shards compared: {', '.join(counts)}"


def show(found: Balances, console: Console) -> None:
    """Print one line for each route and shard with records, then what is wrong, by name and number."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("shard", "route"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("expected", "delivered", "dead-lettered", "pending", "late", "missing", "duplicated", "unexpected"):
        shown.add_column(heading, justify="right")
    wrong: list[str] = []
    for shard_id, by_route in found.items():
        for route, one in by_route.items():
            if not one.expected and one.holds:
                continue
            counts = one.expected, one.delivered, one.dead_lettered, one.pending
            lists = len(one.late), len(one.missing), len(one.duplicated), len(one.unexpected)
            shown.add_row(shard_id, route, *map(str, (*counts, *lists)))
            wrong += [f"late: {route}, {shard_id}, {number}" for number in one.late]
            wrong += [f"missing: {route}, {shard_id}, {number}" for number in one.missing]
            wrong += [f"duplicated: {route}, {shard_id}, {number}" for number in one.duplicated]
            wrong += [f"unexpected: {key}: {why}" for key, why in one.unexpected]
    console.print(shown)
    for line in wrong[:_MOST_SHOWN]:
        console.print(line, markup=False, soft_wrap=True)
    if len(wrong) > _MOST_SHOWN:
        console.print(f"and {len(wrong) - _MOST_SHOWN} more; --json prints all")


def as_lines(found: Balances) -> Iterator[str]:
    """Return one JSON object for each route and shard."""
    for shard_id, by_route in found.items():
        for route, one in by_route.items():
            fields: Mapping[str, Any] = {name: getattr(one, name) for name in one.__slots__}
            yield json.dumps({"shard": shard_id, "route": route, **fields})


def _records(stream: StreamReader, shard_id: str, range_: Range, decoder: Decoder) -> Iterator[Record]:
    start = Start("TRIM_HORIZON") if range_.since is None else Start("AT_TIMESTAMP", range_.since)
    for event, _, _ in stream.read(shard_id, start, until=range_.until):
        yield from decoder.decode(event)[1]
