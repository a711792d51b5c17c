"""The values that travel between the stages. Frozen; collections out of the core are tuples.

They are msgspec structs: a tenth of a frozen dataclass to make, which counts for each record, and to define, which
counts at each cold start.
"""

from enum import StrEnum
from typing import NewType

from msgspec import Struct

from routing.fields import Node
from routing.reasons import Reason

SequenceNumber = NewType("SequenceNumber", str)
"""A Kinesis sequence number as its decimal text: 56 digits in practice, 128 by the API model."""

ObjectKey = NewType("ObjectKey", str)
FencingToken = NewType("FencingToken", int)
"""Grows with every change of a shard's row; an object with a higher one is never replaced by a lower one."""
RouteName = NewType("RouteName", str)
RoutesDigest = NewType("RoutesDigest", str)
"""Identifies what decides where a record goes: the SHA-256 of the route table's text, and that of the code."""


class Kind(StrEnum):
    """The kind of a record, by the fields that it has."""

    # Enum's own hash is a call into Python, and every record is looked up by its kind several times.
    __hash__ = str.__hash__

    CONTACT_RECORD = "contact_record"
    AGENT_EVENT = "agent_event"
    CONTACT_LENS_SEGMENT = "contact_lens_segment"
    OTHER = "other"


class Shard(Struct, frozen=True):
    """The shard that all records of one invocation come from.

    Attributes:
        stream_arn: `arn:aws:kinesis:<region>:<account>:stream/<name>`.
        shard_id: e.g. `shardId-000000000001`; it recurs in a stream that is made anew.
    """

    stream_arn: str
    shard_id: str

    @property
    def stream_name(self) -> str:
        """The name in the stream's ARN."""
        return self.stream_arn.rpartition("/")[2]


class Record(Struct, frozen=True, gc=False):
    """One record, decoded as far as routes need it.

    Attributes:
        kind: What it is; of a record that cannot be decoded, the reason.
        data: What is delivered: the original bytes on one line, without white space around them; of a
            record that cannot be decoded, its dead letter.
        fields: The fields that routes name; none if it cannot be decoded.
        position: The sequence number as an integer, the only form that compares rightly.
        arrived_at: Seconds since 1970, UTC, when Kinesis took it.
        failure: Of a record that cannot be decoded, what is wrong with it. Never the exception: its
            traceback would keep the batch alive in a reference cycle.
    """

    kind: Kind | Reason
    data: bytes
    fields: Node
    sequence_number: SequenceNumber
    position: int
    arrived_at: float
    failure: str | None = None


class RenderedObject(Struct, frozen=True, kw_only=True):
    """An object ready to be put: a function of its records alone, so that a retry makes the same.

    Attributes:
        route: The route whose key encrypts it.
        kind: What its records are; of dead letters the reason.
        key: `<prefix>/<kind>/<partition>/<stream>-<shardId>-<first sequence number>.ndjson.gz`.
        body: Gzipped newline-delimited JSON.
        metadata: User metadata, all text: the range of records, their count and CRC-32, the fencing token.
        record_count: Lines in the body.
        plain_bytes: Size of the body before gzip.
        oldest_arrived_at: Arrival of its first record, seconds since 1970; a shard is nearly in that order.
        may_exist: True if an earlier try has intended the name, so that looking first saves a refused put.
    """

    route: RouteName
    kind: Kind | Reason
    key: ObjectKey
    body: bytes
    metadata: dict[str, str]
    record_count: int
    plain_bytes: int
    oldest_arrived_at: float
    may_exist: bool = False

    @property
    def owner(self) -> RouteName:
        """The route that its records take; of a dead letter of an object not the one whose key encrypts it."""
        return RouteName(self.metadata["route"])
