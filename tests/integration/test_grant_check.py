"""The grant check on moto: what it tries, what it tells, and that it leaves nothing that a reader would meet."""

import json
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from aws.invocation import Invocation
from handlers.wiring.grant_check import GrantCheck
from operations.grant_check.check import CHECKED_BESIDE_ROUTES
from routing.errors import ConfigurationError
from tests.builders import ROUTES, table
from tests.integration.conftest import BUCKET, Aws

STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
NAMES = {*(route.name for route in table().all_routes), *CHECKED_BESIDE_ROUTES}


class Mapping:
    """Lambda's answer about the mapping."""

    def __init__(self, **answer: str) -> None:
        self.answer = {"State": "Enabled", "LastProcessingResult": "OK", "EventSourceArn": STREAM, **answer}

    def get_event_source_mapping(self, UUID: str) -> dict[str, str]:  # noqa: N803
        assert UUID == "mapping-1"
        return self.answer


@pytest.fixture
def check(aws: Aws, capsys: pytest.CaptureFixture[str]) -> GrantCheck:
    """Wire it while output is being captured: the logger keeps the stream it finds."""
    environment = aws.environment(table())
    made = GrantCheck({**environment, "MAPPING_ID": "mapping-1"}, table())
    made._lambda = Mapping()  # type: ignore[assignment]
    made._kinesis.create_stream(StreamName="ctr-fanout", ShardCount=1)
    made._kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    made._kinesis.put_record(StreamName="ctr-fanout", Data=b"{}", PartitionKey="a")
    default_key(aws, environment["KEY_ARN_DEAD_LETTER"])
    return made


def default_key(aws: Aws, key: str | None) -> None:
    """Set what encrypts a put that names no key; None is SSE-S3."""
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if key else {"SSEAlgorithm": "AES256"}
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]}
    aws.s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration=encryption)


def metrics(printed: str) -> dict[str, float]:
    """Return GrantCheckFailed by route."""
    lines = [json.loads(line) for line in printed.splitlines() if '"GrantCheckFailed"' in line]
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "CtrFanout" for line in lines)
    assert all(line["service"] == "ctr-fanout" for line in lines)
    return {line["Route"]: line["GrantCheckFailed"][0] for line in lines}


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == "grant check failed"]


def refuse(check: GrantCheck, place: str, status: int, code: str, message: str = "") -> None:
    """Let S3 answer puts below a prefix with an error."""

    def answer(request: Any, **_: object) -> AWSResponse | None:
        if request.method != "PUT" or f"/{place}/" not in request.url:
            return None
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        made: Any = AWSResponse
        response: AWSResponse = made(
            request.url, status, {}, type("Raw", (), {"stream": lambda *_a, **_k: iter([body])})()
        )
        return response

    events: Any = check._s3.meta.events
    events.register_first("before-send.s3.PutObject", answer)


