"""Render: a batch -> an object ready to be put, named and filled by its records alone.

No clock, no random: the same records make the same key and the same bytes, so a retry finds its own work.
"""

from collections.abc import Sequence
from dataclasses import replace

from isal import isal_zlib

from routing import dead_letter
from routing.batch import Batch
from routing.model import FencingToken, Kind, ObjectKey, Record, RenderedObject, RouteName, RoutesDigest, Shard

FORMAT_VERSION = "1"
FENCING = "fencing-token"
PROTECTION = "protection"
PENDING = "pending"
RULES = "rules"
ERASED = "erased-count"
# ISA-L's best level but one: ten times as fast as zlib and somewhat larger (docs/benchmarks.md shows both).
_GZIP_LEVEL = 2
_GZIP_WITHOUT_TIME = 31  # window bits of a gzip member; zlib's header has no time and no name
_LINES_AT_ONCE = 64
_DIGITS_OF_ROUTES = 16


def render(batch: Batch, shard: Shard, token: FencingToken | None, routes: RoutesDigest) -> RenderedObject:
    """Render a batch as gzipped newline-delimited JSON, one record a line.

    The first sequence number names the object: whatever way Lambda cuts the batch next time, the first
    record that is not committed stays the same. Without a claim nobody may replace what another has put,
    so there the name tells the content as well. S3 user metadata is ASCII text; nothing of a record but a
    validated date is in it or in the key.

    Args:
        batch: What becomes one object.
        shard: Where its records come from.
        token: That of the claim; None without a claim.
        routes: The digest of the table that has chosen the records.
    """
    records = batch.records
    first, last = records[0].sequence_number, records[-1].sequence_number
    body, plain_bytes, checksum = gzipped([record.data for record in records])
    content = f"-{checksum:08x}" if token is None else ""
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
            "routes": routes[:_DIGITS_OF_ROUTES],
            **({RULES: batch.route.rules_digest} if batch.route.rules else {}),
            **_fencing(token),
        },
        record_count=len(records),
        plain_bytes=plain_bytes,
        oldest_arrived_at=records[0].arrived_at,
    )


def render_empty(key: ObjectKey, owner: RouteName, token: FencingToken | None) -> RenderedObject:
    """Render what takes the place of an object, or of its dead letter, that an earlier try may have left."""
    body, plain_bytes, checksum = gzipped([])
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


def gzipped(lines: Sequence[bytes]) -> tuple[bytes, int, int]:
    """Gzip lines, a few at a time, so that what is joined is still in the cache when it is read.

    Returns:
        The body, its size before gzip in bytes, and the CRC-32 of the lines.
    """
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WITHOUT_TIME)
    parts: list[bytes] = []
    plain_bytes = checksum = 0
    for start in range(0, len(lines), _LINES_AT_ONCE):
        # The last line ends as the others do.
        plain = b"\n".join([*lines[start : start + _LINES_AT_ONCE], b""])
        plain_bytes += len(plain)
        checksum = isal_zlib.crc32(plain, checksum)
        parts.append(compressor.compress(plain))
    parts.append(compressor.flush())
    return b"".join(parts), plain_bytes, checksum
