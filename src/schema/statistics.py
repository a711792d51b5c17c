"""Which columns of a file may tell their least and greatest value: those that say nothing of a person.

Statistics stand at the end of a file, and tools show them to whoever lists a table. They are of numbers, truth values
and times, and of a few fields by which queries choose; never of what the widest preset or a route's rules protect, and
never of a field that may have any shape.
"""

from collections.abc import Callable

from routing.protection.paths import ANY, DEEP, FieldPath
from routing.protection.presets import PRESETS
from routing.protection.rules import Action
from routing.table.routes import Route
from schema.columns import JSON, STRING, Column

_WIDEST = "aws-sensitive/2"
_CHOSEN_BY = frozenset(
    {
        ("ContactId",),
        ("Channel",),
        ("InitiationMethod",),
        ("Queue", "Name"),
        ("EventType",),
        ("EventId",),
        ("AgentARN",),
    }
)


def told_by(route: Route) -> Callable[[Column], bool]:
    """Return what tells whether statistics of a route's columns may show the values of one."""
    ruled = [path for rule in route.rules if rule.action is not Action.KEEP for path in rule.paths]
    paths = [*PRESETS[_WIDEST].read, *ruled]

    def is_told(column: Column) -> bool:
        if column.type == JSON or any(_meets(path, column.path) for path in paths):
            return False
        return column.type != STRING or column.path in _CHOSEN_BY or column.path[-1].endswith("Timestamp")

    return is_told


def _meets(path: FieldPath, field: tuple[str, ...]) -> bool:
    """Return True if a rule's path meets a field, or something that the field is in."""
    if not path:
        return True
    if path[0] == DEEP:
        return any(_meets(path[1:], field[start:]) for start in range(len(field) + 1))
    return bool(field) and path[0] in {ANY, field[0]} and _meets(path[1:], field[1:])
