"""Settings: every problem of the environment at once, and nothing that is half right."""

import pytest

from aws.settings import key_variable, read_settings
from routing.errors import ConfigurationError
from tests.builders import table

KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
GOOD = {
    "BUCKET": "ctr-fanout-111122223333-ap-northeast-1",
    "BUCKET_OWNER": "111122223333",
    "CHECKPOINT_TABLE": "ctr-fanout-checkpoint",
    "STREAM_ARN": "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout",
    "KEY_ARN_CLAIMS": KEY,
    "KEY_ARN_ALL": KEY,
    "KEY_ARN_SPEECH": KEY,
    "KEY_ARN_REST": "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-0123456789abcdef",
    "KEY_ARN_DEAD_LETTER": KEY,
}


def test_good_environment_is_read() -> None:
    settings = read_settings(GOOD, table())
    assert settings.bucket == GOOD["BUCKET"]
    assert settings.checkpoint_table == "ctr-fanout-checkpoint"
    assert set(settings.key_arns) == {"claims", "all", "speech", "rest", "dead-letter"}


def test_checkpoint_can_be_turned_off() -> None:
    assert read_settings({**GOOD, "CHECKPOINT_TABLE": "off"}, table()).checkpoint_table is None


def test_empty_environment_names_every_problem() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({}, table(), needs_mapping=True)
    assert [fault.where for fault in raised.value.faults] == [
        "BUCKET",
        "BUCKET_OWNER",
        "KEY_ARN_CLAIMS",
        "KEY_ARN_ALL",
        "KEY_ARN_SPEECH",
        "KEY_ARN_REST",
        "KEY_ARN_DEAD_LETTER",
        "CHECKPOINT_TABLE",
        "STREAM_ARN",
        "MAPPING_ID",
    ]


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("BUCKET", "Upper", "BUCKET: expected a bucket name, got 'Upper'"),
        ("BUCKET_OWNER", "1234", "BUCKET_OWNER: expected an account id of 12 digits, got '1234'"),
        (
            "KEY_ARN_CLAIMS",
            "alias/claims",
            "KEY_ARN_CLAIMS: expected the full ARN of the KMS key of route 'claims', no alias, got 'alias/claims'",
        ),
        (
            "KEY_ARN_DEAD_LETTER",
            "arn:aws:kms:ap-northeast-1:111122223333:alias/x",
            "KEY_ARN_DEAD_LETTER: expected the full ARN of the KMS key of route 'dead-letter', no alias, "
            "got 'arn:aws:kms:ap-northeast-1:111122223333:alias/x'",
        ),
        ("CHECKPOINT_TABLE", "", "CHECKPOINT_TABLE: expected a table name, or 'off'"),
    ],
)
def test_wrong_value_is_refused(name: str, value: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({**GOOD, name: value}, table())
    assert [str(found) for found in raised.value.faults] == [fault]


def test_variable_of_a_route_is_what_lambda_takes() -> None:
    assert key_variable("claims-japan") == "KEY_ARN_CLAIMS_JAPAN"
