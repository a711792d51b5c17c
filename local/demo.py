"""`make demo`: the whole system on this machine, from nothing to a reconciliation."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aws.route_file import shipped_routes
from cli.convert import CURE, FUNCTION
from cli.convert import run as convert
from cli.reconcile import Range, as_lines, balances, holds
from cli.stack_function import function_of
from infrastructure.analysis.queries import sql_of
from local.comparable import Comparable
from local.connect import ConnectStandIn, RefusedError
from local.deployment import STACK, Deployed, DeploymentError, aliases, build, deploy, mend
from local.emulator import Emulator, EmulatorError, emulator
from local.event_source import EventSource, EventSourceError, MappingError
from local.lake import Lake, download, lake_of
from local.query import answer_of
from local.reconcile import UNEXPECTED, DeliveredObject, Reconciliation, delivered_objects, reconcile
from routing.table.routes import RouteTable

_RECORDS = 5000
_SEED = 20260302
_MOST_ROWS = 5


def main(count: int = _RECORDS) -> int:
    """Run the demo; return the exit code."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))  # so that `finally` runs
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = shipped_routes()
    try:
        with _step(console, "build the Lambda bundle (sam build)"):
            build()
        with emulator() as running:
            console.print(f"  the emulator listens on {running.url}")
            with _step(console, "deploy template.yaml to it (sam deploy)"):
                deployed = deploy(running, Parquet="on")
                dropped = ", ".join(mend(running, deployed))
            console.print(f"  dropped by the emulator, set again: {dropped or 'nothing'}", style="dim")
            return _run(console, running, deployed, table, count)
    except (EmulatorError, DeploymentError, EventSourceError, MappingError, RefusedError) as err:
        console.print(str(err), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything is stopped")
        return 130


def _run(console: Console, running: Emulator, deployed: Deployed, table: RouteTable, count: int) -> int:
    columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        sending = progress.add_task("Connect sends records into the encrypted stream", total=None)
        sent = ConnectStandIn(running, deployed.stream, _SEED).send(
            count, lambda done: progress.update(sending, completed=done)
        )
        progress.update(sending, total=len(sent), completed=len(sent))
        driving = progress.add_task("the deployed function fans them out (stream records)", total=None)
        invocations = EventSource(running.client, deployed.mapping).drain(lambda done: progress.advance(driving, done))
        progress.update(driving, total=progress.tasks[driving].completed)
    with _step(console, "read every object back and open it"):
        objects = list(delivered_objects(running, deployed, table))
    console.print(_table(objects, aliases(running, deployed, table), deployed, table))
    result = reconcile(sent, objects, table, Comparable(running, deployed, table))
    wrong_keys = sum(found.kms_key.rpartition("/")[2] != _key_of(found, deployed) for found in objects)
    console.print(f"{invocations} invocations; {len(objects)} objects read back, {wrong_keys} under a wrong key")
    with _step(console, "ctr-fanout reconcile: the stream against names and metadata, decrypting nothing"):
        found = balances(running.client, deployed.target, table, Range())
    for line in () if holds(found) else as_lines(found):
        console.print(line, style="red", markup=False)
    is_answered = _ask(console, running, deployed, table)
    print(result)  # noqa: T201 - a line for scripts: never wrapped, never coloured
    return int(not (result.holds and holds(found) and is_answered) or wrong_keys > 0 or _is_empty(result))


def _table(objects: list[DeliveredObject], alias_of: dict[str, str], deployed: Deployed, table: RouteTable) -> Table:
    shown = Table(title=f"s3://{deployed.bucket}")
    for heading in ("route", "prefix"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("records", "objects", "bytes"):
        shown.add_column(heading, justify="right")
    shown.add_column("key alias", no_wrap=True)
    for route in table.all_routes:
        mine = [found for found in objects if found.route == route.name]
        records = sum(len(found.lines) for found in mine)
        size = sum(found.body_bytes for found in mine)
        shown.add_row(route.name, route.prefix, f"{records}", f"{len(mine)}", f"{size}", alias_of[route.name])
    return shown


def _ask(console: Console, running: Emulator, deployed: Deployed, table: RouteTable) -> bool:
    """Make columns, and show tables and a saved query; return True if each view has each line once, and an answer."""
    told = StringIO()
    with _step(console, "the deployed function makes Parquet of the days that are over (ctr-fanout convert)"):
        ask = function_of(STACK, lambda service, **_: running.client(service), FUNCTION, CURE)
        is_left = convert([route.name for route in table.routes], ask, Console(file=told), apply=True)
    if is_left:
        console.print(told.getvalue(), style="red", markup=False)
    with tempfile.TemporaryDirectory() as folder:
        download(running.client("s3"), deployed.bucket, Path(folder))
        lake = lake_of(Path(folder), table)
        shown = Table(title="tables, by DuckDB in the place of Athena")
        for heading in ("view", "records", "of lines", "of columns"):
            shown.add_column(heading, justify="left" if heading == "view" else "right", no_wrap=True)
        is_whole = True
        for view in lake.queries:
            records, lines = _records(lake, view), _records(lake, f"{view}_lines")
            closed = _records(lake, f"{view}_parquet") if view in lake.columns else 0
            shown.add_row(view, f"{records}", f"{records - closed}", f"{closed}")
            is_whole = is_whole and records == lines
        view = min(lake.queries, key=lambda view: view not in lake.columns)
        query = lake.queries[view][0]
        rows = lake.ask(sql_of(query, view))
    console.print(shown)
    console.print("days that are not over are read from lines; docs/columns.md has more", style="dim")
    console.print(answer_of(query, view, rows[:_MOST_ROWS]))
    return not is_left and is_whole and bool(rows)


def _records(lake: Lake, view: str) -> int:
    return int(lake.ask(f"SELECT count(*) AS records FROM {view}")[0]["records"])  # noqa: S608 - a name of ours


def _key_of(found: DeliveredObject, deployed: Deployed) -> str:
    """Return the key that an object has to stand under; what is out of place has none."""
    return "" if found.route == UNEXPECTED else deployed.key_id(found.route).rpartition("/")[2]


def _is_empty(result: Reconciliation) -> bool:
    """A run that delivered nothing proves nothing."""
    return result.delivered == 0


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(what):
        yield
    console.print(f"  {what}: {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
