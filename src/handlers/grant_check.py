"""Lambda entry point: a schedule calls `handler` to try every grant before the next contact needs it."""

import os

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import is_preview, refuse_preview
from handlers.wiring.grant_check import GrantCheck

_table = shipped_routes()
_grant_check = refuse_preview if is_preview(os.environ, _table) else GrantCheck(os.environ, _table)


def handler(event: object, context: LambdaContext) -> dict[str, str]:  # noqa: ARG001 - a schedule says nothing
    """Try every grant; return the reason of each that failed."""
    return _grant_check(Invocation.of(context))
