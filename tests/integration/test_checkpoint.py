"""The checkpoint table on moto, and the fake of the other tests by the same contract."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError

from aws.checkpoint import CheckpointTable
from aws.invocation import Invocation
from routing.errors import CheckpointError
from routing.model import ObjectKey, RouteName, RoutesDigest, SequenceNumber, Shard
from routing.reasons import Reason
from routing.stages.progress import Progress, Trial
from tests.fakes import MemoryCheckpoint
from tests.integration.conftest import TABLE, Aws

SHARD = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout", "shardId-000000000001")
A, B = RouteName("a"), RouteName("b")


@dataclass(frozen=True)
class Deployment:
    """What a claim needs to know of the routes."""

    digest: RoutesDigest
    prefixes: Mapping[RouteName, str]


ROUTES = Deployment(RoutesDigest("routes"), {A: "a", B: "b"})
LONG = SequenceNumber("49651069415459828167084584974714785136462334983055343634")

type Make = Callable[[str, float], Any]
"""(request id, seconds since the start) -> a checkpoint as that invocation sees it, 60 s before its end."""


@pytest.fixture(params=["table", "memory"])
def make(request: pytest.FixtureRequest, aws: Aws) -> Make:
    rows: dict[Any, Any] = {}

    def table(owner: str, now: float) -> CheckpointTable:
        return CheckpointTable(aws.dynamodb, TABLE, Invocation(owner, lambda: 60.0, now=lambda: 1e9 + now))

    def memory(owner: str, now: float) -> MemoryCheckpoint:
        return MemoryCheckpoint(now=lambda: now, owner=owner, deadline=now + 60, rows=rows)

    return {"table": table, "memory": memory}[request.param]


def watermarks(make: Make) -> dict[str, int]:
    with make("reader", 10_000.0).claim(SHARD, ROUTES) as claim:
        return dict(claim.watermarks)


def test_new_shard_has_no_watermarks(make: Make) -> None:
    assert watermarks(make) == {}


def test_committed_watermarks_are_there_for_the_next(make: Make) -> None:
    with make("one", 0).claim(SHARD, ROUTES) as claim:
        claim.commit({A: LONG, B: SequenceNumber("7")}, release=True)
    assert watermarks(make) == {"a": int(LONG), "b": 7}


def test_commit_of_one_route_leaves_the_others(make: Make) -> None:
    with make("one", 0).claim(SHARD, ROUTES) as claim:
        claim.commit({A: SequenceNumber("5"), B: SequenceNumber("5")}, release=True)
    with make("two", 1).claim(SHARD, ROUTES) as claim:
        claim.commit({A: SequenceNumber("9")}, release=True)
    assert watermarks(make) == {"a": 9, "b": 5}


def test_live_claim_refuses_another_invocation(make: Make) -> None:
    with make("one", 0).claim(SHARD, ROUTES):
        with pytest.raises(CheckpointError) as raised, make("two", 59).claim(SHARD, ROUTES):
            pass
        assert raised.value.reason == Reason.CLAIMED_ELSEWHERE


def test_claim_of_one_shard_leaves_others_free(make: Make) -> None:
    other = Shard(SHARD.stream_arn, "shardId-000000000002")
    with make("one", 0).claim(SHARD, ROUTES), make("two", 0).claim(other, ROUTES) as claim:
        claim.commit({A: SequenceNumber("1")}, release=True)
    assert watermarks(make) == {}


def test_claim_runs_out_with_its_invocation(make: Make) -> None:
    with make("killed", 0).claim(SHARD, ROUTES) as killed:
        with make("next", 61).claim(SHARD, ROUTES) as claim:
            claim.commit({A: SequenceNumber("5")}, release=False)
            with pytest.raises(CheckpointError, match="the claim was lost"):
                killed.commit({A: SequenceNumber("9")}, release=True)
        assert watermarks(make) == {"a": 5}


def test_claim_can_be_taken_again_by_its_owner(make: Make) -> None:
    """The SDK repeats a request whose answer was lost."""
    with make("one", 0).claim(SHARD, ROUTES), make("one", 1).claim(SHARD, ROUTES) as claim:
        claim.commit({A: SequenceNumber("5")}, release=True)


def test_failing_invocation_lets_go_at_once(make: Make) -> None:
    with pytest.raises(ZeroDivisionError), make("one", 0).claim(SHARD, ROUTES):
        raise ZeroDivisionError
    with make("two", 1).claim(SHARD, ROUTES):
        pass


def test_commit_that_releases_lets_the_next_in(make: Make) -> None:
    with make("one", 0).claim(SHARD, ROUTES) as claim:
        claim.commit({A: SequenceNumber("5")}, release=True)
        with make("two", 1).claim(SHARD, ROUTES) as second:
            second.commit({A: SequenceNumber("6")}, release=True)
    assert watermarks(make) == {"a": 6}


K, L = ObjectKey("a/1.gz"), ObjectKey("b/1.gz")


def intents(make: Make) -> frozenset[ObjectKey]:
    with make("reader", 10_000.0).claim(SHARD, ROUTES) as claim:
        return frozenset(claim.intents)


def test_intents_are_there_for_the_next_until_they_are_committed(make: Make) -> None:
    with make("killed", 0).claim(SHARD, ROUTES) as killed:
        killed.intend({K})
        killed.intend({L})
        assert intents(make) == {K, L}
    with make("next", 20_000).claim(SHARD, ROUTES) as claim:
        claim.commit({A: SequenceNumber("5")}, {L}, is_partial=True, release=True)
    assert intents(make) == {L}
    with make("last", 30_000).claim(SHARD, ROUTES) as claim:
        claim.commit({}, release=True)
    assert intents(make) == frozenset()


def test_what_is_written_down_already_costs_no_request(make: Make) -> None:
    with make("one", 0).claim(SHARD, ROUTES) as claim:
        claim.intend({K})
        token = claim.token
        claim.intend({K})
        claim.intend(())
        assert claim.token == token


def test_token_grows_from_claim_to_claim_and_with_every_change(make: Make) -> None:
    tokens = []
    for number in range(2):
        with make(f"number {number}", number * 100).claim(SHARD, ROUTES) as claim:
            tokens.append(claim.token or 0)
            claim.intend({ObjectKey(f"{number}")})
            tokens.append(claim.token or 0)
            claim.commit({}, release=True)
            tokens.append(claim.token or 0)
    assert tokens == sorted(set(tokens))


def test_token_of_a_row_made_anew_is_above_that_of_the_lost_one(aws: Aws) -> None:
    """Or whatever stands would be taken for the work of a later claim, and the shard would stand still."""
    tokens = []
    for seconds in (1000, 1001):
        table = CheckpointTable(aws.dynamodb, TABLE, Invocation("one", lambda: 60.0, now=lambda at=seconds: at))  # type: ignore[misc]
        with table.claim(SHARD, ROUTES) as claim:
            claim.intend({K})
            claim.commit({}, release=True)
            tokens.append(claim.token or 0)
        aws.dynamodb.delete_item(TableName=TABLE, Key={"shard": {"S": f"{SHARD.stream_arn}/{SHARD.shard_id}"}})
    assert tokens == sorted(set(tokens))


def test_intend_of_a_lost_claim_is_refused(make: Make) -> None:
    with make("killed", 0).claim(SHARD, ROUTES) as killed:
        with make("next", 61).claim(SHARD, ROUTES) as claim:
            claim.commit({}, release=True)
        with pytest.raises(CheckpointError, match="the claim was lost"):
            killed.intend({K})
    assert intents(make) == frozenset()


def test_request_that_lands_twice_changes_nothing_the_second_time(aws: Aws) -> None:
    """The SDK repeats a request, and the first one lands late: an old list of names must not come back."""
    sent: list[dict[str, Any]] = []

    class Recording:
        def update_item(self, **request: Any) -> Any:
            sent.append(request)
            return aws.dynamodb.update_item(**request)

    table = CheckpointTable(cast("Any", Recording()), TABLE, Invocation("one", lambda: 60.0))
    with table.claim(SHARD, ROUTES) as claim:
        claim.intend({K})
        claim.commit({A: SequenceNumber("5")}, release=False)
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            aws.dynamodb.update_item(**sent[1])
        claim.commit({A: SequenceNumber("6")}, release=True)
    assert CheckpointTable(aws.dynamodb, TABLE, Invocation("one", lambda: 60.0)).look(SHARD) == Progress(
        watermarks={A: 6}, prefix_watermarks={"a": 6}
    )


def test_look_tells_progress_without_claiming(aws: Aws) -> None:
    table = CheckpointTable(aws.dynamodb, TABLE, Invocation("one", lambda: 60.0))
    assert table.look(SHARD) == Progress()
    with table.claim(SHARD, ROUTES) as claim:
        claim.intend({K, L})
        claim.commit({A: SequenceNumber("5")}, {L}, is_partial=True, release=True)
    trial = Trial(routes=ROUTES.digest, watermarks={}, settled=frozenset({K}))
    assert table.look(SHARD) == Progress(
        watermarks={A: 5}, prefix_watermarks={"a": 5}, intents=frozenset({L}), trial=trial
    )


def test_ten_thousand_names_fit_into_a_row(make: Make) -> None:
    names = frozenset(
        ObjectKey(f"departments/orders/contact_record/date=2026-03-02/ctr-fanout-shardId-000000000001-{LONG}{i}.gz")
        for i in range(10_000)
    )
    with make("one", 0).claim(SHARD, ROUTES) as claim:
        claim.intend(names)
    assert intents(make) == names


def test_row_is_keyed_by_stream_and_shard_and_padded_and_expires(aws: Aws) -> None:
    table = CheckpointTable(aws.dynamodb, TABLE, Invocation("one", lambda: 60.0, now=lambda: 1_000_000.0))
    with table.claim(SHARD, ROUTES) as claim:
        (row,) = aws.dynamodb.scan(TableName=TABLE)["Items"]
        assert (row["claim"]["S"], row["claim_until"]["N"]) == ("one", "1000060000")
        claim.commit({A: LONG}, release=True)
    (row,) = aws.dynamodb.scan(TableName=TABLE)["Items"]
    assert row == {
        "shard": {"S": f"{SHARD.stream_arn}/{SHARD.shard_id}"},
        "watermarks": {"M": {"a": {"S": LONG.zfill(128)}}},
        "prefix_watermarks": {"M": {"a": {"S": LONG.zfill(128)}}},
        "version": {"N": "1000000001"},
        "expires_at": {"N": str(1_000_000 + 400 * 86_400)},
    }


@pytest.mark.usefixtures("aws")
def test_table_out_of_reach_is_one_clear_transient_error() -> None:
    def time_out(**_: object) -> None:
        raise ConnectTimeoutError(endpoint_url="https://dynamodb")

    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    client.meta.events.register("before-send.dynamodb.UpdateItem", time_out)
    table = CheckpointTable(client, TABLE, Invocation("one", lambda: 60.0))
    with pytest.raises(CheckpointError) as raised, table.claim(SHARD, ROUTES):
        pass
    assert str(raised.value) == "checkpoint: update failed with ConnectTimeoutError; Lambda sends again"


def test_missing_table_is_one_clear_transient_error(aws: Aws) -> None:
    table = CheckpointTable(aws.dynamodb, "nowhere", Invocation("one", lambda: 60.0))
    with pytest.raises(CheckpointError) as raised, table.claim(SHARD, ROUTES):
        pass
    assert raised.value.reason == Reason.CHECKPOINT_UNAVAILABLE
    assert str(raised.value) == "checkpoint: update failed with ResourceNotFoundException; Lambda sends again"
