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
from routing.explain import KIND_HINT, Explanation, explain
from routing.model import Kind
from routing.protection.paths import show_path
from routing.protection.presets import PRESETS
from routing.table.routes import RouteTable
from schema.known_fields import through_arrays, unknown_partition, unknown_paths

routes = typer.Typer(no_args_is_help=True, help="Check routes.toml and try records on it.")


@routes.command()
def check(routes_file: RoutesFile = None) -> None:
    """Validate the file and its patterns, and run the examples in it."""
    table = table_of(routes_file)
    faults = [*failing_examples(table), *faults_of_size(table), *_blind_rules(table)]
    if faults:
        refuse(str(routes_file or "routes.toml"), faults)
    shown = Table(box=None, pad_edge=False)
    for heading in ("route", "takes", "prefix", "dated by", "examples"):
        shown.add_column(heading, no_wrap=True)
    for route in table.routes:
        dated_by = ".".join(route.partition.path or ("arrival",))
        kinds = ", ".join(sorted(route.kinds)) or "what no other route takes"
        shown.add_row(route.name, kinds, f"{route.prefix}/", dated_by, f"{len(route.examples)} hold")
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
        if (unknown := unknown_partition(route)) is not None:
            field, near = unknown
            typer.echo(
                f"warning: route {route.name!r}: partition: {field} is no known field, so every record is dated by its "
                f"arrival; did you mean {near}?",
                err=True,
            )


def _blind_rules(table: RouteTable) -> Iterator[Fault]:
    for route in table.routes:
        for path, meant in through_arrays(route):
            what = f"path {path!r} protects nothing, since an array is on its way; did you mean {meant}?"
            yield Fault(f"route {route.name!r}: protect", what)


@routes.command()
def presets() -> None:
    """Print the lists of paths that rules may name as @<preset>."""
    for preset in PRESETS.values():
        typer.echo(f"@{preset.name}: {preset.about}")
        for path in preset.read:
            typer.echo(f"  {show_path(path)}")


@routes.command("try")
def try_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Records, JSON Lines or Lambda events; - is stdin.")
    ],
    *,
    routes_file: RoutesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a record.")] = False,
) -> None:
    """Show which routes each record takes and why not the others. Nothing is sent."""
    table = table_of(routes_file)
    for file in files:
        try:
            data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            explanations = list(explain(data, str(file), table))
        except (OSError, EventError) as err:
            fail(f"{file}: {err.strerror if isinstance(err, OSError) else err}")
        for explanation in explanations:
            if as_json:
                typer.echo(json.dumps(explanation.as_json(), ensure_ascii=False))
            else:
                _print(explanation)


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
