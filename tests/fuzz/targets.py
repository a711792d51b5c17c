"""What the fuzzer drives: bytes from anywhere into the parts that read what others wrote.

A target raises if the code does what it must never do; refusing bad input with its own error is right.
"""

import base64
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from aws.route_file import routes_text
from routing.errors import ConfigurationError, EventError, Fault
from routing.fields import node_type
from routing.lambda_event import event_of_documents
from routing.stages.decode import Decoder
from routing.table.pattern import compile_pattern
from routing.table.reader import load_routes

_TABLE = load_routes(routes_text())
_DECODER = Decoder(_TABLE.paths)


def decode(data: bytes) -> None:
    """Any bytes of a record become one line of JSON with the same content, or a dead letter with the same bytes."""
    shard, records = _DECODER.decode(event_of_documents([data]))
    assert shard is not None
    for record in records:
        _TABLE.routes_for(record)
        assert b"\n" not in record.data
        assert b"\r" not in record.data
        if record.failure is None:
            json.loads(record.data)  # the standard library agrees that it is JSON
        elif len(records) == 1 and not data.startswith(b"\xf3\x89\x9a\xc2"):
            assert base64.b64decode(json.loads(record.data)["rawData"]) == data


def event(data: bytes) -> None:
    """Any JSON as an event is decoded or refused with our own error."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    try:
        _DECODER.decode(document)
    except EventError:
        return


def pattern(data: bytes) -> None:
    """Any JSON as a pattern, and any as a record: it matches or not, or is refused with its path."""
    text, _, record = data.partition(b"\n")
    faults: list[Fault] = []
    try:
        compiled = compile_pattern(json.loads(text), "pattern", faults)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return
    assert (compiled is None) == bool(faults) or compiled is not None
    if compiled is None or faults:
        return
    try:
        fields = msgspec.json.decode(record, type=node_type(compiled.paths))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    matched = compiled.matcher(fields, fields)
    assert matched == (not compiled.misses(fields))


def routes(data: bytes) -> None:
    """Any text as a route table is compiled, or refused with every fault of it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        load_routes(text)
    except ConfigurationError as err:
        assert err.faults
        assert all(str(fault) for fault in err.faults)
    else:
        tomllib.loads(text)


TARGETS: Mapping[str, Callable[[bytes], Any]] = {"decode": decode, "event": event, "pattern": pattern, "routes": routes}
