"""Wiring of the function that erases."""

from typing import Any

import msgspec

from aws.invocation import Invocation
from handlers.wiring.base import Wired
from operations.erase.eraser import Eraser
from operations.erase.finder import Finder
from operations.erase.request import ErasureRequest
from operations.erase.walk import ErasureWalk, Visitor


class Erase(Wired):
    """The function that erases contacts, or searches for those to erase: one call per slice."""

    def __call__(self, request: ErasureRequest, invocation: Invocation) -> dict[str, Any]:
        """Erase from one slice, or search it.

        Raises:
            DeliveryError: The key of a route's tokens cannot be used.
        """
        walk = ErasureWalk(bucket=self._bucket(), table=self._table, invocation=invocation)
        done = walk.run(request, self._visitor(request, invocation))
        self._telemetry.publish_erasure(request, done)
        return msgspec.structs.asdict(done)

    def _visitor(self, request: ErasureRequest, invocation: Invocation) -> Visitor:
        if not request.contact_ids:
            return Finder(
                request,
                bucket=self._bucket(),
                table=self._table,
                decoder=self._decoder,
                protector=self._protector,
                workers=self._workers,
            )
        return Eraser(
            request,
            bucket=self._bucket(),
            table=self._table,
            decoder=self._decoder,
            protector=self._protector,
            sink=self._sink(invocation),
            checkpoint=self._checkpoint(invocation),
            workers=self._workers,
            stream_arn=self._settings.stream_arn,
        )
