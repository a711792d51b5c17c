"""Progress: how far the routes of a shard are, and the claim through which one invocation moves them.

A row keeps it between invocations (`aws/checkpoint.py`); this module defines what it means.
"""

from collections.abc import Callable, Collection, Mapping
from copy import replace
from typing import Protocol

from msgspec import Struct, field

from routing.model import FencingToken, ObjectKey, RouteName, RoutesDigest, SequenceNumber

type Watermarks = Mapping[RouteName, int]
"""The last position committed, per route; a route without one has committed nothing."""


class Routes(Protocol):
    """What the progress of a shard needs to know of the deployed routes."""

    @property
    def digest(self) -> RoutesDigest:
        """Identifies everything that decides where a record is delivered."""

    @property
    def prefixes(self) -> Mapping[RouteName, str]:
        """The prefix of each route."""


class Trial(Struct, frozen=True, kw_only=True):
    """What to return to while some routes lag behind the others.

    The routes ahead are right only if the same records come again, all of them, to the same routes. Changed
    routes, or changed code, may send a record to a route that has passed it; a shorter batch would be
    acknowledged in part.

    Attributes:
        routes: The digest of the deployment by which some routes went ahead.
        watermarks: As they were before.
        prefix_watermarks: The same by prefix.
        settled: The names of the objects that the routes ahead have put.
    """

    routes: RoutesDigest
    watermarks: Watermarks
    prefix_watermarks: Mapping[str, int] = field(default_factory=dict)
    settled: frozenset[ObjectKey]


class Progress(Struct, frozen=True, kw_only=True):
    """What is known of one shard.

    Attributes:
        watermarks: By the names that the routes had when they were committed.
        prefix_watermarks: By the prefixes that these routes had then. None is ever forgotten, so that a prefix
            keeps its watermark whichever routes own it over time.
        intents: Names that may exist in the bucket without having been committed. The prefix of a name
            tells its owner: a renamed route continues where it was.
        trial: None if no route lags behind.
    """

    watermarks: Watermarks = field(default_factory=dict)
    prefix_watermarks: Mapping[str, int] = field(default_factory=dict)
    intents: frozenset[ObjectKey] = frozenset()
    trial: Trial | None = None

    def seen_by(self, routes: RoutesDigest, first: int, last: int) -> "Progress":
        """Return the progress as the next commit may build on it.

        Args:
            routes: The digest of its deployment.
            first: The first position that it covers.
            last: The last one.
        """
        furthest = max(self.watermarks.values(), default=-1)
        if self.trial is None or (self.trial.routes == routes and first <= furthest <= last):
            return self
        if first > furthest:  # Lambda has given up on what the routes behind still lack; a replay brings it
            return replace(self, trial=None)
        return replace(
            self,
            watermarks=self.trial.watermarks,
            prefix_watermarks=self.trial.prefix_watermarks,
            intents=self.trial.settled | self.intents,
            trial=None,
        )

    def watermarks_of(self, prefixes: Mapping[RouteName, str]) -> dict[RouteName, int]:
        """Return how far each deployed route is: as far as its name or its prefix was.

        A route that is renamed, or moved to another prefix, does not deliver again what it has delivered.
        """
        return _marks_of(self, prefixes)

    def is_before_trial(self, last: int, prefixes: Mapping[RouteName, str]) -> bool:
        """Return True if every route had settled the records up to a position before some went ahead."""
        if self.trial is None:
            return False
        marks = _marks_of(self.trial, prefixes)
        return last <= min(marks.get(route, -1) for route in prefixes)

    def intending(self, names: Collection[ObjectKey]) -> "Progress":
        """Return the progress with more intents."""
        return replace(self, intents=self.intents.union(names))

    def committed(
        self,
        delivered: Watermarks,
        kept: Collection[ObjectKey],
        routes: Routes,
        *,
        is_partial: bool,
        ends_trial: bool = False,
        emptied: Collection[ObjectKey] = (),
    ) -> "Progress":
        """Return the progress after a commit: watermarks forward, all intents but the kept ones forgotten.

        Args:
            delivered: New watermarks.
            kept: Intents that remain.
            routes: The deployment that has delivered.
            is_partial: True if some route lags behind, so that the others may have to be taken back.
            ends_trial: True if the records are acknowledged, so that they do not come again, even if no watermark
                moves.
            emptied: Intents that hold no record any more. A trial does not remember them: a replay may have filled
                them with a dead letter before it is left.
        """
        left = self.intents.intersection(kept)
        by_prefix = {routes.prefixes[route]: mark for route, mark in delivered.items()}
        moved = replace(
            self,
            watermarks={**self.watermarks, **delivered},
            prefix_watermarks={**self.prefix_watermarks, **by_prefix},
            intents=left,
        )
        if not is_partial:
            return replace(moved, trial=None if delivered or ends_trial else self.trial)
        earlier = self.trial or Trial(
            routes=routes.digest,
            watermarks=self.watermarks,
            prefix_watermarks=self.prefix_watermarks,
            settled=frozenset(),
        )
        return replace(
            moved, trial=replace(earlier, settled=earlier.settled | (self.intents - left).difference(emptied))
        )


