"""The matrix for people and programs: a table, JSON objects, and the Markdown of docs/grants.md."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.table import Table

from cli.grants.matrix import Row


def is_asked(row: Row, principal: str, section: str) -> bool:
    """Tell whether a row is about a caller and a section; an empty one means any."""
    return principal.lower() in {"", row.who.label.lower()} and section.lower() in {"", row.section.lower()}


def as_object(row: Row) -> dict[str, object]:
    """Return a row as a JSON object."""
    return {
        "section": row.section,
        "principal": row.who.label,
        "actions": list(row.request.actions),
        "on": row.request.on,
        "how": row.request.how,
        "assuming": row.assuming,
        "decision": "allow" if row.is_allowed else "deny",
        "why": row.why,
        "resource": row.request.resource,
        "context": {**row.who.context, **row.request.context},
    }


def as_table(rows: Iterable[Row]) -> Table:
    """Return rows as a table for a terminal."""
    table = Table(box=None, pad_edge=False)
    for heading in ("who", "does", "on", "how", "", "because"):
        table.add_column(heading)
    for section, found in groupby(rows, key=lambda row: row.section):
        table.add_row(f"[bold]{section}[/bold]")
        for row in found:
            verdict = "[green]allow[/green]" if row.is_allowed else "[red]deny[/red]"
            table.add_row(row.who.label, _actions(row), row.request.on, _how(row), verdict, row.why)
    return table


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """Return rows as Markdown lines, a table for each section."""
    for section, found in groupby(rows, key=lambda row: row.section):
        lines = list(found)
        yield f"<details><summary><b>{section}</b>: {len(lines)} rows</summary>\n"
        yield "| who | does | on | how | | because |"
        yield "|---|---|---|---|---|---|"
        for row in lines:
            verdict = "allow" if row.is_allowed else "**deny**"
            yield f"| {row.who.label} | {_actions(row, '<br>')} | {row.request.on} | {_how(row)} | {verdict} | {row.why} |"
        yield "\n</details>\n"


def _actions(row: Row, by: str = "\n") -> str:
    """Return the actions; of many only how many, since they get one answer."""
    few = 7
    first, *others = row.request.actions
    if len(others) < few:
        return by.join(row.request.actions)
    return f"{first} and {len(others)} more"


def _how(row: Row) -> str:
    return "; ".join(part for part in (row.request.how, f"if: {row.assuming}" if row.assuming else "") if part)
