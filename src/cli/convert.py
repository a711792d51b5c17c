"""The `convert` command: asks the stack's function that makes columns, route by route, and prints what was made."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.stack_function import Ask, StackFunctionError

FUNCTION = "ConvertFunction"
CURE = "deploy with Parquet=on to have one"
_MOST_SHOWN = 20


def slices(ask: Ask, route: str, **request: object) -> Iterator[Mapping[str, Any]]:
    """Ask for one route until everything was looked at.

    Raises:
        StackFunctionError: The function comes no further.
    """
    after = None
    while True:
        done = ask({"route": route, **request, "after": after})
        yield done
        if done["next"] is None:
            return
        if done["next"] == after and not any(not result["blocked_by"] for result in done["results"]):
            raise StackFunctionError(f"convert: {route}: the function comes no further than {after}; see its log")
        after = done["next"]


def run(routes: Iterable[str], ask: Ask, console: Console, *, apply: bool) -> int:
    """Make the columns of routes, or tell which parts would be made; return 1 if one could not be."""
    table = Table(box=None, pad_edge=False)
    for heading in ("route", "parts", "records", "without columns", "complete until"):
        table.add_column(heading, justify="left" if heading in {"route", "complete until"} else "right")
    left: list[Mapping[str, Any]] = []
    count = 0
    for route in routes:
        with console.status(f"convert {route}"):
            done = list(slices(ask, route, apply=apply))
        made = [result for one in done for result in one["results"]]
        left += [result for result in made if result["blocked_by"]]
        good = [result for result in made if not result["blocked_by"]]
        count += len(good)
        days = {kind: day for one in done for kind, day in one["until"].items()}
        until = ", ".join(sorted({day or "no day yet" for day in days.values()}))
        records, refused = (sum(result[name] for result in good) for name in ("records", "refused"))
        table.add_row(route, str(len(good)), str(records), str(refused), until)
    console.print(table)
    for result in left[:_MOST_SHOWN]:
        console.print(f"left: {result['key']}: {result['blocked_by']}", markup=False, soft_wrap=True)
    if len(left) > _MOST_SHOWN:
        console.print(f"and {len(left) - _MOST_SHOWN} more are left")
    verb = "were made" if apply else "would be made; --apply does it"
    console.print(f"{count} parts {verb}{f', {len(left)} are left' if left else ''}", markup=False)
    return int(bool(left))
