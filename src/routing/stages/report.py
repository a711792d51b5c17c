"""The report of an invocation: counts that add up, and Lambda's response."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

from msgspec import Struct, field

from routing import layout
from routing.errors import AccountingError, OutOfTimeError
from routing.model import Kind, ObjectKey, RenderedObject, RouteName, SequenceNumber
from routing.reasons import Reason
from routing.stages.batch import Grouping


class BatchItemFailure(TypedDict):
    """The record that Lambda is to send again first."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """What Lambda expects of a stream's function that reports partial failures.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    """

    batchItemFailures: list[BatchItemFailure]


class RouteCounts(Struct):
    """What happened to the records that took one route.

    Attributes:
        skipped: Those that an earlier invocation had committed.
        delivered: Those in objects that landed under the route's key and are committed.
        dead_lettered: Those in objects that landed under the dead-letter key instead, by reason.
        failed: Those that Lambda will send again.
        objects: Objects delivered.
        plain_bytes: Their size before gzip.
        body_bytes: Their size as put.
        oldest_arrived_at: Arrival of the oldest record delivered, seconds since 1970; None if none was.
    """

    skipped: int = 0
    delivered: int = 0
    dead_lettered: Counter[Reason] = field(default_factory=Counter)
    failed: int = 0
    objects: int = 0
    plain_bytes: int = 0
    body_bytes: int = 0
    oldest_arrived_at: float | None = None

    @property
    def matched(self) -> int:
        """Records that took the route."""
        return self.skipped + self.delivered + self.dead_lettered.total() + self.failed

    @property
    def is_passed_over(self) -> bool:
        """True if it matched records and every one of them counted as delivered before."""
        return 0 < self.skipped == self.matched


class Trouble(Struct, frozen=True):
    """One thing that went wrong, for the log; `message` holds no value of a record."""

    route: RouteName | None
    reason: Reason
    message: str


class Outcome(Struct, frozen=True):
    """What became of one rendered object.

    Attributes:
        rendered: The object as it was to be delivered.
        trouble: None if it was delivered.
        is_dead_letter: True if it landed under the dead-letter key instead.
        is_refused_empty: True if it holds no record and its destination refuses it; it is tried again.
        is_postponed: True if it holds no record and there was no time to put it; the next try does.
    """

    rendered: RenderedObject
    trouble: Trouble | None = None
    is_dead_letter: bool = False
    is_refused_empty: bool = False
    is_postponed: bool = False

    @property
    def is_refused(self) -> bool:
        """True if its destination refused it and its content has landed as a dead letter."""
        return self.is_dead_letter and self.rendered.route != layout.DEAD_LETTER

    @property
    def is_failed(self) -> bool:
        """True if it landed nowhere, so that Lambda has to send its records again."""
        is_held_up = self.is_dead_letter or self.is_refused_empty or self.is_postponed
        return self.trouble is not None and not is_held_up


