"""The checkpoint: one DynamoDB row per shard, with a claim and a watermark per route.

The row is `{"shard": "<stream ARN>/<shard id>", "watermarks": {"<route>": "<number padded to 128>"},
"claim": "<request id>", "claim_until": <ms since 1970>, "expires_at": <s since 1970>}`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.invocation import Invocation
from routing.errors import CheckpointError
from routing.model import RouteName, SequenceNumber, Shard
from routing.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import UpdateItemInputTypeDef

# A DynamoDB number holds 38 digits, a sequence number has 56 and up to 128 by the API; a string padded to
# one width sorts as the number does.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_WIDTH = 128
# A row may go when no record it speaks of can come again: a stream keeps records for 365 days at most.
_ROW_SECONDS = 400 * 86_400


class CheckpointTable:
    """The rows of all shards, as one invocation sees them."""

    def __init__(self, client: "DynamoDBClient", table: str, invocation: Invocation) -> None:
        """Take what outlives the invocation, and the invocation that claims."""
        self._client = client
        self._table = table
        self._invocation = invocation

    @contextmanager
    def claim(self, shard: Shard) -> Iterator["ShardClaim"]:
        """Hold the row of a shard until this invocation's deadline at the latest.

        Only one invocation at a time may replace objects of a shard. One that was killed lets go by its
        deadline; one that fails lets go at once.

        Raises:
            CheckpointError: Another live invocation holds the row, or the table cannot be written.
        """
        key = {"shard": {"S": f"{shard.stream_arn}/{shard.shard_id}"}}
        row = self._update(
            key,
            "SET claim = :me, claim_until = :until, watermarks = if_not_exists(watermarks, :none)",
            "attribute_not_exists(claim) OR claim = :me OR claim_until < :now",
            {
                ":me": {"S": self._invocation.id},
                ":until": {"N": str(round(self._invocation.deadline * 1000))},
                ":now": {"N": str(round(self._invocation.now() * 1000))},
                ":none": {"M": {}},
            },
            refused="another invocation holds the shard",
        )
        claim = ShardClaim(self, key, {RouteName(r): int(w["S"]) for r, w in row["watermarks"]["M"].items()})
        try:
            yield claim
        finally:
            claim.let_go()

    def commit(self, key: dict[str, Any], delivered: Mapping[RouteName, SequenceNumber], *, release: bool) -> None:
        """Set watermarks of a row that this invocation holds."""
        routes = {f"#r{i}": name for i, name in enumerate(delivered)}
        sets = [f"watermarks.{alias} = :w{i}" for i, alias in enumerate(routes)]
        marks = {f":w{i}": {"S": number.zfill(_WIDTH)} for i, number in enumerate(delivered.values())}
        expires_at = {":expires": {"N": str(round(self._invocation.now()) + _ROW_SECONDS)}}
        self._update(
            key,
            f"SET {', '.join(['expires_at = :expires', *sets])}" + (" REMOVE claim, claim_until" if release else ""),
            "claim = :me",
            {":me": {"S": self._invocation.id}, **expires_at, **marks},
            routes,
            refused="the claim was lost to another invocation",
        )

    def release(self, key: dict[str, Any]) -> None:
        """Let go of a row; if that fails the claim runs out by itself."""
        with suppress(CheckpointError):
            me = {":me": {"S": self._invocation.id}}
            self._update(key, "REMOVE claim, claim_until", "claim = :me", me, refused="the claim was lost")

    def _update(
        self,
        key: dict[str, Any],
        update: str,
        condition: str,
        values: dict[str, Any],
        names: Mapping[str, str] | None = None,
        *,
        refused: str,
    ) -> dict[str, Any]:
        """Change a row on a condition and return it as it is then."""
        try:
            request: UpdateItemInputTypeDef = {
                "TableName": self._table,
                "Key": key,
                "UpdateExpression": update,
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
                "ReturnValues": "ALL_NEW",
            }
            if names:
                request["ExpressionAttributeNames"] = names
            return self._client.update_item(**request)["Attributes"]
        except ClientError as err:
            code = err.response["Error"]["Code"]
            if code == "ConditionalCheckFailedException":
                raise CheckpointError(Reason.CLAIMED_ELSEWHERE, f"checkpoint: {refused}; Lambda sends again") from err
            message = f"checkpoint: update failed with {code}; Lambda sends again"
            raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, message) from err
        except BotoCoreError as err:
            message = f"checkpoint: update failed with {type(err).__name__}; Lambda sends again"
            raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, message) from err


class ShardClaim:
    """The row of a shard while this invocation holds it."""

    def __init__(self, table: CheckpointTable, key: dict[str, Any], watermarks: dict[RouteName, int]) -> None:
        """Hold a row; use `CheckpointTable.claim`."""
        self._table = table
        self._key = key
        self._is_held = True
        self.watermarks = watermarks

    def commit(self, delivered: Mapping[RouteName, SequenceNumber], *, release: bool) -> None:
        """Set watermarks, and let go of the row if `release`.

        Call it after the puts: a crash in between repeats a put, it never loses a record.

        Args:
            delivered: Last sequence number of each route that moves forward.
            release: True with the last commit of an invocation.

        Raises:
            CheckpointError: The claim was lost or the table cannot be written.
        """
        self._table.commit(self._key, delivered, release=release)
        self.watermarks = {**self.watermarks, **{route: int(number) for route, number in delivered.items()}}
        self._is_held = not release

    def let_go(self) -> None:
        """Release the row if no commit has done so."""
        if self._is_held:
            self._table.release(self._key)
            self._is_held = False


class NoCheckpoint:
    """Exactly once turned off: every record that comes is delivered, at least once."""

    watermarks: Mapping[RouteName, int] = {}

    @contextmanager
    def claim(self, shard: Shard) -> Iterator["NoCheckpoint"]:  # noqa: ARG002 - there is no row
        """Claim nothing."""
        yield self

    def commit(self, delivered: Mapping[RouteName, SequenceNumber], *, release: bool) -> None:
        """Remember nothing."""
