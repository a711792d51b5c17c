"""Bugs that schedules and reviews have found, each told step by step."""

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import pytest

from local.event_source.lane import Batch, GivenUp
from local.event_source.records import StreamRecord, event_of
from local.event_source.shard import ShardReader
from local.event_source.verdict import Answer, Outcome
from operations.erase.request import ErasureRequest
from operations.replay.on_failure import OnFailureBatches
from operations.replay.record_letters import RecordLetters
from operations.replay.stream_records import StreamRecords
from routing.errors import DeliveryError
from routing.model import ObjectKey, RouteName, Shard
from routing.protection.sealing import SealContext
from routing.reasons import Reason
from routing.stages.progress import Claim
from routing.table.routes import RouteTable
from tests.builders import ROUTES, aggregated, claim, contact, lines_in, table
from tests.fakes import Crash, MemoryVault, client_error
from tests.faults.tables import PROTECTED, PROTECTED_NEW_CODE, READS_POISON, RENAMED, TABLE
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


def test_unexpected_error_of_a_replay_tells_where_it_was_raised_and_no_value(world: World) -> None:
    key, body = "aws/lambda/mapping/shardId-000000000000/2026/03/02/x", b'{"payload": 7, "Name": "Maria"}'
    world.s3.land({"Key": key, "Body": body, "Metadata": {}, "SSEKMSKeyId": "key-of-dead-letter"})
    (result,) = world.replay()
    assert result.blocked_by == "expected what ctr-fanout or Lambda puts here, got TypeError"
    assert re.search(r"on_failure\.py:\d+ replay > ", result.raised_at)
    assert "Maria" not in str(result)


def test_replay_of_an_odd_object_is_told_and_the_next_one_is_replayed(world: World) -> None:
    (one,) = world.send(*numbered(claim, 1))
    odd: list[bytes] = [b"", b"{}", b"[]", b'{"payload": 7}', b'{"payload": "{}", "requestContext": {}}', b"\xff"]
    for number, body in enumerate(odd):
        world.s3.land({"Key": f"aws/lambda/a{number}", "Body": body, "Metadata": {}})
    give_up(world, one)
    told = world.replay()
    assert [bool(result.blocked_by) for result in told] == [True] * len(odd) + [False]
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
    with world.replaying() as context:
        (listed,) = list(context.inventory.below("aws/lambda/"))
        told = OnFailureBatches(context).replay(listed)
    assert (
        told.blocked_by
        == "3 records are in the range of objects that other routes or other code have put; compare them by hand"
    )
    assert listed.key in world.s3.objects, "nothing is removed"


