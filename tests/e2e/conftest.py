"""The emulator with the project's own template deployed, once for all tests of this folder."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from aws.route_file import shipped_routes
from local.comparable import Comparable
from local.deployment import Deployed, build, deploy, mend
from local.emulator import Emulator, emulator
from local.event_source import EventSource
from local.people import admit, make_roles
from local.reconcile import DeliveredObject, Reconciliation, delivered_objects, reconcile
from routing.lambda_event import Event
from routing.table.routes import RouteTable

_SHARDS = 2
_RETENTION_HOURS = 336


@dataclass
class Stack:
    """A deployed stack on a running emulator."""

    emulator: Emulator
    deployed: Deployed
    table: RouteTable
    sent: list[bytes] = field(default_factory=list)

    def client(self, service: str, **_: Any) -> Any:
        """Make a client as boto3 would, whatever its configuration."""
        return self.emulator.client(service)

    def invoke(self, event: Event) -> Any:
        answer = self.emulator.client("lambda").invoke(FunctionName=self.deployed.function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    def deliver(self, event: Event) -> None:
        """Put the records of an event into the stream, and deliver them: the function takes no others."""
        records = [
            {"Data": base64.b64decode(one["kinesis"]["data"]), "PartitionKey": one["kinesis"]["partitionKey"]}
            for one in event["Records"]
        ]
        self.emulator.client("kinesis").put_records(StreamName=self.deployed.stream, Records=records)
        EventSource(self.emulator.client, self.deployed.mapping).drain()

    def role(self, logical_id: str) -> str:
        """Return the ARN of a role of the stack."""
        name = self.deployed.resources[logical_id]
        arn: str = self.emulator.client("iam").get_role(RoleName=name)["Role"]["Arn"]
        return arn

    def key(self, name: str) -> str:
        """Return the ARN of the key of a route, or of the stream."""
        return self.deployed.key_arn(name)

    def objects(self) -> list[DeliveredObject]:
        return list(delivered_objects(self.emulator, self.deployed, self.table))

    def reconcile(self, sent: Iterable[bytes], objects: Iterable[DeliveredObject] | None = None) -> Reconciliation:
        """Hold what was sent against what stands, or against other objects."""
        found = self.objects() if objects is None else objects
        return reconcile(sent, found, self.table, Comparable(self.emulator, self.deployed, self.table))

    def clear(self) -> None:
        """Empty the bucket of every version, forget the checkpoint, and make the stream anew: no test sees another's."""
        s3, dynamodb = self.emulator.client("s3"), self.emulator.client("dynamodb")
        self._renew_stream()
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=self.deployed.bucket):
            for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                s3.delete_object(Bucket=self.deployed.bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        table = self.deployed.resources["CheckpointTable"]
        for row in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={"shard": row["shard"]})

    def _renew_stream(self) -> None:
        kinesis, name = self.emulator.client("kinesis"), self.deployed.stream
        kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
        kinesis.create_stream(StreamName=name, ShardCount=_SHARDS)
        kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=_RETENTION_HOURS)
        kinesis.start_stream_encryption(
            StreamName=name, EncryptionType="KMS", KeyId=self.deployed.resources["StreamKey"]
        )


@pytest.fixture(scope="session")
def bundle() -> None:
    build()


@pytest.fixture(scope="session")
def deployed_stack(bundle: None) -> Iterator[Stack]:
    with emulator() as running:
        deployed = deploy(running)
        list(mend(running, deployed))
        _stop_the_schedule(running, deployed)
        yield Stack(running, deployed, shipped_routes())


@pytest.fixture(scope="session")
def enforcing_stack(bundle: None) -> Iterator[Stack]:
    """Deploy where nothing passes that the policies do not allow, with readers and a replay role."""
    with emulator(is_enforcing=True) as running:
        deployed = deploy(running, **make_roles(running), Erasure="on", Parquet="on")
        list(mend(running, deployed))
        admit(running, deployed)
        _stop_the_schedule(running, deployed)
        yield Stack(running, deployed, shipped_routes())


def _stop_the_schedule(running: Emulator, deployed: Deployed) -> None:
    """Disable the rules that run functions: what they put would be counted. Tests invoke them."""
    schedules = [name for name in deployed.resources if name.startswith("ConvertSchedule")]
    for rule in ("GrantCheckSchedule", "KeyChangedRule", "StreamChangedRule", *schedules):
        running.client("events").disable_rule(Name=deployed.resources[rule])


@pytest.fixture
def enforced(enforcing_stack: Stack) -> Stack:
    enforcing_stack.emulator.kill_workers()  # the functions remember what was refused, and one may still be running
    enforcing_stack.clear()
    return enforcing_stack


@pytest.fixture
def stack(deployed_stack: Stack) -> Stack:
    deployed_stack.clear()
    return deployed_stack
