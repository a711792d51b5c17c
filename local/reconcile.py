"""Reconciliation: what was sent against what stands in S3, line by line.

Only objects count here, no counter and no log: every object below every prefix is read back and opened.
"""

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from local.comparable import Comparable
from local.deployment import Deployed
from local.emulator import Emulator
from routing import layout
from routing.lambda_event import event_of_documents
from routing.stages.decode import Decoder
from routing.stored import dead_letter
from routing.table.routes import RouteTable

UNEXPECTED = "unexpected"
"""In place of a route: an object that stands below no route's prefix, e.g. one that was refused."""

type Line = tuple[str, bytes]
"""A route, and what has to stand there on one line; of dead letters the raw bytes."""


@dataclass(frozen=True, slots=True)
class DeliveredObject:
    """One object as it stands in S3."""

    route: str
    key: str
    body_bytes: int
    kms_key: str
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The balance of a run; `lost` and `duplicated` have to be nought."""

    received: int
    delivered: int
    dropped: int
    dead_lettered: int
    lost: int
    duplicated: int

    def __str__(self) -> str:
        """Return the line that `make demo` ends with."""
        return (
            f"reconciled: in={self.received} delivered={self.delivered} dropped={self.dropped} "
            f"dead_lettered={self.dead_lettered} lost={self.lost} duplicated={self.duplicated}"
        )

    @property
    def holds(self) -> bool:
        """True if nothing is lost and nothing stands twice."""
        return self.lost == 0 and self.duplicated == 0


def delivered_objects(emulator: Emulator, deployed: Deployed, table: RouteTable) -> Iterator[DeliveredObject]:
    """Read back every object of the bucket."""
    s3 = emulator.client("s3")
    routes: dict[str, str] = {f"{route.prefix}/": route.name for route in table.all_routes}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=deployed.bucket):
        for entry in page.get("Contents", []):
            answer = s3.get_object(Bucket=deployed.bucket, Key=entry["Key"])
            yield _delivered_object(entry["Key"], answer, routes)


def reconcile(
    sent: Iterable[bytes], objects: Iterable[DeliveredObject], table: RouteTable, comparable: Comparable
) -> Reconciliation:
    """Hold what was sent against what stands.

    Args:
        sent: Every document, as often as it was sent.
        objects: Everything in the bucket.
        table: Tells where each document belongs.
        comparable: What a protected route makes of it.
    """
    expected: Counter[Line] = Counter()
    received = dropped = 0
    decoder = Decoder(table.paths)
    for document in sent:
        received += 1
        _, (record,) = decoder.decode(event_of_documents([document]))
        routes = table.routes_for(record)
        dropped += not routes
        expected.update(
            (route.name, document if record.failure else comparable.sent(route.name, record.data)) for route in routes
        )
    standing = Counter(
        (found.route, comparable.standing(found.route, line)) for found in objects for line in found.lines
    )
    return Reconciliation(
        received=received,
        delivered=sum(n for (route, _), n in standing.items() if route != layout.DEAD_LETTER),
        dropped=dropped,
        dead_lettered=sum(n for (route, _), n in standing.items() if route == layout.DEAD_LETTER),
        lost=(expected - standing).total(),
        duplicated=(standing - expected).total(),
    )


def _delivered_object(key: str, answer: dict[str, Any], routes: dict[str, str]) -> DeliveredObject:
    route = next((name for prefix, name in routes.items() if key.startswith(prefix)), UNEXPECTED)
    body = answer["Body"].read()
    lines = gzip.decompress(body).splitlines() if key.endswith(".gz") else [body]
    if route == layout.DEAD_LETTER:
        read = map(dead_letter.read_line, lines)
        lines = [line.raw for line in read if not line.is_erased]
    return DeliveredObject(route, key, len(body), answer["SSEKMSKeyId"], tuple(lines))
