"""The pattern language: what matches, what is refused and where, and what a miss says."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routing.errors import Fault
from routing.fields import Node, node_type
from routing.table.pattern import Pattern, compile_pattern

CASES = json.loads(Path(__file__).with_name("pattern_cases.json").read_text())

BAD_PATTERNS: list[tuple[object, list[str]]] = [
    ({}, ["pattern: expected a non-empty object of fields, got an empty object"]),
    ("x", ["pattern: expected a non-empty object of fields, got string"]),
    ({"a": {}}, ["pattern.a: expected a non-empty object of fields, got an empty object"]),
    ({"a": []}, ["pattern.a: expected a non-empty array of what is accepted, got an empty array"]),
    ({"a": "x"}, ["pattern.a: expected a non-empty array of what is accepted, got string"]),
    (
        {"a": [["x"]]},
        ["pattern.a[0]: expected a string, a number, true, false, null or an operator, got array"],
    ),
    (
        {"a": [float("nan")]},
        ["pattern.a[0]: expected a string, a number, true, false, null or an operator, got float"],
    ),
    (
        {"a": [{"regex": "x"}]},
        [
            "pattern.a[0]: expected an operator of prefix, suffix, equals-ignore-case, wildcard, anything-but, "
            "numeric, exists, got 'regex'"
        ],
    ),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, ["pattern.a[0]: expected one operator, got 2"]),
    ({"a": [{}]}, ["pattern.a[0]: expected one operator, got 0"]),
    ({"a": [{"prefix": ""}]}, ["pattern.a[0].prefix: expected a non-empty string, got an empty string"]),
    ({"a": [{"prefix": 1}]}, ["pattern.a[0].prefix: expected a non-empty string, got int"]),
    ({"a": [{"suffix": None}]}, ["pattern.a[0].suffix: expected a non-empty string, got null"]),
    (
        {"a": [{"prefix": {"equals-ignore-case": 1}}]},
        ["pattern.a[0].prefix.equals-ignore-case: expected a non-empty string, got int"],
    ),
    ({"a": [{"prefix": {"suffix": "x"}}]}, ["pattern.a[0].prefix: expected a non-empty string, got object"]),
    ({"a": [{"wildcard": "x**"}]}, ["pattern.a[0].wildcard: expected single stars, got two in a row"]),
    ({"a": [{"wildcard": "x\\n"}]}, [r"pattern.a[0].wildcard: expected \* or \\ after a backslash"]),
    ({"a": [{"wildcard": "x\\"}]}, [r"pattern.a[0].wildcard: expected \* or \\ after a backslash"]),
    ({"a": [{"anything-but": []}]}, ["pattern.a[0].anything-but: expected at least one value, got an empty array"]),
    (
        {"a": [{"anything-but": ["x", 1]}]},
        ["pattern.a[0].anything-but: expected strings only or numbers only, got array"],
    ),
    (
        {"a": [{"anything-but": None}]},
        ["pattern.a[0].anything-but: expected strings only or numbers only, got null"],
    ),
    (
        {"a": [{"anything-but": {"numeric": ["=", 1]}}]},
        [
            "pattern.a[0].anything-but: expected one operator of prefix, suffix, equals-ignore-case, wildcard, "
            "got object"
        ],
    ),
    (
        {"a": [{"anything-but": {"prefix": []}}]},
        ["pattern.a[0].anything-but: expected at least one value, got an empty array"],
    ),
    (
        {"a": [{"numeric": [">"]}]},
        ['pattern.a[0].numeric: expected ["=", n], [">", n] or [">", n, "<", m], got array'],
    ),
    (
        {"a": [{"numeric": ["~", 1]}]},
        ["pattern.a[0].numeric: expected one of = > >= < <= before a number, got the text '~'"],
    ),
    (
        {"a": [{"numeric": ["=", "1"]}]},
        ["pattern.a[0].numeric: expected a number after =, got the text '1'; write it without quotes"],
    ),
    (
        {"a": [{"numeric": ["=", True]}]},
        ["pattern.a[0].numeric: expected a number after =, got boolean"],
    ),
    (
        {"a": [{"numeric": [">", 5, "<", 1]}]},
        ["pattern.a[0].numeric: expected a range to go from > or >= to < or <= of a greater number"],
    ),
    (
        {"a": [{"numeric": ["<", 1, ">", 5]}]},
        ["pattern.a[0].numeric: expected a range to go from > or >= to < or <= of a greater number"],
    ),
    ({"a": [{"exists": "yes"}]}, ["pattern.a[0].exists: expected true or false, got string"]),
    (
        {"a": [{"exists": 0}]},
        ["pattern.a[0].exists: expected true or false, got int"],
    ),
    (
        {"$or": [{"a": [1]}]},
        ["pattern.$or: expected an array of two or more patterns, got array"],
    ),
    (
        {"$or": [{"a": [1]}, {"b": []}]},
        ["pattern.$or[1].b: expected a non-empty array of what is accepted, got an empty array"],
    ),
    (
        {"a": [], "b": {"c": [{"prefix": 1}, {"nope": 1}]}},
        [
            "pattern.a: expected a non-empty array of what is accepted, got an empty array",
            "pattern.b.c[0].prefix: expected a non-empty string, got int",
            "pattern.b.c[1]: expected an operator of prefix, suffix, equals-ignore-case, wildcard, anything-but, "
            "numeric, exists, got 'nope'",
        ],
    ),
]


def compiled(document: object) -> Pattern:
    faults: list[Fault] = []
    pattern = compile_pattern(document, "pattern", faults)
    assert pattern is not None, faults
    return pattern


def decoded(record: object, pattern: Pattern) -> Node:
    return msgspec.json.decode(json.dumps(record), type=node_type(pattern.paths))


@pytest.mark.parametrize("case", CASES, ids=[case["says"] for case in CASES])
def test_case_of_the_corpus(case: dict[str, Any]) -> None:
    pattern = compiled(case["pattern"])
    for record in case["matches"]:
        assert pattern.matches(decoded(record, pattern)), record
        assert pattern.misses(decoded(record, pattern)) == (), record
    for record in case["misses"]:
        assert not pattern.matches(decoded(record, pattern)), record
        assert pattern.misses(decoded(record, pattern)), record


@pytest.mark.parametrize(("document", "faults"), BAD_PATTERNS, ids=[json.dumps(d) for d, _ in BAD_PATTERNS])
def test_bad_pattern_is_refused_with_every_fault_and_its_path(document: object, faults: list[str]) -> None:
    found: list[Fault] = []
    assert compile_pattern(document, "pattern", found) is None
    assert faults == [str(fault) for fault in found]


def test_pattern_names_the_fields_it_needs_and_no_others() -> None:
    pattern = compiled({"a": {"b": [1], "c": [2]}, "$or": [{"d": [1]}, {"e": {"f": [1]}}]})
    assert {("a", "b"), ("a", "c"), ("d",), ("e", "f")} == pattern.paths


def test_miss_tells_the_field_the_expectation_and_the_type_but_no_value() -> None:
    pattern = compiled({"Queue": {"Name": [{"prefix": "Claims"}]}, "Channel": ["VOICE"]})
    record = decoded({"Queue": {"Name": "secret"}, "Channel": None}, pattern)
    assert pattern.misses(record) == (
        'Queue.Name: expected any of [{"prefix": "Claims"}], got string',
        'Channel: expected any of ["VOICE"], got null',
    )


def test_miss_of_alternatives_names_each_of_them() -> None:
    pattern = compiled({"$or": [{"a": [1]}, {"b": [2]}]})
    assert pattern.misses(decoded({"a": 3}, pattern)) == (
        "$or: a: expected any of [1], got int",
        "$or: b: expected any of [2], got nothing",
    )


def test_wildcard_of_many_stars_takes_no_exponential_time() -> None:
    """A regular expression of twenty stars would not come back from this text."""
    pattern = compiled({"a": [{"wildcard": "*a" * 20 + "*b"}]})
    assert not pattern.matches(decoded({"a": "a" * 50_000}, pattern))
