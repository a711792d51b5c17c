"""Render: a batch -> an object ready to be put, named and filled by its records alone.

No clock, no random: the same records make the same key and the same bytes, so a retry finds its own work.
"""

from collections.abc import Sequence

from isal import isal_zlib

from routing.batch import Batch
from routing.model import ObjectKey, Record, RenderedObject, Shard

FORMAT_VERSION = "1"
# ISA-L's best level but one: ten times as fast as zlib and somewhat larger (docs/benchmarks.md shows both).
_GZIP_LEVEL = 2
_GZIP_WITHOUT_TIME = 31  # window bits of a gzip member; zlib's header has no time and no name
_LINES_AT_ONCE = 64


def render(batch: Batch, shard: Shard) -> RenderedObject:
    """Render a batch as gzipped newline-delimited JSON, one record a line.

    The first sequence number names the object: whatever way Lambda cuts the batch next time, the first
    record that is not committed stays the same. S3 user metadata is ASCII text; nothing of a record but
    a validated date is in it or in the key.
    """
    records = batch.records
    first, last = records[0].sequence_number, records[-1].sequence_number
    body, plain_bytes, checksum = _gzipped_lines(records)
    name = f"{shard.stream_name}-{shard.shard_id}-{first}.ndjson.gz"
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
        },
        record_count=len(records),
        plain_bytes=plain_bytes,
        oldest_arrived_at=records[0].arrived_at,
    )


def _gzipped_lines(records: Sequence[Record]) -> tuple[bytes, int, int]:
    """Gzip the lines of records, a few at a time, so that what is joined is still in the cache when it is read.

    Returns:
        The body, its size before gzip in bytes, and the CRC-32 of the lines.
    """
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WITHOUT_TIME)
    parts: list[bytes] = []
    plain_bytes = checksum = 0
    for start in range(0, len(records), _LINES_AT_ONCE):
        lines = [record.data for record in records[start : start + _LINES_AT_ONCE]]
        lines.append(b"")  # the last line ends as the others do
        plain = b"\n".join(lines)
        plain_bytes += len(plain)
        checksum = isal_zlib.crc32(plain, checksum)
        parts.append(compressor.compress(plain))
    parts.append(compressor.flush())
    return b"".join(parts), plain_bytes, checksum
