"""Athena on one machine: delivered objects, the tables of the template, and DuckDB in the place of Athena's engine.

The SQL is Athena's, translated by sqlglot. What has no like there is made of what there is: `"$path"` is the file's
name, and the partition `day` is read from it.
"""

import re
from pathlib import Path
from typing import Any

import duckdb
import sqlglot


class Lake:
    """Tables over a folder that stands for the bucket."""

    def __init__(self, folder: Path) -> None:
        """Open an empty database over a folder."""
        self._folder = folder
        self._engine = duckdb.connect()
        self._engine.execute("SET TimeZone = 'UTC'")  # as Athena's sessions have it

    def add_lines(self, name: str, location: str) -> None:
        """Make a table of the lines below a prefix, e.g. `departments/orders/contact_record/`, as LazySimpleSerDe does."""
        files = f"{self._folder}/{location}date=*/*.ndjson.gz"
        how = "columns={'record': 'VARCHAR'}, header=false, auto_detect=false, delim='\x01', quote='', escape='', "
        source = f"read_csv('{files}', {how} max_line_size=40000000, filename=true)"
        day = "regexp_extract(filename, 'date=([0-9-]+)', 1)"
        self._engine.execute(f'CREATE VIEW {name} AS SELECT record, filename AS "$path", {day} AS day FROM {source}')

    def add_view(self, name: str, sql: str) -> None:
        """Make a view of Athena's SQL."""
        self._engine.execute(f"CREATE VIEW {name} AS {_translated(sql)}")

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """Run Athena's SQL; return a row as a dictionary."""
        found = self._engine.execute(_translated(sql))
        names = [column[0].lower() for column in found.description or []]  # as Athena tells them
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _translated(sql: str) -> str:
    """Translate, and let every day count: the samples are older than a week."""
    every_day = re.sub(r"day BETWEEN date_format\(.*?'%Y-%m-%d'\) AND date_format\(.*?'%Y-%m-%d'\)", "day >= ''", sql)
    (made,) = sqlglot.transpile(every_day, read="athena", write="duckdb")
    return made
