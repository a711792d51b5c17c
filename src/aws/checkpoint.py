"""The checkpoint: one DynamoDB row per shard, which keeps its progress and who holds it.

The row is `{"shard": "<stream ARN>/<shard id>", "watermarks": {"<route>": "<number padded to 128>"},
"prefix_watermarks": {"<prefix>": <as above>}, "intents": <gzip of lines `<object key>`>, "trial": {"routes": <digest>,
"watermarks", "prefix_watermarks": as above, "settled": as intents}, "version": <ms since 1970 of the last claim, plus one with each
change>, "claim": "<request id>", "claim_until": <ms since 1970>, "expires_at": <s since 1970>}`.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aws.invocation import Invocation
from routing.errors import CheckpointError
from routing.model import FencingToken, ObjectKey, RouteName, RoutesDigest, Shard
from routing.reasons import Reason
from routing.stages.progress import Claim, Progress, Routes, Trial

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
        """Use a client that outlives the invocation.

        Args:
            client: Of DynamoDB.
            table: The name of the table.
            invocation: Claims, until its deadline.
        """
        self._client = client
        self._table = table
        self._invocation = invocation

    @contextmanager
    def claim(self, shard: Shard, routes: Routes) -> Iterator[Claim]:
        """Claim the row of a shard, until this invocation's deadline at the latest.

        Only one invocation at a time may replace objects of a shard. One that was killed lets go by its
        deadline; one that fails lets go at once. Clocks only decide how long others wait: what an
        invocation does after it has lost its claim is refused by the row's version and by fencing tokens.

        Raises:
            CheckpointError: Another live invocation holds the row, or the table cannot be written.

        Source: https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
        """
        key = _key(shard)
        row = self._take(key)
        version, is_held = int(row["version"]["N"]), True

        def save(progress: Progress, release: bool) -> FencingToken:
            nonlocal version, is_held
            self._save(key, version, progress, release=release)
            version += 1
            is_held = not release
            return FencingToken(version)

        try:
            yield Claim(_progress_in(row), routes, save, FencingToken(version))
        finally:
            if is_held:
                self._let_go(key)

    def _take(self, key: dict[str, Any]) -> dict[str, Any]:
        """Claim a row under a version that none before has had, and return it.

        The version follows the clock, so that a row that was made anew, or restored from a backup, goes on above
        every version that was issued after the backup. Where the clock is behind, it counts.
        """
        free = "(attribute_not_exists(claim) OR claim = :me OR claim_until < :now)"
        values = {
            ":me": {"S": self._invocation.id},
            ":until": {"N": str(round(self._invocation.deadline * 1000))},
            ":now": {"N": str(round(self._invocation.now() * 1000))},
        }
        held = "SET claim = :me, claim_until = :until, "
        refused = "another invocation holds the shard"
        try:
            is_older = "(attribute_not_exists(version) OR version < :now)"
            return self._update(key, f"{held}version = :now", f"{free} AND {is_older}", values, refused=refused)
        except CheckpointError as err:
            if err.reason != Reason.CLAIMED_ELSEWHERE:
                raise
        counted = f"{held}version = version + :one"
        return self._update(
            key, counted, f"{free} AND version >= :now", {**values, ":one": {"N": "1"}}, refused=refused
        )

    def look(self, shard: Shard) -> Progress:
        """Read the progress of a shard without claiming it: what was true a moment ago.

        Raises:
            CheckpointError: The table cannot be read.
        """
        return _progress_in(self._row(shard))

    def version(self, shard: Shard) -> FencingToken:
        """Read the version of a row: milliseconds since 1970 of about its last change; 0 if there is no row.

        Raises:
            CheckpointError: The table cannot be read.
        """
        return FencingToken(int(self._row(shard).get("version", {"N": "0"})["N"]))

    def _row(self, shard: Shard) -> dict[str, Any]:
        try:
            answer = self._client.get_item(TableName=self._table, Key=_key(shard), ConsistentRead=True)
        except (ClientError, BotoCoreError) as err:
            message = f"checkpoint: read failed with {type(err).__name__}"
            raise CheckpointError(Reason.CHECKPOINT_UNAVAILABLE, message) from err
        return answer.get("Item", {})

    def _save(self, key: dict[str, Any], version: int, progress: Progress, *, release: bool) -> None:
        """Write the progress of a shard that this invocation holds.

        The version is the condition: a request that the SDK sends twice, or that lands late, finds another
        one and changes nothing.

        Raises:
            CheckpointError: The claim was lost or the table cannot be written.
        """
        kept = _kept(progress)
        sets = {name: value for name, value in kept.items() if value is not None}
        removes = [name for name, value in kept.items() if value is None]
        removes += ["claim", "claim_until"] if release else []
        update = "SET version = version + :one, expires_at = :expires" + "".join(f", {n} = :{n}" for n in sets)
        self._update(
            key,
            update + (f" REMOVE {', '.join(removes)}" if removes else ""),
            "version = :version",
            {
                ":version": {"N": str(version)},
                ":one": {"N": "1"},
                ":expires": {"N": str(round(self._invocation.now()) + _ROW_SECONDS)},
                **{f":{name}": value for name, value in sets.items()},
            },
            refused="the claim was lost to another invocation",
        )

    def _let_go(self, key: dict[str, Any]) -> None:
        """Release a row, whatever became of the last change; if that fails the claim runs out by itself."""
        with suppress(CheckpointError):
            me = {":me": {"S": self._invocation.id}}
            self._update(key, "REMOVE claim, claim_until", "claim = :me", me, refused="the claim was lost")

    def _update(
        self,
        key: dict[str, Any],
        update: str,
        condition: str,
        values: dict[str, Any],
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


class NoCheckpoint:
    """Exactly once turned off: every record that comes is delivered, at least once."""

    @contextmanager
    def claim(self, shard: Shard, routes: Routes) -> Iterator[Claim]:  # noqa: ARG002 - there is no row
        """Claim nothing."""
        yield Claim(Progress(), routes, lambda _progress, _release: None, None)

    def look(self, shard: Shard) -> Progress:  # noqa: ARG002 - the interface of the table
        """Know nothing."""
        return Progress()

    def version(self, shard: Shard) -> FencingToken:  # noqa: ARG002 - the interface of the table
        """Return the version of what does not exist."""
        return FencingToken(0)


def _key(shard: Shard) -> dict[str, Any]:
    return {"shard": {"S": f"{shard.stream_arn}/{shard.shard_id}"}}


def _kept(progress: Progress) -> dict[str, dict[str, Any] | None]:
    """Return the attributes that keep a progress; None for one that the row shall not have."""
    trial = progress.trial
    return {
        "watermarks": _marks(progress.watermarks),
        "prefix_watermarks": _marks(progress.prefix_watermarks),
        "intents": {"B": _packed(progress.intents)} if progress.intents else None,
        "trial": None
        if trial is None
        else {
            "M": {
                "routes": {"S": trial.routes},
                "watermarks": _marks(trial.watermarks),
                "prefix_watermarks": _marks(trial.prefix_watermarks),
                "settled": {"B": _packed(trial.settled)},
            }
        },
    }


def _progress_in(row: Mapping[str, Any]) -> Progress:
    """Read a row as DynamoDB answers it; an empty one tells nothing."""
    trial = row.get("trial", {}).get("M")
    return Progress(
        watermarks=_read_marks(row.get("watermarks"), RouteName),
        prefix_watermarks=_read_marks(row.get("prefix_watermarks"), str),
        intents=_unpacked(row["intents"]) if "intents" in row else frozenset(),
        trial=None
        if trial is None
        else Trial(
            routes=RoutesDigest(trial["routes"]["S"]),
            watermarks=_read_marks(trial["watermarks"], RouteName),
            prefix_watermarks=_read_marks(trial.get("prefix_watermarks"), str),
            settled=_unpacked(trial["settled"]),
        ),
    )


def _marks(watermarks: Mapping[RouteName, int] | Mapping[str, int]) -> dict[str, Any]:
    return {"M": {name: {"S": str(position).zfill(_WIDTH)} for name, position in watermarks.items()}}


def _read_marks[T: str](attribute: Mapping[str, Any] | None, name: Callable[[str], T]) -> dict[T, int]:
    return {name(key): int(mark["S"]) for key, mark in attribute["M"].items()} if attribute else {}


def _packed(names: Iterable[ObjectKey]) -> bytes:
    """Pack names, which repeat each other: a row may have 400 KB.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
    """
    return gzip.compress("\n".join(sorted(names)).encode(), mtime=0)


def _unpacked(attribute: Mapping[str, Any]) -> frozenset[ObjectKey]:
    """Unpack names; an earlier version wrote the route before each, with a space between."""
    lines = gzip.decompress(attribute["B"]).decode().splitlines()
    return frozenset(ObjectKey(line.rpartition(" ")[2]) for line in lines)
