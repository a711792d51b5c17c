"""Commands about the records of one person or route: `erase` and `unseal`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from cli import erase as erasure
from cli import stack_function
from cli.failures import remember
from cli.shared import Profile, Region, day, fail, new_console, session_of
from cli.stack_function import StackFunctionError

app = typer.Typer()


@app.command(
    epilog="Example: ctr-fanout erase --contact-id 6f0d3a52-9c1e-4b77-8a90-2f4d1e7c5b38 --receipt receipt.json"
)
def erase(
    *,
    contact_id: Annotated[str, typer.Option(help="The contact to erase.")],
    stack: Annotated[str, typer.Option(help="The stack.")] = "ctr-fanout",
    apply: Annotated[bool, typer.Option("--apply", help="Apply the changes. Default: dry run.")] = False,
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
    """Erase one contact from everything that is delivered, and print a receipt.

    Exits with 1 if something of the contact could not be erased, with the reason.
    """
    if not contact_id.strip():
        fail("--contact-id: expected the id of a contact, got nothing")
    if (day(first_date, "--first-date") or "") > (day(last_date, "--last-date") or "9"):
        fail(f"--first-date {first_date}: expected no later date than --last-date {last_date}")
    session = session_of(region, profile)
    request: dict[str, Any] = {"contact_id": contact_id, "apply": apply, "old_versions": old_versions}
    request |= {"first_date": first_date, "last_date": last_date}
    try:
        ask = stack_function.function_of(stack, session.client, erasure.FUNCTION, "deploy with Erasure=on to have one")
        code = erasure.run(request, ask, new_console(), stack=stack, receipt_file=receipt, resumes_at=resume)
    except StackFunctionError as err:
        fail(str(err))
    raise typer.Exit(code)


@app.command("unseal", epilog="Example: ctr-fanout unseal s3://BUCKET/analytics/contacts/ --to opened/")
def unseal_(
    source: Annotated[
        str, typer.Argument(help="A file, a folder, s3://<bucket>/<key>, or s3://<bucket>/<prefix>/.", metavar="SOURCE")
    ],
    *,
    name: Annotated[str, typer.Option(help="The parameter Name of the stack that sealed them.")] = "ctr-fanout",
    to: Annotated[
        Path | None, typer.Option(help="The folder to write to; without, records go to standard output.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Restore records as they were before they were sealed. Only sealed readers of the route can.

    Each object is written as a whole or not at all.
    """
    from aws.encryption_sdk import KeyOfMessage, Opener  # noqa: PLC0415 - no other command needs the SDK
    from cli.unseal import UnsealError, sources, unseal  # noqa: PLC0415 - no other command needs the SDK below it

    # A file needs no Region: each sealed message names the key that opens it.
    session = session_of(region, profile) if source.startswith("s3://") else boto3.Session(profile_name=profile)
    remember(session)
    opener = Opener(KeyOfMessage(cache(lambda of_key: session.client("kms", region_name=of_key))))
    objects = lines = opened = 0
    try:
        for sealed in sources(source, lambda: session.client("s3")):
            counts = unseal(sealed, opener, name, to)
            objects, lines, opened = objects + 1, lines + counts[0], opened + counts[1]
    except UnsealError as err:
        fail(str(err))
    typer.echo(f"{objects} objects, {lines} records, {opened} of them unsealed", err=True)