def _marks_of(then: Progress | Trial, now: Mapping[RouteName, str]) -> dict[RouteName, int]:
    marks = {
        route: max(then.watermarks.get(route, -1), then.prefix_watermarks.get(prefix, -1))
        for route, prefix in now.items()
    }
    return {route: mark for route, mark in marks.items() if mark >= 0}


class Claim:
    """The progress of a shard, held by one invocation.

    Whatever is saved may raise CheckpointError: the claim is lost or the table cannot be written.
    """

    def __init__(
        self,
        progress: Progress,
        routes: Routes,
        save: Callable[[Progress, bool], FencingToken | None],
        token: FencingToken | None,
    ) -> None:
        """Create the claim of a shard; use `Checkpoint.claim`.

        Args:
            progress: As it was saved last.
            routes: The deployment that builds on it.
            save: Saves progress, releases the shard if its second argument is true, and returns the new token.
            token: Orders this claim's objects after those of earlier claims; None without a checkpoint.
        """
        self._progress = self._kept = progress
        self._routes = routes
        self._save = save
        self.token = token

    @property
    def watermarks(self) -> Watermarks:
        """The last position committed, per deployed route."""
        return self._progress.watermarks_of(self._routes.prefixes)

    @property
    def intents(self) -> frozenset[ObjectKey]:
        """Names that may exist in the bucket without having been committed."""
        return self._progress.intents

    def may_change(self, key: ObjectKey, owner: RouteName | None, first: int) -> bool:
        """Return True if the next try of a batch may still replace or empty an object.

        Args:
            key: Its name.
            owner: The route whose records it holds; None if no deployed route does.
            first: The position of its first record. An intent that its route has passed belongs to no batch any
                more: it could not be emptied when it was settled.
        """
        trial = self._progress.trial
        if trial is not None and key in trial.settled:
            return True
        has_passed = owner is not None and first <= self.watermarks.get(owner, -1)
        return key in self.intents and not (has_passed and trial is None)

    def begin_replay(self, first: int, last: int) -> None:
        """Begin to replay the records between two positions; a trial of later ones is left alone."""
        if not self._progress.is_before_trial(last, self._routes.prefixes):
            self.begin(first, last)

    def begin(self, first: int, last: int) -> None:
        """Begin a commit of the records between two positions, before watermarks and intents are asked for."""
        self._progress = self._progress.seen_by(self._routes.digest, first, last)

    def intend(self, names: Collection[ObjectKey]) -> None:
        """Write names down before anything is put under them; a name that is written down already costs nothing.

        A trial that was left has to be written down as well, before its objects are emptied.
        """
        if self._progress is not self._kept or not self.intents.issuperset(names):
            self._keep(self._progress.intending(names), release=False)

    def recover(self, intents: Collection[ObjectKey], *, keeps_watermarks: bool) -> None:
        """Replace what the row of a restored table remembers of unfinished tries.

        Args:
            intents: Names that an unfinished try has left.
            keeps_watermarks: False if the stream has not issued them.
        """
        known = self._progress if keeps_watermarks else Progress()
        self._keep(replace(known, intents=frozenset(intents), trial=None), release=False)

    def commit(
        self,
        delivered: Mapping[RouteName, SequenceNumber],
        kept: Collection[ObjectKey] = (),
        *,
        is_partial: bool = False,
        ends_trial: bool = False,
        emptied: Collection[ObjectKey] = (),
        release: bool,
    ) -> None:
        """Move watermarks, forget the intents that are settled, and release the shard if `release`.

        Call it after the puts: a crash in between repeats a put, it never loses a record.

        Args:
            delivered: The last sequence number of each route that moves forward.
            kept: Intents that remain.
            is_partial: True if not every route has settled its objects.
            ends_trial: True if the invocation acknowledges the records to Lambda.
            emptied: Intents that hold no record any more.
            release: True with the last commit of an invocation.
        """
        moved = {route: int(number) for route, number in delivered.items()}
        progress = self._progress.committed(
            moved, kept, self._routes, is_partial=is_partial, ends_trial=ends_trial, emptied=emptied
        )
        self._keep(progress, release=release)

    def _keep(self, progress: Progress, *, release: bool) -> None:
        self.token = self._save(progress, release)
        self._progress = self._kept = progress
