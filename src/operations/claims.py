"""How a replay or an erasure comes to the claim of a shard: it waits while a delivery holds it, or only looks."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from aws.checkpoint import CheckpointTable, NoCheckpoint
from routing.errors import CheckpointError
from routing.model import Shard
from routing.reasons import Reason
from routing.stages.progress import Claim, Progress, Routes

_TRIES = 30
_SECONDS_BETWEEN = 1.0


@contextmanager
def read_only_claim(checkpoint: CheckpointTable | NoCheckpoint, shard: Shard, routes: Routes) -> Iterator[Claim]:
    """Read the progress of a shard for a dry run: the claim cannot save."""
    yield Claim(checkpoint.look(shard), routes, _refuse_to_save, None)


@contextmanager
def patient_claim(
    checkpoint: CheckpointTable | NoCheckpoint,
    shard: Shard,
    routes: Routes,
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
    raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: another invocation holds the shard; try again later")


def _refuse_to_save(progress: Progress, release: bool) -> None:  # noqa: ARG001
    raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: a dry run changes nothing")
