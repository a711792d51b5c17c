"""Erase: lines without one contact, the others byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import RecordError
from routing.model import SequenceNumber, Shard
from routing.reasons import Reason
from routing.stored.dead_letter import from_record, read_line
from routing.stored.erased_lines import Erased, Ids, erased, erased_letters
from tests.builders import agent_event, chat_segment, contact, contact_event, segment

GONE = "c-1"


def snapshot(*contacts: str) -> dict[str, object]:
    return {"Contacts": [{"ContactId": one, "State": "CONNECTED"} for one in contacts]}


def test_lines_of_the_contact_go_whole_and_the_others_keep_their_bytes() -> None:
    others = [contact(ContactId="c-2", n=1.50), b'{"ContactId" : "c-3",  "n":1.50e+400}', segment(ContactId="c-4")]
    made = erased([contact(), others[0], segment(), *others[1:]], {GONE})
    assert (made.lines, made.records, made.entries, made.mentions) == (others, 2, 0, 0)


def test_contact_inside_an_agent_event_goes_and_the_rest_of_the_event_stays() -> None:
    event = agent_event(CurrentAgentSnapshot=snapshot("c-2", GONE), PreviousAgentSnapshot=snapshot(GONE))
    made = erased([event], {GONE})
    assert made.lines == [agent_event(CurrentAgentSnapshot=snapshot("c-2"), PreviousAgentSnapshot=snapshot())]
    assert (made.records, made.entries, made.mentions) == (0, 2, 0)


@pytest.mark.parametrize(
    "line",
    [
        contact_event(),
        contact_event(contactId=None, ContactId=GONE),
        contact_event(
            contactId=None, contactArn=f"arn:aws:connect:ap-northeast-1:111122223333:instance/i/contact/{GONE}"
        ),
        chat_segment(),
        b'{"contactId":"c-1"}',
        rb'{"detail-type":"Amazon Connect Contact Event","detail":{"contactId":"\u0063-1"}}',
    ],
)
def test_contact_event_and_chat_segment_of_the_contact_go_whole(line: bytes) -> None:
    made = erased([line], {GONE})
    assert (made.lines, made.records, made.entries, made.mentions) == ([], 1, 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        contact_event(contactId="c-2", initialContactId=GONE),
        contact_event(contactId="c-2", contactArn=f"arn:aws:connect:::contact/{GONE}/part/2"),
    ],
)
def test_contact_event_of_another_contact_stays(line: bytes) -> None:
    made = erased([line], {GONE})
    assert (made.lines, made.mentions, made.is_changed) == ([line], 1, False)


@pytest.mark.parametrize("field", ["PreviousContactId", "NextContactId", "InitialContactId", "RelatedContactId"])
def test_other_contact_that_names_it_stays_and_is_counted(field: str) -> None:
    line = contact(ContactId="c-2", **{field: GONE})
    made = erased([line], {GONE})
    assert (made.lines, made.mentions, made.is_changed) == ([line], 1, False)


def test_escaped_spelling_of_the_id_is_found() -> None:
    made = erased([rb'{"ContactId":"\u0063-1"}', rb'{"A":[{"ContactId":"\u0063-1"}]}'], {GONE})
    assert (made.lines, made.records, made.entries) == ([b'{"A":[]}'], 1, 1)


def test_any_of_the_tokens_counts() -> None:
    assert erased([contact(ContactId="f00d")], {GONE, "f00d"}).records == 1


def test_part_beside_a_sealed_message_stays_and_is_told() -> None:
    """Without the part the message would not open any more."""
    line = agent_event(CurrentAgentSnapshot=snapshot(GONE), _sealed="AgV4")
    made = erased([line], {GONE})
    assert (made.lines, made.sealed, made.is_changed) == ([line], 1, False)


def test_sealed_record_of_the_contact_goes_whole() -> None:
    assert erased([contact(_sealed="AgV4")], {GONE}).lines == []


@given(
    ids=st.sets(st.from_regex(r"[ab_-]{1,6}", fullmatch=True), min_size=1, max_size=12),
    data=st.from_regex(rb"[ab_\-+/ ]{0,40}", fullmatch=True),
)
def test_many_ids_are_found_wherever_one_would_be(ids: set[str], data: bytes) -> None:
    assert Ids(ids).named_in(data) == any(one.encode() in data for one in ids)


_UUIDS = st.sampled_from([f"{a}{a * 7}-{b * 4}-{c * 4}-{b * 4}-{a * 12}" for a in "a0" for b in "bf" for c in "c9"])


@given(
    ids=st.sets(st.one_of(_UUIDS, st.from_regex(r"[0-9a-f]{64}|[a-c]{2,4}", fullmatch=True)), min_size=5, max_size=12),
    parts=st.lists(
        st.one_of(_UUIDS, st.sampled_from([*'-a0b/"_', "bbbb-", "-bbbb", "cccc-bbbb-aaaaaaaaaaaa"])), max_size=8
    ),
)
def test_many_uuids_are_found_wherever_one_would_be(ids: set[str], parts: list[str]) -> None:
    """Beside each other, cut off, in longer words, and with middles that several share."""
    data = "".join(parts).encode()
    assert Ids(ids).named_in(data) == any(one.encode() in data for one in ids)


def test_id_of_other_characters_is_found_among_many() -> None:
    many = Ids({f"c-{n}" for n in range(100)} | {"+81 3 0000", "名前"})
    assert many.named_in(b'"+81 3 0000"')
    assert many.named_in("名前".encode())
    assert not many.named_in(b"+81 3 000")


@pytest.mark.parametrize("line", [b"c-1", b'["c-1"]', b'{"a":"c-1"', b'"c-1"'])
def test_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        erased([line], {GONE})


def test_id_that_is_no_string_is_nobody() -> None:
    line = b'{"ContactId":1,"Note":"1"}'
    assert erased([line], {"1"}).lines == [line]


def test_dead_letters_that_name_the_contact_anywhere_go() -> None:
    letters = [_letter(b"\xff broken c-1"), _letter(b"\xff broken c-2")]
    made = erased_letters(letters, {GONE})
    assert (made.lines[1:], made.records) == (letters[1:], 1)
    left = read_line(made.lines[0])
    assert (left.raw, left.sequence_number, left.is_erased) == (b"", "1", True)
    assert erased_letters(made.lines, {GONE}) == Erased(lines=made.lines), "the second time nothing is left to erase"


def _letter(raw: bytes) -> bytes:
    shard = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/s", "shardId-000000000000")
    failure = RecordError(Reason.NOT_UTF8, "not UTF-8 at byte 0")
    return from_record(shard, SequenceNumber("1"), 1, 0.0, raw, failure).data
