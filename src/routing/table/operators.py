"""What one element of a pattern's leaf array asks of a scalar: an exact value or an operator.

`document -> test`: each function reads its argument once, refuses what `docs/patterns.md` does not
define, and returns a closure that is all that is left at run time.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import math
import re
from collections.abc import Callable, Mapping

from routing.fields import Scalar

type Test = Callable[[Scalar], bool]
"""What one element of a leaf array asks of one scalar of the record."""


def compile_test(element: object) -> Test:
    """Compile one element of a leaf array, e.g. `"VOICE"` or `{"prefix": "Claims"}`.

    Raises:
        BadTestError: The language does not define the element.
    """
    return _operator(element) if isinstance(element, Mapping) else _exactly(element)


class BadTestError(Exception):
    """One element of a leaf array that the language does not define."""

    def __init__(self, below: str, what: str) -> None:
        """Say where below the element the fault is, e.g. `.numeric`, and what it is."""
        self.below = below
        self.what = what
        super().__init__(what)


def _operator(document: Mapping[str, object]) -> Test:
    if len(document) != 1:
        raise BadTestError("", f"expected one operator, got {len(document)}")
    ((name, argument),) = document.items()
    if name not in _OPERATORS:
        raise BadTestError("", f"expected an operator of {', '.join(_OPERATORS)}, got {name!r}")
    return _OPERATORS[name](argument, f".{name}")


def _exactly(value: object) -> Test:
    if isinstance(value, str):
        return lambda found: found == value
    if value is None or isinstance(value, bool):
        return lambda found: found is value
    if _is_number(value):
        return lambda found: found == value and not isinstance(found, bool)
    raise BadTestError("", f"expected a string, a number, true, false, null or an operator, got {kind_of(value)}")


def _prefix(argument: object, below: str) -> Test:
    text, folds_case = _text_or_folded(argument, below)
    if folds_case:
        return lambda found: isinstance(found, str) and _folded(found).startswith(text)
    return lambda found: isinstance(found, str) and found.startswith(text)


def _suffix(argument: object, below: str) -> Test:
    text, folds_case = _text_or_folded(argument, below)
    if folds_case:
        return lambda found: isinstance(found, str) and _folded(found).endswith(text)
    return lambda found: isinstance(found, str) and found.endswith(text)


def _equals_ignore_case(argument: object, below: str) -> Test:
    text = _folded(_text(argument, below))
    return lambda found: isinstance(found, str) and _folded(found) == text


def _wildcard(argument: object, below: str) -> Test:
    r"""Match `*` as any characters; `\*` and `\\` stand for themselves.

    Searching the pieces from left to right is enough and takes no more than (pieces x length) steps,
    where a regular expression may backtrack for ever.
    """
    first, *middle = _pieces(_text(argument, below), below)
    if not middle:
        return lambda found: found == first
    end = middle.pop()

    def test(found: Scalar) -> bool:
        if not (isinstance(found, str) and found.startswith(first) and found.endswith(end)):
            return False
        at, limit = len(first), len(found) - len(end)
        for piece in middle:
            at = found.find(piece, at, limit)
            if at < 0:
                return False
            at += len(piece)
        return at <= limit

    return test


def _pieces(text: str, below: str) -> list[str]:
    """Split a wildcard at its stars, e.g. `["Claims ", " JP"]` for `Claims * JP`."""
    pieces = [""]
    for part in _WILDCARD_PART.findall(text):
        if part == "**":
            raise BadTestError(below, "expected single stars, got two in a row")
        if part == "*":
            pieces.append("")
        elif part == "\\":
            raise BadTestError(below, r"expected \* or \\ after a backslash")
        else:
            pieces[-1] += part.removeprefix("\\")
    return pieces


_WILDCARD_PART = re.compile(r"\\[*\\]|\*\*|.", re.DOTALL)


def _anything_but(argument: object, below: str) -> Test:
    """Accept every scalar, null included, that none of the listed tests accepts."""
    if isinstance(argument, Mapping):
        if len(argument) != 1 or (name := next(iter(argument))) not in _NEGATABLE:
            raise BadTestError(below, f"expected one operator of {', '.join(_NEGATABLE)}, got {kind_of(argument)}")
        make, place = _NEGATABLE[name], f"{below}.{name}"
        operands = argument[name] if isinstance(argument[name], list) else [argument[name]]
        refused = [make(operand, place) for operand in operands]
    else:
        operands = argument if isinstance(argument, list) else [argument]
        if not (all(isinstance(o, str) for o in operands) or all(_is_number(o) for o in operands)):
            raise BadTestError(below, f"expected strings only or numbers only, got {kind_of(argument)}")
        refused = [_exactly(operand) for operand in operands]
    if not refused:
        raise BadTestError(below, "expected at least one value, got an empty array")
    return lambda found: not any(test(found) for test in refused)


def _shown(value: object) -> str:
    """Show a value of the configuration, and its type."""
    return f"the text {value!r}" if isinstance(value, str) else kind_of(value)


def _numeric(argument: object, below: str) -> Test:
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise BadTestError(below, 'expected ["=", n], [">", n] or [">", n, "<", m], got ' + kind_of(argument))
    bounds: list[tuple[str, float]] = []
    for sign, number in zip(argument[::2], argument[1::2], strict=True):
        if not (isinstance(sign, str) and sign in _COMPARISONS):
            raise BadTestError(below, f"expected one of {' '.join(_COMPARISONS)} before a number, got {_shown(sign)}")
        if not _is_number(number):
            hint = "; write it without quotes" if isinstance(number, str) else ""
            raise BadTestError(below, f"expected a number after {sign}, got {_shown(number)}{hint}")
        bounds.append((sign, number))
    if len(bounds) == 2 and not (  # noqa: PLR2004 - a range has two ends
        bounds[0][0].startswith(">") and bounds[1][0].startswith("<") and bounds[0][1] < bounds[1][1]
    ):
        raise BadTestError(below, "expected a range to go from > or >= to < or <= of a greater number")
    checks = [(_COMPARISONS[sign], number) for sign, number in bounds]
    return lambda found: (
        isinstance(found, int | float)
        and not isinstance(found, bool)
        and all(holds(found, number) for holds, number in checks)
    )


def _exists(argument: object, below: str) -> Test:
    if argument is not True:
        raise BadTestError(below, f"expected true or false, got {kind_of(argument)}")
    return lambda _found: True


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_NEGATABLE: dict[str, Callable[[object, str], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
}
_OPERATORS: dict[str, Callable[[object, str], Test]] = {
    **_NEGATABLE,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}


def _text(argument: object, below: str) -> str:
    if not isinstance(argument, str) or not argument:
        raise BadTestError(below, f"expected a non-empty string, got {kind_of(argument)}")
    return argument


def _text_or_folded(argument: object, below: str) -> tuple[str, bool]:
    """Read `"text"` or `{"equals-ignore-case": "text"}`."""
    if isinstance(argument, Mapping) and list(argument) == ["equals-ignore-case"]:
        return _folded(_text(argument["equals-ignore-case"], f"{below}.equals-ignore-case")), True
    return _text(argument, below), False


def _folded(text: str) -> str:
    """Return a text in lower case, each letter as if it stood alone: at the end of a word a sigma has another form."""
    return text.lower().replace("ς", "\N{GREEK SMALL LETTER SIGMA}")


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def kind_of(value: object) -> str:
    """Name what was found: the type, and whether it is empty."""
    names = {"dict": "object", "list": "array", "str": "string", "NoneType": "null", "bool": "boolean"}
    name = names.get(type(value).__name__, type(value).__name__)
    return f"an empty {name}" if isinstance(value, Mapping | list | str) and not value else name
