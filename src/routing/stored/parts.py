"""Parts: Parquet files made of delivered objects, each a function of the objects that it covers.

A part is `<prefix>/parquet/<kind>/<partition>/<number>.parquet`. The objects of a partition are shared out among its
parts by their names, so that every line stands in exactly one, whoever makes them, in whatever order, however often. How
many parts a partition has is decided once: the metadata of its first part, which is made before all others, tells it.
A part carries the digest of the objects that it was made of, and of its columns; it is made anew if one is another.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from routing.model import Kind, ObjectKey
from routing.stored.object_format import read_name
from routing.table.routes import RouteTable

FOLDER = "parquet"
PART_FORMAT = "1"
PARTS = "parts"
SOURCES = "sources-count"
SOURCES_DIGEST = "sources-digest"
LINES_DIGEST = "lines-digest"
COLUMNS = "columns-digest"
RECORDS = "record-count"
REFUSED = "refused-count"
_SUFFIX = ".parquet"
_UNTIL = "until/day.txt"
_OF_COLUMNS = re.compile(rf"(?:^|/)(?:{FOLDER}/[^/]+/{_UNTIL}|[^/]+{re.escape(_SUFFIX)})$")
# What one part may hold of gzipped lines: about 128 MB of plain ones, a row group of the size that Athena reads best.
# https://docs.aws.amazon.com/athena/latest/ug/performance-tuning-data-optimization-techniques.html
_GZIPPED_BYTES = 24 << 20
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A delivered object that a part covers.

    Attributes:
        key: Its name.
        etag: Of what it holds now.
        size: Bytes, gzipped.
    """

    key: ObjectKey
    etag: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the metadata of a part tells.

    Attributes:
        parts: How many its partition has.
        sources: How many objects it was made of.
        digest: Of their names and ETags.
        columns: Identifies the columns that it has.
        lines_digest: Of their names and the CRC-32s of their lines.
        records: Lines in it.
        refused: How many of them no column could be read of.
        etag: For conditional requests.
    """

    parts: int
    sources: int
    digest: str
    columns: str
    lines_digest: str
    records: int
    refused: int
    etag: str = ""


def folder_of(prefix: str, kind: Kind) -> str:
    """Return below what the parts of a kind stand, with a slash at its end."""
    return f"{prefix}/{FOLDER}/{kind}/"


def part_key(prefix: str, kind: Kind, partition: str, number: int) -> ObjectKey:
    """Return the name of a part."""
    return ObjectKey(f"{folder_of(prefix, kind)}{partition}/{part_name(number)}")


def part_name(number: int) -> str:
    """Return the last piece of the name of a part."""
    return f"{number:04}{_SUFFIX}"


def is_beside_objects(key: str, prefix: str) -> bool:
    """Return True for what stands beside the delivered objects of a prefix: parts, and how far they reach."""
    return key.startswith(f"{prefix}/{FOLDER}/")


def is_of_columns(name: str) -> bool:
    """Return True if the name of an object, or of a copy of it, is that of a part or of how far parts reach."""
    return _OF_COLUMNS.search(name) is not None


def until_key(prefix: str, kind: Kind) -> ObjectKey:
    """Return the name of the object that tells up to which day columns are complete."""
    return ObjectKey(f"{folder_of(prefix, kind)}{_UNTIL}")


def of_partition(listed: Iterable[Source], partition: str, table: RouteTable) -> list[Source]:
    """Return the objects of a partition: below its folder stand those of others as well, if the route's `partition` has changed."""
    named = ((read_name(source.key, table), source) for source in listed)
    return [source for name, source in named if name is not None and name.place[2] == partition]


def parts_for(sources: Iterable[Source]) -> int:
    """Return among how many parts objects are shared out, where nobody has decided it yet."""
    return min(_MOST_PARTS, max(1, -(-sum(source.size for source in sources) // _GZIPPED_BYTES)))


def of_part(sources: Iterable[Source], number: int, parts: int) -> list[Source]:
    """Return the objects that one of so many parts covers, in the order of their names."""
    return sorted((one for one in sources if _part_of(one.key, parts) == number), key=lambda one: one.key)


def sources_digest(sources: Iterable[Source]) -> str:
    """Return what tells these objects, as they are, from all others."""
    return _digest(f"{one.key} {one.etag.strip('"')}" for one in sources)


def lines_digest(checksums: Mapping[ObjectKey, str]) -> str:
    """Return what tells the lines of objects from all others, by the CRC-32s in their metadata."""
    return _digest(f"{key} {checksum}" for key, checksum in sorted(checksums.items()))


def metadata_of(part: Part) -> dict[str, str]:
    """Return the user metadata of a part."""
    return {
        "format-version": PART_FORMAT,
        PARTS: str(part.parts),
        SOURCES: str(part.sources),
        SOURCES_DIGEST: part.digest,
        COLUMNS: part.columns,
        LINES_DIGEST: part.lines_digest,
        RECORDS: str(part.records),
        REFUSED: str(part.refused),
    }


def read_part(metadata: Mapping[str, str], etag: str) -> Part:
    """Read the user metadata of a part.

    Raises:
        ValueError: It is no part of ours.
    """
    try:
        return Part(
            parts=int(metadata[PARTS]),
            sources=int(metadata[SOURCES]),
            digest=metadata[SOURCES_DIGEST],
            columns=metadata[COLUMNS],
            lines_digest=metadata[LINES_DIGEST],
            records=int(metadata[RECORDS]),
            refused=int(metadata[REFUSED]),
            etag=etag,
        )
    except KeyError as err:
        raise ValueError(f"expected the metadata of a part, got none called {err}") from None


def number_of(key: str) -> int:
    """Return the number of a part by its name; -1 if it is none."""
    stem = key.rpartition("/")[2].removesuffix(_SUFFIX)
    return int(stem) if key.endswith(_SUFFIX) and stem.isascii() and stem.isdecimal() else -1


def _part_of(key: ObjectKey, parts: int) -> int:
    return zlib.crc32(key.rpartition("/")[2].encode()) % parts


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
