"""The contract of local/enforcing.py: what the emulator has to refuse as AWS does, probed from outside."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.people import role_arn
from tests.e2e.conftest import Stack

ORDERS = "departments/orders/probe"


def code(call: Any, **request: Any) -> str:
    """Return what AWS would answer: a code, or `ok`."""
    try:
        call(**request)
    except ClientError as err:
        return str(err.response["Error"]["Code"])
    return "ok"


def put(stack: Stack, role: str, **changes: Any) -> str:
    """Put as the function does, but for the changes; None takes a header away."""
    request = {
        "Bucket": stack.deployed.bucket,
        "Key": ORDERS,
        "Body": b"x",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": stack.key("orders"),
        "IfNoneMatch": "*",
        **changes,
    }
    kept = {name: value for name, value in request.items() if value is not None}
    return code(stack.emulator.client("s3", role=role).put_object, **kept)


@pytest.fixture
def function(enforced: Stack) -> str:
    return enforced.role("FanOutRole")


def test_put_as_the_function_does_is_allowed(enforced: Stack, function: str) -> None:
    assert put(enforced, function) == "ok"
    etag = enforced.emulator.client("s3", role=function).head_object(Bucket=enforced.deployed.bucket, Key=ORDERS)[
        "ETag"
    ]
    assert put(enforced, function, IfNoneMatch=None, IfMatch=etag) == "ok"


def test_put_that_differs_in_one_header_is_refused(enforced: Stack, function: str) -> None:
    other = enforced.key("billing")
    assert put(enforced, function, SSEKMSKeyId=other) == "AccessDenied"
    assert put(enforced, function, ServerSideEncryption=None, SSEKMSKeyId=None) == "AccessDenied"
    assert put(enforced, function, ServerSideEncryption="AES256", SSEKMSKeyId=None) == "AccessDenied"
    assert put(enforced, function, IfNoneMatch=None) == "AccessDenied"
    assert put(enforced, function, Key="nowhere/probe") == "AccessDenied"
    assert enforced.objects() == []


def test_reading_asks_kms_and_looking_does_not(enforced: Stack, function: str) -> None:
    """The function sees that an object is there and cannot open it; its reader can, another route's cannot."""
    assert put(enforced, function) == "ok"
    where = {"Bucket": enforced.deployed.bucket, "Key": ORDERS}
    as_function = enforced.emulator.client("s3", role=function)
    assert code(as_function.head_object, **where) == "ok"
    assert code(as_function.get_object, **where) == "AccessDenied"
    assert code(enforced.emulator.client("s3", role=role_arn("ReaderOf-orders")).get_object, **where) == "ok"
    assert code(enforced.emulator.client("s3", role=role_arn("ReaderOf-billing")).get_object, **where) == "AccessDenied"


def test_what_is_not_there_is_refused_to_who_may_not_list_the_whole_bucket(enforced: Stack) -> None:
    where = {"Bucket": enforced.deployed.bucket, "Key": ORDERS}
    for role in (enforced.role("ConvertRole"), enforced.role("EraseRole"), enforced.role("ReplayRole")):
        client = enforced.emulator.client("s3", role=role)
        with pytest.raises(ClientError, match="403"):
            client.head_object(**where)
    assert code(enforced.emulator.client("s3").get_object, **where) == "NoSuchKey"


def test_key_that_is_disabled_refuses_behind_s3(enforced: Stack, function: str) -> None:
    kms = enforced.emulator.client("kms")
    key = enforced.key("orders")
    kms.disable_key(KeyId=key)
    try:
        assert put(enforced, function) == "KMS.DisabledException"
    finally:
        kms.enable_key(KeyId=key)
    assert put(enforced, function) == "ok"


def test_kms_itself_is_closed_to_the_function(enforced: Stack, function: str) -> None:
    """Its grants hold through S3 and Kinesis only."""
    kms = enforced.emulator.client("kms", role=function)
    request = {"KeyId": enforced.key("orders"), "KeySpec": "AES_256"}
    assert code(kms.generate_data_key, **request) == "AccessDeniedException"


def test_stream_is_read_by_the_function_and_nobody_else(enforced: Stack, function: str) -> None:
    arn = f"arn:aws:kinesis:ap-northeast-1:111122223333:stream/{enforced.deployed.stream}"

    def read(role: str) -> str:
        kinesis = enforced.emulator.client("kinesis", role=role)
        shard = {"StreamARN": arn, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        try:
            iterator = kinesis.get_shard_iterator(**shard)["ShardIterator"]
            kinesis.get_records(ShardIterator=iterator, StreamARN=arn)
        except ClientError as err:
            return str(err.response["Error"]["Code"])
        return "ok"

    assert read(function) == "ok"
    assert read(role_arn("ReaderOf-orders")) == "AccessDeniedException"
