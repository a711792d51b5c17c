"""Lambda entry point: the stream's event source mapping calls `handler`."""

import os
from collections.abc import Mapping

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.wiring import FanOut
from routing.stages.report import BatchResponse

# Wired at import, in Lambda's init phase: a wrong table or environment fails before any record is read.
_fan_out = FanOut(os.environ, shipped_routes())


def handler(event: Mapping[str, object], context: LambdaContext) -> BatchResponse:
    """Deliver the records of one Kinesis batch and name the one to send again from, if any."""
    return _fan_out(event, Invocation.of(context))
