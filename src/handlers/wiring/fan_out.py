"""Wiring of the function that delivers."""

from collections.abc import Mapping

from aws.invocation import Invocation
from aws.origin import Origin
from handlers.wiring.base import Wired
from routing.pipeline import process
from routing.stages.report import BatchResponse


class FanOut(Wired):
    """The function that delivers: one call per batch."""

    def __call__(self, event: Mapping[str, object], invocation: Invocation) -> BatchResponse:
        """Process one event and tell Lambda what to send again."""
        report = process(
            event,
            decoder=self._decoder,
            table=self._table,
            protector=self._protector,
            sink=self._sink(invocation),
            checkpoint=self._checkpoint(invocation),
            **({} if self._settings.is_local else {"admit": Origin(self._stream()).admit}),
        )
        self._telemetry.publish(report, invocation)
        return report.response()
