"""Decoding: kinds, original bytes, dead letters with a reason, and events that are refused."""

import base64
import gc
import hashlib
import json
import tracemalloc
from copy import replace
from typing import Any

import msgspec
import pytest

from routing.errors import EventError, RecordError
from routing.fields import scalars_at
from routing.lambda_event import FIRST_SEQUENCE_NUMBER, event_of_documents
from routing.model import Kind, Record, SequenceNumber, Shard
from routing.reasons import Reason
from routing.stages.decode import Decoder, on_one_line
from routing.stored.dead_letter import RecordLetter
from tests.builders import agent_event, aggregated, chat_segment, contact, event, numbered_event, segment

PATHS = [("Channel",), ("Queue", "Name"), ("Attributes", "language")]


def decode(*documents: bytes) -> list[Record]:
    return Decoder(PATHS).decode(event(*documents))[1]


def letter(record: Record) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(record.data)
    return line


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (contact(), Kind.CONTACT_RECORD),
        (contact(ContactId="not a uuid", Channel="VIDEO"), Kind.CONTACT_RECORD),
        (contact(ContactId=None), Kind.OTHER),
        (contact(AWSContactTraceRecordFormatVersion=None), Kind.OTHER),
        (b'{"AWSContactTraceRecordFormatVersion":"2017-03-10"}', Kind.OTHER),
        (agent_event(), Kind.AGENT_EVENT),
        (agent_event(CurrentAgentSnapshot=None, PreviousAgentSnapshot=None), Kind.AGENT_EVENT),
        (agent_event(AgentARN=None), Kind.OTHER),
        (segment(), Kind.CONTACT_LENS_SEGMENT),
        (segment(EventType="STARTED"), Kind.CONTACT_LENS_SEGMENT),
        (segment(EventType="A_NEW_ONE"), Kind.CONTACT_LENS_SEGMENT),
        (segment(EventType=["SEGMENTS"]), Kind.OTHER),
        (segment(EventType=None, StreamingEventType=None), Kind.OTHER),
        (segment(Version=None), Kind.OTHER),
        (chat_segment(), Kind.CONTACT_LENS_SEGMENT),
        (chat_segment(StreamingEventType="COMPLETED"), Kind.CONTACT_LENS_SEGMENT),
        (chat_segment(StreamingEventType={}), Kind.OTHER),
        (chat_segment(ContactId=7), Kind.OTHER),
        (contact(Version="1", EventType="SEGMENTS", EventId="e", AgentARN="a"), Kind.CONTACT_RECORD),
        (agent_event(Version="1", ContactId="c", StreamingEventType="SEGMENTS"), Kind.AGENT_EVENT),
        (b'{"detail-type": "Amazon Connect Contact Event", "detail": {"contactId": "c"}}', Kind.OTHER),
        (b"{}", Kind.OTHER),
        (b'{"meter": 1}', Kind.OTHER),
    ],
)
def test_kind_is_told_by_the_fields_that_connect_always_sends(document: bytes, kind: Kind) -> None:
    (record,) = decode(document)
    assert kind == record.kind
    assert record.failure is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\\ud83d", b"\\ufffd"),
        (b"\\uDE00", b"\\ufffd"),
        (b"\\ude00\\ud83d", b"\\ufffd\\ufffd"),
        (b"\\ud83d\\ud83d\\ude00", b"\\ufffd\\ud83d\\ude00"),
        (b"\\ud83d\\ude00\\ude00", b"\\ud83d\\ude00\\ufffd"),
        (b"\\ud83d\\n\\ude00", b"\\ufffd\\n\\ufffd"),
        (b"\\\\ud83d\\ud83d", b"\\\\ud83d\\ufffd"),
        (b"\\\\\\ud83d", b"\\\\\\ufffd"),
        (b"\\ud55c\\ud7ff\\ue000", b"\\ud55c\\ud7ff\\ue000"),
    ],
)
def test_half_of_a_surrogate_pair_is_replaced_and_nothing_else(text: bytes, expected: bytes) -> None:
    """In a named field, in another one and in a key; a strict reader would refuse the whole object."""
    for form in (b'{"Channel":"%s"}', b'{"x":{"y":["%s"]}}', b'{"%s":1}', b'{"Attributes":{"%s":1e999}}'):
        (record,) = decode(form % text)
        assert record.failure is None
        assert record.data == form % expected
        msgspec.json.decode((form % expected).replace(b"1e999", b"1"))


