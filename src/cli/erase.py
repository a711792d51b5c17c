"""The `erase` command: asks the stack's erase function, slice by slice, and prints a receipt.

A customer's contacts are searched first, by the same function: it returns their ids, never what identifies a person.

Only the function opens objects; nothing of a record comes to the machine where the command runs.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.failures import explained
from cli.stack_function import Ask, StackFunctionError

FUNCTION = "EraseFunction"
NOT_SEARCHED = (
    "the stream, until its retention ends; archive/, if the raw stream is archived; what is sealed of other contacts"
)
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did, or would do.

    Attributes:
        request: What every slice was asked for.
        stack: Of which stack.
        started_at: When it began.
        results: One entry for each object, or old version of one, that held the contact.
        scanned: How many were searched.
        blind: Routes whose rules hide whose a record is.
        found: The contacts that were met.
    """

    request: Mapping[str, Any]
    stack: str
    started_at: datetime
    results: list[Mapping[str, Any]] = field(default_factory=list)
    scanned: int = 0
    blind: tuple[str, ...] = ()
    found: frozenset[str] = frozenset()

    def with_slice(self, done: Mapping[str, Any]) -> "Receipt":
        """Return it with what one more slice did."""
        return Receipt(
            self.request,
            self.stack,
            self.started_at,
            [*self.results, *done["results"]],
            self.scanned + done["scanned"],
            tuple(done["blind"]),
            self.found | {*done["found"]},
        )

    @property
    def left(self) -> list[Mapping[str, Any]]:
        """What still holds something of a contact, with the reason."""
        return [result for result in self.results if result["blocked_by"]]

    def as_json(self, ended_at: datetime) -> str:
        """Return it as one JSON document."""
        return json.dumps(
            {
                "contactIds": self.request["contact_ids"],
                "notFound": [one for one in self.request["contact_ids"] if one not in self.found],
                "stack": self.stack,
                "applied": self.request["apply"],
                "oldVersions": self.request["old_versions"],
                "keepRedacted": self.request.get("keep_redacted", False),
                "firstDate": self.request["first_date"],
                "lastDate": self.request["last_date"],
                "startedAt": self.started_at.isoformat(timespec="seconds"),
                "endedAt": ended_at.isoformat(timespec="seconds"),
                "objectsSearched": self.scanned,
                "objects": [{name: value for name, value in result.items() if value} for result in self.results],
                "routesThatHideWhoseARecordIs": self.blind,
                "notSearched": NOT_SEARCHED,
            },
            ensure_ascii=False,
            indent=1,
        )


