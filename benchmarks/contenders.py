"""What is measured: the pipeline, the floor below it, and two idioms that users write today.

All get the same event and the same three routes; none touches the network, and each counts the calls that
it would make. The idioms are written as their authors would: clients made once, no work done twice.
"""

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pybase64
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from botocore.client import BaseClient
from isal import igzip

from routing.errors import DeliveryError
from routing.fields import node_type
from routing.lambda_event import Event
from routing.model import FencingToken, RenderedObject, RouteName, Shard
from routing.pipeline import process
from routing.protection.sealing import SealContext
from routing.stages.batch import Batch
from routing.stages.decode import KIND_FIELDS, Decoder
from routing.stages.progress import Claim, Progress, Routes
from routing.stages.protect import Protector
from routing.table.reader import load_routes
from routing.table.routes import RouteTable

ROUTES = load_routes(Path(__file__).with_name("three-routes.toml").read_text())


@dataclass
class Calls:
    """The calls that a contender would make to AWS. Without Bucket Keys each put costs one KMS request."""

    puts: int = 0
    put_bytes: int = 0
    dynamodb: int = 0


class NoVault:
    """No route of these benchmarks protects anything with a key."""

    def token_key(self, scope: str) -> bytes:
        """Never be asked."""
        raise AssertionError(scope)

    def seal(self, route: RouteName, context: SealContext, text: bytes) -> str:
        """Never be asked."""
        raise AssertionError(route, len(context), len(text))


class OneDataKey(BaseClient):
    """Answers as KMS does, without a network: one data key for all."""

    def __init__(self) -> None:
        """Be no real client, though the SDK asks for one."""

    def generate_data_key(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a data key and what KMS would have made of it."""
        return {"Plaintext": bytes(asked["NumberOfBytes"]), "CiphertextBlob": bytes(184), "KeyId": asked["KeyId"]}

    def generate_mac(self, **_: object) -> dict[str, Any]:
        """Return a MAC, the same for every message."""
        return {"Mac": bytes(32)}


NO_KEYS = Protector(NoVault(), "benchmarks")


class CountingSink:
    """Takes objects, counts them and keeps nothing."""

    def __init__(self, calls: Calls) -> None:
        """Count into `calls`."""
        self._calls = calls
        self.last: Sequence[RenderedObject] = ()

    def room(self) -> int:
        """Take as many as there are."""
        return 1000

    def put_all(self, objects: Sequence[RenderedObject]) -> list[DeliveryError | None]:
        """Let every object land."""
        self._calls.puts += len(objects)
        self._calls.put_bytes += sum(len(rendered.body) for rendered in objects)
        self.last = objects
        return [None] * len(objects)

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        """Know of nothing refused."""
        return {}


class CountingCheckpoint:
    """A row of a shard that nobody else wants."""

    def __init__(self, calls: Calls) -> None:
        """Count into `calls`."""
        self._calls = calls

    @contextmanager
    def claim(self, shard: Shard, routes: Routes) -> Iterator[Claim]:  # noqa: ARG002
        """Claim the row."""
        self._calls.dynamodb += 1
        yield Claim(Progress(), routes, self._save, FencingToken(1))

    def _save(self, progress: Progress, release: bool) -> FencingToken:  # noqa: ARG002
        self._calls.dynamodb += 1
        return FencingToken(1)


class AsIs(Protector):
    """The pipeline as it was before routes could protect anything."""

    def batch(self, batch: Batch) -> Batch:
        """Return the batch."""
        return batch


def pipeline_with(event: Event, calls: Calls, protector: Protector) -> Callable[[], object]:
    """Make a run of the pipeline with a protector."""
    decoder = Decoder(ROUTES.paths)
    sink, checkpoint = CountingSink(calls), CountingCheckpoint(calls)
    return lambda: process(event, decoder=decoder, table=ROUTES, protector=protector, sink=sink, checkpoint=checkpoint)


def pipeline(event: Event, calls: Calls) -> Callable[[], object]:
    """Make a run of the project's own pipeline, accounts and all."""
    return pipeline_with(event, calls, NO_KEYS)


def floor(event: Event, _calls: Calls) -> Callable[[], object]:
    """Make a run of the least work: base64, decode of the same fields, gzip of the same bytes, nothing else."""
    decode = msgspec.json.Decoder(node_type([*KIND_FIELDS, *ROUTES.paths])).decode
    bodies = [gzip.decompress(rendered.body) for rendered in rendered_objects(event, ROUTES)]

    def run() -> None:
        for record in event["Records"]:
            decode(pybase64.b64decode(record["kinesis"]["data"], validate=True))
        for body in bodies:
            igzip.compress(body, 2, mtime=0)

    return run


def powertools(event: Event, calls: Calls) -> Callable[[], object]:
    """Make a run of the Powertools batch processor, with one `put_object` a record and route."""

    def put_object(**request: Any) -> None:  # noqa: ANN401
        calls.puts += 1
        calls.put_bytes += len(request["Body"])

    def handle(record: KinesisStreamRecord) -> None:
        contact = record.kinesis.data_as_json()
        for prefix in routes_by_hand(contact):
            put_object(
                Bucket="bucket",
                Key=f"{prefix}/{record.kinesis.sequence_number}.json",
                Body=json.dumps(contact),
                ServerSideEncryption="aws:kms",
                SSEKMSKeyId=f"key-of-{prefix}",
            )

    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
    return lambda: process_partial_response(event=event, record_handler=handle, processor=processor, context=None)


def stdlib(event: Event, calls: Calls) -> Callable[[], object]:
    """Make a run of the standard library's json and gzip at its default level, 9, grouped by route."""

    def run() -> None:
        groups: dict[str, list[str]] = defaultdict(list)
        for record in event["Records"]:
            contact = json.loads(base64.b64decode(record["kinesis"]["data"]))
            for prefix in routes_by_hand(contact):
                groups[prefix].append(json.dumps(contact))
        for lines in groups.values():
            calls.put_bytes += len(gzip.compress("\n".join(lines).encode()))
            calls.puts += 1

    return run


def routes_by_hand(contact: dict[str, Any]) -> Iterator[str]:
    """Yield the prefixes of the three routes, as a user would write it."""
    if ((contact.get("Queue") or {}).get("Name") or "").startswith("Orders"):
        yield "orders"
    if (contact.get("Attributes") or {}).get("locale") == "ja-JP":
        yield "japan"
    yield "analytics"


def rendered_objects(event: Event, table: RouteTable) -> Sequence[RenderedObject]:
    """Return what the pipeline makes of an event."""
    sink = CountingSink(Calls())
    process(
        event,
        decoder=Decoder(table.paths),
        table=table,
        protector=NO_KEYS,
        sink=sink,
        checkpoint=CountingCheckpoint(Calls()),
    )
    return sink.last


CONTENDERS = {
    "pipeline": pipeline,
    "floor": floor,
    "powertools": powertools,
    "stdlib": stdlib,
}
