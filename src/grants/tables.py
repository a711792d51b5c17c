"""The matrix for people and programs: a table, JSON objects, and the Markdown of docs/grants.md."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.table import Table

from grants.row import Row


def is_asked(row: Row, principal: str, section: str) -> bool:
    """Return True if a row is about a caller and a section; an empty one means any."""
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
        lines: dict[tuple[str, ...], list[str]] = {}
        count = 0
        for count, row in enumerate(found, start=1):  # noqa: B007 - the last one is the number of rows
            verdict = "allow" if row.is_allowed else "**deny**"
            rest = (_actions(row, "<br>"), row.request.on, _how(row), verdict, row.why)
            lines.setdefault(rest, []).append(row.who.label)
        yield f"<details><summary><b>{section}</b>: {count} rows</summary>\n"
        yield "| who | does | on | how | | because |"
        yield "|---|---|---|---|---|---|"
        for shared, callers in lines.items():
            yield f"| {'<br>'.join(dict.fromkeys(callers))} | {' | '.join(shared)} |"
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


_LETTERS = {
    "kms:GenerateDataKey": "E",
    "kms:Decrypt": "D",
    "kms:GenerateMac": "T",
    "s3:PutObject": "W",
    "s3:GetObject": "R",
    "s3:DeleteObject": "X",
    "s3:ListBucket": "L",
    "kinesis:GetRecords": "R",
}


def summary(rows: Iterable[Row]) -> Iterator[str]:
    """Return who may do what where as one Markdown table: callers down, places across.

    Letters are those of `docs/grants.md`; denials and rows with an assumption are left out.
    """
    allowed = [row for row in rows if row.is_allowed and not row.assuming]
    cells: dict[tuple[str, str], set[str]] = {}
    for row in allowed:
        letters = {_LETTERS[action] for action in row.request.actions if action in _LETTERS}
        if letters:
            cells.setdefault((row.who.label, _place(row)), set()).update(letters)
    callers = list(dict.fromkeys(caller for caller, _ in cells))
    places = sorted({place for _, place in cells}, key=_upstream_first)
    yield f"| | {' | '.join(places)} |"
    yield f"|---|{'---|' * len(places)}"
    for caller in callers:
        found = ("".join(sorted(cells.get((caller, place), ()))) for place in places)
        yield f"| **{caller}** | {' | '.join(found)} |"


def _place(row: Row) -> str:
    """Return the place that a request is about: the stream, the bucket, or a prefix of it."""
    context = row.request.context
    named = context.get("kms:EncryptionContext:aws:s3:arn", row.request.resource)
    if "s3:prefix" in context:
        return str(context["s3:prefix"]).removeprefix("/") or "the bucket"
    if "aws:kinesis:arn" in "".join(context):
        return "the stream"
    below = str(named).partition(":::")[2].partition("/")[2].rpartition("/date=")[0]
    return f"{below}/" if below else row.request.on


def _upstream_first(place: str) -> tuple[int, str]:
    order = {"the stream": 0, "the bucket": 8, "dead-letter/": 5, "aws/lambda/": 6, "archive/": 7}
    return order.get(place, 1), place
