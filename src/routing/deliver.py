"""Deliver: rendered objects -> what became of each.

Permanent refusal makes a dead letter, so that the other routes go on; anything else is left to Lambda,
which sends the records again. There is no third way.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from routing import dead_letter
from routing.errors import DeliveryError
from routing.model import ObjectKey, RenderedObject, RouteName
from routing.reasons import Reason
from routing.report import Outcome, Trouble
from routing.routes import RouteTable


class Sink(Protocol):
    """Puts rendered objects under the key of their route."""

    def put_all(self, objects: Sequence[RenderedObject]) -> Sequence[DeliveryError | None]:
        """Put objects, conditionally, and return one verdict for each, in order; None is success."""

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        """Return what destinations have refused for good a moment ago, by route; they are not asked again yet."""


def deliver(
    objects: Sequence[RenderedObject],
    table: RouteTable,
    sink: Sink,
    intend: Callable[[Mapping[ObjectKey, RouteName]], None],
    unfit: Mapping[ObjectKey, DeliveryError],
) -> list[Outcome]:
    """Put objects; where a destination refuses one for good, put it under the dead-letter key instead.

    Args:
        objects: What a commit is about.
        table: Tells which routes block instead.
        sink: Puts.
        intend: Writes down names before anything is put under them.
        unfit: Objects that may not go to their place, by their names, and why.

    Returns:
        One outcome for each object, in the order in which they are settled.
    """
    blocking = {route.name for route in table.all_routes if route.blocks_when_denied}
    known = {route: error for route, error in sink.refusals().items() if route not in blocking}
    outcomes: list[Outcome] = []
    asked: list[RenderedObject] = []
    refused: list[tuple[RenderedObject, DeliveryError]] = []
    for rendered in objects:
        error = unfit.get(rendered.key) or (known.get(rendered.route) if rendered.record_count else None)
        if error is None:
            asked.append(rendered)
        elif error.is_transient or rendered.route in blocking:
            outcomes.append(Outcome(rendered, _trouble(rendered, error)))
        else:
            refused.append((rendered, error))
    letters = _letters(refused)
    # What is put together lands in any order, so a name that a letter fills is not emptied beside it.
    filling = {letter.key for letter in letters}
    outcomes += [Outcome(rendered) for rendered in asked if rendered.key in filling]
    asked = [rendered for rendered in asked if rendered.key not in filling]
    intend({rendered.key: rendered.owner for rendered in (*objects, *letters)})
    verdicts = sink.put_all([*asked, *letters]) if asked or letters else ()
    outcomes += _settled_letters(refused, letters, verdicts[len(asked) :])
    refused_empty: list[tuple[RenderedObject, DeliveryError]] = []
    refused = []
    for rendered, error in zip(asked, verdicts[: len(asked)], strict=True):
        if error is None:
            outcomes.append(_landed(rendered))
        elif not (error.is_transient or rendered.record_count):
            refused_empty.append((rendered, error))
        elif error.is_transient or rendered.route in blocking:
            outcomes.append(Outcome(rendered, _trouble(rendered, error)))
        else:
            refused.append((rendered, error))
    if refused:
        letters = _letters(refused)
        intend({letter.key: letter.owner for letter in letters})
        outcomes += _settled_letters(refused, letters, sink.put_all(letters))
    filled = {dead_letter.key_for(outcome.rendered.key) for outcome in outcomes if outcome.is_dead_letter}
    for rendered, error in refused_empty:  # a name that a dead letter has filled since is not to be emptied any more
        is_open = rendered.key not in filled
        outcomes.append(Outcome(rendered, _trouble(rendered, error) if is_open else None, is_refused_empty=is_open))
    return outcomes


def _letters(refused: Sequence[tuple[RenderedObject, DeliveryError]]) -> list[RenderedObject]:
    return [dead_letter.from_object(rendered, error.reason) for rendered, error in refused]


def _settled_letters(
    refused: Sequence[tuple[RenderedObject, DeliveryError]],
    letters: Sequence[RenderedObject],
    verdicts: Sequence[DeliveryError | None],
) -> list[Outcome]:
    return [
        Outcome(rendered, _trouble(rendered, failure or error), is_dead_letter=failure is None)
        for (rendered, error), _, failure in zip(refused, letters, verdicts, strict=True)
    ]


def _landed(rendered: RenderedObject) -> Outcome:
    """Records that could not be decoded have landed as dead letters: success, and still trouble."""
    if rendered.route != dead_letter.ROUTE or not rendered.record_count:
        return Outcome(rendered)
    message = f"{rendered.record_count} records cannot be decoded; see {rendered.key}"
    return Outcome(rendered, Trouble(None, Reason(rendered.kind), message), is_dead_letter=True)


def _trouble(rendered: RenderedObject, error: DeliveryError) -> Trouble:
    return Trouble(rendered.route, error.reason, str(error))
