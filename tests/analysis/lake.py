"""Athena on one machine: delivered objects, the tables of the template, and DuckDB in the place of Athena's engine.

The SQL is Athena's, translated by sqlglot. What has no like there is made of what there is: `"$path"` is the file's
name, and the partition `day` is read from it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import sqlglot

from schema.columns import JSON, Tree

_TYPES = {"string": "VARCHAR", "bigint": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", JSON: "JSON"}


class Lake:
    """Tables over a folder that stands for the bucket."""

    def __init__(self, folder: Path) -> None:
        """Open an empty database over a folder."""
        self._folder = folder
        self._engine = duckdb.connect()

    def add_table(self, name: str, location: str, columns: Mapping[str, Tree]) -> None:
        """Make a table of the objects below a prefix, e.g. `departments/orders/contact_record/`."""
        typed = ", ".join(f"'{column}': '{_type(tree)}'" for column, tree in columns.items())
        files = f"{self._folder}/{location}date=*/*.ndjson.gz"
        source = f"read_json('{files}', format='newline_delimited', columns={{{typed}}}, filename=true)"
        day = "regexp_extract(filename, 'date=([0-9-]+)', 1)"
        self._engine.execute(
            f'CREATE VIEW {name} AS SELECT * EXCLUDE (filename), filename AS "$path", {day} AS day FROM {source}'
        )

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


def _type(tree: Tree) -> str:
    if isinstance(tree, str):
        return _TYPES[tree]
    if "*" in tree:
        return f"{_type(tree['*'])}[]"
    fields = ", ".join(f'"{name}" {_type(below)}' for name, below in tree.items())
    return f"STRUCT({fields})"
