"""`make demo`, as a new user starts it, and stops it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def emulators() -> set[str]:
    """Return the ids of all emulator processes of this machine."""
    found = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ministack" in command.read_bytes():
                found.add(command.parent.name)
        except OSError:
            continue
    return found


def test_demo_ends_with_the_reconciliation_and_leaves_nothing_running() -> None:
    before = emulators()
    done = subprocess.run([sys.executable, "-m", "local.demo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    line = re.fullmatch(
        r"reconciled: in=(\d+) delivered=(\d+) dropped=(\d+) dead_lettered=(\d+) lost=0 duplicated=0",
        done.stdout.splitlines()[-1],
    )
    assert line is not None, done.stdout
    assert int(line[1]) > 5000
    assert all(int(count) > 0 for count in line.groups())
    assert emulators() <= before


def test_interrupted_demo_stops_what_it_has_started() -> None:
    before = emulators()
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "local.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if b"the emulator listens on" in line:
            break
    time.sleep(1)
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(timeout=60) == 130
    demo.stdout.close()
    assert emulators() <= before
