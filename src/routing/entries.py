"""JSON taken apart one level at a time: every value keeps its spelling."""

import json
import re
from collections.abc import Iterable

import msgspec

type Entry = tuple[str | None, bytes]
"""A key, None in an array, and the value as it is spelled."""

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_BELOW = 2
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^{}\[\],:"\s]++')


def is_container(raw: bytes) -> bool:
    """Tell whether a value is an object or an array."""
    return raw.startswith((b"{", b"["))


def take_apart(raw: bytes) -> list[Entry]:
    """Return the entries of an object or an array; of a key that stands twice the last value, as parsers do."""
    try:
        if raw.startswith(b"["):
            return [(None, bytes(value)) for value in _decode_array(raw)]
        return [(key, bytes(value)) for key, value in _decode_object(raw).items()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # An unpaired surrogate in a key, or more levels than C may descend: legal, and not for msgspec.
        every = _every_entry(raw)
        return every if raw.startswith(b"[") else list({entry[0]: entry for entry in every}.values())


def repeats_keys(raw: bytes) -> bool:
    """Tell whether a key stands twice in an object: parsers read the last, and what they skip is there all the same."""
    keys = [key for key, _ in _every_entry(raw)]
    return raw.startswith(b"{") and len(set(keys)) < len(keys)


def put_together(like: bytes, entries: Iterable[Entry]) -> bytes:
    """Write entries as an object or an array, whichever another one is, without white space between them."""
    if like.startswith(b"["):
        return b"[" + b",".join(value for _, value in entries) + b"]"
    return b"{" + b",".join(key_text(key or "") + b":" + value for key, value in entries) + b"}"


def key_text(key: str) -> bytes:
    """Write a key, one with an unpaired surrogate too."""
    try:
        return msgspec.json.encode(key)
    except UnicodeEncodeError:
        return json.dumps(key).encode()


def _every_entry(raw: bytes) -> list[Entry]:
    """Count brackets: the text is known to be JSON."""
    entries: list[Entry] = []
    depth, key, start, end = 0, None, -1, 0
    for token in _TOKEN.finditer(raw):
        text = token[0]
        if text in {b"{", b"["}:
            depth += 1
            is_value_start = depth == _BELOW
        else:
            is_value_start = depth == 1 and text not in {b"}", b"]", b",", b":"}
        if is_value_start and start < 0:
            start = token.start()
        if depth == 1 and text == b":":
            key, start = json.loads(raw[start:end]), -1
        elif (depth == 1 and text in {b",", b"}", b"]"}) and start >= 0:
            entries.append((key, raw[start:end]))
            key, start = None, -1
        if text in {b"}", b"]"}:
            depth -= 1
        end = token.end()
    return entries