def test_dead_letter_of_a_record_is_left_while_its_batch_is_still_tried(world: World) -> None:
    """A newer decoder may read it; the next try of the batch would deliver it as well."""
    one, two = world.send(b"poison 1", *numbered(claim, 2))
    failing_once(world, "claims/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.clock += 7200
    with world.replaying() as context:
        (listed,) = list(context.inventory.below("dead-letter/records/"))
        told = RecordLetters(context).replay(listed, now=world.clock)
    assert told.blocked_by == "its batch is still being tried; it is settled with the next try"


def test_dead_letter_of_records_that_can_be_read_now_is_delivered_once(world: World) -> None:
    (one,) = world.send(b"poison 1")
    world.invoke(one, one)
    (key,) = (key for key in world.s3.objects if key.startswith("dead-letter/records/"))
    letter = json.loads(lines_in(world.s3.objects[key]["Body"])[0])
    readable = {**letter, "rawData": base64.b64encode(numbered(claim, 1)[0]).decode()}
    world.s3.objects[key]["Body"] = gzip.compress(json.dumps(readable).encode() + b"\n")
    for later, expected in ((60, True), (7200, False)):
        with world.replaying() as context:
            (listed,) = list(context.inventory.below("dead-letter/records/"))
            told = RecordLetters(context).replay(listed, now=world.clock + later)
        assert bool(told.blocked_by) == expected, told
    assert key not in world.s3.objects
    standing = [key for key, put in world.s3.objects.items() if lines_in(put["Body"]) == numbered(claim, 1)]
    assert sorted(key.partition("/")[0] for key in standing) == ["all", "claims"]


def test_stream_is_replayed_up_to_the_slowest_route_and_the_rest_is_told(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.invoke(numbers[0], numbers[0])
    (first, *_) = world.replay(stream=True)
    assert (first.records, first.to_come, first.blocked_by) == (0, 2, "")
    world.invoke(numbers[1], numbers[2])
    world.s3.objects = {key: put for key, put in world.s3.objects.items() if not key.startswith("claims/")}
    (first, *_) = world.replay(stream=True)
    assert (first.records, first.to_come, first.blocked_by) == (3, 0, "")
    assert holds(world), world.problems()


def test_dead_letter_of_an_unprotected_object_is_protected_on_its_way(world: World) -> None:
    world.table = PROTECTED
    world.tables = [PROTECTED]
    (one,) = world.send(*numbered(claim, 1))
    world.vault.refuses = DeliveryError("the hash key: disabled", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    assert world.invoke(one, one).payload == {"batchItemFailures": []}
    told = world.replay()
    assert [result.blocked_by for result in told] == ["the hash key: disabled"]
    assert not any(key.startswith("claims/") for key in world.s3.objects)
    world.heal()
    world.clock += 7200
    assert [result.blocked_by for result in world.replay()] == [""]
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
    assert [result.blocked_by for result in world.replay()] == [""]
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
        assert told.blocked_by.startswith("its route had other rules when it was made")
    world.table = PROTECTED
    assert [result.blocked_by for result in world.replay()] == [""]


def test_name_without_a_claim_tells_nothing_of_the_record_as_it_came(world: World) -> None:
    world.has_checkpoint = False
    world.table = PROTECTED
    (one,) = world.send(*numbered(claim, 1))
    world.vault.refuses = DeliveryError("the hash key: disabled", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    world.invoke(one, one)
    world.heal()
    world.clock += 7200
    assert [result.blocked_by for result in world.replay()] == [""]
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


# --- the edges: partial replays, renames, new code, forged input, restored tables ------------------------------

OTHER_CODE = table(ROUTES, code=READS_POISON)
"""The same routes with code that reads what was poison."""


def lines_below(world: World, prefix: str) -> list[bytes]:
    """Return what a reader of a prefix sees."""
    return [
        line
        for key, put in sorted(world.s3.objects.items())
        if key.startswith(prefix)
        for line in lines_in(put["Body"])
    ]


def test_replay_that_fails_in_part_commits_nothing(world: World) -> None:
    """Its names would become part of a trial, and the next delivery would empty what the second replay has put."""
    numbers = world.send(*numbered(claim, 1, 2, 3, 4, 5, 6))
    give_up(world, *numbers[:2])
    world.invoke(numbers[2], numbers[5])
    failing_once(world, "claims/")
    assert "SlowDown" in world.replay()[0].blocked_by
    assert [result.blocked_by for result in world.replay()] == [""]
    world.invoke(numbers[2], numbers[4])
    assert holds(world), world.problems()


@pytest.mark.parametrize("renamed", RENAMED[1:3], ids=["claims", "all"])
@pytest.mark.parametrize("prefix", ["all/", "claims/"])
def test_route_renamed_below_its_prefix_between_two_tries_and_named_back(
    world: World, renamed: RouteTable, prefix: str
) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3, 4))
    failing_once(world, prefix)
    assert world.invoke(numbers[0], numbers[3]).payload != {"batchItemFailures": []}
    world.deploy([renamed])
    assert world.invoke(numbers[0], numbers[1]).payload == {"batchItemFailures": []}
    world.deploy([TABLE])
    for first, last in ((0, 3), (1, 2), (2, 3)):
        assert world.invoke(numbers[first], numbers[last]).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_renamed_route_delivers_nothing_again_however_the_batch_is_cut(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3, 4))
    world.invoke(numbers[0], numbers[3])
    world.deploy(RENAMED[1:2])
    world.invoke(numbers[1], numbers[2])
    world.invoke(numbers[2], numbers[3])
    assert holds(world), world.problems()


def test_record_that_new_code_can_read_goes_to_routes_that_have_passed_it(world: World) -> None:
    """Poison blocked a shard, a decoder that reads it is deployed, and the route that went ahead lacks it."""
    poison, last = world.send(b"poison 1", *numbered(claim, 2))
    failing_once(world, "claims/")
    assert world.invoke(poison, last).payload != {"batchItemFailures": []}
    world.deploy([OTHER_CODE])
    assert world.invoke(poison, last).payload == {"batchItemFailures": []}
    assert [b'"n":1,' in line for line in lines_below(world, "all/")] == [True, False]
    assert holds(world), world.problems()


def planted(world: World, number: str, *, mapping: str = "mapping", stream: str = STREAM, key: str = "") -> Any:
    """Plant a batch below `aws/lambda/`, and replay."""
    event = event_of([StreamRecord(number, claim(n=-1), "key", world.clock)], "shardId-000000000000", stream)
    message = {
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "KinesisBatchInfo": {"shardId": "shardId-000000000000", "streamArn": stream},
        "payload": json.dumps(event),
    }
    name = f"aws/lambda/{mapping}/shardId-000000000000/2026/03/02/x"
    world.s3.land(
        {
            "Key": name,
            "Body": json.dumps(message).encode(),
            "Metadata": {},
            "SSEKMSKeyId": key or "key-of-dead-letter",
        }
    )
    (told,) = world.replay()
    assert name in world.s3.objects, "what is refused is not removed"
    return told


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"mapping": "another"}, "expected a batch of this stack's event source mapping"),
        ({"key": "aws/s3"}, "expected it under DeadLetterKey"),
        ({"stream": f"{STREAM}-of-another"}, "of another stream or shard than this stack's"),
        ({}, "ahead of the stream, which has not issued them"),
    ],
    ids=["mapping", "key", "stream", "number"],
)
def test_planted_batch_is_refused_and_hides_nothing(world: World, asked: dict[str, str], why: str) -> None:
    """Numbers of all nines would make every real record look delivered, with success and without an alarm."""
    one, two = world.send(*numbered(claim, 1, 2))
    world.invoke(one, one)
    assert why in planted(world, "9" * 56, **asked).blocked_by
    assert world.invoke(two, two).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


