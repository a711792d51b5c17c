"""What all commands share: options, times, sessions, the route table, and how a command fails."""

import os
import re
import time
from collections.abc import Iterable
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NoReturn

import boto3
import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console

from aws.route_file import shipped_routes
from cli.failures import NOT_ASKED, remember
from routing.errors import ConfigurationError, Fault
from routing.table.reader import load_routes
from routing.table.routes import RouteTable

RoutesFile = Annotated[
    Path | None, typer.Option("--routes", help="A route table to use instead of src/routing/routes.toml.")
]
Region = Annotated[str | None, typer.Option(help="By default that of the profile.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")]

_AGO = re.compile(r"(\d*[1-9]\d*)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment(text: str | None) -> float | None:
    """Read a time, or how long ago it was, as seconds since 1970."""
    if text is None:
        return None
    if _AGO.fullmatch(text):
        return time.time() - seconds(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r}: expected a time like 2026-03-02T08:00Z, or 30m, 2h, 7d ago")
    if at.tzinfo is None:
        fail(f"{text!r}: expected a time zone, e.g. {text}Z")
    return at.timestamp()


def seconds(text: str) -> float:
    """Read how long something takes."""
    match = _AGO.fullmatch(text)
    if match is None:
        fail(f"{text!r}: expected a duration like 90s, 30m, 2h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def day(text: str | None, option: str) -> str | None:
    """Check a date, and return it as it was given."""
    if text is not None:
        try:
            if date.fromisoformat(text).isoformat() != text:
                raise ValueError  # noqa: TRY301 - 20260302 is a date as well, but no partition is called so
        except ValueError:
            fail(f"{option} {text!r}: expected a date like 2026-03-02")
    return text


def session_of(region: str | None, profile: str | None) -> boto3.Session:
    """Make a session with a Region; boto3 itself does not read AWS_REGION, as other SDKs do."""
    try:
        session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"), profile_name=profile)
    except BotoCoreError as err:
        fail(f"expected a profile of the AWS configuration, got: {err}", NOT_ASKED)
    if not session.region_name:
        fail("expected a Region, got none; give --region or set AWS_REGION", NOT_ASKED)
    if session.region_name not in _regions(session):
        near = get_close_matches(session.region_name, _regions(session), 1)
        fail(f"{session.region_name!r} is no Region{f'; did you mean {near[0]}?' if near else ''}", NOT_ASKED)
    remember(session)
    return session


def _regions(session: boto3.Session) -> list[str]:
    """Return the Regions that boto3 knows, of all partitions."""
    partitions = session.get_available_partitions()
    return [region for partition in partitions for region in session.get_available_regions("s3", partition)]


def table_of(file: Path | None) -> RouteTable:
    """Read a route table, by default the shipped one; exit with every fault of it."""
    try:
        return shipped_routes() if file is None else load_routes(file.read_text(encoding="utf-8"), str(file))
    except ConfigurationError as err:
        refuse(err.source, err.faults)
    except UnicodeDecodeError as err:
        fail(f"{file}: expected UTF-8, got something else at byte {err.start}")
    except OSError as err:
        fail(f"{file}: {err.strerror}")


def refuse(source: str, faults: Iterable[Fault]) -> NoReturn:
    """Exit with 1, one line for each fault."""
    for fault in faults:
        line = "" if fault.line is None else f"line {fault.line}: "
        typer.echo(f"{source}: {line}{fault}", err=True)
    raise typer.Exit(1)


def fail(message: str, code: int = 1) -> NoReturn:
    """Exit with one sentence."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def new_console() -> Console:
    """Return a console that breaks no line and colours no value."""
    return Console(soft_wrap=True, highlight=False, emoji=False)
