"""Columns: lines of one kind -> Arrow columns of the versioned schema -> a Parquet file.

msgspec reads the lines, Arrow shreds them and writes Parquet: docs/adr/0014-columns.md weighs the engines. A field whose
type is not the schema's is read as the views read it (infrastructure/analysis/queries.py): NULL, or the text of a number.
"""

import contextlib
import gc
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import msgspec
import pyarrow as pa
from pyarrow import parquet

from routing.fields import column_name
from routing.stored.parts import PART_FORMAT
from schema.columns import JSON, STRING, Column, Tree, flat

ELEMENT = "*"
SOURCE, OBJECT, LINE, RECORD = "_source", "_object", "_line", "record"
_ROW_GROUP_BYTES = 128 << 20
_LINES_AT_ONCE = 2000
_ZSTD_LEVEL = 3
_DIGITS_OF_COLUMNS = 16
_NO_DICTIONARY = ("_id", "_timestamp", "record")  # what seldom comes twice
_ARROW = {STRING: pa.string(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_(), JSON: pa.string()}
# What Trino casts to these from text.
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}")
_BIGINT = range(-(2**63), 2**63)
_PYTHON: Mapping[str, Any] = {
    STRING: str,
    "bigint": Annotated[int, msgspec.Meta(ge=_BIGINT[0], le=_BIGINT[-1])],
    "double": float,
    "boolean": bool,
    JSON: msgspec.Raw,
}

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one delivered object.

    Attributes:
        key: Its name.
        first: The sequence number of its first record.
        lines: One record each, without line ends.
    """

    key: str
    first: str
    lines: Sequence[bytes]


class Columns:
    """The columns of one kind on one route."""

    digest: str
    """Tells these columns, their types and what is told of them from others."""

    def __init__(self, tree: Mapping[str, Tree], is_told: Callable[[Column], bool]) -> None:
        """Compile them.

        Args:
            tree: The fields that the route shows; none if nobody knows the kind's.
            is_told: True for a column whose least and greatest values statistics may tell.
        """
        self._tree = dict(tree)
        self._decode = msgspec.json.Decoder(_typed(self._tree)).decode
        self._raw = [path for path, of_type in _leaves(self._tree) if of_type == JSON]
        self._struct = _arrow(self._tree)
        columns = [(column.name, column.parquet_type, is_told(column)) for column in flat(self._tree)]
        self.digest = hashlib.sha256(json.dumps([PART_FORMAT, columns]).encode()).hexdigest()[:_DIGITS_OF_COLUMNS]
        self.told = [*(one.name for one in flat(self._tree) if is_told(one)), SOURCE, OBJECT, LINE]

    def batch(self, lines: Sequence[bytes]) -> tuple[pa.Table, int]:
        """Return the columns of lines, and of how many of these no column could be read."""
        rows: list[Row] = []
        refused = 0
        for line in lines:
            row = self._row(line)
            refused += row is None
            rows.append(row or {})
        for name, *rest in self._raw:
            for row in rows:
                if (value := row.get(name)) is not None:
                    row[name] = _to_text(value, rest) if rest else _text(value)
        try:
            struct = pa.array(rows, type=self._struct)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            struct = pa.array([_readable(row) for row in rows], type=self._struct)
        columns = dict(_flattened(struct, self._tree))
        return pa.table(columns) if columns else pa.table({}).select([]), refused

    def _row(self, line: bytes) -> Row | None:
        """Return the fields of a line, each of the schema's type; None if it is no JSON object."""
        try:
            return cast("Row", self._decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
            pass  # a value of another type, a number that no double holds, or no JSON at all
        except RecursionError:
            return None
        try:
            loose = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return cast("Row", _fitted(loose, self._tree)) if isinstance(loose, dict) else None


@dataclass(slots=True)
class Written:
    """What a file holds: lines, and how many of them no column could be read of."""

    records: int = 0
    refused: int = 0


def write(file: Path, columns: Columns, objects: Iterator[Lines]) -> Written:
    """Write the lines of objects, in their order, as one Parquet file.

    A row group has up to 128 MB of plain lines, whatever the file comes to, so that memory does not grow with it.
    """
    written = Written()
    with contextlib.ExitStack() as stack:
        stack.callback(gc.enable)
        gc.disable()  # rows are trees without cycles; looking for some takes half the time
        waiting: list[pa.Table] = []
        size = 0
        writer: parquet.ParquetWriter | None = None
        for lines in objects:
            for start in range(0, len(lines.lines), _LINES_AT_ONCE):
                some = lines.lines[start : start + _LINES_AT_ONCE]
                made, refused = columns.batch(some)
                waiting.append(_with_origin(made, lines, start, some))
                size += sum(map(len, some))
                written.records += len(some)
                written.refused += refused
                if size >= _ROW_GROUP_BYTES:
                    writer = writer or stack.enter_context(_writer(file, waiting[0].schema, columns))
                    _write_group(writer, waiting)
                    size = 0
        if waiting or writer is None:
            empty = _with_origin(columns.batch([])[0], Lines("", "", []), 0, [])
            waiting = waiting or [empty]
            writer = writer or stack.enter_context(_writer(file, waiting[0].schema, columns))
            _write_group(writer, waiting)
    return written


def _writer(file: Path, schema: pa.Schema, columns: Columns) -> parquet.ParquetWriter:
    return parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_statistics=columns.told,
        use_dictionary=[name for name in schema.names if not name.endswith(_NO_DICTIONARY)],
        store_schema=False,
    )


