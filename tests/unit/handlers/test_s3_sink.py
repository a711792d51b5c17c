"""The sink: what each put asks for, what it does with an object that is there, and whom it blames."""

from collections.abc import Callable
from copy import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from aws.bucket import Bucket
from aws.invocation import Invocation
from aws.s3_sink import S3Sink
from aws.settings import read_settings
from routing.model import Kind, ObjectKey, RenderedObject, RouteName
from routing.reasons import Reason
from tests.builders import table
from tests.fakes import Crash, Inline, MemoryS3, client_error
from tests.unit.handlers.test_settings import GOOD, KEY

SETTINGS = read_settings(GOOD, table())


def rendered(
    number: int = 1, *, body: bytes = b"body", route: str = "claims", count: str = "1", token: int | None = 3
) -> RenderedObject:
    return RenderedObject(
        route=RouteName(route),
        kind=Kind.CONTACT_RECORD,
        key=ObjectKey(f"{route}/{number}.ndjson.gz"),
        body=body,
        metadata={"route": route, "record-count": count} | ({} if token is None else {"fencing-token": str(token)}),
        record_count=1,
        plain_bytes=4,
        oldest_arrived_at=0.0,
    )


def sink(s3: MemoryS3, *, remaining_seconds: Callable[[], float] = lambda: 60.0) -> S3Sink:
    return S3Sink(
        Bucket(cast("Any", s3), SETTINGS.bucket, SETTINGS.bucket_owner),
        SETTINGS.key_arns,
        Invocation("id-1", remaining_seconds),
        Inline(),
    )


def failing(error: Exception) -> MemoryS3:
    def fail(_request: object) -> None:
        raise error

    s3 = MemoryS3()
    s3.before = fail
    return s3


def test_put_names_bucket_owner_key_checksum_and_condition() -> None:
    s3 = MemoryS3()
    assert sink(s3).put_all([rendered()]) == [None]
    assert s3.requests == [
        {
            "Bucket": "ctr-fanout-111122223333-ap-northeast-1",
            "Key": "claims/1.ndjson.gz",
            "Body": b"body",
            "ExpectedBucketOwner": "111122223333",
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": KEY,
            "BucketKeyEnabled": False,
            "ChecksumAlgorithm": "SHA256",
            "ContentType": "application/gzip",
            "Metadata": {"route": "claims", "record-count": "1", "fencing-token": "3"},
            "IfNoneMatch": "*",
        }
    ]


def test_name_that_an_earlier_try_has_intended_is_looked_at_first() -> None:
    """A refused put, a look and a put, each time, would keep a long batch from ever getting further."""
    s3 = MemoryS3()
    sink(s3).put_all([rendered(token=2)])
    s3.requests.clear()
    assert sink(s3).put_all([replace(rendered(token=3, count="5"), may_exist=True)]) == [None]
    assert [("IfMatch" in request, "IfNoneMatch" in request) for request in s3.requests] == [(True, False)]


@pytest.mark.parametrize("code", ["404", "403"])
def test_intended_name_that_does_not_exist_is_created(code: str) -> None:
    """Without `s3:ListBucket` S3 answers 403 where nothing is."""
    s3 = MemoryS3()
    s3.head_object = lambda **_: (_ for _ in ()).throw(client_error(code, "HeadObject"))  # type: ignore[method-assign]
    assert sink(s3).put_all([replace(rendered(), may_exist=True)]) == [None]
    assert [request["IfNoneMatch"] for request in s3.requests] == ["*"]


@pytest.mark.parametrize(("seconds", "room"), [(5.0, 0), (0.0, 0), (6.0, 16), (10.5, 88), (900.0, 1000)])
def test_room_is_what_fits_into_the_time_that_is_left(seconds: float, room: int) -> None:
    assert sink(MemoryS3(), remaining_seconds=lambda: seconds).room() == room


def test_each_route_is_put_under_its_own_key() -> None:
    s3 = MemoryS3()
    sink(s3).put_all([rendered(route="claims"), rendered(route="rest")])
    assert [request["SSEKMSKeyId"] for request in s3.requests] == [KEY, GOOD["KEY_ARN_REST"]]


@pytest.mark.parametrize("count", ["5", "1"], ids=["cut differently", "the same"])
def test_object_that_is_there_is_replaced_by_its_etag(count: str) -> None:
    s3 = MemoryS3()
    sink(s3).put_all([rendered(count=count, body=b"earlier")])
    etag = s3.objects["claims/1.ndjson.gz"]["ETag"]
    assert sink(s3).put_all([rendered(count="1", body=b"now")]) == [None]
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"now"
    assert s3.requests[-1]["IfMatch"] == etag
    assert "IfNoneMatch" not in s3.requests[-1]


def test_replacement_of_a_killed_invocation_cannot_undo_a_later_try_of_the_same_content() -> None:
    """Found by the property tests: what was the same and left alone kept the ETag that a late put waited for."""
    s3, late = MemoryS3(), []

    def kill_the_replacement(request: dict[str, Any]) -> None:
        if "IfMatch" in request:
            late.append(dict(request))
            raise Crash

    sink(s3).put_all([rendered(count="5")])  # first try, not committed
    s3.before = kill_the_replacement
    with pytest.raises(Crash):
        sink(s3).put_all([rendered(count="10", body=b"longer")])  # second try, killed with a put under way
    s3.before = lambda _: None
    assert sink(s3).put_all([rendered(count="5")]) == [None]  # third try, the cut of the first, committed
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.land(late[0])
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"body"


