"""`ctr-fanout routes`: check a route table, and try records on it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.check import failing_examples
from cli.shared import RoutesFile, fail, new_console, refuse, table_of
from infrastructure.limits import faults_of_size
from routing.errors import EventError, Fault
from routing.explain import KIND_HINT, Explanation, explain, seen_by
from routing.fields import Scalar
from routing.model import Kind
from routing.protection.paths import show_path
from routing.protection.presets import PRESETS
from routing.table.operators import kind_of
from routing.table.routes import Route, RouteTable
from schema.known_fields import through_arrays, unknown_partition, unknown_paths

routes = typer.Typer(no_args_is_help=True, help="Check routes.toml and try records on it.")


@routes.command(epilog="Example: ctr-fanout routes check --routes my.toml")
def check(routes_file: RoutesFile = None) -> None:
    """Validate the file and its patterns, and run the examples in it."""
    table = table_of(routes_file)
    faults = [*failing_examples(table), *faults_of_size(table), *_blind_rules(table)]
    if faults:
        refuse(str(routes_file or "routes.toml"), faults)
    shown = Table(box=None, pad_edge=False)
    for heading in ("route", "takes", "prefix", "partition", "examples"):
        shown.add_column(heading, no_wrap=True)
    for route in table.routes:
        kinds = ", ".join(sorted(route.kinds)) or "what no other route takes"
        shown.add_row(route.name, kinds, f"{route.prefix}/", str(route.partition), f"{len(route.examples)} hold")
    Console(width=200, highlight=False).print(shown)
    for route in table.routes:
        for text in [rule.matching for rule in route.rules if "0-9" in rule.matching]:
            typer.echo(
                f"warning: route {route.name!r}: matching = {text!r} takes ASCII digits only, not full-width ones; "
                "\\d takes all",
                err=True,
            )
        for path, near in unknown_paths(route):
            typer.echo(f"warning: route {route.name!r}: {path} meets no known field; did you mean {near}?", err=True)
        for field, what, near in unknown_partition(route):
            typer.echo(
                f"warning: route {route.name!r}: partition: {field} is no known field, so every record is {what}; "
                f"did you mean {near}?",
                err=True,
            )


def _blind_rules(table: RouteTable) -> Iterator[Fault]:
    for route in table.routes:
        for path, meant in through_arrays(route):
            what = f"path {path!r} protects nothing, since an array is on its way; did you mean {meant}?"
            yield Fault(f"route {route.name!r}: protect", what)


@routes.command(epilog="Example: ctr-fanout routes presets")
def presets() -> None:
    """Print the lists of paths that rules may name as @<preset>."""
    for preset in PRESETS.values():
        typer.echo(f"@{preset.name}: {preset.about}")
        for path in preset.read:
            typer.echo(f"  {show_path(path)}")


@routes.command("try", epilog="Example: ctr-fanout routes try --show analytics events/records/contact-chat.json")
def try_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Records, JSON Lines or Lambda events; - is stdin.")
    ],
    *,
    routes_file: RoutesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a record.")] = False,
    show: Annotated[
        str | None, typer.Option(metavar="ROUTE", help="Print each record, and what this route would see of it.")
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="Show the values that do not match. Default: their types only.")
    ] = False,
) -> None:
    """Show which routes each record takes and why not the others. Nothing is sent."""
    table = table_of(routes_file)
    route = None if show is None else _route_named(show, table)
    for file in files:
        try:
            data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            explanations = list(explain(data, str(file), table, _as_json if values else kind_of))
            pairs = [] if route is None else list(seen_by(route, data, table))
        except (OSError, EventError) as err:
            fail(f"{file}: {err.strerror if isinstance(err, OSError) else err}")
        if route is not None:
            _print_seen(route, explanations, iter(pairs), as_json=as_json)
            continue
        for explanation in explanations:
            if as_json:
                typer.echo(json.dumps(explanation.as_json(), ensure_ascii=False))
            else:
                _print(explanation)


def _as_json(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)


def _route_named(name: str, table: RouteTable) -> Route:
    found = [route for route in table.routes if route.name == name]
    if not found:
        fail(f"--show: expected one of {', '.join(route.name for route in table.routes)}, got {name!r}")
    return found[0]


def _print_seen(
    route: Route, explanations: list[Explanation], pairs: Iterator[tuple[bytes, bytes | None]], *, as_json: bool
) -> None:
    for explanation in explanations:
        before, after = (None, None) if explanation.reason else next(pairs)
        if as_json:
            # As the bytes are: no number of a record may become another one here.
            head = json.dumps({"source": explanation.source, "number": explanation.number}, ensure_ascii=False)[:-1]
            record, seen = ("null" if line is None else line.decode() for line in (before, after))
            typer.echo(f'{head}, "record": {record}, {json.dumps(route.name)}: {seen}}}')
            continue
        console = new_console()
        console.print(f"{explanation.source}, record {explanation.number}:", style="bold", markup=False)
        if before is None:
            console.print(f"  dead letter, {explanation.reason}: {explanation.detail}", style="red", markup=False)
            continue
        width = max(len("record"), len(route.name))
        typer.echo(f"  {'record':<{width}}  {before.decode()}")
        if after is None:
            misses = "; ".join(explanation.misses.get(route.name, ("the [unmatched] policy sends it elsewhere",)))
            console.print(f"  not {route.name}: {misses}", style="dim", markup=False)
        else:
            typer.echo(f"  {route.name:<{width}}  {after.decode()}")


def _print(explanation: Explanation) -> None:
    console = new_console()
    console.print(f"{explanation.source}, record {explanation.number}: ", style="bold", end="", markup=False)
    if explanation.reason:
        console.print(f"dead letter, {explanation.reason}: {explanation.detail}", style="red", markup=False)
        return
    console.print(f"{explanation.kind}", markup=False)
    for name, prefix in zip(explanation.routes, explanation.prefixes, strict=True):
        console.print(f"  takes {name}: {prefix}", style="green", markup=False)
    if explanation.kind == Kind.OTHER:
        console.print(f"  is no record of Amazon Connect: {KIND_HINT}", style="dim", markup=False)
    if explanation.is_dropped:
        console.print("  dropped: no route takes it, and [unmatched] says so", style="yellow", markup=False)
    for name, misses in explanation.misses.items():
        for miss in misses:
            console.print(f"  not {name}: {miss}", style="dim", markup=False)
