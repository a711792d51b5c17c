"""The function on moto, with the sample events that a user invokes it with."""

import json
from pathlib import Path
from typing import Any

import pytest

from aws.invocation import Invocation
from aws.route_file import shipped_routes
from handlers.wiring.fan_out import FanOut
from routing.lambda_event import event_in
from tests.builders import ROUTES, claim, contact, numbered_event, table
from tests.integration.conftest import BUCKET, Aws

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> Any:
    return event_in((EVENTS / name).read_bytes())[0]


def places(aws: Aws) -> dict[str, int]:
    """Return the number of lines below each `<prefix>/<kind>/`."""
    counts: dict[str, int] = {}
    for key, lines in aws.lines().items():
        place = key.partition("/date=")[0]
        counts[place] = counts.get(place, 0) + len(lines)
    return counts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "lambda/one-contact-record.json",
            {
                "analytics/contacts/contact_record": 1,
                "countries/japan/contact_record": 1,
                "departments/orders/contact_record": 1,
            },
        ),
        (
            "lambda/mixed-kinds.json",
            {
                "analytics/contacts/contact_record": 1,
                "countries/japan/contact_record": 1,
                "departments/orders/contact_record": 1,
                "quality/segments/contact_lens_segment": 1,
                "workforce/agent-events/agent_event": 2,
            },
        ),
        (
            "lambda/re-emitted-contact.json",
            {
                "analytics/contacts/contact_record": 4,
                "countries/japan/contact_record": 4,
                "departments/orders/contact_record": 4,
            },
        ),
        (
            "lambda/poison-record.json",
            {"analytics/contacts/contact_record": 2, "dead-letter/records/NotJson": 2},
        ),
        (
            "lambda/kpl-aggregated.json",
            {"analytics/contacts/contact_record": 2, "dead-letter/records/NotJson": 1},
        ),
        (
            "lambda/empty-gzip-foreign.json",
            {
                "analytics/contacts/contact_record": 1,
                "dead-letter/records/Empty": 1,
                "dead-letter/records/NotUtf8": 1,
                "unrouted/other": 1,
            },
        ),
        ("records/agent-heart-beat.json", {}),
        ("records/contact-nulls-everywhere.json", {"analytics/contacts/contact_record": 1}),
        (
            "records/contact-task.json",
            {"analytics/contacts/contact_record": 1, "departments/billing/contact_record": 1},
        ),
    ],
)
def test_sample_event_lands_where_the_shipped_routes_say(
    aws: Aws, invocation: Invocation, name: str, expected: dict[str, int]
) -> None:
    assert aws.fan_out(shipped_routes())(sample(name), invocation) == {"batchItemFailures": []}
    assert places(aws) == expected


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*/*.json")), ids=lambda path: path.stem)
def test_every_sample_is_processed_without_failure(aws: Aws, invocation: Invocation, path: Path) -> None:
    response = aws.fan_out(shipped_routes())(event_in(path.read_bytes())[0], invocation)
    assert response == {"batchItemFailures": []}


def test_every_sample_is_described() -> None:
    described = (EVENTS / "README.md").read_text()
    missing = [path.name for path in EVENTS.glob("*/*.json") if f"`{path.name}`" not in described]
    assert missing == []


def test_every_object_names_its_key_and_no_bucket_key(aws: Aws, invocation: Invocation) -> None:
    routes = table()
    environment = aws.environment(routes)
    FanOut(environment, routes)(numbered_event(enumerate([claim(), contact(), b"poison"], start=1)), invocation)
    found = {}
    for key in aws.lines():
        head = aws.s3.head_object(Bucket=BUCKET, Key=key)
        assert head["ServerSideEncryption"] == "aws:kms"
        assert not head.get("BucketKeyEnabled")
        found[key.partition("/")[0]] = head["SSEKMSKeyId"]
    assert found == {
        "claims": environment["KEY_ARN_CLAIMS"],
        "all": environment["KEY_ARN_ALL"],
        "dead-letter": environment["KEY_ARN_DEAD_LETTER"],
    }


def test_batch_that_comes_again_changes_nothing(aws: Aws, invocation: Invocation) -> None:
    function = aws.fan_out(table())
    batch = numbered_event(enumerate([claim(n=1), contact(n=2)], start=99))
    function(batch, invocation)
    before = aws.lines()
    assert function(batch, invocation) == {"batchItemFailures": []}
    assert aws.lines() == before


def test_batch_cut_differently_after_a_lost_commit_leaves_each_record_once(aws: Aws, invocation: Invocation) -> None:
    """The row is gone, as after a crash before the commit; the next cut is shorter and replaces the object."""
    function = aws.fan_out(table())
    documents = [(number, contact(n=number)) for number in range(99, 103)]
    function(numbered_event(documents), invocation)
    for row in aws.dynamodb.scan(TableName="ctr-fanout-checkpoint")["Items"]:
        aws.dynamodb.delete_item(TableName="ctr-fanout-checkpoint", Key={"shard": row["shard"]})
    function(numbered_event(documents[:2]), invocation)
    function(numbered_event(documents[2:]), invocation)
    assert sorted(aws.lines().values()) == [[contact(n=101), contact(n=102)], [contact(n=99), contact(n=100)]]


def test_without_a_checkpoint_every_batch_is_delivered_at_least_once(aws: Aws, invocation: Invocation) -> None:
    routes = table()
    function = FanOut({**aws.environment(routes), "CHECKPOINT_TABLE": "off"}, routes)
    assert function(numbered_event([(1, contact())]), invocation) == {"batchItemFailures": []}
    assert list(aws.lines().values()) == [[contact()]]
    assert aws.dynamodb.scan(TableName="ctr-fanout-checkpoint")["Items"] == []


def test_missing_bucket_is_sent_again(aws: Aws, invocation: Invocation) -> None:
    function = aws.fan_out(table())
    aws.s3.delete_bucket(Bucket=BUCKET)
    response = function(numbered_event([(41, contact())]), invocation)
    assert response == {"batchItemFailures": [{"itemIdentifier": "41"}]}


def test_full_batch_of_six_megabytes_is_delivered(aws: Aws, invocation: Invocation) -> None:
    documents = [contact(n=n, filler="x" * 2200) for n in range(1900)]
    batch = numbered_event(enumerate(documents, start=1))
    assert 5_500_000 < len(json.dumps(batch)) < 7_000_000
    assert aws.fan_out(table(ROUTES))(batch, invocation) == {"batchItemFailures": []}
    assert list(aws.lines().values()) == [documents]
