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

from routing.errors import EventError, RecordError
from routing.fields import Node, Path, attribute, node_type
from routing.model import Kind, Record, SequenceNumber, Shard
from routing.reasons import Reason
from routing.stages import aggregate
from routing.stored import dead_letter
from routing.stored.dead_letter import RecordLetter

# What tells the kinds apart, at https://docs.aws.amazon.com/connect/latest/adminguide/: ctr-data-model,
# agent-event-stream-model, real-time-contact-analysis-segment-streams-data-model (calls say `EventType`),
# chat-real-time-contact-analysis-segment-streams-data-model (chats say `StreamingEventType`). Connect sends nothing
# else to Kinesis Data Streams: the other resource types of its AssociateInstanceStorageConfig go to S3, Firehose or video.
_CONTACT_FIELDS = ("ContactId", "AWSContactTraceRecordFormatVersion")
_EVENT_FIELDS = ("EventId", "EventType", "AgentARN", "Version", "StreamingEventType")
KIND_FIELDS: tuple[Path, ...] = tuple((name,) for name in (*_CONTACT_FIELDS, *_EVENT_FIELDS))
_MAGIC = aggregate.MAGIC
_WHITE_SPACE = b" \t\r\n"
# As integers: a search for one byte, four times as fast as for bytes.
_LF, _CR, _BACKSLASH = b"\n"[0], b"\r"[0], b"\\"[0]
_SHARD_ID = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_STREAM_ARN = re.compile(r"arn:[a-z0-9-]+:kinesis:[a-z0-9-]+:\d{12}:stream/[a-zA-Z0-9_.-]{1,128}", re.ASCII)
_LONGEST_SEQUENCE_NUMBER = 128
_END_OF_TIME = 253_402_300_800  # 10000-01-01, where datetime ends


class _Kinesis(Struct, gc=False):
    sequenceNumber: SequenceNumber  # noqa: N815 - the event's own spelling
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
        self._type = node_type([*KIND_FIELDS, *paths])
        self._decode = msgspec.json.Decoder(self._type).decode
        self._contact_fields = operator.attrgetter(*map(attribute, _CONTACT_FIELDS))
        self._event_fields = operator.attrgetter(*map(attribute, _EVENT_FIELDS))

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
        shard = _shard_of(envelopes)
        records: list[Record] = []
        for position, envelope in zip(_positions(envelopes), envelopes, strict=True):
            kinesis = envelope.kinesis
            number, arrived_at = kinesis.sequenceNumber, kinesis.approximateArrivalTimestamp
            try:
                raw = pybase64.b64decode(kinesis.data, validate=True)
                parts = (raw,) if not raw.startswith(_MAGIC) else aggregate.user_records(raw)
            except (ValueError, RecordError) as err:
                raw, failure = _not_unpacked(kinesis.data, err)
                records.append(dead_letter.from_record(shard, number, position, arrived_at, raw, failure))
                continue
            for part in parts:
                try:
                    data, fields = self._read(part)
                except RecordError as failure:
                    records.append(dead_letter.from_record(shard, number, position, arrived_at, part, failure))
                else:
                    records.append(Record(self._kind(fields), data, fields, number, position, arrived_at))
        return shard, records

    def decode_letter(self, letter: RecordLetter) -> list[Record]:
        """Decode the record in a dead letter again, by this version; an aggregate comes to several.

        Raises:
            RecordError: It, or a part of it, still cannot be processed.
        """
        parts = aggregate.user_records(letter.raw) if letter.reason == Reason.BAD_AGGREGATE else [letter.raw]
        number = letter.sequence_number
        read = map(self._read, parts)
        return [
            Record(self._kind(fields), data, fields, number, int(number), letter.arrived_at) for data, fields in read
        ]

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
        if _BACKSLASH in data and (b"\\ud" in data or b"\\uD" in data):  # the byte alone is found at once
            data = without_lone_surrogates(data)
        try:
            fields = self._decode(data)
        except RecursionError:
            raise RecordError(Reason.TOO_DEEP, f"nested too deeply in {len(data)} bytes") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = self._read_slowly(data)
        if _LF in data or _CR in data:
            data = on_one_line(data)
        return data, fields

    def _read_slowly(self, data: bytes) -> Node:
        """Let the standard library judge what the fast parser refuses.

        It takes numbers beyond float64 in a named field, which are legal JSON.

        Raises:
            RecordError: It is not JSON, not an object, or nested too deeply.
        """
        try:
            document = json.loads(data.decode(), parse_int=_integer, parse_constant=_refuse_constant)
            if isinstance(document, dict):
                return msgspec.convert(document, self._type)
        except RecursionError:
            raise RecordError(Reason.TOO_DEEP, f"nested too deeply in {len(data)} bytes") from None
        except json.JSONDecodeError as err:  # its `doc` is the record: do not chain it
            detail = f"not JSON at character {err.pos} of {len(err.doc)}"
            raise RecordError(Reason.NOT_JSON, detail) from None
        raise RecordError(Reason.NOT_AN_OBJECT, f"expected a JSON object, got {type(document).__name__}")

    def _kind(self, fields: Node) -> Kind:
        """Return the first kind whose fields, those that Amazon Connect always sends with it, are there as text.

        Values do not count: a type of event that Connect adds must not send speech to another route.
        """
        contact_id, format_version = self._contact_fields(fields)
        if type(contact_id) is str and type(format_version) is str:
            return Kind.CONTACT_RECORD
        event_id, event_type, agent_arn, version, streaming_type = self._event_fields(fields)
        if type(event_id) is str and type(event_type) is str and type(agent_arn) is str:
            return Kind.AGENT_EVENT
        if type(contact_id) is str and type(version) is str and str in {type(event_type), type(streaming_type)}:
            return Kind.CONTACT_LENS_SEGMENT
        return Kind.OTHER