class Settlement(Struct):
    """What became of the objects of one segment, as far as it is known.

    Attributes:
        due: Records that have to be accounted for.
    """

    due: int
    outcomes: Sequence[Outcome] = ()

    @property
    def unsettled(self) -> frozenset[RouteName]:
        """The routes that Lambda has to send records again for."""
        return frozenset(outcome.rendered.owner for outcome in self.outcomes if outcome.is_failed)

    @property
    def kept(self) -> frozenset[ObjectKey]:
        """The names that an earlier try may have filled and that could not be written.

        Empty objects that their key refuses or that there was no time for, and objects whose content is a dead
        letter now: what is below the route's own prefix has to be emptied when the key works again.
        """
        return frozenset(
            outcome.rendered.key
            for outcome in self.outcomes
            if outcome.is_refused_empty or outcome.is_postponed or (outcome.is_refused and outcome.rendered.may_exist)
        )

    @property
    def emptied(self) -> frozenset[ObjectKey]:
        """The names that hold no record of an earlier try any more; a dead letter may be to fill one instead."""
        filled = {layout.letter_key(one.rendered.key) for one in self.outcomes if one.rendered.record_count}
        empty = (one for one in self.outcomes if one.trouble is None and not one.rendered.record_count)
        return frozenset(one.rendered.key for one in empty) - filled

    @property
    def has_postponed(self) -> bool:
        """True if names are still to be emptied for which there was no time."""
        return any(outcome.is_postponed for outcome in self.outcomes)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Record the outcome of every object; call it before the commit.

        Raises:
            AccountingError: Records are missing. It is a bug, and failing is better than losing them.
        """
        self.outcomes = outcomes
        accounted = sum(outcome.rendered.record_count for outcome in outcomes)
        if accounted != self.due:
            raise AccountingError(f"report: expected {self.due} routed records accounted for, got {accounted}")


class Report(Struct):
    """What one invocation did, filled by the pipeline.

    Attributes:
        received: Records of the event, those inside aggregates counted each.
        attempted: Those that were routed; the rest waits behind a failure.
        pairs: (record, route) pairs of the attempted records.
        to_drop: Records of the segment under way that the `unmatched` policy drops, by kind.
        dropped: Those of the segments that are committed; a batch that comes again drops nothing twice.
        routes: Counts by route, the route of dead letters included.
        troubles: What went wrong, one entry a failure.
        failed_from: The record that Lambda is to send again first; None if all went well.
        is_too_long: True if time ran out before anything was committed: the same batch would fail again.
    """

    received: int = 0
    attempted: int = 0
    pairs: int = 0
    to_drop: Counter[Kind | Reason] = field(default_factory=Counter)
    dropped: Counter[Kind | Reason] = field(default_factory=Counter)
    routes: dict[RouteName, RouteCounts] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    failed_from: SequenceNumber | None = None
    is_too_long: bool = False

    def of(self, route: RouteName) -> RouteCounts:
        """Return the counts of a route."""
        return self.routes.setdefault(route, RouteCounts())

    def take(self, grouping: Grouping) -> None:
        """Add the records of one segment; dropped ones count with the commit."""
        self.attempted += grouping.attempted
        self.pairs += grouping.pairs
        for route, count in grouping.skipped.items():
            self.of(route).skipped += count
        self.to_drop.update(grouping.dropped)

    @contextmanager
    def settling(self, objects: Sequence[RenderedObject]) -> Iterator[Settlement]:
        """Count what became of one segment, by whether the commit inside succeeds.

        An object that landed without a commit counts as failed: Lambda sends its records again, and then
        they are counted for good.

        Args:
            objects: Of the segment, before anything is put.
        """
        settlement = Settlement(due=self.pairs - sum(counts.matched for counts in self.routes.values()))
        try:
            yield settlement
        except BaseException:
            for rendered in objects:
                self.of(rendered.route).failed += rendered.record_count
            raise
        else:
            for outcome in settlement.outcomes:
                self._settle(outcome, is_committed=outcome.rendered.owner not in settlement.unsettled)
            self.dropped += self.to_drop
            self.to_drop.clear()
        finally:
            self.troubles += [outcome.trouble for outcome in settlement.outcomes if outcome.trouble is not None]

    def _settle(self, outcome: Outcome, *, is_committed: bool) -> None:
        rendered, counts = outcome.rendered, self.of(outcome.rendered.route)
        if not is_committed:
            counts.failed += rendered.record_count
        elif outcome.trouble is not None:
            counts.dead_lettered[outcome.trouble.reason] += rendered.record_count
        elif rendered.record_count:
            counts.delivered += rendered.record_count
            counts.objects += 1
            counts.plain_bytes += rendered.plain_bytes
            counts.body_bytes += len(rendered.body)
            oldest = counts.oldest_arrived_at
            counts.oldest_arrived_at = min(rendered.oldest_arrived_at, oldest or rendered.oldest_arrived_at)

    def fail(self, first: SequenceNumber, reason: Reason, message: str) -> None:
        """Note that Lambda has to send the records from `first` on again, for want of the checkpoint."""
        self.failed_from = first
        self.troubles.append(Trouble(None, reason, message))

    def response(self) -> BatchResponse:
        """Return Lambda's response: the record from which to send again, if any.

        Raises:
            OutOfTimeError: The batch makes more than fits into the invocation. Lambda splits a batch in two when
                the function fails; a response that names the first record makes it send the whole batch again.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
        """
        if self.is_too_long:
            raise OutOfTimeError(
                f"batch of {self.received} records: time ran out before anything was committed; Lambda sends the "
                "halves of it. Raise the function's time-out or lower BatchSize if this recurs"
            )
        failed_from = self.failed_from
        return {"batchItemFailures": [] if failed_from is None else [{"itemIdentifier": failed_from}]}
