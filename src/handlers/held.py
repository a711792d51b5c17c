"""Holding a shard for a replay: it waits while a delivery holds it, and lets go only at its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from handlers.checkpoint import CheckpointTable, NoCheckpoint
from routing.errors import CheckpointError
from routing.model import RoutesDigest, Shard
from routing.progress import Claim, Progress
from routing.reasons import Reason

_TRIES = 30
_SECONDS_BETWEEN = 1.0


@contextmanager
def rehearsed(checkpoint: CheckpointTable | NoCheckpoint, shard: Shard, routes: RoutesDigest) -> Iterator[Claim]:
    """Only look at a shard: the claim cannot save."""
    yield Claim(checkpoint.look(shard), routes, _refuse_to_save, None)


@contextmanager
def held(
    checkpoint: CheckpointTable | NoCheckpoint,
    shard: Shard,
    routes: RoutesDigest,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Claim]:
    """Claim a shard, waiting while a delivery holds it.

    Raises:
        CheckpointError: Deliveries hold it for half a minute, or the table cannot be written.
    """
    with ExitStack() as stack:
        yield _claimed(lambda: stack.enter_context(checkpoint.claim(shard, routes)), sleep)


def _claimed(claim: Callable[[], Claim], sleep: Callable[[float], None]) -> Claim:
    for _ in range(_TRIES):
        try:
            return claim()
        except CheckpointError as err:
            if err.reason != Reason.CLAIMED_ELSEWHERE:
                raise
            sleep(_SECONDS_BETWEEN)
    raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: deliveries hold the shard; replay it again later")


def _refuse_to_save(progress: Progress, release: bool) -> None:  # noqa: ARG001
    raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: a rehearsal changes nothing")


class Held:
    """The checkpoint of a delivery inside a claim that is held already."""

    def __init__(self, claim: Claim) -> None:
        """Take the claim."""
        self._claim = claim

    @contextmanager
    def claim(self, shard: Shard, routes: RoutesDigest) -> Iterator[Claim]:  # noqa: ARG002 - of that shard
        """Go on holding it, whatever is committed inside."""
        yield HeldClaim(self._claim)


class HeldClaim(Claim):
    """The claim as a delivery sees it that must not let go of it."""

    def __init__(self, claim: Claim) -> None:
        """Share the progress of the claim."""
        self.__dict__ = claim.__dict__

    def _keep(self, progress: Progress, *, release: bool) -> None:  # noqa: ARG002 - the replay lets go at its end
        super()._keep(progress, release=False)
