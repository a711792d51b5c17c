"""The event source against a real stream and a function that is not ours: shards, positions, destinations."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from copy import replace
from typing import Any

import pytest

from local.emulator import Emulator, emulator
from local.event_source import EventSource
from routing.lambda_event import ACCOUNT, REGION

# It keeps what it saw in a bucket, and fails on what it is told to.
_CODE = """
import boto3, base64, json, os
def handler(event, context):
    data = [base64.b64decode(r["kinesis"]["data"]).decode() for r in event["Records"]]
    numbers = [r["kinesis"]["sequenceNumber"] for r in event["Records"]]
    if "raise" in data:
        raise RuntimeError("told to")
    seen = data[:data.index("bad")] if "bad" in data else data
    s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    s3.put_object(Bucket="seen", Key=f"{event['Records'][0]['eventID']}-{context.aws_request_id}", Body=json.dumps(seen))
    return {"batchItemFailures": [{"itemIdentifier": numbers[data.index("bad")]}] if "bad" in data else []}
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with emulator() as running:
        running.client("s3").create_bucket(Bucket="seen", CreateBucketConfiguration={"LocationConstraint": REGION})
        running.client("s3").create_bucket(Bucket="given-up", CreateBucketConfiguration={"LocationConstraint": REGION})
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = running.client("iam").create_role(
            RoleName="reader", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("code.py", _CODE)
        running.client("lambda").create_function(
            FunctionName="sees", Runtime="python3.13", Role=role, Handler="code.handler",
            Code={"ZipFile": packed.getvalue()}, Environment={"Variables": {"AWS_ENDPOINT_URL": running.url}},
        )  # fmt: skip
        yield running


class Scene:
    """A stream of its own, and a mapping on it."""

    def __init__(self, aws: Emulator, name: str, *, shards: int = 1) -> None:
        self.aws, self.name = aws, name
        self.kinesis = aws.client("kinesis")
        self.kinesis.create_stream(StreamName=name, ShardCount=shards)
        bucket = aws.client("s3")
        for entry in bucket.list_objects_v2(Bucket="seen").get("Contents", []):
            bucket.delete_object(Bucket="seen", Key=entry["Key"])

    def source(self, **settings: Any) -> EventSource:
        made = self.aws.client("lambda").create_event_source_mapping(
            FunctionName="sees",
            EventSourceArn=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.name}",
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **{"StartingPosition": "TRIM_HORIZON", "BatchSize": 3, "Enabled": False, **settings},
        )
        # The emulator starts its own poller whatever it is told.
        self.aws.client("lambda").update_event_source_mapping(UUID=made["UUID"], Enabled=False)
        return EventSource(self.aws.client, made["UUID"])

    def put(self, *texts: str, key: str = "k") -> list[str]:
        return [
            self.kinesis.put_record(StreamName=self.name, Data=text.encode(), PartitionKey=key)["SequenceNumber"]
            for text in texts
        ]

    def seen(self) -> list[str]:
        s3 = self.aws.client("s3")
        keys = sorted(entry["Key"] for entry in s3.list_objects_v2(Bucket="seen").get("Contents", []))
        bodies = (json.loads(s3.get_object(Bucket="seen", Key=key)["Body"].read()) for key in keys)
        return [text for body in bodies for text in body]


def test_records_arrive_in_order_in_batches(aws: Emulator) -> None:
    scene = Scene(aws, "order")
    scene.put("a", "b", "c", "d", "e")
    source = scene.source()
    assert source.drain() == 2
    assert scene.seen() == ["a", "b", "c", "d", "e"]
    assert source.drain() == 0, "what is settled is not read again"
    scene.put("f")
    source.drain()
    assert scene.seen()[-1] == "f"


def test_partial_failure_comes_again_from_the_failure_and_is_handed_over_with_its_payload(aws: Emulator) -> None:
    scene = Scene(aws, "partial")
    numbers = scene.put("a", "bad", "c", "d")
    source = scene.source(
        MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::given-up"}}
    )
    source.drain()
    assert scene.seen() == ["a", "d"]
    s3 = aws.client("s3")
    (entry,) = s3.list_objects_v2(Bucket="given-up")["Contents"]
    message = json.loads(s3.get_object(Bucket="given-up", Key=entry["Key"])["Body"].read())
    assert message["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert message["KinesisBatchInfo"]["startSequenceNumber"] == numbers[1]
    given_up = [record["kinesis"]["sequenceNumber"] for record in json.loads(message["payload"])["Records"]]
    assert given_up == numbers[1:3]
    assert (source.counts.handed_over, source.counts.discarded) == (2, 0)


@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_queue_and_topic_get_metadata(aws: Emulator, service: str) -> None:
    scene = Scene(aws, f"to-{service}")
    queue = aws.client("sqs").create_queue(QueueName=f"given-up-{service}")["QueueUrl"]
    arn = f"arn:aws:{service}:{REGION}:{ACCOUNT}:given-up-{service}"
    if service == "sns":
        aws.client("sns").create_topic(Name=f"given-up-{service}")
        target = f"arn:aws:sqs:{REGION}:{ACCOUNT}:given-up-{service}"
        aws.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=target)
    scene.put("raise", "b")
    scene.source(
        MaximumRetryAttempts=0,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    ).drain()
    (got,) = aws.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]
    body = json.loads(got["Body"])
    message = json.loads(body["Message"]) if service == "sns" else body
    assert message["KinesisBatchInfo"]["batchSize"] == 1
    assert "payload" not in message
    assert message["responseContext"]["functionError"] == "Unhandled"
    assert scene.seen() == ["b"]


def test_latest_begins_with_what_comes_after_the_start(aws: Emulator) -> None:
    scene = Scene(aws, "latest")
    scene.put("before")
    source = scene.source(StartingPosition="LATEST")
    source.start()
    scene.put("after")
    source.drain()
    assert scene.seen() == ["after"]


def test_timestamp_begins_with_what_arrived_then(aws: Emulator) -> None:
    scene = Scene(aws, "timestamp")
    scene.put("before")
    time.sleep(1.1)
    at = time.time()
    time.sleep(1.1)
    scene.put("after")
    source = scene.source()
    source.mapping = replace(
        source.mapping, starting_position="AT_TIMESTAMP", starting_at=at
    )  # which the emulator drops
    source.drain()
    assert scene.seen() == ["after"]


def test_lost_checkpoint_brings_records_again(aws: Emulator) -> None:
    scene = Scene(aws, "lost")
    numbers = scene.put("a", "b", "c")
    source = scene.source()
    source.drain()
    source.lose_checkpoint("shardId-000000000000", back_to=numbers[1])
    source.drain()
    assert sorted(scene.seen()) == ["a", "b", "b", "c", "c"]


def test_window_gathers_small_batches_into_one(aws: Emulator) -> None:
    scene = Scene(aws, "window")
    source = scene.source(BatchSize=100)
    source.mapping = replace(source.mapping, window_seconds=2)  # which the emulator drops
    scene.put("a", "b")
    end = time.time() + 3
    assert source.run(lambda: time.time() > end) == 1
    assert scene.seen() == ["a", "b"]
