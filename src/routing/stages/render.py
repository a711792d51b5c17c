"""Render: a batch -> an object ready to be put, named and filled by its records alone.

No clock, no random: the same records make the same key and the same bytes, so a retry finds its own work.
"""

from collections.abc import Mapping
from copy import replace

from routing import layout
from routing.model import FencingToken, Kind, ObjectKey, RenderedObject, RouteName, Shard
from routing.stages.batch import Batch
from routing.stored.object_format import (
    FENCING,
    FORMAT_VERSION,
    NAMED_BY,
    PENDING,
    PROTECTION,
    RULES,
    checksum_of_numbers,
    gzipped,
    object_key,
)


def render(
    batch: Batch, shard: Shard, token: FencingToken | None, origin: Mapping[str, str], name_suffix: str = ""
) -> RenderedObject:
    """Render a batch as gzipped newline-delimited JSON, one record a line.

    The first sequence number names the object: whatever way Lambda cuts the batch next time, the first
    record that is not committed stays the same. Without a claim an invocation may not replace what another has put,
    so there the name tells the content as well. S3 user metadata is ASCII text; nothing of a record but a
    validated time and a declared word is in it or in the key.

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
    return RenderedObject(
        route=batch.route.name,
        kind=batch.kind,
        key=object_key(batch.route.prefix, batch.kind, batch.partition, shard, f"{first}{content}"),
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
        route=layout.DEAD_LETTER if key.startswith(f"{layout.DEAD_LETTER_PREFIX}/") else owner,
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
