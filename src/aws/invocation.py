"""One invocation: who it is and how much time it has left."""

import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, field


class LambdaContext(Protocol):
    """The part of Lambda's context object that this project uses.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda kills the invocation."""


class Invocation(Struct, frozen=True):
    """Identity and deadline of an invocation.

    Attributes:
        id: Lambda's request id; a retry has another one.
        remaining_seconds: Tells how long it may still run.
        now: The clock, seconds since 1970.
    """

    id: str
    remaining_seconds: Callable[[], float]
    now: Callable[[], float] = field(default=time.time)

    @classmethod
    def of(cls, context: LambdaContext) -> "Invocation":
        """Read Lambda's context."""
        return cls(context.aws_request_id, lambda: context.get_remaining_time_in_millis() / 1000)

    @property
    def deadline(self) -> float:
        """The moment when Lambda kills it, seconds since 1970."""
        return self.now() + self.remaining_seconds()
