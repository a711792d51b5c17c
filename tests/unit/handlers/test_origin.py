"""The origin of events: only what the stack's stream has issued is delivered."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from aws.origin import Origin
from aws.stream_reader import StreamReader
from routing.errors import EventError, StreamError
from routing.model import SequenceNumber, Shard
from tests.fakes import client_error

ARN = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
SHARD = Shard(ARN, "shardId-000000000000")


class MemoryKinesis:
    """Answers as Kinesis does: from a number on, page by page, and refuses what it never issued or does not hold."""

    def __init__(self, numbers: Sequence[str], *, empty_pages: int = 0, refuses: str = "") -> None:
        self.numbers = numbers
        self.empty_pages = empty_pages
        self.refuses = refuses

    def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        if self.refuses:
            raise client_error(self.refuses, "GetShardIterator")
        first = asked.get("StartingSequenceNumber", "")
        return {"ShardIterator": f"{self.empty_pages}:{first}"}

    def get_records(self, **asked: Any) -> dict[str, Any]:
        pages, _, first = asked["ShardIterator"].partition(":")
        if int(pages):
            return {"Records": [], "MillisBehindLatest": 9, "NextShardIterator": f"{int(pages) - 1}:{first}"}
        found = [number for number in self.numbers if number >= first]
        return {
            "Records": [{"SequenceNumber": n} for n in found[:1]],
            "MillisBehindLatest": 0,
            "NextShardIterator": "0:",
        }


def reader(*numbers: str, **more: Any) -> StreamReader:
    return StreamReader(cast("Any", MemoryKinesis(numbers, **more)), ARN)


@pytest.mark.parametrize(
    ("stream", "number", "expected"),
    [
        (reader("41", "43"), "43", True),
        (reader("41", "43"), "42", True),  # 42 has expired, or was another shard's: what follows it was issued
        (reader("41", "43"), "44", False),
        (reader("41", "43"), "99", False),
        (reader(), "41", None),
        (reader("41", "43", empty_pages=3), "43", True),
        (reader("41", empty_pages=3), "44", False),
        (reader(refuses="InvalidArgumentException"), "99", False),
        (reader(refuses="ResourceNotFoundException"), "41", None),
    ],
)
def test_stream_tells_what_it_has_issued(stream: StreamReader, number: str, expected: bool | None) -> None:
    assert stream.has_issued(SHARD.shard_id, number) is expected


def test_number_that_the_stream_has_issued_is_admitted() -> None:
    Origin(reader("41")).admit(SHARD, SequenceNumber("41"))


@pytest.mark.parametrize(
    ("stream", "number", "found"),
    [(reader("41"), "99", "it has not"), (reader(), "41", "it holds no record any more to tell")],
)
def test_number_that_the_stream_has_not_issued_is_refused(stream: StreamReader, number: str, found: str) -> None:
    with pytest.raises(EventError, match=f"to have issued sequence number {number}, {found}:"):
        Origin(stream).admit(SHARD, SequenceNumber(number))


def test_event_of_another_stream_is_refused_without_asking() -> None:
    with pytest.raises(EventError, match=r"expected records of arn:.*/ctr-fanout, got records of another stream"):
        Origin(reader(refuses="AccessDeniedException")).admit(Shard(f"{ARN}-other", "s"), SequenceNumber("1"))


def test_stream_that_cannot_be_asked_is_asked_again() -> None:
    with pytest.raises(StreamError, match="failed with ProvisionedThroughputExceededException; Lambda sends again"):
        Origin(reader(refuses="ProvisionedThroughputExceededException")).admit(SHARD, SequenceNumber("1"))


def test_oldest_is_the_first_number_that_the_shard_holds() -> None:
    assert (reader("0041", "0042").oldest("s"), reader().oldest("s")) == ("0041", None)
