"""What `reconcile` says of columns: parts compared with the lines that they were made of, by metadata alone."""

from collections import defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from aws.bucket import Bucket
from cli.reconcile import Target
from routing.model import Kind, ObjectKey
from routing.stored import parts
from routing.stored.object_format import ERASED
from routing.stored.parts import Source
from routing.table.routes import Route, RouteTable
from schema.columns import tables_of

_PARALLEL_LOOKS = 16
_MOST_SHOWN = 20


@dataclass(slots=True)
class Columns:
    """What a comparison came to.

    Attributes:
        same: Parts with the lines of their objects, each once.
        stale: Names of parts whose objects change meanwhile or have changed since, or that are still to be made.
        wrong: Names of parts that do not hold what they say, and why.
    """

    same: int = 0
    stale: list[str] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """What it comes to, in one line."""
        count = self.same + len(self.stale) + len(self.wrong)
        waits = f", {len(self.stale)} to be made anew by the next schedule" if self.stale else ""
        return f"{count} parts of columns compared: {len(self.wrong) or 'none'} wrong{waits}"


def columns(client: Any, target: Target, table: RouteTable) -> Columns:  # noqa: ANN401 - as boto3.client
    """Compare every part with the objects that it covers: their names and ETags, counts and CRC-32s."""
    bucket, found = Bucket(client("s3"), target.bucket, target.account), Columns()
    with ThreadPoolExecutor(_PARALLEL_LOOKS) as workers:
        for route in table.routes:
            for kind, _ in tables_of(route, table):
                for partition, keys in _partitions(bucket, route, kind).items():
                    below = f"{route.prefix}/{kind}/{partition}/"
                    listed = [
                        Source(key=ObjectKey(e["Key"]), etag=e["ETag"], size=e["Size"]) for e in bucket.list(below)
                    ]
                    sources = parts.of_partition(listed, partition, table)
                    _compare(bucket, workers, sources, sorted(keys), found)
    return found


def show(found: Columns, console: Console) -> None:
    """Print what is wrong, by name."""
    for key, why in found.wrong[:_MOST_SHOWN]:
        console.print(f"wrong: {key}: {why}", markup=False, soft_wrap=True)
    if len(found.wrong) > _MOST_SHOWN:
        console.print(f"and {len(found.wrong) - _MOST_SHOWN} more")


def _partitions(bucket: Bucket, route: Route, kind: Kind) -> dict[str, list[str]]:
    folder, found = parts.folder_of(route.prefix, kind), defaultdict(list)
    for entry in bucket.list(f"{folder}date="):
        found[entry["Key"][len(folder) :].rpartition("/")[0]].append(entry["Key"])
    return found


def _compare(bucket: Bucket, workers: Executor, sources: list[Source], keys: list[str], found: Columns) -> None:
    count = len(keys)
    for number, (key, head) in enumerate(zip(keys, workers.map(bucket.look, keys), strict=True)):
        if head is None:
            found.stale.append(key)
            continue
        try:
            part = parts.read_part(head["Metadata"], head["ETag"])
        except ValueError as err:
            found.wrong.append((key, str(err)))
            continue
        count = part.parts if number == 0 else count
        covered = parts.of_part(sources, number, count)
        if part.parts != count or not key.endswith(parts.part_name(number)):
            found.wrong.append((key, f"expected part {number} of {count}"))
        elif part.digest != parts.sources_digest(covered) or (told := _metadata(bucket, workers, covered)) is None:
            found.stale.append(key)
        elif why := _difference(part, told):
            found.wrong.append((key, why))
        else:
            found.same += 1
    held = {number for number, key in enumerate(keys) if key.endswith(parts.part_name(number))}
    missing = [number for number in range(count) if number not in held and parts.of_part(sources, number, count)]
    folder = keys[0].rpartition("/")[0]
    found.stale += [f"{folder}/{parts.part_name(number)}" for number in missing]


def _metadata(bucket: Bucket, workers: Executor, covered: list[Source]) -> dict[ObjectKey, dict[str, str]] | None:
    """Return what objects tell of themselves; None if one is gone since it was listed."""
    keys = [source.key for source in covered]
    looked = [None if answer is None else dict(answer["Metadata"]) for answer in workers.map(bucket.look, keys)]
    found = {key: one for key, one in zip(keys, looked, strict=True) if one is not None}
    return found if len(found) == len(keys) else None


def _difference(part: parts.Part, metadata: dict[ObjectKey, dict[str, str]]) -> str:
    """Return what a part does not have in common with its objects; what says nothing of itself is not compared."""
    if not all("plain-crc32" in one for one in metadata.values()):
        return ""
    expected = sum(int(one["record-count"]) - int(one.get(ERASED, "0")) for one in metadata.values())
    if part.records != expected:
        return f"expected {expected} records, got {part.records}"
    checksums = {key: one["plain-crc32"] for key, one in metadata.items()}
    return "" if part.lines_digest == parts.lines_digest(checksums) else "expected the lines of its objects, got others"
