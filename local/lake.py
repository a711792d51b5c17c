"""Athena on one machine: delivered objects, the tables of the template, and DuckDB in the place of Athena's engine.

The SQL is Athena's, translated by sqlglot. What has no like there is made of what there is: `"$path"` is the file's
name, and the partition `day` is read from it.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import sqlglot

from infrastructure.analysis.queries import (
    SavedQuery,
    all_sql,
    folder_column,
    latest_sql,
    lines_sql,
    queries_for,
    view_columns,
    view_sql,
)
from routing.model import Kind
from routing.stored.parts import folder_of, until_key
from routing.table.routes import Route, RouteTable
from schema.columns import columns_of, tables_of

_OF_TABLES = (".ndjson.gz", ".parquet", "/until/day.txt")


class Lake:
    """Tables over a folder that stands for the bucket."""

    def __init__(self, folder: Path) -> None:
        """Open an empty database over a folder.

        `queries` are the saved ones that each view can answer; `columns` the views that read columns as well.
        """
        self._folder = folder
        self._engine = duckdb.connect()
        self._engine.execute("SET TimeZone = 'UTC'")  # as Athena's sessions have it
        self.queries: dict[str, list[SavedQuery]] = {}
        self.columns: set[str] = set()

    def add_lines(self, name: str, location: str, folders: Iterable[str] = ()) -> None:
        """Make a table of the lines below a prefix, e.g. `departments/orders/contact_record/`, as LazySimpleSerDe does."""
        files = f"{self._folder}/{location}date=*/**/*.ndjson.gz"
        how = "columns={'record': 'VARCHAR'}, header=false, auto_detect=false, delim='\x01', quote='', escape='', "
        source = f"read_csv('{files}', {how} max_line_size=40000000, filename=true)"
        day = "regexp_extract(filename, 'date=([0-9-]+)', 1)"
        below = "".join(
            f", regexp_extract(filename, '/{folder}=([^/]+)/', 1) AS {folder_column(folder)}" for folder in folders
        )
        shown = f'record, filename AS "$path", {day} AS day{below}'
        self._engine.execute(f"CREATE VIEW {name} AS SELECT {shown} FROM {source}")  # noqa: S608 - names of ours

    def add_columns(self, name: str, location: str, folders: Iterable[str] = ()) -> None:
        """Make a table of the Parquet files below a folder, e.g. `departments/orders/parquet/contact_record/`."""
        below = "".join(
            f", regexp_extract(filename, '/{folder}=([^/]+)/', 1) AS {folder_column(folder)}" for folder in folders
        )
        files = f"{self._folder}/{location}date=*/**/*.parquet"
        day = "regexp_extract(filename, 'date=([0-9-]+)', 1) AS day"
        shown = f"* EXCLUDE (filename), {day}{below}"
        self._engine.execute(f"CREATE VIEW {name} AS SELECT {shown} FROM read_parquet('{files}', filename=true)")  # noqa: S608 - names of ours

    def add_view(self, name: str, sql: str) -> None:
        """Make a view of Athena's SQL."""
        self._engine.execute(f"CREATE VIEW {name} AS {_translated(sql)}")

    def count(self, sql: str) -> int:
        """Run Athena's SQL to its end, without making a value of Python of any; return the number of rows."""
        return int(self._engine.sql(_translated(sql)).to_arrow_table().num_rows)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """Run Athena's SQL; return a row as a dictionary."""
        found = self._engine.execute(_translated(sql))
        names = [column[0].lower() for column in found.description or []]  # as Athena tells them
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def download(s3: Any, bucket: str, folder: Path) -> None:  # noqa: ANN401 - as boto3.client
    """Copy what is delivered; a person would need a reader's role for each prefix."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            if entry["Key"].endswith(_OF_TABLES) and "dead-letter" not in entry["Key"]:
                file = folder / entry["Key"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())


def _translated(sql: str) -> str:
    """Translate, and let every day count: the samples are older than a week."""
    every_day = re.sub(r"day BETWEEN date_format\(.*?'%Y-%m-%d'\) AND date_format\(.*?'%Y-%m-%d'\)", "day >= ''", sql)
    (made,) = sqlglot.transpile(every_day, read="athena", write="duckdb")
    return made


def lake_of(folder: Path, table: RouteTable) -> Lake:
    """Return the tables and views of the template, of those routes and kinds that the folder has objects of."""
    made = Lake(folder)
    for route in table.routes:
        for kind, name in tables_of(route, table):
            columns, folders = columns_of(route, kind), route.partition.folders
            if not columns or not (folder / route.prefix / kind).exists():
                continue
            made.add_lines(f"{name}_lines", f"{route.prefix}/{kind}/", folders)
            made.add_view(f"{name}_json", view_sql(columns, f"{name}_lines", folders))
            made.add_view(name, _all(made, folder, route, kind, name))
            made.queries[name] = list(queries_for(kind, columns))
            if (latest := latest_sql(kind, columns, name, folders)) is not None:
                made.add_view(f"{name}_latest", latest)
    return made


def _all(made: Lake, folder: Path, route: Route, kind: Kind, name: str) -> str:
    """Return the SQL of the view of all records, over columns as well if there are any."""
    columns, folders = columns_of(route, kind), route.partition.folders
    below, until = folder_of(route.prefix, kind), folder / until_key(route.prefix, kind)
    if not any((folder / below).glob("date=*")):
        return lines_sql(view_columns(columns, folders), name)
    made.add_columns(f"{name}_parquet", below, folders)
    made.columns.add(name)
    # Athena prunes by the answer of a subquery; DuckDB by a constant only.
    day = until.read_text(encoding="utf-8").strip() if until.exists() else ""
    return all_sql(columns, name, folders, bucket=str(folder), until=f"'{day}'")