def test_with_every_grant_nothing_fails_and_everything_is_counted(
    check: GrantCheck, aws: Aws, invocation: Invocation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(invocation) == {}
    assert metrics(capsys.readouterr().out) == dict.fromkeys(NAMES, 0)
    prefixes = {*(route.prefix for route in table().routes), "dead-letter", "aws/lambda"}
    assert set(aws.lines()) == {f"{prefix}/_grant-check.ndjson.gz" for prefix in prefixes}
    assert all(lines == [] for lines in aws.lines().values()), "a query over the prefix meets no line of it"


def test_next_check_replaces_its_own_objects(check: GrantCheck, aws: Aws, invocation: Invocation) -> None:
    assert check(invocation) == {}
    before = aws.lines()
    assert check(invocation) == {}
    assert aws.lines() == before
    assert (
        "Item"
        not in aws.dynamodb.get_item(TableName="ctr-fanout-checkpoint", Key={"shard": {"S": "grant-check/grant-check"}})
        or "claim"
        not in aws.dynamodb.get_item(
            TableName="ctr-fanout-checkpoint", Key={"shard": {"S": "grant-check/grant-check"}}
        )["Item"]
    )


def test_objects_are_put_under_the_key_of_their_route(check: GrantCheck, aws: Aws, invocation: Invocation) -> None:
    check(invocation)
    for route in table().routes:
        there = aws.s3.head_object(Bucket=BUCKET, Key=f"{route.prefix}/_grant-check.ndjson.gz")
        assert there["SSEKMSKeyId"] == check._settings.key_arns[route.name]


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("AccessDenied", "not authorized to perform: kms:GenerateDataKey", "KmsKeyAccessDenied"),
        ("AccessDenied", "", "AccessDenied"),
        ("KMS.DisabledException", "", "KmsKeyDisabled"),
        ("KMS.KMSInvalidStateException", "", "KmsKeyInvalidState"),
    ],
)
def test_route_whose_put_is_refused_is_named_with_the_reason(
    check: GrantCheck,
    invocation: Invocation,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    *,
    code: str,
    message: str,
    reason: str,
) -> None:
    route = table().routes[0]
    refuse(check, route.prefix, 403, code, message)
    assert check(invocation) == {route.name: reason}
    assert metrics(capsys.readouterr().out) == {**dict.fromkeys(NAMES, 0), route.name: 1}
    (line,) = logged(caplog)
    assert (line["route"], line["reason"], line["levelname"]) == (route.name, reason, "ERROR")


def test_what_lambda_would_hand_over_is_tried_without_naming_a_key(check: GrantCheck, invocation: Invocation) -> None:
    seen: list[dict[str, Any]] = []
    check._s3.meta.events.register("before-call.s3.PutObject", lambda params, **_: seen.append(params))
    check(invocation)
    (handed_over,) = [one for one in seen if "/aws/lambda/" in one["url_path"]]
    assert not [name for name in handed_over["headers"] if "server-side-encryption" in name]
    refuse(check, "aws/lambda", 403, "AccessDenied")
    assert check(invocation) == {"on-failure": "AccessDenied"}


def test_outage_of_s3_says_nothing_about_a_grant(
    check: GrantCheck, invocation: Invocation, capsys: pytest.CaptureFixture[str]
) -> None:
    """No number at all: the alarm counts silence as failed, if it lasts."""
    route = table().routes[0]
    refuse(check, route.prefix, 503, "ServiceUnavailable")
    assert check(invocation) == {route.name: "Unavailable"}
    assert route.name not in metrics(capsys.readouterr().out)


def answer_with(client: Any, operation: str, code: str) -> None:
    """Let an operation fail with a code of the service's."""
    service = client.meta.service_model.service_id.hyphenize()
    error = {"Error": {"Code": code, "Message": "refused"}, "ResponseMetadata": {}}
    http = type("Http", (), {"status_code": 400})()
    client.meta.events.register_first(f"before-call.{service}.{operation}", lambda **_: (http, error))


@pytest.mark.parametrize(
    ("operation", "code", "reason"),
    [
        ("GetRecords", "AccessDeniedException", "AccessDenied"),
        ("GetRecords", "KMSAccessDeniedException", "KmsKeyAccessDenied"),
        ("GetRecords", "KMSDisabledException", "KmsKeyDisabled"),
        ("ListShards", "AccessDeniedException", "AccessDenied"),
    ],
)
def test_stream_that_cannot_be_read_is_named_although_no_record_came(
    check: GrantCheck, invocation: Invocation, operation: str, code: str, reason: str
) -> None:
    check._lambda = Mapping(LastProcessingResult="No records processed")  # type: ignore[assignment]
    answer_with(check._kinesis, operation, code)
    assert check(invocation) == {"stream": reason}


def test_stream_that_is_not_encrypted_any_more_is_named(check: GrantCheck, invocation: Invocation) -> None:
    check._kinesis.stop_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    assert check(invocation) == {"stream": "WrongKey"}


