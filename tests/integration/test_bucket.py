"""The bucket adapter: what is gone is told from what is refused, whatever S3 says of it."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws.bucket import Bucket, ObjectGoneError
from tests.fakes import client_error
from tests.integration.conftest import BUCKET, Aws

_KEY = "claims/contact_record/date=2026-03-02/a.ndjson.gz"


class Withholding:
    """S3 to a role that may list prefixes only: 403 instead of 404. It refuses a key that is there where told."""

    def __init__(self, s3: Any, refused: str = "") -> None:
        self._s3, self._refused = s3, refused

    def __getattr__(self, name: str) -> Any:
        """Pass on what is not withheld."""
        return getattr(self._s3, name)

    def head_object(self, **request: Any) -> Any:
        return self._ask(self._s3.head_object, "403", request)

    def get_object(self, **request: Any) -> Any:
        return self._ask(self._s3.get_object, "AccessDenied", request)

    def _ask(self, call: Callable[..., Any], code: str, request: dict[str, Any]) -> Any:
        if request["Key"] == self._refused:
            raise client_error(code, "GetObject")
        try:
            return call(**request)
        except ClientError as err:
            raise client_error(code, err.operation_name) from None


@pytest.fixture(params=["404 of what is not there", "403 of what is not there"])
def make(aws: Aws, request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    is_withheld = str(request.param).startswith("403")

    def of(refused: str = "") -> Bucket:
        client: Any = Withholding(aws.s3, refused) if is_withheld or refused else aws.s3
        return Bucket(client, BUCKET, "111122223333")

    return of


def test_what_is_gone_is_none_to_look_at_and_an_error_of_its_own_to_get(make: Callable[..., Bucket], aws: Aws) -> None:
    bucket = make()
    aws.s3.put_object(Bucket=BUCKET, Key=_KEY, Body=b"x")
    found = bucket.look(_KEY)
    assert found is not None
    assert bucket.get(_KEY).body == b"x"
    aws.s3.delete_object(Bucket=BUCKET, Key=_KEY)
    assert bucket.look(_KEY) is None
    with pytest.raises(ObjectGoneError, match="it is gone since; run it again"):
        bucket.get(_KEY)


def test_longer_name_that_begins_alike_does_not_stand_for_what_is_gone(make: Callable[..., Bucket], aws: Aws) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key=f"{_KEY}.other", Body=b"x")
    assert make().look(_KEY) is None
    assert not make().has(_KEY)


def test_version_that_is_gone_is_told_by_its_own_list(make: Callable[..., Bucket], aws: Aws) -> None:
    first, second = (aws.s3.put_object(Bucket=BUCKET, Key=_KEY, Body=b"x")["VersionId"] for _ in "12")
    aws.s3.delete_object(Bucket=BUCKET, Key=_KEY, VersionId=first)
    bucket = make()
    assert bucket.get(_KEY, second).body == b"x"
    with pytest.raises(ObjectGoneError):
        bucket.get(_KEY, first)


def test_what_is_there_and_refused_stays_refused(make: Callable[..., Bucket], aws: Aws) -> None:
    """Else a key that nobody may read would pass for an empty prefix."""
    version = aws.s3.put_object(Bucket=BUCKET, Key=_KEY, Body=b"x")["VersionId"]
    bucket = make(refused=_KEY)
    with pytest.raises(ClientError, match="403"):
        bucket.look(_KEY)
    for one in (None, version):
        with pytest.raises(ClientError, match="AccessDenied"):
            bucket.get(_KEY, one)