@pytest.mark.parametrize("stream", [STREAM, f"{STREAM}-of-another"], ids=["ahead", "foreign"])
def test_invented_event_is_refused_and_hides_nothing(world: World, stream: str) -> None:
    one, two = world.send(*numbered(claim, 1, 2))
    world.invoke(one, one)
    invented = [StreamRecord("9" * 56, claim(n=-1), "key", world.clock)]
    assert world._invoke(event_of(invented, "shardId-000000000000", stream)).outcome is Outcome.FAILED
    assert world.calls["refused events"] == 1
    assert world.invoke(two, two).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_records_below_a_watermark_that_the_stream_never_issued_are_not_skipped(world: World) -> None:
    """The stream was made anew under its name, with lower numbers: an error, where success would lose them all."""
    numbers = world.send(*numbered(claim, 1, 2))
    world.invoke(numbers[0], numbers[1])
    shard = world.shards["shardId-000000000000"]
    shard.records, world.sent, world._number = [], {}, 0
    world.s3.objects.clear()
    (again,) = world.send(*numbered(claim, 7))
    assert world.invoke(again, again).outcome is Outcome.FAILED
    world.recovery().recover(Shard(STREAM, "shardId-000000000000"))
    assert world.invoke(again, again).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def killed_before_the_commit(world: World, first: int, last: int) -> None:
    """Let everything land of a try that is killed before it can commit."""
    with pytest.MonkeyPatch.context() as patch:
        keep = Claim._keep

        def killing(claim: Claim, progress: Any, *, release: bool) -> None:
            if release:
                raise Crash
            keep(claim, progress, release=release)

        patch.setattr(Claim, "_keep", killing)
        assert world.invoke(first, last).outcome is Outcome.FAILED
    world.clock += 600


def test_table_restored_from_a_backup_empties_nothing_that_was_committed_since(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3, 4))
    killed_before_the_commit(world, numbers[0], numbers[1])
    world.back_up()
    world.invoke(numbers[0], numbers[1])
    world.invoke(numbers[2], numbers[2])
    issued = max(row.version for row in world.rows.values())
    world.rows = deepcopy(world.backup)
    world.clock += 1000
    assert world.recovery().recover(Shard(STREAM, "shardId-000000000000")).blocked_by == ""
    assert min(row.version for row in world.rows.values()) > issued
    assert world.invoke(numbers[3], numbers[3]).payload == {"batchItemFailures": []}
    assert holds(world), "although the stream has forgotten what is intended"
    world.restore()
    assert world.invoke(numbers[2], numbers[3]).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_what_an_unfinished_try_has_left_is_found_after_a_restore() -> None:
    """Two tries of other cuts stand side by side, and the restored row knows neither."""
    met = 0
    for seed in range(12):  # the order of the puts is drawn
        world = World(Random(seed))
        world.back_up()
        numbers = world.send(*numbered(claim, 1, 2, 3))
        killed_before_the_commit(world, numbers[0], numbers[2])
        world.before_request = crash_before_it_empties
        assert world.invoke(numbers[1], numbers[2]).outcome is Outcome.FAILED
        world.before_request = lambda _: None
        world.clock += 600
        met += any("2 times" in problem for problem in world.problems())
        world.restore()
        assert holds(world), world.problems()
        assert world.invoke(numbers[0], numbers[2]).payload == {"batchItemFailures": []}
        assert holds(world), world.problems()
    assert met > 0


def crash_before_it_empties(request: dict[str, Any]) -> None:
    if "IfMatch" in request:
        raise Crash


class RandomVault(MemoryVault):
    """Seals as the Encryption SDK does: never twice the same."""

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:
        self.scopes.append("sealed")
        return super().seal(route, context, text + b" " * len(self.scopes))


