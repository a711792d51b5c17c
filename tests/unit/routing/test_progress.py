"""Progress: what a shard's row means, and what changed routes may build on."""

from routing.model import ObjectKey, RouteName, RoutesDigest
from routing.progress import Progress, Trial

A, B = RouteName("a"), RouteName("b")
OLD, NEW = RoutesDigest("old"), RoutesDigest("new")
K, L, M = ObjectKey("a/1"), ObjectKey("b/1"), ObjectKey("a/9")
START = Progress(watermarks={A: 5, B: 5})
HALF = START.intending({K: A, L: B}).committed({A: 9}, {B}, (), OLD)


def test_commit_of_all_routes_forgets_every_name() -> None:
    assert START.intending({K: A, L: B}).committed({A: 9, B: 9}, (), (), OLD) == Progress(watermarks={A: 9, B: 9})


def test_route_that_lags_keeps_its_names_and_what_to_go_back_to() -> None:
    trial = Trial(routes=OLD, watermarks={A: 5, B: 5}, settled={K: A})
    assert Progress(watermarks={A: 9, B: 5}, intents={L: B}, trial=trial) == HALF


def test_same_routes_build_on_what_went_ahead() -> None:
    assert HALF.seen_by(OLD) is HALF


def test_changed_routes_go_back_to_where_no_route_was_ahead() -> None:
    """A record may now belong to a route that has passed it by the old routes."""
    assert HALF.seen_by(NEW) == Progress(watermarks={A: 5, B: 5}, intents={K: A, L: B})


def test_trial_ends_when_the_last_route_has_caught_up() -> None:
    caught_up = HALF.committed({B: 9}, (), (), OLD)
    assert caught_up == Progress(watermarks={A: 9, B: 9})


def test_trial_goes_on_while_a_route_has_caught_up_only_in_part() -> None:
    partly = HALF.committed({B: 7}, (), (), OLD)
    assert partly.trial == Trial(routes=OLD, watermarks={A: 5, B: 5}, settled={K: A, L: B})
    assert partly.seen_by(NEW).watermarks == {A: 5, B: 5}


def test_second_failure_goes_back_to_before_the_first() -> None:
    worse = HALF.intending({M: A}).committed({A: 12}, {B}, (), OLD)
    assert worse.seen_by(NEW) == Progress(watermarks={A: 5, B: 5}, intents={K: A, L: B, M: A})


def test_batch_that_was_committed_long_ago_leaves_a_trial_alone() -> None:
    assert HALF.committed({}, (), (), OLD).trial is not None
    assert START.committed({}, (), (), OLD) == START
