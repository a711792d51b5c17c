"""Wiring of the function that makes columns; only its bundle has what this imports."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aws.invocation import Invocation
from handlers.wiring.base import Wired
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
