"""The walk of an erasure: every object below every prefix, and its old versions, slice by slice.

It follows the order in which a replay moves records: from the batches that Lambda gave up on to dead letters of
records and of objects, and to the prefixes of the routes. What is moved before the walk comes by is found where it
is now.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import batched, groupby
from typing import Any, Protocol

from aws.bucket import Bucket
from aws.clients import PARALLEL_PUTS
from aws.inventory import Listed
from aws.invocation import Invocation
from operations.erase.objects import Erasure, Version
from operations.erase.request import ErasureRequest, ErasureSlice
from routing import layout
from routing.layout import HANDED_OVER
from routing.model import ObjectKey, RouteName
from routing.stored.object_format import read_name
from routing.stored.parts import FOLDER, is_beside_objects
from routing.table.routes import Route, RouteTable

_LETTERS = (f"{layout.RECORD_LETTER_PREFIX}/", f"{layout.OBJECT_LETTER_PREFIX}/")
# What a few objects of 64 MB at once may need, and the wait for a claim.
_SECONDS_FOR_A_FEW = 120


class Visitor(Protocol):
    """Erases from what the walk comes by, or searches it.

    Attributes:
        blind: Routes whose rules hide what is searched for.
    """

    blind: list[RouteName]

    def visit(self, versions: Iterable[Version]) -> list[Erasure]:
        """Look at objects; return the outcome of each that holds something."""


class ErasureWalk:
    """Walks through the bucket, prefix by prefix in the order of the keys."""

    def __init__(self, *, bucket: Bucket, table: RouteTable, invocation: Invocation) -> None:
        """Bind a bucket to the routes whose prefixes are searched, and to the deadline of an invocation."""
        self._bucket = bucket
        self._table = table
        self._invocation = invocation

    def run(self, request: ErasureRequest, visitor: Visitor) -> ErasureSlice:
        """Visit one slice; it ends between two keys, so that no version of one is left out."""
        results: list[dict[str, Any]] = []
        found: set[str] = set()
        after, scanned = request.after or "", 0
        for few in batched(self._by_key(request), PARALLEL_PUTS, strict=False):
            if scanned >= request.limit or self._invocation.remaining_seconds() < _SECONDS_FOR_A_FEW:
                return self._slice(results, found, scanned, visitor, after)
            versions = [version for of_key in few for version in of_key]
            for outcome in visitor.visit(versions):
                found |= outcome.found
                if outcome.records or outcome.entries or outcome.mentions or outcome.blocked_by:
                    results.append({name: value for name, value in asdict(outcome).items() if name != "found"})
            scanned += len(versions)
            after = few[-1][0].listed.key
        return self._slice(results, found, scanned, visitor, None)

    def _slice(
        self, results: list[dict[str, Any]], found: set[str], scanned: int, visitor: Visitor, after: str | None
    ) -> ErasureSlice:
        return ErasureSlice(
            results=results,
            found=sorted(found),
            scanned=scanned,
            blind=visitor.blind,
            columns=[route.name for route in self._table.routes if self._has_columns(route)],
            next=after,
        )

    def _has_columns(self, route: Route) -> bool:
        return any(True for _ in self._bucket.list(f"{route.prefix}/{FOLDER}/"))

    def _by_key(self, request: ErasureRequest) -> Iterator[list[Version]]:
        for _, versions in groupby(self._versions(request), key=lambda version: version.listed.key):
            yield list(versions)

    def _versions(self, request: ErasureRequest) -> Iterator[Version]:
        after = request.after or ""
        routes = {f"{route.prefix}/": route for route in self._table.routes}
        prefixes = [HANDED_OVER, *_LETTERS, *sorted(routes)]
        begun = next((place for place, prefix in enumerate(prefixes) if after.startswith(prefix)), 0)
        for prefix in prefixes[begun:]:
            for version in self._below(prefix, after, old_too=request.old_versions):
                route = routes.get(prefix)
                if route is not None and is_beside_objects(version.listed.key, route.prefix):
                    continue  # columns are made anew of the objects (operations/convert)
                if not version.listed.key.rpartition("/")[2].startswith("_") and _is_within(request, version):
                    yield version

    def _below(self, prefix: str, after: str, *, old_too: bool) -> Iterator[Version]:
        """List current objects, or every version: listing versions needs a permission of its own."""
        list_all = self._bucket.list_versions if old_too else self._bucket.list
        for entry in list_all(prefix, after=after if after.startswith(prefix) else ""):
            key = ObjectKey(entry["Key"])
            listed = Listed(key, read_name(key, self._table), entry["LastModified"].timestamp())
            yield Version(listed=listed, id=None if entry.get("IsLatest", True) else entry["VersionId"])


def _is_within(request: ErasureRequest, version: Version) -> bool:
    """Return True if a date is asked for; what has none is always looked at."""
    name = version.listed.name
    date = name.date if name else ""
    return not date or (request.first_date or "") <= date <= (request.last_date or "9999-99-99")
