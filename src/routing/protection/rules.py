"""Protection: what a route may see of a record.

A value is touched by one rule, once: by the first of the route's rules that meets it or something it is in;
`keep` comes after all others. What no rule touches keeps its bytes.

    mask, hash    every text, number and truth value in what is met becomes a text; null, "" and keys stay;
                  a hash with `keys = true` makes tokens of the keys inside as well
    remove        a field is removed with its key
    seal          a value is removed and sealed into `_sealed` (sealing.py)
    keep          every field that no rule names is removed

Field values that Connect has encrypted already are never altered by a mask or a hash.
"""

import binascii
import json
import re
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

from routing.protection.paths import FieldPath, Reach, reach_of
from routing.protection.raw_json import is_container, peel, put_together, repeats_keys

type Change = Callable[[str], str]
"""What a mask or a hash makes of a text."""


class Action(StrEnum):
    """What a rule does."""

    REMOVE = "remove"
    MASK = "mask"
    HASH = "hash"
    SEAL = "seal"
    KEEP = "keep"


class Rule(Struct, frozen=True, kw_only=True):
    """One rule of a route.

    Attributes:
        action: What it does.
        paths: Where.
        mask: Of a mask: what it makes of a text.
        join: Of a hash: the group whose routes make equal tokens of equal values; None for the route alone.
        keys: Of a hash: True if the keys of objects in what is met become tokens as well.
        matching: Of a mask of what a regular expression matches: the expression, as it is written.
    """

    action: Action
    paths: tuple[FieldPath, ...]
    mask: Change | None = None
    join: str | None = None
    keys: bool = False
    matching: str = ""


class Piece(Struct, frozen=True):
    """A value that was taken out to be sealed.

    Attributes:
        path: Keys, and indices of elements, of the containers around it, in the record before it was sealed.
        index: Its place among the entries of its container.
        key: Its key; None for an element of an array.
        value: Its JSON, as it was spelled.
    """

    path: tuple[str | int, ...]
    index: int
    key: str | None
    value: bytes


class Protected(Struct, frozen=True):
    """A record as a route may see it.

    Attributes:
        data: The record without what is to be sealed.
        pieces: What is to be sealed.
    """

    data: bytes
    pieces: Sequence[Piece]


SEALED = "_sealed"
"""The field that holds what was sealed, the last one of a record."""

_DEEPEST = 64
"""Deeper values are removed where a rule might apply: no record of Connect is as deep."""

# How a message of the AWS Encryption SDK begins, versions 1 and 2, and how many bytes it has at least: so, as base64,
# Connect stores what customers key in.
# https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html
# https://docs.aws.amazon.com/connect/latest/adminguide/encrypt-data.html
_HEADERS = re.compile(rb"\x01\x80(?:\x00[\x14\x46\x78]|\x01[\x14\x46\x78]|\x02\x14|\x03[\x46\x78])|\x02[\x04\x05]\x78")
_SHORTEST_MESSAGE = 90

_read_text = msgspec.json.Decoder(str).decode

type _Twice = tuple[bytes | None, bytes | None]
"""A value with what is sealed still in it, and without; None where it is gone."""


class Protection:
    """The rules of one route, compiled."""

    def __init__(self, rules: Sequence[Rule], hashing: Callable[[Rule], Change]) -> None:
        """Compile.

        Args:
            rules: In the order of the file, at least one.
            hashing: Returns what makes the tokens of a hash rule.
        """
        others = [rule for rule in rules if rule.action is not Action.KEEP]
        kept = [rule for rule in rules if rule.action is Action.KEEP]
        self.seals = any(rule.action is Action.SEAL for rule in rules)
        # A field of the sealed one's name must not be taken for it later.
        own = [Rule(action=Action.REMOVE if kept else Action.SEAL, paths=((SEALED,),))] if self.seals else []
        ordered = [*others, *own, *kept]
        self._actions = [rule.action for rule in ordered]
        self._changes = [hashing(rule) if rule.action is Action.HASH else rule.mask for rule in ordered]
        self._of_keys = [change if rule.keys else None for rule, change in zip(ordered, self._changes, strict=True)]
        self._rest: int | None = None
        if kept:
            self._rest = len(ordered)
            self._actions.append(Action.REMOVE)
            self._changes.append(None)
            self._of_keys.append(None)
        self._reach = reach_of((number, path) for number, rule in enumerate(ordered) for path in rule.paths)

    def apply(self, data: bytes) -> Protected:
        """Protect a record.

        Args:
            data: A JSON object that the decoder has taken.
        """
        walk = _Walk(self._actions, self._changes, self._of_keys)
        whole, seen = walk.container(data, self._reach, walk.first(self._reach, self._rest), (), is_root=True)
        assert whole is not None, "the root itself stays"
        assert seen is not None, "a value that was visited before"
        if walk.is_spelled_oddly:  # taken apart and put together again it would not be the same bytes
            return Protected(seen, [Piece((), 0, None, whole)])
        return Protected(seen, walk.pieces)


