"""The sources of a replay: dead letters, what Lambda gave up on, and the stream itself, slice by slice."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aws.inventory import Inventory, Listed
from aws.invocation import Invocation
from aws.stream_reader import Start, StreamReader
from operations.replay.recovery import Recovery
from operations.replay.replayer import Replayed, Replayer
from operations.replay.request import ReplayRequest, ReplaySlice
from routing import layout
from routing.errors import EventError
from routing.layout import HANDED_OVER
from routing.model import Shard
from routing.table.routes import RouteTable

_OF_OBJECTS = f"{layout.OBJECT_LETTER_PREFIX}/"
_OF_RECORDS = f"{layout.RECORD_LETTER_PREFIX}/"
# What a thing may need at most: an object of 64 MB, or a thousand records, and the wait for a claim.
_SECONDS_FOR_A_THING = 90


class ReplaySources:
    """Walks through a source and replays what a request asks for."""

    def __init__(
        self,
        *,
        replayer: Callable[[ReplayRequest], Replayer],
        recovery: Callable[[ReplayRequest], Recovery],
        inventory: Inventory,
        stream: StreamReader,
        table: RouteTable,
        invocation: Invocation,
    ) -> None:
        """Use makers of what serves a request, and where to find things."""
        self._replayer = replayer
        self._recovery = recovery
        self._inventory = inventory
        self._stream = stream
        self._table = table
        self._invocation = invocation

    def run(self, request: ReplayRequest) -> ReplaySlice:
        """Replay one slice.

        Raises:
            EventError: The route or the shard does not exist.
        """
        if request.route is not None and request.route not in self._table.names:
            raise EventError(f"replay: route: expected one of {', '.join(sorted(self._table.names))}")
        replayer = self._replayer(request)
        if request.source == "stream":
            return self._of_stream(request, replayer)
        if request.source == "checkpoint":
            return self._of_checkpoint(request)
        things: list[dict[str, Any]] = []
        after = request.after or ""
        prefix = HANDED_OVER if request.source == "on-failure" else f"{layout.DEAD_LETTER_PREFIX}/"
        for looked_at, listed in enumerate(self._inventory.below(prefix, after=after)):
            if looked_at == request.most or self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(things=things, next=after)
            after = listed.key
            if (done := self._one(listed, request, replayer)) is not None:
                things.append(asdict(done))
        return ReplaySlice(things=things, next=None)

    def _one(self, listed: Listed, request: ReplayRequest, replayer: Replayer) -> Replayed | None:
        """Replay one object, if the request is about it."""
        if listed.key.rpartition("/")[2].startswith("_") or not _is_within(request, listed.modified_at):
            return None
        now = self._invocation.now()
        if listed.key.startswith(HANDED_OVER):
            return replayer.given_up(listed)
        route = listed.name.place[0] if listed.name else None
        if listed.key.startswith(_OF_OBJECTS) and request.route in {None, route}:
            return replayer.object_letter(listed, self._stream.arn, reason=request.reason, now=now)
        kind = str(listed.name.place[1]) if listed.name else None
        if listed.key.startswith(_OF_RECORDS) and request.route is None and request.reason in {None, kind}:
            return replayer.record_letter(listed, self._stream.arn, now=now)
        return None

    def _of_stream(self, request: ReplayRequest, replayer: Replayer) -> ReplaySlice:
        """Replay a range of one shard; `after` is `<shard>` or `<shard>:<last sequence number>`."""
        shards = self._stream.shards()
        if request.shard is not None:
            shards = [shard_id for shard_id in shards if shard_id == request.shard]
        begun, _, number = (request.after or "").partition(":")
        left = [shard_id for shard_id in shards if shard_id >= begun]
        if not left:
            raise EventError(f"replay: shard: expected one of the stream's {len(shards)} shards that can be read")
        shard_id, *others = left
        things: list[dict[str, Any]] = []
        following = others[0] if others else None
        last = None if request.last is None else int(request.last)
        chunks = self._stream.read(shard_id, self._start(request, number), until=request.until, last=last)
        for count, (event, first, end) in enumerate(chunks, start=1):
            where = f"{shard_id} {first} to {end}"
            done = replayer.stream_records(event, where, is_settled=request.is_settled)
            things.append(asdict(done))
            if count == request.most or self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(things=things, next=f"{shard_id}:{end}")
        return ReplaySlice(things=things, next=following)

    def _of_checkpoint(self, request: ReplayRequest) -> ReplaySlice:
        """Recover the rows of shards; `after` is the last one before."""
        recovery, things, after = self._recovery(request), list[dict[str, Any]](), request.after or ""
        for shard_id in recovery.shards():
            if shard_id <= after:
                continue
            if things and self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(things=things, next=after)
            things.append(asdict(recovery.recover(Shard(self._stream.arn, shard_id))))
            after = shard_id
        return ReplaySlice(things=things, next=None)

    def _start(self, request: ReplayRequest, number: str) -> Start:
        if number:
            return Start("AFTER_SEQUENCE_NUMBER", number)
        if request.first is not None:
            return Start("AT_SEQUENCE_NUMBER", request.first)
        return Start("TRIM_HORIZON") if request.since is None else Start("AT_TIMESTAMP", request.since)


def _is_within(request: ReplayRequest, at: float) -> bool:
    return (request.since is None or at >= request.since) and (request.until is None or at < request.until)
