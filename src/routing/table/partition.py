"""Partition: below which folders of its prefix a record is stored.

By its date, UTC, of arrival or of a timestamp of the record; by the hour as well, and by fields whose values the route
table declares: `date=2026-03-02/hour=13/channel=VOICE`. A record that lacks the timestamp, or has one that is no time,
counts by its arrival; one with another value of a field than those declared is stored below `other`. So only validated
times and words of the route table enter an object key.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from msgspec import Struct

from routing.errors import Fault
from routing.fields import DEEPEST, Node, Path, attribute, column_name, is_field_name, scalars_at
from routing.model import Record
from routing.table.operators import kind_of
from routing.table.toml_reader import TomlReader

ARRIVAL = "arrival"
OTHER = "other"
"""The folder of a record whose field has none of the declared values."""
DATE, HOUR = "date", "hour"
_FIELD = re.compile(r"[^.\s]+(\.[^.\s]+)*")
# A time of day that no clock shows is no timestamp; 60 is a leap second.
_TIMESTAMP = re.compile(r"(2[0-9]{3}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?Z")
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600
# A field's name and its values stand in keys, and between the commas of a table's projection.
_DECLARED_FIELD = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_FIELDS, _MOST_VALUES = 3, 50
_FIRST = f"expected {DATE!r} or {{ {DATE} = <timestamp field> }} first"


class Declared(Struct, frozen=True):
    """A field that records are stored by.

    Attributes:
        path: Of the field.
        values: Those that have folders of their own, texts, in the order of the file.
    """

    path: Path
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """How the folders are called, e.g. `queue_name`."""
        return re.sub("[^a-z0-9_]", "_", column_name(self.path))

    def folder_of(self, record: Record) -> str:
        """Return the folder of a record, e.g. `channel=VOICE`."""
        text = _text_at(record, self.path)
        return f"{self.name}={text if text in self.values else OTHER}"


class Partition(Struct, frozen=True):
    """How a route stores its records below its prefix.

    Attributes:
        path: The timestamp's field; None dates by arrival.
        has_hours: True if each hour has a folder.
        fields: The fields that records are stored by besides.
    """

    path: Path | None = None
    has_hours: bool = False
    fields: tuple[Declared, ...] = ()

    @property
    def folders(self) -> dict[str, tuple[str, ...]]:
        """What stands below the date: the name of each folder, and every value that it may have."""
        hours = {HOUR: tuple(f"{hour:02}" for hour in range(24))} if self.has_hours else {}
        return hours | {field.name: (*field.values, OTHER) for field in self.fields}

    @property
    def paths(self) -> frozenset[Path]:
        """The fields to decode, if any."""
        return frozenset(field.path for field in self.fields) | (frozenset() if self.path is None else {self.path})

    def __str__(self) -> str:
        """Return it for people: `DisconnectTimestamp by hour, channel`."""
        dated_by = ".".join(self.path or (ARRIVAL,)) + (f" by {HOUR}" if self.has_hours else "")
        return ", ".join([dated_by, *(field.name for field in self.fields)])

    def of(self, record: Record) -> str:
        """Return the folders of a record, e.g. `date=2026-03-02` or `date=2026-03-02/hour=13/channel=VOICE`."""
        time = None if self.path is None else self._own_time(record)
        if time is None:
            at = record.arrived_at
            time = _hour_at(at // _HOUR_SECONDS) if self.has_hours else _date_at(at // _DAY_SECONDS)
        return "/".join([time, *(field.folder_of(record) for field in self.fields)]) if self.fields else time

    def shown(self, record: Record) -> str:
        """Return the folders of a record whose arrival is unknown, which stands there as `(arrival)`."""
        unknown = f"{DATE}=({ARRIVAL})/{HOUR}=({ARRIVAL})" if self.has_hours else f"{DATE}=({ARRIVAL})"
        return "/".join([self._own_time(record) or unknown, *(field.folder_of(record) for field in self.fields)])

    def _own_time(self, record: Record) -> str | None:
        """Return the folders of the record's own timestamp; None if it has none and its arrival counts."""
        if self.path is None:
            return None
        if self.has_hours:
            text = _text_at(record, self.path)
        else:  # names that exist must not change: a date may stand alone in an array
            found = scalars_at(record.fields, self.path)
            text = found[0] if len(found) == 1 and type(found[0]) is str else None
        if text is None or not (match := _TIMESTAMP.fullmatch(text)):
            return None
        day = _valid_date(match[1])
        return f"{day}/{HOUR}={match[2]}" if day is not None and self.has_hours else day


def _text_at(record: Record, path: Path) -> str | None:
    """Return the text of a field, through objects only: rules tell an element of an array from the array."""
    node: object = record.fields
    for name in path:
        node = getattr(node, attribute(name), None) if isinstance(node, Node) else None
    return node if type(node) is str else None