@pytest.mark.parametrize(
    "document",
    [
        contact(),
        contact(Queue="Sales"),
        contact(Queue=["a", {"Name": "b"}]),
        contact(Queue=None, Channel={"a": 1}, Attributes=7),
        contact(ContactId="c", Attributes={"language": [1, None]}),
        b'{"Channel":1e400,"x":-0.0e-5}',
        b'{"x":' + b"9" * 5000 + b"}",
        b'{"Channel":' + b"9" * 5000 + b"}",
        b'{"Channel":12345678901234567890123456789012345678901234567890}',
        b'{"Channel":"a","Channel":"b"}',
        b'{"Channel":"\\ud83d\\ude00","x":"\\uD83D\\uDE00 \\\\ud83d \\u0041"}',
        '{"Channel":"\u2028 \u00e9 山 🙂"}'.encode(),
        b'{"x":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"Queue":' + b"[" * 1200 + b"]" * 1200 + b"}",
        b'{"Queue":{"Name":' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"x":"' + b"a" * 1_048_000 + b'"}',
    ],
    ids=lambda document: f"{document[:24]!r}",
)
def test_record_is_delivered_as_its_original_bytes(document: bytes) -> None:
    """Odd types, numbers beyond float64, duplicate keys and large records are the reader's business."""
    (record,) = decode(document)
    assert record.failure is None
    assert document == record.data


@pytest.mark.parametrize(
    ("document", "reason", "detail"),
    [
        (b"", Reason.EMPTY, "expected a JSON object, got 0 bytes of white space"),
        (b" \r\n\t ", Reason.EMPTY, "expected a JSON object, got 5 bytes of white space"),
        (b"hello", Reason.NOT_JSON, "not JSON at character 0 of 5"),
        (b'{"a":1', Reason.NOT_JSON, "not JSON at character 6 of 6"),
        (b'{"a":1} {}', Reason.NOT_JSON, "not JSON at character 8 of 10"),
        (b'{"a":NaN}', Reason.NOT_JSON, "expected a JSON number, got NaN"),
        (b'{"a":-Infinity}', Reason.NOT_JSON, "expected a JSON number, got -Infinity"),
        (b'{"a":"line\nbreak"}', Reason.NOT_JSON, "not JSON at character 10 of 18"),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON, "not JSON at character 0 of 3"),
        ('{"a":"é"}'.encode("utf-16"), Reason.NOT_UTF8, "not UTF-8 at byte 0 of 20"),
        (b'{"a":"\xff"}', Reason.NOT_UTF8, "not UTF-8 at byte 6 of 9"),
        (b'{"Channel":"\xff"}', Reason.NOT_UTF8, "not UTF-8 at byte 12 of 15"),
        (b"\x1f\x8b\x08\x00", Reason.NOT_UTF8, "not UTF-8 at byte 1 of 4"),
        (b"[1,2]", Reason.NOT_AN_OBJECT, "expected a JSON object, got list"),
        (b'"text"', Reason.NOT_AN_OBJECT, "expected a JSON object, got str"),
        (b"null", Reason.NOT_AN_OBJECT, "expected a JSON object, got NoneType"),
        (b"3", Reason.NOT_AN_OBJECT, "expected a JSON object, got int"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", Reason.TOO_DEEP, "nested too deeply in 400006 bytes"),
        (
            b'{"x":"\\ud83d","a":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
            Reason.TOO_DEEP,
            "nested too deeply in 180019 bytes",
        ),
        (b'{"Channel":' + b"[" * 90_000, Reason.TOO_DEEP, "nested too deeply in 90011 bytes"),
        (b"\xf3\x89\x9a\xc2", Reason.BAD_AGGREGATE, "KPL aggregate of 4 bytes: its digest does not fit"),
        (b"\xf3\x89\x9a\xc2" + b"x" * 40, Reason.BAD_AGGREGATE, "KPL aggregate of 44 bytes: its digest does not fit"),
    ],
    ids=lambda value: f"{value[:16]!r}" if isinstance(value, bytes) else None,
)
def test_record_that_cannot_be_decoded_becomes_its_dead_letter(document: bytes, reason: Reason, detail: str) -> None:
    before, record, after = decode(contact(), document, agent_event())
    assert (before.kind, after.kind) == (Kind.CONTACT_RECORD, Kind.AGENT_EVENT)
    assert record.kind == reason
    assert letter(record) == {
        "errorCode": reason,
        "errorMessage": detail,
        "stage": "decode",
        "streamArn": "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout",
        "shardId": "shardId-000000000000",
        "sequenceNumber": str(FIRST_SEQUENCE_NUMBER + 2**16),
        "arrivalTimestamp": 1772413962891,
        "rawData": base64.b64encode(document).decode(),
    }


@pytest.mark.parametrize("data", ["%%%", "YQ=", "YWJj\n", "山"])
def test_data_that_is_not_base64_becomes_a_dead_letter_with_its_text(data: str) -> None:
    made = event(contact(), contact())
    made["Records"][0]["kinesis"]["data"] = data
    _, (record, neighbour) = Decoder([]).decode(made)
    assert neighbour.failure is None
    assert letter(record)["errorCode"] == "NotBase64"
    assert base64.b64decode(letter(record)["rawData"]).decode() == data


