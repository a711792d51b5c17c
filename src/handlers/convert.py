"""Lambda entry point: a schedule calls `handler` for each route, and `ctr-fanout convert` does."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import is_preview, refuse_preview
from handlers.wiring.convert import Convert

_table = shipped_routes()
_convert = refuse_preview if is_preview(os.environ, _table) else Convert(os.environ, _table)


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Convert one slice: `{"route": "orders"}` -> `{"results": [...], "until": {...}, "is_last": true, ...}`."""
    return _convert(event, Invocation.of(context))
