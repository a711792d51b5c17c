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


def deliver(
    objects: Sequence[RenderedObject],
    table: RouteTable,
    sink: Sink,
    intend: Callable[[Mapping[ObjectKey, RouteName]], None],
) -> list[Outcome]:
    """Put objects; where a destination refuses one for good, put it under the dead-letter key instead.

    Args:
        objects: Their names are written down already.
        table: Tells which routes block instead.
        sink: Puts.
        intend: Writes down the names of dead letters before they are put.

    Returns:
        One outcome for each object, in the order in which they are settled.
    """
    blocking = {route.name for route in table.all_routes if route.blocks_when_denied}
    outcomes: list[Outcome] = []
    refused: list[tuple[RenderedObject, DeliveryError]] = []
    refused_empty: list[tuple[RenderedObject, DeliveryError]] = []
    for rendered, error in zip(objects, sink.put_all(objects), strict=True):
        if error is None:
            outcomes.append(_landed(rendered))
        elif not (error.is_transient or rendered.record_count):
            refused_empty.append((rendered, error))
        elif error.is_transient or rendered.route in blocking:
            outcomes.append(Outcome(rendered, _trouble(rendered, error)))
        else:
            refused.append((rendered, error))
    letters = [dead_letter.from_object(rendered, error.reason) for rendered, error in refused]
    filled: set[ObjectKey] = set()
    if letters:
        intend({letter.key: letter.owner for letter in letters})
        for letter, (rendered, error), failure in zip(letters, refused, sink.put_all(letters), strict=True):
            filled |= {letter.key} if failure is None else set()
            outcomes.append(Outcome(rendered, _trouble(rendered, failure or error), is_dead_letter=failure is None))
    for rendered, error in refused_empty:  # a name that a dead letter has filled since is not to be emptied any more
        is_open = rendered.key not in filled
        outcomes.append(Outcome(rendered, _trouble(rendered, error) if is_open else None, is_refused_empty=is_open))
    return outcomes


def _landed(rendered: RenderedObject) -> Outcome:
    """Records that could not be decoded have landed as dead letters: success, and still trouble."""
    if rendered.route != dead_letter.ROUTE or not rendered.record_count:
        return Outcome(rendered)
    message = f"{rendered.record_count} records cannot be decoded; see {rendered.key}"
    return Outcome(rendered, Trouble(None, Reason(rendered.kind), message), is_dead_letter=True)


def _trouble(rendered: RenderedObject, error: DeliveryError) -> Trouble:
    return Trouble(rendered.route, error.reason, str(error))
