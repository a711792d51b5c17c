"""The checkpoint: one DynamoDB row per shard, with a claim, a watermark per route, and intents.

The row is `{"shard": "<stream ARN>/<shard id>", "watermarks": {"<route>": "<number padded to 128>"},
"version": <ms since 1970 when the row was made, plus one with each change>, "claim": "<request id>", "claim_until": <ms since 1970>,
"intents": <gzip of lines `<route> <object key>`>, "expires_at": <s since 1970>}`.
"""

import gzip
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.invocation import Invocation
from routing.errors import CheckpointError
from routing.model import FencingToken, ObjectKey, RouteName, SequenceNumber, Shard
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
        deadline; one that fails lets go at once. Clocks only decide how long others wait: what an
        invocation does after it has lost its claim is refused by the row's version and by fencing tokens.

        Raises:
            CheckpointError: Another live invocation holds the row, or the table cannot be written.

        Source: https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
        """
        key = _key(shard)
        row = self._update(
            key,
            "SET claim = :me, claim_until = :until, watermarks = if_not_exists(watermarks, :none), "
            "version = if_not_exists(version, :now) + :one",  # a row made anew goes on above the one that was lost
            "attribute_not_exists(claim) OR claim = :me OR claim_until < :now",
            {
                ":me": {"S": self._invocation.id},
                ":until": {"N": str(round(self._invocation.deadline * 1000))},
                ":now": {"N": str(round(self._invocation.now() * 1000))},
                ":none": {"M": {}},
                ":one": {"N": "1"},
            },
            refused="another invocation holds the shard",
        )
        claim = ShardClaim(self, key, row)
        try:
            yield claim
        finally:
            claim.let_go()

    def look(self, shard: Shard) -> "ShardRow":
        """Read the row of a shard without claiming it: what was true a moment ago.

        Raises:
            CheckpointError: The table cannot be read.
        """
        try:
            answer = self._client.get_item(TableName=self._table, Key=_key(shard), ConsistentRead=True)
        except (ClientError, BotoCoreError) as err:
            message = f"checkpoint: read failed with {type(err).__name__}"
            raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, message) from err
        return ShardRow.of(answer.get("Item", {}))

    def change(self, key: dict[str, Any], version: int, sets: dict[str, Any], removes: Sequence[str]) -> int:
        """Change a row that this invocation holds, and return its new version.

        The version is the condition: a request that the SDK sends twice, or that lands late, finds another
        one and changes nothing.

        Args:
            key: Of the row.
            version: The one that the row has to have.
            sets: New values by path, e.g. `{"watermarks.orders": {"S": ...}}`.
            removes: Attributes to drop.

        Raises:
            CheckpointError: The claim was lost or the table cannot be written.
        """
        names: dict[str, str] = {}

        def alias(path: str) -> str:  # a route's name may hold a hyphen, or be a reserved word
            parts = [names.setdefault(part, f"#n{len(names)}") for part in path.split(".")]
            return ".".join(parts)

        sets = {
            "version": {"N": str(version + 1)},
            "expires_at": {"N": str(round(self._invocation.now()) + _ROW_SECONDS)},
            **sets,
        }
        values = {f":v{i}": value for i, value in enumerate(sets.values())}
        update = "SET " + ", ".join(f"{alias(path)} = :v{i}" for i, path in enumerate(sets))
        if removes:
            update += " REMOVE " + ", ".join(map(alias, removes))
        self._update(
            key,
            update,
            f"{alias('version')} = :expected",
            values | {":expected": {"N": str(version)}},
            {short: name for name, short in names.items()},
            refused="the claim was lost to another invocation",
        )
        return version + 1

    def release(self, key: dict[str, Any]) -> None:
        """Let go of a row, whatever became of the last change; if that fails the claim runs out by itself."""
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


def _key(shard: Shard) -> dict[str, Any]:
    return {"shard": {"S": f"{shard.stream_arn}/{shard.shard_id}"}}


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What a row tells.

    Attributes:
        watermarks: The last position committed, per route.
        intents: Names that may stand without having been committed, and their routes.
    """

    watermarks: dict[RouteName, int]
    intents: dict[ObjectKey, RouteName]

    @property
    def token(self) -> None:
        """None: nothing may be replaced on the strength of a look."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "ShardRow":
        """Read a row as DynamoDB answers it; an empty one tells nothing."""
        marks = item.get("watermarks", {"M": {}})["M"]
        return cls(
            {RouteName(route): int(mark["S"]) for route, mark in marks.items()},
            _unpacked(item["intents"]["B"]) if "intents" in item else {},
        )


class ShardClaim:
    """The row of a shard while this invocation holds it."""

    def __init__(self, table: CheckpointTable, key: dict[str, Any], row: Mapping[str, Any]) -> None:
        """Hold a row; use `CheckpointTable.claim`."""
        self._table = table
        self._key = key
        self._version = int(row["version"]["N"])
        self._is_held = True
        read = ShardRow.of(row)
        self.watermarks, self.intents = read.watermarks, read.intents

    @property
    def token(self) -> FencingToken:
        """The version of the row, which grows with every change and every claim."""
        return FencingToken(self._version)

    def intend(self, names: Mapping[ObjectKey, RouteName]) -> None:
        """Write down names before anything is put under them; what is written down already costs nothing.

        Raises:
            CheckpointError: The claim was lost or the table cannot be written.
        """
        intents = {**self.intents, **names}
        if len(intents) > len(self.intents):
            self._change({"intents": {"B": _packed(intents)}})
            self.intents = intents

    def commit(
        self, delivered: Mapping[RouteName, SequenceNumber], unsettled: Collection[RouteName], *, release: bool
    ) -> None:
        """Set watermarks and forget the intents that are settled; let go of the row if `release`.

        Call it after the puts: a crash in between repeats a put, it never loses a record.

        Args:
            delivered: Last sequence number of each route that moves forward.
            unsettled: Routes whose intents have to be kept, because not all of their objects have landed.
            release: True with the last commit of an invocation.

        Raises:
            CheckpointError: The claim was lost or the table cannot be written.
        """
        sets: dict[str, Any] = {
            f"watermarks.{route}": {"S": number.zfill(_WIDTH)} for route, number in delivered.items()
        }
        removes = ["claim", "claim_until"] if release else []
        intents = {key: route for key, route in self.intents.items() if route in unsettled}
        if intents:
            sets["intents"] = {"B": _packed(intents)}
        elif self.intents:
            removes.append("intents")
        self._change(sets, removes)
        self.intents = intents
        self.watermarks |= {route: int(number) for route, number in delivered.items()}
        self._is_held = not release

    def let_go(self) -> None:
        """Release the row if no commit has done so; if that fails the claim runs out by itself."""
        if self._is_held:
            self._table.release(self._key)
            self._is_held = False

    def _change(self, sets: dict[str, Any], removes: Sequence[str] = ()) -> None:
        self._version = self._table.change(self._key, self._version, sets, removes)


class NoCheckpoint:
    """Exactly once turned off: every record that comes is delivered, at least once."""

    watermarks: Mapping[RouteName, int] = {}
    intents: Mapping[ObjectKey, RouteName] = {}
    token = None

    @contextmanager
    def claim(self, shard: Shard) -> Iterator["NoCheckpoint"]:  # noqa: ARG002 - there is no row
        """Claim nothing."""
        yield self

    def look(self, shard: Shard) -> ShardRow:  # noqa: ARG002 - likewise
        """Know nothing."""
        return ShardRow({}, {})

    def intend(self, names: Mapping[ObjectKey, RouteName]) -> None:
        """Remember nothing."""

    def commit(
        self, delivered: Mapping[RouteName, SequenceNumber], unsettled: Collection[RouteName], *, release: bool
    ) -> None:
        """Remember nothing."""


def _packed(intents: Mapping[ObjectKey, RouteName]) -> bytes:
    """Pack names, which repeat each other: a row may have 400 KB.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
    """
    lines = (f"{route} {key}" for key, route in intents.items())
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def _unpacked(packed: bytes) -> dict[ObjectKey, RouteName]:
    lines = (line.partition(" ") for line in gzip.decompress(packed).decode().splitlines())
    return {ObjectKey(key): RouteName(route) for route, _, key in lines}
