"""The schedules prove something only if they fail when the design is broken.

Each mutant is a copy of the code with one of its ideas taken out; the schedules run on it until one of them
loses or doubles a record, or the regressions that tell it step by step.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MOST_SCHEDULES = 10_000
_REGRESSIONS = "tests/faults/test_regressions.py"


@dataclass(frozen=True)
class Mutant:
    """One edit of the code.

    Attributes:
        idea: What it takes out.
        file: Where.
        before: The text of the idea.
        after: What stands there instead.
        among: Which troubles meet it often; by default any.
        is_told: True if it takes so many troubles at once that one of the regressions tells them step by step.
    """

    idea: str
    file: str
    before: str
    after: str
    among: str = ""
    is_told: bool = False


MUTANTS = [
    Mutant(
        "watermarks move after the puts",
        "routing/pipeline.py",
        "                    settlement.take(deliver(objects, table, sink, claim.intend, refused))\n",
        "                    claim.commit(_ahead(claim.watermarks, segment[-1], table.names), release=False)\n"
        "                    settlement.take(deliver(objects, table, sink, claim.intend, refused))\n",
    ),
    Mutant(
        "names are made of the records alone, never of a clock",
        "routing/render.py",
        'name = f"{shard.stream_name}-{shard.shard_id}-{first}{content}.ndjson.gz"',
        'import itertools; clock = globals().setdefault("_clock", itertools.count(int(first)))\n'
        '    name = f"{shard.stream_name}-{shard.shard_id}-{next(clock)}{content}.ndjson.gz"',
    ),
    Mutant(
        "sequence numbers compare as numbers",
        "routing/batch.py",
        "if record.position <= watermarks.get(route.name, -1):",
        'if str(record.position) <= str(watermarks.get(route.name, "")):',
    ),
    Mutant(
        "each route has a watermark of its own",
        "routing/progress.py",
        "watermarks = {**self.watermarks, **delivered}\n",
        "watermarks = dict.fromkeys({**self.watermarks, **delivered}, max(delivered.values(), default=-1))\n",
    ),
    Mutant(
        "what the watermark has passed is skipped",
        "routing/batch.py",
        "if record.position <= watermarks.get(route.name, -1):",
        "if False:",
    ),
    Mutant(
        "a route that failed does not move",
        "routing/pipeline.py",
        "set(table.names) - unsettled)",
        "set(table.names))",
    ),
    Mutant(
        "names are written down before they are put",
        "routing/deliver.py",
        "intend({rendered.key: rendered.owner for rendered in (*objects, *letters)})",
        "pass",
    ),
    Mutant(
        "names of dead letters are written down before they are put",
        "routing/deliver.py",
        "intend({letter.key: letter.owner for letter in letters})",
        "pass",
        among="keys,kill",
    ),
    Mutant(
        "what an earlier try has left is emptied",
        "routing/pipeline.py",
        "objects += _strays(claim, objects, table)",
        "pass",
    ),
    Mutant(
        "an object is replaced by its ETag",
        "handlers/s3_sink.py",
        'request["IfMatch"] = there["ETag"]',
        "pass",
    ),
    Mutant(
        "the same content is put again",
        "handlers/s3_sink.py",
        'del request["IfNoneMatch"]',
        'if there["Metadata"]["plain-crc32"] == rendered.metadata["plain-crc32"]: return\n        del request["IfNoneMatch"]',
        among="kill,second poller,fail",
    ),
    Mutant(
        "a first put is conditional",
        "handlers/s3_sink.py",
        'request["IfNoneMatch"] = "*"',
        'request["IfNoneMatch"] = ""',
    ),
    Mutant(
        "an invocation that has outlived its claim replaces nothing",
        "handlers/s3_sink.py",
        'if int(there["Metadata"].get(FENCING, -1)) > int(mine):',
        "if False:",
        among="skew,second poller",
    ),
    Mutant(
        "some route ahead is right only for the same routes",
        "routing/progress.py",
        "self.trial.routes == routes and first",
        "first",
    ),
    Mutant(
        "some route ahead is right only for the same records",
        "routing/progress.py",
        "first <= furthest <= last",
        "first <= furthest",
        is_told=True,
    ),
    Mutant(
        "a trial that is left is written down",
        "routing/progress.py",
        "self._progress is not self._kept or ",
        "",
        is_told=True,
    ),
    Mutant(
        "a name that cannot be emptied is kept",
        "routing/pipeline.py",
        "kept = settlement.kept | _out_of_reach(claim, table)",
        "kept = _out_of_reach(claim, table)",
        is_told=True,
    ),
    Mutant(
        "a name that a dead letter has filled is not emptied",
        "routing/deliver.py",
        "is_open = rendered.key not in filled",
        "is_open = True",
        among="keys",
    ),
    Mutant(
        "a name that a dead letter fills is not emptied beside it",
        "routing/deliver.py",
        "asked = [rendered for rendered in asked if rendered.key not in filling]",
        "pass",
        among="kill,keys,fail,restart",
    ),
    Mutant(
        "without a checkpoint nothing is replaced",
        "routing/render.py",
        'content = f"-{checksum:08x}" if token is None else ""',
        'content = ""',
        among="off",
    ),
    Mutant(
        "a replay leaves alone what stands",
        "routing/standing.py",
        "return index >= 0 and position <= ranges[index][1]",
        "return False",
    ),
    Mutant(
        "a replay trusts no name that is not committed",
        "routing/standing.py",
        "committed = [one for one in objects if one.name.key not in intents]",
        "committed = list(objects)",
    ),
    Mutant(
        "a dead letter that was moved shuts out late puts for an hour",
        "handlers/replaying.py",
        "        if is_old or claim.token is None:\n",
        "        if True:\n",
        is_told=True,
    ),
    Mutant(
        "a dead letter is removed after it is delivered",
        "handlers/replaying.py",
        "        if left := self._move(letter, claim.token):\n",
        "        self._remove(letter.name.key) if is_old else None\n"
        "        if left := self._move(letter, claim.token):\n",
        among="keys,fail,replay",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.idea)
def test_schedules_fail_without(mutant: Mutant, tmp_path: Path) -> None:
    shutil.copytree(_ROOT / "src", tmp_path / "src")
    edited = tmp_path / "src" / mutant.file
    text = edited.read_text()
    assert text.count(mutant.before) == 1, f"{mutant.file} has changed; change the mutant with it"
    edited.write_text(text.replace(mutant.before, mutant.after))
    if mutant.is_told:
        command = [
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-o",
            f"pythonpath={tmp_path / 'src'} .",
            _REGRESSIONS,
        ]
    else:
        command = ["tests.faults", "0", str(_MOST_SCHEDULES), *([mutant.among] if mutant.among else [])]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{_ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, f"nothing notices: {done.stdout[-2000:]}"
    assert ("seed" in done.stdout) or ("FAILED" in done.stdout), done.stderr[-2000:]
