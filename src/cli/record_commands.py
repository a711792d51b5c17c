"""Commands about the records of one person or route: `erase` and `unseal`."""

import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from cli import convert, stack_function
from cli import erase as erasure
from cli.failures import remember
from cli.shared import Profile, Region, day, fail, new_console, session_of, table_of
from cli.stack_function import StackFunctionError

app = typer.Typer()

_MOST_CONTACTS = 10_000


@app.command(
    epilog="Example: ctr-fanout erase --contact-id 6f0d3a52-9c1e-4b77-8a90-2f4d1e7c5b38 --receipt receipt.json"
)
def erase(
    *,
    contact_id: Annotated[
        list[str] | None, typer.Option(help="A contact to erase; more than one by giving it more than once.")
    ] = None,
    contacts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Contacts to erase, an id a line; - is stdin.")
    ] = None,
    customer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Every contact of these people: a line each, a CustomerId or the address of an endpoint; - asks for one.",
        ),
    ] = None,
    redacted: Annotated[
        bool,
        typer.Option("--redacted", help="What was delivered before Connect redacted a contact (DeleteContactData)."),
    ] = False,
    keep_redacted: Annotated[
        bool, typer.Option("--keep-redacted", help="Leave records that Connect has redacted, as --redacted does.")
    ] = False,
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
    """Erase contacts from everything that is delivered, and print a receipt.

    Exits with 1 if something of a contact could not be erased, with the reason.
    """
    ids, wanted = _whose(contact_id, contacts, customer, is_redacted=redacted)
    if wanted and resume is not None:
        fail("--resume: expected --contacts FILE, which the interrupted command has written")
    if wanted and apply and receipt is None:
        fail("--apply: expected --receipt FILE: once a record is erased, the contacts cannot be searched again")
    kept = None if receipt is None or not wanted else receipt.with_name(f"{receipt.name}.contacts")
    for file in (receipt, kept):
        _refuse_existing(file)
    if (day(first_date, "--first-date") or "") > (day(last_date, "--last-date") or "9"):
        fail(f"--first-date {first_date}: expected no later date than --last-date {last_date}")
    session = session_of(region, profile)
    dates = {"first_date": first_date, "last_date": last_date}
    request: dict[str, Any] = {
        "apply": apply,
        "old_versions": old_versions,
        "keep_redacted": redacted or keep_redacted,
        **dates,
    }
    try:
        ask = stack_function.function_of(stack, session.client, erasure.FUNCTION, "deploy with Erasure=on to have one")
        console = new_console()
        is_whole = True
        if wanted:
            searched = erasure.search({**wanted, **dates}, ask, console)
            ids, is_whole = searched.contacts, searched.is_whole
            if not ids:
                raise typer.Exit(int(not is_whole))
            if kept is not None:
                kept.write_text("".join(f"{one}\n" for one in ids), encoding="utf-8")
                again = f"--contacts {kept}{' --keep-redacted' if redacted else ''}"
                console.print(f"the contacts are in {kept}; to go on after a failure: {again}", markup=False)
        _refuse_too_many(ids)
        request["contact_ids"] = ids
        code = erasure.run(
            request,
            ask,
            console,
            stack=stack,
            convert=stack_function.function_if_any(stack, session.client, convert.FUNCTION),
            routes=[route.name for route in table_of(None).routes],
            receipt_file=receipt,
            resumes_at=resume,
        )
        code = code or int(not is_whole)
    except StackFunctionError as err:
        fail(str(err))
    raise typer.Exit(code)


def _whose(
    contact_ids: list[str] | None, contacts: Path | None, customer: Path | None, *, is_redacted: bool
) -> tuple[list[str], dict[str, Any]]:
    """Return the contacts to erase; or, if they have to be searched, nobody and what to search for."""
    if sum(map(bool, (contact_ids, contacts, customer, is_redacted))) != 1:
        fail("expected one of --contact-id, --contacts, --customer and --redacted")
    if is_redacted:
        return [], {"redacted": True}
    if customer is not None:
        return [], {"customers": _people(customer)}
    ids = contact_ids or _lines(contacts or Path("-"), "--contacts")
    if not all(one.strip() for one in ids):
        fail("--contact-id: expected the id of a contact, got nothing")
    _refuse_too_many(ids)
    return list(dict.fromkeys(ids)), {}


def _refuse_existing(file: Path | None) -> None:
    """Make sure that a file can be written before anything is erased."""
    if file is None:
        return
    if file.exists():
        fail(f"--receipt: {file} is there already; name another file")
    try:
        file.touch()
        file.unlink()
    except OSError as err:
        fail(f"--receipt: {file}: {err.strerror}")


def _people(file: Path) -> list[str]:
    """Read what identifies people, from a file or a prompt: it must be in no history of a shell."""
    if str(file) == "-" and sys.stdin.isatty():
        return [typer.prompt("CustomerId or address", hide_input=True)]
    return _lines(file, "--customer")


def _lines(file: Path, option: str) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except OSError as err:
        fail(f"{option} {file}: {err.strerror}")
    except UnicodeDecodeError:
        fail(f"{option} {file}: expected text in UTF-8, got other bytes")
    found = [line.strip() for line in text.removeprefix("\ufeff").split("\n") if line.strip()]
    if not found:
        fail(f"{option} {file}: expected one a line, got nothing")
    return found


def _refuse_too_many(ids: list[str]) -> None:
    if len(ids) > _MOST_CONTACTS:
        fail(f"expected at most {_MOST_CONTACTS} contacts at once, got {len(ids)}; erase the others in another run")


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
