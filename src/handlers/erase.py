"""Lambda entry point: `ctr-fanout erase` calls `handler`, slice by slice."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.wiring import Erase
from operations.erase.request import read_erasure

_erase = Erase(os.environ, shipped_routes())


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Erase from one slice: `{"contact_id": ..., "apply": true}` -> `{"results": [...], ..., "next": null}`."""
    return _erase(read_erasure(event), Invocation.of(context))
