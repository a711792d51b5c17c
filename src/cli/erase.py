"""The `erase` command: asks the stack's erase function, slice by slice, and prints a receipt.

A customer's contacts are searched first, by the same function: it returns their ids, never what identifies a person.

Only the function opens objects; nothing of a record comes to the machine where the command runs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.convert import slices
from cli.failures import explained
from cli.stack_function import Ask, StackFunctionError

FUNCTION = "EraseFunction"
NOT_SEARCHED = (
    "the stream, until its retention ends; archive/, if the raw stream is archived; what is sealed of other contacts"
)
_MOST_SHOWN = 20
_NOTHING = {"key": "", "version": "", "route": "", "records": 0, "entries": 0, "mentions": 0, "blocked_by": ""}
_NO_COLUMNS = "nothing makes them anew; deploy with Parquet=on and erase again"


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
        columns: Parts that were made anew of what is left, and how many of their old versions are gone.
        unconverted: Routes that have columns which nothing has made anew.
    """

    request: Mapping[str, Any]
    stack: str
    started_at: datetime
    results: list[Mapping[str, Any]] = field(default_factory=list)
    scanned: int = 0
    blind: tuple[str, ...] = ()
    found: frozenset[str] = frozenset()
    columns: Mapping[str, Any] = field(default_factory=dict)
    unconverted: frozenset[str] = frozenset()

    def with_slice(self, done: Mapping[str, Any]) -> "Receipt":
        """Return it with what one more slice did."""
        return replace(
            self,
            results=[*self.results, *done["results"]],
            scanned=self.scanned + done["scanned"],
            blind=tuple(done["blind"]),
            found=self.found | {*done["found"]},
            unconverted=self.unconverted | {*done["columns"]},
        )

    def with_columns(self, made: Iterable[Mapping[str, Any]], deleted: int) -> "Receipt":
        """Return it with the parts that were made anew; what could not be made counts as left."""
        every = list(made)
        blocked = [
            {**_NOTHING, "key": one["key"], "blocked_by": one["blocked_by"]} for one in every if one["blocked_by"]
        ]
        keys = [one["key"] for one in every if not one["blocked_by"]]
        columns = {"parts": keys, "oldVersionsDeleted": deleted}
        return replace(self, results=[*self.results, *blocked], columns=columns, unconverted=frozenset())

    @property
    def left(self) -> list[Mapping[str, Any]]:
        """What still holds something of a contact, with the reason."""
        left = [result for result in self.results if result["blocked_by"]]
        if self.request["apply"]:
            left += [
                {**_NOTHING, "key": f"columns of {route}", "blocked_by": _NO_COLUMNS}
                for route in sorted(self.unconverted)
            ]
        return left

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
                "columns": self.columns,
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
    convert: Ask | None = None,
    routes: Sequence[str] = (),
    receipt_file: Path | None = None,
    resumes_at: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Erase, with progress, print the receipt, and return the exit code: 1 if something is left.

    Interrupted, it tells how to go on; the receipt then is of what was done until there.

    Args:
        request: What every slice is asked for.
        ask: Asks the function that erases.
        console: Where to.
        stack: Of which stack.
        convert: Asks the function that makes columns: they are made anew before the receipt. None if there is none.
        routes: Those whose columns are made anew.
        receipt_file: Where the receipt goes.
        resumes_at: Where an interrupted erasure stopped.
        now: The clock.
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
                after = done["next"] or after
        if request["apply"] and convert is not None:
            receipt = _with_columns(receipt, convert, routes, console)
        after = None
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


def _with_columns(receipt: Receipt, convert: Ask, routes: Sequence[str], console: Console) -> Receipt:
    """Make the columns anew of whatever was rewritten, in this run or one that was interrupted."""
    made: list[Mapping[str, Any]] = []
    deleted = 0
    for route in sorted({*routes, *receipt.unconverted}):
        try:
            with console.status(f"columns of {route}"):
                for done in slices(convert, route, apply=True, old_versions=receipt.request["old_versions"]):
                    made += done["results"]
                    deleted += done["deleted"]
        except StackFunctionError as err:  # the receipt tells it
            made.append({"key": f"columns of {route}", "blocked_by": str(err)})
    return receipt.with_columns(made, deleted)


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
    if receipt.columns:
        yield f"columns: {len(receipt.columns['parts'])} parts were made anew of what is left"
    elif receipt.unconverted and not receipt.request["apply"]:
        yield f"columns of {len(receipt.unconverted)} routes would be made anew"
    if not receipt.request["old_versions"]:
        yield "old versions stay until the bucket's lifecycle removes them; --old-versions erases them too"
    if not receipt.request["apply"]:
        yield "nothing was changed"