def test_unpaired_surrogate_in_the_data_text_is_no_crash() -> None:
    made = event(contact())
    made["Records"][0]["kinesis"]["data"] = "\ud800"
    _, (record,) = Decoder([]).decode(made)
    assert record.kind == Reason.NOT_BASE64


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (b'{"a":1}\n', b'{"a":1}'),
        (b' \t{"a":1}\r\n', b'{"a":1}'),
        (b'{\n  "a" : [ 1.50 , "x  y" ],\r\n  "b": "\\n \\" \\\\"\n}\n', b'{"a":[1.50,"x  y"],"b":"\\n \\" \\\\"}'),
        (b'{"a":\r1}', b'{"a":1}'),
        (b'{ "a" : 1 }', b'{ "a" : 1 }'),
    ],
)
def test_record_becomes_exactly_one_line_and_no_token_changes(document: bytes, line: bytes) -> None:
    (record,) = decode(document)
    assert line == record.data


def test_compacting_agrees_with_msgspec_on_a_real_record() -> None:
    document = json.dumps({"é": ['\\\n"', 1.0e10, None, {}], "b": {"c": "  "}}, indent=3, ensure_ascii=False).encode()
    assert msgspec.json.format(document, indent=-1) == on_one_line(document)


def test_named_fields_are_decoded_and_absence_differs_from_null() -> None:
    (record,) = decode(contact(Queue={"Name": "Sales", "ARN": "x"}, Channel=None))
    assert scalars_at(record.fields, ("Queue", "Name")) == ["Sales"]
    assert scalars_at(record.fields, ("Channel",)) == [None]
    assert scalars_at(record.fields, ("Attributes", "language")) == []


def test_batches_with_poison_leave_nothing_behind() -> None:
    """An exception kept in a record would hold its whole batch for ever, by its traceback."""
    batch = event(*[contact(filler="x" * 20_000)] * 50, b"poison")
    decoder = Decoder(PATHS)
    decoder.decode(batch)
    gc.collect()
    tracemalloc.start()
    for _ in range(5):
        decoder.decode(batch)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_last_of_duplicate_keys_counts() -> None:
    (record,) = decode(b'{"Channel":"VOICE","Channel":"CHAT"}')
    assert scalars_at(record.fields, ("Channel",)) == ["CHAT"]


def test_number_beyond_float64_compares_as_infinite() -> None:
    (record,) = decode(b'{"Channel":-1e999}')
    assert scalars_at(record.fields, ("Channel",)) == [float("-inf")]


def test_aggregate_gives_its_records_in_order_under_one_sequence_number() -> None:
    """The aggregate is made by awslabs' own library, which the function does not use."""
    records = decode(contact(), aggregated(contact(Channel="A"), b"poison", contact(Channel="B")), agent_event())
    assert [r.kind for r in records] == [
        Kind.CONTACT_RECORD,
        Kind.CONTACT_RECORD,
        Reason.NOT_JSON,
        Kind.CONTACT_RECORD,
        Kind.AGENT_EVENT,
    ]
    assert [r.position - FIRST_SEQUENCE_NUMBER for r in records] == [0, 65536, 65536, 65536, 131072]
    assert base64.b64decode(letter(records[2])["rawData"]) == b"poison"


def test_dead_letter_of_an_aggregate_is_taken_apart_by_code_that_can() -> None:
    parts = [contact(Channel="A"), contact(Channel="B")]
    letter = RecordLetter(
        shard=Shard("arn", "s"),
        sequence_number=SequenceNumber("7"),
        arrived_at=1.0,
        raw=aggregated(*parts),
        reason="BadAggregate",
    )
    records = Decoder(()).decode_letter(letter)
    assert [(record.data, record.position) for record in records] == [(part, 7) for part in parts]
    with pytest.raises(RecordError):
        Decoder(()).decode_letter(replace(letter, reason="NotUtf8"))


def test_damaged_aggregate_becomes_a_dead_letter_as_a_whole() -> None:
    whole = aggregated(contact(), contact())
    (record,) = decode(whole[:40] + b"\x00" + whole[41:])
    assert record.kind == Reason.BAD_AGGREGATE
    assert base64.b64decode(letter(record)["rawData"]) == whole[:40] + b"\x00" + whole[41:]


