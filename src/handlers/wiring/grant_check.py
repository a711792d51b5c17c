"""Wiring of the function that tries every grant."""

from collections.abc import Mapping
from functools import cached_property

from aws.clients import kms_client, lambda_client
from aws.invocation import Invocation
from aws.kms_vault import KmsVault
from handlers.wiring.base import Wired
from operations.grant_check.check import (
    check_checkpoint,
    check_on_failure,
    check_protection,
    check_routes,
    check_stream,
)
from routing import layout
from routing.table.routes import RouteTable


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
