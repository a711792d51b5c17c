"""Sealing: the values taken out of a record, as one text, and back to where they were.

The text is JSON, `[[[<keys and indices around it>], <index>, <key>, <value>], ...]`; the values keep their
spelling, so what is restored has the same bytes. A record whose own spelling would not survive is sealed whole.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from routing.model import Kind, RouteName
from routing.protection.raw_json import is_container, key_text, put_together, take_apart
from routing.protection.rules import SEALED, Piece
from routing.reasons import Reason

type SealContext = Mapping[str, str]
"""What a sealed message is bound to; it cannot be opened without the same context."""

_PREFIX = "ctr-fanout:"
_LONGEST_ID = 256
BOUND_TO_STACK, BOUND_TO_ROUTE = f"{_PREFIX}stack", f"{_PREFIX}route"
BOUND_TO_KIND, BOUND_TO_CONTACT = f"{_PREFIX}kind", f"{_PREFIX}contact"
BOUND_IN_KMS = frozenset({BOUND_TO_STACK, BOUND_TO_ROUTE})
"""The part of a context that KMS sees: policies decide by it, and no contact is in its log."""


class SealError(ValueError):
    """A sealed field is not what `seal` makes."""


def pack(pieces: Sequence[Piece]) -> bytes:
    """Write pieces as one text."""
    return msgspec.json.encode(
        [
            (
                [msgspec.Raw(_part(part)) for part in piece.path],
                piece.index,
                msgspec.Raw(_part(piece.key)),
                msgspec.Raw(piece.value),
            )
            for piece in pieces
        ]
    )


def unpack(text: bytes) -> list[Piece]:
    """Read what `pack` has written.

    Raises:
        SealError: It is something else.
    """
    entries = take_apart(text) if text.startswith(b"[") else None
    try:
        if entries is not None:
            return [_piece(*(value for _, value in take_apart(one))) for _, one in entries]
    except (TypeError, ValueError, IndexError):
        pass
    raise SealError(f"expected sealed values, got {len(text)} bytes of something else")


def attach(seen: bytes, message: str) -> bytes:
    """Put a sealed message, base64, behind the other fields of a record."""
    comma = b"" if seen == b"{}" else b","
    return seen[:-1] + comma + key_text(SEALED) + b':"' + message.encode() + b'"}'


def detach(line: bytes) -> tuple[bytes, str | None]:
    """Return a record without its sealed message, and that; None if it has none."""
    entries = take_apart(line)
    if not entries or entries[-1][0] != SEALED or not entries[-1][1].startswith(b'"'):
        return line, None
    return put_together(line, entries[:-1]), str(json.loads(entries[-1][1]))


def restore(seen: bytes, pieces: Sequence[Piece]) -> bytes:
    """Put pieces back to where they were.

    Raises:
        SealError: They are not those of this record.
    """
    if not pieces:
        return seen
    if len(pieces) == 1 and not pieces[0].path and pieces[0].key is None:
        return pieces[0].value
    try:
        return _restored(seen, pieces, 0)
    except (KeyError, IndexError, TypeError, msgspec.DecodeError):
        raise SealError("expected the sealed values of this record, got those of another") from None


def context_of(stack: str, route: RouteName, kind: Kind | Reason, seen: bytes) -> SealContext:
    """Return what a sealed message is bound to: stack, route, kind, and the contact as the route shows it.

    What the route does not show of the contact does not stand in the message's header either.
    """
    return {
        BOUND_TO_STACK: stack,
        BOUND_TO_ROUTE: route,
        BOUND_TO_KIND: str(kind),
        BOUND_TO_CONTACT: contact_of(seen),
    }


def contact_of(seen: bytes) -> str:
    """Return the contact as a record shows it; if it shows none, or more than an id, a digest of what it shows."""
    contact = next((value for key, value in take_apart(seen) if key == "ContactId"), b"")
    shown: str = json.loads(contact) if contact.startswith(b'"') else ""
    if 0 < len(shown) <= _LONGEST_ID and shown.isascii() and shown.isprintable():
        return shown
    return f"sha256:{hashlib.sha256(seen).hexdigest()}"


def _piece(path: bytes, index: bytes, key: bytes, value: bytes) -> Piece:
    return Piece(tuple(json.loads(part) for _, part in take_apart(path)), int(index), json.loads(key), value)


def _part(part: str | int | None) -> bytes:
    return key_text(part) if isinstance(part, str) else json.dumps(part).encode()


def _restored(seen: bytes, pieces: Sequence[Piece], depth: int) -> bytes:
    if not is_container(seen):
        raise TypeError
    is_array = seen.startswith(b"[")
    entries = take_apart(seen)
    deeper: dict[str | int, list[Piece]] = defaultdict(list)
    for piece in sorted(pieces, key=lambda piece: piece.index):
        if len(piece.path) > depth:
            deeper[piece.path[depth]].append(piece)
        elif piece.index > len(entries) or (piece.key is None) is not is_array:
            raise TypeError
        else:
            entries.insert(piece.index, (piece.key, piece.value))
    places = {key: place for place, (key, _) in enumerate(entries)}
    for part, below in deeper.items():
        place = part if isinstance(part, int) else places[part]
        key, value = entries[place]
        entries[place] = (key, _restored(value, below, depth + 1))
    return put_together(seen, entries)
