"""Replay and reconcile on the deployed stack, where policies are enforced."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.reconcile import Balances, Range, as_lines, balances, holds, show
from cli.recover import run as recover
from cli.replay import Replay, function_of, run
from cli.stack_function import StackFunctionError
from local.connect import ConnectStandIn
from local.deployment import STACK
from local.event_source import EventSource
from local.people import CONNECT, role_arn
from routing.lambda_event import event_in
from routing.model import RouteName
from tests.e2e.conftest import Stack
from tests.e2e.test_denials import nothing

_COUNT = 200


@pytest.fixture
def delivered(enforced: Stack) -> Stack:
    """Deliver while the key of one route is disabled."""
    name = enforced.deployed.stream
    enforced.sent = ConnectStandIn(enforced.emulator, name, seed=3, role=CONNECT).send(_COUNT, nothing)
    kms, key = enforced.emulator.client("kms"), enforced.key("orders")
    kms.disable_key(KeyId=key)
    EventSource(enforced.emulator.client, enforced.deployed.mapping).drain()
    kms.enable_key(KeyId=key)
    return enforced


def replay(stack: Stack, source: str, **asked: Any) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    text = StringIO()
    request = {"source": source, **asked}
    code = run(Replay(request), function_of(STACK, stack.client), Console(file=text, width=200))
    return code, text.getvalue()


def compared(stack: Stack, **range_: Any) -> Balances:
    """Reconcile as the replay role."""
    role = stack.role("ReplayRole")
    return balances(
        lambda service: stack.emulator.client(service, role=role, through=role_arn("ReplayOperator")),
        stack.deployed.target,
        stack.table,
        Range(**range_),
    )


def total(found: Balances, what: Callable[[Any], int]) -> int:
    return sum(what(balance) for by_route in found.values() for balance in by_route.values())


def test_rehearsal_changes_nothing_and_tells_what_would_be_done(delivered: Stack) -> None:
    before = {found.key for found in delivered.objects()}
    code, text = replay(delivered, "dead-letters", route="orders")
    assert code == 0
    assert "would be replayed" in text
    assert "KmsKeyDisabled" in text
    assert "nothing was changed; --apply does it" in text
    assert {found.key for found in delivered.objects()} == before


def test_dead_letters_are_moved_once_and_twice_is_once(delivered: Stack) -> None:
    assert total(compared(delivered), lambda balance: balance.dead_lettered) > 0
    for _ in range(2):
        code, text = replay(delivered, "dead-letters", apply=True)
        assert "NotJson" in text, "records that cannot be decoded are left"
        assert code == 1
    result = delivered.reconcile(delivered.sent)
    assert result.holds, str(result)
    found = compared(delivered)
    assert holds(found), list(as_lines(found))
    assert {by_route[RouteName("orders")].dead_lettered for by_route in found.values()} == {0}


def test_restored_checkpoint_table_is_recovered(delivered: Stack) -> None:
    """A backup from before the last records: what was delivered since stands once, and the next ones follow."""
    replay(delivered, "dead-letters", apply=True)
    dynamodb, table = delivered.emulator.client("dynamodb"), delivered.deployed.resources["CheckpointTable"]
    backup = dynamodb.scan(TableName=table)["Items"]
    more = ConnectStandIn(delivered.emulator, delivered.deployed.stream, seed=4, role=CONNECT).send(50, nothing)
    EventSource(delivered.emulator.client, delivered.deployed.mapping).drain()
    for row in backup:
        dynamodb.put_item(TableName=table, Item=row)
    text = StringIO()
    code = recover(STACK, delivered.client, Console(file=text, width=200), apply=True)
    assert (code, "the checkpoint is recovered" in text.getvalue()) == (0, True), text.getvalue()
    more += ConnectStandIn(delivered.emulator, delivered.deployed.stream, seed=5, role=CONNECT).send(50, nothing)
    EventSource(delivered.emulator.client, delivered.deployed.mapping).drain()
    replay(delivered, "dead-letters", apply=True)  # the function remembers for a while that a key was refused
    result = delivered.reconcile(delivered.sent + more)
    assert result.holds, str(result)


def test_planted_batch_is_refused(delivered: Stack) -> None:
    """The administrator of the account can do what no role can."""
    event = event_in(Path("events/records/contact-chat.json").read_bytes())[0]
    body = json.dumps({"requestContext": {"condition": "x"}, "payload": json.dumps(event)})
    delivered.emulator.client("s3").put_object(
        Bucket=delivered.deployed.bucket, Key="aws/lambda/another-mapping/shardId-000000000000/x", Body=body.encode()
    )
    code, text = replay(delivered, "on-failure", apply=True)
    assert code == 1
    assert "expected a batch of this stack's event source mapping" in text


def test_filters_choose_what_is_moved(delivered: Stack) -> None:
    for asked in ({"route": "billing"}, {"reason": "AccessDenied"}, {"until": 1.0}, {"since": 9e9}):
        code, text = replay(delivered, "dead-letters", apply=True, **asked)
        assert (code, "orders" in text) == (0, False), asked


def test_slices_resume_where_one_ended(delivered: Stack) -> None:
    ask = function_of(STACK, delivered.client)
    first = ask({"source": "dead-letters", "apply": True, "limit": 1})
    assert (len(first["results"]), first["next"] is not None) == (1, True)
    rest = Replay({"source": "dead-letters", "apply": True, "limit": 2}, resumes_at=first["next"])
    things = [result["key"] for done in rest.slices(ask) for result in done["results"]]
    assert first["results"][0]["key"] not in things
    assert len(things) > 2
    assert delivered.reconcile(delivered.sent).holds


def test_what_is_gone_from_a_prefix_is_found_missing_and_replayed_from_the_stream(delivered: Stack) -> None:
    replay(delivered, "dead-letters", apply=True)
    gone = next(found for found in delivered.objects() if found.route == "analytics" and found.lines)
    delivered.emulator.client("s3").delete_object(Bucket=delivered.deployed.bucket, Key=gone.key)
    found = compared(delivered)
    assert not holds(found)
    assert total(found, lambda balance: len(balance.missing)) == len(gone.lines)
    text = StringIO()
    show(found, Console(file=text, width=200))
    assert "missing: analytics, shardId-" in text.getvalue()
    assert replay(delivered, "stream", apply=True)[0] == 0
    assert holds(compared(delivered))
    assert delivered.reconcile(delivered.sent).holds


def test_object_in_the_wrong_place_is_found(delivered: Stack) -> None:
    """A copy under another first number, as a delivery without claims might leave."""
    replay(delivered, "dead-letters", apply=True)
    s3, bucket = delivered.emulator.client("s3"), delivered.deployed.bucket
    mine = next(found for found in delivered.objects() if found.route == "analytics" and len(found.lines) > 1)
    metadata = s3.head_object(Bucket=bucket, Key=mine.key)["Metadata"]
    body = s3.get_object(Bucket=bucket, Key=mine.key)["Body"].read()
    stem, _, number = mine.key.removesuffix(".ndjson.gz").rpartition("-")
    copy = f"{stem}-{int(number) + 1:0{len(number)}}.ndjson.gz"
    s3.put_object(
        Bucket=bucket, Key=copy, Body=body, Metadata=metadata, ServerSideEncryption="aws:kms",
        SSEKMSKeyId=delivered.key("analytics"), IfNoneMatch="*",
    )  # fmt: skip
    found = compared(delivered)
    assert total(found, lambda balance: len(balance.duplicated)) > 0
    assert [key for by in found.values() for b in by.values() for key, _ in b.unexpected] == [copy]


def test_range_of_time_is_compared_alone(delivered: Stack) -> None:
    assert total(compared(delivered, since=9e9), lambda balance: balance.expected) == 0
    one = compared(delivered, shard="shardId-000000000001")
    assert list(one) == ["shardId-000000000001"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"source": "mail"}, "replay: Invalid enum value 'mail' - at `$.source`"),
        ({"source": "dead-letters", "route": "none"}, "replay: route: expected one of"),
        ({"source": "on-failure", "shard": "x"}, "expected with the source 'stream' only"),
        ({"source": "stream", "shard": "x"}, "replay: shard: expected one of the stream's"),
        ({"source": "stream", "limit": 0}, "limit: expected 1 to 1000, got 0"),
    ],
)
def test_request_that_makes_no_sense_is_refused_clearly(enforced: Stack, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(StackFunctionError, match=message.replace("$", r"\$")):
        function_of(STACK, enforced.client)(asked)


def test_stack_that_is_not_there_is_told(enforced: Stack) -> None:
    with pytest.raises(StackFunctionError, match="no stack 'another' in"):
        function_of("another", enforced.client)


def test_balances_are_printed_as_json(delivered: Stack) -> None:
    lines = [json.loads(line) for line in as_lines(compared(delivered))]
    assert {line["route"] for line in lines} == delivered.table.names
    assert sum(line["expected"] for line in lines) > _COUNT
