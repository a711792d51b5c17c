"""What docs/analysis.md quotes: the tables of the shipped routes, and the saved queries."""

from infrastructure.analysis.queries import SAVED_QUERIES, latest_sql, view_columns
from routing.table.routes import RouteTable
from schema.columns import columns_of, tables_of


def tables(table: RouteTable) -> str:
    """Return a table of the tables."""
    rows = [
        "| view | of each the newest | lines | with `Parquet=on` | columns | workgroup |",
        "|---|---|---|---|---|---|",
    ]
    for route in table.routes:
        for kind, name in tables_of(route, table):
            columns = columns_of(route, kind)
            view = f"`{name}`" if columns else ""
            latest = f"`{name}_latest`" if latest_sql(kind, columns, name, route.partition.folders) else ""
            count = len(view_columns(columns, route.partition.folders)) if columns else 1
            rows.append(
                f"| {view} | {latest} | `{name}_lines` | `{name}_parquet` | {count} | `ctr-fanout-{route.name}` |"
            )
    return "\n".join(rows) + "\n"


def queries() -> str:
    """Return a table of the saved queries."""
    rows = ["| query | of | what |", "|---|---|---|"]
    rows += [f"| {query.name} | `{query.kind}` | {query.about} |" for query in SAVED_QUERIES]
    return "\n".join(rows) + "\n"
