"""Run a program, and kill its process group when whoever started it is gone, however it ended.

`python local/supervise.py PROGRAM ...` with a pipe as standard input: the pipe closes when the last process that holds
its other end is dead, also after SIGKILL, which nothing can catch.
"""

import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Return the program's exit code."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - what the caller names
    threading.Thread(target=_kill_when_alone, daemon=True).start()
    return program.wait()


def _kill_when_alone() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
