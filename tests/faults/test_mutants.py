"""The schedules prove something only if they fail when the design is broken.

Each mutant is a copy of the code with one of its ideas taken out; the schedules run on it until one of them
loses or doubles a record, or the regressions that tell it step by step.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
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
        seed: Of a schedule that notices, so that the search need not be repeated.
        told_by: The regression that tells it step by step, where it takes too many troubles at once for a schedule.
    """

    idea: str
    file: str
    before: str
    after: str
    among: str = ""
    seed: int = 0
    told_by: str = ""

    def known(self, folder: Path) -> list[str]:
        """Return the command that has noticed it before."""
        if self.told_by:
            return [*_pytest(folder), f"{_REGRESSIONS}::{self.told_by}"]
        return ["tests.faults", str(self.seed), str(self.seed + 1), *([self.among] if self.among else [])]

    def search(self, folder: Path) -> list[str]:
        """Return the command that looks for something that notices."""
        if self.told_by:
            return [*_pytest(folder), "-x", _REGRESSIONS]
        return ["tests.faults", "0", str(_MOST_SCHEDULES), *([self.among] if self.among else [])]


def _pytest(folder: Path) -> list[str]:
    """Return pytest without what it need not load 41 times."""
    quickly = ["--noconftest", "-c", os.devnull, "--rootdir", str(_ROOT), "-p", "no:cacheprovider"]
    return ["pytest", "-q", *quickly, "-o", f"pythonpath={folder / 'src'} {_ROOT}"]