def test_sequence_numbers_compare_as_integers() -> None:
    """As text, "99" comes after "100"."""
    _, records = Decoder([]).decode(numbered_event([(99, b"{}"), (100, b"{}")]))
    assert [r.position for r in records] == [99, 100]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"\xff\xff", "KPL aggregate of 22 bytes: not protobuf"),
        (b"\x0a\x01k", "KPL aggregate of 23 bytes: it holds no complete records"),
        (b"\x1a\x02\x08\x00", "KPL aggregate of 24 bytes: it holds no complete records"),
        (b"\x1a\x04\x08\x00\x1a\x00" * 1001, "KPL aggregate of 6026 bytes: 1001 records"),
    ],
    ids=["no protobuf", "no record", "a record without data", "too many records"],
)
def test_aggregate_with_a_good_digest_and_bad_content_becomes_a_dead_letter(body: bytes, detail: str) -> None:
    (record,) = decode(b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body).digest())
    assert (letter(record)["errorCode"], letter(record)["errorMessage"]) == ("BadAggregate", detail)


def _edited(path: str, value: object) -> dict[str, Any]:
    made: Any = event(contact(), contact())
    *way, last = path.split(".")
    place = made
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    edited: dict[str, Any] = made
    return edited


@pytest.mark.parametrize(
    ("made", "error"),
    [
        ({}, "event: expected what Lambda sends for a Kinesis stream: Object missing required field `Records`"),
        ([], "event: expected what Lambda sends for a Kinesis stream: Expected `object`, got `array`"),
        (
            {"Records": None},
            "event: expected what Lambda sends for a Kinesis stream: Expected `array`, got `null` - at `$.Records`",
        ),
        (
            _edited("Records.1.kinesis", ...),
            "event: expected what Lambda sends for a Kinesis stream: Object missing required field `kinesis` - at "
            "`$.Records[1]`",
        ),
        (
            _edited("Records.0.kinesis.data", 5),
            "event: expected what Lambda sends for a Kinesis stream: Expected `str`, got `int` - at "
            "`$.Records[0].kinesis.data`",
        ),
        (
            _edited("Records.1.eventSourceARN", "arn:aws:kinesis:ap-northeast-1:111122223333:stream/other"),
            "event.Records[1]: expected the shard and number of the batch, got others",
        ),
        (
            _edited("Records.1.eventID", "shardId-000000000001:1"),
            "event.Records[1]: expected the shard and number of the batch, got others",
        ),
        (
            _edited("Records.0.eventID", "../x:1"),
            "event.Records[0]: expected eventID `<shard>:<number>` and a stream's eventSourceARN",
        ),
        (
            _edited("Records.0.eventSourceARN", "arn:aws:kinesis:ap-northeast-1:111122223333:stream/\ud800"),
            "event.Records[0]: expected eventID `<shard>:<number>` and a stream's eventSourceARN",
        ),
        ({"\ud800": 1, "Records": []}, "event: expected text as keys, got an unpaired surrogate"),
        (
            _edited("Records.0.kinesis.approximateArrivalTimestamp", 1e15),
            "event.Records[0].kinesis.approximateArrivalTimestamp: expected seconds since 1970",
        ),
        (
            numbered_event([(5, b"{}"), (5, b"{}")]),
            "event.Records: expected sequence numbers that increase, got one that does not",
        ),
        (
            numbered_event([(100, b"{}"), (99, b"{}")]),
            "event.Records: expected sequence numbers that increase, got one that does not",
        ),
        (
            numbered_event([(-5, b"{}")]),
            "event.Records: expected sequence numbers of decimal digits, got something else",
        ),
        (
            numbered_event([(10**128, b"{}")]),
            "event.Records: expected sequence numbers of at most 128 digits",
        ),
    ],
    ids=range(15),
)
def test_event_that_lambda_would_not_send_is_one_clear_error(made: Any, error: str) -> None:
    with pytest.raises(EventError) as raised:
        Decoder([]).decode(made)
    assert error == str(raised.value)


@pytest.mark.parametrize("number", ["", "1_0", "+1", " 1", "٣", "1.0"])
def test_odd_sequence_number_is_one_clear_error(number: str) -> None:
    made = event(contact())
    made["Records"][0]["kinesis"]["sequenceNumber"] = number
    made["Records"][0]["eventID"] = f"shardId-000000000000:{number}"
    with pytest.raises(EventError, match="expected sequence numbers of decimal digits, got something else"):
        Decoder([]).decode(made)


def test_event_without_records_is_no_error() -> None:
    assert Decoder([]).decode({"Records": []}) == (None, [])


def test_keys_of_a_tumbling_window_change_nothing() -> None:
    made = {**event_of_documents([contact()]), "window": {"start": "x"}, "state": {}, "isFinalInvokeForWindow": False}
    _, (record,) = Decoder([]).decode(made)
    assert (record.kind, record.data) == (Kind.CONTACT_RECORD, contact())
