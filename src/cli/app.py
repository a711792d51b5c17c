"""The `ctr-fanout` command: arguments and help texts; the work is in the modules beside this one."""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from aws.route_file import routes_text, shipped_routes
from cli import erase as erasure
from cli import recover as recovery
from cli import stack_function
from cli import status as stack_status
from cli.check import failing_examples
from cli.reconcile import Range, ReconcileError, as_lines, balances, holds, taking, target_of
from cli.reconcile import show as show_balances
from cli.replay import Replay, function_of
from cli.replay import run as run_replay
from cli.stack_function import StackFunctionError
from cost import estimate
from doctor.account import Account
from doctor.examine import Given, examine
from doctor.finding import Severity, worst
from doctor.report import show
from grants.matrix import matrix
from grants.stack import example_stack
from grants.tables import as_object, as_table, is_asked
from infrastructure.refresh import refresh
from routing.errors import CheckpointError, ConfigurationError, EventError, Fault
from routing.explain import KIND_HINT, Explanation, explain
from routing.model import Kind
from routing.protection.paths import show_path
from routing.protection.presets import PRESETS
from routing.table.reader import load_routes
from routing.table.routes import RouteTable
from schema.known_fields import unknown_paths

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate ctr-fanout.")
routes = typer.Typer(no_args_is_help=True, help="Check routes.toml and try records on it.")
app.add_typer(routes, name="routes")

ReplaySource = Literal["dead-letters", "on-failure", "stream"]
RoutesFile = Annotated[
    Path | None, typer.Option("--routes", help="A route table to use instead of src/routing/routes.toml.")
]


_SECONDS_BETWEEN_LOOKS = 10

Region = Annotated[str | None, typer.Option(help="By default that of the profile.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")]


@routes.command()
def check(routes_file: RoutesFile = None) -> None:
    """Validate the file and its patterns, and run the examples in it."""
    table = _load(routes_file)
    faults = list(failing_examples(table))
    if faults:
        _refuse(str(routes_file or "routes.toml"), faults)
    shown = Table(box=None, pad_edge=False)
    for heading in ("route", "takes", "prefix", "dated by", "examples"):
        shown.add_column(heading, no_wrap=True)
    for route in table.routes:
        dated_by = ".".join(route.partition.path or ("arrival",))
        kinds = ", ".join(sorted(route.kinds)) or "what no other route takes"
        shown.add_row(route.name, kinds, f"{route.prefix}/", dated_by, f"{len(route.examples)} hold")
    Console(width=200, highlight=False).print(shown)
    for route in table.routes:
        for path, near in unknown_paths(route):
            typer.echo(f"warning: route {route.name!r}: {path} meets no known field; did you mean {near}?", err=True)


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
    table = _load(routes_file)
    for file in files:
        try:
            data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            explanations = list(explain(data, str(file), table))
        except (OSError, EventError) as err:
            _fail(f"{file}: {err.strerror if isinstance(err, OSError) else err}")
        for explanation in explanations:
            if as_json:
                typer.echo(json.dumps(explanation.as_json(), ensure_ascii=False))
            else:
                _print(explanation)


@app.command()
def template(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files with cog blocks.")] = None,
    *,
    is_check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a block is out of date.")] = False,
) -> None:
    """Refresh the blocks that derive from routes.toml, by default those of template.yaml."""
    paths = files or [Path("template.yaml")]
    for path in paths:
        if not path.is_file():
            _fail(f"{path}: expected a file with cog blocks, got none; run it where template.yaml is")
    _load(None)
    if not refresh(paths, is_check=is_check):
        _fail("the blocks are out of date; run `make template`")


