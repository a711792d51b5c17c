"""A lane: records of one shard in order, one batch in flight.

A shard has one lane; with a parallelization factor it has several, and a partition key stays in one.
"""

from collections import deque
from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass

from local.event_source.mapping import Mapping
from local.event_source.records import PAYLOAD_BYTES, StreamRecord, payload_bytes
from local.event_source.verdict import Answer, Verdict, judge

RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
TOO_OLD = "RecordAgeExceeded"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one invocation gets.

    Attributes:
        records: At least one, in order.
        failures: Counted failures so far.
        invocations: How often the function was called with these records so far, in whatever batch.
    """

    records: tuple[StreamRecord, ...]
    failures: int = 0
    invocations: int = 0


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What Lambda hands over to the on-failure destination, or discards without one.

    Attributes:
        batch: The records.
        condition: Why: `RETRIES_EXHAUSTED` or `TOO_OLD`.
        answer: The last one; None if the function never saw them.
    """

    batch: Batch
    condition: str
    answer: Answer | None


class Lane:
    """Gathers records into batches, and keeps at a batch until it is settled or given up."""

    def __init__(self, mapping: Mapping, envelope_bytes: int) -> None:
        """Start empty.

        Args:
            mapping: What to keep to.
            envelope_bytes: What each record costs in the payload besides its data.
        """
        self._mapping = mapping
        self._envelope_bytes = envelope_bytes
        self._gathered: deque[StreamRecord] = deque()
        self._gathering_since = 0.0
        self._waiting: deque[Batch] = deque()
        self._in_flight: Batch | None = None
        self._last_answer: Answer | None = None

    def offer(self, record: StreamRecord, now: float) -> None:
        """Take a record that was read."""
        if not self._gathered:
            self._gathering_since = now
        self._gathered.append(record)

    @property
    def outstanding(self) -> list[StreamRecord]:
        """Every record that is not settled, in order."""
        flying = [] if self._in_flight is None else [self._in_flight]
        batches = [*flying, *self._waiting]
        return [record for batch in batches for record in batch.records] + list(self._gathered)

    @property
    def is_busy(self) -> bool:
        """True while a batch is in flight."""
        return self._in_flight is not None

    def expire(self, now: float) -> GivenUp | None:
        """Give up the records that are too old, before they are sent (again).

        Assumption: only those that are too old go, not their whole batch; AWS tells that records older than
        the limit are not sent.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        if self._mapping.max_age_seconds is None or self.is_busy:
            return None
        oldest_allowed = now - self._mapping.max_age_seconds
        if self._waiting:
            batch = self._waiting[0]
            old = _old(batch.records, oldest_allowed)
            if not old:
                return None
            self._waiting.popleft()
            if len(old) < len(batch.records):
                self._waiting.appendleft(replace(batch, records=batch.records[len(old) :]))
            return GivenUp(replace(batch, records=old), TOO_OLD, self._last_answer if batch.invocations else None)
        old = _old(tuple(self._gathered), oldest_allowed)
        for _ in old:
            self._gathered.popleft()
        return GivenUp(Batch(old), TOO_OLD, None) if old else None

    def take(self, now: float, *, is_window_over: bool = False) -> Batch | None:
        """Return the batch to invoke the function with now, if one is due and none is in flight.

        Args:
            now: Seconds since 1970.
            is_window_over: True to send what is gathered without waiting for more.
        """
        if self.is_busy:
            return None
        if not self._waiting and (cut := self._cut(now, is_window_over=is_window_over)):
            self._waiting.append(Batch(cut))
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        self._in_flight = replace(batch, invocations=batch.invocations + 1)
        return self._in_flight

    def settle(self, answer: Answer) -> GivenUp | None:
        """Apply what the function answered to the batch in flight; return what is given up.

        Where both are on, a partial response splits at the number it returns, and anything else in two, which
        does not use up a retry.

        Assumption: the two halves inherit the count of failures; what is left after a partial success starts a
        count of its own, since it is a batch of its own.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
        """
        batch, self._in_flight = self._in_flight, None
        if batch is None:
            raise RuntimeError("lane: expected a batch in flight, got none")
        self._last_answer = answer
        verdict = judge(answer, batch.records, reports_failures=self._mapping.reports_failures)
        rest = batch.records[verdict.done :]
        if not rest:
            return None
        if verdict.is_whole and self._mapping.bisects and len(rest) > 1:
            middle = len(rest) // 2
            self._waiting.extendleft(replace(batch, records=half) for half in (rest[middle:], rest[:middle]))
            return None
        left = replace(batch, records=rest, failures=self._failures(batch, verdict))
        if self._mapping.retries is not None and left.failures > self._mapping.retries:
            return GivenUp(left, RETRIES_EXHAUSTED, answer)
        self._waiting.appendleft(left)
        return None

    @staticmethod
    def _failures(batch: Batch, verdict: Verdict) -> int:
        if verdict.done:
            return 0
        return batch.failures + verdict.is_counted

    def _cut(self, now: float, *, is_window_over: bool) -> tuple[StreamRecord, ...]:
        """Cut a batch off what is gathered, if it is full, or the window is over.

        Full means batch size or the 6 MB of a payload. Assumption: a record that is larger alone is sent alone.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching
        """
        size = count = 0
        for record in self._gathered:
            size += payload_bytes(record, self._envelope_bytes)
            if count == self._mapping.batch_size or (count and size > PAYLOAD_BYTES):
                break
            count += 1
        is_full = count == self._mapping.batch_size or count < len(self._gathered)
        if not (is_full or is_window_over or now - self._gathering_since >= self._mapping.window_seconds):
            return ()
        cut = tuple(self._gathered.popleft() for _ in range(count))
        self._gathering_since = now  # Assumption: the next window begins with the next batch
        return cut


def _old(records: Sequence[StreamRecord], oldest_allowed: float) -> tuple[StreamRecord, ...]:
    young = next((i for i, record in enumerate(records) if record.arrived_at >= oldest_allowed), len(records))
    return tuple(records[:young])
