"""Bugs that schedules and reviews have found, each told step by step."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from local.event_source.lane import Batch, GivenUp
from local.event_source.verdict import Answer, Outcome
from routing.errors import DeliveryError
from routing.reasons import Reason
from routing.routes import RouteTable
from tests.builders import ROUTES, aggregated, claim, contact, lines_in, table
from tests.fakes import client_error
from tests.faults.tables import PROTECTED, TABLE
from tests.faults.world import STREAM, World

WIDER = table(ROUTES.replace('pattern = { Queue = { Name = [{ prefix = "Claims" }] } }\n', ""))
"""`claims` takes every contact."""

NO_CLAIMS = table(ROUTES.replace('prefix = "Claims"', 'prefix = "None"'))
"""`claims` takes nothing."""

MOVED_AND_WIDER = table(
    ROUTES.replace('pattern = { Queue = { Name = [{ prefix = "Claims" }] } }\n', "").replace(
        "all/contacts", "everything"
    )
)
"""`claims` takes every contact, and `all` has another prefix."""


@pytest.fixture
def world() -> World:
    return World(Random(0))


def numbered(make: Callable[..., bytes], *numbers: int) -> list[bytes]:
    return [make(n=number, DisconnectTimestamp="2026-03-02T00:00:00Z") for number in numbers]


def failing_once(world: World, prefix: str) -> None:
    """Let the next put below a prefix fail in a way that is worth another try."""
    left = [prefix]

    def trouble(request: dict[str, Any]) -> None:
        if left and request.get("Key", "").startswith(left[0]) and "Body" in request:
            left.clear()
            raise client_error("SlowDown")

    world.before_request = trouble


def is_of_claims(request: dict[str, Any]) -> bool:
    return str(request["Key"]).startswith("claims/")


def give_up(world: World, *numbers: int) -> None:
    """Let Lambda hand a batch over."""
    records = [r for shard in world.shards.values() for r in shard.records if r.position in numbers]
    poller = world.poller()
    world.hand_over(
        poller.mapping,
        "shardId-000000000000",
        GivenUp(Batch(tuple(records)), "RetryAttemptsExhausted", Answer(Outcome.FAILED)),
    )


def holds(world: World) -> bool:
    return world.problems() == []


def test_name_that_a_denied_key_kept_from_being_emptied_is_emptied_by_the_replay(world: World) -> None:
    """A closed shard has no further delivery that would empty it."""
    one, two = world.send(*numbered(contact, 1), *numbered(claim, 2))
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.deploy([WIDER])
    world.refused["key-of-claims"] = "AccessDenied"
    assert world.invoke(one, two).payload == {"batchItemFailures": []}
    world.heal()
    world.clock += 7200
    world.replay()
    assert holds(world), world.problems()


@pytest.mark.parametrize("seed", range(8))
def test_dead_letter_is_not_emptied_beside_its_own_put(seed: int) -> None:
    """The name is one of the last try's, to be emptied, and the refused object's again; puts land in any order."""
    world = World(Random(seed))
    world.refused["key-of-claims"] = "AccessDenied"
    one, two = world.send(*numbered(claim, 1, 2))
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    assert world.invoke(one, one).payload == {"batchItemFailures": []}
    assert world.invoke(two, two).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_replay_cuts_no_aggregate(world: World) -> None:
    """Its records share a sequence number, so two objects of a place that each begin in it would share a name."""
    one, two, aggregate = world.send(
        *numbered(claim, 1), *numbered(claim, 2), [*numbered(contact, 3), *numbered(claim, 4)]
    )
    for number in (one, two):
        world.invoke(number, number)
    del world.s3.objects[next(key for key in world.s3.objects if key.startswith("claims/") and str(one) in key)]
    give_up(world, one, two, aggregate)
    world.replay()
    assert holds(world), world.problems()


def test_replay_of_an_odd_object_is_told_and_the_next_one_is_replayed(world: World) -> None:
    (one,) = world.send(*numbered(claim, 1))
    odd: list[bytes] = [b"", b"{}", b"[]", b'{"payload": 7}', b'{"payload": "{}", "requestContext": {}}', b"\xff"]
    for number, body in enumerate(odd):
        world.s3.land({"Key": f"aws/lambda/a{number}", "Body": body, "Metadata": {}})
    give_up(world, one)
    told = world.replay()
    assert [bool(thing.left) for thing in told] == [True] * len(odd) + [False]
    world.s3.objects = {key: put for key, put in world.s3.objects.items() if not key.startswith("aws/lambda/a")}
    assert holds(world), world.problems()


def test_replay_holds_its_shard_to_the_end(world: World) -> None:
    """Every delivery in it commits; none may let go of the shard while another is still to come."""
    world.table = table(ROUTES + "[limits]\nrecords = 1\n")
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.invoke(numbers[1], numbers[1])  # stands between the others, so that they are two deliveries
    give_up(world, *numbers)
    puts: list[str | None] = []
    world.before_request = lambda request: puts.extend(row.owner for row in world.rows.values() if "Body" in request)
    world.replay()
    assert len(puts) >= len(numbers)
    assert None not in puts
    assert holds(world), world.problems()


def test_replay_trusts_no_range_of_other_routes(world: World) -> None:
    """By the wider routes, an object of the narrower ones has holes."""
    numbers = world.send(*numbered(claim, 1), *numbered(contact, 2), *numbered(claim, 3))
    assert world.invoke(numbers[0], numbers[-1]).payload == {"batchItemFailures": []}
    world.deploy([WIDER])
    give_up(world, *numbers)
    with world.replayer() as replayer:
        (listed,) = list(replayer._inventory.below("aws/lambda/"))
        told = replayer.given_up(listed)
    assert (
        told.left
        == "3 records are in the range of objects that other routes or other code have put; compare them by hand"
    )
    assert listed.key in world.s3.objects, "nothing is removed"


def test_dead_letter_of_a_record_is_left_while_its_batch_is_still_tried(world: World) -> None:
    """A newer decoder may read it; the next try of the batch would deliver it as well."""
    one, two = world.send(b"poison 1", *numbered(claim, 2))
    failing_once(world, "claims/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.clock += 7200
    with world.replayer() as replayer:
        (listed,) = list(replayer._inventory.below("dead-letter/records/"))
        told = replayer.record_letter(listed, STREAM, now=world.clock)
    assert told.left == "its batch is still being tried; it is settled with the next try"


def test_dead_letter_of_records_that_can_be_read_now_is_delivered_once(world: World) -> None:
    (one,) = world.send(b"poison 1")
    world.invoke(one, one)
    (key,) = (key for key in world.s3.objects if key.startswith("dead-letter/records/"))
    letter = json.loads(lines_in(world.s3.objects[key]["Body"])[0])
    readable = {**letter, "rawData": base64.b64encode(numbered(claim, 1)[0]).decode()}
    world.s3.objects[key]["Body"] = gzip.compress(json.dumps(readable).encode() + b"\n")
    for later, expected in ((60, True), (7200, False)):
        with world.replayer() as replayer:
            (listed,) = list(replayer._inventory.below("dead-letter/records/"))
            told = replayer.record_letter(listed, STREAM, now=world.clock + later)
        assert bool(told.left) == expected, told
    assert key not in world.s3.objects
    standing = [key for key, put in world.s3.objects.items() if lines_in(put["Body"]) == numbered(claim, 1)]
    assert sorted(key.partition("/")[0] for key in standing) == ["all", "claims"]


def test_stream_is_replayed_up_to_the_slowest_route_and_the_rest_is_told(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.invoke(numbers[0], numbers[0])
    (first, *_) = world.replay(stream=True)
    assert (first.records, first.to_come, first.left) == (0, 2, "")
    world.invoke(numbers[1], numbers[2])
    world.s3.objects = {key: put for key, put in world.s3.objects.items() if not key.startswith("claims/")}
    (first, *_) = world.replay(stream=True)
    assert (first.records, first.to_come, first.left) == (3, 0, "")
    assert holds(world), world.problems()


def test_dead_letter_of_an_unprotected_object_is_protected_on_its_way(world: World) -> None:
    world.table = PROTECTED
    world.tables = [PROTECTED]
    (one,) = world.send(*numbered(claim, 1))
    world.vault.refuses = DeliveryError("the hash key: disabled", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    assert world.invoke(one, one).payload == {"batchItemFailures": []}
    told = world.replay()
    assert [thing.left for thing in told] == ["the hash key: disabled"]
    assert not any(key.startswith("claims/") for key in world.s3.objects)
    world.heal()
    world.clock += 7200
    assert [thing.left for thing in world.replay()] == [""]
    (put,) = (put for key, put in world.s3.objects.items() if key.startswith("claims/"))
    assert "protection" not in put["Metadata"]
    assert b"Claims Motor" not in lines_in(put["Body"])[0]
    assert holds(world), world.problems()


def refused_letter(world: World, routes: RouteTable) -> None:
    """Leave a dead letter of `claims`, by these routes."""
    world.table = routes
    (one,) = world.send(*numbered(claim, 1))
    world.refused["key-of-claims"] = "AccessDenied"
    world.invoke(one, one)
    world.heal()
    world.clock += 7200


def test_dead_letter_that_is_older_than_the_rules_of_its_route_is_protected(world: World) -> None:
    refused_letter(world, TABLE)
    world.table = PROTECTED
    assert [thing.left for thing in world.replay()] == [""]
    (put,) = (put for key, put in world.s3.objects.items() if key.startswith("claims/"))
    assert b"Claims Motor" not in lines_in(put["Body"])[0]


def test_dead_letter_of_other_rules_is_left(world: World) -> None:
    refused_letter(world, PROTECTED)
    for routes in (
        TABLE,
        table(ROUTES.replace('prefix = "claims"\n', 'prefix = "claims"\n[[routes.protect]]\nremove = ["n"]\n')),
    ):
        world.table = routes
        (told,) = world.replay()
        assert told.left.startswith("its route had other rules when it was made")
    world.table = PROTECTED
    assert [thing.left for thing in world.replay()] == [""]


def test_name_without_a_claim_tells_nothing_of_the_record_as_it_came(world: World) -> None:
    world.has_checkpoint = False
    world.table = PROTECTED
    (one,) = world.send(*numbered(claim, 1))
    world.vault.refuses = DeliveryError("the hash key: disabled", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    world.invoke(one, one)
    world.heal()
    world.clock += 7200
    assert [thing.left for thing in world.replay()] == [""]
    (key,) = (key for key in world.s3.objects if key.startswith("claims/"))
    assert f"{zlib.crc32(numbered(claim, 1)[0] + b'\n'):08x}" not in key
    again = world.s3.objects[key]["Metadata"]["numbers-crc32"]
    assert key.endswith(f"-{again}.ndjson.gz"), "another try makes the same name, whatever its rules seal"


def test_unreadable_aggregate_stands_once_as_a_dead_letter(world: World) -> None:
    (one,) = world.send(aggregated(b"x")[:-1])
    world.invoke(one, one)
    assert holds(world), world.problems()


def test_worlds_tell_what_is_lost_and_what_stands_twice() -> None:
    """The judge itself: a deleted object is lost, a copied one stands twice, a foreign one is unexpected."""
    world = World(Random(0), table=TABLE)
    (one,) = world.send(*numbered(claim, 1))
    world.invoke(one, one)
    (key,) = (key for key in world.s3.objects if key.startswith("claims/"))
    gone = world.s3.objects.pop(key)
    assert world.problems() == [f"lost: ('shardId-000000000000', {one}, 0) from ['claims']"]
    world.s3.objects |= {key: gone, key.replace(str(one), "99"): gone}
    assert world.problems() == [f"2 times: ('shardId-000000000000', {one}, 0) in claims"]
    world.s3.objects = {key: {**gone, "Body": gzip.compress(b'{"n":77}\n')}}
    assert any(problem.startswith("unexpected") for problem in world.problems())


def test_shorter_batch_takes_back_what_went_ahead(world: World) -> None:
    """It is acknowledged, so what went ahead of it would be passed by routes that change before its rest comes."""
    one, two = world.send(*numbered(contact, 1, 2))
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    assert world.invoke(one, one).payload == {"batchItemFailures": []}
    world.deploy([MOVED_AND_WIDER])
    assert world.invoke(two, two).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_trial_that_is_left_is_written_down_before_its_objects_are_emptied(world: World) -> None:
    """Killed in between, the routes of before would take the emptied object for a delivered one."""
    one, two = world.send(*numbered(claim, 1), *numbered(contact, 2))
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.deploy([NO_CLAIMS])
    world.before_request = lambda request: world.kill() if "IfMatch" in request and is_of_claims(request) else None
    assert world.invoke(one, two).outcome is Outcome.FAILED
    world.before_request = lambda _: None
    world.deploy([TABLE])
    world.clock += 600
    assert world.invoke(one, two).payload == {"batchItemFailures": []}
    assert world.standing()["claims", numbered(claim, 1)[0]] == 1


def test_late_put_of_a_dead_letter_finds_its_name_taken_after_the_replay(world: World) -> None:
    """A killed invocation's put may land up to minutes later; without the name it would wait there again."""
    (one,) = world.send(*numbered(claim, 1))
    world.refused["key-of-claims"] = "AccessDenied"
    world.invoke(one, one)
    (letter,) = (put for key, put in world.s3.objects.items() if key.startswith("dead-letter/objects/"))
    world.heal()
    world.replay()
    with pytest.raises(Exception, match="PreconditionFailed"):
        world.s3.land({**letter, "IfNoneMatch": "*"})
    world.clock += 7200
    world.replay()
    assert not any(key.startswith("dead-letter/") for key in world.s3.objects), "an hour later the name is swept away"
    assert holds(world), world.problems()
