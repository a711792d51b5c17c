"""The sources of a replay: dead letters, what Lambda gave up on, and the stream itself, slice by slice."""

from dataclasses import asdict
from typing import Any

from aws.inventory import Listed
from aws.invocation import Invocation
from aws.stream_reader import Start, StreamReader
from operations.replay.context import ReplayContext
from operations.replay.object_letters import ObjectLetters
from operations.replay.on_failure import OnFailureBatches
from operations.replay.record_letters import RecordLetters
from operations.replay.recovery import Recovery
from operations.replay.replayed import Replayed
from operations.replay.request import ReplayRequest, ReplaySlice
from operations.replay.stream_records import StreamRecords
from routing import layout
from routing.errors import EventError
from routing.layout import HANDED_OVER
from routing.model import Shard

_OF_OBJECTS = f"{layout.OBJECT_LETTER_PREFIX}/"
_OF_RECORDS = f"{layout.RECORD_LETTER_PREFIX}/"
# What a thing may need at most: an object of 64 MB, or a thousand records, and the wait for a claim.
_SECONDS_FOR_A_THING = 90


class ReplaySources:
    """Walks through a source and replays what a request asks for."""

    def __init__(self, context: ReplayContext, stream: StreamReader, invocation: Invocation) -> None:
        """Bind what the sources share to the stream that is read, and to the deadline of an invocation."""
        self._context = context
        self._stream = stream
        self._invocation = invocation

    def run(self, request: ReplayRequest) -> ReplaySlice:
        """Replay one slice.

        Raises:
            EventError: The route or the shard does not exist.
        """
        if request.route is not None and request.route not in self._context.table.names:
            raise EventError(f"replay: route: expected one of {', '.join(sorted(self._context.table.names))}")
        if request.source == "stream":
            return self._of_stream(request)
        if request.source == "checkpoint":
            return self._of_checkpoint(request)
        results: list[dict[str, Any]] = []
        after = request.after or ""
        prefix = HANDED_OVER if request.source == "on-failure" else f"{layout.DEAD_LETTER_PREFIX}/"
        for scanned, listed in enumerate(self._context.inventory.below(prefix, after=after)):
            if scanned == request.limit or self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(results=results, next=after)
            after = listed.key
            if (done := self._one(listed, request)) is not None:
                results.append(asdict(done))
        return ReplaySlice(results=results, next=None)

    def _one(self, listed: Listed, request: ReplayRequest) -> Replayed | None:
        """Replay one object, if the request is about it."""
        if listed.key.rpartition("/")[2].startswith("_") or not _is_within(request, listed.modified_at):
            return None
        now = self._invocation.now()
        if listed.key.startswith(HANDED_OVER):
            return OnFailureBatches(self._context).replay(listed)
        route = listed.name.place[0] if listed.name else None
        if listed.key.startswith(_OF_OBJECTS) and request.route in {None, route}:
            return ObjectLetters(self._context).replay(listed, reason=request.reason, now=now)
        kind = str(listed.name.place[1]) if listed.name else None
        if listed.key.startswith(_OF_RECORDS) and request.route is None and request.reason in {None, kind}:
            return RecordLetters(self._context).replay(listed, now=now)
        return None

    def _of_stream(self, request: ReplayRequest) -> ReplaySlice:
        """Replay a range of one shard; `after` is `<shard>` or `<shard>:<last sequence number>`."""
        shards = self._stream.shards()
        if request.shard is not None:
            shards = [shard_id for shard_id in shards if shard_id == request.shard]
        begun, _, number = (request.after or "").partition(":")
        left = [shard_id for shard_id in shards if shard_id >= begun]
        if not left:
            raise EventError(f"replay: shard: expected one of the stream's {len(shards)} shards that can be read")
        shard_id, *others = left
        results: list[dict[str, Any]] = []
        following = others[0] if others else None
        last = None if request.last is None else int(request.last)
        chunks = self._stream.read(shard_id, self._start(request, number), until=request.until, last=last)
        for count, (event, first, end) in enumerate(chunks, start=1):
            where = f"{shard_id} {first} to {end}"
            done = StreamRecords(self._context).replay(event, where, is_settled=request.is_settled)
            results.append(asdict(done))
            if count == request.limit or self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(results=results, next=f"{shard_id}:{end}")
        return ReplaySlice(results=results, next=following)

    def _of_checkpoint(self, request: ReplayRequest) -> ReplaySlice:
        """Recover the rows of shards; `after` is the last one before."""
        recovery, results, after = Recovery(self._context), list[dict[str, Any]](), request.after or ""
        for shard_id in recovery.shards():
            if shard_id <= after:
                continue
            if results and self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING:
                return ReplaySlice(results=results, next=after)
            results.append(asdict(recovery.recover(Shard(self._stream.arn, shard_id))))
            after = shard_id
        return ReplaySlice(results=results, next=None)

    def _start(self, request: ReplayRequest, number: str) -> Start:
        if number:
            return Start("AFTER_SEQUENCE_NUMBER", number)
        if request.first is not None:
            return Start("AT_SEQUENCE_NUMBER", request.first)
        return Start("TRIM_HORIZON") if request.since is None else Start("AT_TIMESTAMP", request.since)


def _is_within(request: ReplayRequest, at: float) -> bool:
    return (request.since is None or at >= request.since) and (request.until is None or at < request.until)
