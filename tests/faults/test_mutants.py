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
        "                if grouping.skipped and not grouping.batches:\n",
        "                claim.commit(_ahead(claim.watermarks, segment[-1], table.names), release=False)\n"
        "                if grouping.skipped and not grouping.batches:\n",
    ),
    Mutant(
        "names are made of the records alone, never of a clock",
        "routing/stages/render.py",
        'f"{first}{content}"),',
        "f\"{next(globals().setdefault('_clock', __import__('itertools').count(int(first))))}{content}\"),",
    ),
    Mutant(
        "sequence numbers compare as numbers",
        "routing/stages/batch.py",
        "if record.position <= watermarks.get(route.name, -1):",
        'if str(record.position) <= str(watermarks.get(route.name, "")):',
    ),
    Mutant(
        "each route has a watermark of its own",
        "routing/stages/progress.py",
        "watermarks={**self.watermarks, **delivered},\n",
        "watermarks=dict.fromkeys({**self.watermarks, **delivered}, max(delivered.values(), default=-1)),\n",
    ),
    Mutant(
        "what the watermark has passed is skipped",
        "routing/stages/batch.py",
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
        "routing/stages/deliver.py",
        "intend([rendered.key for rendered in (*objects, *letters)])",
        "pass",
    ),
    Mutant(
        "names of dead letters are written down before they are put",
        "routing/stages/deliver.py",
        "intend([letter.key for letter in letters])",
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
        "aws/s3_sink.py",
        'replaces=there["ETag"]',
        "replaces='*'",
        among="kill,fail,restart",
    ),
    Mutant(
        "the same content is put again",
        "aws/s3_sink.py",
        '        self._put_if(rendered, replaces=there["ETag"])',
        '        if there["Metadata"]["plain-crc32"] == rendered.metadata["plain-crc32"]: return\n'
        '        self._put_if(rendered, replaces=there["ETag"])',
        among="kill,second poller,fail",
    ),
    Mutant(
        "a first put is conditional",
        "aws/bucket.py",
        '            request["IfNoneMatch"] = "*"\n',
        "            pass\n",
    ),
    Mutant(
        "an invocation that has outlived its claim replaces nothing",
        "aws/s3_sink.py",
        'if int(there["Metadata"].get(FENCING, -1)) > int(mine or -1):',
        "if False:",
        among="skew,second poller",
    ),
    Mutant(
        "some route ahead is right only for the same routes",
        "routing/stages/progress.py",
        "self.trial.routes == routes and first",
        "first",
    ),
    Mutant(
        "some route ahead is right only for the same records",
        "routing/stages/progress.py",
        "first <= furthest <= last",
        "first <= furthest",
        is_told=True,
    ),
    Mutant(
        "a trial that is left is written down",
        "routing/stages/progress.py",
        "self._progress is not self._kept or ",
        "",
        is_told=True,
    ),
    Mutant(
        "a name that cannot be emptied is kept",
        "routing/pipeline.py",
        "return settlement.kept.union(",
        "return frozenset[ObjectKey]().union(",
        is_told=True,
    ),
    Mutant(
        "a name that a dead letter has filled is not emptied",
        "routing/stages/deliver.py",
        "if rendered.key in filled",
        "if False",
        among="keys",
    ),
    Mutant(
        "a name that a dead letter fills is not emptied beside it",
        "routing/stages/deliver.py",
        "not rendered.record_count and rendered.key not in filling]",
        "not rendered.record_count]",
        among="kill,keys,fail,restart",
    ),
    Mutant(
        "without a checkpoint nothing is replaced",
        "routing/stages/render.py",
        """content = f"-{name_suffix or f'{checksum:08x}'}" if token is None else "" """.strip(),
        'content = ""',
        among="off",
    ),
    Mutant(
        "a replay leaves alone what stands",
        "routing/stored/coverage.py",
        "return index >= 0 and position <= ranges[index][1]",
        "return False",
    ),
    Mutant(
        "a replay trusts no name that is not committed",
        "routing/stored/objects.py",
        "committed = [one for one in objects if one.name.key not in intents]",
        "committed = list(objects)",
    ),
    Mutant(
        "a dead letter that was moved shuts out late puts for an hour",
        "operations/replay/object_letters.py",
        "        if is_old or claim.token is None:\n",
        "        if True:\n",
        is_told=True,
    ),
    Mutant(
        "a dead letter is removed after it is delivered",
        "operations/replay/object_letters.py",
        "        blocked_by, etag = self._move(letter, claim.token)\n",
        "        self.context.bucket.delete(letter.name.key, letter.etag) if is_old else None\n        blocked_by, etag = self._move(letter, claim.token)\n",
        among="keys,fail,replay",
    ),
    Mutant(
        "a replay that settles only in part commits nothing",
        "routing/pipeline.py",
        "            if not settlement.unsettled:\n"
        "                delivered = _ahead(claim.watermarks, segment[-1], table.names, watermark_limit)\n"
        "                claim.commit(delivered, _kept(claim, table, settlement), release=False)\n",
        "            delivered = _ahead(claim.watermarks, segment[-1], set(table.names) - settlement.unsettled)\n"
        "            is_partial = bool(settlement.unsettled)\n"
        "            claim.commit(delivered, _kept(claim, table, settlement), is_partial=is_partial, release=False)\n",
        is_told=True,
    ),
    Mutant(
        "the prefix of a name tells its owner",
        "routing/table/routes.py",
        '            if intended.startswith(f"{prefix}/"):\n                return route\n',
        '            if intended.startswith(f"{route}/"):\n                return route\n',
        is_told=True,
    ),
    Mutant(
        "the code is part of what guards a trial",
        "routing/table/routes.py",
        'RoutesDigest(f"{routes_digest}{code}")',
        "routes_digest",
        is_told=True,
    ),
    Mutant(
        "no two puts have the same bytes",
        "routing/stored/object_format.py",
        "_HEADER_WITH_TOKEN + _TOKEN.pack(token)",
        "_HEADER_WITH_TOKEN + _TOKEN.pack(0)",
        is_told=True,
    ),
    Mutant(
        "a batch is of this stack's mapping",
        "operations/replay/on_failure.py",
        "if mapping not in self.context.mappings:",
        "if False:",
        is_told=True,
    ),
    Mutant(
        "a batch is under the dead-letter key",
        "operations/replay/on_failure.py",
        'if got.key_arn.rpartition("/")[2] != expected.rpartition("/")[2]:',
        "if False:",
        is_told=True,
    ),
    Mutant(
        "a batch is of this stack's stream",
        "operations/replay/on_failure.py",
        "if shard.stream_arn != self.context.stream.arn or",
        "if",
        is_told=True,
    ),
    Mutant(
        "a batch is not ahead of the stream",
        "operations/replay/on_failure.py",
        "if is_issued is False:",
        "if False:",
        is_told=True,
    ),
    Mutant(
        "an event is of what the stream has issued",
        "routing/pipeline.py",
        "        admit(shard, records[-1].sequence_number)\n",
        "",
        is_told=True,
    ),
    Mutant(
        "a watermark is of what the stream has issued",
        "routing/pipeline.py",
        "                    admit(shard, _furthest(claim.watermarks, records[-1]))\n",
        "                    pass\n",
        is_told=True,
    ),
    Mutant(
        "a recovery drops what a backup intends",
        "routing/stages/progress.py",
        "intents=frozenset(intents), trial=None), release=False",
        "intents=self.intents, trial=None), release=False",
        is_told=True,
    ),
    Mutant(
        "a recovery finds what unfinished tries have left",
        "operations/replay/recovery.py",
        "left, doubtful = _unfinished(found, oldest)",
        "left, doubtful = set(), []",
        is_told=True,
    ),
    Mutant(
        "a dead letter is not delivered where its record is",
        "routing/stored/coverage.py",
        "        if is_by(one, table):\n            return False\n",
        "",
        is_told=True,
    ),
    Mutant(
        "where a part of an aggregate waits, the others are delivered apart",
        "operations/replay/delivery.py",
        "if is_beside(record) or any(",
        "if any(",
        is_told=True,
    ),
    Mutant(
        "a replayed dead letter keeps its name",
        "operations/replay/context.py",
        "report = self.redeliver(beside, shard, list(together), table, name_suffix=suffix)",
        "report = self.redeliver(beside, shard, list(together), table)",
        is_told=True,
    ),
    Mutant(
        "an intent that its route has passed belongs to no batch",
        "routing/stages/progress.py",
        "return key in self.intents and not (has_passed and trial is None)",
        "return key in self.intents",
        is_told=True,
    ),
    Mutant(
        "dead letters are erased first",
        "operations/erase/walk.py",
        "prefixes = [HANDED_OVER, *_LETTERS, *sorted(",
        "prefixes = [HANDED_OVER, *sorted(",
        is_told=True,
    ),
    Mutant(
        "a batch that is too long is split",
        "routing/pipeline.py",
        "report.is_too_long = _is_out_of_time(settlement)",
        "report.is_too_long = False",
        is_told=True,
    ),
    Mutant(
        "a refused object's earlier try is emptied when its key is back",
        "routing/stages/report.py",
        "(outcome.is_refused and outcome.rendered.may_exist)",
        "False",
        is_told=True,
    ),
    Mutant(
        "a replay removes only what it has read",
        "aws/bucket.py",
        "Key=key, IfMatch=etag,",
        "Key=key,",
        is_told=True,
    ),
    Mutant(
        "a recovery looks at the shards that only objects name",
        "operations/replay/recovery.py",
        "return sorted({*self.context.stream.shards(), *(shard for stream, shard in self._everything if stream == name)})",
        "return self.context.stream.shards()",
        is_told=True,
    ),
    Mutant(
        "a recovery compares dead letters with objects",
        "routing/stored/objects.py",
        "        beside = kept[one.name.place]\n",
        "        beside = kept[one.name.place, one.is_letter]\n",
        is_told=True,
    ),
    Mutant(
        "a recovery keeps names that were to be emptied",
        "operations/replay/recovery.py",
        "                left |= self._leftovers(found, claim, version)\n",
        "",
        is_told=True,
    ),
    Mutant(
        "a recovery leaves what the stream cannot bring again",
        "operations/replay/recovery.py",
        "        if is_reached or (oldest",
        "        if True or (oldest",
        is_told=True,
    ),
    Mutant(
        "a replay of the stream reaches over no object of other routes",
        "routing/stored/runs.py",
        "if to_go & passed or any(is_over_another(place, position) for place in to_go):",
        "if to_go & passed:",
        is_told=True,
    ),
    Mutant(
        "a route is as far as its prefix was, whatever its name",
        "routing/stages/progress.py",
        "max(then.watermarks.get(route, -1), then.prefix_watermarks.get(prefix, -1))",
        "then.watermarks.get(route, -1)",
        is_told=True,
    ),
    Mutant(
        "what was erased from a dead letter is not delivered again",
        "operations/replay/delivery.py",
        "return stored.waits(record) or stored.is_erased(record)",
        "return stored.waits(record)",
        is_told=True,
    ),
    Mutant(
        "the line of what was erased outlives the replay of its dead letter",
        "operations/replay/record_letters.py",
        "        if not lines:\n            self.context.bucket.delete(letter.name.key, got.etag)\n            return\n",
        "        self.context.bucket.delete(letter.name.key, got.etag)\n        return\n",
        is_told=True,
    ),
    Mutant(
        "the batch of an expired shard ends its trial",
        "operations/replay/delivery.py",
        "limit = None if is_issued else max(claim.watermarks.values(), default=-1)",
        "limit = None if is_issued else -1",
        is_told=True,
    ),
    Mutant(
        "the batch of an expired shard moves no watermark ahead",
        "operations/replay/delivery.py",
        "limit = None if is_issued else max(claim.watermarks.values(), default=-1)",
        "limit = None",
        is_told=True,
    ),
    Mutant(
        "a trial ends with the acknowledgement of its batch",
        "routing/pipeline.py",
        "                        ends_trial=True,\n",
        "",
        is_told=True,
    ),
    Mutant(
        "a replay reads the neighbours that objects of other code hold",
        "operations/replay/delivery.py",
        "            _with_neighbours(context, shard, records, around),\n",
        "            records,\n",
        is_told=True,
    ),
    Mutant(
        "a batch is not compared by trust",
        "operations/replay/delivery.py",
        "trusts_what_reaches_beyond=is_of_stream",
        "trusts_what_reaches_beyond=True",
        is_told=True,
    ),
    Mutant(
        "a trial does not remember what was emptied",
        "routing/stages/progress.py",
        "(self.intents - left).difference(emptied)",
        "(self.intents - left)",
        is_told=True,
    ),
    Mutant(
        "a dead letter of a record waits for a route that lags behind",
        "operations/replay/record_letters.py",
        "        if blocked_by := self._lagging(shard, records, claim):\n            return replace(replayed, blocked_by=blocked_by)\n",
        "",
        is_told=True,
    ),
    Mutant(
        "what was emptied is not emptied again",
        "routing/pipeline.py",
        "unfinished = claim.intents - settlement.emptied",
        "unfinished = claim.intents",
        is_told=True,
    ),
    Mutant(
        "names to empty hold up no batch when time runs out",
        "routing/stages/deliver.py",
        "elif error.reason is Reason.OUT_OF_TIME and not rendered.record_count:",
        "elif False:",
        is_told=True,
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