def test_dead_letter_of_a_record_to_a_sealing_route_is_delivered_once_by_two_replays(world: World) -> None:
    world.table, world.vault = PROTECTED, RandomVault()
    (one,) = world.send(b"poison 1")
    world.invoke(one, one)
    world.table = next(one for one in PROTECTED_NEW_CODE if one.code == READS_POISON)
    world.clock += 7200
    failing_once(world, "all/")
    assert "SlowDown" in world.replay(records=True)[0].blocked_by
    assert [result.blocked_by for result in world.replay(records=True)] == [""]
    assert (len(lines_below(world, "claims/")), len(lines_below(world, "all/"))) == (1, 1)


@pytest.mark.parametrize("order", ["stream first", "letters first"])
@pytest.mark.parametrize("source", ["stream", "on-failure"])
def test_record_that_can_be_read_now_is_delivered_once_whatever_is_replayed_first(
    world: World, source: str, order: str
) -> None:
    numbers = world.send(b"poison 1", *numbered(claim, 2), b"poison 3", *numbered(claim, 4))
    world.invoke(numbers[0], numbers[3])
    world.deploy([OTHER_CODE])
    world.clock += 7200

    def replay_the_rest() -> None:
        if source == "on-failure":
            give_up(world, *numbers)
        told = world.replay(stream=source == "stream")
        assert [result.blocked_by for result in told] == [""]
        assert told[0].waiting == (2 if order == "stream first" else 0)

    def replay_letters() -> None:
        assert {result.blocked_by for result in world.replay(records=True)} == {""}

    steps = [replay_the_rest, replay_letters]
    for step in steps if order == "stream first" else reversed(steps):
        step()
    assert len(lines_below(world, "all/")) == 4
    assert holds(world), world.problems()


@pytest.mark.parametrize("order", ["stream first", "letters first"])
@pytest.mark.parametrize("seed", range(4))
def test_part_of_an_aggregate_that_was_replayed_is_told_from_the_others(seed: int, order: str) -> None:
    """They share a sequence number and a place; the one stands as a replayed dead letter, the other nowhere."""
    world = World(Random(seed))  # draws what is replayed first
    (one,) = world.send([b"poison 1", contact(n=2, DisconnectTimestamp="2026-03-01T00:00:00Z")])
    failing_once(world, "all/")
    assert world.invoke(one, one).payload != {"batchItemFailures": []}
    give_up(world, one)
    (two,) = world.send(*numbered(contact, 3))
    world.invoke(two, two)
    world.deploy([OTHER_CODE])
    world.clock += 7200
    for is_of_stream in (False, True) if order == "letters first" else (True, False):
        told = world.replay(stream=is_of_stream, records=not is_of_stream)
        assert {result.blocked_by for result in told} == {""}
    assert len(lines_below(world, "all/")) == 3
    assert sorted(line.count(b'"n":2,') for line in lines_below(world, "all/")) == [0, 0, 1]
    assert holds(world), world.problems()


@pytest.mark.parametrize("parts", [1, 2], ids=["records", "an aggregate"])
def test_record_that_other_code_could_neither_read_nor_set_aside_is_found_missing(world: World, parts: int) -> None:
    """Its dead letter was refused until Lambda gave up; an object of the other routes reaches over it."""
    documents: list[Any] = [*numbered(claim, 1), b"poison 2", *numbered(claim, 3)]
    numbers = world.send(*documents) if parts == 1 else world.send(documents)
    world.refused["key-of-dead-letter"] = "AccessDenied"
    assert world.invoke(numbers[0], numbers[-1]).payload != {"batchItemFailures": []}
    world.heal()
    give_up(world, *numbers)
    (later,) = world.send(*numbered(claim, 4))
    world.invoke(later, later)
    world.deploy([OTHER_CODE])
    for _ in range(2):
        assert {result.blocked_by for result in world.replay(stream=True)} == {""}
        assert sorted(line.count(b'"n":2,') for line in lines_below(world, "all/")) == [0, 0, 0, 1]
    assert holds(world), world.problems()


def test_record_that_waits_as_a_dead_letter_is_not_delivered_twice_to_a_new_route(world: World) -> None:
    """The new route has no watermark, and a restart brings the record to it; the letter is for the others then."""
    numbers = world.send(*numbered(claim, 1), b"poison 2")
    world.invoke(numbers[0], numbers[1])
    world.deploy([table(ROUTES.replace("[unmatched]", AUDIT + "[unmatched]"), code=READS_POISON)])
    world.invoke(numbers[0], numbers[1])
    assert len(lines_below(world, "audit/")) == 2
    world.clock += 7200
    assert [result.blocked_by for result in world.replay(records=True)] == [""]
    assert (len(lines_below(world, "audit/")), len(lines_below(world, "all/"))) == (2, 2)
    assert holds(world), world.problems()


