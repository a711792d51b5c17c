"""Ten thousand schedules: nothing is lost and nothing stands twice, whatever happens in whatever order."""

from collections import Counter

import pytest

from tests.faults.schedule import FAMILIES, run

_CHUNK = 500


@pytest.mark.parametrize("first", range(0, 10_000, _CHUNK))
def test_every_record_stands_once_in_every_route_that_it_takes(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        schedule = run(seed)
        found = schedule.world.problems()
        assert not found, f"{schedule}: {found[:3]}; replay it with `python -m tests.faults {seed}`"


def test_without_the_checkpoint_nothing_is_lost_and_some_records_stand_twice() -> None:
    duplicated = 0
    for seed in range(1000):
        schedule = run(seed, has_checkpoint=False)
        found = schedule.world.problems()
        # What Lambda sends again is delivered again, also what was erased.
        lost = [problem for problem in found if "times:" not in problem and not problem.startswith("erased")]
        assert not lost, f"{schedule}: {lost[:3]}"
        duplicated += len(found)
    assert duplicated > 0


def test_schedules_meet_every_kind_of_trouble() -> None:
    """A schedule that nothing happens in proves nothing."""
    calls: Counter[str] = Counter()
    for seed in range(300):
        calls.update(run(seed).world.calls)
    for name in (
        "Killed", "given up", "failed requests", "Unavailable", "CheckpointUnavailable", "ClaimedElsewhere",
        "AccessDenied", "KmsKeyDisabled", "KmsKeyInvalidState", "NotJson", "OutOfTime", "refused events", "forged",
        "restored", "erased", "done erasures",
    ):  # fmt: skip
        assert calls[name] > 0, name


@pytest.mark.parametrize("family", FAMILIES)
def test_each_kind_of_trouble_alone(family: str) -> None:
    for seed in range(50):
        schedule = run(seed, families=(family,))
        found = schedule.world.problems()
        assert not found, f"{schedule}: {found[:3]}"


def test_same_seed_makes_the_same_schedule() -> None:
    first, second = (run(7).world for _ in range(2))
    assert {key: put["Body"] for key, put in first.s3.objects.items()} == {
        key: put["Body"] for key, put in second.s3.objects.items()
    }
