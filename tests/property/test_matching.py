"""The laws of decoding and matching."""

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import EventError, Fault
from routing.fields import node_type
from routing.lambda_event import event_of_documents
from routing.stages.decode import Decoder
from routing.table.pattern import compile_pattern
from tests.builders import ROUTES, event, table
from tests.property.strategies import json_objects, json_values, patterns

TABLE = table(ROUTES)


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the scalars of a record with their paths; arrays add nothing to a path."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from flat(below, (*path, name))
    elif isinstance(value, list):
        for below in value:
            yield from flat(below, path)
    else:
        yield path, value


def naive_test(test: Any, value: Any) -> bool:
    if not isinstance(test, dict):
        return type(test) is type(value) and test == value
    ((name, argument),) = test.items()
    text = isinstance(value, str)
    match name:
        case "prefix":
            return text and value[: len(argument)] == argument
        case "suffix":
            return text and value[-len(argument) :] == argument
        case "equals-ignore-case":
            return text and value.upper() == argument.upper()
        case "wildcard":
            return text and fnmatchcase(value, argument)
        case "exists":
            return bool(argument)
        case "numeric":
            return isinstance(value, int) and not isinstance(value, bool) and value >= argument[1]
    inner = [argument] if not isinstance(argument, list) else argument
    return not any(naive_test(one, value) for one in inner)


def naive_match(pattern: dict[str, Any], record: Any, root: Any, path: tuple[str, ...] = ()) -> bool:
    """Match by walking plain JSON, as the specification reads."""
    elements = [e for e in walk(record) if isinstance(e, dict)] or [{}]
    return any(all(naive_field(n, p, element, root, path) for n, p in pattern.items()) for element in elements)


def naive_field(name: str, part: Any, element: dict[str, Any], root: Any, path: tuple[str, ...]) -> bool:
    if name == "$or":
        return any(naive_match(alternative, element, root, path) for alternative in part)
    if isinstance(part, dict):
        return naive_match(part, element.get(name, {}), root, (*path, name))
    values = [value for at, value in flat(element.get(name, {})) if at == ()]
    is_absent = not [1 for at, _ in flat(root) if at == (*path, name)]
    return any(
        (test == {"exists": False} and is_absent) or any(naive_test(test, value) for value in values) for test in part
    )


def walk(value: Any) -> Iterator[Any]:
    """Yield the elements of arrays, however nested, or the value itself."""
    if isinstance(value, list):
        for below in value:
            yield from walk(below)
    else:
        yield value


@given(pattern=patterns, record=json_objects)
def test_compiled_matcher_agrees_with_a_naive_one(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    faults: list[Fault] = []
    compiled = compile_pattern(pattern, "pattern", faults)
    assert compiled is not None, faults
    decoded = msgspec.json.decode(json.dumps(record), type=node_type(compiled.paths))
    expected = naive_match(pattern, record, record)
    assert compiled.matches(decoded) == expected
    assert bool(compiled.misses(decoded)) != expected


@given(record=json_objects, name=st.text(min_size=1), value=json_values)
def test_unknown_field_changes_no_route(record: dict[str, Any], name: str, value: Any) -> None:
    known = {"Queue", "DisconnectTimestamp", "ContactId", "AWSContactTraceRecordFormatVersion"}
    known |= {"EventId", "EventType", "AgentARN", "Version", "StreamingEventType"}
    if name in known or name in record:
        return
    plain = {"ContactId": "c", "AWSContactTraceRecordFormatVersion": "2017-03-10", **record}
    decoder = Decoder(TABLE.paths)
    taken = []
    for document in (plain, {**plain, name: value}):
        _, (decoded,) = decoder.decode(event(json.dumps(document).encode()))
        taken.append(TABLE.routes_for(decoded))
    assert taken[0] == taken[1]


@given(record=json_objects, indent=st.sampled_from([None, 0, 1, 4]), tail=st.sampled_from([b"", b"\n", b"\r\n \t"]))
def test_record_is_one_line_that_parses_back_to_the_same(
    record: dict[str, Any], indent: int | None, tail: bytes
) -> None:
    document = json.dumps(record, indent=indent).encode() + tail
    _, (decoded,) = Decoder([]).decode(event(document))
    assert json.loads(decoded.data) == record
    assert not {10, 13} & set(decoded.data)


def aggregated(body: bytes) -> bytes:
    """Wrap any bytes as a KPL aggregate with a good digest."""
    return b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body).digest()


# Nearly JSON: the tokens that parsers disagree about, put together at random.
nearly_json = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b'"a"',
            b'"\\ud83d"',
            b"1e999",
            b"-",
            b"NaN",
            b"null",
            b"\n",
            b'"\xff"',
            b"\x00",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(data=st.binary(max_size=200) | nearly_json | st.binary(max_size=40).map(aggregated))
def test_any_bytes_come_out_as_one_line_or_one_dead_letter(data: bytes) -> None:
    _, records = Decoder([("a",)]).decode(event_of_documents([data]))
    assert records
    for record in records:
        assert not {10, 13} & set(record.data)
        json.loads(record.data)
        assert len(TABLE.routes_for(record)) <= 1


@given(made=json_values | st.fixed_dictionaries({"Records": json_values | st.lists(json_objects)}))
def test_any_event_is_decoded_or_refused_by_name(made: Any) -> None:
    try:
        Decoder([]).decode(made)
    except EventError as err:
        assert str(err).startswith("event")