def letter_beside_its_object(world: World) -> ObjectKey:
    """Leave a full dead letter beside its delivered object, on a shard that gets no more records."""
    one, two = world.send(*numbered(claim, 1, 2))
    world.refused["key-of-claims"] = "AccessDenied"
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.heal()
    world.clock += 60
    world.refused["key-of-dead-letter"] = "AccessDenied"
    for number in (one, two):
        assert world.invoke(number, number).payload == {"batchItemFailures": []}
    world.heal()
    world.clock += 7200
    (key,) = (key for key, put in world.s3.objects.items() if key.startswith("dead-letter/") and lines_in(put["Body"]))
    return ObjectKey(key)


def test_full_dead_letter_beside_its_object_is_emptied_by_the_replay(world: World) -> None:
    key = letter_beside_its_object(world)
    assert world.replay() == []
    assert lines_in(world.s3.objects[key]["Body"]) == []
    assert holds(world), world.problems()


def test_full_dead_letter_beside_its_object_can_be_erased(world: World) -> None:
    key = letter_beside_its_object(world)
    assert world.erase("c-1")
    assert lines_in(world.s3.objects[key]["Body"]) == []


def test_dead_letter_replayed_beside_an_erasure_is_erased(world: World) -> None:
    """The prefix of `all` is walked before `claims`; whenever the letter moves, it is found."""
    for prefix in ("all/contacts", "claims"):
        for turn in range(4):
            world = World(Random(turn))
            (one,) = world.send(claim(n=1, ContactId="contact-1", DisconnectTimestamp="2026-03-02T00:00:00Z"))
            world.refused[f"key-of-{prefix.partition('/')[0]}"] = "AccessDenied"
            world.invoke(one, one)
            world.heal()
            world.clock += 7200
            assert erased_beside_a_replay(world, turn), "nothing is left"
            assert lines_below(world, "") == []


def erased_beside_a_replay(world: World, turn: int) -> bool:
    """Erase object by object, and replay before the one that is given."""
    after: str | None = None
    is_done = True
    for place in range(20):
        if place == turn:
            world.replay()
        request = ErasureRequest(contact_ids=["contact-1"], apply=True, limit=1, after=after)
        done = world._erase_slice(request)
        is_done = is_done and not any(result["blocked_by"] for result in done.results)
        after = done.next
        if after is None and place >= turn:
            return is_done
    raise AssertionError("the erasure does not end")


def test_batch_that_makes_more_objects_than_there_is_time_for_ends(world: World) -> None:
    """Each try would cost a refused put, a look and a put for each object, and commit nothing."""
    world.seconds_a_request = 1.0  # one invocation lives for less than thirty requests
    dates = [f"2026-{month:02}-{day:02}T00:00:00Z" for month in (1, 2, 3) for day in range(1, 26)]
    world.send(*(contact(n=number, DisconnectTimestamp=date) for number, date in enumerate(dates, 1)))
    poller = world.poller(batch_size=100)
    (shard,) = world.shards.values()
    poller.readers[shard.shard_id] = reader = ShardReader(poller.mapping, shard.shard_id)
    reader.feed(shard.records, world.clock)
    world.drain(poller)
    assert world.calls["too long"] > 0, world.calls
    assert world.calls["invocations"] < 60
    assert holds(world), world.problems()


def test_names_to_empty_that_do_not_fit_into_the_time_are_emptied_try_by_try(world: World) -> None:
    dates = [f"2026-{month:02}-{day:02}T00:00:00Z" for month in (1, 2) for day in range(1, 26)]
    numbers = world.send(*(contact(n=number, DisconnectTimestamp=date) for number, date in enumerate(dates, 1)))
    killed_before_the_commit(world, numbers[0], numbers[-1])
    world.seconds_a_request = 1.0
    answers: list[Answer] = []
    while not answers or answers[-1].payload != {"batchItemFailures": []}:
        answers.append(world.invoke(numbers[0], numbers[0]))
        world.clock += 600
        assert len(answers) < 10, "no try gets further than the one before"
        assert {row.watermarks[RouteName("all")] for row in world.rows.values()} == {numbers[0]}, (
            "records wait for no empty name"
        )
    assert len(answers) > 1
    world.seconds_a_request = 0.01
    world.invoke(numbers[1], numbers[-1])
    assert holds(world), world.problems()


def test_refused_destination_with_a_longer_earlier_try_shows_its_records_once_when_the_key_is_back(
    world: World,
) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3, 4, 5))
    failing_once(world, "all/")
    assert world.invoke(numbers[0], numbers[4]).payload != {"batchItemFailures": []}
    world.refused["key-of-claims"] = "AccessDenied"
    assert world.invoke(numbers[0], numbers[1]).payload == {"batchItemFailures": []}
    world.heal()
    world.clock += 60
    assert world.invoke(numbers[2], numbers[4]).payload == {"batchItemFailures": []}
    assert [line.count(b'"n"') for line in lines_below(world, "claims/")] == [1, 1, 1], "nothing is there twice"
    world.clock += 7200
    world.replay()
    assert len(lines_below(world, "claims/")) == 5
    world.send(*numbered(contact, 6))
    world.drain(world.poller())
    assert holds(world), world.problems()


