"""What a conversion is asked for, and what it answers: JSON between schedule or command and the function."""

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.errors import EventError
from routing.model import RouteName
from routing.table.routes import Route, RouteTable


class ConversionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One slice of a conversion.

    Attributes:
        route: The route whose objects become columns.
        apply: False only tells which parts are to be made.
        old_versions: True also deletes the old versions of the route's parts, once its parts are those of its objects.
        after: Where the slice before ended: a kind and a date.
    """

    route: RouteName
    apply: bool = True
    old_versions: bool = False
    after: str | None = None


class ConversionSlice(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice did.

    Attributes:
        results: One entry for each part that was made, or could not be: key, records, refused, sources, blocked_by.
        deleted: How many old versions are gone.
        until: By kind, the day up to which columns are complete; empty if none is.
        next: Where the next slice begins; None if everything was looked at.
    """

    results: list[dict[str, Any]]
    deleted: int
    until: dict[str, str]
    next: str | None


def read_conversion(event: Mapping[str, object], table: RouteTable) -> tuple[ConversionRequest, Route]:
    """Read what the function was invoked with.

    Raises:
        EventError: It is no such request, or there is no such route.
    """
    try:
        request = msgspec.convert(event, ConversionRequest)
    except msgspec.ValidationError as err:
        raise EventError(f"convert: {err}") from None
    for route in table.routes:
        if route.name == request.route:
            return request, route
    raise EventError(f"convert: route: expected one of {', '.join(r.name for r in table.routes)}, got another")
