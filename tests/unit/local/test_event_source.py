"""The event source's rules, one test a rule, without stream, function or clock."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.event_source.lane import RETRIES_EXHAUSTED, TOO_OLD, Batch, GivenUp, Lane
from local.event_source.mapping import Mapping, MappingError
from local.event_source.on_failure import message, object_for_s3
from local.event_source.records import PAYLOAD_BYTES, StreamRecord, envelope_bytes, event_of
from local.event_source.shard import ShardReader
from local.event_source.verdict import Answer, Outcome, judge

STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/s"
FUNCTION = "arn:aws:lambda:ap-northeast-1:111122223333:function:f"
SHARD = "shardId-000000000000"
OK = Answer(Outcome.ANSWERED, {"batchItemFailures": []}, "request")
BAD = Answer(Outcome.FAILED, None, "request")
THROTTLED = Answer(Outcome.NOT_INVOKED)


def mapping(**settings: Any) -> Mapping:
    return Mapping(uuid="uuid", stream_arn=STREAM, function_arn=FUNCTION, **settings)


def record(number: int, *, data: bytes = b"{}", key: str = "k", arrived_at: float = 1000.0) -> StreamRecord:
    return StreamRecord(str(number), data, key, arrived_at)


def lane(count: int, **settings: Any) -> Lane:
    """Make a lane that has read records 1 to `count`, and reports failures."""
    made = Lane(mapping(**{"reports_failures": True, **settings}), 300)
    for number in range(1, count + 1):
        made.offer(record(number), 0.0)
    return made


def taken(from_lane: Lane, now: float = 0.0, *, is_window_over: bool = False) -> list[int]:
    batch = from_lane.take(now, is_window_over=is_window_over)
    return [] if batch is None else [one.position for one in batch.records]


def failed_from(number: int) -> Answer:
    return Answer(Outcome.ANSWERED, {"batchItemFailures": [{"itemIdentifier": str(number)}]}, "request")


def numbers(given_up: GivenUp | None) -> list[int]:
    assert given_up is not None
    return [one.position for one in given_up.batch.records]


# --- batching -------------------------------------------------------------------------------------------------


def test_batch_has_at_most_the_batch_size() -> None:
    three = lane(5, batch_size=3)
    assert taken(three) == [1, 2, 3]
    three.settle(OK)
    assert taken(three) == [4, 5]


def test_without_a_window_what_is_there_is_sent_at_once() -> None:
    assert taken(lane(2)) == [1, 2]
    assert taken(lane(0)) == []


def test_with_a_window_a_batch_that_is_not_full_waits_for_its_end() -> None:
    gathering = lane(2, window_seconds=60)
    assert taken(gathering, 59.9) == []
    gathering.offer(record(3), 59.9)
    assert taken(gathering, 60.0) == [1, 2, 3]


def test_full_batch_does_not_wait_for_the_window() -> None:
    assert taken(lane(3, window_seconds=60, batch_size=3)) == [1, 2, 3]


def test_batch_stays_below_six_megabytes_with_base64_and_envelopes() -> None:
    reader = ShardReader(mapping(batch_size=100), SHARD)
    reader.feed([record(n, data=b"x" * 1_000_000) for n in range(1, 8)], 0.0)
    ((_, batch),) = reader.take(0.0)
    size = len(json.dumps(event_of(batch.records, SHARD, STREAM)))
    assert len(batch.records) == 4
    assert size <= PAYLOAD_BYTES < size + 4 * 1_000_000 / 3


def test_payload_of_many_small_records_is_counted_with_their_envelopes() -> None:
    reader = ShardReader(mapping(batch_size=10_000), SHARD)
    reader.feed([record(10**55 + n, key="k" * 256, data=b"x" * 90) for n in range(10_000)], 0.0)
    ((_, batch),) = reader.take(0.0)
    size = len(json.dumps(event_of(batch.records, SHARD, STREAM)))
    assert 0.97 * PAYLOAD_BYTES < size <= PAYLOAD_BYTES


def test_record_beyond_the_limit_is_sent_alone() -> None:
    large = Lane(mapping(), envelope_bytes(SHARD, STREAM))
    for number, size in ((1, 10), (2, 6_000_000), (3, 10)):
        large.offer(record(number, data=b"x" * size), 0.0)
    sent = []
    for _ in range(3):
        sent.append(taken(large))
        large.settle(OK)
    assert sent == [[1], [2], [3]]


def test_one_batch_is_in_flight() -> None:
    busy = lane(4, batch_size=2)
    assert taken(busy) == [1, 2]
    assert taken(busy) == []


def test_answer_without_a_batch_in_flight_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="expected a batch in flight"):
        lane(1).settle(OK)


# --- verdicts -------------------------------------------------------------------------------------------------

BATCH = [record(n) for n in (9, 10, 11)]


@pytest.mark.parametrize("payload", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}])
def test_success_in_every_documented_form(payload: object) -> None:
    assert judge(Answer(Outcome.ANSWERED, payload), BATCH, reports_failures=True).done == 3


@pytest.mark.parametrize(
    "payload",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"identifier": "10"}]},
        {"batchItemFailures": [{"itemIdentifier": "12"}]},
        {"batchItemFailures": [{"itemIdentifier": "10"}, {"itemIdentifier": "12"}]},
        {"batchItemFailures": [{"itemIdentifier": 10}]},
        {"batchItemFailures": [{"itemIdentifier": "ten"}]},
        {"batchItemFailures": [{"itemIdentifier": "-10"}]},
        {"batchItemFailures": ["10"]},
        {"batchItemFailures": "10"},
        {"batchItemFailures": False},
        "done",
        [],
        7,
    ],
)
def test_malformed_and_unknown_identifiers_fail_the_whole_batch(payload: object) -> None:
    verdict = judge(Answer(Outcome.ANSWERED, payload), BATCH, reports_failures=True)
    assert (verdict.done, verdict.is_whole, verdict.is_counted) == (0, True, True)


def test_lowest_identifier_counts_as_a_number() -> None:
    """As text, 10 comes before 9."""
    failures = {"batchItemFailures": [{"itemIdentifier": "11"}, {"itemIdentifier": "10"}, {"itemIdentifier": "9"}]}
    assert judge(Answer(Outcome.ANSWERED, failures), BATCH, reports_failures=True).done == 0
    assert judge(failed_from(10), BATCH, reports_failures=True).done == 1


def test_answer_counts_only_if_the_mapping_asks_for_it() -> None:
    assert judge(failed_from(10), BATCH, reports_failures=False).done == 3
    assert judge(BAD, BATCH, reports_failures=False).done == 0


# --- retries and bisecting ------------------------------------------------------------------------------------


def test_everything_from_the_lowest_failure_on_comes_again() -> None:
    some = lane(5)
    taken(some)
    assert some.settle(failed_from(3)) is None
    assert taken(some) == [3, 4, 5]


def test_partial_success_is_split_at_the_number_even_with_bisecting() -> None:
    some = lane(6, bisects=True)
    taken(some)
    some.settle(failed_from(3))
    assert taken(some) == [3, 4, 5, 6]


def test_failed_batch_comes_again_as_it_was() -> None:
    again = lane(3)
    assert taken(again) == [1, 2, 3]
    again.offer(record(4), 0.0)
    again.settle(BAD)
    assert taken(again) == [1, 2, 3]


def test_bisecting_goes_on_down_to_single_records_in_order() -> None:
    poisoned = lane(4, bisects=True, retries=0)
    sent, given_up = [], []
    for _ in range(20):
        if not (batch := taken(poisoned)):
            break
        sent.append(batch)
        gone = poisoned.settle(BAD if 3 in batch else OK)
        given_up += [numbers(gone)] if gone else []
    assert sent == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]
    assert given_up == [[3]]


def test_splitting_uses_up_no_retry() -> None:
    poisoned = lane(2, bisects=True, retries=1)
    taken(poisoned)
    poisoned.settle(BAD)  # splits
    tries = 0
    given_up = None
    while given_up is None:
        assert taken(poisoned) == [1]
        given_up = poisoned.settle(BAD)
        tries += 1
    assert (tries, numbers(given_up), given_up.condition) == (2, [1], RETRIES_EXHAUSTED)
    assert given_up.batch.invocations == 3


def test_batch_is_given_up_after_its_retries() -> None:
    blocked = lane(2, retries=2)
    for _ in range(2):
        taken(blocked)
        assert blocked.settle(BAD) is None
    taken(blocked)
    assert numbers(blocked.settle(BAD)) == [1, 2]
    assert blocked.outstanding == []


def test_failure_of_the_first_record_by_response_uses_up_retries() -> None:
    blocked = lane(2, retries=0, bisects=True)
    taken(blocked)
    assert numbers(blocked.settle(failed_from(1))) == [1, 2]


def test_without_a_limit_a_batch_comes_again_for_ever() -> None:
    blocked = lane(1)
    for _ in range(20_000):
        assert taken(blocked) == [1]
        assert blocked.settle(BAD) is None


def test_throttles_use_up_no_retry() -> None:
    blocked = lane(1, retries=0)
    for _ in range(50):
        taken(blocked)
        assert blocked.settle(THROTTLED) is None
    taken(blocked)
    assert numbers(blocked.settle(BAD)) == [1]


# --- age ------------------------------------------------------------------------------------------------------


def test_records_that_are_too_old_are_given_up_before_they_are_sent() -> None:
    aging = Lane(mapping(max_age_seconds=60), 300)
    aging.offer(record(1, arrived_at=1000.0), 1000.0)
    aging.offer(record(2, arrived_at=1030.0), 1030.0)
    assert aging.expire(1060.0) is None
    given_up = aging.expire(1061.0)
    assert given_up is not None
    assert (numbers(given_up), given_up.condition, given_up.answer) == ([1], TOO_OLD, None)
    assert taken(aging, 1061.0) == [2]


def test_failing_batch_is_given_up_when_it_is_too_old() -> None:
    aging = Lane(mapping(max_age_seconds=60, batch_size=2), 300)
    for number, arrived_at in ((1, 1000.0), (2, 1030.0), (3, 1031.0)):
        aging.offer(record(number, arrived_at=arrived_at), arrived_at)
    taken(aging, 1031.0)
    assert aging.expire(2000.0) is None, "a batch in flight is left alone"
    aging.settle(BAD)
    assert numbers(aging.expire(1070.0)) == [1]
    assert taken(aging, 1070.0) == [2]
    aging.settle(BAD)
    given_up = aging.expire(1100.0)
    assert given_up is not None
    assert (numbers(given_up), given_up.answer) == ([2], BAD)
    assert numbers(aging.expire(1100.0)) == [3]


# --- lanes, positions, filters --------------------------------------------------------------------------------


def test_partition_key_stays_in_its_lane_and_in_order() -> None:
    reader = ShardReader(mapping(lanes=4, batch_size=3), SHARD)
    reader.feed([record(n, key=f"key-{n % 7}") for n in range(1, 60)], 0.0)
    seen: dict[str, list[int]] = {}
    lane_of: dict[str, set[int]] = {}
    while due := reader.take(0.0):
        for used, batch in due:
            for one in batch.records:
                seen.setdefault(one.partition_key, []).append(one.position)
                lane_of.setdefault(one.partition_key, set()).add(reader.lanes.index(used))
            reader.settle(used, batch, OK)
    assert sorted(n for found in seen.values() for n in found) == list(range(1, 60))
    assert all(found == sorted(found) for found in seen.values())
    assert all(len(found) == 1 for found in lane_of.values())
    assert len(set().union(*lane_of.values())) > 1


def test_lanes_are_in_flight_at_once() -> None:
    reader = ShardReader(mapping(lanes=3), SHARD)
    reader.feed([record(n, key=f"key-{n}") for n in range(1, 40)], 0.0)
    assert len(reader.take(0.0)) == 3
    assert reader.take(0.0) == []


def test_restarted_poller_reads_from_the_oldest_record_that_is_not_settled() -> None:
    reader = ShardReader(mapping(lanes=2, batch_size=2), SHARD)
    reader.feed([record(n, key=f"key-{n % 5}") for n in range(1, 11)], 0.0)
    assert reader.resumes_at == "1"
    assert reader.gathered == 10
    (lane_a, batch_a), *others = reader.take(0.0)
    reader.settle(lane_a, batch_a, OK)
    unsettled = set(range(1, 11)) - {one.position for one in batch_a.records}
    assert reader.resumes_at == str(min(unsettled))
    for used, batch in others:
        reader.settle(used, batch, OK)
    while due := reader.take(0.0):
        for used, batch in due:
            reader.settle(used, batch, OK)
    assert reader.is_settled
    assert reader.resumes_at is None
    assert reader.read_to == "10"


def filtered(*patterns: dict[str, Any], **settings: Any) -> Mapping:
    described = {"UUID": "u", "EventSourceArn": STREAM, "FunctionArn": FUNCTION, **settings}
    return Mapping.of({**described, "FilterCriteria": {"Filters": [{"Pattern": json.dumps(p)} for p in patterns]}})


def test_filters_are_alternatives_and_drop_what_is_no_json() -> None:
    reader = ShardReader(filtered({"data": {"kind": ["a"]}}, {"data": {"n": [{"numeric": [">", 5]}]}}), SHARD)
    data = [b'{"kind":"a"}', b'{"kind":"b"}', b'{"n":6}', b"poison", b"[1]", b""]
    reader.feed([record(n, data=one) for n, one in enumerate(data, start=1)], 0.0)
    ((_, batch),) = reader.take(0.0)
    assert [one.position for one in batch.records] == [1, 3]
    assert (reader.counts.polled, reader.counts.filtered_out, reader.read_to) == (6, 4, "6")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"partitionKey": ["x"]}, r"Filters\[0\]: expected a pattern on the JSON in `data`"),
        ({"data": ["text"]}, r"Filters\[0\]: expected a pattern on the JSON in `data`"),
        ({"data": {"kind": "a"}}, r"Filters\[0\].data.kind: expected"),
    ],
)
def test_filter_that_would_filter_nothing_is_refused(pattern: dict[str, Any], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        filtered(pattern)


# --- the mapping ----------------------------------------------------------------------------------------------


def test_mapping_without_settings_has_the_defaults_of_lambda() -> None:
    made = Mapping.of({"UUID": "u", "EventSourceArn": STREAM, "FunctionArn": FUNCTION})
    assert (made.batch_size, made.window_seconds, made.lanes, made.retries, made.max_age_seconds) == (
        100, 0, 1, None, None,
    )  # fmt: skip
    assert (made.bisects, made.reports_failures, made.on_failure_arn) == (False, False, None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"TumblingWindowInSeconds": 30}, "TumblingWindowInSeconds: expected none, got a tumbling window"),
        ({"BatchSize": 0}, "BatchSize: expected 1 to 10000, got 0"),
        ({"ParallelizationFactor": 11}, "ParallelizationFactor: expected 1 to 10, got 11"),
        ({"MaximumRetryAttempts": 10_001}, "MaximumRetryAttempts: expected -1 to 10000"),
        ({"MaximumRecordAgeInSeconds": 59}, "MaximumRecordAgeInSeconds: expected -1 or 60 to 604800, got 59"),
        ({"MaximumBatchingWindowInSeconds": 301}, "MaximumBatchingWindowInSeconds: expected 0 to 300"),
        ({"StartingPosition": "NOW"}, "StartingPosition: expected one of TRIM_HORIZON"),
        ({"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp: expected a time with AT_TIMESTAMP"),
        ({"EventSourceArn": STREAM + "/consumer/c:1"}, "expected a Kinesis stream without enhanced fan-out"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, r"Filters\[0\]: expected a Pattern of JSON"),
    ],
)
def test_setting_out_of_range_or_not_simulated_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        Mapping.of({"UUID": "u", "EventSourceArn": STREAM, "FunctionArn": FUNCTION, **setting})


# --- on failure -----------------------------------------------------------------------------------------------

GIVEN_UP = GivenUp(
    Batch((record(5, arrived_at=1772413962.881), record(6, arrived_at=1772413967.105)), 4, 5), RETRIES_EXHAUSTED, BAD
)


def test_queue_or_topic_gets_the_documented_metadata() -> None:
    made = message(mapping(), SHARD, GIVEN_UP, 1772414000.0)
    assert made == {
        "requestContext": {
            "requestId": "request",
            "functionArn": FUNCTION,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 5,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-03-02T01:13:20.000Z",
        "KinesisBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": "5",
            "endSequenceNumber": "6",
            "approximateArrivalOfFirstRecord": "2026-03-02T01:12:42.881Z",
            "approximateArrivalOfLastRecord": "2026-03-02T01:12:47.105Z",
            "batchSize": 2,
            "streamArn": STREAM,
        },
    }


def test_bucket_gets_the_whole_event_under_the_documented_name() -> None:
    key, body = object_for_s3(mapping(), SHARD, GIVEN_UP, 1772414000.0)
    assert key.startswith(f"aws/lambda/uuid/{SHARD}/2026/03/02/2026-03-02T01.13.20-")
    stored = json.loads(body)
    assert json.loads(stored["payload"]) == event_of(GIVEN_UP.batch.records, SHARD, STREAM)
    assert stored["KinesisBatchInfo"]["batchSize"] == 2


def test_partial_response_is_no_error_of_the_function() -> None:
    made = message(mapping(), SHARD, GivenUp(GIVEN_UP.batch, RETRIES_EXHAUSTED, failed_from(5)), 0.0)
    assert "functionError" not in made["responseContext"]


# --- the law --------------------------------------------------------------------------------------------------


@given(
    count=st.integers(1, 30),
    answers=st.lists(st.sampled_from(["ok", "bad", "throttled", "first", "middle", "last", "unknown"]), max_size=200),
    settings=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 12),
            "bisects": st.booleans(),
            "retries": st.sampled_from([None, 0, 1, 3]),
            "lanes": st.integers(1, 3),
            "reports_failures": st.booleans(),
        }
    ),
)
def test_every_record_is_settled_given_up_or_still_there_and_none_is_sent_out_of_order(
    count: int, answers: list[str], settings: dict[str, Any]
) -> None:
    reader = ShardReader(mapping(**settings), SHARD)
    reader.feed([record(n, key=f"key-{n % 5}") for n in range(1, count + 1)], 0.0)
    gone: list[int] = []
    for word in answers:
        due = reader.take(0.0)
        if not due:
            break
        for used, batch in due:
            positions = [one.position for one in batch.records]
            assert positions == sorted(positions)
            assert positions[0] == used.outstanding[0].position, "an older record of the lane waits"
            places = {"first": positions[0], "middle": positions[len(positions) // 2], "last": positions[-1]}
            answer = {"ok": OK, "bad": BAD, "throttled": THROTTLED, "unknown": failed_from(10**6)}.get(word)
            given_up = reader.settle(used, batch, answer or failed_from(places[word]))
            gone += [] if given_up is None else [one.position for one in given_up.batch.records]
    left = [one.position for used in reader.lanes for one in used.outstanding]
    settled = set(range(1, count + 1)) - set(left) - set(gone)
    assert len(left) + len(gone) + len(settled) == count
    assert len(set(left)) == len(left)
