"""Decode: a Lambda event -> the records of one shard, each with its kind and the fields that routes name.

A record that cannot be decoded comes out as its own dead letter; only an event that is not what Lambda
sends for one Kinesis shard raises.
"""

import json
import operator
import re
from collections.abc import Iterable, Mapping
from typing import NoReturn

import msgspec
import pybase64
from msgspec import Struct

from routing import aggregate, dead_letter
from routing.errors import EventError, RecordError
from routing.fields import Node, Path, attribute, node_type
from routing.model import Kind, Record, SequenceNumber, Shard
from routing.reasons import Reason

_DISCRIMINATORS = ("AWSContactTraceRecordFormatVersion", "ContactId", "EventId", "EventType", "AgentARN", "Version")
_SEGMENT_TYPES = frozenset({"STARTED", "SEGMENTS", "COMPLETED", "FAILED"})
_WHITE_SPACE = b" \t\r\n"
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_LONGEST_SEQUENCE_NUMBER = 128
_END_OF_TIME = 253_402_300_800  # 10000-01-01, where datetime ends


class _Kinesis(Struct, gc=False):
    sequenceNumber: str  # noqa: N815 - the event's own spelling
    data: str
    approximateArrivalTimestamp: float  # noqa: N815


class _Envelope(Struct, gc=False):
    kinesis: _Kinesis
    eventID: str  # noqa: N815
    eventSourceARN: str  # noqa: N815


class _Event(Struct):
    Records: list[_Envelope]


class Decoder:
    """Decodes events; built once per cold start for the fields that a route table names."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Compile the type of a record.

        Args:
            paths: The fields that patterns and partitions use.
        """
        self._type = node_type([*((name,) for name in _DISCRIMINATORS), *paths])
        self._decode = msgspec.json.Decoder(self._type).decode
        self._discriminators = operator.attrgetter(*map(attribute, _DISCRIMINATORS))

    def decode(self, event: Mapping[str, object]) -> tuple[Shard | None, list[Record]]:
        """Decode all records of an event.

        Args:
            event: `{"Records": [{"kinesis": {"sequenceNumber": "4965...", "data": <base64>,
                "approximateArrivalTimestamp": 1772413962.881}, "eventID": "shardId-...:4965...",
                "eventSourceARN": ...}, ...]}`; other keys are ignored.

        Returns:
            The shard, None if the event holds no record; its records in stream order, those of an
            aggregate one after the other with the same sequence number.

        Raises:
            EventError: The event is malformed, mixes shards or streams, or is out of order.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
        """
        envelopes = _envelopes(event)
        if not envelopes:
            return None, []
        shard = _shard_of(envelopes[0])
        event_id_start = f"{shard.shard_id}:"
        records: list[Record] = []
        last = -1
        for index, envelope in enumerate(envelopes):
            kinesis = envelope.kinesis
            if not envelope.eventID.startswith(event_id_start) or envelope.eventSourceARN != shard.stream_arn:
                raise EventError(f"event.Records[{index}]: expected one shard of one stream, got a second one")
            sequence_number = SequenceNumber(kinesis.sequenceNumber)
            position = _position(sequence_number, index, last)
            last = position
            arrived_at = kinesis.approximateArrivalTimestamp
            if not 0 <= arrived_at < _END_OF_TIME:
                raise EventError(f"event.Records[{index}].kinesis.approximateArrivalTimestamp: expected seconds")
            try:
                parts = _parts(kinesis.data)
            except RecordError as failure:
                raw = _bytes_of(kinesis.data)
                records.append(dead_letter.from_record(shard, sequence_number, position, arrived_at, raw, failure))
                continue
            for part in parts:
                try:
                    data, fields = self._read(part)
                except RecordError as failure:
                    records.append(
                        dead_letter.from_record(shard, sequence_number, position, arrived_at, part, failure)
                    )
                else:
                    kind = self._kind(fields)
                    records.append(Record(kind, data, fields, sequence_number, position, arrived_at))
        return shard, records

    def _read(self, raw: bytes) -> tuple[bytes, Node]:
        """Return the bytes to deliver and the named fields of one JSON document.

        Raises:
            RecordError: It is empty, not UTF-8, not JSON, not an object, or nested too deeply.
        """
        data = raw.strip(_WHITE_SPACE)
        if not data:
            raise RecordError(Reason.EMPTY, f"expected a JSON object, got {len(raw)} bytes of white space")
        if not data.isascii():
            _check_utf8(data)
        try:
            fields = self._decode(data)
        except RecursionError:
            raise RecordError(Reason.TOO_DEEP, f"nested too deeply in {len(data)} bytes") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = self._read_slowly(data)
        if b"\n" in data or b"\r" in data:
            data = on_one_line(data)
        return data, fields

    def _read_slowly(self, data: bytes) -> Node:
        """Let the standard library judge what the fast parser refuses.

        It takes numbers beyond float64 and unpaired surrogates in a named field, both legal JSON.

        Raises:
            RecordError: It is not JSON, not an object, or nested too deeply.
        """
        try:
            document = json.loads(data.decode(), parse_int=_integer, parse_constant=_refuse_constant)
        except RecursionError:
            raise RecordError(Reason.TOO_DEEP, f"nested too deeply in {len(data)} bytes") from None
        except json.JSONDecodeError as err:  # its `doc` is the record: do not chain it
            detail = f"not JSON at character {err.pos} of {len(err.doc)}"
            raise RecordError(Reason.NOT_JSON, detail) from None
        if not isinstance(document, dict):
            raise RecordError(Reason.NOT_AN_OBJECT, f"expected a JSON object, got {type(document).__name__}")
        return msgspec.convert(document, self._type)

    def _kind(self, fields: Node) -> Kind:
        """Tell the kind by the fields that Amazon Connect always sends with it."""
        format_version, contact_id, event_id, event_type, agent_arn, version = self._discriminators(fields)
        if type(contact_id) is str:
            if type(format_version) is str:
                return Kind.CONTACT_RECORD
            if type(version) is str and type(event_type) is str and event_type in _SEGMENT_TYPES:
                return Kind.CONTACT_LENS_SEGMENT
        if type(event_id) is str and type(event_type) is str and type(agent_arn) is str:
            return Kind.AGENT_EVENT
        return Kind.OTHER


