"""Lambda entry point: `ctr-fanout replay` calls `handler`, slice by slice."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.wiring import Replay
from operations.replay.request import read_request

_replay = Replay(os.environ, shipped_routes())


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Replay one slice: `{"source": "dead-letters", "apply": true}` -> `{"results": [...], "next": null}`."""
    return _replay(read_request(event), Invocation.of(context))
