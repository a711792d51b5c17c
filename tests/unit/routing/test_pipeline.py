"""The pipeline: what is delivered, dead-lettered or sent again, and that it all adds up."""

import base64
import json
from typing import Any

import pytest

from routing import pipeline
from routing.errors import AccountingError, DeliveryError
from routing.model import ObjectKey, RenderedObject, RouteName, Shard
from routing.pipeline import process
from routing.reasons import Reason
from routing.stages.decode import Decoder
from routing.stages.deliver import deliver
from routing.stages.progress import Progress
from routing.stages.report import Report
from routing.table.routes import RouteTable
from tests.builders import ROUTES, agent_event, claim, contact, lines_of, numbered_event, segment, table
from tests.fakes import MemoryCheckpoint, MemorySink, MemoryVault, Row, protector

DENIED = DeliveryError("denied", reason=Reason.KMS_KEY_ACCESS_DENIED, is_transient=False)
DOWN = DeliveryError("down", reason=Reason.UNAVAILABLE, is_transient=True)
SHARD = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout", "shardId-000000000000")


def run(
    *documents: bytes,
    sink: MemorySink | None = None,
    checkpoint: MemoryCheckpoint | None = None,
    routes: RouteTable | None = None,
    first: int = 1,
) -> Report:
    routes = routes or table()
    return process(
        numbered_event(enumerate(documents, start=first)),
        decoder=Decoder(routes.paths),
        table=routes,
        protector=protector(),
        sink=sink or MemorySink(),
        checkpoint=checkpoint or MemoryCheckpoint(),
    )


def lines(sink: MemorySink, route: str) -> list[bytes]:
    return [line for made in sink.objects.values() if made.route == route for line in lines_of(made)]


def lose(checkpoint: MemoryCheckpoint) -> None:
    """Let another invocation take the row."""
    checkpoint.rows[SHARD].version += 1
    checkpoint.rows[SHARD].owner = None


def test_record_is_delivered_to_every_route_that_it_takes() -> None:
    sink = MemorySink()
    report = run(claim(), contact(), agent_event(), segment(), b"{}", sink=sink)
    assert report.response() == {"batchItemFailures": []}
    assert lines(sink, "claims") == [claim()]
    assert lines(sink, "all") == [claim(), contact(), agent_event()]
    assert lines(sink, "speech") == [segment()]
    assert (report.received, report.attempted, report.pairs, report.dropped) == (5, 5, 5, {"other": 1})


def test_event_without_records_is_a_success() -> None:
    report = process(
        {"Records": []},
        decoder=Decoder([]),
        table=table(),
        protector=protector(),
        sink=MemorySink(),
        checkpoint=MemoryCheckpoint(),
    )
    assert report.response() == {"batchItemFailures": []}


def test_every_route_is_committed_up_to_the_last_record() -> None:
    checkpoint = MemoryCheckpoint()
    run(claim(), b"{}", contact(), checkpoint=checkpoint)
    assert checkpoint.rows[SHARD].watermarks == {"claims": 3, "all": 3, "speech": 3, "rest": 3, "dead-letter": 3}


def test_batch_that_comes_again_puts_nothing() -> None:
    checkpoint, again = MemoryCheckpoint(), MemorySink()
    run(claim(), contact(), checkpoint=checkpoint)
    report = run(claim(), contact(), checkpoint=checkpoint, sink=again)
    assert again.objects == {}
    assert {name: counts.skipped for name, counts in report.routes.items()} == {"claims": 1, "all": 2}


def test_batch_that_overlaps_puts_only_what_is_new() -> None:
    checkpoint, sink = MemoryCheckpoint(), MemorySink()
    run(contact(n=1), contact(n=2), checkpoint=checkpoint)
    run(contact(n=2), contact(n=3), checkpoint=checkpoint, sink=sink, first=2)
    assert lines(sink, "all") == [contact(n=3)]
    assert [key.rpartition("-")[2] for key in sink.objects] == ["3.ndjson.gz"]


def test_poison_record_goes_to_the_dead_letters_and_its_neighbours_to_their_routes() -> None:
    sink = MemorySink()
    report = run(contact(n=1), b"poison", contact(n=2), sink=sink)
    assert report.response() == {"batchItemFailures": []}
    assert lines(sink, "all") == [contact(n=1), contact(n=2)]
    assert [json.loads(line)["errorCode"] for line in lines(sink, "dead-letter")] == ["NotJson"]
    assert report.of(RouteName("dead-letter")).dead_lettered == {Reason.NOT_JSON: 1}
    assert [trouble.reason for trouble in report.troubles] == [Reason.NOT_JSON]


