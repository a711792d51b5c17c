"""The emulator with the project's own template deployed, once for all tests of this folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.lambda_event import Event
from handlers.route_file import shipped_routes
from local.deployment import Deployed, build, deploy, mend
from local.emulator import Emulator, emulator
from local.reconcile import Standing, standing_objects
from routing.routes import RouteTable


@dataclass
class Stack:
    """A deployed stack on a running emulator."""

    emulator: Emulator
    deployed: Deployed
    table: RouteTable

    def invoke(self, event: Event) -> Any:
        answer = self.emulator.client("lambda").invoke(FunctionName=self.deployed.function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    def objects(self) -> list[Standing]:
        return list(standing_objects(self.emulator, self.deployed, self.table))

    def clear(self) -> None:
        """Empty the bucket and forget the checkpoint."""
        s3, dynamodb = self.emulator.client("s3"), self.emulator.client("dynamodb")
        for entry in s3.list_objects_v2(Bucket=self.deployed.bucket).get("Contents", []):
            s3.delete_object(Bucket=self.deployed.bucket, Key=entry["Key"])
        table = self.deployed.resources["CheckpointTable"]
        for row in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={"shard": row["shard"]})


@pytest.fixture(scope="session")
def deployed_stack() -> Iterator[Stack]:
    build()
    with emulator() as running:
        deployed = deploy(running)
        list(mend(running, deployed))
        yield Stack(running, deployed, shipped_routes())


@pytest.fixture
def stack(deployed_stack: Stack) -> Stack:
    deployed_stack.clear()
    return deployed_stack
