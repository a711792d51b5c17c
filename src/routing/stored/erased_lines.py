"""Erase: the lines of an object -> the same without one contact.

A line of the contact is removed as a whole; inside another's line, as an agent event's snapshot, the objects
that are the contact's go. What is left keeps its spelling.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from routing.protection.raw_json import Entry, is_container, put_together, take_apart
from routing.protection.rules import SEALED
from routing.stored import dead_letter

# Connect's records and its contact events on EventBridge, as documented and as they are seen.
_CONTACT = frozenset({"ContactId", "contactId"})
_CONTACT_ARN = frozenset({"ContactArn", "contactArn", "ContactARN"})
# An event of EventBridge is about what stands below this key, so the whole of it goes with that.
_EVENT_BRIDGE, _DETAIL = "detail-type", "detail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Lines without a contact.

    Attributes:
        lines: What is left.
        records: How many records are gone.
        entries: How many objects are gone from lines that are left.
        mentions: How many lines still name it: as another contact's predecessor, or in a text.
        sealed: How many lines hold it beside a sealed message, which would not fit any more; they are as they were.
    """

    lines: list[bytes]
    records: int = 0
    entries: int = 0
    mentions: int = 0
    sealed: int = 0

    @property
    def is_changed(self) -> bool:
        """True if something is gone."""
        return bool(self.records or self.entries)


def erased(lines: Collection[bytes], ids: Collection[str]) -> Erased:
    """Remove a contact from JSON lines.

    Args:
        lines: One record each.
        ids: How the contact may stand there: its id, and its tokens where a route hashes.

    Raises:
        ValueError: A line is no JSON object.
        RecursionError: A line is nested too deeply.
    """
    kept: list[bytes] = []
    entries = mentions = sealed = 0
    for line in lines:
        if not _may_name(line, ids):
            kept.append(line)
            continue
        _check(line)
        top = take_apart(line)
        if _is_of(top, ids) or _is_event_of(top, ids):
            continue
        made, gone = _without(line, ids)
        if gone and any(key == SEALED for key, _ in top):
            sealed += 1
            kept.append(line)
            continue
        kept.append(made)
        entries += gone
        mentions += any(one.encode() in made for one in ids)
    return Erased(lines=kept, records=len(lines) - len(kept), entries=entries, mentions=mentions, sealed=sealed)


def erased_letters(lines: Collection[bytes], ids: Collection[str]) -> Erased:
    """Remove records that name a contact anywhere from dead letters: the contact of an unreadable record is unknown.

    The line of each remains without the record. It tells a replay of the stream what not to bring back.

    Raises:
        ValueError: A line is no dead letter.
    """
    raw = [dead_letter.read_line(line).raw for line in lines]
    gone = [any(one.encode() in data for one in ids) for data in raw]
    made = [dead_letter.without_record(line) if is_gone else line for line, is_gone in zip(lines, gone, strict=True)]
    return Erased(lines=made, records=sum(gone))


def _check(line: bytes) -> None:
    """Refuse what is no JSON object, as nothing that ctr-fanout delivers.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(json.loads(line, parse_int=str, parse_float=str), dict):
        raise ValueError(f"expected a JSON object, got a line of {len(line)} bytes")  # noqa: TRY004 - of the data


def _may_name(line: bytes, ids: Collection[str]) -> bool:
    """Return True if a line is worth a look: an escaped spelling hides an id from a search for its bytes."""
    return b"\\u" in line or any(one.encode() in line for one in ids)


def _is_of(entries: Collection[Entry], ids: Collection[str]) -> bool:
    return any(key in _CONTACT and value.startswith(b'"') and json.loads(value) in ids for key, value in entries)


def _is_event_of(entries: Collection[Entry], ids: Collection[str]) -> bool:
    """Return True for an event of EventBridge about the contact.

    Sources: https://docs.aws.amazon.com/connect/latest/adminguide/contact-events.html (`contactId`),
    https://docs.aws.amazon.com/connect/latest/adminguide/contact-lens-rules-eventbridge-event.html (`contactArn`)
    """
    if not any(key == _EVENT_BRIDGE for key, _ in entries):
        return False
    details = [take_apart(value) for key, value in entries if key == _DETAIL and value.startswith(b"{")]
    return any(_is_of(detail, ids) or _has_arn_of(detail, ids) for detail in details)


def _has_arn_of(entries: Collection[Entry], ids: Collection[str]) -> bool:
    """Return True if an ARN, `arn:aws:connect:...:instance/<id>/contact/<id>`, ends with the contact."""
    arns = (value for key, value in entries if key in _CONTACT_ARN and value.startswith(b'"'))
    return any(json.loads(arn).rpartition("/")[2] in ids for arn in arns)


def _without(raw: bytes, ids: Collection[str]) -> tuple[bytes, int]:
    """Return a value without the objects in it that are the contact's, and how many they were."""
    kept: list[Entry] = []
    gone = 0
    for key, value in take_apart(raw):
        if not is_container(value) or not _may_name(value, ids):
            kept.append((key, value))
        elif value.startswith(b"{") and _is_of(take_apart(value), ids):
            gone += 1
        else:
            made, below = _without(value, ids)
            kept.append((key, made))
            gone += below
    return (put_together(raw, kept), gone) if gone else (raw, 0)
