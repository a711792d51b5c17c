"""`make test`: all tests, those that deploy beside those that do not, since the machine has two cores.

Everything after `python -m tests` goes to both runs of pytest. Both run in a random order; the seed is printed
first and again where a run fails: `python -m tests --randomly-seed=SEED` repeats the order.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time

_SEED = "--randomly-seed="


def main(arguments: list[str]) -> int:
    """Run both; print the output of the second when the first is done; return 0 if both pass."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is reached
    given = [argument for argument in arguments if argument.startswith(_SEED)]
    seed = given[-1] if given else f"{_SEED}{random.SystemRandom().randrange(2**32)}"
    print(f"order of the tests: {seed}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", *(a for a in arguments if a not in given), seed]
    with tempfile.TemporaryFile("w+") as shown:
        runs = [
            subprocess.Popen([*command, "-m", "e2e"], stdout=shown, stderr=subprocess.STDOUT),
            subprocess.Popen([*command, "-m", "not e2e"]),
        ]
        try:
            code = runs[1].wait()
            print("the tests that deploy (-m e2e):", flush=True)
            code = max(code, runs[0].wait())
        finally:
            for run in runs:
                run.terminate()
            for run in runs:
                run.wait()
        shown.seek(0)
        print(shown.read(), f"all of it in {time.monotonic() - started:.0f} s", flush=True)
    if code:
        print(f"failed; the same order again: python -m tests {seed}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
