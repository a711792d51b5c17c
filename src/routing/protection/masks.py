"""Masks: the text that replaces one that must not be seen.

Lengths are characters as Unicode counts them, not bytes.
"""

import re
from collections.abc import Callable

STAR = "*"
_WHOLE = STAR * 8
# How a text may be tried against a pattern at most, and how long it may be: what is longer is hidden as a whole.
_MOST_WAYS = 1000
_ADDRESS = re.compile(r"([^\s@])[^\s@]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z][A-Za-z0-9-]{1,62})")
_LONGEST_TEXT = 4096

type Mask = Callable[[str], str]
"""Text in, text out; what is empty stays empty."""


def last(count: int) -> Mask:
    """Show the last characters, never more than half of all."""

    def mask(text: str) -> str:
        shown = min(count, len(text) // 2)
        return STAR * (len(text) - shown) + text[len(text) - shown :]

    return mask


def first(count: int) -> Mask:
    """Show the first characters, never more than half of all."""

    def mask(text: str) -> str:
        shown = min(count, len(text) // 2)
        return text[:shown] + STAR * (len(text) - shown)

    return mask


def email(text: str) -> str:
    """Show the first character and the domain of an address; hide what is none as a whole."""
    match = _ADDRESS.fullmatch(text)
    return f"{match[1]}{_WHOLE}@{match[2]}" if match else _WHOLE if text else ""


def fixed(instead: str) -> Mask:
    """Put the same text for every other."""
    return lambda text: instead if text else ""


def matching(pattern: re.Pattern[str]) -> Mask:
    """Hide every match, star by character."""

    def mask(text: str) -> str:
        if len(text) > _LONGEST_TEXT:
            return _WHOLE
        return pattern.sub(lambda match: STAR * len(match[0]), text)

    return mask


def bounded_pattern(text: str) -> re.Pattern[str]:
    r"""Compile a regular expression whose cost has a bound: `\d{4,8}` and not `(\d+)*`.

    Characters, classes and the edges `^ $ \b`, each with `?`, `{n}` or `{n,m}` behind it, and `|` between whole
    alternatives: no groups, and nothing repeats without an end. All repetitions of an alternative may be tried
    in a thousand ways at most.

    Raises:
        ValueError: It is none of these; the message tells why.
    """
    position, ways, most = 0, 1, 1
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"expected no groups, and repetitions as {{2,40}} only, at character {position + 1}")
        if match["alternative"]:
            ways = 1
        elif match["least"]:
            ways *= int(match["most"] or match["least"]) - int(match["least"]) + 1
        elif match["optional"]:
            ways *= 2
        most = max(most, ways)
        position = match.end()
    if most > _MOST_WAYS:
        raise ValueError(f"expected at most {_MOST_WAYS} ways to try its repetitions, got {most}")
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError) as err:
        raise ValueError(f"expected a regular expression: {err}") from None
    if compiled.match(""):
        raise ValueError("expected something that an empty text does not match")
    return compiled


_PART = re.compile(
    r"(?P<alternative>\|)|[\^$]|\\b|"
    r"(?:\\[^0-9bBAZkgG]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}*+?|^$])"
    r"(?:(?P<optional>\?)|\{(?P<least>\d{1,3})(?:,(?P<most>\d{1,3}))?\})?"
)
