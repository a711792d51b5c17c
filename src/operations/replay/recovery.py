"""Recovery: make the rows of the checkpoint table right again after it was restored from a backup, or made anew.

A restored row remembers what was true at the time of the backup. Its intents may name objects that were committed
since, which the next delivery would empty. What is stored is evidence enough: the rest is found by a replay of the
stream, which delivers what is not stored and moves the watermarks (`docs/replay.md`). The event source mapping has
to be disabled meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from aws.inventory import Listed
from operations.replay.context import ReplayContext
from operations.replay.replayed import Replayed
from routing.errors import CheckpointError
from routing.model import FencingToken, ObjectKey, SequenceNumber, Shard
from routing.stages.progress import Claim
from routing.stored.objects import StoredObject, uncommitted

_SECONDS_THAT_CLOCKS_DIFFER = 3600


@dataclass
class Recovery:
    """Recovers the row of one shard after the other."""

    context: ReplayContext

    def recover(self, shard: Shard) -> Replayed:
        """Recover the row of a shard.

        Its version becomes higher than every fencing token that was issued; intents and trials of the backup are dropped, but
        for names that were to be emptied and have not been used since; names that an unfinished try has left become
        intents. Watermarks that the stream has not issued, since it was made anew, are dropped too.

        Returns:
            `records` counts the names that become intents; `blocked_by` tells what was not done, and why.
        """
        try:
            version = self.context.checkpoint.version(shard)
            with self.context.claim(shard) as claim:
                found = self._objects(shard, claim, version)
                oldest = self.context.stream.oldest(shard.shard_id)
                left, doubtful = _unfinished(found, oldest)
                left |= self._leftovers(found, claim, version)
                outcome = Replayed(
                    key=shard.shard_id, reason="Restored", records=len(left), blocked_by=_doubts(doubtful)
                )
                if not self.context.applies:
                    return outcome
                if (ahead := _highest(found)) >= (claim.token or 0):
                    seconds = (ahead - (claim.token or 0)) // 1000 + 1
                    return Replayed(
                        key=shard.shard_id, blocked_by=f"fencing tokens are ahead of the clock; wait {seconds} s"
                    )
                out_of_reach = {key for key in claim.intents if self.context.table.owner_of(key) is None}
                claim.recover(left | out_of_reach, keeps_watermarks=self._has_issued(shard, claim, oldest))
                return outcome
        except CheckpointError as err:
            return Replayed(key=shard.shard_id, blocked_by=str(err))

    def shards(self) -> list[str]:
        """Return the ids of all shards that may have a row: those of the stream, and those that objects name."""
        name = self.context.stream.arn.rpartition("/")[2]
        return sorted({*self.context.stream.shards(), *(shard for stream, shard in self._everything if stream == name)})

    def _objects(self, shard: Shard, claim: Claim, version: FencingToken) -> list[StoredObject]:
        """Return what may have changed since the backup, and everything behind.

        It lies beyond the watermarks of the backup, or was put since then, or is named by it.
        """
        marks = claim.watermarks
        reached = min((marks.get(route, -1) for route in self.context.table.names), default=-1)
        listed = self._everything.get((shard.stream_name, shard.shard_id), [])
        changed = [
            one.name.first
            for one in listed
            if one.name is not None
            and (one.key in claim.intents or one.modified_at > version / 1000 - _SECONDS_THAT_CLOCKS_DIFFER)
        ]
        names = [one.name for one in listed if one.name is not None]
        return list(self.context.inventory.between(names, min([reached + 1, *changed]), None, claim.intents))

    def _leftovers(self, found: list[StoredObject], claim: Claim, version: FencingToken) -> set[ObjectKey]:
        """Return intents that their routes had passed, as their key refused every put, and that stand as they were."""
        return {
            one.name.key
            for one in found
            if one.name.key in claim.intents
            and one.record_count
            and one.token <= version
            and not claim.may_change(one.name.key, one.name.place[0], one.name.first)
        }

    @cached_property
    def _everything(self) -> Mapping[tuple[str, str], list[Listed]]:
        """All names, listed once for all shards: a listing by shard would read the same pages."""
        return self.context.inventory.everything()

    def _has_issued(self, shard: Shard, claim: Claim, oldest: str | None) -> bool:
        furthest = max(claim.watermarks.values(), default=-1)
        if furthest < 0:
            return True
        number = SequenceNumber(str(furthest).zfill(len(oldest or "")))
        return self.context.stream.has_issued(shard.shard_id, number) is not False


def _unfinished(found: list[StoredObject], oldest: str | None) -> tuple[set[ObjectKey], list[ObjectKey]]:
    """Return the names that an unfinished try has left; and those of which nobody can tell whether it has.

    What overlaps a later object was to be emptied: its records are in later ones, or still to come. Where no later
    object reaches to its end and the stream does not hold its first record any more, they may be nowhere else.
    """
    left: set[ObjectKey] = set()
    doubtful: list[ObjectKey] = []
    for one, is_reached in uncommitted(found):
        if is_reached or (oldest is not None and int(oldest) <= one.name.first):
            left.add(one.name.key)
        else:
            doubtful.append(one.name.key)
    return left, doubtful


def _doubts(doubtful: list[ObjectKey]) -> str:
    if not doubtful:
        return ""
    return (
        f"{len(doubtful)} objects overlap later ones, and the stream does not hold their records any more; compare by "
        f"hand: {', '.join(doubtful)}"
    )


def _highest(objects: list[StoredObject]) -> FencingToken:
    return FencingToken(max((one.token for one in objects), default=-1))
