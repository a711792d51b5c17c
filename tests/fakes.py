"""Fakes that keep the contracts of S3 and the checkpoint in memory, and fail on demand."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from routing.errors import CheckpointError, DeliveryError
from routing.model import FencingToken, ObjectKey, RenderedObject, RouteName, Shard
from routing.protection.sealing import SealContext
from routing.reasons import Reason
from routing.stages.progress import Claim, Progress, Routes
from routing.stages.protect import Protector


class Crash(BaseException):
    """The invocation is killed here; no `except Exception` can catch it."""


def client_error(code: str, operation: str = "PutObject", message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class MemoryVault:
    """A vault whose messages can be read, and whose keys refuse when told."""

    def __init__(self) -> None:
        self.refuses: DeliveryError | None = None
        self.scopes: list[str] = []

    def token_key(self, scope: str) -> bytes:
        self._ask()
        self.scopes.append(scope)
        return scope.encode()

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:
        self._ask()
        return base64.b64encode(json.dumps([route, dict(context), text.decode()]).encode()).decode()

    def _ask(self) -> None:
        if self.refuses is not None:
            raise self.refuses


def protector(vault: MemoryVault | None = None) -> Protector:
    return Protector(vault or MemoryVault(), "ctr-fanout")


class MemorySink:
    """A sink that keeps objects by key and fails for the routes that it is told."""

    def __init__(self, failures: Mapping[str, DeliveryError] | None = None) -> None:
        self.failures = dict(failures or {})
        self.objects: dict[str, RenderedObject] = {}
        self.refused: dict[RouteName, DeliveryError] = {}

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        return self.refused

    def put_all(self, objects: Sequence[RenderedObject]) -> list[DeliveryError | None]:
        verdicts = [self.failures.get(rendered.route) for rendered in objects]
        landed = [rendered for rendered, error in zip(objects, verdicts, strict=True) if error is None]
        self.objects |= {rendered.key: rendered for rendered in landed}
        return verdicts

    def room(self) -> int:
        return 1000


@dataclass
class Row:
    """What the table keeps of a shard."""

    progress: Progress = field(default_factory=Progress)
    version: int = 0
    owner: str | None = None
    until: float = 0.0

    @property
    def watermarks(self) -> Mapping[RouteName, int]:
        return self.progress.watermarks

    @property
    def intents(self) -> frozenset[ObjectKey]:
        return self.progress.intents


@dataclass
class MemoryCheckpoint:
    """The checkpoint's contract in memory: claims that run out, versions, a crash where told."""

    now: Callable[[], float] = lambda: 0.0
    owner: str = "invocation-1"
    deadline: float = 60.0
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None
    rows: dict[Shard, Row] = field(default_factory=dict)
    commits: list[Mapping[RouteName, int]] = field(default_factory=list)

    @contextmanager
    def claim(self, shard: Shard, routes: Routes) -> Iterator[Claim]:
        self.before("claim")
        row = self.rows.setdefault(shard, Row())
        if row.owner not in {None, self.owner} and row.until >= self.now():
            raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: another invocation holds the shard")
        row.owner, row.until, row.version = self.owner, self.deadline, max(row.version + 1, round(1000 * self.now()))
        version, progress = row.version, row.progress
        self.after("claim")

        def save(progress: Progress, release: bool) -> FencingToken:
            nonlocal version
            self.before("save")
            if row.version != version:
                raise CheckpointError(Reason.CLAIMED_ELSEWHERE, "checkpoint: the claim was lost")
            if progress.watermarks != row.watermarks:
                self.commits.append(progress.watermarks)
            version = row.version = version + 1
            row.progress, row.owner = progress, None if release else row.owner
            self.after("save")
            return FencingToken(version)

        try:
            yield Claim(progress, routes, save, FencingToken(version))
        except Crash:
            raise  # a killed invocation lets go of nothing
        except BaseException:
            self._let_go(row)
            raise
        self._let_go(row)

    def version(self, shard: Shard) -> FencingToken:
        return FencingToken(self.rows[shard].version if shard in self.rows else 0)

    def look(self, shard: Shard) -> Progress:
        return self.rows[shard].progress if shard in self.rows else Progress()

    def _let_go(self, row: Row) -> None:
        if row.owner == self.owner:
            row.owner = None


class MemoryS3:
    """The part of an S3 client that the sink uses, with conditional writes, and failures where told."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0, *, etags_tell_content: bool = False) -> None:
        self.now = now
        self.etags_tell_content = etags_tell_content
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self._puts = 0
        self.before: Callable[[dict[str, Any]], None] = lambda _: None
        self.after: Callable[[dict[str, Any]], None] = lambda _: None

    def put_object(self, **request: Any) -> dict[str, Any]:
        if hasattr(request["Body"], "read"):
            request["Body"] = request["Body"].read()
        self.requests.append(request)
        self.before(request)
        answer = self.land(request)
        self.after(request)
        return answer

    def land(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply a put now, by its conditions."""
        there = self.objects.get(request["Key"])
        if request.get("IfNoneMatch") == "*" and there is not None:
            raise client_error("PreconditionFailed")
        if "IfMatch" in request and (there is None or there["ETag"] != request["IfMatch"]):
            raise client_error("PreconditionFailed")
        self._puts += 1
        # SSE-KMS: another data key and so another ETag with every put. AWS documents no more than that it is no MD5.
        etag = f'"{hashlib.md5(request["Body"]).hexdigest() if self.etags_tell_content else f"{self._puts:032x}"}"'
        self.objects[request["Key"]] = {
            **request,
            "ETag": etag,
            "LastModified": datetime.fromtimestamp(self.now(), UTC),
        }
        return {"ETag": etag}

    def head_object(self, **request: Any) -> dict[str, Any]:
        there = self.objects.get(request["Key"])
        if there is None:
            raise client_error("403", "HeadObject")  # as S3 to whoever may not list the bucket as a whole
        return {key: there[key] for key in ("Metadata", "ETag", "LastModified")}

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.before(request)
        there = self.objects.get(request["Key"])
        if there is None:
            raise client_error("AccessDenied", "GetObject")
        return {
            "Body": io.BytesIO(there["Body"]),
            **{key: there[key] for key in ("Metadata", "ETag", "SSEKMSKeyId") if key in there},
        }

    def delete_object(self, **request: Any) -> None:
        self.before(request)
        there = self.objects.get(request["Key"])
        if there is not None and request.get("IfMatch", there["ETag"]) != there["ETag"]:
            raise client_error("PreconditionFailed", "DeleteObject")
        self.objects.pop(request["Key"], None)
        self.after(request)

    def get_paginator(self, name: str) -> Any:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Prefix: str, StartAfter: str = "", **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > StartAfter)
        found = ((key, self.objects[key]) for key in keys)
        yield {
            "Contents": [
                {"Key": key, "LastModified": there["LastModified"], "ETag": there["ETag"], "Size": len(there["Body"])}
                for key, there in found
            ]
        }


class Shuffled(Executor):
    """Runs work in an order that a random source draws: threads promise none."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def map[T, R](
        self, fn: Callable[[T], R], *iterables: Iterable[T], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[R]:
        (given,) = (list(one) for one in iterables)
        done = {place: fn(given[place]) for place in self._random.sample(range(len(given)), len(given))}
        return (done[place] for place in range(len(given)))


class Inline(Executor):
    """Runs work where it stands, in order, so that a test knows which put comes first."""

    def map[T, R](
        self, fn: Callable[[T], R], *iterables: Iterable[T], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[R]:
        return map(fn, *iterables)
