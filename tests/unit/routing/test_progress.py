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


def test_same_records_to_the_same_routes_build_on_what_went_ahead() -> None:
    assert HALF.seen_by(OLD, 6, 9) is HALF
    assert HALF.seen_by(OLD, 4, 12) is HALF


def test_changed_routes_go_back_to_where_no_route_was_ahead() -> None:
    """A record may now belong to a route that has passed it by the old routes."""
    assert HALF.seen_by(NEW, 6, 9) == Progress(watermarks={A: 5, B: 5}, intents={K: A, L: B})


def test_shorter_batch_goes_back_as_well() -> None:
    """It will be acknowledged, and what went ahead holds records that are not in it."""
    assert HALF.seen_by(OLD, 6, 8) == Progress(watermarks={A: 5, B: 5}, intents={K: A, L: B})


def test_trial_ends_when_the_last_route_has_caught_up() -> None:
    assert HALF.committed({B: 9}, (), (), OLD) == Progress(watermarks={A: 9, B: 9})


def test_second_failure_goes_back_to_before_the_first() -> None:
    worse = HALF.intending({M: A}).committed({A: 12}, {B}, (), OLD)
    assert worse.seen_by(NEW, 6, 12) == Progress(watermarks={A: 5, B: 5}, intents={K: A, L: B, M: A})


def test_name_that_could_not_be_emptied_stays_and_holds_nobody_up() -> None:
    assert START.intending({K: A, L: B}).committed({A: 9, B: 9}, (), {K}, OLD) == Progress(
        watermarks={A: 9, B: 9}, intents={K: A}
    )


def test_batch_beyond_those_ahead_leaves_them_alone() -> None:
    """Lambda has given up on the records between; what went ahead is delivered, and the rest waits for a replay."""
    assert HALF.seen_by(NEW, 10, 12) == Progress(watermarks={A: 9, B: 5}, intents={L: B})
