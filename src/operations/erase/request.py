"""What an erasure is asked for, and what it answers: JSON between the command and the function."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from routing.errors import EventError
from routing.model import RouteName

_MOST_CONTACTS, _MOST_CUSTOMERS, _LONGEST_CUSTOMER = 10_000, 100, 512
# https://docs.aws.amazon.com/connect/latest/APIReference/API_Contact.html
_CONTACT = re.compile(r"[A-Za-z0-9_-]{1,256}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One slice of an erasure, or of the search for the contacts to erase.

    Exactly one of `contact_ids`, `customers` and `redacted` is given; the last two only search.

    Attributes:
        contact_ids: The contacts to erase: 1 to 10,000.
        keep_redacted: True to leave records that Connect itself has redacted.
        customers: What identifies people: their `CustomerId`, or the address of their endpoint; at most 100.
        redacted: True to search for contacts that Connect has redacted.
        apply: False only tells what would be done.
        old_versions: True also deletes old versions that hold the contact.
        first_date: Only below `date=` this or later, e.g. `2026-03-01`.
        last_date: Only below `date=` this or earlier.
        limit: Objects of one slice: 1 to 10,000.
        after: Where the slice before ended.
    """

    contact_ids: list[str] = []
    keep_redacted: bool = False
    customers: list[str] = []
    redacted: bool = False
    apply: bool = False
    old_versions: bool = False
    first_date: str | None = None
    last_date: str | None = None
    limit: int = 1000
    after: str | None = None


class ErasureSlice(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice did.

    Attributes:
        results: One entry for each object, or old version of one, that holds a contact.
        found: The contacts that were met; of a search those to erase.
        scanned: How many objects and old versions were searched.
        blind: Routes whose rules hide whose a record is.
        columns: Routes that have Parquet parts, which have to be made anew.
        next: Where the next slice begins; None if this was the last.
    """

    results: list[dict[str, Any]]
    found: list[str]
    scanned: int
    blind: list[RouteName]
    columns: list[RouteName]
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
    _check_whose(request)
    for name, date in (("first_date", request.first_date), ("last_date", request.last_date)):
        if date is not None and not _DATE.fullmatch(date):
            raise EventError(f"erase: {name}: expected a date like 2026-03-01, got {len(date)} characters")
    if not 1 <= request.limit <= 10_000:  # noqa: PLR2004 - documented above
        raise EventError(f"erase: limit: expected 1 to 10000, got {request.limit}")
    return request


def _check_whose(request: ErasureRequest) -> None:
    if sum(map(bool, (request.contact_ids, request.customers, request.redacted))) != 1:
        raise EventError("erase: expected one of contact_ids, customers and redacted")
    for name, given, most in (
        ("contact_ids", request.contact_ids, _MOST_CONTACTS),
        ("customers", request.customers, _MOST_CUSTOMERS),
    ):
        if len(given) > most:
            raise EventError(f"erase: {name}: expected at most {most}, got {len(given)}")
    for number, contact_id in enumerate(request.contact_ids):
        if not _CONTACT.fullmatch(contact_id):
            raise EventError(
                f"erase: contact_ids[{number}]: expected 1 to 256 letters, digits, '-' or '_', got {len(contact_id)} characters"
            )
    for number, customer in enumerate(request.customers):
        if not 0 < len(customer) <= _LONGEST_CUSTOMER:
            raise EventError(
                f"erase: customers[{number}]: expected 1 to {_LONGEST_CUSTOMER} characters, got {len(customer)}"
            )
    if request.apply and not request.contact_ids:
        raise EventError("erase: apply: expected contact_ids; a search changes nothing")