def test_denied_key_makes_dead_letters_and_the_other_routes_go_on() -> None:
    sink, checkpoint = MemorySink({"claims": DENIED}), MemoryCheckpoint()
    report = run(claim(), contact(), sink=sink, checkpoint=checkpoint)
    assert report.response() == {"batchItemFailures": []}
    assert lines(sink, "all") == [claim(), contact()]
    (letter,) = [made for key, made in sink.objects.items() if key.startswith("dead-letter/")]
    intended = "claims/contact_record/date=2026-03-02/ctr-fanout-shardId-000000000000-1.ndjson.gz"
    assert letter.key == f"dead-letter/objects/{intended}"
    assert lines_of(letter) == [claim()]
    assert (letter.metadata["reason"], letter.metadata["intended-key"]) == ("KmsKeyAccessDenied", intended)
    assert letter.metadata["route"] == "claims"
    assert report.of(RouteName("claims")).dead_lettered == {Reason.KMS_KEY_ACCESS_DENIED: 1}
    assert checkpoint.rows[SHARD].watermarks[RouteName("claims")] == 2


def test_dead_letter_of_an_object_has_one_name_whatever_the_reason() -> None:
    sink = MemorySink({"claims": DENIED})
    run(claim(), sink=sink)
    sink.failures["claims"] = DeliveryError("x", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
    run(claim(), sink=sink)
    assert len([key for key in sink.objects if key.startswith("dead-letter/objects/")]) == 1


def test_route_that_blocks_is_sent_again_and_makes_no_dead_letter() -> None:
    sink, checkpoint = MemorySink({"speech": DENIED}), MemoryCheckpoint()
    report = run(contact(), segment(), sink=sink, checkpoint=checkpoint)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert [key for key in sink.objects if key.startswith("dead-letter/")] == []
    assert checkpoint.rows[SHARD].watermarks == {"claims": 2, "all": 2, "rest": 2, "dead-letter": 2}


def test_transient_failure_is_sent_again_for_its_route_alone() -> None:
    sink, checkpoint = MemorySink({"claims": DOWN}), MemoryCheckpoint()
    report = run(claim(), contact(), sink=sink, checkpoint=checkpoint)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert report.of(RouteName("claims")).failed == 1
    assert report.of(RouteName("all")).delivered == 2
    sink.failures.clear()
    second = run(claim(), contact(), sink=sink, checkpoint=checkpoint)
    assert second.response() == {"batchItemFailures": []}
    assert (second.of(RouteName("claims")).delivered, second.of(RouteName("all")).skipped) == (1, 2)


def test_dead_letter_that_cannot_be_put_is_sent_again() -> None:
    sink = MemorySink({"claims": DENIED, "dead-letter": DENIED})
    report = run(claim(), sink=sink)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert report.of(RouteName("claims")).failed == 1


def test_undecodable_record_that_cannot_be_dead_lettered_is_sent_again() -> None:
    report = run(contact(), b"poison", sink=MemorySink({"dead-letter": DENIED}))
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_names_are_written_down_before_anything_is_put() -> None:
    checkpoint = MemoryCheckpoint()
    written: list[set[str]] = []

    class Looking(MemorySink):
        def put_all(self, objects: Any) -> Any:
            written.append(set(checkpoint.rows[SHARD].intents))
            assert {rendered.key for rendered in objects} <= written[-1]
            return super().put_all(objects)

    sink = Looking({"claims": DENIED})
    run(claim(), b"poison", sink=sink, checkpoint=checkpoint)
    assert len(written) == 2
    assert any(key.startswith("dead-letter/objects/") for key in written[1] - written[0])
    assert checkpoint.rows[SHARD].intents == frozenset()


def test_names_of_a_route_that_failed_stay_written_down() -> None:
    checkpoint = MemoryCheckpoint()
    run(claim(), contact(), sink=MemorySink({"claims": DOWN}), checkpoint=checkpoint)
    assert {table().owner_of(key) for key in checkpoint.rows[SHARD].intents} == {"claims"}


def test_dead_letter_that_may_still_land_stays_written_down() -> None:
    checkpoint = MemoryCheckpoint()
    run(claim(), sink=MemorySink({"claims": DENIED, "dead-letter": DOWN}), checkpoint=checkpoint)
    assert {table().owner_of(key) for key in checkpoint.rows[SHARD].intents} == {"claims"}
    assert len(checkpoint.rows[SHARD].intents) == 2


def test_dead_letter_that_is_committed_is_not_emptied_when_that_of_another_route_fails() -> None:
    """Found by thought: all dead letters belonged to one route, and one that failed held the others uncommitted."""

    class HalfDown(MemorySink):
        def put_all(self, objects: Any) -> Any:
            verdicts = super().put_all(objects)
            for place, made in enumerate(objects):
                if made.key.startswith("dead-letter/objects/all/"):
                    verdicts[place] = DOWN
                    del self.objects[made.key]
            return verdicts

    sink, checkpoint = HalfDown({"claims": DENIED, "all": DENIED}), MemoryCheckpoint()
    assert run(claim(), sink=sink, checkpoint=checkpoint).failed_from == "1"
    healed = MemorySink()
    healed.objects = sink.objects
    run(claim(), sink=healed, checkpoint=checkpoint)
    assert lines(healed, "dead-letter") == [claim()]
    assert lines(healed, "all") == [claim()]


def test_object_of_an_earlier_try_that_is_not_made_again_is_emptied() -> None:
    """Routes were changed, or Lambda gave up on the records before, or the key is no longer refused."""
    sink, checkpoint = MemorySink(), MemoryCheckpoint()
    checkpoint.before = lambda step: (
        lose(checkpoint) if step == "save" and len(checkpoint.rows[SHARD].intents) else None
    )
    run(claim(n=1), claim(n=2), sink=sink, checkpoint=checkpoint)
    assert lines(sink, "claims") == [claim(n=1), claim(n=2)]
    checkpoint.before = lambda _: None
    report = run(claim(n=2), sink=sink, checkpoint=checkpoint, first=2)
    assert lines(sink, "claims") == [claim(n=2)]
    assert (report.of(RouteName("claims")).delivered, report.of(RouteName("claims")).objects) == (1, 1)


def test_names_below_a_prefix_that_is_gone_wait_until_it_is_back() -> None:
    intents = frozenset({ObjectKey("gone/x.gz"), ObjectKey("claims/x.gz")})
    checkpoint, sink = MemoryCheckpoint(rows={SHARD: Row(Progress(intents=intents))}), MemorySink()
    run(contact(), sink=sink, checkpoint=checkpoint)
    assert [key for key in sink.objects if key.endswith("x.gz")] == ["claims/x.gz"]
    assert checkpoint.rows[SHARD].intents == {"gone/x.gz"}


def test_what_a_route_has_put_without_a_commit_counts_with_the_commit() -> None:
    """Two objects of a route, one of which fails: both come again, and both count then."""
    checkpoint, sink = MemoryCheckpoint(), MemorySink()
    one, other = contact(DisconnectTimestamp="2026-03-01T00:00:00Z"), contact()

    class HalfDown(MemorySink):
        def put_all(self, objects: Any) -> Any:
            landed = super().put_all(objects)
            return [
                DOWN if "date=2026-03-01" in made.key else verdict
                for made, verdict in zip(objects, landed, strict=True)
            ]

    first = run(one, other, sink=HalfDown(), checkpoint=checkpoint)
    assert (first.of(RouteName("all")).delivered, first.of(RouteName("all")).failed) == (0, 2)
    assert run(one, other, sink=sink, checkpoint=checkpoint).of(RouteName("all")).delivered == 2


def test_shard_that_another_invocation_holds_is_sent_again_untouched() -> None:
    checkpoint, sink = MemoryCheckpoint(rows={SHARD: Row(owner="another", until=99.0)}), MemorySink()
    report = run(contact(), sink=sink, checkpoint=checkpoint)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert sink.objects == {}
    assert [trouble.reason for trouble in report.troubles] == [Reason.CLAIMED_ELSEWHERE]


def test_commit_that_fails_counts_nothing_as_delivered() -> None:
    checkpoint = MemoryCheckpoint()
    checkpoint.before = lambda step: (
        lose(checkpoint) if step == "save" and len(checkpoint.rows[SHARD].intents) else None
    )
    report = run(contact(), checkpoint=checkpoint)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert (report.of(RouteName("all")).delivered, report.of(RouteName("all")).failed) == (0, 1)


def test_dropped_record_is_counted_once_however_often_its_batch_comes() -> None:
    """It comes again after a commit that failed, after a route that failed, and after a restart."""
    sink, checkpoint = MemorySink({"claims": DOWN}), MemoryCheckpoint()
    checkpoint.before = lambda step: (
        lose(checkpoint) if step == "save" and len(checkpoint.rows[SHARD].intents) else None
    )
    documents = [claim(), b"{}", contact()]
    counted = [run(*documents, sink=sink, checkpoint=checkpoint).dropped.total()]
    checkpoint.before = lambda _: None
    counted.append(run(*documents, sink=sink, checkpoint=checkpoint).dropped.total())
    sink.failures.clear()
    counted += [run(*documents, sink=sink, checkpoint=checkpoint).dropped.total() for _ in range(2)]
    assert counted == [0, 1, 0, 0]


def test_dropped_records_of_every_segment_are_counted() -> None:
    report = run(b"{}", b"{}", contact(), b"{}", routes=table(ROUTES + "[limits]\nrecords = 1\n"))
    assert report.dropped == {"other": 3}


def test_each_segment_is_committed_before_the_next_is_put() -> None:
    routes = table(ROUTES + "[limits]\nrecords = 2\n")
    checkpoint, sink = MemoryCheckpoint(), MemorySink()
    report = run(*[contact(n=i) for i in range(5)], sink=sink, checkpoint=checkpoint, routes=routes)
    assert [row[RouteName("all")] for row in checkpoint.commits] == [2, 4, 5]
    assert [key.rpartition("-")[2] for key in sink.objects] == ["1.ndjson.gz", "3.ndjson.gz", "5.ndjson.gz"]
    assert report.of(RouteName("all")).delivered == 5


def test_route_that_was_refused_a_moment_ago_gets_dead_letters_at_once() -> None:
    """Not every batch asks a disabled key; the others are spared the wait, and one write of names is enough."""
    puts: list[list[str]] = []

    class Looking(MemorySink):
        def put_all(self, objects: Any) -> Any:
            puts.append([rendered.key.partition("/")[0] for rendered in objects])
            return super().put_all(objects)

    sink, checkpoint = Looking(), MemoryCheckpoint()
    sink.refused = {RouteName("claims"): DENIED}
    report = run(claim(), contact(), sink=sink, checkpoint=checkpoint)
    assert [sorted(wave) for wave in puts] == [["all", "dead-letter"]]
    assert report.of(RouteName("claims")).dead_lettered == {DENIED.reason: 1}
    assert report.response() == {"batchItemFailures": []}
    assert checkpoint.rows[SHARD].intents == frozenset()


def test_dead_letter_at_once_that_does_not_land_is_sent_again() -> None:
    sink = MemorySink({"dead-letter": DOWN})
    sink.refused = {RouteName("claims"): DENIED}
    assert run(claim(), sink=sink).response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}


