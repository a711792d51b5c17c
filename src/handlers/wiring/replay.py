"""Wiring of the function that replays."""

from collections.abc import Mapping
from typing import Any

from aws.inventory import Inventory
from aws.invocation import Invocation
from handlers.wiring.base import Wired
from operations.replay.context import ReplayContext
from operations.replay.request import ReplayRequest
from operations.replay.sources import ReplaySources
from routing import layout
from routing.table.routes import RouteTable


class Replay(Wired):
    """The function that replays: one call per slice."""

    def __init__(self, environ: Mapping[str, str], table: RouteTable) -> None:
        """Wire it, with the mapping whose batches are replayed.

        Raises:
            ConfigurationError: With every problem of the environment.
        """
        super().__init__(environ, table, needs_mapping=True)

    def __call__(self, request: ReplayRequest, invocation: Invocation) -> dict[str, Any]:
        """Replay one slice.

        Raises:
            EventError: The request names what does not exist.
        """
        stream = self._stream()
        context = ReplayContext(
            bucket=self._bucket(),
            dead_letter_key_arn=self._settings.key_arns[layout.DEAD_LETTER],
            table=self._table,
            decoder=self._decoder,
            protector=self._protector,
            sink=self._sink(invocation),
            checkpoint=self._checkpoint(invocation),
            inventory=Inventory(self._bucket(), self._table, self._workers),
            stream=stream,
            mappings={request.mapping or self._settings.mapping_id},
            applies=request.apply,
        )
        done = ReplaySources(context, stream, invocation).run(request)
        self._telemetry.publish_replay(request, done)
        return {"results": done.results, "next": done.next}
