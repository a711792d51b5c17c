"""The grant check reads the stream as Lambda does: until a record comes, on a shard that is open."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.grant_check.check import check_stream
from routing.reasons import Reason

_STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"


class Mappings:
    """Lambda, with a mapping that reads."""

    def get_event_source_mapping(self, **_: str) -> dict[str, Any]:
        return {"State": "Enabled", "EventSourceArn": _STREAM, "BisectBatchOnFunctionError": True}


class Streams:
    """Kinesis: a closed shard and an open one, whose records follow some empty answers.

    The key is asked for when a record is decrypted, and refuses.
    """

    def __init__(self, empty_answers: int, *, records: int, is_key_refused: bool) -> None:
        self._empty, self._records, self._is_refused = empty_answers, records, is_key_refused
        self.reads = 0
        self.shards: set[str] = set()

    def list_shards(self, **_: Any) -> dict[str, Any]:
        numbers: dict[str, str] = {"StartingSequenceNumber": "1"}
        closed = {"ShardId": "closed", "SequenceNumberRange": numbers | {"EndingSequenceNumber": "2"}}
        return {"Shards": [closed, {"ShardId": "open", "SequenceNumberRange": numbers}]}

    def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        self.shards.add(asked["ShardId"])
        # Nothing came within the last hour: what is there lies further back.
        return {"ShardIterator": "end" if asked["ShardIteratorType"] == "AT_TIMESTAMP" else "0"}

    def get_records(self, **asked: Any) -> dict[str, Any]:
        self.reads += 1
        if asked["ShardIterator"] == "end":
            return {"Records": [], "NextShardIterator": "end", "MillisBehindLatest": 0}
        place = int(asked["ShardIterator"])
        if place < self._empty:
            return {"Records": [], "NextShardIterator": str(place + 1), "MillisBehindLatest": 1000}
        if not self._records:
            return {"Records": [], "NextShardIterator": "end", "MillisBehindLatest": 0}
        if self._is_refused:
            raise ClientError({"Error": {"Code": "KMSAccessDeniedException"}}, "GetRecords")
        return {"Records": [{}], "NextShardIterator": "end", "MillisBehindLatest": 0}

    def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"EncryptionType": "KMS"}}


def check(streams: Any) -> Any:
    mappings: Any = Mappings()
    return check_stream(mappings, streams, "uuid")


@pytest.mark.parametrize("empty_answers", [0, 1, 4])
def test_refused_key_is_noticed_behind_empty_answers(empty_answers: int) -> None:
    streams = Streams(empty_answers, records=1, is_key_refused=True)
    assert check(streams).reason is Reason.KMS_KEY_ACCESS_DENIED
    assert streams.shards == {"open"}


@pytest.mark.parametrize("records", [0, 1])
def test_stream_that_can_be_read_is_well(records: int) -> None:
    assert check(Streams(2, records=records, is_key_refused=False)).reason is None


def test_nothing_is_said_for_certain_if_no_record_is_met() -> None:
    streams = Streams(1000, records=1, is_key_refused=False)
    found = check(streams)
    assert found.is_unknown
    assert streams.reads <= 10
