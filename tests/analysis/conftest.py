"""What the function has delivered, by the shipped routes, as a folder with the tables of the template over it."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from aws.invocation import Invocation
from aws.route_file import shipped_routes
from doctor.resolve import Resolver
from handlers.wiring import FanOut
from local.lake import Lake, lake_of
from local.traffic import Traffic
from local.translate import Template, translated
from routing.lambda_event import event_of_documents
from tests.integration.conftest import BUCKET, TABLE, Aws

_RECORDS = 400
_SAMPLES = sorted(Path("events/records").glob("*.json"))


@pytest.fixture(scope="session")
def template() -> Template:
    return translated()


@pytest.fixture(scope="session")
def resources(template: Template) -> dict[str, Any]:
    return Resolver(template, {}).resources()


@pytest.fixture(scope="session")
def sent() -> list[dict[str, Any]]:
    """Varied traffic, and the samples: one contact that comes three times among them, and an agent at work."""
    records = [json.loads(record) for record in Traffic(seed=7).records(_RECORDS)]
    return [*records, *(json.loads(path.read_text()) for path in _SAMPLES)]


@pytest.fixture(scope="session")
def lake(sent: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder, table = tmp_path_factory.mktemp("bucket"), shipped_routes()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "ap-northeast-1")
        aws = Aws(*(boto3.client(service, region_name="ap-northeast-1") for service in ("s3", "dynamodb", "kms")))
        aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
        aws.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "shard", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "shard", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        documents = [json.dumps(record).encode() for record in sent]
        FanOut(aws.environment(table), table)(event_of_documents(documents), Invocation("i", lambda: 60.0))
        for entry in aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            file = folder / entry["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(aws.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
    return lake_of(folder, table)
