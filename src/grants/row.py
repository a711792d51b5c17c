"""One line of the grant matrix, and how sections of lines are written down."""

from dataclasses import dataclass
from typing import Literal

from grants.principals import Principal
from grants.requests import Request

# What is assumed to have gone wrong elsewhere, so that one lock has to hold alone.
type Assumption = Literal["", "default key policy", "no bucket policy", "open bucket policy", "named elsewhere"]

DEFAULT_KEY_POLICY: Assumption = "default key policy"
NO_BUCKET_POLICY: Assumption = "no bucket policy"
OPEN_BUCKET_POLICY: Assumption = "open bucket policy"
"""One more statement of the bucket policy lets everybody do everything."""
NAMED_ELSEWHERE: Assumption = "named elsewhere"
"""The policy of the resource, of the same account, lets the caller do everything."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix.

    Attributes:
        section: What it is about: a part of the stack, or `Route <name>`.
        who: The caller.
        request: What it asks for; every action of it gets the same answer.
        is_allowed: What AWS has to answer.
        why: In one sentence.
        assuming: What is assumed to have gone wrong.
    """

    section: str
    who: Principal
    request: Request
    is_allowed: bool
    why: str
    assuming: Assumption = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Makes the rows of one section."""

    name: str

    def may(self, who: Principal, request: Request, why: str) -> Row:
        """Say what has to be allowed."""
        return Row(self.name, who, request, is_allowed=True, why=why)

    def may_not(self, who: Principal, request: Request, why: str, assuming: Assumption = "") -> Row:
        """Say what has to be denied."""
        return Row(self.name, who, request, is_allowed=False, why=why, assuming=assuming)