def test_replay_removes_only_what_it_has_read(world: World) -> None:
    """An object that was replaced while it was being replayed stays; S3 compares its ETag."""
    one, two = world.send(*numbered(claim, 1, 2))
    give_up(world, one, two)
    (key,) = (key for key in world.s3.objects if key.startswith("aws/lambda/"))

    def replaced(request: dict[str, Any]) -> None:
        if request.get("Key") == key and "IfMatch" in request and "Body" not in request:
            world.s3.land({**world.s3.objects[key], "IfNoneMatch": None})

    world.before_request = replaced
    (told,) = world.replay()
    assert told.blocked_by == "DeleteObject failed with PreconditionFailed"
    assert key in world.s3.objects
    world.before_request = lambda _: None
    assert [result.blocked_by for result in world.replay()] == [""]
    assert holds(world), world.problems()


def test_two_puts_of_the_same_records_never_have_the_same_bytes(world: World) -> None:
    """Whatever S3 makes ETags of, a replacement that is still under way finds another one."""
    one, two = world.send(*numbered(claim, 1, 2))
    bodies: list[bytes] = []
    world.before_request = lambda request: bodies.append(request["Body"]) if is_put_of_all(request) else None
    for prefix in ("claims/", "claims/"):
        before = world.before_request
        failing_once(world, prefix)
        failing = world.before_request
        world.before_request = lambda request, before=before, failing=failing: (before(request), failing(request))  # type: ignore[assignment, misc]
        world.invoke(one, two)
        world.deploy([OTHER_CODE if world.table is TABLE else TABLE])  # what went ahead is taken back and put again
        world.before_request = before
    world.invoke(one, two)
    assert len(bodies) >= 3
    assert len(set(bodies)) == len(bodies)
    assert {gzip.decompress(body) for body in bodies} == {gzip.decompress(bodies[0])}


def is_put_of_all(request: dict[str, Any]) -> bool:
    return "Body" in request and str(request["Key"]).startswith("all/")


AUDIT = '[[routes]]\nname = "audit"\nabout = "All again"\nkinds = ["contact_record"]\nprefix = "audit"\n\n'

OTHER_QUEUES = table(ROUTES.replace('prefix = "Claims"', 'prefix = "Other"'))
"""`claims` takes what it did not take, and not what it took."""


# --- found by a model of its own: expired shards, nested objects, moved prefixes, what an erasure leaves -----------


def test_shard_that_the_stream_no_longer_lists_is_recovered(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3))
    killed_before_the_commit(world, numbers[0], numbers[1])
    world.back_up()
    world.invoke(numbers[0], numbers[1])
    give_up(world, numbers[2])
    world.shards["shardId-000000000000"].is_expired = True
    world.restore()
    assert [result.blocked_by for result in world.replay()] == [""]
    assert holds(world), world.problems()


def test_recovery_knows_an_object_by_the_dead_letter_that_holds_its_records(world: World) -> None:
    """The earlier try began one record later; its name is not the one that the dead letter will replace."""
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.back_up()
    killed_before_the_commit(world, numbers[1], numbers[2])
    world.refused["key-of-claims"] = "AccessDenied"
    world.invoke(numbers[0], numbers[2])
    world.heal()
    world.restore()
    world.clock += 7200
    world.replay()
    assert holds(world), world.problems()


