"""Wiring: settings, clients and the core, put together once per cold start."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.clients import dynamodb_client, kinesis_client, kms_client, lambda_client, s3_client
from aws.inventory import Inventory
from aws.invocation import Invocation
from aws.kms_vault import KmsVault
from aws.origin import Origin
from aws.refusals import Refusals
from aws.s3_sink import S3Sink, make_workers
from aws.settings import read_settings
from aws.stream_reader import StreamReader
from handlers.telemetry import Telemetry
from operations.erase.eraser import Eraser
from operations.erase.finder import Finder
from operations.erase.request import ErasureRequest
from operations.erase.walk import ErasureWalk, Visitor
from operations.grant_check.check import (
    check_checkpoint,
    check_on_failure,
    check_protection,
    check_routes,
    check_stream,
)
from operations.replay.context import ReplayContext
from operations.replay.request import ReplayRequest
from operations.replay.sources import ReplaySources
from routing import layout
from routing.pipeline import process
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.stages.report import BatchResponse
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


class GrantCheck(Wired):
    """The function that tries every grant: one call per schedule."""

    def __init__(self, environ: Mapping[str, str], table: RouteTable) -> None:
        """Wire it, with the mapping to ask for.

        Raises:
            ConfigurationError: With every problem of the environment.
        """
        super().__init__(environ, table, needs_mapping=True)

    _lambda = cached_property(lambda _: lambda_client())

    def __call__(self, invocation: Invocation) -> dict[str, str]:
        """Try every grant; return the reason of each that failed."""
        checks = [
            *check_routes(self._sink(invocation), self._table.all_routes),
            *check_protection(KmsVault(kms_client, self._settings), self._table, self._settings.service),
            check_on_failure(self._bucket(), self._settings.key_arns[layout.DEAD_LETTER]),
            check_checkpoint(self._checkpoint(invocation), self._table),
            check_stream(self._lambda, self._kinesis, self._settings.mapping_id),
        ]
        self._telemetry.publish_checks(checks)
        return {check.name: check.reason for check in checks if check.reason is not None}
