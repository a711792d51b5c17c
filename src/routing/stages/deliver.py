"""Deliver: rendered objects -> what became of each.

It decides what is asked and what becomes a dead letter at once, puts, and settles. A permanent refusal makes a
dead letter, so that the other routes go on; anything else is left to Lambda, which sends the records again.
There is no third way.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from routing import layout
from routing.errors import DeliveryError
from routing.model import ObjectKey, RenderedObject, RouteName
from routing.reasons import Reason
from routing.stages.report import Outcome, Trouble
from routing.stored import dead_letter
from routing.table.routes import RouteTable

type Refused = tuple[RenderedObject, DeliveryError]
"""An object that did not land, and why."""


class Sink(Protocol):
    """Puts rendered objects under the key of their route."""

    def put_all(self, objects: Sequence[RenderedObject]) -> Sequence[DeliveryError | None]:
        """Put objects, conditionally, and return one verdict for each, in order; None is success."""

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        """Return what destinations have refused permanently a moment ago, by route; they are not asked again yet."""

    def room(self) -> int:
        """Return how many objects can be put before the invocation ends, at a slow rate; 0 if no more should begin."""


def deliver(
    objects: Sequence[RenderedObject],
    table: RouteTable,
    sink: Sink,
    intend: Callable[[Collection[ObjectKey]], None],
    unfit: Mapping[ObjectKey, DeliveryError],
) -> list[Outcome]:
    """Put objects; where a destination refuses one permanently, put it under the dead-letter key instead.

    Args:
        objects: Everything that one commit covers.
        table: Tells which routes block instead.
        sink: Puts.
        intend: Writes down names before anything is put under them.
        unfit: Objects that must not go to their place, by their names, and why.

    Returns:
        One outcome for each object, in the order in which they are settled.
    """
    blocking = frozenset(route.name for route in table.all_routes if route.blocks_when_denied)
    plan = _decide(objects, unfit, sink.refusals(), blocking)
    letters = _letters(plan.refused)
    # Objects that are put together land in any order, so a name that a letter fills is not emptied beside it.
    filling = {letter.key for letter in letters}
    records = [rendered for rendered in plan.asked if rendered.record_count]
    empty = [rendered for rendered in plan.asked if not rendered.record_count and rendered.key not in filling]
    intend([rendered.key for rendered in (*objects, *letters)])
    verdicts = _put_all(sink, [*records, *letters])
    outcomes = [*plan.outcomes, *(Outcome(rendered) for rendered in plan.asked if rendered.key in filling)]
    outcomes += _settled_letters(plan.refused, verdicts[len(records) :])
    # Names to empty come last: they may be many, and no record shall wait for them.
    landing = _settle([*records, *empty], [*verdicts[: len(records)], *_put_all(sink, empty)], blocking)
    outcomes += landing.outcomes
    if landing.refused:
        letters = _letters(landing.refused)
        intend([letter.key for letter in letters])
        outcomes += _settled_letters(landing.refused, sink.put_all(letters))
    return outcomes + _settled_empty(landing.refused_empty, outcomes)


def _put_all(sink: Sink, objects: Sequence[RenderedObject]) -> Sequence[DeliveryError | None]:
    return sink.put_all(objects) if objects else ()


class _Plan(Struct):
    """What is decided before, or settled after, a put.

    Attributes:
        asked: Objects to put to their place.
        refused: Objects that become dead letters.
        refused_empty: Empty objects that their destination refuses.
        outcomes: What is settled.
    """

    asked: list[RenderedObject] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    refused_empty: list[Refused] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


def _decide(
    objects: Sequence[RenderedObject],
    unfit: Mapping[ObjectKey, DeliveryError],
    refusals: Mapping[RouteName, DeliveryError],
    blocking: frozenset[RouteName],
) -> _Plan:
    """Decide which objects are put to their place; an empty one always is, to learn whether the refusal has ended."""
    plan = _Plan()
    known = {route: error for route, error in refusals.items() if route not in blocking}
    for rendered in objects:
        error = unfit.get(rendered.key) or (known.get(rendered.route) if rendered.record_count else None)
        if error is None:
            plan.asked.append(rendered)
        elif error.is_transient or rendered.route in blocking:
            plan.outcomes.append(Outcome(rendered, _trouble(rendered, error)))
        else:
            plan.refused.append((rendered, error))
    return plan


def _settle(
    asked: Sequence[RenderedObject], verdicts: Sequence[DeliveryError | None], blocking: frozenset[RouteName]
) -> _Plan:
    """Sort what was put into landed, failed and refused."""
    plan = _Plan()
    for rendered, error in zip(asked, verdicts, strict=True):
        if error is None:
            plan.outcomes.append(_landed(rendered))
        elif error.reason is Reason.OUT_OF_TIME and not rendered.record_count:
            plan.outcomes.append(Outcome(rendered, _trouble(rendered, error), is_postponed=True))
        elif not (error.is_transient or rendered.record_count):
            plan.refused_empty.append((rendered, error))
        elif error.is_transient or rendered.route in blocking:
            plan.outcomes.append(Outcome(rendered, _trouble(rendered, error)))
        else:
            plan.refused.append((rendered, error))
    return plan


def _settled_letters(refused: Sequence[Refused], verdicts: Sequence[DeliveryError | None]) -> list[Outcome]:
    return [
        Outcome(rendered, _trouble(rendered, failure or error), is_dead_letter=failure is None)
        for (rendered, error), failure in zip(refused, verdicts, strict=True)
    ]


def _settled_empty(refused: Sequence[Refused], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Settle empty objects that were refused; a name that a dead letter has filled since must not be emptied any more."""
    filled = {layout.letter_key(outcome.rendered.key) for outcome in outcomes if outcome.is_dead_letter}
    return [
        Outcome(rendered)
        if rendered.key in filled
        else Outcome(rendered, _trouble(rendered, error), is_refused_empty=True)
        for rendered, error in refused
    ]


def _letters(refused: Sequence[Refused]) -> list[RenderedObject]:
    return [dead_letter.from_object(rendered, error.reason) for rendered, error in refused]


def _landed(rendered: RenderedObject) -> Outcome:
    """Records that could not be decoded have landed as dead letters: success, and still trouble."""
    if rendered.route != layout.DEAD_LETTER or not rendered.record_count:
        return Outcome(rendered)
    message = f"{rendered.record_count} records cannot be decoded; see {rendered.key}"
    return Outcome(rendered, Trouble(None, Reason(rendered.kind), message), is_dead_letter=True)


def _trouble(rendered: RenderedObject, error: DeliveryError) -> Trouble:
    return Trouble(rendered.route, error.reason, str(error))
