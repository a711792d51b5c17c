"""`make test`: all tests, in a few processes beside one another, since those that deploy wait more than they compute.

Everything after `python -m tests` goes to each run of pytest. Each runs in a random order; the seed is printed first and
again where a run fails: `python -m tests --randomly-seed=SEED` repeats the order.
"""

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SEED = "--randomly-seed="
_FAULTS = "tests/e2e/test_faults.py"
_DEMO = ("tests/e2e/test_demo.py", "tests/e2e/test_tour.py")
_PARTS: Mapping[str, Sequence[str]] = {
    "deployed": ["tests/e2e", f"--ignore={_FAULTS}", *(f"--ignore={file}" for file in _DEMO)],
    "deployed by make demo and make up": _DEMO,
    "deployed, amid faults": [_FAULTS],
    "faults in process": ["tests/faults"],
    "doctor and grants": ["tests/doctor", "tests/grants"],
    "everything else": [
        "tests",
        *(f"--ignore=tests/{folder}" for folder in ("e2e", "faults", "doctor", "grants", "sam")),
    ],
}
_SECONDS_BETWEEN_REPORTS = 30
_SECONDS_BETWEEN_LOOKS = 0.2
_NO_TESTS = 5


@dataclass(frozen=True)
class _Part:
    """One run of pytest."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def shown(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def progress(self) -> str:
        rows = re.findall(r"^[.FEsxX]+", self.shown(), re.MULTILINE)
        return f"{self.name} {sum(map(len, rows))} tests"


def main(arguments: list[str]) -> int:
    """Run all parts, print the output of each when it is done, and return 0 if all pass."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is reached
    given = [argument for argument in arguments if argument.startswith(_SEED)]
    seed = given[-1] if given else f"{_SEED}{random.SystemRandom().randrange(2**32)}"
    print(f"order of the tests: {seed}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", *(a for a in arguments if a not in given), seed]
    with tempfile.TemporaryDirectory() as folder:
        parts = [
            _start(name, [*_priority_of(name), *command, *of_part], Path(folder)) for name, of_part in _PARTS.items()
        ]
        try:
            codes = _watch(parts, started)
        finally:
            for part in parts:
                part.process.terminate()
            for part in parts:
                part.process.wait()
    print(f"all of it in {time.monotonic() - started:.0f} s", flush=True)
    if failed := [name for name, code in codes.items() if code not in {0, _NO_TESTS}]:
        print(f"failed: {', '.join(failed)}; the same order again: python -m tests {seed}", flush=True)
    return int(bool(failed) or all(code == _NO_TESTS for code in codes.values()))


def _priority_of(part: str) -> list[str]:
    """Let what waits for the emulator go first, and what only computes fill the gaps."""
    return [] if part.startswith("deployed") else ["nice", "-n", "10"]


def _start(name: str, command: Sequence[str], folder: Path) -> _Part:
    output = folder / name
    with output.open("wb") as file:
        return _Part(name, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT), output)


def _watch(parts: Sequence[_Part], started: float) -> dict[str, int]:
    codes: dict[str, int] = {}
    reported = started
    while len(codes) < len(parts):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = time.monotonic()
        for part in parts:
            if part.name not in codes and (code := part.process.poll()) is not None:
                codes[part.name] = code
                print(f"--- {part.name}, after {now - started:.0f} s\n{part.shown()}", flush=True)
        left = [part.progress() for part in parts if part.name not in codes]
        if left and now - reported > _SECONDS_BETWEEN_REPORTS:
            reported = now
            print(f"{now - started:4.0f} s: {', '.join(left)}", flush=True)
    return codes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