SEALED = ROUTES.replace(
    'prefix = "claims"\n',
    'prefix = "claims"\n[[routes.protect]]\nremove = ["n"]\n[[routes.protect]]\nhash = ["ContactId"]\n'
    '[[routes.protect]]\nseal = ["Queue"]\n',
)
NO_KEY = DeliveryError("the hash key: disabled", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
NOT_NOW = DeliveryError("the hash key: down", reason=Reason.UNAVAILABLE, is_transient=True)


def protected(sink: MemorySink, vault: MemoryVault, text: str = SEALED) -> Report:
    routes = table(text)
    return process(
        numbered_event([(1, claim(n=1)), (2, contact(n=2))]),
        decoder=Decoder(routes.paths),
        table=routes,
        protector=protector(vault),
        sink=sink,
        checkpoint=MemoryCheckpoint(),
    )


def test_route_gets_what_its_rules_leave_and_the_others_everything() -> None:
    sink, vault = MemorySink(), MemoryVault()
    assert protected(sink, vault).response() == {"batchItemFailures": []}
    (line,) = (json.loads(line) for line in lines(sink, "claims"))
    assert sorted(line) == ["AWSContactTraceRecordFormatVersion", "ContactId", "_sealed"]
    assert len(line["ContactId"]) == 64
    route, context, pieces = json.loads(base64.b64decode(line["_sealed"]))
    assert (route, context["ctr-fanout:contact"]) == ("claims", line["ContactId"])
    assert json.loads(pieces) == [[[], 2, "Queue", {"Name": "Claims Motor"}]]
    assert lines(sink, "all") == [claim(n=1), contact(n=2)]
    assert vault.scopes == ["route/claims"]


def test_joined_routes_share_their_tokens() -> None:
    vault = MemoryVault()
    protected(MemorySink(), vault, SEALED.replace('hash = ["ContactId"]', 'hash = ["ContactId"]\njoin = "people"'))
    assert vault.scopes == ["join/people"]


def test_protection_whose_key_refuses_makes_a_dead_letter_and_never_an_unprotected_object() -> None:
    sink, vault = MemorySink(), MemoryVault()
    vault.refuses = NO_KEY
    report = protected(sink, vault)
    assert report.response() == {"batchItemFailures": []}
    assert lines(sink, "claims") == []
    assert lines(sink, "all") == [claim(n=1), contact(n=2)]
    (letter,) = (made for key, made in sink.objects.items() if key.startswith("dead-letter/objects/claims/"))
    assert (letter.metadata["protection"], letter.metadata["reason"]) == ("pending", "KmsKeyDisabled")
    assert lines_of(letter) == [claim(n=1)]
    assert letter.route == "dead-letter"


def test_protection_whose_key_is_down_is_sent_again() -> None:
    sink, vault = MemorySink(), MemoryVault()
    vault.refuses = NOT_NOW
    assert protected(sink, vault).response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert not any(key.startswith(("claims/", "dead-letter/")) for key in sink.objects)


def test_blocking_route_waits_for_the_key_of_its_protection() -> None:
    sink, vault = MemorySink(), MemoryVault()
    vault.refuses = NO_KEY
    text = SEALED.replace('prefix = "claims"\n', 'prefix = "claims"\non_key_denied = "block"\n')
    assert protected(sink, vault, text).response() == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert not any("claims" in key for key in sink.objects)


def test_blocking_route_is_asked_every_time() -> None:
    sink = MemorySink()
    sink.refused = {RouteName("speech"): DENIED}
    assert run(segment(), sink=sink).of(RouteName("speech")).delivered == 1


def test_failure_in_a_later_segment_is_sent_again_from_there() -> None:
    routes = table(ROUTES + "[limits]\nrecords = 2\n")
    sink, checkpoint = MemorySink({"claims": DOWN}), MemoryCheckpoint()
    report = run(contact(), contact(), claim(), contact(), claim(), sink=sink, checkpoint=checkpoint, routes=routes)
    assert report.response() == {"batchItemFailures": [{"itemIdentifier": "3"}]}
    assert (report.received, report.attempted) == (5, 4)


def test_records_that_are_not_accounted_for_fail_the_invocation_before_the_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "deliver", lambda *given: deliver(*given)[1:])
    checkpoint = MemoryCheckpoint()
    with pytest.raises(AccountingError, match="expected 2 routed records accounted for, got 1"):
        run(claim(), checkpoint=checkpoint)
    assert checkpoint.commits == []
    assert checkpoint.rows[SHARD].owner is None


