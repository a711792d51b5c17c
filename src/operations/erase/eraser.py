"""Erase contacts from what is delivered: each object that holds one is written again without it.

Nothing is written that was not read a moment before: an object is replaced by its ETag, under the claim of
its shard, so that no delivery runs beside it. Its name and the counts in its metadata stay, so that a replay
and `ctr-fanout reconcile` still know what was delivered there, and nothing comes back.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from copy import replace

from aws.bucket import Bucket
from aws.checkpoint import CheckpointTable, NoCheckpoint
from aws.s3_sink import S3Sink
from operations.claims import patient_claim
from operations.erase.objects import Erasure, OpenedObject, Version, of_version, opened, reporting
from operations.erase.request import ErasureRequest
from routing import layout
from routing.errors import EventError
from routing.layout import HANDED_OVER
from routing.model import RenderedObject, RouteName
from routing.stages.decode import Decoder
from routing.stages.progress import Claim
from routing.stages.protect import Protector
from routing.stored.erased_lines import Erased, Ids, erased, erased_letters
from routing.stored.object_format import ERASED, FENCING, Name, gzipped
from routing.table.routes import Route, RouteTable

_REPLAY_FIRST = (
    "a batch that Lambda gave up on holds it; replay it (ctr-fanout replay on-failure --apply), then erase again"
)
_STILL_TRIED = "its batch is still being tried; erase again when it is settled"
_NO_SUCH_NAME = "the deployed routes make no such name; deal with it by hand"
_SEALED = "an agent event or another contact's record holds it beside what is sealed of it; deal with it by hand"


class Eraser:
    """Erases contacts from one object after the other; a dry run only tells what it would do."""

    def __init__(
        self,
        request: ErasureRequest,
        *,
        bucket: Bucket,
        table: RouteTable,
        decoder: Decoder,
        protector: Protector,
        sink: S3Sink,
        checkpoint: CheckpointTable | NoCheckpoint,
        workers: Executor,
        stream_arn: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Bind a request to the collaborators of a delivery.

        Raises:
            DeliveryError: The key of a route's tokens cannot be used, so that the contact ids of its records are unknown.
            EventError: An id is what a route shows in the place of every contact's.
        """
        self._bucket = bucket
        self._table = table
        self._decoder = decoder
        self._sink = sink
        self._checkpoint = checkpoint
        self._workers = workers
        self._stream_arn = stream_arn
        self._sleep = sleep
        self._applies = request.apply
        self._deletes_old_versions = request.old_versions
        self._keeps_redacted = request.keep_redacted
        for route in table.routes:
            if self._mask_of(route, protector) in request.contact_ids:
                raise EventError(
                    f"erase: contact_ids: one of them is what route {route.name!r} shows instead of every contact's id"
                )
        # By route, how each contact is shown there -> the contact.
        shown = {route.name: protector.shown(route, request.contact_ids) for route in table.routes}
        self._contact = {text: contact for of_route in shown.values() for text, contact in of_route.items()}
        self._ids = {name: Ids(of_route) for name, of_route in shown.items()}
        self._every_id = Ids(self._contact)
        self.blind = [route.name for route in table.routes if not self._sees(route, protector, request.contact_ids[0])]

    def visit(self, versions: Iterable[Version]) -> list[Erasure]:
        """Search objects in parallel, and erase the contacts from those that hold one, one after the other."""
        found = [version for version, outcome in self._workers.map(self._look, versions) if outcome]
        return [outcome for version in found if (outcome := self._erase(version)) is not None]

    def _look(self, version: Version) -> tuple[Version, bool]:
        """Return True if an object may hold the contact."""
        outcome = reporting(version, lambda: self._found(version, opened(self._bucket, version)))
        return version, outcome is not None

    def _erase(self, version: Version) -> Erasure | None:
        return reporting(version, lambda: self._erase_or_raise(version))

    def _erase_or_raise(self, version: Version) -> Erasure | None:
        name = version.listed.name
        is_of_a_shard = name is not None and not version.listed.key.startswith(HANDED_OVER)
        if not self._applies or version.id is not None or name is None or not is_of_a_shard:
            return self._without_a_claim(version)
        with self._held(name) as claim:
            read = opened(self._bucket, version)
            made = self._erased(name, read.lines)
            outcome = self._outcome(version, made)
            if outcome is None or not made.is_changed:
                return outcome
            if claim.may_change(name.key, RouteName(name.place[0]), name.first):
                return replace(outcome, blocked_by=_STILL_TRIED)
            self._rewrite(name, read, made, claim)
        # Where the bucket keeps no versions, `null` is what has just been put.
        if self._deletes_old_versions and read.version not in {"", "null"}:
            self._bucket.delete_version(name.key, read.version)
        return outcome

    def _without_a_claim(self, version: Version) -> Erasure | None:
        """Report what a dry run finds; delete an old version, which is never written again."""
        outcome = self._found(version, opened(self._bucket, version))
        if outcome is not None and self._applies and version.id is not None and (outcome.records or outcome.entries):
            self._bucket.delete_version(version.listed.key, version.id)
        return outcome

    def _found(self, version: Version, read: OpenedObject) -> Erasure | None:
        """Return what an object holds of the contact; None if nothing."""
        if not version.listed.key.startswith(HANDED_OVER):
            return self._outcome(version, self._erased(version.listed.name, read.lines))
        count, found = self._given_up(read.lines[0]) if read.lines else (0, frozenset[str]())
        if not count:
            return None
        blocked_by = "" if version.id else _REPLAY_FIRST
        return replace(of_version(version), records=count, blocked_by=blocked_by, found=self._contacts(found))

    def _outcome(self, version: Version, made: Erased) -> Erasure | None:
        """Return what the lines of an object come to; None if they hold nothing of the contacts."""
        name = version.listed.name
        if not (made.is_changed or made.sealed or made.mentions):
            return None
        left = _SEALED if made.sealed else _NO_SUCH_NAME if name is None and made.is_changed else ""
        if version.id is not None:  # it is deleted as a whole
            left = ""
        return replace(
            of_version(version),
            route=name.place[0] if name else "",
            records=made.records,
            entries=made.entries + (made.sealed if version.id is not None else 0),
            mentions=made.mentions,
            blocked_by=left,
            found=self._contacts(made.found),
        )

    def _contacts(self, found: frozenset[str]) -> frozenset[str]:
        return frozenset(self._contact[one] for one in found)

    def _erased(self, name: Name | None, lines: list[bytes]) -> Erased:
        if name is not None and name.place[0] == layout.DEAD_LETTER:
            return erased_letters(lines, self._every_id)
        ids = self._every_id if name is None else self._ids[RouteName(name.place[0])]
        return erased(lines, ids, keep_redacted=self._keeps_redacted)

    def _given_up(self, message: bytes) -> tuple[int, frozenset[str]]:
        """Return how many records of the contacts a batch holds that Lambda gave up on, and of which."""
        payload = json.loads(message).get("payload")
        _, records = self._decoder.decode(json.loads(payload)) if payload else (None, [])
        lines = [record.data for record in records if record.failure is None]
        letters = [record.data for record in records if record.failure is not None]
        of_lines = erased(lines, self._every_id, keep_redacted=self._keeps_redacted)
        of_letters = erased_letters(letters, self._every_id)
        return of_lines.records + of_letters.records, of_lines.found | of_letters.found

    def _rewrite(self, name: Name, read: OpenedObject, made: Erased, claim: Claim) -> None:
        """Replace what was read by the same without the contacts.

        Raises:
            DeliveryError: Another object is stored there now, or its key refuses.
        """
        body, _, checksum = gzipped(made.lines, claim.token)
        gone = int(read.metadata.get(ERASED, "0")) + made.records
        fencing = {} if claim.token is None else {FENCING: str(claim.token)}
        is_letter = name.key != name.intended
        rewritten = RenderedObject(
            route=layout.DEAD_LETTER if is_letter else name.place[0],
            kind=name.place[1],
            key=name.key,
            body=body,
            metadata={**read.metadata, "plain-crc32": f"{checksum:08x}", ERASED: str(gone), **fencing},
            record_count=len(made.lines),
            plain_bytes=0,
            oldest_arrived_at=0.0,
        )
        self._sink.replace(rewritten, read.etag)

    def _held(self, name: Name) -> AbstractContextManager[Claim]:
        return patient_claim(self._checkpoint, name.shard_beside(self._stream_arn), self._table, self._sleep)

    @staticmethod
    def _mask_of(route: Route, protector: Protector) -> str | None:
        """Return the text that a route shows instead of every contact's id; None if it has no such text."""
        if not route.rules:
            return None
        protection = protector.protection_of(route)
        shown = {
            json.loads(protection.apply(json.dumps({"ContactId": contact}).encode()).data).get("ContactId")
            for contact in ("a-contact", "another-contact")
        }
        return shown.pop() if len(shown) == 1 else None

    def _sees(self, route: Route, protector: Protector, contact_id: str) -> bool:
        """Return True if the contact id is still visible on this route."""
        if not route.rules:
            return True
        shown = protector.protection_of(route).apply(json.dumps({"ContactId": contact_id}).encode()).data
        return bool(erased([shown], self._ids[route.name]).records)
