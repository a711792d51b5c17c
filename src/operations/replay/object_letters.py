"""Dead letters of objects: what a destination refused is moved to its place, byte for byte."""

import gzip
from collections.abc import Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from aws.inventory import Listed
from operations.replay.context import SECONDS_UNTIL_NOTHING_LANDS, STILL_TRIED, ReplayContext
from operations.replay.replayed import Replayed
from routing.errors import DeliveryError
from routing.model import FencingToken, ObjectKey, RenderedObject
from routing.stages.progress import Claim
from routing.stages.render import render_empty
from routing.stored.object_format import FENCING, NAMED_BY, PROTECTION, RULES, Name, gzipped, with_token
from routing.stored.objects import StoredObject
from routing.table.routes import Route

# What the metadata of a dead letter has beside those of the object that it will be.
_OF_A_LETTER = frozenset({"reason", "intended-key", FENCING, PROTECTION})


@dataclass(frozen=True)
class ObjectLetters:
    """Replays what waits below `dead-letter/objects/`. Nothing is removed before its content is seen in its place."""

    context: ReplayContext

    def replay(self, listed: Listed, *, now: float, reason: str | None = None) -> Replayed | None:
        """Move an object that its destination refused, byte for byte, to its place.

        Args:
            listed: Below `dead-letter/objects/`.
            now: Seconds since 1970.
            reason: Only if it is one for this reason.

        Returns:
            None if it has another reason, or is no dead letter but an empty object, which is removed when it
            is an hour old: until then it keeps out what a killed invocation may have sent.
        """
        name = listed.name
        if name is None or name.key == name.intended:
            return Replayed(key=listed.key, blocked_by="the deployed routes have no such place; put it by hand")
        shard = name.shard_beside(self.context.stream.arn)
        is_old = now - listed.modified_at > SECONDS_UNTIL_NOTHING_LANDS
        if not is_old and self._is_empty(name):  # most are, after a replay; no delivery has to wait for that
            return None
        with self.context.reporting(listed.key) as outcomes, self.context.claim(shard) as claim:
            letter = self.context.inventory.look_at(name)
            if letter is None or (letter.is_letter and reason not in {None, letter.reason}):
                return None
            is_old = now - letter.modified_at > SECONDS_UNTIL_NOTHING_LANDS
            if not letter.is_letter:
                if self.context.applies and is_old and name.key not in claim.intents:
                    self.context.bucket.delete(name.key, letter.etag)
                return None
            waiting = Replayed(
                key=name.key, route=name.place[0], reason=letter.reason or "", records=letter.record_count
            )
            if name.key in claim.intents and not self.context.may_change(claim, name):
                # A batch was settled without it, and it could not be emptied then: nothing of it is to be delivered.
                if self.context.applies:
                    self.context.empty_leftovers(claim)
                return None
            outcomes.append(replace(waiting, blocked_by=self._settle(letter, claim, is_old=is_old)))
        return outcomes[-1]

    def _is_empty(self, name: Name) -> bool:
        with suppress(ClientError, BotoCoreError):  # reported where it is looked at again
            found = self.context.inventory.look_at(name)
            return found is None or not found.is_letter
        return False

    def _settle(self, letter: StoredObject, claim: Claim, *, is_old: bool) -> str:
        """Move a dead letter, then empty or remove it; return why it is left, if it is."""
        if self.context.may_change(claim, letter.name):
            return STILL_TRIED
        if not self.context.applies:
            return ""
        blocked_by, etag = self._move(letter, claim.token)
        if blocked_by:
            return blocked_by
        self.context.empty_leftovers(claim, letter.name.intended)
        if is_old or claim.token is None:
            self.context.bucket.delete(letter.name.key, etag)
            return ""
        return self._empty(letter, claim.token)

    def _move(self, letter: StoredObject, token: FencingToken | None) -> tuple[str, str]:
        """Put a dead letter to its place and see it there; return why it is left, if it is, and its ETag."""
        got = self.context.bucket.get(letter.name.key)
        kept = {name: value for name, value in got.metadata.items() if name not in _OF_A_LETTER}
        route = next(one for one in self.context.table.all_routes if one.name == letter.name.place[0])
        intended, body = letter.name.intended, with_token(got.body, token)
        is_protected_now = route.rules_digest != kept.get(RULES, "")
        if is_protected_now and RULES in kept:
            return "its route had other rules when it was made, and they cannot be undone; deal with it by hand", ""
        if is_protected_now:
            try:
                body, kept = self._protected(route, letter, got.body, kept, token)
            except DeliveryError as err:
                return str(err), ""
            if letter.is_content_named and NAMED_BY not in kept:
                # By what another try does not change, and what tells nothing of the records: sealing is randomised.
                intended = _renamed(intended, letter.numbers)
        moved = RenderedObject(
            route=route.name,
            kind=letter.name.place[1],
            key=intended,
            body=body,
            metadata=kept | ({} if token is None else {FENCING: str(token)}),
            record_count=letter.record_count,
            plain_bytes=0,
            oldest_arrived_at=0.0,
        )
        (error,) = self.context.sink.put_all([moved])
        if error is not None:
            return str(error), ""
        there = self.context.inventory.look_at(replace(letter.name, key=intended))
        if (
            there is None
            or (there.record_count, there.numbers) != (letter.record_count, letter.numbers)
            or (there.checksum != kept["plain-crc32"] and not route.seals)
        ):
            return "another object is stored in its place; compare them by hand", ""
        return "", got.etag

    def _protected(
        self, route: Route, letter: StoredObject, body: bytes, metadata: Mapping[str, str], token: FencingToken | None
    ) -> tuple[bytes, dict[str, str]]:
        """Protect the lines of a dead letter as they came: its route had no usable key then, or no rules.

        Raises:
            DeliveryError: A key still cannot be used.
        """
        lines = gzip.decompress(body).splitlines()
        protected = [self.context.protector.line(route, letter.name.place[1], line) for line in lines]
        made, _, checksum = gzipped(protected, token)
        rules = {RULES: route.rules_digest} if route.rules else {}
        return made, {**metadata} | rules | {"plain-crc32": f"{checksum:08x}"}

    def _empty(self, letter: StoredObject, token: FencingToken | None) -> str:
        """Empty a dead letter that is moved: its name has to keep out a late put for an hour."""
        (error,) = self.context.sink.put_all([render_empty(letter.name.key, letter.name.place[0], token)])
        return "" if error is None else f"it is delivered, and still here: {error}"


def _renamed(intended: ObjectKey, suffix: str) -> ObjectKey:
    """Return the name that an object without a claim has by another suffix."""
    return ObjectKey(f"{intended.rpartition('-')[0]}-{suffix}.ndjson.gz")