@functools.lru_cache(maxsize=4096)
def _date_at(day: float) -> str:
    return f"{DATE}={datetime.fromtimestamp(day * _DAY_SECONDS, UTC).date().isoformat()}"


@functools.lru_cache(maxsize=4096)
def _hour_at(hour: float) -> str:
    return f"{_date_at(hour // 24)}/{HOUR}={hour % 24:02.0f}"


@functools.lru_cache(maxsize=4096)
def _valid_date(text: str) -> str | None:
    try:
        return f"{DATE}={date.fromisoformat(text).isoformat()}"
    except ValueError:
        return None


# --- reading ------------------------------------------------------------------------------------------


def read_partition(reader: TomlReader) -> Partition:
    """Read `partition` of a route: a text, or a list that begins with the date; absent is the date of arrival."""
    value, where, faults = reader.get("partition"), reader.place("partition"), reader.faults
    if not isinstance(value, list):
        return Partition(_timestamp(reader.text("partition", ARRIVAL), where, faults))
    first, *rest = value or [None]
    path = None
    if isinstance(first, dict):
        table = TomlReader(first, f"{where}[0]", faults)
        path = _timestamp(table.text(DATE), table.place(DATE), faults)
        table.done()
    elif first != DATE:
        faults.append(Fault(f"{where}[0]", f"{_FIRST}, got {_shown(first)}"))
    has_hours = bool(rest) and rest[0] == HOUR
    fields = tuple(_declared(rest[has_hours:], where, has_hours + 1, faults))
    if len(fields) > _MOST_FIELDS:
        faults.append(Fault(where, f"expected at most {_MOST_FIELDS} fields, got {len(fields)}"))
    names = [field.name for field in fields]
    for name in sorted({name for name in names if names.count(name) > 1 or name in {DATE, HOUR}}):
        faults.append(Fault(where, f"expected folders of different names, got {name!r} twice"))
    return Partition(path, has_hours, fields)


def _timestamp(text: str, where: str, faults: list[Fault]) -> Path | None:
    """Read `arrival` or the dotted path of a timestamp field, e.g. `Agent.ConnectedToAgentTimestamp`."""
    if text in {ARRIVAL, ""}:  # an empty text has its fault already
        return None
    if not (_FIELD.fullmatch(text) and is_field_name(text) and text.count(".") < DEEPEST):
        what = f"expected {ARRIVAL!r} or a dotted field name of at most {DEEPEST} names, got {text!r}"
        faults.append(Fault(where, what))
        return None
    if text.lower() == ARRIVAL:
        faults.append(Fault(where, f"expected {ARRIVAL!r} in lower case, or a field, got {text!r}"))
    elif text in {DATE, HOUR}:
        faults.append(
            Fault(where, f"expected {ARRIVAL!r} or a field, got {text!r}; did you mean [{DATE!r}, {HOUR!r}]?")
        )
    return tuple(text.split("."))


def _declared(elements: Sequence[object], where: str, start: int, faults: list[Fault]) -> Iterator[Declared]:
    for index, element in enumerate(elements, start=start):
        place = f"{where}[{index}]"
        if not isinstance(element, dict):
            hint = f"; {HOUR!r} comes right behind the date, once" if element == HOUR else ""
            faults.append(Fault(place, f"expected {{ field = ..., values = [...] }}, got {_shown(element)}{hint}"))
            continue
        reader = TomlReader(element, place, faults)
        field = reader.text("field")
        if field and not (_DECLARED_FIELD.fullmatch(field) and _FIELD.fullmatch(field)):
            what = f"expected a dotted field name of at most 64 letters, digits, _, - and :, got {field!r}"
            reader.fault("field", what)
        yield Declared(tuple(field.split(".")), _values(reader))
        reader.done()


def _values(reader: TomlReader) -> tuple[str, ...]:
    values: Any = reader.get("values")
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_VALUES:
        found = f"{len(values)}" if isinstance(values, list) else kind_of(values) if values is not None else "nothing"
        reader.fault("values", f"expected an array of 1 to {_MOST_VALUES} texts, got {found}")
        return ()
    for index, value in enumerate(values):
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            what = f"expected up to 64 letters, digits, _ and -, since it stands in object keys, got {_shown(value)}"
            reader.fault(f"values[{index}]", what)
        elif value == OTHER:
            reader.fault(f"values[{index}]", f"expected no {OTHER!r}: what is not declared is stored there")
        elif value in values[:index]:
            reader.fault(f"values[{index}]", f"expected each once, got {value!r} twice")
    return tuple(value for value in values if isinstance(value, str))


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    return repr(value) if isinstance(value, str) else "nothing" if value is None else kind_of(value)
