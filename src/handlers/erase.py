"""Lambda entry point: `ctr-fanout erase` calls `handler`, slice by slice."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import is_preview, refuse_preview
from handlers.wiring.erase import Erase
from operations.erase.request import read_erasure

_table = shipped_routes()
_erase = refuse_preview if is_preview(os.environ, _table) else Erase(os.environ, _table)


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Erase from one slice: `{"contact_ids": [...], "apply": true}` -> `{"results": [...], ..., "next": null}`."""
    return _erase(read_erasure(event), Invocation.of(context))
