"""Wiring: settings, clients and the core, put together once per cold start.

Each function has a module of its own, so that none pays at its start for what only another imports.
"""

from collections.abc import Mapping
from functools import cached_property

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.clients import dynamodb_client, kinesis_client, kms_client, s3_client
from aws.invocation import Invocation
from aws.kms_vault import KmsVault
from aws.refusals import Refusals
from aws.s3_sink import S3Sink, make_workers
from aws.settings import read_settings
from aws.stream_reader import StreamReader
from handlers.telemetry import Telemetry
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.table.routes import RouteTable


class Wired:
    """Everything that outlives an invocation of any function: settings, table, workers, clients."""

    def __init__(self, environ: Mapping[str, str], table: RouteTable, *, needs_mapping: bool = False) -> None:
        """Wire it.

        Raises:
            ConfigurationError: With every problem of the environment, before any record is read.
        """
        self._settings = read_settings(environ, table, needs_mapping=needs_mapping)
        self._table = table
        self._decoder = Decoder(table.paths)
        self._workers = make_workers()
        self._refusals = Refusals()
        self._telemetry = Telemetry(self._settings.service, is_lean=self._settings.is_lean)
        self._protector = Protector(KmsVault(kms_client, self._settings), self._settings.service)

    # Made by the first batch (docs/adr/0004-bundle.md); no caller waits for a function that reads a stream.
    _s3 = cached_property(lambda _: s3_client())
    _dynamodb = cached_property(lambda _: dynamodb_client())
    _kinesis = cached_property(lambda _: kinesis_client())

    def _stream(self) -> StreamReader:
        return StreamReader(self._kinesis, self._settings.stream_arn)

    def _bucket(self) -> Bucket:
        return Bucket(self._s3, self._settings.bucket, self._settings.bucket_owner)

    def _sink(self, invocation: Invocation) -> S3Sink:
        return S3Sink(self._bucket(), self._settings.key_arns, invocation, self._workers, self._refusals)

    def _checkpoint(self, invocation: Invocation) -> CheckpointTable | NoCheckpoint:
        if self._settings.checkpoint_table is None:
            return NoCheckpoint()
        return CheckpointTable(self._dynamodb, self._settings.checkpoint_table, invocation)
