"""JSON taken apart one level at a time: every value keeps its spelling."""

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

type Entry = tuple[str | None, bytes]
"""A key, None in an array, and the value as it is spelled."""

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def is_container(raw: bytes) -> bool:
    """Return True if a value is an object or an array."""
    return raw.startswith((b"{", b"["))


def take_apart(raw: bytes) -> list[Entry]:
    """Return the entries of an object or an array; of a repeated key the last value, as parsers do."""
    return [(key, bytes(value)) for key, value in peel(raw)]


def peel(raw: bytes) -> list[Entry]:
    """Return the same without copying a value: each is a buffer, which `bytes` makes a text of.

    Most values of a record are only carried from one place to another.
    """
    try:
        if raw.startswith(b"["):
            return [(None, value) for value in _decode_array(raw)]
        return list(_decode_object(raw).items())
    except (msgspec.DecodeError, UnicodeDecodeError):  # an unpaired surrogate in a key: legal, and not for msgspec
        every = _every_entry(raw)
        return every if raw.startswith(b"[") else list({entry[0]: entry for entry in every}.values())


def repeats_keys(raw: bytes) -> bool:
    """Return True if an object repeats a key: parsers read the last value, but the others are in the text as well."""
    keys = [key for key, _ in _every_entry(raw)]
    return raw.startswith(b"{") and len(set(keys)) < len(keys)


def put_together(like: bytes, entries: Iterable[Entry]) -> bytes:
    """Write entries as an object or an array, whichever another one is, without white space between them."""
    if like.startswith(b"["):
        return b"[" + b",".join(value for _, value in entries) + b"]"
    return b"{" + b",".join([_with_colon(key or "") + value for key, value in entries]) + b"}"


def key_text(key: str) -> bytes:
    """Write a key, one with an unpaired surrogate too."""
    try:
        return msgspec.json.encode(key)
    except UnicodeEncodeError:
        return json.dumps(key).encode()


@lru_cache(maxsize=1024)
def _with_colon(key: str) -> bytes:
    """Write a key as an entry begins: the same ones come with every record."""
    return key_text(key) + b":"


def _every_entry(raw: bytes) -> list[Entry]:
    """Step from value to value: the text is known to be JSON, and the standard library tells where each ends."""
    text, entries = raw.decode(), list[Entry]()
    is_object = text.startswith("{")
    at = _behind_space(text, 1)
    while text[at] not in "}]":
        key: str | None = None
        if is_object:
            key, at = _scan(text, at)
            at = _behind_space(text, _behind_space(text, at) + 1)
        start = at
        _, at = _scan(text, at)
        entries.append((key, text[start:at].encode()))
        at = _behind_space(text, at)
        if text[at] == ",":
            at = _behind_space(text, at + 1)
    return entries


def _behind_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


_SPACE = re.compile(r"[ \t\r\n]*")
# Numbers stay text: Python converts none of more than 4,300 digits.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