def _write_group(writer: parquet.ParquetWriter, waiting: list[pa.Table]) -> None:
    group = pa.concat_tables(waiting)
    waiting.clear()
    writer.write_table(group, row_group_size=max(group.num_rows, 1))


def _with_origin(made: pa.Table, lines: Lines, start: int, some: Sequence[bytes]) -> pa.Table:
    count = len(some)
    origin = {
        SOURCE: pa.repeat(pa.scalar(lines.first, pa.string()), count),
        OBJECT: pa.repeat(pa.scalar(lines.key, pa.string()), count),
        LINE: pa.array(range(start + 1, start + 1 + count), pa.int32()),
        RECORD: _texts(some),
    }
    return pa.table({**dict(zip(made.column_names, made.columns, strict=True)), **origin})


def _texts(lines: Sequence[bytes]) -> pa.Array:
    """Return lines as one column; what is no UTF-8 is shown with replacement characters."""
    ends = pa.array([0, *accumulate(map(len, lines))], pa.int32())
    texts = pa.StringArray.from_buffers(len(lines), ends.buffers()[1], pa.py_buffer(b"".join(lines)))
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([line.decode(errors="replace") for line in lines], pa.string())
    return texts


# --- types ------------------------------------------------------------------------------------------------


def _typed(tree: Mapping[str, Tree]) -> Any:  # noqa: ANN401 - a type made at run time has no static type
    return TypedDict("Fields", {name: _type(below) for name, below in tree.items()}, total=False)  # type: ignore[operator]


def _type(tree: Tree) -> Any:  # noqa: ANN401 - as above
    if isinstance(tree, str):
        return _PYTHON[tree] if tree == JSON else _PYTHON[tree] | None
    if ELEMENT in tree:
        return list[_type(tree[ELEMENT])] | None  # type: ignore[misc]
    return _typed(tree) | None


def _arrow(tree: Tree) -> pa.DataType:
    if isinstance(tree, str):
        return _ARROW[tree]
    if ELEMENT in tree:
        return pa.list_(_arrow(tree[ELEMENT]))
    return pa.struct([pa.field(name, _arrow(below)) for name, below in tree.items()])


def _leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(tree, str):
        yield path, tree
        return
    for name, below in tree.items():
        yield from _leaves(below, (*path, name))


# --- values -----------------------------------------------------------------------------------------------


def _to_text(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - rows hold anything
    """Make text of the JSON at a path below a value, in place; return the value."""
    name, *rest = path
    if name == ELEMENT:
        return [_to_text(one, rest) if rest else _text(one) for one in value]
    if value is not None and (below := value.get(name)) is not None:
        value[name] = _to_text(below, rest) if rest else _text(below)
    return value


def _readable(value: Any) -> Any:  # noqa: ANN401 - rows hold anything
    """Return a value whose texts can be UTF-8; what cannot is shown as a replacement character."""
    if isinstance(value, dict):
        return {name: _readable(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_readable(one) for one in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _text(value: object) -> bytes | None:
    """Write JSON as Connect does: without white space, and characters as they are; null is none."""
    text = bytes(value) if type(value) is msgspec.Raw else json.dumps(value, separators=(",", ":")).encode()
    try:
        if b"\\u" in text:
            text = msgspec.json.encode(msgspec.json.decode(text))
        elif b": " in text or b", " in text:
            text = msgspec.json.format(text, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError):  # such as a number that no double holds: as it came
        text = text.decode(errors="replace").encode()
    return None if text == b"null" else text


def _fitted(value: Any, tree: Tree) -> Any:  # noqa: ANN401 - of JSON
    """Return a value as its type; None where it is of another."""
    if isinstance(tree, str):
        return value if tree == JSON else _scalar(value, tree)
    if ELEMENT in tree:
        return [_fitted(one, tree[ELEMENT]) for one in value] if isinstance(value, list) else None
    if not isinstance(value, dict):
        return None
    return {name: _fitted(value[name], below) for name, below in tree.items() if name in value}


def _scalar(value: Any, of_type: str) -> Any:  # noqa: ANN401, PLR0911 - of JSON; a line a case
    """Return what `TRY_CAST(json_extract_scalar(...) AS <type>)` makes of a value of another type."""
    if value is None or isinstance(value, (dict, list)):
        return None
    if of_type == STRING:
        return value if isinstance(value, str) else json.dumps(value)
    if of_type == "boolean":
        return value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower())
    if isinstance(value, bool):
        return None
    if of_type == "bigint":
        number = int(value) if _DIGITS.fullmatch(str(value)) else None
        return number if number is not None and number in _BIGINT else None
    try:
        number_ = float(value)
    except (ValueError, OverflowError):
        return None
    return number_ if math.isfinite(number_) else None


# --- from a struct to columns -----------------------------------------------------------------------------


def _flattened(
    struct: pa.StructArray, tree: Mapping[str, Tree], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield a column for each field that is no object, in the order of the schema; arrays keep their nested types."""
    for (name, below), column in zip(tree.items(), struct.flatten(), strict=True):  # its nulls are theirs
        if isinstance(below, str) or ELEMENT in below:
            yield column_name((*path, name)), _renamed(column)
        else:
            yield from _flattened(column, below, (*path, name))


def _renamed(column: pa.Array) -> pa.Array:
    """Return nested values with the names of their fields in snake case."""
    if pa.types.is_list(column.type):
        return pa.ListArray.from_arrays(column.offsets, _renamed(column.values), mask=column.is_null())
    if pa.types.is_struct(column.type):
        names = [column_name((field.name,)) for field in column.type]
        below = [_renamed(one) for one in column.flatten()]
        return pa.StructArray.from_arrays(below, names=names, mask=column.is_null())
    return column
