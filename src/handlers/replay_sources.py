"""The sources of a replay: dead letters, what Lambda gave up on, and the stream itself, slice by slice."""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from handlers.inventory import Inventory, Listed
from handlers.invocation import Invocation
from handlers.replay_request import ReplayRequest, ReplaySlice
from handlers.replaying import Replayed, Replayer
from routing import dead_letter
from routing.errors import EventError
from routing.routes import RouteTable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef

HANDED_OVER = "aws/lambda/"
_OF_OBJECTS = f"{dead_letter.OBJECTS_PREFIX}/"
_OF_RECORDS = f"{dead_letter.RECORDS_PREFIX}/"
_RECORDS_AT_ONCE = 1000
# What a thing may need at most: an object of 64 MB, or a thousand records, and the wait for a claim.
_SECONDS_FOR_A_THING = 90


class ReplaySources:
    """Walks through a source and replays what a request asks for."""

    def __init__(
        self,
        *,
        replayer: Callable[[bool], Replayer],
        inventory: Inventory,
        kinesis: "KinesisClient",
        stream_arn: str,
        table: RouteTable,
        invocation: Invocation,
    ) -> None:
        """Take a maker of replayers, told whether to apply, and where to find things."""
        self._replayer = replayer
        self._inventory = inventory
        self._kinesis = kinesis
        self._stream_arn = stream_arn
        self._table = table
        self._invocation = invocation

    def run(self, request: ReplayRequest) -> ReplaySlice:
        """Replay one slice.

        Raises:
            EventError: The route or the shard does not exist.
        """
        if request.route is not None and request.route not in self._table.names:
            raise EventError(f"replay: route: expected one of {', '.join(sorted(self._table.names))}")
        replayer = self._replayer(request.apply)
        if request.source == "stream":
            return self._of_stream(request, replayer)
        things: list[dict[str, Any]] = []
        after = request.after or ""
        prefix = HANDED_OVER if request.source == "on-failure" else f"{dead_letter.PREFIX}/"
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
            return replayer.object_letter(listed, self._stream_arn, reason=request.reason, now=now)
        kind = str(listed.name.place[1]) if listed.name else None
        if listed.key.startswith(_OF_RECORDS) and request.route is None and request.reason in {None, kind}:
            return replayer.record_letter(listed, now=now)
        return None

    def _of_stream(self, request: ReplayRequest, replayer: Replayer) -> ReplaySlice:
        """Replay a range of one shard; `after` is `<shard>` or `<shard>:<last sequence number>`."""
        shards = sorted(shard["ShardId"] for shard in self._kinesis.list_shards(StreamARN=self._stream_arn)["Shards"])
        if request.shard is not None:
            shards = [shard_id for shard_id in shards if shard_id == request.shard]
        begun, _, number = (request.after or "").partition(":")
        left = [shard_id for shard_id in shards if shard_id >= begun]
        if not left:
            raise EventError(f"replay: shard: expected one of the stream's {len(shards)} shards that can be read")
        shard_id, *others = left
        things: list[dict[str, Any]] = []
        following = others[0] if others else None
        for chunks, records in enumerate(self._chunks(shard_id, request, number)):
            where = f"{shard_id} {records[0]['SequenceNumber']} to {records[-1]['SequenceNumber']}"
            event = _event(records, shard_id, self._stream_arn)
            things.append(asdict(replayer.stream_records(event, where, is_settled=request.is_settled)))
            is_late = self._invocation.remaining_seconds() < _SECONDS_FOR_A_THING
            if chunks + 1 >= request.most or is_late:
                return ReplaySlice(things=things, next=f"{shard_id}:{records[-1]['SequenceNumber']}")
        return ReplaySlice(things=things, next=following)

    def _chunks(self, shard_id: str, request: ReplayRequest, number: str) -> Iterator[list["RecordTypeDef"]]:
        """Read the range that is asked for, a thousand records at a time."""
        start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if number:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": number}
        elif request.first is not None:
            start = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": request.first}
        elif request.since is not None:
            start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": request.since}
        answer = self._kinesis.get_shard_iterator(StreamARN=self._stream_arn, ShardId=shard_id, **start)
        iterator: str | None = answer["ShardIterator"]
        while iterator:
            page = self._kinesis.get_records(ShardIterator=iterator, Limit=_RECORDS_AT_ONCE, StreamARN=self._stream_arn)
            inside = [record for record in page["Records"] if _is_in_range(request, record)]
            if inside:
                yield inside
            is_at_tip = not page["Records"] and not page.get("MillisBehindLatest")
            if len(inside) < len(page["Records"]) or is_at_tip:
                return
            iterator = page.get("NextShardIterator")


def _is_within(request: ReplayRequest, at: float) -> bool:
    return (request.since is None or at >= request.since) and (request.until is None or at < request.until)


def _is_in_range(request: ReplayRequest, record: "RecordTypeDef") -> bool:
    position = int(record["SequenceNumber"])
    return _is_within(request, record["ApproximateArrivalTimestamp"].timestamp()) and (
        request.last is None or position <= int(request.last)
    )


def _event(records: list["RecordTypeDef"], shard_id: str, stream_arn: str) -> Mapping[str, Any]:
    """Make of stream records what the decoder reads of Lambda's event."""
    return {
        "Records": [
            {
                "kinesis": {
                    "sequenceNumber": record["SequenceNumber"],
                    "data": base64.b64encode(record["Data"]).decode(),
                    "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                },
                "eventID": f"{shard_id}:{record['SequenceNumber']}",
                "eventSourceARN": stream_arn,
            }
            for record in records
        ]
    }
