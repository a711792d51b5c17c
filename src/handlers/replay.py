"""Lambda entry point: `ctr-fanout replay` calls `handler`, slice by slice."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import is_preview, refuse_preview
from handlers.wiring.replay import Replay
from operations.replay.request import read_request

_table = shipped_routes()
_replay = refuse_preview if is_preview(os.environ, _table) else Replay(os.environ, _table)


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Replay one slice: `{"source": "dead-letters", "apply": true}` -> `{"results": [...], "next": null}`."""
    return _replay(read_request(event), Invocation.of(context))
