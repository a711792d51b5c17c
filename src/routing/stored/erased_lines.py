"""Erase: the lines of an object -> the same without some contacts; and whose contacts lines are.

A line of a contact is removed as a whole; inside another's line, as an agent event's snapshot, the objects
that are the contact's go. What is left keeps its spelling.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from routing.protection.raw_json import Entry, is_container, put_together, take_apart
from routing.protection.rules import SEALED
from routing.stored import dead_letter

# Connect's records and its contact events on EventBridge, as documented and as they are seen.
_CONTACT = frozenset({"ContactId", "contactId"})
_CONTACT_ARN = frozenset({"ContactArn", "contactArn", "ContactARN"})
# An event of EventBridge is about what stands below this key, so the whole of it goes with that.
_EVENT_BRIDGE, _DETAIL = "detail-type", "detail"


# What may be somebody's: https://docs.aws.amazon.com/connect/latest/adminguide/ctr-data-model.html
_OF_A_CUSTOMER = (("CustomerId",), ("CustomerEndpoint", "Address"))
_REDACTED = "connect:RedactedFields"
"""The segment attribute of a contact that DeleteContactData has redacted.

Source: https://docs.aws.amazon.com/connect/latest/APIReference/API_DeleteContactData.html
"""
_FEW = 4
_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What is in the middle of a UUID, and nearly nowhere else: a tenth of the time that a search for the whole takes.
_MIDDLE = re.compile(rb"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-")
_BEFORE, _BEHIND = 8, 12
_WORD = re.compile(rb"[A-Za-z0-9_-]+")
_WORDS_APART = bytes(byte if _WORD.match(bytes([byte])) else ord(" ") for byte in range(256))


class Ids(frozenset[str]):
    """How contacts may stand in records: their ids, and their tokens where a route hashes. Ten thousand cost as much as ten."""

    def named_in(self, data: bytes) -> bool:
        """Return True if one of them is anywhere in some bytes."""
        if any(text in data for text in self._searched):
            return True
        if self._uuids and not self._middles.isdisjoint(_MIDDLE.findall(data)) and self._is_uuid_in(data):
            return True
        return bool(self._words) and self._is_word_in(data)

    def _is_uuid_in(self, data: bytes) -> bool:
        places = ((found.start(), found.end()) for found in _MIDDLE.finditer(data))
        return any(data[max(start - _BEFORE, 0) : end + _BEHIND] in self._uuids for start, end in places)

    def _is_word_in(self, data: bytes) -> bool:
        """Return True if one that is no UUID is a run of characters, or a part of one."""
        runs, shortest = data.translate(_WORDS_APART).split(), self._lengths[0]
        return not self._words.isdisjoint(runs) or any(self._holds(run) for run in runs if len(run) > shortest)

    def _holds(self, run: bytes) -> bool:
        words = self._words
        return any(
            run[start : start + length] in words for length in self._lengths for start in range(len(run) - length + 1)
        )

    @cached_property
    def _every(self) -> frozenset[bytes]:
        return frozenset(one.encode() for one in self)

    @cached_property
    def _uuids(self) -> frozenset[bytes]:
        return frozenset(filter(_UUID.fullmatch, self._every)) if len(self) > _FEW else frozenset()

    @cached_property
    def _middles(self) -> frozenset[bytes]:
        return frozenset(uuid[_BEFORE:-_BEHIND] for uuid in self._uuids)

    @cached_property
    def _words(self) -> frozenset[bytes]:
        return frozenset(filter(_WORD.fullmatch, self._every - self._uuids)) if len(self) > _FEW else frozenset()

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(sorted({len(word) for word in self._words}))

    @cached_property
    def _searched(self) -> frozenset[bytes]:
        """Those that are searched one by one: a few, and what is no word."""
        return self._every - self._uuids - self._words


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Lines without some contacts.

    Attributes:
        lines: What is left.
        records: How many records are gone.
        entries: How many objects are gone from lines that are left.
        mentions: How many lines still name it: as another contact's predecessor, or in a text.
        sealed: How many lines hold it beside a sealed message, which would not fit any more; they are as they were.
        found: Which of the ids were met.
    """

    lines: list[bytes]
    records: int = 0
    entries: int = 0
    mentions: int = 0
    sealed: int = 0
    found: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def is_changed(self) -> bool:
        """True if something is gone."""
        return bool(self.records or self.entries)


def erased(lines: Collection[bytes], ids: Collection[str], *, keep_redacted: bool = False) -> Erased:
    """Remove contacts from JSON lines.

    Args:
        lines: One record each.
        ids: How the contacts may stand there: their ids, and their tokens where a route hashes.
        keep_redacted: True to leave records that Connect itself has redacted.

    Raises:
        ValueError: A line is no JSON object.
        RecursionError: A line is nested too deeply.
    """
    ids = ids if isinstance(ids, Ids) else Ids(ids)
    kept: list[bytes] = []
    found: set[str] = set()
    entries = mentions = sealed = 0
    for line in lines:
        if not _may_name(line, ids):
            kept.append(line)
            continue
        _check(line)
        top = take_apart(line)
        if of_these := _owners(top, ids) or _owners_of_event(top, ids):
            if keep_redacted and _is_redacted(top):
                kept.append(line)
            else:
                found |= of_these
            continue
        made, gone = _without(line, ids, found)
        if gone and any(key == SEALED for key, _ in top):
            sealed += 1
            kept.append(line)
            continue
        kept.append(made)
        entries += gone
        mentions += ids.named_in(made)
    return Erased(
        lines=kept,
        records=len(lines) - len(kept),
        entries=entries,
        mentions=mentions,
        sealed=sealed,
        found=frozenset(found),
    )


