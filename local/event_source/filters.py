"""Filter criteria: which records Lambda hands over at all.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from routing.errors import Fault
from routing.fields import Node, node_type
from routing.table.pattern import Pattern, compile_pattern


@dataclass(frozen=True, slots=True)
class Filters:
    """Patterns on the data of a record, any of which lets it pass; without one everything passes."""

    patterns: tuple[Pattern, ...] = ()
    fields: Any = Node

    def passes(self, data: bytes) -> bool:
        """Tell whether a record is handed over.

        Lambda takes the data for JSON once a filter on it exists; what is none is dropped, and the iterator
        moves on.
        """
        if not self.patterns:
            return True
        try:
            fields = msgspec.json.decode(data, type=self.fields)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return any(pattern.matcher(fields, fields) for pattern in self.patterns)


NO_FILTERS = Filters()


def compile_filters(criteria: Sequence[Any]) -> Filters:
    """Compile `[{"data": {<pattern>}}, ...]`.

    Raises:
        ValueError: A filter is not of that form.
    """
    faults: list[Fault] = []
    patterns = []
    for index, one in enumerate(criteria):
        if not isinstance(one, dict) or list(one) != ["data"] or not isinstance(one["data"], dict):
            raise ValueError(f"Filters[{index}]: expected a pattern on the JSON in `data`; other keys filter nothing")
        patterns.append(compile_pattern(one["data"], f"Filters[{index}].data", faults))
    if faults:
        raise ValueError("; ".join(map(str, faults)))
    compiled = tuple(pattern for pattern in patterns if pattern is not None)
    paths = frozenset().union(*(pattern.paths for pattern in compiled))
    return Filters(compiled, node_type(paths))
