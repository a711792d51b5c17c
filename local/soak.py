"""`make soak MINUTES=5`: steady and bursty load through the deployed function with faults on, then the balance.

It watches the process that runs the function: memory and open files have to stay flat. The figures go to
benchmarks/soak.json, from which docs/benchmarks.md shows them.
"""

import json
import os
import platform
import statistics
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from aws.route_file import shipped_routes
from cli.reconcile import Range, balances, holds, show
from cli.replay import Replay, function_of
from local.comparable import Comparable
from local.connect import ConnectStandIn
from local.deployment import STACK, Deployed, build, deploy, mend
from local.emulator import ROOT, Emulator, emulator
from local.event_source import EventSource
from local.fault_proxy import Fault, Request, fault_proxy, let_claims_run_out
from local.reconcile import delivered_objects, reconcile
from routing.lambda_event import ACCOUNT

_FIGURES = ROOT / "benchmarks" / "soak.json"
_SEED = 20260302
_STEADY_A_SECOND = 200
_BURST = 3000
_SECONDS_BETWEEN_BURSTS = 20
# One request in so many goes wrong; a throttle or a lost answer is retried by the SDK, a kill by Lambda.
_ONE_FAULT_IN = 400
_FAULTS: tuple[Fault, ...] = (
    "throttle",
    "error",
    "no request",
    "no answer",
    "slow",
    "key disabled",
    "kill",
    "late kill",
)
_TURNS_OF_RATE = 5
_ROUNDS_OF_RATE = 6
_SECONDS_TO_FORGET_A_REFUSAL = 31
_RECORDS_OF_RATE = 4000
_DENIED = "orders"


class _Faults:
    """Draws what goes wrong, and can deny one route."""

    def __init__(self) -> None:
        self._random = Random(_SEED)  # noqa: S311 - faults, not secrets
        self.is_on = False
        self.denied_prefix = ""
        self.met: Counter[str] = Counter()

    def decide(self, request: Request) -> Fault | None:
        if self.denied_prefix and request.method == "PUT" and self.denied_prefix in request.path:
            return None if "/dead-letter/" in request.path else "key disabled"
        if not self.is_on or self._random.randrange(_ONE_FAULT_IN):
            return None
        fault = self._random.choice(_FAULTS)
        self.met[fault] += 1
        return fault


