"""A shard: its lanes, and the position from which Lambda would read again after a restart."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from local.event_source.lane import Batch, GivenUp, Lane
from local.event_source.mapping import Mapping
from local.event_source.records import StreamRecord, envelope_bytes
from local.event_source.verdict import Answer


@dataclass(slots=True)
class Counts:
    """What a mapping with the metric `EventCount` would count.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """

    polled: int = 0
    filtered_out: int = 0
    invoked: int = 0
    failed: int = 0
    handed_over: int = 0
    discarded: int = 0


@dataclass
class ShardReader:
    """What is read of one shard and not settled yet.

    Attributes:
        shard_id: e.g. `shardId-000000000001`.
        read_to: The sequence number of the last record that was read; None before the first.
        counts: Of this shard.
    """

    mapping: Mapping
    shard_id: str
    read_to: str | None = None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        """Make the lanes."""
        envelope = envelope_bytes(self.shard_id, self.mapping.stream_arn)
        self.lanes = [Lane(self.mapping, envelope) for _ in range(self.mapping.lanes)]

    def feed(self, records: Iterable[StreamRecord], now: float) -> None:
        """Take what was read of the stream.

        A partition key stays in its lane, so that its records keep their order. Assumption: which lane it is
        is a hash of the key.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html#services-kinesis-polling-batching
        """
        for record in records:
            self.read_to = record.sequence_number
            self.counts.polled += 1
            if not self.mapping.filters.passes(record.data):
                self.counts.filtered_out += 1
                continue
            self.lanes[zlib.crc32(record.partition_key.encode()) % len(self.lanes)].offer(record, now)

    def expire(self, now: float) -> list[GivenUp]:
        """Give up what is too old."""
        return [given_up for lane in self.lanes if (given_up := lane.expire(now)) is not None]

    def take(self, now: float, *, is_window_over: bool = False) -> list[tuple[Lane, Batch]]:
        """Return the batches to invoke the function with now, at most one a lane."""
        due = [(lane, lane.take(now, is_window_over=is_window_over)) for lane in self.lanes]
        return [(lane, batch) for lane, batch in due if batch is not None]

    def settle(self, lane: Lane, batch: Batch, answer: Answer) -> GivenUp | None:
        """Apply the answer to the batch that was in flight in a lane."""
        before = len(lane.outstanding)
        given_up = lane.settle(answer)
        self.counts.invoked += len(batch.records)
        lost = 0 if given_up is None else len(given_up.batch.records)
        self.counts.failed += len(batch.records) - (before - len(lane.outstanding) - lost)
        return given_up

    @property
    def is_settled(self) -> bool:
        """True if everything that was read is settled."""
        return not any(lane.outstanding for lane in self.lanes)

    @property
    def gathered(self) -> int:
        """Records that are read and not settled."""
        return sum(len(lane.outstanding) for lane in self.lanes)

    @property
    def resumes_at(self) -> str | None:
        """The oldest record that is not settled, from which a restarted poller reads again; None if all are.

        With several lanes what lies beyond it may be settled in part, and comes again.
        """
        outstanding = [record for lane in self.lanes for record in lane.outstanding]
        return min(outstanding, key=lambda record: record.position).sequence_number if outstanding else None
