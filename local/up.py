"""`make up`: the deployed stack on the emulator, to stay, so that every command of the docs can be tried on it.

    python -m local.up start       deploy, and return when it runs
    python -m local.up traffic N   let Connect send N records, and return when they are delivered
    python -m local.up env         print what to export
    python -m local.up stop        stop it; nothing of it is left

A process in the background keeps the emulator, delivers what is in the stream as Lambda's poller would, and puts the
metrics that CloudWatch would make of the log. The stack is that of the tests where policies are enforced.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from aws.route_file import shipped_routes
from cli.reconcile import Range, balances, holds
from local.connect import ConnectStandIn, RefusedError
from local.deployment import STACK, Deployed, DeploymentError, build, deploy, mend
from local.emulator import ROOT, Emulator, EmulatorError, emulator
from local.event_source import EventSource, EventSourceError
from local.metrics import Counted, Point, of_logs
from local.people import CONNECT, admit, make_roles

# Tests keep a stack of their own.
_FOLDER = Path(os.environ.get("CTR_FANOUT_UP") or ROOT / ".cache")
_STATE = _FOLDER / "up.json"
_LOG = _FOLDER / "up.log"
_IDLE = _FOLDER / "up.idle"  # when all that was in the stream was delivered and counted
_EXPORTED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
_RECORDS = 500
_SECONDS_BETWEEN_LOOKS = 0.5
_USAGE = "expected start, stop, env, or traffic with a number of records"


class NotUpError(Exception):
    """There is no stack to work on."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        match arguments:
            case ["start"]:
                _start(console)
            case ["keep"]:
                _keep()
            case ["stop"]:
                _stop(console)
            case ["env"]:
                print(_exports(running()))  # noqa: T201 - for `eval`
            case ["traffic", *count] if all(one.isdecimal() for one in count):
                _send(console, int(count[0]) if count else _RECORDS)
            case _:
                console.print(_USAGE)
                return 2
    except (NotUpError, EmulatorError, DeploymentError, RefusedError, ClientError, BotoCoreError) as err:
        # Standard output may be read by a shell: eval "$(make -s env)".
        Console(stderr=True).print(str(err), style="red", markup=False)
        return 1
    return 0


def running() -> Emulator:
    """Return the emulator that `start` has left running.

    Raises:
        NotUpError: There is none.
    """
    state = _state()
    if state is None:
        raise NotUpError("no stack is running; make up starts one")
    url = urlsplit(state["url"])
    assert url.hostname is not None
    assert url.port is not None
    return Emulator(url.hostname, url.port)


def deployed_on(emulator_: Emulator) -> Deployed:
    """Return what is deployed there."""
    del emulator_
    state = _state()
    assert state is not None
    return Deployed(state["resources"])


def _state() -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(_STATE.read_text(encoding="utf-8"))
        # Another process may have the number by now.
        command = Path(f"/proc/{state['pid']}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, KeyError):
        return None
    return state if b"local.up" in command and b"keep" in command else None


def _exports(emulator_: Emulator) -> str:
    return "\n".join(f"export {name}={emulator_.environ[name]}" for name in _EXPORTED)


# --- start and stop -----------------------------------------------------------------------------------


def _start(console: Console) -> None:
    if _state() is None:
        _LOG.parent.mkdir(exist_ok=True)
        _STATE.unlink(missing_ok=True)
        with console.status("build the Lambda bundle (sam build)"):
            build()
        with console.status("start the emulator and deploy template.yaml to it (about a minute)"):
            _start_keeper()
    console.print("The stack is up. In this shell:\n")
    print(_exports(running()))  # noqa: T201 - to copy: never wrapped
    console.print(
        '\nor: eval "$(make -s env)"\nThen make traffic, .venv/bin/ctr-fanout status, docs/tour.md; make down ends it.',
        markup=False,
    )  # fmt: skip


def _start_keeper() -> None:
    """Start the process that keeps it all, and wait until the stack is deployed.

    Raises:
        DeploymentError: It ended instead.
    """
    with _LOG.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "local.up", "keep"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while _state() is None:
            if keeper.poll() is not None:
                raise DeploymentError(_LOG.read_text(encoding="utf-8", errors="replace"))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        keeper.terminate()
        keeper.wait()
        raise


def _stop(console: Console) -> None:
    state = _state()
    if state is None:
        console.print("no stack is running")
        return
    os.kill(state["pid"], signal.SIGTERM)
    while _state() is not None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    console.print("The stack is gone, with everything that was in it.")


# --- the process in the background --------------------------------------------------------------------


def _keep() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `with` ends
    with emulator(is_enforcing=True) as kept:
        deployed = deploy(kept, **make_roles(kept), Erasure="on", Parquet=os.environ.get("PARQUET", "on"))
        list(mend(kept, deployed))
        admit(kept, deployed)
        _write({"pid": os.getpid(), "url": kept.url, "resources": deployed.resources})
        try:
            _deliver_for_ever(kept, deployed)
        finally:
            _STATE.unlink(missing_ok=True)


def _deliver_for_ever(kept: Emulator, deployed: Deployed) -> None:
    source = EventSource(kept.client, deployed.mapping)
    counted = Counter[Point]()
    _IDLE.touch()
    while True:
        try:
            source.drain()
            started = time.time()
            _count(kept, deployed, counted)
            os.utime(_IDLE, (started, started))
        except (ClientError, BotoCoreError, EventSourceError) as err:
            print(f"{type(err).__name__}: {err}; tried again", flush=True)  # noqa: T201 - into the log
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _count(kept: Emulator, deployed: Deployed, counted: Counter[Point]) -> None:
    """Put what the functions have logged since the last time."""
    logged = Counter(of_logs(kept, deployed).points)
    Counted(list((logged - counted).elements())).put(kept)
    counted.update(logged - counted)


# --- traffic ------------------------------------------------------------------------------------------


def _send(console: Console, count: int) -> None:
    """Send records as Connect does, and wait until each is delivered or a dead letter."""
    up = running()
    deployed = deployed_on(up)
    seed = _next_seed()
    with console.status(f"Connect sends {count} records and some odd ones"):
        sent = ConnectStandIn(up, deployed.stream, seed, role=CONNECT).send(count, lambda _: None)
    with console.status("the function fans them out"):
        while not _is_delivered(up, deployed):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        delivered_at = time.time()
        while _IDLE.stat().st_mtime < delivered_at:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            running()
    console.print(f"{len(sent)} records sent to the stream {deployed.stream} and fanned out by the stack {STACK}")


def _is_delivered(up: Emulator, deployed: Deployed) -> bool:
    running()
    found = balances(up.client, deployed.target, shipped_routes(), Range())
    return holds(found) and not any(one.pending for of_shard in found.values() for one in of_shard.values())


def _next_seed() -> int:
    """Return another seed for each traffic: 1, 2, ..., so that what comes first is the same on every stack."""
    state = json.loads(_STATE.read_text(encoding="utf-8"))
    state["seed"] = state.get("seed", 0) + 1
    _write(state)
    return int(state["seed"])


def _write(state: dict[str, Any]) -> None:
    written = _STATE.with_suffix(".new")
    written.write_text(json.dumps(state), encoding="utf-8")
    written.rename(_STATE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
