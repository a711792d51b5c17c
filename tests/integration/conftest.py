"""moto in process: a bucket, a key per route and the checkpoint table, as the template makes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from aws.invocation import Invocation
from aws.settings import key_variable
from handlers.wiring.fan_out import FanOut
from routing.table.routes import HASH_KEY, RouteTable
from tests.builders import lines_in

BUCKET = "ctr-fanout-111122223333-ap-northeast-1"
TABLE = "ctr-fanout-checkpoint"
STREAM_ARN = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
_REGION = "ap-northeast-1"
_KINDS = {HASH_KEY: {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}}


@dataclass
class Aws:
    """What the tests need of the mocked account."""

    s3: Any
    dynamodb: Any
    kms: Any

    def environment(self, table: RouteTable) -> dict[str, str]:
        """Make a key for every route and return the function's variables."""
        names = (*(route.name for route in table.all_routes), *table.protection_keys)
        keys = {key_variable(name): self.kms.create_key(**_KINDS.get(name, {}))["KeyMetadata"]["Arn"] for name in names}
        return {
            "BUCKET": BUCKET,
            "BUCKET_OWNER": "111122223333",
            "CHECKPOINT_TABLE": TABLE,
            "STREAM_ARN": STREAM_ARN,
            "MAPPING_ID": "mapping",
            "AWS_SAM_LOCAL": "true",  # sample events are in no stream
            **keys,
        }

    def fan_out(self, table: RouteTable) -> FanOut:
        return FanOut(self.environment(table), table)

    def lines(self) -> dict[str, list[bytes]]:
        """Return every object's lines by its key; columns are none."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        keys = [entry["Key"] for entry in listed if "/parquet/" not in entry["Key"]]
        return {key: lines_in(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}


@pytest.fixture
def aws() -> Iterator[Aws]:
    with mock_aws():
        made = Aws(*(boto3.client(service, region_name=_REGION) for service in ("s3", "dynamodb", "kms")))
        made.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": _REGION})
        made.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "shard", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "shard", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield made


@pytest.fixture
def invocation() -> Invocation:
    return Invocation("invocation-1", lambda: 60.0)
