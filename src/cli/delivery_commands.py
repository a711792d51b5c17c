"""Commands of the operator: `status`, `replay`, `recover`, `convert` and `reconcile`."""

import json
import time
from typing import Annotated, Any, Literal

import typer
from botocore.exceptions import ClientError
from rich.live import Live

from cli import convert, reconcile_columns, stack_function
from cli import recover as recovery
from cli import status as stack_status
from cli.reconcile import Range, as_lines, balances, compared, holds, taking, target_of, verdict
from cli.reconcile import show as show_balances
from cli.replay import Replay, function_of
from cli.replay import run as run_replay
from cli.shared import Profile, Region, RoutesFile, fail, moment, new_console, seconds, session_of, table_of
from cli.stack_function import StackFunctionError
from routing.errors import CheckpointError

app = typer.Typer()
ReplaySource = Literal["dead-letters", "on-failure", "stream"]
_SECONDS_BETWEEN_LOOKS = 10


@app.command(epilog="Example: ctr-fanout status --watch")
def status(
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="Over how long the numbers are.")] = 60,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    region: Region = None,
    profile: Profile = None,
    routes_file: RoutesFile = None,
) -> None:
    """Show what a stack is doing: alarms, the mapping, and the numbers of each route.

    Exits with 1 if an alarm is in state ALARM or the stream is not being read.
    """
    table, session = table_of(routes_file), session_of(region, profile)
    try:
        seen = stack_status.look(stack, session.client, table, minutes)
        if watch:
            with Live(stack_status.screen(seen), console=new_console(), screen=True) as live:
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    live.update(stack_status.screen(stack_status.look(stack, session.client, table, minutes)))
        elif as_json:
            typer.echo(json.dumps(stack_status.as_object(seen)))
        else:
            new_console().print(stack_status.screen(seen))
    except StackFunctionError as err:
        fail(str(err))
    except KeyboardInterrupt:
        if not watch:
            raise
        raise typer.Exit(0) from None  # it was asked to go on until then
    raise typer.Exit(int(not seen.is_well))


@app.command(epilog="Example: ctr-fanout replay dead-letters --reason KmsKeyDisabled --apply")
def replay(
    source: Annotated[
        ReplaySource, typer.Argument(help="dead-letters, on-failure (batches that Lambda gave up on) or stream.")
    ],
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
    route: Annotated[str | None, typer.Option(help="Only dead letters of this route.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only dead letters with this reason, e.g. KmsKeyDisabled.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2026-03-02T08:00Z, or 2h for two hours ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only this shard of the stream.")] = None,
    first: Annotated[str | None, typer.Option(help="From this sequence number of the stream on.")] = None,
    last: Annotated[str | None, typer.Option(help="Up to this sequence number.")] = None,
    settled: Annotated[
        bool,
        typer.Option(
            "--settled",
            help="Of the stream: Lambda has given up on these records and could not hand them over, so take also "
            "what some route has not reached.",
        ),
    ] = False,
    mapping: Annotated[
        str | None,
        typer.Option(help="Of on-failure: the UUID of an event source mapping that the stack had before."),
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many objects a second.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on where an interrupted replay stopped.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Deliver dead letters, batches that Lambda gave up on, or a range of the stream. What is delivered already is skipped.

    Exits with 1 if something could not be delivered, with the reason.
    """
    since_at, until_at = moment(since), moment(until)
    if since_at is not None and since_at >= (until_at or time.time()):
        fail(f"--since {since}: expected a time before {f'--until {until}' if until else 'now'}")
    session = session_of(region, profile)
    request: dict[str, Any] = {
        "source": source,
        "apply": apply,
        "route": route,
        "reason": reason,
        "shard": shard,
        "first": first,
        "mapping": mapping,
    }
    request |= {"last": last, "is_settled": settled, "since": since_at, "until": until_at}
    slices = Replay(request, resumes_at=resume, rate=rate)
    try:
        code = run_replay(slices, function_of(stack, session.client), new_console())
    except StackFunctionError as err:
        fail(str(err))
    raise typer.Exit(code)


@app.command(epilog="Example: ctr-fanout recover --apply")
def recover(
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Repair the checkpoint table after it was restored from a backup or created again. Disable the mapping first.

    Exits with 1 if a shard is not recovered, with the reason.
    """
    session = session_of(region, profile)
    try:
        code = recovery.run(stack, session.client, new_console(), apply=apply)
    except StackFunctionError as err:
        fail(str(err))
    raise typer.Exit(code)


@app.command("convert", epilog="Example: ctr-fanout convert --route orders --apply")
def convert_(
    *,
    route: Annotated[
        list[str] | None, typer.Option(help="Only this route; more than one by giving it more than once.")
    ] = None,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
    region: Region = None,
    profile: Profile = None,
    routes_file: RoutesFile = None,
) -> None:
    """Make columns now instead of with the next schedule: Parquet of the days that are over, and of what has changed.

    Exits with 1 if a part could not be made, with the reason.
    """
    known = [one.name for one in table_of(routes_file).routes]
    for name in route or []:
        if name not in known:
            fail(f"--route {name}: expected one of {', '.join(known)}")
    session = session_of(region, profile)
    try:
        ask = stack_function.function_of(stack, session.client, convert.FUNCTION, convert.CURE)
        code = convert.run(route or known, ask, new_console(), apply=apply)
    except StackFunctionError as err:
        fail(str(err))
    raise typer.Exit(code)


@app.command("reconcile", epilog="Example: ctr-fanout reconcile --since 2d")
def reconcile_(
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2026-03-02T08:00Z, or 2h for two hours ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only this shard.")] = None,
    late_after: Annotated[
        str, typer.Option(help="How long a record may take to reach every route; it is late then.")
    ] = "1h",
    role: Annotated[
        str | None, typer.Option(help="A role to take: the stack's ReplayRoleArn may read what is needed.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a route and shard.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Compare the records of the stream with the objects below each prefix, without decrypting an object.

    Exits with 1 if something is late, missing, duplicated or unexpected.
    """
    range_ = Range(since=moment(since), until=moment(until), shard=shard, late_after=seconds(late_after))
    if range_.since is not None and range_.since >= (range_.until or time.time()):
        fail(f"--since {since}: expected a time before {f'--until {until}' if until else 'now'}")
    table, session = table_of(routes_file), session_of(region, profile)
    try:
        target = target_of(stack, session, table)
        client = session.client if role is None else taking(role, session)
        found = balances(client, target, table, range_)
        of_columns = reconcile_columns.columns(client, target, table)
    except (StackFunctionError, CheckpointError) as err:
        fail(str(err))
    except ClientError as err:
        if role is None and err.response["Error"]["Code"].startswith("AccessDenied"):
            fail(f"{err.operation_name} was denied; --role takes a role that may, e.g. the stack's ReplayRoleArn", 3)
        raise
    if as_json:
        for line in as_lines(found):
            typer.echo(line)
        typer.echo(verdict(found), err=True)
        typer.echo(of_columns.verdict, err=True)
    else:
        show_balances(found, new_console())
        typer.echo(verdict(found))
        if of_columns.same or of_columns.stale or of_columns.wrong:
            reconcile_columns.show(of_columns, new_console())
            typer.echo(of_columns.verdict)
    raise typer.Exit(0 if holds(found) and compared(found) and not of_columns.wrong else 1)
