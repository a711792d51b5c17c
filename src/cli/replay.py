"""The `replay` command: asks the stack's replay function, slice by slice, and shows what it did.

Only the function opens dead letters; nothing of a record comes to the machine where the command runs.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli import stack_function
from cli.failures import explained
from cli.stack_function import Ask, StackFunctionError

FUNCTION = "ReplayFunction"
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Replay:
    """A whole replay.

    Attributes:
        request: What every slice is asked for, without `after`.
        resumes_at: Where an earlier one was interrupted; None to begin.
        rate: The most that are replayed; None does not wait.
    """

    request: Mapping[str, Any]
    resumes_at: str | None = None
    rate: float | None = None

    def slices(self, ask: Ask, sleep: Callable[[float], None] = time.sleep) -> Iterator[Mapping[str, Any]]:
        """Ask for one slice after the other, and wait between them as the rate demands."""
        after = self.resumes_at
        while True:
            started = time.monotonic()
            done = ask({**self.request, "after": after})
            yield done
            after = done["next"]
            if after is None:
                return
            if self.rate:
                sleep(max(0.0, len(done["results"]) / self.rate - (time.monotonic() - started)))


def function_of(stack: str, client: Callable[..., Any]) -> Ask:
    """Return what asks the replay function of a stack.

    Raises:
        StackFunctionError: The stack has none.
    """
    return stack_function.function_of(stack, client, FUNCTION, "deploy with ReplayOperators to have one")


@dataclass(slots=True)
class _Tally:
    """What the slices of a replay did."""

    objects: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    records: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    left: list[Mapping[str, Any]] = field(default_factory=list)
    to_come: int = 0
    waiting: int = 0

    def take(self, result: Mapping[str, Any]) -> None:
        """Count one object or range."""
        kind = (result["route"] or "(several)", result["reason"], "left" if result["blocked_by"] else "")
        self.objects[kind] += 1
        self.records[kind] += result["records"]
        self.left += [result] if result["blocked_by"] else []
        self.to_come += result["to_come"]
        self.waiting += result["waiting"]

    def show(self, console: Console, *, applies: bool) -> None:
        """Print the counts, and why things are left."""
        if self.to_come:
            console.print(
                f"{self.to_come} records are still to come: some route has not reached them, and the function delivers "
                "them"
            )
        if self.waiting:
            console.print(
                f"{self.waiting} records wait as dead letters; `ctr-fanout replay dead-letters` delivers them"
            )
        console.print(self._table(applies=applies))
        for result in self.left[:_MOST_SHOWN]:
            console.print(f"left: {result['key']}: {result['blocked_by']}", markup=False, soft_wrap=True)
        if len(self.left) > _MOST_SHOWN:
            console.print(f"and {len(self.left) - _MOST_SHOWN} more are left")
        if not applies:
            console.print("nothing was changed; --apply does it")

    def _table(self, *, applies: bool) -> Table:
        title = "replayed" if applies else "would be replayed"
        shown = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for heading in ("route", "reason", "objects or ranges", "records", ""):
            shown.add_column(heading, justify="right" if heading[:7] in {"objects", "records"} else "left")
        for kind, count in sorted(self.objects.items()):
            route, reason, state = kind
            shown.add_row(route, reason, str(count), str(self.records[kind]), state)
        return shown


def run(replay: Replay, ask: Ask, console: Console) -> int:
    """Replay, with progress, and return the exit code: 1 if something is left where it was.

    Interrupted, it tells how to go on.
    """
    tally = _Tally()
    after = replay.resumes_at
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} looked at"),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(str(replay.request["source"]), total=None)
            for done in replay.slices(ask):
                for result in done["results"]:
                    tally.take(result)
                progress.advance(task, len(done["results"]))
                after = done["next"] or after
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with --resume {after}" if after else "interrupted before the first slice")
        return 130
    except (StackFunctionError, BotoCoreError, ClientError) as err:
        if after is None:
            raise
        told = str(err) if isinstance(err, StackFunctionError) else explained(err)
        console.print(f"{told}\ngo on with --resume {after}", markup=False, soft_wrap=True)
        return 1
    tally.show(console, applies=bool(replay.request.get("apply")))
    return int(bool(tally.left))
