"""The `ctr-fanout` command. Each group of commands has a file; to add a command, add a function to one of them."""

from importlib.metadata import version as version_of
from typing import Annotated

import typer

from cli import build_commands, delivery_commands, grant_commands, record_commands
from cli.connect_commands import connect
from cli.failures import Commands
from cli.routes_commands import routes


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"ctr-fanout {version_of('ctr-fanout')}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Operate ctr-fanout.",
)


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.add_typer(routes, name="routes")
app.add_typer(connect, name="connect")
for commands in (build_commands, grant_commands, delivery_commands, record_commands):
    app.add_typer(commands.app)
