"""Batches that Lambda gave up on: their records are delivered to the routes that lack them."""

import json
from copy import replace
from dataclasses import dataclass

from aws.bucket import FetchedObject
from aws.inventory import Listed
from operations.replay.context import ReplayContext
from operations.replay.delivery import deliver_missing
from operations.replay.replayed import Replayed
from routing.layout import HANDED_OVER
from routing.model import ObjectKey


@dataclass(frozen=True)
class OnFailureBatches:
    """Replays what waits below `aws/lambda/`."""

    context: ReplayContext

    def replay(self, listed: Listed) -> Replayed:
        """Deliver the records of a batch that Lambda gave up on to the routes that lack them.

        Lambda gives up in order, so nothing before it is still to come: the watermarks go forward.

        Args:
            listed: Below `aws/lambda/`.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        with self.context.reporting(listed.key) as outcomes:
            got = self.context.bucket.get(listed.key)
            if blocked_by := self._not_from_lambda(listed.key, got):
                return Replayed(key=listed.key, blocked_by=blocked_by)
            message = json.loads(got.body)
            shard, records = self.context.decoder.decode(json.loads(message["payload"]))
            condition = str(message["requestContext"]["condition"])
            if shard is None:
                return Replayed(
                    key=listed.key, reason=condition, blocked_by="expected records in its payload, got none"
                )
            if shard.stream_arn != self.context.stream.arn or message["KinesisBatchInfo"]["shardId"] != shard.shard_id:
                blocked_by = "its records are of another stream or shard than this stack's; look at it by hand"
                return Replayed(key=listed.key, reason=condition, blocked_by=blocked_by)
            is_issued = self.context.stream.has_issued(shard.shard_id, records[-1].sequence_number)
            if is_issued is False:
                blocked_by = "its records are ahead of the stream, which has not issued them; look at it by hand"
                return Replayed(key=listed.key, reason=condition, blocked_by=blocked_by)
            done = deliver_missing(
                self.context,
                shard,
                records,
                listed.key,
                is_settled=True,
                is_issued=is_issued is True,
                is_of_stream=False,
            )
            outcomes.append(replace(done, reason=condition))
            if self.context.applies and not outcomes[-1].blocked_by:
                self.context.bucket.delete(listed.key, got.etag)
        return outcomes[-1]

    def _not_from_lambda(self, key: ObjectKey, got: FetchedObject) -> str:
        """Return why an object below `aws/lambda/` is not one that Lambda has put for this stack; empty if it is.

        Others may be allowed to put objects there. Lambda names no key, so that the bucket's default encrypts it,
        and begins the name with the mapping's UUID.
        """
        mapping = key.removeprefix(HANDED_OVER).partition("/")[0]
        if mapping not in self.context.mappings:
            return (
                "expected a batch of this stack's event source mapping, got one of another; if the stack had that one "
                "before, name it: --mapping"
            )
        expected = self.context.dead_letter_key_arn
        if got.key_arn.rpartition("/")[2] != expected.rpartition("/")[2]:  # S3 answers an ARN, emulators the id
            return "expected it under DeadLetterKey, as Lambda puts it, got another key; look at it by hand"
        return ""
