"""What the function has delivered, by the shipped routes, as a folder with the tables of the template over it."""

import json
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from aws.invocation import Invocation
from aws.route_file import shipped_routes
from doctor.resolve import Resolver
from handlers.wiring.convert import Convert
from handlers.wiring.fan_out import FanOut
from local.lake import Lake, lake_of
from local.traffic import Traffic
from local.translate import Template, translated
from routing.lambda_event import event_of_documents
from routing.table.routes import RouteTable
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


@pytest.fixture(params=["lines", "columns"])
def lake(request: pytest.FixtureRequest, lakes: dict[str, Lake]) -> Lake:
    """Return the delivered objects, of which columns were made or not: every answer has to be the same."""
    return lakes[request.param]


@pytest.fixture(scope="session")
def lakes(sent: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lake]:
    """Return delivered objects, and the same with columns of them."""
    table = shipped_routes()
    folders = {name: tmp_path_factory.mktemp(name) for name in ("lines", "columns")}
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
        _download(aws, folders["lines"])
        _convert(aws, table)
        _download(aws, folders["columns"])
    return {name: lake_of(folder, table) for name, folder in folders.items()}


def _download(aws: Aws, folder: Path) -> None:
    for entry in aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        file = folder / entry["Key"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(aws.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())


def _convert(aws: Aws, table: RouteTable) -> None:
    """Make columns as the schedule does: of all days, and on the route with several of all but the newest."""
    keys = [entry["Key"] for entry in aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    function = Convert(aws.environment(table), table)
    for route in table.routes:
        days = {key.partition("date=")[2][:10] for key in keys if key.startswith(f"{route.prefix}/")}
        newest = datetime.fromisoformat(f"{max(days, default='2026-03-02')}T12:00:00Z")
        now = (newest if len(days) > 1 else newest + timedelta(days=1)).timestamp()
        done = function({"route": route.name}, Invocation("i", lambda: 900.0, now=partial(float, now)))
        assert done["next"] is None
        assert not any(result["blocked_by"] for result in done["results"])
        assert bool(done["results"]) == bool(days)