def test_recovery_keeps_a_name_that_was_to_be_emptied_and_was_not_used_since(world: World) -> None:
    """Its route had passed it, and the key refused every put; nothing overlaps it."""
    one, two = world.send(*numbered(contact, 1), *numbered(claim, 2))
    failing_once(world, "all/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    world.deploy([NO_CLAIMS])
    world.refused["key-of-claims"] = "AccessDenied"
    assert world.invoke(one, two).payload == {"batchItemFailures": []}
    world.back_up()
    world.heal()
    world.restore()
    (three,) = world.send(*numbered(contact, 3))
    world.invoke(three, three)
    assert lines_below(world, "claims/") == []
    assert holds(world), world.problems()


def test_recovery_tells_what_the_stream_cannot_bring_again(world: World) -> None:
    """The later object is shorter, and who knows whether the rest was delivered elsewhere."""
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.back_up()
    killed_before_the_commit(world, numbers[0], numbers[2])
    world.before_request = crash_before_it_empties
    for seed in range(12):
        world.random.seed(seed)
        world.invoke(numbers[1], numbers[1])
        world.clock += 600
    world.before_request = lambda _: None
    assert any("2 times" in problem for problem in world.problems())
    standing = {key: put["Body"] for key, put in world.s3.objects.items()}
    world.shards["shardId-000000000000"].is_expired = True
    told = world.recovery().recover(Shard(STREAM, "shardId-000000000000"))
    assert "objects overlap later ones" in told.blocked_by
    assert told.records == 0
    assert {key: put["Body"] for key, put in world.s3.objects.items()} == standing


def test_replay_of_the_stream_reaches_over_no_object_of_other_routes(world: World) -> None:
    others = [
        contact(n=number, Queue={"Name": "Other"}, DisconnectTimestamp="2026-03-02T00:00:00Z") for number in (2, 3)
    ]
    documents = [*numbered(claim, 1), *others, *numbered(claim, 4)]
    numbers = world.send(*documents)
    world.deploy([OTHER_QUEUES])
    world.invoke(numbers[0], numbers[3])
    assert len(lines_below(world, "claims/")) == 2
    world.deploy([TABLE])
    (shard,) = world.shards.values()
    for first in (0, 3, 0):
        with world.replaying() as context:
            StreamRecords(context).replay(event_of(shard.records[first:], shard.shard_id, STREAM), "", is_settled=True)
    assert sorted(lines_below(world, "claims/")) == sorted(documents)


def test_prefix_keeps_its_watermark_while_another_prefix_has_its_route(world: World) -> None:
    numbers = world.send(*numbered(claim, 1, 2, 3))
    world.invoke(numbers[0], numbers[1])
    world.deploy([table(ROUTES.replace('prefix = "claims"', 'prefix = "elsewhere"'))])
    world.invoke(numbers[2], numbers[2])
    world.deploy([RENAMED[1]])
    world.invoke(numbers[1], numbers[2])
    assert [line.count(b'"n"') for line in lines_below(world, "claims/")] == [1, 1, 1]
    assert holds(world), world.problems()


@pytest.mark.parametrize("order", ["stream first", "letters first"])
@pytest.mark.parametrize("others", [0, 1])
def test_record_that_was_erased_from_a_dead_letter_does_not_come_back(world: World, others: int, order: str) -> None:
    documents = [b"poison 1", b"poison 2"][: 1 + others]
    numbers = world.send(*documents, *numbered(claim, 3))
    world.invoke(numbers[0], numbers[-1])
    assert world.erase("poison 1")
    world.deploy([OTHER_CODE])
    for _ in range(2):
        world.clock += 7200
        for is_of_stream in (True, False) if order == "stream first" else (False, True):
            told = world.replay(stream=is_of_stream, records=not is_of_stream)
            assert {result.blocked_by for result in told} == {""}
        assert len(lines_below(world, "all/")) == 1 + others
    assert holds(world), world.problems()


def test_trial_of_an_expired_shard_ends_with_the_replay_of_its_batch(world: World) -> None:
    """Nothing else would ever end it, and what went ahead could not be erased or moved."""
    one, two = world.send(*numbered(claim, 1, 2))
    failing_once(world, "claims/")
    assert world.invoke(one, two).payload != {"batchItemFailures": []}
    give_up(world, one, two)
    world.shards["shardId-000000000000"].is_expired = True
    assert [result.blocked_by for result in world.replay()] == [""]
    assert [row.progress.trial for row in world.rows.values()] == [None]
    assert holds(world), world.problems()


def test_batch_of_an_expired_shard_moves_no_watermark_beyond_the_furthest(world: World) -> None:
    one, two, three = world.send(*numbered(claim, 1, 2, 3))
    world.invoke(one, two)
    give_up(world, three)
    world.shards["shardId-000000000000"].is_expired = True
    assert [result.blocked_by for result in world.replay()] == [""]
    assert {mark for row in world.rows.values() for mark in row.watermarks.values()} == {two}


def test_what_was_emptied_is_not_emptied_again_by_the_next_try_of_a_route_that_fails(world: World) -> None:
    dates = [f"2026-01-{day:02}T00:00:00Z" for day in range(1, 21)]
    numbers = world.send(*(contact(n=number, DisconnectTimestamp=date) for number, date in enumerate(dates, 1)))
    killed_before_the_commit(world, numbers[0], numbers[-1])
    emptied: list[str] = []

    def trouble(request: dict[str, Any]) -> None:
        if "Body" in request and not lines_in(request["Body"]):
            emptied.append(request["Key"])
        elif "Body" in request:
            raise client_error("SlowDown")

    world.deploy([OTHER_CODE])  # so that what stands is put again
    world.before_request = trouble
    for _ in range(3):
        assert world.invoke(numbers[0], numbers[0]).payload != {"batchItemFailures": []}
        world.clock += 600
    assert len(emptied) == len(set(emptied)) == len(dates) - 1


def test_trial_ends_with_its_batch_although_every_route_was_ahead_before(world: World) -> None:
    """A name was all that was left to empty. A later replay of earlier records must not take the batch back."""
    numbers = world.send(*numbered(claim, 1, 2, 3, 4, 5))
    failing_once(world, "all/")
    assert world.invoke(numbers[0], numbers[4]).payload != {"batchItemFailures": []}
    world.refused["key-of-claims"] = "AccessDenied"
    assert world.invoke(numbers[0], numbers[1]).payload == {"batchItemFailures": []}
    failing_once(world, "all/")
    assert world.invoke(numbers[2], numbers[4]).payload != {"batchItemFailures": []}
    world.heal()
    world.clock += 60

    def empties_fail(request: dict[str, Any]) -> None:
        if "Body" in request and not lines_in(request["Body"]):
            raise client_error("SlowDown")

    world.before_request = empties_fail
    assert world.invoke(numbers[2], numbers[4]).payload != {"batchItemFailures": []}
    world.before_request = lambda _: None
    assert world.invoke(numbers[2], numbers[4]).payload == {"batchItemFailures": []}
    assert [row.progress.trial for row in world.rows.values()] == [None]
    give_up(world, *numbers[1:4])
    world.clock += 7200
    for _ in range(2):
        world.replay()
    assert holds(world), world.problems()


@pytest.mark.parametrize("is_expired", [False, True])
def test_batch_that_new_code_reads_is_compared_with_objects_that_reach_beyond_it(
    world: World, *, is_expired: bool
) -> None:
    """The code before delivered what lay around a poison record, whose dead letter it emptied when Lambda gave up."""
    numbers = world.send(*numbered(claim, 1), b"poison 2", *numbered(claim, 3, 4))
    world.refused["key-of-dead-letter"] = "AccessDenied"
    assert world.invoke(numbers[0], numbers[3]).payload != {"batchItemFailures": []}
    world.heal()
    world.clock += 60
    give_up(world, *numbers[:2])
    assert world.invoke(numbers[2], numbers[3]).payload == {"batchItemFailures": []}
    world.deploy([OTHER_CODE])
    world.shards["shardId-000000000000"].is_expired = is_expired
    (told,) = world.replay()
    assert ("compare them by hand" in told.blocked_by) is is_expired
    if not is_expired:
        assert len(lines_below(world, "all/")) == 4
        assert holds(world), world.problems()


def test_name_that_was_emptied_during_a_trial_may_be_filled_by_a_replay(world: World) -> None:
    """New code leaves the trial; what was emptied in it holds the records of a moved dead letter by then."""
    numbers = world.send(*numbered(claim, 1, 2, 3, 4, 5))
    failing_once(world, "all/")
    assert world.invoke(numbers[0], numbers[4]).payload != {"batchItemFailures": []}
    world.refused["key-of-claims"] = "AccessDenied"
    assert world.invoke(numbers[0], numbers[1]).payload == {"batchItemFailures": []}
    world.heal()
    world.clock += 60
    failing_once(world, "all/")
    assert world.invoke(numbers[2], numbers[4]).payload != {"batchItemFailures": []}
    world.clock += 7200
    assert [result.blocked_by for result in world.replay()] == [""]
    world.deploy([OTHER_CODE])
    assert world.invoke(numbers[2], numbers[4]).payload == {"batchItemFailures": []}
    assert holds(world), world.problems()


def test_dead_letter_of_a_record_waits_for_the_route_that_lags_behind(world: World) -> None:
    """Lambda gave up on its batch for that route; a mapping made anew would bring the record again."""
    (zero,) = world.send(*numbered(claim, 0))
    assert world.invoke(zero, zero).payload == {"batchItemFailures": []}
    numbers = world.send(*numbered(claim, 1), b"poison 2", *numbered(claim, 3))
    world.before_request = lambda request: unavailable(request) if is_of_claims(request) else None
    assert world.invoke(numbers[0], numbers[1]).payload != {"batchItemFailures": []}
    give_up(world, *numbers[:2])
    assert world.invoke(numbers[2], numbers[2]).payload != {"batchItemFailures": []}
    world.before_request = lambda _: None
    world.deploy([OTHER_CODE])
    world.clock += 7200
    (inventory_key,) = (key for key in world.s3.objects if key.startswith("dead-letter/records/"))
    with world.replaying() as context:
        inventory = world.inventory()
        (listed,) = inventory.below(inventory_key)
        told = RecordLetters(context).replay(listed, now=world.clock)
    assert told.blocked_by.startswith("claims has not reached its records yet")
    assert world.invoke(numbers[0], numbers[2]).payload == {"batchItemFailures": []}
    for _ in range(2):
        world.replay(records=True)
    assert holds(world), world.problems()


def unavailable(request: dict[str, Any]) -> None:
    if "Body" in request:
        raise client_error("SlowDown")
