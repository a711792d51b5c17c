"""`make query`: a saved query on what the stack of `make up` has delivered, by DuckDB in the place of Athena.

python -m local.query                                 the names of all saved queries
python -m local.query "Abandoned by queue" [ROUTE]    its rows, on the first route that can answer it
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aws.route_file import shipped_routes
from infrastructure.analysis.queries import SAVED_QUERIES, SavedQuery, sql_of
from local.emulator import Emulator
from local.lake import download, lake_of
from local.up import NotUpError, deployed_on, running
from schema.columns import tables_of

_MOST_ROWS = 20


def main(arguments: list[str]) -> int:
    """Run one query; return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not arguments:
        for query in SAVED_QUERIES:
            console.print(f"{query.name}: {query.about}", markup=False)
        return 0
    name, *route = arguments
    found = [query for query in SAVED_QUERIES if query.name.lower() == name.lower()]
    if not found:
        console.print(f"{name!r}: expected one of {', '.join(query.name for query in SAVED_QUERIES)}", markup=False)
        return 1
    try:
        up = running()
    except NotUpError as err:
        console.print(str(err), style="red")
        return 1
    return _answer(console, up, found[0], route[0] if route else "")


def _answer(console: Console, up: Emulator, query: SavedQuery, name: str) -> int:
    table = shipped_routes()
    views = {view: route for route in table.routes for kind, view in tables_of(route, table) if kind is query.kind}
    with tempfile.TemporaryDirectory() as folder:
        download(up.client("s3"), deployed_on(up).bucket, Path(folder))
        lake = lake_of(Path(folder), table)
        able = [view for view, route in views.items() if query in lake.queries.get(view, ())]
        view = next((one for one in able if name in {"", views[one].name}), None)
        if view is None:
            routes = ", ".join(views[one].name for one in able) or "no route yet; make traffic"
            console.print(f"{query.name!r} can be answered by {routes}", markup=False)
            return 1
        rows = lake.ask(sql_of(query, view))
    console.print(answer_of(query, view, rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        console.print(f"and {len(rows) - _MOST_ROWS} more rows")
    return 0


def answer_of(query: SavedQuery, view: str, rows: list[dict[str, Any]]) -> Table:
    """Return the rows that a query has answered with, to print."""
    shown = Table(title=f"{query.name}, on {view}")
    for column in rows[0] if rows else ("no rows",):
        shown.add_column(column)
    for row in rows:
        shown.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