def erased_letters(lines: Collection[bytes], ids: Collection[str]) -> Erased:
    """Remove records that name a contact anywhere from dead letters: the contact of an unreadable record is unknown.

    The line of each remains without the record. It tells a replay of the stream what not to bring back.

    Raises:
        ValueError: A line is no dead letter.
    """
    ids = ids if isinstance(ids, Ids) else Ids(ids)
    raw = [dead_letter.read_line(line).raw for line in lines]
    gone = [ids.named_in(data) for data in raw]
    made = [dead_letter.without_record(line) if is_gone else line for line, is_gone in zip(lines, gone, strict=True)]
    found = {one for data, is_gone in zip(raw, gone, strict=True) if is_gone for one in ids if one.encode() in data}
    return Erased(lines=made, records=sum(gone), found=frozenset(found))


def contacts_of(lines: Iterable[bytes], customers: Collection[str]) -> Iterator[str]:
    """Yield the contact of each record that is of some customers, by what identifies them or its tokens.

    Raises:
        ValueError: A line is no JSON object.
    """
    named = customers if isinstance(customers, Ids) else Ids(customers)
    for line in lines:
        # What identifies a person may have escapes that no id of a contact needs: an address in quotes, a slash.
        if b"\\" in line or named.named_in(line):
            record = json.loads(line, parse_int=str, parse_float=str)
            if any(_at(record, path) in named for path in _OF_A_CUSTOMER) and isinstance(record.get("ContactId"), str):
                yield record["ContactId"]


def redacted_contacts(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the contact of each record that Connect has redacted.

    Raises:
        ValueError: A line is no JSON object.
    """
    for line in lines:
        if b"\\" in line or _REDACTED.encode() in line:
            record = json.loads(line, parse_int=str, parse_float=str)
            attributes = record.get("SegmentAttributes")
            is_redacted = isinstance(attributes, dict) and attributes.get(_REDACTED) is not None
            if is_redacted and isinstance(record.get("ContactId"), str):
                yield record["ContactId"]


def _at(record: object, path: tuple[str, ...]) -> str | None:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, str) else None


def _is_redacted(entries: Collection[Entry]) -> bool:
    return any(
        name == _REDACTED and inner != b"null"
        for key, value in entries
        if key == "SegmentAttributes" and value.startswith(b"{")
        for name, inner in take_apart(value)
    )


def _check(line: bytes) -> None:
    """Refuse what is no JSON object, as nothing that ctr-fanout delivers.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(json.loads(line, parse_int=str, parse_float=str), dict):
        raise ValueError(f"expected a JSON object, got a line of {len(line)} bytes")  # noqa: TRY004 - of the data


def _may_name(line: bytes, ids: Ids) -> bool:
    """Return True if a line is worth a look: an escaped spelling hides an id from a search for its bytes."""
    return b"\\u" in line or ids.named_in(line)


def _owners(entries: Collection[Entry], ids: Ids) -> set[str]:
    """Return those whose object this is."""
    texts = {json.loads(value) for key, value in entries if key in _CONTACT and value.startswith(b'"')}
    return {*ids.intersection(texts)}


def _owners_of_event(entries: Collection[Entry], ids: Ids) -> set[str]:
    """Return those whom an event of EventBridge is about.

    Sources: https://docs.aws.amazon.com/connect/latest/adminguide/contact-events.html (`contactId`),
    https://docs.aws.amazon.com/connect/latest/adminguide/contact-lens-rules-eventbridge-event.html (`contactArn`)
    """
    if not any(key == _EVENT_BRIDGE for key, _ in entries):
        return set()
    details = [take_apart(value) for key, value in entries if key == _DETAIL and value.startswith(b"{")]
    return set().union(*(_owners(detail, ids) | _named_by_arn(detail, ids) for detail in details))


def _named_by_arn(entries: Collection[Entry], ids: Ids) -> set[str]:
    """Return those with whom an ARN ends: `arn:aws:connect:...:instance/<id>/contact/<id>`."""
    arns = (json.loads(value) for key, value in entries if key in _CONTACT_ARN and value.startswith(b'"'))
    return {*ids.intersection(arn.rpartition("/")[2] for arn in arns)}


def _without(raw: bytes, ids: Ids, found: set[str]) -> tuple[bytes, int]:
    """Return a value without the objects in it that are the contacts', and how many they were; `found` gains whose."""
    kept: list[Entry] = []
    gone = 0
    for key, value in take_apart(raw):
        if not is_container(value) or not _may_name(value, ids):
            kept.append((key, value))
        elif value.startswith(b"{") and (owners := _owners(take_apart(value), ids)):
            found |= owners
            gone += 1
        else:
            made, below = _without(value, ids, found)
            kept.append((key, made))
            gone += below
    return (put_together(raw, kept), gone) if gone else (raw, 0)
