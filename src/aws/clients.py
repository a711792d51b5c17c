"""AWS clients, made once per cold start, with time-outs that fit an invocation."""

from functools import cache
from typing import TYPE_CHECKING, cast

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

PARALLEL_PUTS = 16

# botocore waits 60 s for a connection and for an answer by default: a black-holed endpoint would take the
# whole invocation. Standard mode retries throttles, 5xx and time-outs with jittered back-off.
# https://docs.aws.amazon.com/boto3/latest/guide/retries.html
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=PARALLEL_PUTS,
    tcp_keepalive=True,
    user_agent_extra="ctr-fanout",
)


def s3_client() -> "S3Client":
    """Make the client that puts objects."""
    return cast("S3Client", _session().create_client("s3", config=_CONFIG))


def dynamodb_client() -> "DynamoDBClient":
    """Make the client of the checkpoint table."""
    return cast("DynamoDBClient", _session().create_client("dynamodb", config=_CONFIG))


def kms_client() -> "KMSClient":
    """Make the client that asks for the keys of protection."""
    return cast("KMSClient", _session().create_client("kms", config=_CONFIG))


def lambda_client() -> "LambdaClient":
    """Make the client that reads the state of the mapping."""
    return cast("LambdaClient", _session().create_client("lambda", config=_CONFIG))


def kinesis_client() -> "KinesisClient":
    """Make the client that tries to read the stream."""
    return cast("KinesisClient", _session().create_client("kinesis", config=_CONFIG))


# botocore, of which boto3 is made: what boto3 adds, resources and transfers of large files, takes a tenth of a cold start.
@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()
