"""What destinations have refused for good a moment ago, so that not every batch asks in vain.

A key may stay disabled for hours; asking it with every batch costs a put, a write and a wait that the other
routes of the shard would pay.
"""

import time
from collections.abc import Callable, Mapping

from routing.errors import DeliveryError
from routing.model import RouteName

_SECONDS_UNTIL_ASKED_AGAIN = 30.0


class Refusals:
    """The refusals that one container has met."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet."""
        self._clock = clock
        self._met: dict[RouteName, tuple[DeliveryError, float]] = {}

    def note(self, route: RouteName, error: DeliveryError | None) -> None:
        """Note the outcome of a put for a route; a success clears an earlier refusal."""
        if error is None:
            self._met.pop(route, None)
        elif not error.is_transient:
            self._met[route] = (error, self._clock() + _SECONDS_UNTIL_ASKED_AGAIN)

    def current(self) -> Mapping[RouteName, DeliveryError]:
        """Return what is not yet to be asked again."""
        return {route: error for route, (error, until) in self._met.items() if self._clock() < until}
