"""Render: a batch -> an object ready to be put, named and filled by its records alone.

No clock, no random: the same records make the same key and the same bytes, so a retry finds its own work.
"""

from isal import igzip, isal_zlib

from routing.batch import Batch
from routing.model import ObjectKey, RenderedObject, Shard

FORMAT_VERSION = "1"
# Level 2 of ISA-L has the size of zlib's level 6 at ten times its speed (benchmarks/).
_GZIP_LEVEL = 2


def render(batch: Batch, shard: Shard) -> RenderedObject:
    """Render a batch as gzipped newline-delimited JSON, one record a line.

    The first sequence number names the object: whatever way Lambda cuts the batch next time, the first
    record that is not committed stays the same. S3 user metadata is ASCII text; nothing of a record but
    a validated date is in it or in the key.
    """
    records = batch.records
    first, last = records[0].sequence_number, records[-1].sequence_number
    plain = b"\n".join([*[record.data for record in records], b""])
    name = f"{shard.stream_name}-{shard.shard_id}-{first}.ndjson.gz"
    return RenderedObject(
        route=batch.route.name,
        kind=batch.kind,
        key=ObjectKey(f"{batch.route.prefix}/{batch.kind}/date={batch.date}/{name}"),
        body=igzip.compress(plain, _GZIP_LEVEL, mtime=0),
        metadata={
            "format-version": FORMAT_VERSION,
            "route": batch.route.name,
            "record-count": str(len(records)),
            "first-sequence-number": first,
            "last-sequence-number": last,
            "plain-crc32": f"{isal_zlib.crc32(plain):08x}",
        },
        record_count=len(records),
        plain_bytes=len(plain),
        oldest_arrived_at=min([record.arrived_at for record in records]),
    )
