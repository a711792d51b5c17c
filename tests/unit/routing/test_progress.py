"""Progress: what a shard's row means, and what changed routes may build on."""

from collections.abc import Collection, Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

import pytest

from routing.model import FencingToken, ObjectKey, RouteName, RoutesDigest
from routing.stages.progress import Claim, Progress, Trial

A, B = RouteName("a"), RouteName("b")
K, L, M = ObjectKey("a/1"), ObjectKey("b/1"), ObjectKey("a/9")


@dataclass(frozen=True)
class Deployment:
    """What the progress needs to know of the routes."""

    digest: RoutesDigest
    prefixes: Mapping[RouteName, str]


OLD, NEW = Deployment(RoutesDigest("old"), {A: "a", B: "b"}), Deployment(RoutesDigest("new"), {A: "a", B: "b"})
START = Progress(watermarks={A: 5, B: 5}, prefix_watermarks={"a": 5, "b": 5})


def committed(
    progress: Progress, marks: dict[RouteName, int], kept: Collection[ObjectKey] = (), *, is_partial: bool = False
) -> Progress:
    return progress.committed(marks, kept, OLD, is_partial=is_partial)


def at(a: int, b: int, **more: Any) -> Progress:
    """Return a progress of two routes that are so far."""
    return replace(START, watermarks={A: a, B: b}, prefix_watermarks={"a": a, "b": b}, **more)


HALF = committed(START.intending({K, L}), {A: 9}, {L}, is_partial=True)
BACK = replace(START, intents=frozenset({K, L}))


def test_commit_of_all_routes_forgets_every_name() -> None:
    assert committed(START.intending({K, L}), {A: 9, B: 9}) == at(9, 9)


def test_route_that_lags_keeps_its_names_and_what_to_go_back_to() -> None:
    trial = Trial(
        routes=OLD.digest, watermarks={A: 5, B: 5}, prefix_watermarks={"a": 5, "b": 5}, settled=frozenset({K})
    )
    assert at(9, 5, intents=frozenset({L}), trial=trial) == HALF


def test_same_records_to_the_same_routes_build_on_what_went_ahead() -> None:
    assert HALF.seen_by(OLD.digest, 6, 9) is HALF
    assert HALF.seen_by(OLD.digest, 4, 12) is HALF


def test_changed_routes_go_back_to_where_no_route_was_ahead() -> None:
    """A record may now belong to a route that has passed it by the old routes."""
    assert HALF.seen_by(NEW.digest, 6, 9) == BACK


def test_shorter_batch_goes_back_as_well() -> None:
    """It will be acknowledged, and what went ahead holds records that are not in it."""
    assert HALF.seen_by(OLD.digest, 6, 8) == BACK


def test_trial_ends_when_the_last_route_has_caught_up() -> None:
    assert committed(HALF, {B: 9}) == at(9, 9)


def test_trial_ends_with_the_acknowledgement_even_if_no_watermark_moves() -> None:
    """All routes are as far, and one of them could not empty a name until now."""
    all_ahead = HALF.committed({B: 9}, {L}, OLD, is_partial=True)
    assert all_ahead.trial is not None
    assert all_ahead.committed({}, (), OLD, is_partial=False).trial is not None, "a replay acknowledges nothing"
    assert all_ahead.committed({}, (), OLD, is_partial=False, ends_trial=True) == at(9, 9)


def test_second_failure_goes_back_to_before_the_first() -> None:
    worse = committed(HALF.intending({M}), {A: 12}, {L}, is_partial=True)
    assert worse.seen_by(NEW.digest, 6, 12) == replace(START, intents=frozenset({K, L, M}))


def test_name_that_could_not_be_emptied_stays_and_holds_nobody_up() -> None:
    expected = at(9, 9, intents=frozenset({K}))
    assert committed(START.intending({K, L}), {A: 9, B: 9}, {K}) == expected


def test_batch_beyond_those_ahead_leaves_them_alone() -> None:
    """Lambda has given up on the records between; what went ahead is delivered, and the rest waits for a replay."""
    expected = at(9, 5, intents=frozenset({L}))
    assert HALF.seen_by(NEW.digest, 10, 12) == expected


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        ({A: "a", B: "b"}, {A: 9, B: 5}),
        ({RouteName("renamed"): "a", B: "b"}, {RouteName("renamed"): 9, B: 5}),
        ({A: "moved", B: "b"}, {A: 9, B: 5}),
        ({RouteName("new"): "new"}, {}),
        ({A: "b", B: "a"}, {A: 9, B: 9}),
    ],
)
def test_route_is_as_far_as_its_name_or_its_prefix_was(
    prefixes: dict[RouteName, str], expected: dict[RouteName, int]
) -> None:
    assert HALF.watermarks_of(prefixes) == expected


def test_prefix_keeps_its_watermark_whichever_routes_own_it() -> None:
    """`b` moves away and comes back under another name; what its first owner delivered there stands."""
    away = Deployment(RoutesDigest("away"), {A: "a", B: "elsewhere"})
    moved = START.committed({A: 9, B: 9}, (), away, is_partial=False)
    assert moved.watermarks_of({RouteName("other"): "b"}) == {RouteName("other"): 5}


def test_trial_goes_back_by_prefix_too() -> None:
    back = HALF.seen_by(NEW.digest, 6, 9)
    assert back.watermarks_of({RouteName("renamed"): "a"}) == {RouteName("renamed"): 5}


def claim_of(progress: Progress) -> Claim:
    return Claim(progress, OLD, lambda _progress, _release: FencingToken(2), FencingToken(1))


def test_intent_that_its_route_has_passed_belongs_to_no_batch() -> None:
    """It could not be emptied when its batch was settled; on a closed shard nothing else would ever settle it."""
    left = claim_of(replace(START, intents=frozenset({K})))
    assert not left.may_change(K, A, 5)
    assert left.may_change(K, A, 6), "its batch comes again"
    assert left.may_change(K, None, 5), "nobody has its prefix"
    assert not left.may_change(L, B, 6), "it is committed"


def test_name_of_a_trial_may_change_even_if_its_route_has_passed_it() -> None:
    claim = claim_of(HALF)
    assert claim.may_change(K, A, 1)
    assert claim.may_change(L, B, 1)


def test_recovery_keeps_watermarks_and_forgets_what_a_backup_remembers() -> None:
    claim = claim_of(HALF)
    claim.recover({M}, keeps_watermarks=True)
    assert claim.intents == {M}
    assert claim.watermarks == {A: 9, B: 5}
    assert not claim.may_change(K, A, 1)
    claim.recover((), keeps_watermarks=False)
    assert claim.watermarks == {}
