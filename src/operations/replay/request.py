"""What a replay is asked for, and what it answers: JSON between the command and the function."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from routing.errors import EventError

type Source = Literal["dead-letters", "on-failure", "stream", "checkpoint"]


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One slice of a replay.

    Attributes:
        source: Where to take from; `checkpoint` recovers the rows of a restored table, shard by shard.
        apply: False only tells what would be done.
        route: Only dead letters of this route.
        reason: Only dead letters with this reason, e.g. `KmsKeyDisabled`.
        since: Only what was put there, or arrived in the stream, at this time or later; seconds since 1970.
        until: Only what was put there, or arrived in the stream, before this time; seconds since 1970.
        shard: Only this shard of the stream.
        first: From this sequence number of the stream on.
        last: Up to this one.
        is_settled: Of the stream: True if the mapping will not send these records again, though some route has
            not passed them.
        mapping: Of the batches that Lambda gave up on: the UUID of an event source mapping that the stack had before.
        limit: Objects, or thousands of stream records, of one slice: 1 to 1,000.
        after: Where the slice before ended.
    """

    source: Source
    apply: bool = False
    route: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    shard: str | None = None
    first: str | None = None
    last: str | None = None
    is_settled: bool = False
    mapping: str | None = None
    limit: int = 100
    after: str | None = None


class ReplaySlice(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice did.

    Attributes:
        results: One entry for each object or range: key, route, reason, records, and why it is left, if it is.
        next: Where the next slice begins; None if this was the last.
    """

    results: list[dict[str, Any]]
    next: str | None


def read_request(event: Mapping[str, object]) -> ReplayRequest:
    """Read what the function was invoked with.

    Raises:
        EventError: It is no such request.
    """
    try:
        request = msgspec.convert(event, ReplayRequest)
    except msgspec.ValidationError as err:
        raise EventError(f"replay: {err}") from None
    if not 1 <= request.limit <= 1000:  # noqa: PLR2004 - documented above
        raise EventError(f"replay: limit: expected 1 to 1000, got {request.limit}")
    if request.source != "stream" and (request.shard or request.first or request.last or request.is_settled):
        raise EventError("replay: shard, first, last and is_settled: expected with the source 'stream' only")
    if request.shard is None and (request.first or request.last):
        raise EventError("replay: first and last: expected with a shard, whose sequence numbers they are")
    for name, number in (("first", request.first), ("last", request.last)):
        if number is not None and not (number.isascii() and number.isdecimal()):
            raise EventError(f"replay: {name}: expected a sequence number, digits only")
    if request.source != "on-failure" and request.mapping:
        raise EventError("replay: mapping: expected with the source 'on-failure' only")
    if request.source != "dead-letters" and (request.route or request.reason):
        raise EventError("replay: route and reason: expected with the source 'dead-letters' only")
    return request