MUTANTS = [
    Mutant(
        "watermarks move after the puts",
        "routing/pipeline.py",
        "                if grouping.skipped and not grouping.batches:\n",
        "                claim.commit(_ahead(claim.watermarks, segment[-1], table.names), release=False)\n"
        "                if grouping.skipped and not grouping.batches:\n",
        seed=12,
    ),
    Mutant(
        "names are made of the records alone, never of a clock",
        "routing/stages/render.py",
        'f"{first}{content}"),',
        "f\"{next(globals().setdefault('_clock', __import__('itertools').count(int(first))))}{content}\"),",
        seed=1,
    ),
    Mutant(
        "sequence numbers compare as numbers",
        "routing/stages/batch.py",
        "if record.position <= watermarks.get(route.name, -1):",
        'if str(record.position) <= str(watermarks.get(route.name, "")):',
        seed=7,
    ),
    Mutant(
        "each route has a watermark of its own",
        "routing/stages/progress.py",
        "watermarks={**self.watermarks, **delivered},\n",
        "watermarks=dict.fromkeys({**self.watermarks, **delivered}, max(delivered.values(), default=-1)),\n",
        seed=12,
    ),
    Mutant(
        "what the watermark has passed is skipped",
        "routing/stages/batch.py",
        "if record.position <= watermarks.get(route.name, -1):",
        "if False:",
        seed=22,
    ),
    Mutant(
        "a route that failed does not move",
        "routing/pipeline.py",
        "set(table.names) - unsettled)",
        "set(table.names))",
        seed=12,
    ),
    Mutant(
        "names are written down before they are put",
        "routing/stages/deliver.py",
        "intend([rendered.key for rendered in (*objects, *letters)])",
        "pass",
        seed=583,
    ),
    Mutant(
        "names of dead letters are written down before they are put",
        "routing/stages/deliver.py",
        "intend([letter.key for letter in letters])",
        "pass",
        among="keys,kill",
        seed=1072,
    ),
    Mutant(
        "what an earlier try has left is emptied",
        "routing/pipeline.py",
        "objects += _strays(claim, objects, table)",
        "pass",
        seed=553,
    ),
    Mutant(
        "an object is replaced by its ETag",
        "aws/s3_sink.py",
        'replaces=there["ETag"]',
        "replaces='*'",
        among="kill,fail,restart",
        seed=0,
    ),
    Mutant(
        "the same content is put again",
        "aws/s3_sink.py",
        '        self._put_if(rendered, replaces=there["ETag"])',
        '        if there["Metadata"]["plain-crc32"] == rendered.metadata["plain-crc32"]: return\n'
        '        self._put_if(rendered, replaces=there["ETag"])',
        among="kill,second poller,fail",
        seed=1412,
    ),
    Mutant(
        "a first put is conditional",
        "aws/bucket.py",
        '            request["IfNoneMatch"] = "*"\n',
        "            pass\n",
        seed=909,
    ),
    Mutant(
        "an invocation that has outlived its claim replaces nothing",
        "aws/s3_sink.py",
        'if int(there["Metadata"].get(FENCING, -1)) > int(mine or -1):',
        "if False:",
        among="skew,second poller",
        seed=78,
    ),
    Mutant(
        "some route ahead is right only for the same routes",
        "routing/stages/progress.py",
        "self.trial.routes == routes and first",
        "first",
        seed=957,
    ),
    Mutant(
        "some route ahead is right only for the same records",
        "routing/stages/progress.py",
        "first <= furthest <= last",
        "first <= furthest",
        told_by="test_shorter_batch_takes_back_what_went_ahead",
    ),
    Mutant(
        "a trial that is left is written down",
        "routing/stages/progress.py",
        "self._progress is not self._kept or ",
        "",
        told_by="test_trial_that_is_left_is_written_down_before_its_objects_are_emptied",
    ),
    Mutant(
        "a name that cannot be emptied is kept",
        "routing/pipeline.py",
        "return settlement.kept.union(",
        "return frozenset[ObjectKey]().union(",
        told_by="test_name_that_a_denied_key_kept_from_being_emptied_is_emptied_by_the_replay",
    ),
    Mutant(
        "a name that a dead letter has filled is not emptied",
        "routing/stages/deliver.py",
        "if rendered.key in filled",
        "if False",
        among="keys",
        seed=512,
    ),
    Mutant(
        "a name that a dead letter fills is not emptied beside it",
        "routing/stages/deliver.py",
        "not rendered.record_count and rendered.key not in filling]",
        "not rendered.record_count]",
        among="kill,keys,fail,restart",
        seed=183,
    ),
    Mutant(
        "without a checkpoint nothing is replaced",
        "routing/stages/render.py",
        """content = f"-{name_suffix or f'{checksum:08x}'}" if token is None else "" """.strip(),
        'content = ""',
        among="off",
        seed=51,
    ),
    Mutant(
        "a replay leaves alone what stands",
        "routing/stored/coverage.py",
        "return index >= 0 and position <= ranges[index][1]",
        "return False",
        seed=18,
    ),
    Mutant(
        "a replay trusts no name that is not committed",
        "routing/stored/objects.py",
        "committed = [one for one in objects if one.name.key not in intents]",
        "committed = list(objects)",
        seed=298,
    ),
    Mutant(
        "a dead letter that was moved shuts out late puts for an hour",
        "operations/replay/object_letters.py",
        "        if is_old or claim.token is None:\n",
        "        if True:\n",
        told_by="test_late_put_of_a_dead_letter_finds_its_name_taken_after_the_replay",
    ),
    Mutant(
        "a dead letter is removed after it is delivered",
        "operations/replay/object_letters.py",
        "        blocked_by, etag = self._move(letter, claim.token)\n",
        "        self.context.bucket.delete(letter.name.key, letter.etag) if is_old else None\n        blocked_by, etag = self._move(letter, claim.token)\n",
        among="keys,fail,replay",
        seed=116,
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
        told_by="test_replay_that_fails_in_part_commits_nothing",
    ),
    Mutant(
        "the prefix of a name tells its owner",
        "routing/table/routes.py",
        '            if intended.startswith(f"{prefix}/"):\n                return route\n',
        '            if intended.startswith(f"{route}/"):\n                return route\n',
        told_by="test_shorter_batch_takes_back_what_went_ahead",
    ),
    Mutant(
        "the code is part of what guards a trial",
        "routing/table/routes.py",
        'RoutesDigest(f"{routes_digest}{code}")',
        "routes_digest",
        told_by="test_record_that_new_code_can_read_goes_to_routes_that_have_passed_it",
    ),
    Mutant(
        "no two puts have the same bytes",
        "routing/stored/object_format.py",
        "_HEADER_WITH_TOKEN + _TOKEN.pack(token)",
        "_HEADER_WITH_TOKEN + _TOKEN.pack(0)",
        told_by="test_two_puts_of_the_same_records_never_have_the_same_bytes",
    ),
    Mutant(
        "a batch is of this stack's mapping",
        "operations/replay/on_failure.py",
        "if mapping not in self.context.mappings:",
        "if False:",
        told_by="test_planted_batch_is_refused_and_hides_nothing",
    ),
    Mutant(
        "a batch is under the dead-letter key",
        "operations/replay/on_failure.py",
        'if got.key_arn.rpartition("/")[2] != expected.rpartition("/")[2]:',
        "if False:",
        told_by="test_planted_batch_is_refused_and_hides_nothing",
    ),
    Mutant(
        "a batch is of this stack's stream",
        "operations/replay/on_failure.py",
        "if shard.stream_arn != self.context.stream.arn or",
        "if",
        told_by="test_planted_batch_is_refused_and_hides_nothing",
    ),
    Mutant(
        "a batch is not ahead of the stream",
        "operations/replay/on_failure.py",
        "if is_issued is False:",
        "if False:",
        told_by="test_planted_batch_is_refused_and_hides_nothing",
    ),
    Mutant(
        "an event is of what the stream has issued",
        "routing/pipeline.py",
        "        admit(shard, records[-1].sequence_number)\n",
        "",
        told_by="test_invented_event_is_refused_and_hides_nothing",
    ),
    Mutant(
        "a watermark is of what the stream has issued",
        "routing/pipeline.py",
        "                    admit(shard, _furthest(claim.watermarks, records[-1]))\n",
        "                    pass\n",
        told_by="test_records_below_a_watermark_that_the_stream_never_issued_are_not_skipped",
    ),
    Mutant(
        "a recovery drops what a backup intends",
        "routing/stages/progress.py",
        "intents=frozenset(intents), trial=None), release=False",
        "intents=self.intents, trial=None), release=False",
        told_by="test_table_restored_from_a_backup_empties_nothing_that_was_committed_since",
    ),
    Mutant(
        "a recovery finds what unfinished tries have left",
        "operations/replay/recovery.py",
        "left, doubtful = _unfinished(found, oldest)",
        "left, doubtful = set(), []",
        told_by="test_what_an_unfinished_try_has_left_is_found_after_a_restore",
    ),
    Mutant(
        "a dead letter is not delivered where its record is",
        "routing/stored/coverage.py",
        "        if is_by(one, table):\n            return False\n",
        "",
        told_by="test_record_that_waits_as_a_dead_letter_is_not_delivered_twice_to_a_new_route",
    ),
    Mutant(
        "where a part of an aggregate waits, the others are delivered apart",
        "operations/replay/delivery.py",
        "if is_beside(record) or any(",
        "if any(",
        told_by="test_part_of_an_aggregate_that_was_replayed_is_told_from_the_others",
    ),
    Mutant(
        "a replayed dead letter keeps its name",
        "operations/replay/context.py",
        "report = self.redeliver(beside, shard, list(together), table, name_suffix=suffix)",
        "report = self.redeliver(beside, shard, list(together), table)",
        told_by="test_dead_letter_of_a_record_to_a_sealing_route_is_delivered_once_by_two_replays",
    ),
    Mutant(
        "an intent that its route has passed belongs to no batch",
        "routing/stages/progress.py",
        "return key in self.intents and not (has_passed and trial is None)",
        "return key in self.intents",
        told_by="test_name_that_a_denied_key_kept_from_being_emptied_is_emptied_by_the_replay",
    ),
    Mutant(
        "dead letters are erased first",
        "operations/erase/walk.py",
        "prefixes = [HANDED_OVER, *_LETTERS, *sorted(",
        "prefixes = [HANDED_OVER, *sorted(",
        told_by="test_full_dead_letter_beside_its_object_can_be_erased",
    ),
    Mutant(
        "a batch that is too long is split",
        "routing/pipeline.py",
        "report.is_too_long = _is_out_of_time(settlement)",
        "report.is_too_long = False",
        told_by="test_batch_that_makes_more_objects_than_there_is_time_for_ends",
    ),
    Mutant(
        "a refused object's earlier try is emptied when its key is back",
        "routing/stages/report.py",
        "(outcome.is_refused and outcome.rendered.may_exist)",
        "False",
        told_by="test_refused_destination_with_a_longer_earlier_try_shows_its_records_once_when_the_key_is_back",
    ),
    Mutant(
        "a replay removes only what it has read",
        "aws/bucket.py",
        "Key=key, IfMatch=etag,",
        "Key=key,",
        told_by="test_replay_removes_only_what_it_has_read",
    ),
    Mutant(
        "a recovery looks at the shards that only objects name",
        "operations/replay/recovery.py",
        "return sorted({*self.context.stream.shards(), *(shard for stream, shard in self._everything if stream == name)})",
        "return self.context.stream.shards()",
        told_by="test_shard_that_the_stream_no_longer_lists_is_recovered",
    ),
    Mutant(
        "a recovery compares dead letters with objects",
        "routing/stored/objects.py",
        "        beside = kept[one.name.place]\n",
        "        beside = kept[one.name.place, one.is_letter]\n",
        told_by="test_recovery_knows_an_object_by_the_dead_letter_that_holds_its_records",
    ),
    Mutant(
        "a recovery keeps names that were to be emptied",
        "operations/replay/recovery.py",
        "                left |= self._leftovers(found, claim, version)\n",
        "",
        told_by="test_recovery_keeps_a_name_that_was_to_be_emptied_and_was_not_used_since",
    ),
    Mutant(
        "a recovery leaves what the stream cannot bring again",
        "operations/replay/recovery.py",
        "        if is_reached or (oldest",
        "        if True or (oldest",
        told_by="test_recovery_tells_what_the_stream_cannot_bring_again",
    ),
    Mutant(
        "a replay of the stream reaches over no object of other routes",
        "routing/stored/runs.py",
        "if to_go & passed or any(is_over_another(place, position) for place in to_go):",
        "if to_go & passed:",
        told_by="test_replay_of_the_stream_reaches_over_no_object_of_other_routes",
    ),
    Mutant(
        "a route is as far as its prefix was, whatever its name",
        "routing/stages/progress.py",
        "max(then.watermarks.get(route, -1), then.prefix_watermarks.get(prefix, -1))",
        "then.watermarks.get(route, -1)",
        told_by="test_renamed_route_delivers_nothing_again_however_the_batch_is_cut",
    ),
    Mutant(
        "what was erased from a dead letter is not delivered again",
        "operations/replay/delivery.py",
        "return stored.waits(record) or stored.is_erased(record)",
        "return stored.waits(record)",
        told_by="test_record_that_was_erased_from_a_dead_letter_does_not_come_back",
    ),
    Mutant(
        "the line of what was erased outlives the replay of its dead letter",
        "operations/replay/record_letters.py",
        "        if not lines:\n            self.context.bucket.delete(letter.name.key, got.etag)\n            return\n",
        "        self.context.bucket.delete(letter.name.key, got.etag)\n        return\n",
        told_by="test_record_that_was_erased_from_a_dead_letter_does_not_come_back",
    ),
    Mutant(
        "the batch of an expired shard ends its trial",
        "operations/replay/delivery.py",
        "limit = None if is_issued else max(claim.watermarks.values(), default=-1)",
        "limit = None if is_issued else -1",
        told_by="test_trial_of_an_expired_shard_ends_with_the_replay_of_its_batch",
    ),
    Mutant(
        "the batch of an expired shard moves no watermark ahead",
        "operations/replay/delivery.py",
        "limit = None if is_issued else max(claim.watermarks.values(), default=-1)",
        "limit = None",
        told_by="test_batch_of_an_expired_shard_moves_no_watermark_beyond_the_furthest",
    ),
    Mutant(
        "a trial ends with the acknowledgement of its batch",
        "routing/pipeline.py",
        "                        ends_trial=True,\n",
        "",
        told_by="test_trial_ends_with_its_batch_although_every_route_was_ahead_before",
    ),
    Mutant(
        "a replay reads the neighbours that objects of other code hold",
        "operations/replay/delivery.py",
        "            _with_neighbours(context, shard, records, around),\n",
        "            records,\n",
        told_by="test_batch_that_new_code_reads_is_compared_with_objects_that_reach_beyond_it",
    ),
    Mutant(
        "a batch is not compared by trust",
        "operations/replay/delivery.py",
        "trusts_what_reaches_beyond=is_of_stream",
        "trusts_what_reaches_beyond=True",
        told_by="test_batch_that_new_code_reads_is_compared_with_objects_that_reach_beyond_it",
    ),
    Mutant(
        "a trial does not remember what was emptied",
        "routing/stages/progress.py",
        "(self.intents - left).difference(emptied)",
        "(self.intents - left)",
        told_by="test_name_that_was_emptied_during_a_trial_may_be_filled_by_a_replay",
    ),
    Mutant(
        "a dead letter of a record waits for a route that lags behind",
        "operations/replay/record_letters.py",
        "        if blocked_by := self._lagging(shard, records, claim):\n            return replace(replayed, blocked_by=blocked_by)\n",
        "",
        told_by="test_dead_letter_of_a_record_waits_for_the_route_that_lags_behind",
    ),
    Mutant(
        "what was emptied is not emptied again",
        "routing/pipeline.py",
        "unfinished = claim.intents - settlement.emptied",
        "unfinished = claim.intents",
        told_by="test_what_was_emptied_is_not_emptied_again_by_the_next_try_of_a_route_that_fails",
    ),
    Mutant(
        "names to empty hold up no batch when time runs out",
        "routing/stages/deliver.py",
        "elif error.reason is Reason.OUT_OF_TIME and not rendered.record_count:",
        "elif False:",
        told_by="test_names_to_empty_that_do_not_fit_into_the_time_are_emptied_try_by_try",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.idea)
def test_schedules_fail_without(mutant: Mutant, tmp_path: Path) -> None:
    shutil.copytree(_ROOT / "src", tmp_path / "src")
    edited = tmp_path / "src" / mutant.file
    text = edited.read_text()
    assert text.count(mutant.before) == 1, f"{mutant.file} has changed; change the mutant with it"
    edited.write_text(text.replace(mutant.before, mutant.after))
    done = _run(mutant.known(tmp_path), tmp_path)
    if done.returncode == 0:  # the schedules have changed: look for another that notices
        done = _run(mutant.search(tmp_path), tmp_path)
    assert done.returncode == 1, f"nothing notices: {done.stdout[-2000:]}"
    assert ("seed" in done.stdout) or ("FAILED" in done.stdout), done.stderr[-2000:]


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=_ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{_ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