def test_object_that_changes_between_the_look_and_the_put_is_left_alone() -> None:
    s3 = MemoryS3()
    sink(s3).put_all([rendered(count="5")])

    def another_puts(request: dict[str, Any]) -> None:
        if "IfMatch" in request:
            s3.objects[request["Key"]] = {"Body": b"another", "ETag": "another", "Metadata": {}}

    s3.before = another_puts
    (error,) = sink(s3).put_all([rendered(count="2")])
    assert error is not None
    assert error.is_transient
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"another"


def test_object_of_a_later_claim_is_left_alone() -> None:
    """An invocation that has outlived its claim stops, whatever its clock says."""
    s3 = MemoryS3()
    sink(s3).put_all([rendered(body=b"later", token=10)])
    (error,) = sink(s3).put_all([rendered(body=b"mine", token=9)])
    assert error is not None
    assert (error.reason, error.is_transient) == (Reason.CLAIMED_ELSEWHERE, True)
    assert str(error) == "route 'claims': a later invocation holds the shard; Lambda sends again"
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"later"


def test_object_without_a_token_is_replaced_by_one_with_a_claim() -> None:
    s3 = MemoryS3()
    sink(s3).put_all([rendered(body=b"earlier", token=None)])
    assert sink(s3).put_all([rendered(body=b"now", token=1)]) == [None]
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"now"


def test_without_a_claim_nothing_is_replaced() -> None:
    """The name tells the content then; what is there is the same."""
    s3 = MemoryS3()
    sink(s3).put_all([rendered(body=b"earlier", token=None)])
    assert sink(s3).put_all([rendered(body=b"again", token=None)]) == [None]
    assert s3.objects["claims/1.ndjson.gz"]["Body"] == b"earlier"


@pytest.mark.parametrize(
    ("code", "text", "reason", "message"),
    [
        (
            "AccessDenied",
            "not authorized to perform: s3:PutObject",
            Reason.ACCESS_DENIED,
            "route 'claims': PutObject refused with AccessDenied; compare the bucket policy and the function role's "
            "policies (s3:PutObject, s3:GetObject) with template.yaml",
        ),
        (
            "AccessDenied",
            "not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:x",
            Reason.KMS_KEY_ACCESS_DENIED,
            "route 'claims': PutObject refused with AccessDenied; allow the function role kms:GenerateDataKey on "
            "ClaimsKey, in the key policy and its own",
        ),
        (
            "KMS.DisabledException",
            "",
            Reason.KMS_KEY_DISABLED,
            "route 'claims': PutObject refused with KMS.DisabledException; enable ClaimsKey again",
        ),
        (
            "KMS.KMSInvalidStateException",
            "",
            Reason.KMS_KEY_INVALID_STATE,
            "route 'claims': PutObject refused with KMS.KMSInvalidStateException; cancel the deletion of ClaimsKey or "
            "give the route another key",
        ),
        (
            "KMS.NotFoundException",
            "",
            Reason.KMS_KEY_NOT_FOUND,
            "route 'claims': PutObject refused with KMS.NotFoundException; give the route a key that exists in this "
            "Region instead of ClaimsKey",
        ),
    ],
)
def test_refusal_that_no_retry_mends_is_permanent_and_names_the_cure(
    code: str, text: str, reason: Reason, message: str
) -> None:
    (error,) = sink(failing(client_error(code, message=text))).put_all([rendered()])
    assert error is not None
    assert (error.reason, error.is_transient, str(error)) == (reason, False, message)


@pytest.mark.parametrize(
    "error",
    [
        client_error("SlowDown"),
        client_error("InternalError"),
        client_error("ServiceUnavailable"),
        client_error("RequestTimeout"),
        client_error("ConditionalRequestConflict"),
        client_error("KMS.ThrottlingException"),
        client_error("ExpiredToken"),
        client_error("NoSuchBucket"),
        client_error("SomethingNew"),
        ConnectTimeoutError(endpoint_url="https://s3"),
        ReadTimeoutError(endpoint_url="https://s3"),
    ],
    ids=lambda error: error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__,
)
def test_anything_else_is_transient(error: Exception) -> None:
    (verdict,) = sink(failing(error)).put_all([rendered()])
    assert verdict is not None
    assert (verdict.reason, verdict.is_transient) == (Reason.UNAVAILABLE, True)


def test_no_put_starts_when_the_time_is_nearly_up() -> None:
    s3 = MemoryS3()
    (error,) = sink(s3, remaining_seconds=lambda: 4.9).put_all([rendered()])
    assert error is not None
    assert (error.reason, error.is_transient) == (Reason.OUT_OF_TIME, True)
    assert s3.requests == []


def test_verdicts_come_in_the_order_of_the_objects() -> None:
    s3 = MemoryS3()

    def refuse_the_second(request: dict[str, Any]) -> None:
        if request["Key"] == "claims/2.ndjson.gz":
            raise client_error("SlowDown")

    s3.before = refuse_the_second
    verdicts = sink(s3).put_all([rendered(1), rendered(2), rendered(3)])
    assert [verdict is None for verdict in verdicts] == [True, False, True]


def test_object_that_may_not_be_looked_at_is_refused_for_good() -> None:
    """A HEAD has no body to name a code in: taken for an outage, it would stop the shard until Lambda gives up."""
    s3 = MemoryS3()
    assert sink(s3).put_all([rendered()]) == [None]

    def forbidden(**_request: object) -> None:
        raise client_error("403", "HeadObject")

    s3.head_object = forbidden  # type: ignore[method-assign, assignment]
    (verdict,) = sink(s3).put_all([rendered(body=b"another cut")])
    assert verdict is not None
    assert (verdict.is_transient, verdict.reason) == (False, Reason.ACCESS_DENIED)
    assert "HeadObject refused with 403" in str(verdict)


def test_bug_in_a_put_is_raised_and_not_taken_for_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        sink(failing(ZeroDivisionError())).put_all([rendered(1), rendered(2)])
