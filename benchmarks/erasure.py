"""Erasing contacts from a million records in one walk: speed, and memory as objects and contacts grow.

python -m benchmarks.erasure OBJECTS CONTACTS   prints one JSON object

The bucket is made while it is read, so that nothing but the walk takes memory, and the time of making is not counted.
"""

import gzip
import io
import json
import re
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from aws.bucket import Bucket
from aws.checkpoint import NoCheckpoint
from aws.invocation import Invocation
from aws.s3_sink import S3Sink
from benchmarks.contenders import NO_KEYS, ROUTES
from local.traffic import Traffic
from operations.erase.eraser import Eraser
from operations.erase.request import ErasureRequest
from operations.erase.walk import ErasureWalk
from routing.model import FencingToken, Kind, Shard
from routing.stages.decode import Decoder
from routing.stored.object_format import gzipped, object_key

LINES = 1000
_SHARD = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/bench", "shardId-000000000000")
_KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
_THEN = datetime(2026, 3, 2, tzinfo=UTC)


def contact_id(number: int) -> str:
    """Return the id of the contact that one record is of."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


class MadeBucket:
    """An S3 client over objects of different contacts that exist only while they are read."""

    def __init__(self, objects: int) -> None:
        """Make the lines that all objects vary."""
        traffic, contact = Traffic(7), re.compile(rb'(?<="ContactId":")[^"]+')
        self._parts = [contact.split(traffic.contact_record(), 1) for _ in range(LINES)]
        self._names = {
            object_key(ROUTES.routes[0].prefix, Kind.CONTACT_RECORD, "date=2026-03-02", _SHARD, f"{n:056}"): n
            for n in range(objects)
        }
        self.making = 0.0
        self.plain_bytes = self.rewritten = 0

    def get_paginator(self, _: str) -> "MadeBucket":
        """Return what pages."""
        return self

    def paginate(self, *, Prefix: str, **_: object) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's spelling
        """List the names, which sort as they are made."""
        entries = [{"Key": key, "LastModified": _THEN} for key in self._names if key.startswith(Prefix)]
        yield {"Contents": entries}

    def get_object(self, *, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803
        """Make an object."""
        start, first = time.perf_counter(), self._names[cast("Any", Key)] * LINES
        lines = [
            b"%b%b%b" % (before, contact_id(first + n).encode(), after) for n, (before, after) in enumerate(self._parts)
        ]
        body, plain_bytes, _checksum = gzipped(lines, FencingToken(1))
        self.plain_bytes += plain_bytes
        self.making += time.perf_counter() - start
        return {"Body": io.BytesIO(body), "Metadata": {}, "ETag": '"x"'}

    def put_object(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Take what is written again."""
        self.rewritten += len(gzip.decompress(request["Body"]).splitlines()) > 0
        return {"ETag": '"y"'}


class Inline(Executor):
    """One core does the work."""

    def map(self, fn: Any, *iterables: Any, **_: object) -> Any:  # noqa: ANN401
        """Run here."""
        return map(fn, *iterables)


def measure(objects: int, contacts: int) -> dict[str, float]:
    """Erase contacts that are spread evenly over the records of some objects.

    Returns:
        Records and MB of plain text a second, objects written again, and the peak of resident memory in MB.
    """
    records, made = objects * LINES, MadeBucket(objects)
    chosen = [contact_id(n * records // contacts) for n in range(contacts)]
    bucket = Bucket(cast("Any", made), "bucket", "111122223333")
    sink = S3Sink(bucket, {route.name: _KEY for route in ROUTES.all_routes}, invocation := _invocation(), Inline())
    request = ErasureRequest(contact_ids=chosen, apply=True, limit=10_000)
    start = time.perf_counter()
    eraser = Eraser(
        request, bucket=bucket, table=ROUTES, decoder=Decoder(ROUTES.paths), protector=NO_KEYS, sink=sink,
        checkpoint=NoCheckpoint(), workers=Inline(), stream_arn=_SHARD.stream_arn,
    )  # fmt: skip
    outcome = ErasureWalk(bucket=bucket, table=ROUTES, invocation=invocation).run(request, eraser)
    seconds = time.perf_counter() - start - made.making
    gone = sum(result["records"] for result in outcome.results)
    assert gone == contacts == len(outcome.found), (gone, contacts)
    assert outcome.next is None
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak is not None
    return {
        "objects": objects,
        "contacts": contacts,
        "records_a_second": round(records / seconds),
        "mb_a_second": round(made.plain_bytes / seconds / 1e6, 1),
        "rewritten": made.rewritten,
        "peak_mb": round(int(peak[1]) * 1024 / 1e6, 1),
    }


def _invocation() -> Invocation:
    return Invocation("bench", lambda: 900.0)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
