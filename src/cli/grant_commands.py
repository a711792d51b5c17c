"""Commands of the security officer: `grants` and `doctor`."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aws.route_file import routes_text
from cli.grant_diff import RevisionError, differences
from cli.shared import Profile, Region, RoutesFile, fail, new_console, session_of, table_of
from doctor.account import Account
from doctor.examine import Given, examine
from doctor.finding import worst
from doctor.report import show
from grants.matrix import matrix
from grants.stack import example_stack
from grants.tables import as_object, as_table, is_asked

app = typer.Typer()


@app.command(epilog="Example: ctr-fanout grants --for 'reader of orders'")
def grants(
    *,
    principal: Annotated[
        str, typer.Option("--for", help="Only rows of one caller, e.g. function, lambda, replay, 'reader of orders'.")
    ] = "",
    section: Annotated[str, typer.Option("--section", help="Only one section, e.g. 'route orders'.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
    diff: Annotated[
        str,
        typer.Option("--diff", help="Only what differs from a revision of git, e.g. origin/main; exits with 1 if any."),
    ] = "",
    routes_file: RoutesFile = None,
) -> None:
    """Show who may do what to which key and prefix, and why: the matrix that the tests prove."""
    if diff:
        _show_differences(diff)
        return
    table = table_of(routes_file)
    rows = matrix(table, example_stack(table))
    chosen = [row for row in rows if is_asked(row, principal, section)]
    if not chosen:
        callers = ", ".join(sorted({row.who.label for row in rows}))
        sections = ", ".join(dict.fromkeys(row.section for row in rows))
        fail(f"no such row; callers are: {callers}; sections are: {sections}")
    if as_json:
        for row in chosen:
            typer.echo(json.dumps(as_object(row), ensure_ascii=False))
    else:
        Console(width=200, highlight=False).print(as_table(chosen))


def _show_differences(revision: str) -> None:
    if not Path("template.yaml").is_file():
        fail("template.yaml: expected it here; run --diff in a clone of the repository")
    try:
        lines = list(differences(revision))
    except RevisionError as err:
        fail(str(err))
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(1)
    typer.echo(f"no grant differs from {revision}")


@app.command(epilog="Example: ctr-fanout doctor --stack ctr-fanout --region eu-central-1")
def doctor(
    *,
    stack: Annotated[str, typer.Option(help="A stack of ours; by default ctr-fanout if nothing else is given.")] = "",
    instance: Annotated[str, typer.Option(help="Id or ARN of an Amazon Connect instance.")] = "",
    stream: Annotated[str, typer.Option(help="Name or ARN of a data stream, of any owner.")] = "",
    region: Region = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a finding.")] = False,
    with_ok: Annotated[bool, typer.Option("--all", help="Also show checks that passed.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Check a live account, read only, from Amazon Connect to the last key, and print the cure of each finding.

    Exits with 0 if all is well, 1 on warnings, 2 on failures, 3 if something could not be looked at.
    """
    table = table_of(routes_file)
    if not (stack or instance or stream):
        stack = "ctr-fanout"
    account = Account(session_of(region, profile))
    account.identify()
    text = routes_text() if routes_file is None else routes_file.read_text(encoding="utf-8")
    given = Given(stack=stack, instance=instance, stream=stream)
    findings = examine(account, given, table, hashlib.sha256(text.encode()).hexdigest())
    if as_json:
        for finding in findings:
            typer.echo(json.dumps(finding.as_json(), ensure_ascii=False))
    else:
        show(findings, new_console(), with_ok=with_ok)
    raise typer.Exit(worst(findings))