class _Walk:
    """One record on its way through the rules."""

    def __init__(
        self, actions: Sequence[Action], changes: Sequence[Change | None], of_keys: Sequence[Change | None]
    ) -> None:
        """Begin with nothing sealed."""
        self._actions = actions
        self._changes = changes
        self._of_keys = of_keys
        self._only_seals = {*actions} <= {Action.SEAL}
        self._seals = Action.SEAL in actions
        self.pieces: list[Piece] = []
        self.is_spelled_oddly = False

    @staticmethod
    def first(reach: Reach, decided: int | None) -> int | None:
        """Return the rule that decides here: the first of those that meet the value, or what it is in."""
        if reach.here is None or decided is None:
            return reach.here if decided is None else decided
        return min(reach.here, decided)

    def container(  # noqa: C901 - one branch for each way that an entry can go
        self, raw: bytes, reach: Reach, decided: int | None, path: tuple[str | int, ...], *, is_root: bool = False
    ) -> _Twice:
        """Protect an object or an array entry by entry."""
        entries = peel(raw)
        whole: list[tuple[str | None, bytes]] = []
        seen: list[tuple[str | None, bytes]] = []
        is_whole = is_seen = True
        of_keys = None if decided is None else self._of_keys[decided]
        taken_out = len(self.pieces)
        only = reach.only if decided is None else None
        for entry in entries:
            key, buffer = entry
            below = None if only is not None and key not in only else reach.enter(key)
            if below is None or (decided is None and below.is_idle):  # most fields: nothing is asked of them
                whole.append(entry)
                seen.append(entry)
                continue
            value = bytes(buffer)
            if of_keys is not None and key is not None:
                key, is_whole, is_seen = of_keys(key), False, False
            place = (*path, len(whole) if key is None else key)
            kept, shown = self._value(value, below, self.first(below, decided), place)
            if kept is None:
                is_whole = is_seen = False
                continue
            if shown is None:
                self.pieces.append(Piece(path, len(whole), key, kept))
                is_seen = False
            else:
                seen.append((key, shown))
                is_seen = is_seen and shown is kept
            whole.append((key, kept))
            is_whole = is_whole and kept is value
        if not whole and decided is not None and self._actions[decided] is Action.REMOVE and not is_root:
            return None, None
        before = put_together(raw, whole)
        if not seen and decided is not None and self._actions[decided] is Action.SEAL and not is_root:
            del self.pieces[taken_out:]  # nothing of it is seen: it is sealed as one
            return raw if is_whole and (self._only_seals or not repeats_keys(raw)) else before, None
        if is_whole and before == raw:
            before = raw
        elif is_whole:
            is_repeating = repeats_keys(raw)
            if not is_repeating or self._only_seals:
                before = raw
                self.is_spelled_oddly = self.is_spelled_oddly or is_repeating or not is_seen
            is_seen = is_seen and not is_repeating
        if is_seen or not self._seals:  # without sealing what is seen is all that is kept
            return before, before
        return before, put_together(raw, seen)

    def _value(self, raw: bytes, reach: Reach, decided: int | None, path: tuple[str | int, ...]) -> _Twice:
        """Protect a value that the rule `decided` meets, or none."""
        may_meet = reach.below is not None and (decided is None or reach.below < decided)
        change = None if decided is None else self._changes[decided]
        if (may_meet or change is not None) and is_container(raw):
            return self.container(raw, reach, decided, path) if len(path) < _DEEPEST else (None, None)
        if decided is None:
            return raw, raw
        if change is not None:
            changed = _changed(raw, change)
            return changed, changed
        action = self._actions[decided]
        return (None, None) if action is Action.REMOVE else (raw, None if action is Action.SEAL else raw)


def _changed(raw: bytes, change: Change) -> bytes:
    """Mask or hash one value; what is null, empty or encrypted already stays."""
    if raw in {b"null", b'""'} or _is_ciphertext(raw):
        return raw
    text = _text_of(raw) if raw.startswith(b'"') else raw.decode()
    return json.dumps(change(text), ensure_ascii=not text.isprintable()).encode()


def _text_of(raw: bytes) -> str:
    """Read a JSON text, one with an unpaired surrogate too."""
    try:
        return _read_text(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text: str = json.loads(raw)
        return text


def _is_ciphertext(raw: bytes) -> bool:
    """Return True if a value is a whole message of the AWS Encryption SDK; its first bytes alone could be forged."""
    if not raw.startswith(b'"A'):
        return False
    try:
        message = binascii.a2b_base64(raw[1:-1], strict_mode=True)
    except binascii.Error:
        return False
    return len(message) >= _SHORTEST_MESSAGE and _HEADERS.match(message) is not None