@app.command()
def grants(
    *,
    principal: Annotated[
        str, typer.Option("--for", help="Only rows of one caller, e.g. function, lambda, replay, 'reader of orders'.")
    ] = "",
    section: Annotated[str, typer.Option("--section", help="Only one section, e.g. 'route orders'.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Show who may do what to which key and prefix, and why: the matrix that the tests prove."""
    table = _load(routes_file)
    rows = matrix(table, example_stack(table))
    chosen = [row for row in rows if is_asked(row, principal, section)]
    if not chosen:
        callers = ", ".join(sorted({row.who.label for row in rows}))
        sections = ", ".join(dict.fromkeys(row.section for row in rows))
        _fail(f"no such row; callers are: {callers}; sections are: {sections}")
    if as_json:
        for row in chosen:
            typer.echo(json.dumps(as_object(row), ensure_ascii=False))
    else:
        Console(width=200, highlight=False).print(as_table(chosen))


@app.command()
def doctor(
    *,
    stack: Annotated[str, typer.Option(help="A stack of ours; by default ctr-fanout if nothing else is given.")] = "",
    instance: Annotated[str, typer.Option(help="Id or ARN of an Amazon Connect instance.")] = "",
    stream: Annotated[str, typer.Option(help="Name or ARN of a data stream, of whomever.")] = "",
    region: Region = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a finding.")] = False,
    with_ok: Annotated[bool, typer.Option("--all", help="Also show what is as it should be.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Check a live account, read only, from Amazon Connect to the last key, and say what mends it.

    Exits with 0 if all is well, 1 on warnings, 2 on failures, 3 if something could not be looked at.
    """
    table = _load(routes_file)
    if not (stack or instance or stream):
        stack = "ctr-fanout"
    try:
        # boto3 reads AWS_DEFAULT_REGION and the profile only; other SDKs and the CLI also know AWS_REGION.
        session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"), profile_name=profile)
        if not session.region_name:
            typer.echo("expected a Region, got none; give --region or set AWS_REGION", err=True)
            raise typer.Exit(Severity.UNKNOWN)
        account = Account(session)
        account.identify()
    except (BotoCoreError, ClientError) as err:
        code = err.response["Error"]["Code"] if isinstance(err, ClientError) else str(err)
        typer.echo(f"expected working AWS credentials and a Region, got: {code}", err=True)
        raise typer.Exit(Severity.UNKNOWN) from err
    text = routes_text() if routes_file is None else routes_file.read_text(encoding="utf-8")
    given = Given(stack=stack, instance=instance, stream=stream)
    findings = examine(account, given, table, hashlib.sha256(text.encode()).hexdigest())
    if as_json:
        for finding in findings:
            typer.echo(json.dumps(finding.as_json(), ensure_ascii=False))
    else:
        show(findings, _console(), with_ok=with_ok)
    raise typer.Exit(worst(findings))


@app.command()
def replay(
    source: Annotated[
        ReplaySource, typer.Argument(help="dead-letters, on-failure (what Lambda gave up on) or stream.")
    ],
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without, only tell what would be done.")] = False,
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
    rate: Annotated[float | None, typer.Option(help="At most so many objects a second.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on where an interrupted replay stopped.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Deliver dead letters, what Lambda gave up on, or a range of the stream, skipping what is already delivered.

    Exits with 1 if something is left where it was, with the reason.
    """
    session = _session(region, profile)
    request: dict[str, Any] = {
        "source": source,
        "apply": apply,
        "route": route,
        "reason": reason,
        "shard": shard,
        "first": first,
        "mapping": mapping,
    }
    request |= {"last": last, "is_settled": settled, "since": _moment(since), "until": _moment(until)}
    slices = Replay(request, resumes_at=resume, rate=rate)
    try:
        code = run_replay(slices, function_of(stack, session.client), _console())
    except StackFunctionError as err:
        _fail(str(err))
    raise typer.Exit(code)


@app.command()
def recover(
    *,
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Make the checkpoint table right after it was restored from a backup or made anew, with the mapping disabled.

    Exits with 1 if a shard is not recovered, with the reason.
    """
    session = _session(region, profile)
    try:
        code = recovery.run(stack, session.client, _console(), apply=apply)
    except StackFunctionError as err:
        _fail(str(err))
    raise typer.Exit(code)


@app.command()
def erase(
    *,
    contact_id: Annotated[str, typer.Option(help="Whose records go.")],
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without, only tell what would be done.")] = False,
    old_versions: Annotated[
        bool, typer.Option("--old-versions", help="Also delete old versions of objects that hold the contact.")
    ] = False,
    first_date: Annotated[str | None, typer.Option(help="Only below date= this or later, e.g. 2026-03-01.")] = None,
    last_date: Annotated[str | None, typer.Option(help="Only below date= this or earlier.")] = None,
    receipt: Annotated[Path | None, typer.Option(help="Write the receipt to this file, as JSON.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on where an interrupted erasure stopped.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Take one contact out of everything that is delivered, and print a receipt.

    Exits with 1 if something of the contact is left, with the reason.
    """
    session = _session(region, profile)
    request: dict[str, Any] = {"contact_id": contact_id, "apply": apply, "old_versions": old_versions}
    request |= {"first_date": first_date, "last_date": last_date}
    try:
        ask = stack_function.function_of(stack, session.client, erasure.FUNCTION, "deploy with Erasure=on to have one")
        code = erasure.run(request, ask, _console(), stack=stack, receipt_file=receipt, resumes_at=resume)
    except StackFunctionError as err:
        _fail(str(err))
    raise typer.Exit(code)


@app.command()
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

    Exits with 1 if an alarm rings or the stream is not being read.
    """
    table, session = _load(routes_file), _session(region, profile)
    try:
        seen = stack_status.look(stack, session.client, table, minutes)
        if watch:
            with Live(stack_status.screen(seen), console=_console(), screen=True) as live:
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    live.update(stack_status.screen(stack_status.look(stack, session.client, table, minutes)))
        elif as_json:
            typer.echo(json.dumps(stack_status.as_object(seen)))
        else:
            _console().print(stack_status.screen(seen))
    except (stack_status.StatusError, BotoCoreError) as err:
        _fail(str(err))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    raise typer.Exit(int(not seen.is_well))


@app.command()
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
    prices: Annotated[Path | None, typer.Option(help="Prices of yours, in the shape of src/cost/prices.toml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    routes_file: RoutesFile = None,
) -> None:
    """Estimate what a month costs, line by line, beside one Firehose per key."""
    table = _load(routes_file)
    try:
        of_prices, label = estimate.read_prices(prices)
    except ConfigurationError as err:
        _refuse(str(prices), err.faults)
    load = estimate.Load(
        records_per_second=records_per_second,
        record_bytes=record_bytes,
        routes=routes_number or len(table.routes),
        routes_per_record=routes_per_record,
        window_seconds=window,
        shards=shards,
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


@app.command("unseal")
def unseal_(
    source: Annotated[
        str, typer.Argument(help="A file, a folder, s3://<bucket>/<key>, or s3://<bucket>/<prefix>/.", metavar="SOURCE")
    ],
    *,
    stack: Annotated[str, typer.Option(help="The parameter Name of the stack that sealed them.")] = "ctr-fanout",
    to: Annotated[
        Path | None, typer.Option(help="The folder to write to; without, records go to standard output.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Restore records as they were before they were sealed, if this caller is one of the route's sealed readers.

    What is written appears when all of an object is open, or not at all.
    """
    from aws.encryption_sdk import KeyOfMessage, Opener  # noqa: PLC0415 - likewise
    from cli.unseal import UnsealError, sources, unseal  # noqa: PLC0415 - no other command needs the SDK below it

    session = _session(region, profile)
    opener = Opener(KeyOfMessage(cache(lambda of_key: session.client("kms", region_name=of_key))))
    objects = lines = opened = 0
    try:
        for sealed in sources(source, lambda: session.client("s3")):
            counts = unseal(sealed, opener, stack, to)
            objects, lines, opened = objects + 1, lines + counts[0], opened + counts[1]
    except UnsealError as err:
        _fail(str(err))
    typer.echo(f"{objects} objects, {lines} records, {opened} of them unsealed", err=True)


@app.command("reconcile")
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
    """Compare what the stream held with what stands below each prefix, line by line, decrypting nothing.

    Exits with 1 if something is late, missing, duplicated or unexpected.
    """
    table, session = _load(routes_file), _session(region, profile)
    try:
        target = target_of(stack, session, table)
        client = session.client if role is None else taking(role, session)
        found = balances(
            client,
            target,
            table,
            Range(since=_moment(since), until=_moment(until), shard=shard, late_after=_seconds(late_after)),
        )
    except (ReconcileError, CheckpointError) as err:
        _fail(str(err))
    except ClientError as err:
        _fail(f"{err.operation_name} refused with {err.response['Error']['Code']}; --role takes a role that may")
    if as_json:
        for line in as_lines(found):
            typer.echo(line)
    else:
        show_balances(found, _console())
    raise typer.Exit(0 if holds(found) else 1)


_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(text: str | None) -> float | None:
    """Read a time, or how long ago it was, as seconds since 1970."""
    if text is None:
        return None
    if _AGO.fullmatch(text):
        return time.time() - _seconds(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"{text!r}: expected a time like 2026-03-02T08:00Z, or 30m, 2h, 7d ago")
    if at.tzinfo is None:
        _fail(f"{text!r}: expected a time zone, e.g. {text}Z")
    return at.timestamp()


def _seconds(text: str) -> float:
    """Read how long something takes."""
    match = _AGO.fullmatch(text)
    if match is None:
        _fail(f"{text!r}: expected a duration like 90s, 30m, 2h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def _session(region: str | None, profile: str | None) -> boto3.Session:
    """Make a session with a Region; boto3 itself does not read AWS_REGION, as other SDKs do."""
    try:
        session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"), profile_name=profile)
    except BotoCoreError as err:
        _fail(f"expected a profile of the AWS configuration, got: {err}")
    if not session.region_name:
        _fail("expected a Region, got none; give --region or set AWS_REGION")
    return session


def _load(file: Path | None) -> RouteTable:
    try:
        return shipped_routes() if file is None else load_routes(file.read_text(encoding="utf-8"), str(file))
    except ConfigurationError as err:
        _refuse(err.source, err.faults)
    except UnicodeDecodeError as err:
        _fail(f"{file}: expected UTF-8, got something else at byte {err.start}")
    except OSError as err:
        _fail(f"{file}: {err.strerror}")


def _print(explanation: Explanation) -> None:
    console = _console()
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


def _refuse(source: str, faults: Iterable[Fault]) -> NoReturn:
    for fault in faults:
        typer.echo(f"{source}: {fault}", err=True)
    raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
