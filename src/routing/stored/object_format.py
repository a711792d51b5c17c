"""The format of a stored object: its key, its metadata and its body, written and read in one place.

A key is `<prefix>/<kind>/<partition>/<stream>-<shard>-<first sequence number>[-<8 hex digits>].ndjson.gz`, of a dead
letter of an object with `dead-letter/objects/` before it. The partition is
`date=<date>[/hour=<hour>][/<field>=<declared value>...]`. The body is gzipped newline-delimited JSON.
"""

import gzip
import re
import struct
from collections.abc import Mapping, Sequence

from isal import isal_zlib
from msgspec import Struct

from routing.layout import OBJECT_LETTER_PREFIX
from routing.model import FencingToken, Kind, ObjectKey, Record, RouteName, SequenceNumber, Shard
from routing.reasons import Reason
from routing.table.routes import RouteTable

FORMAT_VERSION = "1"
FENCING = "fencing-token"
PROTECTION = "protection"
PENDING = "pending"
RULES = "rules"
NAMED_BY = "named-by"
ERASED = "erased-count"
# ISA-L's best level but one: ten times as fast as zlib and somewhat larger (docs/benchmarks.md shows both).
_GZIP_LEVEL = 2
_GZIP = 31  # window bits with a header, in whose place ours is put, and a trailer: the CRC-32 and the size
# A gzip header without time and name (https://www.rfc-editor.org/rfc/rfc1952). With a claim it has one extra
# field, which readers skip: the subfield `cf`, the fencing token. No two puts have the same bytes then, so that no
# two have the same ETag, however S3 makes ETags.
_HEADER = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff"
_HEADER_WITH_TOKEN = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H2sH", 12, b"cf", 8)
_TOKEN = struct.Struct("<Q")
_TRAILER = struct.Struct("<LL")  # CRC-32 and size of what is packed, modulo 2**32
_LINES_AT_ONCE = 64
_NAME = re.compile(
    r"(?P<kind>\w+)/(?P<partition>date=\d{4}-\d{2}-\d{2}(/[a-z0-9_]+=[A-Za-z0-9_-]+)*)/"
    r"(?P<stream>[a-zA-Z0-9_.-]+)-(?P<shard>shardId-\d+)-(?P<first>\d+)(?P<content>-[0-9a-f]{8})?\.ndjson\.gz"
)
_DATE = slice(len("date="), len("date=2026-03-02"))
_LETTERS = f"{OBJECT_LETTER_PREFIX}/"
_KINDS: Mapping[str, Kind | Reason] = {str(kind): kind for kind in (*Kind, *Reason)}

type Place = tuple[RouteName, Kind | Reason, str]
"""Route, kind and partition: what becomes one object of an invocation."""


class Name(Struct, frozen=True, kw_only=True):
    """What an object's key tells.

    Attributes:
        key: The key itself.
        intended: Where its content belongs; differs from the key for a dead letter of an object.
        place: Route, kind and partition of its records.
        stream_name: Where they come from.
        shard_id: The shard of its records.
        first: Sequence number of its first record, as a number.
        has_suffix: True if a suffix tells it from the objects of deliveries under claims.
    """

    key: ObjectKey
    intended: ObjectKey
    place: Place
    stream_name: str
    shard_id: str
    first: int
    has_suffix: bool = False

    @property
    def date(self) -> str:
        """The date of its partition, e.g. `2026-03-02`."""
        return self.place[2][_DATE]

    def shard_beside(self, stream_arn: str) -> Shard:
        """Return the shard that its records come from; its stream is in the account and Region of another."""
        return Shard(f"{stream_arn.rpartition('/')[0]}/{self.stream_name}", self.shard_id)

    def is_of(self, shard: Shard) -> bool:
        """Return True if its records come from a shard."""
        return (self.stream_name, self.shard_id) == (shard.stream_name, shard.shard_id)


def object_key(prefix: str, kind: Kind | Reason, partition: str, shard: Shard, suffix: str) -> ObjectKey:
    """Return the key of an object.

    Args:
        prefix: That of its route.
        kind: Of its records.
        partition: Its folders, e.g. `date=2026-03-02`.
        shard: Where they come from.
        suffix: The first sequence number, and what follows it in the name.
    """
    return ObjectKey(f"{prefix}/{kind}/{partition}/{shard.stream_name}-{shard.shard_id}-{suffix}.ndjson.gz")


def read_name(key: str, table: RouteTable) -> Name | None:
    """Read a key; None if this table makes no such name."""
    intended = key.removeprefix(_LETTERS)
    for route in table.all_routes:
        if not intended.startswith(f"{route.prefix}/"):
            continue
        match = _NAME.fullmatch(intended[len(route.prefix) + 1 :])
        if match is None or match["kind"] not in _KINDS:
            return None
        return Name(
            key=ObjectKey(key),
            intended=ObjectKey(intended),
            place=(route.name, _KINDS[match["kind"]], match["partition"]),
            stream_name=match["stream"],
            shard_id=match["shard"],
            first=int(match["first"]),
            has_suffix=match["content"] is not None,
        )
    return None


def checksum_of_numbers(records: Sequence[Record]) -> str:
    """Return the CRC-32 of the sequence numbers, a line each: it tells which records, and nothing of them."""
    texts = [record.sequence_number for record in records]
    if any(text.startswith("0") for text in texts):  # as numbers, so that leading zeros make no difference
        texts = [SequenceNumber(str(record.position)) for record in records]
    return f"{isal_zlib.crc32('\n'.join([*texts, '']).encode()):08x}"


def gzipped(lines: Sequence[bytes], token: FencingToken | None) -> tuple[bytes, int, int]:
    """Gzip lines, a few at a time, so that what is joined is still in the cache when it is read.

    Args:
        lines: Without line ends.
        token: That of the claim, for the header; None without a claim.

    Returns:
        The body, its size before gzip in bytes, and the CRC-32 of the lines.
    """
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP)
    few = (lines[start : start + _LINES_AT_ONCE] for start in range(0, len(lines), _LINES_AT_ONCE))
    # The last line ends as the others do.
    body = b"".join([*(compressor.compress(b"\n".join([*some, b""])) for some in few), compressor.flush()])
    checksum, plain_bytes = _TRAILER.unpack_from(body, len(body) - _TRAILER.size)
    header = _HEADER if token is None else _HEADER_WITH_TOKEN + _TOKEN.pack(token)
    return header + body[len(_HEADER) :], plain_bytes, checksum


def with_token(body: bytes, token: FencingToken | None) -> bytes:
    """Return an object's body under another fencing token; its lines stay as they are.

    Args:
        body: Made by `gzipped`, by this version or an earlier one.
        token: That of the claim; None without a claim.
    """
    if token is not None and body.startswith(_HEADER_WITH_TOKEN):
        start = len(_HEADER_WITH_TOKEN)
        return body[:start] + _TOKEN.pack(token) + body[start + _TOKEN.size :]
    return gzipped(gzip.decompress(body).splitlines(), token)[0]