class _Watch(threading.Thread):
    """Samples memory and open files of the functions' processes, each from its own warm state on."""

    def __init__(self, running: Emulator) -> None:
        super().__init__(daemon=True)
        self._running = running
        self._is_over = threading.Event()
        self.samples: dict[int, list[tuple[float, int]]] = {}

    def run(self) -> None:
        while not self._is_over.wait(1):
            for worker in self._running.workers():
                with suppress(OSError, IndexError):
                    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
                    files = sum(1 for _ in Path(f"/proc/{worker}/fd").iterdir())
                    mebibytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
                    self.samples.setdefault(worker, []).append((mebibytes, files))

    def stop(self) -> dict[str, Any]:
        """Return the figures of the process that lived longest: the first tenth against the last."""
        self._is_over.set()
        self.join()
        longest = max(self.samples.values(), key=len)
        tenth = max(1, len(longest) // 10)
        begin, end = longest[tenth : 2 * tenth], longest[-tenth:]
        return {
            "processes": len(self.samples),
            "seconds": len(longest),
            "memory_mb": [round(statistics.median(m for m, _ in part), 1) for part in (begin, end)],
            "most_memory_mb": round(max(m for m, _ in longest), 1),
            "open_files": [statistics.median(f for _, f in part) for part in (begin, end)],
            "most_open_files": max(f for _, f in longest),
        }


def main(minutes: float) -> int:
    """Run it; return the exit code: 1 if a record is lost or stands twice."""
    console, table, faults = Console(width=120), shipped_routes(), _Faults()
    build()
    with emulator() as running, fault_proxy(running, faults.decide) as url:
        operator = f"arn:aws:iam::{ACCOUNT}:role/Operator"
        deployed = deploy(running, url, ReplayOperators=operator, MaximumRetryAttempts="100")
        list(mend(running, deployed))
        source = EventSource(running.client, deployed.mapping)
        source.between = lambda: let_claims_run_out(running, deployed)
        watch = _Watch(running)
        watch.start()
        faults.is_on = True
        sent, seconds = _load(running, deployed, source, minutes, console)
        faults.is_on = False
        source.drain()
        for name in ("dead-letters", "on-failure"):
            ask = function_of(STACK, lambda service, **_: running.client(service))
            list(Replay({"source": name, "apply": True}).slices(ask))
        figures = watch.stop()
        standing = [one for one in delivered_objects(running, deployed, table) if one.lines]
        result = reconcile(sent, standing, table, Comparable(running, deployed, table))
        found = balances(running.client, deployed.target, table, Range())
        show(found, console)
        console.print(str(result))
        rate = _rate(running, deployed, source, faults)
    _FIGURES.write_text(
        json.dumps(
            {
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{os.cpu_count()} cores, CPython {platform.python_version()}",
                "minutes": round(seconds / 60, 1),
                "records": len(sent),
                "records_a_second": round(len(sent) / seconds),
                "invocations": source.invocations,
                "given_up": source.counts.handed_over,
                "faults": dict(sorted(faults.met.items())),
                "lost": result.lost,
                "duplicated": result.duplicated,
                "function": figures,
                "rate_of_others_with_one_denied": rate,
            },
            indent=1,
        )
        + "\n"
    )
    console.print(_FIGURES.read_text())
    return int(not (result.holds and holds(found)))


def _load(
    running: Emulator, deployed: Deployed, source: EventSource, minutes: float, console: Console
) -> tuple[list[bytes], float]:
    """Send steadily, and in bursts, while the event source delivers; return what was sent, and the seconds it took."""
    connect = ConnectStandIn(running, deployed.stream, _SEED)
    sent: list[bytes] = []
    started = time.monotonic()
    end = started + minutes * 60

    def send() -> None:
        burst_at = started + _SECONDS_BETWEEN_BURSTS
        while (now := time.monotonic()) < end:
            count = _BURST if now >= burst_at else _STEADY_A_SECOND
            burst_at += _SECONDS_BETWEEN_BURSTS if now >= burst_at else 0
            sent.extend(connect.send(count, lambda _: None))
            time.sleep(max(0.0, now + 1 - time.monotonic()))

    sender = threading.Thread(target=send)
    sender.start()
    with console.status("load, with faults"):
        while sender.is_alive():
            source.drain()
            time.sleep(0.5)
    sender.join()
    source.drain()
    return sent, time.monotonic() - started


def _rate(running: Emulator, deployed: Deployed, source: EventSource, faults: _Faults) -> dict[str, Any]:
    """Deliver the same records with all keys and with one denied, in turns; compare the sums of each turn.

    A refusal is remembered for half a minute; so each turn begins when the last one's is forgotten.
    """
    turns: list[dict[bool, float]] = []
    for turn in range(_TURNS_OF_RATE):
        time.sleep(_SECONDS_TO_FORGET_A_REFUSAL)
        seconds = {False: 0.0, True: 0.0}
        for is_denied in seconds:
            faults.denied_prefix = "/departments/orders/" if is_denied else ""
            for number in range(_ROUNDS_OF_RATE):
                seed = _SEED + turn * _ROUNDS_OF_RATE + number
                ConnectStandIn(running, deployed.stream, seed).send(_RECORDS_OF_RATE, lambda _: None)
                started = time.monotonic()
                source.drain()
                seconds[is_denied] += time.monotonic() - started
        turns.append(seconds)
    faults.denied_prefix = ""
    return {
        "denied": _DENIED,
        "ratio": round(statistics.median(turn[False] / turn[True] for turn in turns), 3),
        "seconds_with_all": round(statistics.median(turn[False] for turn in turns), 3),
        "seconds_with_one_denied": round(statistics.median(turn[True] for turn in turns), 3),
    }


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
