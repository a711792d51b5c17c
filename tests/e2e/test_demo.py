"""`make demo`, as a new user starts it, and stops it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def running(mark: str) -> set[str]:
    """Return the ids of all processes of this machine that have inherited a mark in their environment."""
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes():
                found.add(environment.parent.name)
    return found


@pytest.fixture
def mark() -> str:
    return f"STARTED_BY={uuid.uuid4()}"


def environment(mark: str) -> dict[str, str]:
    name, _, value = mark.partition("=")
    return {**os.environ, name: value, "PYTHONUNBUFFERED": "1"}


def test_demo_ends_with_the_reconciliation_and_leaves_nothing_running(mark: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment(mark),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = re.fullmatch(
        r"reconciled: in=(\d+) delivered=(\d+) dropped=(\d+) dead_lettered=(\d+) lost=0 duplicated=0",
        done.stdout.splitlines()[-1],
    )
    assert line is not None, done.stdout
    assert int(line[1]) > 5000
    assert all(int(count) > 0 for count in line.groups())
    assert re.search(r"japan_contact_record +│ +([1-9]\d*) │ +0 │ +\1 │", done.stdout), done.stdout
    assert "Abandoned by queue, on japan_contact_record" in done.stdout
    assert not running(mark)


def test_killed_demo_leaves_nothing_alive(mark: str) -> None:
    """Nothing can catch SIGKILL: the emulator notices that it is alone."""
    demo = started(mark)
    demo.kill()
    demo.wait()
    while running(mark):
        time.sleep(0.1)


def test_interrupted_demo_stops_what_it_has_started(mark: str) -> None:
    demo = started(mark)
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(timeout=600) == 130
    assert not running(mark)


def started(mark: str) -> subprocess.Popen[str]:
    """Start the demo, and return when its emulator runs."""
    with tempfile.NamedTemporaryFile() as shown:
        demo = subprocess.Popen(
            [sys.executable, "-u", "-m", "local.demo"],
            cwd=ROOT,
            stdout=shown,
            stderr=subprocess.STDOUT,
            env=environment(mark),
            start_new_session=True,
            text=True,
        )
        while "the emulator listens on" not in Path(shown.name).read_text(encoding="utf-8"):
            assert demo.poll() is None
            time.sleep(0.1)
    assert len(running(mark)) > 1
    return demo