@pytest.mark.parametrize("depth", [2, 990, 1200, 9000])
@pytest.mark.parametrize("field", ["Queue", "DisconnectTimestamp"])
def test_arrays_deeper_than_the_stack_in_a_field_that_routes_name_are_no_crash(field: str, depth: int) -> None:
    sink = MemorySink()
    document = contact()[:-1] + b',"%s":%s}' % (field.encode(), b"[" * depth + b"]" * depth)
    assert run(contact(), document, sink=sink).response() == {"batchItemFailures": []}
    assert lines(sink, "all") == [contact(), document]


def test_commit_names_only_the_routes_that_move_forward() -> None:
    checkpoint = MemoryCheckpoint(rows={SHARD: Row(Progress(watermarks={RouteName("all"): 100}))})
    run(contact(n=1), contact(n=2), checkpoint=checkpoint, first=98)
    assert checkpoint.rows[SHARD].watermarks == {"all": 100, "claims": 99, "speech": 99, "rest": 99, "dead-letter": 99}


@pytest.mark.parametrize("failures", [{}, {"claims": DENIED}, {"all": DOWN}, {"dead-letter": DOWN}, {"speech": DENIED}])
def test_every_record_of_every_route_is_accounted_for(failures: dict[str, DeliveryError]) -> None:
    documents = [claim(), contact(), agent_event(), segment(), b"{}", b"poison"]
    report = run(*documents, sink=MemorySink(failures))
    assert sum(counts.matched for counts in report.routes.values()) == report.pairs == 6
    assert report.received == report.attempted == 6


def test_objects_of_two_routes_never_share_a_key() -> None:
    sink = MemorySink()
    run(claim(), contact(), agent_event(), segment(), b"poison", sink=sink)
    prefixes = {route.name: route.prefix for route in table().all_routes}
    made: RenderedObject
    for key, made in sink.objects.items():
        assert key.startswith(f"{prefixes[made.route]}/")
