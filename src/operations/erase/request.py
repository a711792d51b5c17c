"""What an erasure is asked for, and what it answers: JSON between the command and the function."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from routing.errors import EventError
from routing.model import RouteName

# https://docs.aws.amazon.com/connect/latest/APIReference/API_Contact.html
_CONTACT = re.compile(r"[A-Za-z0-9_-]{1,256}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One slice of an erasure.

    Attributes:
        contact_id: The contact to erase.
        apply: False only tells what would be done.
        old_versions: True also deletes old versions that hold the contact.
        first_date: Only below `date=` this or later, e.g. `2026-03-01`.
        last_date: Only below `date=` this or earlier.
        limit: Objects of one slice: 1 to 10,000.
        after: Where the slice before ended.
    """

    contact_id: str
    apply: bool = False
    old_versions: bool = False
    first_date: str | None = None
    last_date: str | None = None
    limit: int = 1000
    after: str | None = None


class ErasureSlice(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice did.

    Attributes:
        results: One entry for each object, or old version of one, that holds the contact.
        scanned: How many objects and old versions were searched.
        blind: Routes whose rules hide whose a record is.
        next: Where the next slice begins; None if this was the last.
    """

    results: list[dict[str, Any]]
    scanned: int
    blind: list[RouteName]
    next: str | None


def read_erasure(event: Mapping[str, object]) -> ErasureRequest:
    """Read what the function was invoked with.

    Raises:
        EventError: It is no such request.
    """
    try:
        request = msgspec.convert(event, ErasureRequest)
    except msgspec.ValidationError as err:
        raise EventError(f"erase: {err}") from None
    if not _CONTACT.fullmatch(request.contact_id):
        raise EventError(
            f"erase: contact_id: expected 1 to 256 letters, digits, '-' or '_', got {len(request.contact_id)} characters"
        )
    for name, date in (("first_date", request.first_date), ("last_date", request.last_date)):
        if date is not None and not _DATE.fullmatch(date):
            raise EventError(f"erase: {name}: expected a date like 2026-03-01, got {len(date)} characters")
    if not 1 <= request.limit <= 10_000:  # noqa: PLR2004 - documented above
        raise EventError(f"erase: limit: expected 1 to 10000, got {request.limit}")
    return request