def test_throttled_stream_or_table_says_nothing_about_a_grant(
    check: GrantCheck, invocation: Invocation, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(check._kinesis, "GetRecords", "ProvisionedThroughputExceededException")
    answer_with(check._dynamodb, "UpdateItem", "ThrottlingException")
    assert check(invocation) == {"stream": "Unavailable", "checkpoint": "CheckpointUnavailable"}
    assert not {"stream", "checkpoint"} & set(metrics(capsys.readouterr().out))


@pytest.mark.parametrize("key", [None, "arn:aws:kms:ap-northeast-1:111122223333:key/another"])
def test_default_of_the_bucket_that_is_not_the_dead_letter_key_is_named(
    check: GrantCheck, aws: Aws, invocation: Invocation, key: str | None
) -> None:
    """Lambda would hand over whole batches under it."""
    default_key(aws, key)
    assert check(invocation) == {"on-failure": "WrongKey"}


def test_metrics_of_two_stacks_stay_apart(
    check: GrantCheck, aws: Aws, invocation: Invocation, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**aws.environment(table()), "MAPPING_ID": "mapping-1", "POWERTOOLS_SERVICE_NAME": "other-stack"}
    other = GrantCheck(environment, table())
    other._lambda = Mapping()  # type: ignore[assignment]
    other(invocation)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"GrantCheckFailed"' in line]
    assert {line["service"] for line in lines} == {"other-stack"}


def test_table_that_is_gone_is_named(check: GrantCheck, aws: Aws, invocation: Invocation) -> None:
    aws.dynamodb.delete_table(TableName="ctr-fanout-checkpoint")
    assert check(invocation) == {"checkpoint": "CheckpointUnavailable"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"State": "Disabled"}, "MappingDisabled"),
        ({"LastProcessingResult": "PROBLEM: Function call failed"}, "MappingProblem"),
        ({"LastProcessingResult": "No records processed"}, None),
        ({"State": "Updating"}, None),
        ({"State": "Deleting"}, "MappingDisabled"),
        ({"ParallelizationFactor": 2}, "MappingProblem"),
        ({"ParallelizationFactor": 1, "BisectBatchOnFunctionError": True}, None),
        ({"BisectBatchOnFunctionError": False}, "MappingProblem"),
    ],
)
def test_state_of_the_mapping_is_told(
    check: GrantCheck, invocation: Invocation, answer: dict[str, Any], reason: str | None
) -> None:
    check._lambda = Mapping(**answer)  # type: ignore[assignment]
    assert check(invocation) == ({"stream": reason} if reason else {})


def test_without_the_mappings_id_it_does_not_start(aws: Aws) -> None:
    with pytest.raises(ConfigurationError, match="MAPPING_ID"):
        GrantCheck({**aws.environment(table()), "MAPPING_ID": ""}, table())


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-1")
    boto3.setup_default_session()


SEALED = table(
    ROUTES.replace(
        'prefix = "claims"\n',
        'prefix = "claims"\n[[routes.protect]]\nhash = ["CustomerId"]\n[[routes.protect]]\nseal = ["Attributes"]\n',
    )
)


@pytest.mark.parametrize("refused", ["GenerateMac", "GenerateDataKey", ""])
def test_keys_of_protection_are_asked_as_the_next_record_will(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    environment = aws.environment(SEALED)
    made = GrantCheck({**environment, "MAPPING_ID": "mapping-1"}, SEALED)
    made._lambda = Mapping()  # type: ignore[assignment]
    made._kinesis.create_stream(StreamName="ctr-fanout", ShardCount=1)
    made._kinesis.start_stream_encryption(StreamName="ctr-fanout", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    made._kinesis.put_record(StreamName="ctr-fanout", Data=b"{}", PartitionKey="a")
    default_key(aws, environment["KEY_ARN_DEAD_LETTER"])
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def refuse(self: Any, operation: str, request: Any) -> Any:
        if operation == refused and self.meta.service_model.service_name == "kms":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "secret"}}, operation)
        return call(self, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    failed = {"GenerateMac": {"hash"}, "GenerateDataKey": {"claims-seal"}, "": set()}[refused]
    for _ in range(2):  # every time: what a container remembers is not asked
        assert set(made(Invocation("id-1", lambda: 60.0))) == failed
