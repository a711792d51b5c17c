"""The law of the route table: any TOML is loaded, or refused with faults that name their places."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import ConfigurationError
from routing.table.reader import load_routes
from tests.builders import ROUTES

_KEYS = ("name", "about", "kinds", "pattern", "prefix", "partition", "on_key_denied", "examples", "zip")
_words = st.sampled_from(["claims", "a/b", "", "contact_record", "arrival", "a.b", "block", "{", '{"a":[1]}', "é\n"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | _words,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["prefix", "numeric", "$or", "exists", "says", "record", "takes"]), below)
    ),
    max_leaves=6,
)
_routes = st.lists(st.dictionaries(st.sampled_from(_KEYS), _values, max_size=6), max_size=3)
_unmatched = st.dictionaries(st.sampled_from(["contact_record", "other", "zip"]), _values, max_size=3)


def toml(value: object) -> str:
    """Write a value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(below)}" for name, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else repr(value)


@given(routes=_routes | _values, unmatched=_unmatched | _values, limits=_values)
def test_any_document_is_loaded_or_refused_with_places(routes: Any, unmatched: Any, limits: Any) -> None:
    text = f"routes = {toml(routes)}\nunmatched = {toml(unmatched)}\nlimits = {toml(limits)}\n"
    try:
        load_routes(text)
    except ConfigurationError as err:
        assert err.faults
        assert all(fault.what.startswith("expected") for fault in err.faults)


@given(
    at=st.integers(0, len(ROUTES)),
    junk=st.sampled_from(["", "x", "=", "[", '"', "\n", "'''", "\x00", "é", "= 1979-05-27"]),
)
def test_damaged_file_is_loaded_or_refused_with_places(at: int, junk: str) -> None:
    try:
        load_routes(ROUTES[:at] + junk + ROUTES[at:])
    except ConfigurationError as err:
        assert all(fault.what.startswith("expected") for fault in err.faults)


ROUTE = '[[routes]]\nname="a"\nabout="x"\nkinds=["contact_record"]\nprefix="a"\n'
UNMATCHED = '\n[unmatched]\ncontact_record="drop"\nagent_event="drop"\ncontact_lens_segment="drop"\nother="drop"\n'


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("x = " + "[" * 100_000, "expected TOML: maximum recursion depth exceeded"),
        (
            "pattern = '" + "[" * 200_000 + "'",
            "route 'a': pattern: expected a table or JSON text, got text that is not",
        ),
        ("pattern = {" + ".".join("a" * 400) + " = [1]}", "at most 32 names, one below the other, got more"),
        ("pattern = {a = [" + "9" * 5000 + "]}", "expected TOML: Exceeds the limit"),
        (
            'pattern = \'{"a": [' + "9" * 5000 + "]}'",
            "expected a table or JSON text, got text that is not: Exceeds",
        ),
        ("pattern = 'null'", "route 'a': pattern: expected a non-empty object of fields, got null"),
        ('pattern = \'{"a": [1], "a": [2]}\'', "got text that is not: a key stands twice in one object"),
        ("pattern = '" + '{"$or": [{"a": [1]}, ' * 300 + '{"a": [1]}' + "]}" * 300 + "'", "at most 32"),
        ('partition = "' + ".".join("a" * 40) + '"', "expected 'arrival' or a dotted field name of at most 32"),
        ("pattern = {a = [{numeric = [[1], 2]}]}", "pattern.a[0].numeric: expected one of = > >= < <= before a number"),
        ("pattern = '{\"\\ud800\": [1]}'", "pattern.'\\ud800': expected a field name without quotes, backslashes and"),
        ('pattern = {"a\\"b" = [1]}', "expected a field name without quotes, backslashes and control characters"),
        (
            'partition = "a\\u0000b"',
            "route 'a': partition: expected 'arrival' or a dotted field name of at most 32 names, got 'a\\x00b'",
        ),
    ],
    ids=range(13),
)
def test_hostile_file_is_refused_with_a_message_that_can_be_printed(line: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_routes(ROUTE + line + UNMATCHED)
    assert fault in str(raised.value)
    assert str(raised.value).encode()


def test_number_of_any_size_is_a_number() -> None:
    load_routes(ROUTE + "pattern = {a = [" + "9" * 400 + "]}" + UNMATCHED)
