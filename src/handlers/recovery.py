"""Recovery: make the rows of the checkpoint table right again after it was restored from a backup, or made anew.

A restored row remembers what was true at the time of the backup. Its intents may name objects that were committed
since, which the next delivery would empty. What is stored is evidence enough: the rest is found by a replay of the
stream, which delivers what is not stored and moves the watermarks (`docs/replay.md`). The event source mapping has
to be disabled meanwhile.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from handlers.checkpoint import CheckpointTable, NoCheckpoint
from handlers.claims import patient_claim, read_only_claim
from handlers.inventory import Inventory
from handlers.replaying import Replayed, Stream
from routing.errors import CheckpointError
from routing.model import FencingToken, SequenceNumber, Shard
from routing.progress import Claim
from routing.routes import RouteTable
from routing.standing import Name, Standing, uncommitted


@dataclass(kw_only=True)
class Recovery:
    """Recovers the row of one shard after the other; with `applies` false it only reports what it would do.

    Attributes:
        table: The deployed routes.
        checkpoint: The rows.
        inventory: Finds what is stored.
        stream: Tells what it has issued.
        applies: False for a dry run.
        sleep: Waits for a claim.
    """

    table: RouteTable
    checkpoint: CheckpointTable | NoCheckpoint
    inventory: Inventory
    stream: Stream
    applies: bool
    sleep: Callable[[float], None]

    def recover(self, shard: Shard) -> Replayed:
        """Recover the row of a shard.

        Its version goes above every fencing token that was issued; intents and trials of the backup are dropped,
        and names that an unfinished try has left become intents. Watermarks that the stream has not issued, since
        it was made anew, are dropped too.

        Returns:
            `records` counts the names that become intents; `left` tells why nothing was done.
        """
        try:
            with self._held(shard) as claim:
                found = self._objects(shard, claim)
                left = uncommitted(found)
                told = Replayed(key=shard.shard_id, reason="Restored", records=len(left))
                if not self.applies:
                    return told
                if (ahead := _highest(found)) >= (claim.token or 0):
                    seconds = (ahead - (claim.token or 0)) // 1000 + 1
                    return Replayed(key=shard.shard_id, left=f"fencing tokens are ahead of the clock; wait {seconds} s")
                out_of_reach = {key for key in claim.intents if self.table.owner_of(key) is None}
                claim.recover(left | out_of_reach, keeps_watermarks=self._has_issued(shard, claim))
                return told
        except CheckpointError as err:
            return Replayed(key=shard.shard_id, left=str(err))

    def _objects(self, shard: Shard, claim: Claim) -> list[Standing]:
        """Return the objects of a shard that reach beyond the watermarks of the backup, or may be named by it."""
        marks = claim.watermarks
        reached = min((marks.get(route, -1) for route in self.table.names), default=-1)
        names = self._everything.get((shard.stream_name, shard.shard_id), [])
        return list(self.inventory.between(names, reached + 1, None, claim.intents))

    @cached_property
    def _everything(self) -> Mapping[tuple[str, str], list[Name]]:
        """All names, listed once for all shards: a listing by shard would read the same pages."""
        return self.inventory.everything()

    def _has_issued(self, shard: Shard, claim: Claim) -> bool:
        furthest = max(claim.watermarks.values(), default=-1)
        if furthest < 0:
            return True
        width = self.stream.width(shard.shard_id)
        return self.stream.has_issued(shard.shard_id, SequenceNumber(str(furthest).zfill(width))) is not False

    def _held(self, shard: Shard) -> AbstractContextManager[Claim]:
        if not self.applies:
            return read_only_claim(self.checkpoint, shard, self.table)
        return patient_claim(self.checkpoint, shard, self.table, self.sleep)


def _highest(objects: list[Standing]) -> FencingToken:
    return FencingToken(max((one.token for one in objects), default=-1))
