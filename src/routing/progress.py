"""Progress: how far the routes of a shard are, and the claim through which one invocation moves them.

A row keeps it between invocations (`handlers/checkpoint.py`); what it means is told here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from routing.model import FencingToken, ObjectKey, RouteName, RoutesDigest, SequenceNumber

type Names = Mapping[ObjectKey, RouteName]
"""Names of objects, and the route whose records each holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What to go back to while some routes lag behind the others.

    Those ahead are right only if the same records come again, all of them, to the same routes. Changed routes
    may send a record to one that has passed it; a shorter batch would be acknowledged in part.

    Attributes:
        routes: The digest of the table by which some routes went ahead.
        watermarks: As they were before.
        settled: What those that went ahead have put.
    """

    routes: RoutesDigest
    watermarks: Mapping[RouteName, int]
    settled: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known of one shard.

    Attributes:
        watermarks: The last position committed, per route; a route without one has committed nothing.
        intents: Names that may stand in the bucket without having been committed.
        trial: None if no route lags behind.
    """

    watermarks: Mapping[RouteName, int] = field(default_factory=dict)
    intents: Names = field(default_factory=dict)
    trial: Trial | None = None

    def seen_by(self, routes: RoutesDigest, first: int, last: int) -> "Progress":
        """Return the progress as the next commit may build on it.

        Args:
            routes: The digest of its table.
            first: The first position that it covers.
            last: The last one.
        """
        furthest = max(self.watermarks.values(), default=-1)
        if self.trial is None or (self.trial.routes == routes and first <= furthest <= last):
            return self
        if first > furthest:  # Lambda has given up on what the routes behind still lack; a replay brings it
            return replace(self, trial=None)
        return Progress(watermarks=self.trial.watermarks, intents={**self.trial.settled, **self.intents})

    def is_before_trial(self, last: int, routes: Collection[RouteName]) -> bool:
        """Tell whether records up to a position were settled by all routes before some of them went ahead."""
        return self.trial is not None and last <= min(self.trial.watermarks.get(route, -1) for route in routes)

    def intending(self, names: Names) -> "Progress":
        """Return the progress with more intents."""
        return replace(self, intents={**self.intents, **names})

    def committed(
        self,
        delivered: Mapping[RouteName, int],
        unsettled: Collection[RouteName],
        kept: Collection[ObjectKey],
        routes: RoutesDigest,
    ) -> "Progress":
        """Return the progress after a commit: watermarks forward, intents of settled routes forgotten.

        Args:
            delivered: New watermarks.
            unsettled: Routes not all of whose objects have landed.
            kept: Intents to keep although their routes are settled.
            routes: The digest of the table.
        """
        watermarks = {**self.watermarks, **delivered}
        left = {key: owner for key, owner in self.intents.items() if owner in unsettled or key in kept}
        if not unsettled:
            return Progress(watermarks=watermarks, intents=left, trial=None if delivered else self.trial)
        earlier = self.trial or Trial(routes=routes, watermarks=self.watermarks, settled={})
        settled = {key: owner for key, owner in self.intents.items() if key not in left}
        trial = replace(earlier, settled={**earlier.settled, **settled})
        return Progress(watermarks=watermarks, intents=left, trial=trial)


class Claim:
    """The progress of a shard, held by one invocation.

    Whatever is saved may raise CheckpointError: the claim is lost or the table cannot be written.
    """

    def __init__(
        self,
        progress: Progress,
        routes: RoutesDigest,
        save: Callable[[Progress, bool], FencingToken | None],
        token: FencingToken | None,
    ) -> None:
        """Hold a shard; use `Checkpoint.claim`.

        Args:
            progress: As it was saved last.
            routes: The digest of the table that builds on it.
            save: Saves progress, lets go of the shard if told so, and returns the new token.
            token: Tells this claim's objects from those of earlier ones; None without a checkpoint.
        """
        self._progress = self._kept = progress
        self._routes = routes
        self._save = save
        self.token = token

    @property
    def watermarks(self) -> Mapping[RouteName, int]:
        """The last position committed, per route."""
        return self._progress.watermarks

    @property
    def intents(self) -> Names:
        """Names that may stand in the bucket without having been committed, and whose records they hold."""
        return self._progress.intents

    def may_change(self, key: ObjectKey) -> bool:
        """Tell whether the next try of a batch may still empty or replace what stands under a name."""
        trial = self._progress.trial
        return key in self.intents or (trial is not None and key in trial.settled)

    def begin_replay(self, first: int, last: int, routes: Collection[RouteName]) -> None:
        """Begin to replay records between two positions; a trial of later ones is none of its business."""
        if not self._progress.is_before_trial(last, routes):
            self.begin(first, last)

    def begin(self, first: int, last: int) -> None:
        """Begin a commit of the records between two positions, before watermarks and intents are asked for."""
        self._progress = self._progress.seen_by(self._routes, first, last)

    def intend(self, names: Names) -> None:
        """Write down names before anything is put under them; what is written down already costs nothing.

        A trial that was left has to be written down as well, before what it has put is emptied.
        """
        if self._progress is not self._kept or not names.keys() <= self.intents.keys():
            self._keep(self._progress.intending(names), release=False)

    def commit(
        self,
        delivered: Mapping[RouteName, SequenceNumber],
        unsettled: Collection[RouteName] = (),
        kept: Collection[ObjectKey] = (),
        *,
        release: bool,
    ) -> None:
        """Move watermarks, forget the intents that are settled, and let go of the shard if `release`.

        Call it after the puts: a crash in between repeats a put, it never loses a record.

        Args:
            delivered: Last sequence number of each route that moves forward.
            unsettled: Routes whose intents stay, because not all of their objects have landed.
            kept: Intents that stay besides: they could not be emptied, and hold nobody up.
            release: True with the last commit of an invocation.
        """
        moved = {route: int(number) for route, number in delivered.items()}
        self._keep(self._progress.committed(moved, unsettled, kept, self._routes), release=release)

    def _keep(self, progress: Progress, *, release: bool) -> None:
        self.token = self._save(progress, release)
        self._progress = self._kept = progress
