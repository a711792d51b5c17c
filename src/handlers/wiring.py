"""Wiring: settings, clients and the core, put together once per cold start."""

from collections.abc import Mapping
from functools import cached_property

from handlers.checkpoint import CheckpointTable, NoCheckpoint
from handlers.clients import dynamodb_client, s3_client
from handlers.invocation import Invocation
from handlers.s3_sink import S3Sink, make_workers
from handlers.settings import read_settings
from handlers.telemetry import Telemetry
from routing.decode import Decoder
from routing.pipeline import process
from routing.report import BatchResponse
from routing.routes import RouteTable


class FanOut:
    """The function: everything that outlives an invocation, and one call per invocation."""

    def __init__(self, environ: Mapping[str, str], table: RouteTable) -> None:
        """Wire it.

        Raises:
            ConfigurationError: With every problem of the environment, before any record is read.
        """
        self._settings = read_settings(environ, table)
        self._table = table
        self._decoder = Decoder(table.paths)
        self._workers = make_workers()
        self._telemetry = Telemetry()

    def __call__(self, event: Mapping[str, object], invocation: Invocation) -> BatchResponse:
        """Process one event and tell Lambda what to send again."""
        report = process(
            event,
            decoder=self._decoder,
            table=self._table,
            sink=S3Sink(self._s3, self._settings, invocation, self._workers),
            checkpoint=self._checkpoint(invocation),
        )
        self._telemetry.publish(report, invocation)
        return report.response()

    # Made by the first batch (docs/adr/0004-bundle.md); nobody waits for the function of a stream.
    _s3 = cached_property(lambda _: s3_client())
    _dynamodb = cached_property(lambda _: dynamodb_client())

    def _checkpoint(self, invocation: Invocation) -> CheckpointTable | NoCheckpoint:
        if self._settings.checkpoint_table is None:
            return NoCheckpoint()
        return CheckpointTable(self._dynamodb, self._settings.checkpoint_table, invocation)