def on_one_line(data: bytes) -> bytes:
    """Remove the white space between the tokens of a JSON document; no token changes its spelling."""
    return _TOKEN_OR_SPACE.sub(rb"\1", data)


_TOKEN_OR_SPACE = re.compile(rb'("(?:[^"\\]++|\\.)*+")|[ \t\r\n]++')


def _envelopes(event: Mapping[str, object]) -> list[_Envelope]:
    try:
        return msgspec.convert(event, _Event).Records
    except msgspec.ValidationError as err:
        # The text names types and a path, e.g. "Expected `str`, got `int` - at `$.Records[0].eventID`".
        raise EventError(f"event: expected what Lambda sends for a Kinesis stream: {err}") from None


def _shard_of(envelope: _Envelope) -> Shard:
    shard_id = envelope.eventID.partition(":")[0]
    shard = Shard(stream_arn=envelope.eventSourceARN, shard_id=shard_id)
    # Both become part of object keys.
    if not _NAME.fullmatch(shard_id) or not _NAME.fullmatch(shard.stream_name):
        raise EventError("event.Records[0]: expected eventID `<shard>:<number>` and a stream's eventSourceARN")
    return shard


def _position(sequence_number: str, index: int, last: int) -> int:
    """Return the sequence number as an integer that is greater than `last`."""
    where = f"event.Records[{index}].kinesis.sequenceNumber"
    if not (sequence_number.isdecimal() and sequence_number.isascii()):
        raise EventError(f"{where}: expected decimal digits, got {len(sequence_number)} other characters")
    if len(sequence_number) > _LONGEST_SEQUENCE_NUMBER:
        raise EventError(f"{where}: expected at most 128 digits, got {len(sequence_number)}")
    position = int(sequence_number)
    if position <= last:
        raise EventError(f"{where}: expected numbers that increase, got one that does not")
    return position


def _parts(text: str) -> tuple[bytes, ...] | list[bytes]:
    """Return the documents that the data of a stream record holds: one, or those of an aggregate."""
    try:
        raw = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error among them
        raise RecordError(Reason.NOT_BASE64, f"not base64 in {len(text)} characters") from None
    return aggregate.user_records(raw) if raw.startswith(aggregate.MAGIC) else (raw,)


def _bytes_of(text: str) -> bytes:
    """Return the raw data for a dead letter: decoded if it can be, else the text itself."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return text.encode(errors="surrogatepass")


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as err:  # its `object` is the record: do not chain it
        raise RecordError(Reason.NOT_UTF8, f"not UTF-8 at byte {err.start} of {len(data)}") from None


def _integer(digits: str) -> float:
    """Read an integer of any length; one that Python refuses to convert compares as infinite."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _refuse_constant(name: str) -> NoReturn:
    """Refuse `NaN` and `Infinity`, which Python's parser takes and JSON does not have."""
    raise RecordError(Reason.NOT_JSON, f"expected a JSON number, got {name}")
