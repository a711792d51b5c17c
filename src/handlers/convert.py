"""Lambda entry point: a schedule calls `handler` for each route, and `ctr-fanout convert` does."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from aws.invocation import Invocation, LambdaContext
from aws.route_file import shipped_routes
from handlers.preview import is_preview, refuse_preview
from handlers.wiring import Wired
from operations.convert.converter import Converter
from operations.convert.request import read_conversion


class Convert(Wired):
    """The function that makes columns: one call per slice of a route."""

    def __call__(self, event: Mapping[str, object], invocation: Invocation) -> dict[str, Any]:
        """Make the parts of a route that are not those of its objects, until time ends.

        Raises:
            EventError: There is no such route.
        """
        request, route = read_conversion(event, self._table)
        converter = Converter(
            route,
            bucket=self._bucket(),
            table=self._table,
            key_arn=self._settings.key_arns[route.name],
            checkpoint=self._checkpoint(invocation),
            stream_arn=self._settings.stream_arn,
            invocation=invocation,
            workers=self._workers,
        )
        done = converter.run(request)
        self._telemetry.publish_conversion(request, done, invocation.now())
        return msgspec.structs.asdict(done)


_table = shipped_routes()
_convert = refuse_preview if is_preview(os.environ, _table) else Convert(os.environ, _table)


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, Any]:
    """Convert one slice: `{"route": "orders"}` -> `{"results": [...], "until": {...}, "is_last": true, ...}`."""
    return _convert(event, Invocation.of(context))
