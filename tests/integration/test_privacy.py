"""No value of a record leaves the function but inside an object: not in a log, metric, key or answer.

A marker stands in every field of every kind of record, and every failure path is driven.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routing.lambda_event import event_of_documents
from tests.builders import agent_event, claim, contact, segment

ROOT = Path(__file__).parents[2]
MARKER = "marker-7351"

# Runs the function on moto in a fresh interpreter, so that all that it writes is seen, and fails as told.
SCRIPT = """
import json, sys, time
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
with mock_aws():
    from aws.invocation import Invocation
    from aws.s3_sink import S3Sink
    from operations.replay.request import ReplayRequest
    from aws.kms_vault import KmsVault
    from handlers.wiring.fan_out import FanOut
    from handlers.wiring.replay import Replay
    from tests.builders import ROUTES, lines_in, table
    from tests.integration.conftest import Aws, BUCKET, TABLE
    aws = Aws(*(boto3.client(name, region_name="ap-northeast-1") for name in ("s3", "dynamodb", "kms")))
    aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    if sys.argv[1] != "no-table":
        aws.dynamodb.create_table(
            TableName=TABLE, KeySchema=[{"AttributeName": "shard", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "shard", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST")
    how = sys.argv[1]
    sealed = "[[routes.protect]]\\nhash = ['ContactId']\\n[[routes.protect]]\\nseal = ['**']\\n"
    routes = table(ROUTES.replace('prefix = "claims"\\n', 'prefix = "claims"\\n' + sealed))
    environment = aws.environment(routes)
    function = FanOut(environment, routes)
    put, token_key = S3Sink._put, KmsVault.token_key
    if how in ("no-hash-key", "replay"):
        def refuse(self, scope):
            from aws.s3_sink import classified
            err = ClientError({"Error": {"Code": "DisabledException", "Message": "about marker-7351"}}, "GenerateMac")
            raise classified("the hash key", "hash", err) from err
        KmsVault.token_key = refuse
    if how in ("denied", "throttled", "replay"):
        code = {"throttled": "SlowDown"}.get(how, "KMS.DisabledException")
        def fail(self, rendered):
            if rendered.route == ("all" if how == "replay" else "claims"):
                raise ClientError({"Error": {"Code": code, "Message": "about marker-7351"}}, "PutObject")
            put(self, rendered)
        S3Sink._put = fail
    seconds = 1.0 if sys.argv[1] == "out-of-time" else 60.0
    try:
        print("answer", function(json.load(sys.stdin), Invocation("id-1", lambda: seconds)))
        if how == "replay":
            S3Sink._put, KmsVault.token_key = put, token_key
            boto3.client("kinesis", region_name="ap-northeast-1").create_stream(StreamName="ctr-fanout", ShardCount=1)
            arn = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
            replay = Replay({**environment, "STREAM_ARN": arn}, routes)
            for hours in (0, 2):
                later = Invocation("id-2", lambda: 600.0, now=lambda: time.time() + 3600 * hours)
                print("replayed", replay(ReplayRequest(source="dead-letters", apply=True), later))
    finally:
        for entry in aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="claims/").get("Contents", []):
            print("sealed", lines_in(aws.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()))
        for entry in aws.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            head = aws.s3.head_object(Bucket=BUCKET, Key=entry["Key"])
            print("object", entry["Key"], head["Metadata"])
        print("rows", aws.dynamodb.scan(TableName=TABLE)["Items"] if sys.argv[1] != "no-table" else [])
"""


def marked(shape: Any) -> dict[str, Any]:
    return dict.fromkeys(shape, MARKER)


def documents() -> list[bytes]:
    fields = {"CustomerEndpoint": {"Address": MARKER}, "Attributes": {MARKER: MARKER}, "DisconnectTimestamp": MARKER}
    fields |= {"Queue": {"Name": f"Claims {MARKER}"}, "Channel": MARKER, "Agent": {"Username": MARKER}}
    aggregate = b"\xf3\x89\x9a\xc2" + MARKER.encode() * 4
    return [
        contact(**{**fields, "ContactId": MARKER}),
        claim(**{name: value for name, value in fields.items() if name != "Queue"}),
        agent_event(EventType=MARKER, Configuration={"FirstName": MARKER}),
        segment(Transcript=MARKER),
        json.dumps({MARKER: [MARKER]}).encode(),
        MARKER.encode(),
        b'{"' + MARKER.encode(),
        b'{"a":"' + MARKER.encode() + b'\xff"}',
        b'["' + MARKER.encode() + b'"]',
        b'{"a":NaN,"b":"' + MARKER.encode() + b'"}',
        b'{"' + MARKER.encode() + b'":' + b"[" * 100_000,
        aggregate,
    ]


def run(how: str, event: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how],
        input=json.dumps(event),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": f"{ROOT}/src:{ROOT}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "ap-northeast-1",
            "POWERTOOLS_LOG_LEVEL": "DEBUG",
        },
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", ["well", "denied", "throttled", "out-of-time", "no-table", "no-hash-key", "replay"])
def test_nothing_that_the_function_says_holds_a_value_of_a_record(how: str) -> None:
    said = run(how, event_of_documents(documents()))
    assert ("answer {'batchItemFailures'" if how != "out-of-time" else "OutOfTimeError: batch of 12 records") in said
    assert "batch processed" in said
    assert MARKER not in said
    assert ("sealed [b'{" in said) == (how in {"well", "replay"}), (
        "nothing of a protected route was there to be looked at"
    )
    assert ("'blocked_by': ''" in said) == (how == "replay"), "nothing was replayed"


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event["Records"][0]["kinesis"].update(sequenceNumber=MARKER),
        lambda event: event["Records"][0]["kinesis"].update(data=[MARKER]),
        lambda event: event["Records"][0]["kinesis"].update(data=MARKER),
        lambda event: event["Records"][0].update(eventID=f"{MARKER}!:1"),
        lambda event: event["Records"][1].update(eventSourceARN=MARKER),
        lambda event: event["Records"][1]["kinesis"].update(approximateArrivalTimestamp=MARKER),
    ],
)
def test_no_message_about_a_malformed_event_holds_a_value_of_it(change: Any) -> None:
    event = event_of_documents([contact(), contact()])
    change(event)
    said = run("well", event)
    assert "EventError" in said or "answer" in said
    assert MARKER not in said
