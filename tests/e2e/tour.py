"""docs/tour.md as a script: every block of commands, and what the page says that it prints.

`python -m tests.e2e.tour` plays it and writes what it printed into the page.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.emulator import ROOT

PAGE = ROOT / "docs" / "tour.md"
_BLOCK = re.compile(r"^```bash\n(?P<script>.*?)^```\n(?:\n^```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_AWS = f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tests.e2e.aws_cli "$@"\n'
_WIDTH = "120"


@dataclass(frozen=True)
class Step:
    """A block of commands.

    Attributes:
        script: What is typed.
        shown: What the page says that it prints; None if it says nothing.
        printed: What it has printed.
    """

    script: str
    shown: str | None
    printed: str


def play() -> Iterator[Step]:
    """Run the page from its beginning, one block after the other in one shell's environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        aws = folder / "bin" / "aws"
        aws.parent.mkdir()
        aws.write_text(_AWS)
        aws.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        path = os.pathsep.join([str(aws.parent), os.environ["PATH"]])
        environ = kept | {"CTR_FANOUT_UP": name, "COLUMNS": _WIDTH, "PATH": path}
        try:
            for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
                yield Step(block["script"], block["printed"], _run(block["script"], folder, environ))
        finally:
            _run("make down", folder, environ)


def _run(script: str, folder: Path, environ: dict[str, str]) -> str:
    """Run a block with the variables of those before it; return what it printed."""
    variables = folder / "variables"
    variables.touch()
    text = f"set -a; . {variables}; {script}\nexport -p > {variables}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],  # noqa: S607
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return re.sub(r" +$", "", done.stdout, flags=re.MULTILINE).strip("\n") + "\n"


def shape_of(text: str) -> set[str]:
    """Return the lines as they are in every run: words, without ids, numbers and the width of columns."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32,}\b", "#", text)
    text = re.sub(r"#?[0-9][0-9.,:#]*", "#", text)
    text = re.sub(r"(?<= )-(?=\s)", "#", text)  # a number that is not there yet
    text = re.sub(r"[─━═]+", "=", re.sub(r"[ \t]+", " ", text))
    return {line.strip() for line in text.splitlines()}


def main() -> None:
    """Play, and write."""
    steps = list(play())
    page = PAGE.read_text(encoding="utf-8")
    for step in steps:
        if step.shown is not None:
            before = f"```bash\n{step.script}```\n\n```text\n"
            page = page.replace(f"{before}{step.shown}```", f"{before}{step.printed}```")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
