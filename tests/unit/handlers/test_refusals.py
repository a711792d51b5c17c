"""Refusals: what is not asked again at once, and for how long."""

from aws.refusals import Refusals
from routing.errors import DeliveryError
from routing.model import RouteName
from routing.reasons import Reason

CLAIMS, REST = RouteName("claims"), RouteName("rest")
DENIED = DeliveryError("claims: denied", reason=Reason.KMS_KEY_DISABLED, is_transient=False)
DOWN = DeliveryError("claims: down", reason=Reason.UNAVAILABLE, is_transient=True)


def test_refusal_is_remembered_for_half_a_minute() -> None:
    clock = iter([100.0, 129.9, 130.0])
    refusals = Refusals(lambda: next(clock))
    refusals.note(CLAIMS, DENIED)
    assert refusals.current() == {CLAIMS: DENIED}
    assert refusals.current() == {}


def test_success_forgets_it_and_other_routes_do_not() -> None:
    refusals = Refusals(lambda: 0.0)
    refusals.note(CLAIMS, DENIED)
    refusals.note(REST, None)
    assert refusals.current() == {CLAIMS: DENIED}
    refusals.note(CLAIMS, None)
    assert refusals.current() == {}


def test_what_may_succeed_without_help_is_no_refusal() -> None:
    refusals = Refusals(lambda: 0.0)
    refusals.note(CLAIMS, DOWN)
    assert refusals.current() == {}
