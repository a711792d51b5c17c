"""Typed getters over a TOML table that gather every fault with its path instead of stopping at the first."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import Struct, field

from routing.errors import Fault
from routing.table.operators import kind_of

_LARGEST_SHOWN = 10**30


class TomlReader(Struct):
    """Reads one table; `done` reports the keys that were not read.

    Attributes:
        table: What TOML read, e.g. `{"name": "orders", "prefix": "departments/orders"}`.
        where: Path of the table in its file, e.g. `route 'orders'`; empty at the top.
        faults: Shared by all readers of one file.
    """

    table: Mapping[str, Any]
    where: str
    faults: list[Fault]
    _asked: set[str] = field(default_factory=set)

    def place(self, key: str) -> str:
        """Return the path of a key, e.g. `route 'orders': prefix`."""
        if not self.where:
            return key
        return f"{self.where}.{key}" if "'" not in self.where.rpartition(":")[2] else f"{self.where}: {key}"

    def fault(self, key: str, what: str) -> None:
        """Add a fault of one key, or of the whole table where `key` is empty."""
        self.faults.append(Fault(self.place(key) if key else self.where, what))

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - TOML holds anything
        """Return the raw value of an optional key; None if it is absent."""
        self._asked.add(key)
        return self.table.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Read a string; without a default it has to be there and not be empty."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value:
            return value
        self.fault(key, f"expected a non-empty string, got {_found(value)}")
        return ""

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """Read a string that is one of `choices`."""
        known = tuple(choices)
        value = self.text(key, default)
        if value and value not in known:
            self.fault(key, f"expected one of {', '.join(known)}, got {value!r}")
        return value

    def texts(self, key: str, choices: Iterable[str]) -> tuple[str, ...]:
        """Read an array of strings, each one of `choices` and none twice."""
        known = tuple(choices)
        value = self.get(key)
        if not isinstance(value, list):
            self.fault(key, f"expected an array of {', '.join(known)}, got {_found(value)}")
            return ()
        for i, element in enumerate(value):
            if element not in known:
                found = repr(element) if isinstance(element, str) else kind_of(element)
                self.fault(f"{key}[{i}]", f"expected one of {', '.join(known)}, got {found}")
            elif element in value[:i]:
                self.fault(f"{key}[{i}]", f"expected each once, got {element!r} twice")
        return tuple(element for element in value if element in known)

    def integer(self, key: str, default: int, *, least: int, most: int) -> int:
        """Read a whole number within bounds, both included."""
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        found = shown_number(value) if isinstance(value, int) else kind_of(value)
        self.fault(key, f"expected a whole number from {least} to {most}, got {found}")
        return default

    def truth(self, key: str) -> bool:
        """Read a boolean that has to be there."""
        value = self.get(key)
        if not isinstance(value, bool):
            self.fault(key, f"expected true or false, got {_found(value)}")
        return value is True

    def below(self, key: str) -> "TomlReader":
        """Read a table; one that is absent or no table reads as empty, after its fault."""
        value = self.get(key)
        if not isinstance(value, dict) or not value:
            self.fault(key, f"expected a table that is not empty, got {_found(value)}")
            value = {}
        return TomlReader(value, self.place(key), self.faults)

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        """Read an array of tables; absent is empty."""
        value = self.get(key)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(element, dict) for element in value):
            return value
        self.fault(key, f"expected an array of tables, got {_found(value)}")
        return []

    def done(self, *others: str) -> None:
        """Add a fault for every key that nothing has asked for.

        Args:
            others: Keys that might have been asked for as well, if the table said something else.
        """
        known = sorted({*self._asked, *others})
        for key in self.table:
            if key not in self._asked:
                near = get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self.fault(key, f"expected one of {', '.join(known)}, got an unknown key{hint}")


def shown_number(value: int) -> str:
    """Return a number as text; Python writes none of more than 4,300 digits."""
    return repr(value) if abs(value) < _LARGEST_SHOWN else "a number that is much too large"


def _found(value: object) -> str:
    return "nothing" if value is None else kind_of(value)
