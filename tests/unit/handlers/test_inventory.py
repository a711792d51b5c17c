"""The inventory: which objects of a shard reach into a range."""

from typing import Any, cast

import pytest

from aws.bucket import Bucket
from aws.inventory import Inventory
from routing.model import Kind, RouteName, Shard
from tests.builders import table
from tests.fakes import Inline, MemoryS3

TABLE = table()
SHARD = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout", "shardId-000000000000")
PLACE = RouteName("claims"), Kind.CONTACT_RECORD, "date=2026-03-02"
BELOW = "claims/contact_record/date=2026-03-02/ctr-fanout-shardId-000000000000-"


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


def inventory(s3: MemoryS3) -> Inventory:
    return Inventory(Bucket(cast("Any", s3), "bucket", "111122223333"), TABLE, Inline())


def stand(s3: MemoryS3, first: int, last: int, *, count: int = 1, content: str = "") -> str:
    """Put an object of a range."""
    key = f"{BELOW}{first}{content}.ndjson.gz"
    metadata = {"last-sequence-number": str(last), "record-count": str(count)}
    metadata |= {} if content else {"fencing-token": "1"}
    s3.land({"Key": key, "Metadata": metadata, "Body": b""})
    return key


def around(s3: MemoryS3, first: int, last: int, *intents: str) -> list[int]:
    found = inventory(s3).around(SHARD, [PLACE], first, last, cast("Any", intents))
    return sorted(one.name.first for one in found)


def test_objects_that_begin_in_the_range_and_the_nearest_before_it_are_looked_at(s3: MemoryS3) -> None:
    for first in (10, 20, 30, 40):
        stand(s3, first, first + 9)
    assert around(s3, 25, 35) == [20, 30]


@pytest.mark.parametrize("between", [9, 40])
def test_empty_objects_do_not_end_the_search_however_many_there_are(s3: MemoryS3, between: int) -> None:
    stand(s3, 10, 500)
    for first in range(11, 11 + between):
        stand(s3, first, first, count=0)
    assert around(s3, 200, 300)[0] == 10


def test_names_that_nobody_has_committed_do_not_end_it_either(s3: MemoryS3) -> None:
    stand(s3, 10, 500)
    assert around(s3, 200, 300, stand(s3, 20, 30))[0] == 10


def test_objects_named_by_content_do_not_end_it_either(s3: MemoryS3) -> None:
    stand(s3, 10, 500)
    stand(s3, 20, 30, content="-00c0ffee")
    assert around(s3, 200, 300) == [10, 20]


def test_dead_letters_of_the_place_are_looked_at(s3: MemoryS3) -> None:
    s3.land({"Key": f"dead-letter/objects/{BELOW}20.ndjson.gz", "Metadata": {}, "Body": b""})
    assert around(s3, 10, 30) == [20]


def test_everything_is_listed_by_shard(s3: MemoryS3) -> None:
    mine = stand(s3, 10, 20)
    s3.land({"Key": mine.replace("shardId-000000000000", "shardId-000000000001"), "Metadata": {}, "Body": b""})
    s3.land({"Key": "claims/readme.txt", "Metadata": {}, "Body": b""})
    listed = inventory(s3).everything()
    assert {shard: [one.name.first for one in found if one.name] for shard, found in listed.items()} == {
        ("ctr-fanout", "shardId-000000000000"): [10],
        ("ctr-fanout", "shardId-000000000001"): [10],
    }


def test_object_that_is_gone_meanwhile_is_left_out(s3: MemoryS3) -> None:
    stand(s3, 10, 20)
    names = [one.name for one in inventory(s3).everything()["ctr-fanout", "shardId-000000000000"] if one.name]
    s3.objects.clear()
    assert list(inventory(s3).between(names, 0, None, ())) == []
