"""The `ctr-fanout` command. Each group of commands has a file; to add a command, add a function to one of them."""

import typer

from cli import build_commands, delivery_commands, grant_commands, record_commands
from cli.routes_commands import routes

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate ctr-fanout.")
app.add_typer(routes, name="routes")
for commands in (build_commands, grant_commands, delivery_commands, record_commands):
    app.add_typer(commands.app)
