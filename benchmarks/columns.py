"""Columns: how fast lines become Parquet, and what the saved queries read of a day as delivered and as columns.

python -m benchmarks.columns convert RECORDS   prints one JSON object
python -m benchmarks.columns query RECORDS     prints one JSON object
"""

import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from aws.bucket import FetchedObject
from aws.checkpoint import NoCheckpoint
from aws.invocation import Invocation
from benchmarks.contenders import ROUTES
from infrastructure.analysis.queries import SAVED_QUERIES, sql_of
from local.lake import lake_of
from local.traffic import Traffic
from operations.convert.columns import Columns, Lines, write
from operations.convert.converter import Converter
from operations.convert.request import ConversionRequest
from routing.model import FencingToken, Kind, Shard
from routing.stored.object_format import gzipped, object_key
from schema.columns import columns_of, tables_of
from schema.statistics import told_by

_ROUTE = next(route for route in ROUTES.routes if not route.rules and route.pattern is None)
_SHARD = Shard("arn:aws:kinesis:ap-northeast-1:111122223333:stream/bench", "shardId-000000000000")
_DAY = "date=2026-03-02"
_LINES = 500
_TIMES_ASKED = 3
_WITHOUT_IDS = "records by queue and channel (none of the saved: it reads no ids)"
_NOW = 1_772_600_000.0
"""2026-03-04."""


class FolderBucket:
    """A bucket that is a folder; what it puts and gets has no metadata but that of parts."""

    def __init__(self, folder: Path) -> None:
        """Remember the metadata of what is put."""
        self.folder = folder
        self._metadata: dict[str, dict[str, str]] = {}

    def list(self, prefix: str, *, after: str = "") -> Iterator[dict[str, Any]]:
        """List the files below a prefix."""
        del after
        top = self.folder / prefix.rpartition("/")[0]
        for file in sorted(top.rglob("*")) if top.exists() else ():
            key = str(file.relative_to(self.folder))
            if file.is_file() and key.startswith(prefix):
                yield {"Key": key, "ETag": "x", "Size": file.stat().st_size}

    def get(self, key: str) -> FetchedObject:
        """Read a file."""
        body = (self.folder / key).read_bytes()
        return FetchedObject(body=body, metadata={}, etag="x", key_arn="", version="")

    def has(self, key: str) -> bool:
        """Look whether a file is there."""
        return (self.folder / key).exists()

    def look(self, key: str) -> dict[str, Any]:
        """Look at what was put."""
        return {"Metadata": self._metadata[key], "ETag": "x"}

    def put(self, key: str, body: Any, *, metadata: dict[str, str], **_: object) -> None:  # noqa: ANN401
        """Write a file."""
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body if isinstance(body, bytes) else body.read())
        self._metadata[key] = metadata


def convert(records: int) -> dict[str, float]:
    """Write the columns of records, one core; return MB of plain JSON a second, and memory."""
    pa.set_cpu_count(1)
    traffic = Traffic(7)
    lines = [traffic.contact_record() for _ in range(records)]
    columns = Columns(columns_of(_ROUTE, Kind.CONTACT_RECORD), told_by(_ROUTE))
    before = _peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part"
        objects = (Lines(f"k{n}", "1", lines[n : n + _LINES]) for n in range(0, records, _LINES))
        start = time.perf_counter()
        written = write(file, columns, objects)
        seconds = time.perf_counter() - start
        size = file.stat().st_size
    assert (written.records, written.refused) == (records, 0)
    plain = sum(map(len, lines))
    return {
        "records": records,
        "mean_record_bytes": round(plain / records),
        "mb_a_second": round(plain / seconds / 1e6, 1),
        "file_bytes_a_record": round(size / records),
        "peak_mb_besides": round(_peak_mb() - before),
    }


def query(records: int) -> dict[str, Any]:
    """Ask the saved queries about a day of records, as delivered and as columns; bytes are those that the engine reads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _deliver(folder, records)
        lines, size = lake_of(folder, ROUTES), _size(folder)
        start = time.perf_counter()
        with ThreadPoolExecutor(8) as workers:
            done = Converter(
                _ROUTE,
                bucket=cast("Any", FolderBucket(folder)),
                table=ROUTES,
                key_arn="",
                checkpoint=NoCheckpoint(),
                stream_arn=_SHARD.stream_arn,
                invocation=Invocation("bench", lambda: 900.0, now=lambda: _NOW),
                workers=workers,
            ).run(ConversionRequest(route=_ROUTE.name))
        seconds = time.perf_counter() - start
        assert sum(result["records"] for result in done.results) == records
        columns, both = lake_of(folder, ROUTES), _size(folder)
        view = next(view for kind, view in tables_of(_ROUTE, ROUTES) if kind is Kind.CONTACT_RECORD)
        asked = {one.name: sql_of(one, view) for one in SAVED_QUERIES if one.kind is Kind.CONTACT_RECORD}
        asked[_WITHOUT_IDS] = f"SELECT queue_name, channel, count(*) FROM {view} GROUP BY 1, 2"  # noqa: S608 - a name of ours
        return {
            "records": records,
            "objects": records // _LINES,
            "parts": len(done.results),
            "conversion_seconds": round(seconds, 1),
            "delivered_mb": round(size / 1e6),
            "columns_mb": round((both - size) / 1e6),
            "queries": {
                name: {"lines": _asked(lines, sql), "columns": _asked(columns, sql)} for name, sql in asked.items()
            },
        }


def _asked(lake: Any, sql: str) -> dict[str, float]:  # noqa: ANN401 - a lake
    """Ask three times; medians, since the engine reads ahead of what it needs, now more and now less."""
    seconds, read, rows = [], [], 0
    for _ in range(_TIMES_ASKED):
        before, start = _read_bytes(), time.perf_counter()
        rows = lake.count(sql)
        seconds.append(time.perf_counter() - start)
        read.append(_read_bytes() - before)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "mb": round(statistics.median(read) / 1e6, 2),
        "rows": rows,
    }


def _deliver(folder: Path, records: int) -> None:
    traffic = Traffic(7)
    for first in range(0, records, _LINES):
        body, _, _ = gzipped([traffic.contact_record() for _ in range(_LINES)], FencingToken(1))
        key = object_key(_ROUTE.prefix, Kind.CONTACT_RECORD, _DAY, _SHARD, f"{first:056}")
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _read_bytes() -> int:
    """Return what this process has read of files so far, by the kernel's count."""
    found = re.search(r"^rchar: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _peak_mb() -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps({"convert": convert, "query": query}[sys.argv[1]](int(sys.argv[2]))))
