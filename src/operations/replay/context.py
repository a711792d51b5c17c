"""What every source of a replay shares: the claim of a shard, the delivery, and how failures are reported."""

import time
import traceback
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.inventory import Inventory
from aws.s3_sink import S3Sink
from operations.claims import patient_claim, read_only_claim
from operations.replay.replayed import Replayed
from routing.errors import CtrFanoutError
from routing.model import ObjectKey, Record, RouteName, Shard
from routing.pipeline import redeliver
from routing.stages.decode import Decoder
from routing.stages.progress import Claim, Progress
from routing.stages.protect import Protector
from routing.stages.render import render_empty
from routing.stages.report import Report
from routing.stored.object_format import Name, Place, read_name
from routing.stored.objects import StoredObject, place_of, settled
from routing.table.routes import RouteTable

# An invocation lives for fifteen minutes at most; what it has sent cannot land an hour later.
SECONDS_UNTIL_NOTHING_LANDS = 3600
STILL_TRIED = "its batch is still being tried; it is settled with the next try"


class Stream(Protocol):
    """The stream whose records are replayed."""

    @property
    def arn(self) -> str:
        """Its ARN."""

    def shards(self) -> list[str]:
        """Return the ids of the shards that can still be read."""

    def has_issued(self, shard_id: str, sequence_number: str) -> bool | None:
        """Return whether a shard has issued a sequence number; None if the stream no longer tells."""

    def between(self, shard_id: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Yield events of what a shard holds between two numbers; nothing if it does not hold the first any more."""

    def oldest(self, shard_id: str) -> str | None:
        """Return the first sequence number that a shard still holds; None if it holds none, or is gone."""


@dataclass(frozen=True, kw_only=True)
class ReplayContext:
    """The collaborators of a delivery, and what the sources of a replay do alike.

    Attributes:
        bucket: Of the stack.
        dead_letter_key_arn: The key that encrypts what Lambda gave up on.
        table: The deployed routes.
        decoder: Built for them.
        protector: Leaves of each record what its route may see.
        sink: Puts objects.
        checkpoint: Keeps the progress.
        inventory: Finds what is stored.
        stream: The stack's own.
        mappings: The UUIDs of the event source mappings whose batches are replayed.
        applies: False for a dry run, which only reports what it would do.
        sleep: Waits for a claim.
    """

    bucket: Bucket
    dead_letter_key_arn: str
    table: RouteTable
    decoder: Decoder
    protector: Protector
    sink: S3Sink
    checkpoint: CheckpointTable | NoCheckpoint
    inventory: Inventory
    stream: Stream
    mappings: Collection[str]
    applies: bool
    sleep: Callable[[float], None] = time.sleep

    def claim(self, shard: Shard) -> AbstractContextManager[Claim]:
        """Claim a shard; a dry run only reads its progress."""
        if not self.applies:
            return read_only_claim(self.checkpoint, shard, self.table)
        return patient_claim(self.checkpoint, shard, self.table, self.sleep)

    @contextmanager
    def reporting(self, key: str) -> Iterator[list[Replayed]]:
        """Turn an error of one thing into the reason why it is left, so that the others are replayed."""
        outcomes: list[Replayed] = []
        try:
            yield outcomes
        except (CtrFanoutError, ClientError, BotoCoreError) as err:
            outcomes.append(Replayed(key=key, blocked_by=_message(err)))
        except Exception as err:  # noqa: BLE001 - whatever is stored there, the others go on, and nothing is removed
            blocked_by = f"expected what ctr-fanout or Lambda puts here, got {type(err).__name__}"
            outcomes.append(Replayed(key=key, blocked_by=blocked_by, raised_at=_places(err)))

    def may_change(self, claim: Claim, name: Name) -> bool:
        """Return True if a delivery may still write under a name."""
        return claim.may_change(name.key, RouteName(name.place[0]), name.first)

    def around(self, shard: Shard, records: Sequence[Record], claim: Claim) -> list[StoredObject]:
        """Return the settled objects that may hold records, at the places where they belong."""
        places = {place_of(record, route) for record in records for route in self.table.routes_for(record)}
        return self.settled(shard, places, records, claim)

    def settled(
        self, shard: Shard, places: Collection[Place], records: Sequence[Record], claim: Claim
    ) -> list[StoredObject]:
        """Return the settled objects at some places that may hold records."""
        first, last = records[0].position, records[-1].position
        return settled(self.inventory.around(shard, places, first, last, claim.intents), claim.intents)

    def deliver_beside(self, shard: Shard, records: Sequence[Record], table: RouteTable, key: str) -> str:
        """Deliver each position as objects of its own, named by a key; return why that failed, or an empty text."""
        beside = Claim(Progress(), table, lambda _progress, _release: None, None)
        suffix = f"{zlib.crc32(key.encode()):08x}"
        for _, together in groupby(records, key=attrgetter("position")):
            report = self.redeliver(beside, shard, list(together), table, name_suffix=suffix)
            if report.failed_from:
                return why_failed(report)
        return ""

    def redeliver(
        self,
        claim: Claim,
        shard: Shard,
        records: Sequence[Record],
        table: RouteTable,
        *,
        watermark_limit: int | None = None,
        name_suffix: str = "",
    ) -> Report:
        """Deliver records as a delivery of their batch would, under a claim that is held."""
        return redeliver(
            claim,
            shard,
            records,
            table=table,
            protector=self.protector,
            sink=self.sink,
            watermark_limit=watermark_limit,
            name_suffix=name_suffix,
        )

    def empty_leftovers(self, claim: Claim, moved: ObjectKey | None = None) -> None:
        """Empty names that no batch will empty any more, and forget the intent of what was moved.

        A delivery could not write them, because their key refused every put. The next delivery of the shard
        would; a closed shard has none.
        """
        leftovers = {
            key: owner
            for key in sorted(claim.intents)
            if key != moved
            and (owner := self.table.owner_of(key)) is not None
            and (name := read_name(key, self.table)) is not None
            and not claim.may_change(key, owner, name.first)
        }
        empties = [render_empty(key, owner, claim.token) for key, owner in leftovers.items()]
        errors = self.sink.put_all(empties) if empties else ()
        gone = {empty.key for empty, error in zip(empties, errors, strict=True) if error is None} | {moved}
        if not gone.isdisjoint(claim.intents):
            claim.commit({}, kept=claim.intents - gone, release=False)


def why_failed(report: Report) -> str:
    """Return why records of a delivery are not delivered; empty if all are, or wait as dead letters."""
    return "; ".join(trouble.message for trouble in report.troubles) if report.failed_from else ""


def _message(err: Exception) -> str:
    """Return what went wrong without AWS's own text, which may quote anything."""
    if isinstance(err, ClientError):
        return f"{err.operation_name} failed with {err.response['Error']['Code']}"
    return str(err) if isinstance(err, CtrFanoutError) else type(err).__name__


def _places(err: Exception) -> str:
    """Return where an error was raised, without its message and without source lines: they may quote a record."""
    frames = traceback.extract_tb(err.__traceback__)
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
