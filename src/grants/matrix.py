"""The grant matrix: every row is a request, what AWS has to answer, and why.

`tests/grants` evaluates it on the template's real policies with two engines, takes everything out of them in
turn and lets more in: some row here has to notice. So a row that looks redundant may be the only one that
is a line of the template.
"""

from grants.nothing_else import nothing_else
from grants.of_options import rows_of_options
from grants.of_protection import rows_of_protection
from grants.of_routes import rows_of_route
from grants.of_stack import rows_of_stack
from grants.of_watch import rows_of_watch
from grants.row import Row
from grants.stack import Stack
from routing.table.routes import RouteTable


def matrix(table: RouteTable, stack: Stack) -> list[Row]:
    """Return all rows of a stack: the fixed part, those of each route, and that nothing else is allowed."""
    following = (*table.routes[1:], table.routes[0])
    rows = [
        *rows_of_stack(table, stack),
        *rows_of_options(table, stack),
        *(
            row
            for route, other in zip(table.routes, following, strict=True)
            for row in rows_of_route(stack, route, other)
        ),
        *rows_of_protection(table, stack),
        *rows_of_watch(table, stack),
    ]
    return [*rows, *nothing_else(table, stack, rows)]