def without_lone_surrogates(data: bytes) -> bytes:
    r"""Replace `\ud83d` and the like without their other half by U+FFFD; strict readers refuse a whole object for one.

    Connect sends them in text that was cut in the middle of an emoji. No other escape changes its spelling.

    Source: https://www.rfc-editor.org/rfc/rfc8259#section-8.2
    """
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match["lone"] else match[0], data)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def on_one_line(data: bytes) -> bytes:
    """Remove the white space between the tokens of a JSON document; no token changes its spelling."""
    return _TOKEN_OR_SPACE.sub(rb"\1", data)


_TOKEN_OR_SPACE = re.compile(rb'("(?:[^"\\]++|\\.)*+")|[ \t\r\n]++')


def _envelopes(event: Mapping[str, object]) -> list[_Envelope]:
    try:
        return msgspec.convert(event, _Event).Records
    except UnicodeEncodeError:
        raise EventError("event: expected text as keys, got an unpaired surrogate") from None
    except msgspec.ValidationError as err:
        # The text names types and a path, e.g. "Expected `str`, got `int` - at `$.Records[0].eventID`".
        raise EventError(f"event: expected what Lambda sends for a Kinesis stream: {err}") from None


def _shard_of(envelopes: list[_Envelope]) -> Shard:
    """Return the one shard that all records come from, checked to be fit for object keys."""
    stream_arn, shard_id = envelopes[0].eventSourceARN, envelopes[0].eventID.partition(":")[0]
    shard = Shard(stream_arn=stream_arn, shard_id=shard_id)
    if not _SHARD_ID.fullmatch(shard_id) or not _STREAM_ARN.fullmatch(stream_arn):
        raise EventError("event.Records[0]: expected eventID `<shard>:<number>` and a stream's eventSourceARN")
    for index, envelope in enumerate(envelopes):
        if envelope.eventSourceARN != stream_arn or envelope.eventID != f"{shard_id}:{envelope.kinesis.sequenceNumber}":
            raise EventError(f"event.Records[{index}]: expected the shard and number of the batch, got others")
        if not 0 <= envelope.kinesis.approximateArrivalTimestamp < _END_OF_TIME:
            raise EventError(f"event.Records[{index}].kinesis.approximateArrivalTimestamp: expected seconds since 1970")
    return shard


def _positions(envelopes: list[_Envelope]) -> list[int]:
    """Return the sequence numbers as integers, checked to increase."""
    numbers = [envelope.kinesis.sequenceNumber for envelope in envelopes]
    if not ("".join(numbers).encode(errors="replace").isdigit() and all(numbers)):
        raise EventError("event.Records: expected sequence numbers of decimal digits, got something else")
    if max(map(len, numbers)) > _LONGEST_SEQUENCE_NUMBER:
        raise EventError(f"event.Records: expected sequence numbers of at most {_LONGEST_SEQUENCE_NUMBER} digits")
    positions = list(map(int, numbers))
    if not all(map(operator.lt, positions, positions[1:])):
        raise EventError("event.Records: expected sequence numbers that increase, got one that does not")
    return positions


def _not_unpacked(text: str, err: Exception) -> tuple[bytes, RecordError]:
    """Return the bytes for the dead letter of a stream record that cannot be taken apart, and why."""
    if isinstance(err, RecordError):
        return pybase64.b64decode(text), err
    failure = RecordError(Reason.NOT_BASE64, f"not base64 in {len(text)} characters")
    return text.encode(errors="surrogatepass"), failure


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
