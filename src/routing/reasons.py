"""The reason codes: why a record or an object did not go where it belongs."""

from enum import StrEnum


class Reason(StrEnum):
    """What dead letters, metrics and the `routes try` command call a failure.

    The spelling follows the error codes of Amazon Data Firehose, whose users know them.

    Source: https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-logs.html
    """

    # A record that fails with every retry.
    NOT_BASE64 = "NotBase64"
    EMPTY = "Empty"
    BAD_AGGREGATE = "BadAggregate"
    NOT_UTF8 = "NotUtf8"
    NOT_JSON = "NotJson"
    NOT_AN_OBJECT = "NotAnObject"
    TOO_DEEP = "TooDeep"

    # An object that its destination refuses until a key or a grant is fixed.
    ACCESS_DENIED = "AccessDenied"
    KMS_KEY_ACCESS_DENIED = "KmsKeyAccessDenied"
    KMS_KEY_DISABLED = "KmsKeyDisabled"
    KMS_KEY_INVALID_STATE = "KmsKeyInvalidState"
    KMS_KEY_NOT_FOUND = "KmsKeyNotFound"
    WRONG_KEY = "WrongKey"
    SEALING_FAILED = "SealingFailed"

    # What the grant check found out about the mapping that reads the stream.
    MAPPING_DISABLED = "MappingDisabled"
    MAPPING_PROBLEM = "MappingProblem"
    MAPPING_UNKNOWN = "MappingUnknown"

    # Lambda sends the batch again.
    UNAVAILABLE = "Unavailable"
    OUT_OF_TIME = "OutOfTime"
    CLAIMED_ELSEWHERE = "ClaimedElsewhere"
    CHECKPOINT_UNAVAILABLE = "CheckpointUnavailable"


UNDECODABLE = (
    Reason.NOT_BASE64,
    Reason.EMPTY,
    Reason.BAD_AGGREGATE,
    Reason.NOT_UTF8,
    Reason.NOT_JSON,
    Reason.NOT_AN_OBJECT,
    Reason.TOO_DEEP,
)
"""Why a record becomes a dead letter itself, in the order of the decoder's steps."""
