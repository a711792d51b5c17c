"""The deployed function on the emulator: from the encrypted stream to objects under each key."""

from collections import Counter
from pathlib import Path

import pytest

from local.connect import ConnectStandIn
from local.deployment import aliases
from local.event_source import EventSource
from routing.lambda_event import event_in, lambda_event
from tests.e2e.conftest import Stack

EVENTS = Path(__file__).parents[2] / "events"


def nothing(_done: int) -> None:
    """Show no progress."""


def test_everything_sent_stands_once_under_the_right_key(stack: Stack) -> None:
    """Ordinary records, re-emitted ones, poison and aggregates, through the deployed function."""
    sent = ConnectStandIn(stack.emulator, stack.deployed.stream, seed=1).send(800, nothing)
    EventSource(stack.emulator.client, stack.deployed.mapping).drain(nothing)
    objects = stack.objects()
    result = stack.reconcile(sent, objects)
    assert (result.lost, result.duplicated) == (0, 0), str(result)
    assert result.received == len(sent)
    assert min(result.delivered, result.dropped, result.dead_lettered) > 0
    for found in objects:
        assert found.kms_key.endswith(stack.deployed.key_id(found.route))


def test_nothing_but_our_event_source_reads_the_stream(stack: Stack) -> None:
    """The emulator's own poller would race with it, and no figure of a run would mean anything."""
    mapping = stack.emulator.client("lambda").get_event_source_mapping(UUID=stack.deployed.mapping)
    assert mapping["State"] == "Disabled"


def test_reconciliation_sees_a_lost_and_a_duplicated_record(stack: Stack) -> None:
    """The proof is worth something only if it can fail."""
    documents = [(EVENTS / "records" / "contact-chat.json").read_bytes()]
    stack.deliver(event_in(documents[0])[0])
    objects = stack.objects()
    assert stack.reconcile(documents, objects).holds
    assert stack.reconcile(documents * 2, objects).lost == 1
    assert stack.reconcile(documents, objects * 2).duplicated == 1
    assert stack.reconcile([], objects).duplicated == 1


def test_batch_that_comes_again_is_a_counted_non_event(stack: Stack) -> None:
    batch = event_in((EVENTS / "lambda" / "mixed-kinds.json").read_bytes())[0]
    stack.deliver(batch)
    before = stack.objects()
    EventSource(stack.emulator.client, stack.deployed.mapping).drain(nothing)  # a poller that has read nothing yet
    assert stack.objects() == before
    assert sum(len(found.lines) for found in before) > 0


@pytest.mark.parametrize("name", ["poison-record.json", "empty-gzip-foreign.json", "kpl-aggregated.json"])
def test_poison_does_not_block_its_neighbours(stack: Stack, name: str) -> None:
    stack.deliver(event_in((EVENTS / "lambda" / name).read_bytes())[0])
    routes = Counter(found.route for found in stack.objects() for _ in found.lines)
    assert routes["dead-letter"] > 0
    assert routes["analytics"] > 0


def test_malformed_event_is_a_function_error_with_one_clear_message(stack: Stack) -> None:
    answer = stack.invoke({"Records": [{"eventSource": "aws:sqs"}]})
    assert answer["errorMessage"].endswith("Object missing required field `kinesis` - at `$.Records[0]`")


def test_sample_event_sent_to_the_deployed_function_is_refused(stack: Stack) -> None:
    """It would stand among the real records, and its numbers would hide them."""
    event = event_in((EVENTS / "lambda" / "one-contact-record.json").read_bytes())[0]
    answer = stack.invoke(event)
    assert (
        "expected records of arn:aws:kinesis:" in answer["errorMessage"] or "to have issued" in answer["errorMessage"]
    )
    assert [found for found in stack.objects() if found.lines] == []


def test_invented_event_of_the_stacks_own_stream_is_refused_and_hides_nothing(stack: Stack) -> None:
    document = (EVENTS / "records" / "contact-chat.json").read_bytes()
    stack.deliver(event_in(document)[0])
    invented = lambda_event([("9" * 30, document, "key", 1_772_413_962.0)])
    for record in invented["Records"]:
        record["eventSourceARN"] = stack.deployed.target.stream_arn
    answer = stack.invoke(invented)
    assert "to have issued sequence number" in answer["errorMessage"]
    stack.deliver(event_in(document)[0])
    assert stack.reconcile([document] * 2).holds


def test_every_route_has_its_own_key_and_alias(stack: Stack) -> None:
    found = aliases(stack.emulator, stack.deployed, stack.table)
    assert found == {route.name: f"alias/ctr-fanout/{route.name}" for route in stack.table.all_routes}
    assert len({stack.deployed.key_id(route) for route in found}) == len(found)


def test_stream_is_encrypted_with_the_stacks_key(stack: Stack) -> None:
    summary = stack.emulator.client("kinesis").describe_stream_summary(StreamName=stack.deployed.stream)
    stream = summary["StreamDescriptionSummary"]
    assert (stream["EncryptionType"], stream["KeyId"]) == ("KMS", stack.deployed.resources["StreamKey"])
