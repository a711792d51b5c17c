"""The event source on moto's streams, which keep a closed shard as AWS does and the emulator does not."""

import io
import json
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.event_source import EventSource

_STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/s"


class FakeLambda:
    """A function that answers as it is told, and keeps the order of what it saw."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.order: list[str] = []
        self.failures: dict[str, int] = {}

    def get_event_source_mapping(self, **_: Any) -> dict[str, Any]:
        return {"UUID": "u", "EventSourceArn": _STREAM, "FunctionArn": "f", "BatchSize": 2, **self.settings}

    def get_function_configuration(self, **_: Any) -> dict[str, Any]:
        return {"Role": "role"}

    def invoke(self, *, Payload: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        numbers = [record["kinesis"]["partitionKey"] for record in json.loads(Payload)["Records"]]
        failing = [number for number in numbers if self.failures.get(number, 0) > 0]
        for number in failing:
            self.failures[number] -= 1
        if not failing:
            self.order += numbers
        metadata = {"ResponseMetadata": {"RequestId": "r"}, "Payload": io.BytesIO(b"null")}
        return metadata | ({"FunctionError": "Unhandled"} if failing else {})


@pytest.fixture
def kinesis() -> Any:
    with mock_aws():
        client = boto3.client("kinesis")
        client.create_stream(StreamName="s", ShardCount=1)
        yield client


def source(kinesis: Any, function: FakeLambda) -> EventSource:
    return EventSource(lambda service, **_: function if service == "lambda" else kinesis, "u")


def put(kinesis: Any, *keys: str) -> None:
    for key in keys:
        kinesis.put_record(StreamName="s", Data=b"{}", PartitionKey=key)


def test_children_of_a_split_come_after_their_parent_and_a_merge_after_both(kinesis: Any) -> None:
    function = FakeLambda()
    put(kinesis, "p1", "p2", "p3")
    kinesis.split_shard(StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    children = [f"c{number}" for number in range(8)]
    put(kinesis, *children)
    kinesis.merge_shards(
        StreamName="s", ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    put(kinesis, "m1", "m2")
    source(kinesis, function).drain()
    assert function.order[:3] == ["p1", "p2", "p3"]
    assert sorted(function.order[3:11]) == children
    assert function.order[11:] == ["m1", "m2"]


def test_failing_parent_holds_its_children_back(kinesis: Any) -> None:
    function = FakeLambda(BisectBatchOnFunctionError=True)
    function.failures = {"p2": 5}
    put(kinesis, "p1", "p2")
    kinesis.split_shard(StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    put(kinesis, "c1", "c2", "c3")
    source(kinesis, function).drain()
    assert function.order[:2] == ["p1", "p2"]
    assert sorted(function.order[2:]) == ["c1", "c2", "c3"]


def test_lanes_of_a_shard_all_come_to_rest(kinesis: Any) -> None:
    function = FakeLambda(ParallelizationFactor=4)
    keys = [f"key-{number % 6}" for number in range(40)]
    put(kinesis, *keys)
    source(kinesis, function).drain()
    assert sorted(function.order) == sorted(keys)


def test_without_a_destination_what_is_given_up_is_discarded_and_counted(kinesis: Any) -> None:
    function = FakeLambda(MaximumRetryAttempts=0)
    function.failures = {"bad": 99}
    put(kinesis, "bad", "b", "c")
    made = source(kinesis, function)
    made.drain()
    assert function.order == ["c"]
    assert (made.counts.polled, made.counts.discarded) == (3, 2)
