"""Records of the stream, read again: they are delivered where they are lacking."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.replay.context import ReplayContext
from operations.replay.delivery import deliver_missing
from operations.replay.replayed import Replayed


@dataclass(frozen=True)
class StreamRecords:
    """Replays ranges of the stream."""

    context: ReplayContext

    def replay(self, event: Mapping[str, Any], where: str, *, is_settled: bool) -> Replayed:
        """Deliver records that were read from the stream again, if all routes have passed them, where they are lacking.

        What a route has not reached yet is still to come, and is left to the function.

        Args:
            event: As Lambda makes it, of one shard.
            where: The range, for the report.
            is_settled: True if the mapping will not send them again, although some route has not passed them:
                Lambda has given up on them and could not hand them over.
        """
        with self.context.reporting(where) as outcomes:
            shard, records = self.context.decoder.decode(event)
            if shard is not None:
                outcomes.append(deliver_missing(self.context, shard, records, where, is_settled=is_settled))
        return outcomes[-1] if outcomes else Replayed(key=where)