def run(
    request: Mapping[str, Any],
    ask: Ask,
    console: Console,
    *,
    stack: str,
    receipt_file: Path | None = None,
    resumes_at: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Erase, with progress, print the receipt, and return the exit code: 1 if something is left.

    Interrupted, it tells how to go on; the receipt then is of what was done until there.
    """
    receipt, after = Receipt(request, stack, now()), resumes_at
    columns = (TextColumn("erase"), BarColumn(), TextColumn("{task.completed} searched"), TimeElapsedColumn())
    told = ""
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("erase", total=None)
            for done in _slices(request, ask, resumes_at):
                receipt = receipt.with_slice(done)
                progress.advance(task, done["scanned"])
                after = done["next"]
    except KeyboardInterrupt:
        told = "interrupted"
    except (StackFunctionError, BotoCoreError, ClientError) as err:
        if after is None:
            raise
        told = str(err) if isinstance(err, StackFunctionError) else explained(err)
    _show(receipt, console)
    if receipt_file is not None:
        receipt_file.write_text(receipt.as_json(now()) + "\n", encoding="utf-8")
        console.print(f"receipt: {receipt_file}")
    if told:
        console.print(f"{told}; go on with --resume {after}" if after else told, markup=False, soft_wrap=True)
        return 130 if told == "interrupted" else 1
    console.print(_verdict(receipt), markup=False, soft_wrap=True)
    return int(bool(receipt.left) or not receipt.scanned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search for contacts came to.

    Attributes:
        contacts: Their ids.
        unsearched: Objects that could not be searched, with the reason.
        blind: Routes whose rules hide what was searched for, or the ids of contacts.
        scanned: How many objects were searched.
    """

    contacts: list[str]
    unsearched: list[str]
    blind: tuple[str, ...]
    scanned: int

    @property
    def is_whole(self) -> bool:
        """True if something was searched, and nothing could not be."""
        return bool(self.scanned) and not self.unsearched


def search(request: Mapping[str, Any], ask: Ask, console: Console) -> Search:
    """Search for the contacts to erase, with progress, and print what cannot be searched."""
    found: set[str] = set()
    unsearched: list[str] = []
    blind: tuple[str, ...] = ()
    scanned = 0
    columns = (TextColumn("search"), BarColumn(), TextColumn("{task.completed} searched"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("search", total=None)
        for done in _slices(request, ask, None):
            found |= {*done["found"]}
            scanned, blind = scanned + done["scanned"], tuple(done["blind"])
            progress.advance(task, done["scanned"])
            unsearched += [f"{result['key']}: {result['blocked_by']}" for result in done["results"]]
    for one in unsearched[:_MOST_SHOWN]:
        console.print(f"not searched: {one}", markup=False, soft_wrap=True)
    if len(unsearched) > _MOST_SHOWN:
        console.print(f"and {len(unsearched) - _MOST_SHOWN} more were not searched")
    for route in blind:
        console.print(
            f"route {route}: its rules hide what is searched for, or whose a record is; contacts that only this route has are not found",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{len(found)} contacts to erase were found in {scanned} objects", markup=False)
    return Search(contacts=sorted(found), unsearched=unsearched, blind=blind, scanned=scanned)


def _verdict(receipt: Receipt) -> str:
    """Return what it comes to, in one line."""
    if not receipt.scanned:
        return "nothing was searched: there is no object between these dates"
    held = [result for result in receipt.results if result["records"] or result["entries"]]
    ids = receipt.request["contact_ids"]
    if not held and not receipt.left:
        return (
            f"nothing of {'this contact' if len(ids) == 1 else 'these contacts'} was found in {receipt.scanned} objects"
        )
    of_contacts = "" if len(ids) == 1 else f" of {len(receipt.found)} of {len(ids)} contacts"
    done = "erased" if receipt.request["apply"] else "would be erased; --apply does it"
    left = f", {len(receipt.left)} are left" if receipt.left else ""
    return f"{sum(result['records'] for result in held)} records{of_contacts} in {len(held)} objects {done}{left}"


def _slices(request: Mapping[str, Any], ask: Ask, resumes_at: str | None) -> Iterator[Mapping[str, Any]]:
    after = resumes_at
    while True:
        done = ask({**request, "after": after})
        yield done
        after = done["next"]
        if after is None:
            return


def _show(receipt: Receipt, console: Console) -> None:
    console.print(_table(receipt))
    for result in receipt.left[:_MOST_SHOWN]:
        console.print(f"left: {result['key']}: {result['blocked_by']}", markup=False, soft_wrap=True)
    if len(receipt.left) > _MOST_SHOWN:
        console.print(f"and {len(receipt.left) - _MOST_SHOWN} more are left")
    for line in _told(receipt):
        console.print(line, markup=False, soft_wrap=True)


def _table(receipt: Receipt) -> Table:
    counts: dict[tuple[str, str], list[int]] = {}
    for result in receipt.results:
        if result["records"] or result["entries"]:
            kind = (result["route"] or "(no route)", "old versions" if result["version"] else "objects")
            number, records, entries = counts.get(kind, (0, 0, 0))
            counts[kind] = [number + 1, records + result["records"], entries + result["entries"]]
    title = "erased" if receipt.request["apply"] else "would be erased"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for heading in ("route", "", "number", "records", "parts of others"):
        table.add_column(heading, justify="left" if heading in {"route", ""} else "right")
    for kind, numbers in sorted(counts.items()):
        table.add_row(*kind, *(str(number) for number in numbers))
    return table


def _told(receipt: Receipt) -> Iterator[str]:
    """Return what has to be known beside the table."""
    yield f"searched: {receipt.scanned} objects{' and old versions' if receipt.request['old_versions'] else ''}"
    if mentions := sum(result["mentions"] for result in receipt.results):
        yield f"{mentions} records of others still name a contact, as the one before or after them"
    for route in receipt.blind:
        yield f"route {route}: its rules hide the contact id of a record; no contact's records can be found there"
    yield f"not searched: {NOT_SEARCHED}"
    if not receipt.request["old_versions"]:
        yield "old versions stay until the bucket's lifecycle removes them; --old-versions erases them too"
    if not receipt.request["apply"]:
        yield "nothing was changed"
