"""The `replay` command: asks the stack's replay function, slice by slice, and shows what it did.

Only the function opens dead letters; nothing of a record comes to the machine where the command runs.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

FUNCTION = "ReplayFunction"
_MOST_SHOWN = 20

type Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""One slice: a request (`handlers/replay_request.py`) -> `{"things": [...], "next": ...}`."""


class ReplayError(Exception):
    """The function cannot be asked, or refuses the request."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A whole replay.

    Attributes:
        request: What every slice is asked for, without `after`.
        resumes_at: Where an earlier one was interrupted; None to begin.
        things_a_second: The most that are replayed; None does not wait.
    """

    request: Mapping[str, Any]
    resumes_at: str | None = None
    things_a_second: float | None = None

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
            if self.things_a_second:
                sleep(max(0.0, len(done["things"]) / self.things_a_second - (time.monotonic() - started)))


def function_of(stack: str, client: Callable[..., Any]) -> Ask:
    """Return what asks the replay function of a stack.

    Args:
        stack: Its name.
        client: Makes boto3 clients.

    Raises:
        ReplayError: The stack has none.
    """
    try:
        resource = client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=FUNCTION)
    except ClientError as err:
        code = err.response["Error"]["Code"]
        raise ReplayError(
            f"stack {stack!r}: expected a replay function, got {code}; deploy with ReplayOperators to have one"
        ) from None
    name = resource["StackResourceDetail"]["PhysicalResourceId"]
    functions = client("lambda", config=Config(read_timeout=910, retries={"total_max_attempts": 1}))

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer = functions.invoke(FunctionName=name, Payload=json.dumps(request))
        except ClientError as err:
            raise ReplayError(f"{name}: Invoke refused with {err.response['Error']['Code']}") from None
        payload: Any = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise ReplayError(str(payload.get("errorMessage", "the function failed; see its log")))
        done: Mapping[str, Any] = payload
        return done

    return ask


def run(replay: Replay, ask: Ask, console: Console) -> int:
    """Replay, with progress, and return the exit code: 1 if something is left where it was.

    Interrupted, it tells how to go on.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    records: Counter[tuple[str, str, str]] = Counter()
    left: list[Mapping[str, Any]] = []
    to_come = 0
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
                for thing in done["things"]:
                    kind = (thing["route"] or "(several)", thing["reason"], "left" if thing["left"] else "")
                    counts[kind] += 1
                    records[kind] += thing["records"]
                    left += [thing] if thing["left"] else []
                    to_come += thing["to_come"]
                progress.advance(task, len(done["things"]))
                after = done["next"] or after
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with --resume {after}" if after else "interrupted before the first slice")
        return 130
    except (ReplayError, BotoCoreError) as err:
        if after is None:
            raise ReplayError(str(err)) from None
        console.print(f"{err}\ngo on with --resume {after}", markup=False, soft_wrap=True)
        return 1
    if to_come:
        console.print(
            f"{to_come} records are still to come: some route has not reached them, and the function delivers them"
        )
    applies = bool(replay.request.get("apply"))
    console.print(_table(counts, records, applies=applies))
    for thing in left[:_MOST_SHOWN]:
        console.print(f"left: {thing['key']}: {thing['left']}", markup=False, soft_wrap=True)
    if len(left) > _MOST_SHOWN:
        console.print(f"and {len(left) - _MOST_SHOWN} more are left")
    if not applies:
        console.print("nothing was changed; --apply does it")
    return int(bool(left))


def _table(counts: Counter[tuple[str, str, str]], records: Counter[tuple[str, str, str]], *, applies: bool) -> Table:
    shown = Table(box=None, pad_edge=False, title="replayed" if applies else "would be replayed", title_justify="left")
    for heading in ("route", "reason", "objects or ranges", "records", ""):
        shown.add_column(heading, justify="right" if heading[:7] in {"objects", "records"} else "left")
    for kind, count in sorted(counts.items()):
        route, reason, state = kind
        shown.add_row(route, reason, str(count), str(records[kind]), state)
    return shown
