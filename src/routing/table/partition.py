"""Partition: the date of the prefix below which a record is stored, by arrival or by a timestamp of the record.

A record that lacks the timestamp, or has one that is no date, falls back to its arrival. Only a validated
date enters an object key.
"""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from routing.errors import Fault
from routing.fields import DEEPEST, Path, is_field_name, scalars_at
from routing.model import Record

ARRIVAL = "arrival"
_FIELD = re.compile(r"[^.\s]+(\.[^.\s]+)*")
# A time of day that no clock shows is no timestamp; 60 is a leap second.
_TIMESTAMP = re.compile(r"(2[0-9]{3}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?Z")
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Partition:
    """How a route dates its records.

    Attributes:
        path: The timestamp's field; None dates by arrival.
    """

    path: Path | None

    @property
    def paths(self) -> frozenset[Path]:
        """The field to decode, if any."""
        return frozenset() if self.path is None else frozenset({self.path})

    def date_of(self, record: Record) -> str:
        """Return the date below which a record is stored, UTC, e.g. `2026-03-02`."""
        if self.path is not None and (day := self.own_date_of(record)) is not None:
            return day
        return _date_at(record.arrived_at // _DAY_SECONDS)

    def own_date_of(self, record: Record) -> str | None:
        """Return the date in the record's own timestamp; None if it has none and its arrival counts."""
        found = [] if self.path is None else scalars_at(record.fields, self.path)
        return _date_in(found[0]) if len(found) == 1 and type(found[0]) is str else None


def compile_partition(text: str, where: str, faults: list[Fault]) -> Partition:
    """Read `arrival` or the dotted path of a timestamp field, e.g. `Agent.ConnectedToAgentTimestamp`."""
    if text == ARRIVAL:
        return Partition(None)
    if not (_FIELD.fullmatch(text) and is_field_name(text) and text.count(".") < DEEPEST):
        faults.append(
            Fault(where, f"expected {ARRIVAL!r} or a dotted field name of at most {DEEPEST} names, got {text!r}")
        )
        return Partition(None)
    if text.lower() == ARRIVAL:
        faults.append(Fault(where, f"expected {ARRIVAL!r} in lower case, or a field, got {text!r}"))
    return Partition(tuple(text.split(".")))


@functools.lru_cache(maxsize=4096)
def _date_at(day: float) -> str:
    return datetime.fromtimestamp(day * _DAY_SECONDS, UTC).date().isoformat()


def _date_in(text: str) -> str | None:
    """Return the date of a timestamp as Connect writes it, `yyyy-MM-ddTHH:mm:ss[.SSS]Z`; None if it is none."""
    match = _TIMESTAMP.fullmatch(text)
    return _valid_date(match[1]) if match else None


@functools.lru_cache(maxsize=4096)
def _valid_date(text: str) -> str | None:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None
