"""The examples of docs/analysis.md: each query with its result on the samples; `test_page.py` holds them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infrastructure.analysis.queries import SAVED_QUERIES, sql_of
from routing.model import Kind

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"
_EXAMPLE = re.compile(
    r"(?P<head><!-- example: (?P<name>[^>]+) -->\n```sql\n)(?P<sql>.*?)(?P<middle>```\n\n```text\n)(?P<result>.*?)```",
    re.DOTALL,
)
_VIEWS = {
    Kind.CONTACT_RECORD: "analytics_contact_record",
    Kind.AGENT_EVENT: "workforce_agent_event",
    Kind.CONTACT_LENS_SEGMENT: "speech_contact_lens_segment",
}
_ROWS = 3
_WIDTH = 36


def examples(lake: Any) -> Iterator[tuple[str, str]]:
    """Yield each example as the page has it, and as it should be."""
    page = PAGE.read_text(encoding="utf-8")
    saved = {query.name: sql_of(query, _VIEWS[query.kind]) for query in SAVED_QUERIES}
    for found in _EXAMPLE.finditer(page):
        sql = saved.get(found["name"], found["sql"])
        yield found[0], f"{found['head']}{sql}{found['middle']}{_shown(lake.ask(sql))}```"


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    """Write the first rows as aligned columns."""
    assert rows
    cells = [list(rows[0]), *([_short(value) for value in row.values()] for row in rows[:_ROWS])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "".join(f"{line}\n" for line in lines) + ("...\n" if len(rows) > _ROWS else "")


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _WIDTH else f"{text[:12]}...{text[-20:]}"
