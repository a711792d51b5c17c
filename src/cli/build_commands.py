"""Commands to plan, change or try a stack: `template`, `cost` and `env`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.shared import Profile, Region, RoutesFile, fail, refuse, session_of, table_of
from cli.stack_function import StackFunctionError, name_of
from cost import estimate
from infrastructure.refresh import refresh
from routing.errors import ConfigurationError

app = typer.Typer()


@app.command(epilog="Example: ctr-fanout template --check template.yaml")
def template(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files with cog blocks.")] = None,
    *,
    is_check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a block is out of date.")] = False,
) -> None:
    """Refresh the blocks that derive from routes.toml, by default those of template.yaml."""
    paths = files or [Path("template.yaml")]
    for path in paths:
        if not path.is_file():
            fail(f"{path}: expected a file with cog blocks, got none; run it where template.yaml is")
    table_of(None)
    if not refresh(paths, is_check=is_check):
        fail("the blocks are out of date; run `make template`")


@app.command(epilog="Example: ctr-fanout cost --records-per-second 10 --routes-number 5")
def cost(
    *,
    records_per_second: Annotated[float, typer.Option(min=0.001, help="On average over the month.")],
    record_bytes: Annotated[int, typer.Option(min=1, help="Of one record.")] = 2300,
    routes_number: Annotated[
        int | None, typer.Option("--routes-number", min=1, help="By default those of routes.toml.")
    ] = None,
    routes_per_record: Annotated[float, typer.Option(min=0, help="How many routes a record takes, on average.")] = 2.0,
    window: Annotated[int, typer.Option(min=0, max=300, help="BatchWindowSeconds.")] = 60,
    shards: Annotated[int, typer.Option(min=1, help="Open shards of the stream.")] = 4,
    places: Annotated[
        float, typer.Option(min=1.0, help="Kinds, dates and other folders that one batch of a route is spread over.")
    ] = 1.0,
    lean: Annotated[bool, typer.Option("--lean", help="With Metrics=lean.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="With Parquet=on.")] = False,
    region: Annotated[str, typer.Option(help=f"Whose prices: {' or '.join(estimate.REGIONS)}.")] = estimate.REGIONS[0],
    prices: Annotated[Path | None, typer.Option(help="Prices of yours, in the shape of src/cost/prices.toml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Estimate what a month costs, line by line, beside one Firehose per key."""
    table = table_of(routes_file)
    if region not in estimate.REGIONS:
        fail(f"--region {region!r}: expected {' or '.join(estimate.REGIONS)}; for another Region give --prices FILE")
    try:
        of_prices, label = estimate.read_prices(prices, region)
    except ConfigurationError as err:
        refuse(str(prices), err.faults)
    load = estimate.Load(
        records_per_second=records_per_second,
        record_bytes=record_bytes,
        routes=routes_number or len(table.routes),
        protection_keys=len(table.protection_keys) if routes_number is None else 0,
        routes_per_record=routes_per_record,
        window_seconds=window,
        shards=shards,
        places=places,
        is_lean=lean,
        has_columns=parquet,
    )
    both = {
        "ctr-fanout": estimate.of_fan_out(load, of_prices),
        "one Firehose per key": estimate.of_firehose(load, of_prices),
    }
    if as_json:
        typer.echo(json.dumps({name: [asdict(item) for item in items] for name, items in both.items()}))
        return
    for name, items in both.items():
        shown = Table(box=None, pad_edge=False, title=name, title_justify="left", title_style="bold")
        for heading in ("what", "how many", "of what", "USD a month"):
            shown.add_column(heading, justify="left" if heading in {"what", "of what"} else "right")
        for item in items:
            shown.add_row(item.what, f"{item.amount:,.1f}", item.formula, f"{item.usd:,.2f}")
        shown.add_row("together", "", "", f"{estimate.total(items):,.2f}", style="bold")
        Console(width=120, highlight=False).print(shown)
    typer.echo(f"prices of {label}; an estimate: check the prices before you rely on it")


@app.command("env", epilog="Example: ctr-fanout env --stack ctr-fanout")
def env_(
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Print the deployed function's environment for `sam local invoke --env-vars`; docs/sam.md shows it.

    With it the function on this machine reads and writes what the deployed one does.
    """
    session = session_of(region, profile)
    try:
        name = name_of(stack, session.client, "FanOutFunction", "deploy the stack first")
    except StackFunctionError as err:
        fail(str(err))
    configuration = session.client("lambda").get_function_configuration(FunctionName=name)
    variables = dict(configuration["Environment"]["Variables"])
    variables["AWS_ENDPOINT_URL"] = os.environ.get("AWS_ENDPOINT_URL", "")
    typer.echo(json.dumps({"Parameters": variables}, indent=2))
