"""Lambda entry point: a schedule calls `handler` to try every grant before the next contact needs it."""

import os

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.wiring import GrantCheck

_grant_check = GrantCheck(os.environ, shipped_routes())


def handler(event: object, context: LambdaContext) -> dict[str, str]:  # noqa: ARG001 - a schedule says nothing
    """Try every grant; return the reason of each that failed."""
    return _grant_check(Invocation.of(context))
