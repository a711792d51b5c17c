"""Render: a batch -> an object ready to be put, named and filled by its records alone.

No clock, no random: the same records make the same key and the same bytes, so a retry finds its own work.
"""

import gzip
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

from isal import isal_zlib

from routing import dead_letter
from routing.batch import Batch
from routing.model import FencingToken, Kind, ObjectKey, Record, RenderedObject, RouteName, Shard

FORMAT_VERSION = "1"
FENCING = "fencing-token"
PROTECTION = "protection"
PENDING = "pending"
RULES = "rules"
NAMED_BY = "named-by"
ERASED = "erased-count"
# ISA-L's best level but one: ten times as fast as zlib and somewhat larger (docs/benchmarks.md shows both).
_GZIP_LEVEL = 2
_RAW_DEFLATE = -15  # window bits without a header: ours holds the fencing token
# A gzip header without time and name (https://www.rfc-editor.org/rfc/rfc1952). With a claim it has one extra
# field, which readers skip: the subfield `cf`, the fencing token. No two puts have the same bytes then, so that no
# two have the same ETag, however S3 makes ETags.
_HEADER = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff"
_HEADER_WITH_TOKEN = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H2sH", 12, b"cf", 8)
_TOKEN = struct.Struct("<Q")
_TRAILER = struct.Struct("<LL")  # CRC-32 and size of what is packed, modulo 2**32
_LINES_AT_ONCE = 64


def render(
    batch: Batch, shard: Shard, token: FencingToken | None, origin: Mapping[str, str], name_suffix: str = ""
) -> RenderedObject:
    """Render a batch as gzipped newline-delimited JSON, one record a line.

    The first sequence number names the object: whatever way Lambda cuts the batch next time, the first
    record that is not committed stays the same. Without a claim nobody may replace what another has put,
    so there the name tells the content as well. S3 user metadata is ASCII text; nothing of a record but a
    validated date is in it or in the key.

    Args:
        batch: What becomes one object.
        shard: Where its records come from.
        token: That of the claim; None without a claim.
        origin: What identifies the deployment that has chosen the records (`RouteTable.origin`).
        name_suffix: Eight hexadecimal digits that take the place of those of the content.
    """
    records = batch.records
    first, last = records[0].sequence_number, records[-1].sequence_number
    body, plain_bytes, checksum = gzipped([record.data for record in records], token)
    content = f"-{name_suffix or f'{checksum:08x}'}" if token is None else ""
    name = f"{shard.stream_name}-{shard.shard_id}-{first}{content}.ndjson.gz"
    return RenderedObject(
        route=batch.route.name,
        kind=batch.kind,
        key=ObjectKey(f"{batch.route.prefix}/{batch.kind}/date={batch.date}/{name}"),
        body=body,
        metadata={
            "format-version": FORMAT_VERSION,
            "route": batch.route.name,
            "record-count": str(len(records)),
            "first-sequence-number": first,
            "last-sequence-number": last,
            "plain-crc32": f"{checksum:08x}",
            "numbers-crc32": checksum_of_numbers(records),
            **origin,
            **({RULES: batch.route.rules_digest} if batch.route.rules else {}),
            **({NAMED_BY: "dead-letter"} if name_suffix else {}),
            **_fencing(token),
        },
        record_count=len(records),
        plain_bytes=plain_bytes,
        oldest_arrived_at=records[0].arrived_at,
    )


def render_empty(key: ObjectKey, owner: RouteName, token: FencingToken | None) -> RenderedObject:
    """Render what takes the place of an object, or of its dead letter, that an earlier try may have left."""
    body, plain_bytes, checksum = gzipped([], token)
    return RenderedObject(
        route=dead_letter.ROUTE if key.startswith(f"{dead_letter.PREFIX}/") else owner,
        kind=Kind.OTHER,
        key=key,
        body=body,
        metadata={
            "format-version": FORMAT_VERSION,
            "route": owner,
            "record-count": "0",
            "plain-crc32": f"{checksum:08x}",
            **_fencing(token),
        },
        record_count=0,
        plain_bytes=plain_bytes,
        oldest_arrived_at=0.0,
    )


def _fencing(token: FencingToken | None) -> dict[str, str]:
    return {} if token is None else {FENCING: str(token)}


def unprotected(rendered: RenderedObject) -> RenderedObject:
    """Mark an object whose records still have to be protected; only a dead letter may be one."""
    metadata = {name: value for name, value in rendered.metadata.items() if name != RULES}
    return replace(rendered, metadata={**metadata, PROTECTION: PENDING})


def checksum_of_numbers(records: Sequence[Record]) -> str:
    """Return the CRC-32 of the sequence numbers, a line each: it tells which records, and nothing of them."""
    return f"{isal_zlib.crc32(b''.join(b'%d\n' % record.position for record in records)):08x}"


def gzipped(lines: Sequence[bytes], token: FencingToken | None) -> tuple[bytes, int, int]:
    """Gzip lines, a few at a time, so that what is joined is still in the cache when it is read.

    Args:
        lines: Without line ends.
        token: That of the claim, for the header; None without a claim.

    Returns:
        The body, its size before gzip in bytes, and the CRC-32 of the lines.
    """
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    parts: list[bytes] = [_HEADER if token is None else _HEADER_WITH_TOKEN + _TOKEN.pack(token)]
    plain_bytes = checksum = 0
    for start in range(0, len(lines), _LINES_AT_ONCE):
        # The last line ends as the others do.
        plain = b"\n".join([*lines[start : start + _LINES_AT_ONCE], b""])
        plain_bytes += len(plain)
        checksum = isal_zlib.crc32(plain, checksum)
        parts.append(compressor.compress(plain))
    parts += [compressor.flush(), _TRAILER.pack(checksum, plain_bytes & 0xFFFFFFFF)]
    return b"".join(parts), plain_bytes, checksum


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
