"""Lambda entry point: the stream's event source mapping calls `handler`."""

import os
from collections.abc import Mapping
from typing import Any

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import Preview, is_preview
from handlers.wiring.fan_out import FanOut

# Wired at import, in Lambda's init phase: a wrong table or environment fails before any record is read.
_table = shipped_routes()
_fan_out = Preview(_table) if is_preview(os.environ, _table) else FanOut(os.environ, _table)


def handler(event: Mapping[str, object], context: LambdaContext) -> Mapping[str, Any]:
    """Deliver the records of one Kinesis batch and name the one to send again from, if any."""
    return _fan_out(event, Invocation.of(context))
