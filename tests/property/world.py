"""A small world around the pipeline: Lambda's retries, crashes anywhere, puts that land late.

The pipeline, the real S3 sink and a checkpoint with the table's contract run in it; time, S3 and the order
of things come from one random source, so that a failing run can be replayed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, cast

from handlers.invocation import Invocation
from handlers.s3_sink import S3Sink
from handlers.settings import Settings
from routing.decode import Decoder
from routing.model import RouteName, Shard
from routing.pipeline import process
from routing.routes import RouteTable
from tests.builders import lines_in, numbered_event
from tests.fakes import Crash, Inline, MemoryCheckpoint, MemoryS3, Row, client_error

# Two digits become three on the way, where text and number order differ.
FIRST_NUMBER = 95
_SECONDS_TO_LIVE = 60.0


class World:
    """One shard, one bucket, one checkpoint row, and invocations that may go wrong."""

    def __init__(self, documents: Sequence[bytes], table: RouteTable, random: Random) -> None:
        self.documents = documents
        self.table = table
        self.random = random
        self.s3 = MemoryS3()
        self.commits: list[Mapping[RouteName, int]] = []
        self._decoder = Decoder(table.paths)
        self._settings = Settings(
            bucket="bucket",
            bucket_owner="111122223333",
            key_arns={route.name: f"key-of-{route.name}" for route in table.all_routes},
            service="ctr-fanout",
            checkpoint_table="table",
        )
        self._rows: dict[Shard, Row] = {}
        self._late: list[dict[str, Any]] = []
        self._clock = 0.0
        self._invocations = 0

    def run(self, *, troubled_invocations: int) -> None:
        """Deliver everything: some invocations with trouble, then calm ones to the end."""
        position = 0
        while position < len(self.documents) or troubled_invocations:
            is_troubled = troubled_invocations > 0
            troubled_invocations -= is_troubled
            position = self._invoke(min(position, len(self.documents) - 1), is_troubled=is_troubled)
            self._land_late_puts(0.15)
        self._land_late_puts(1.0)

    def standing(self) -> Counter[tuple[str, bytes]]:
        """Return every line that stands in the bucket, with the prefix of its route."""
        prefixes = [route.prefix for route in self.table.all_routes]
        return Counter(
            (next(prefix for prefix in prefixes if key.startswith(f"{prefix}/")), line)
            for key, put in self.s3.objects.items()
            for line in lines_in(put["Body"])
        )

    def expected(self) -> Counter[tuple[str, bytes]]:
        """Return every line that has to stand there, once for each time that it was sent."""
        _, records = self._decoder.decode(numbered_event(enumerate(self.documents, start=FIRST_NUMBER)))
        return Counter((route.prefix, record.data) for record in records for route in self.table.routes_for(record))

    def _invoke(self, position: int, *, is_troubled: bool) -> int:
        """Invoke once and return where Lambda goes on reading: anywhere earlier, after trouble."""
        self._invocations += 1
        self._clock += self.random.uniform(0, 2 * _SECONDS_TO_LIVE) if is_troubled else 2 * _SECONDS_TO_LIVE
        size = self.random.randint(1, len(self.documents))
        batch = range(position, min(position + size, len(self.documents)))
        try:
            response = process(
                numbered_event((FIRST_NUMBER + i, self.documents[i]) for i in batch),
                decoder=self._decoder,
                table=self.table,
                sink=self._sink(),
                checkpoint=self._checkpoint(is_troubled=is_troubled),
            ).response()
        except Crash:
            return self.random.randint(0, position)
        failures = [int(failure["itemIdentifier"]) - FIRST_NUMBER for failure in response["batchItemFailures"]]
        assert all(failure in batch for failure in failures)
        if is_troubled and self.random.random() < 0.2:
            return self.random.randint(0, position)  # the poller restarts, or its answer is lost
        return min(failures, default=batch.stop)

    def _sink(self) -> S3Sink:
        deadline = self._clock + _SECONDS_TO_LIVE
        invocation = Invocation(f"invocation-{self._invocations}", lambda: deadline - self._clock)
        return S3Sink(cast("Any", self.s3), self._settings, invocation, Inline())

    def _checkpoint(self, *, is_troubled: bool) -> MemoryCheckpoint:
        crash_at = self.random.randint(0, 16) if is_troubled else -1
        throttle_at = self.random.randint(0, 16) if is_troubled else -1
        steps = iter(range(1_000_000))

        def step(request: dict[str, Any] | None = None) -> None:
            number = next(steps)
            if number == throttle_at and request is not None:
                raise client_error("SlowDown")
            if number == crash_at:
                if request is not None and self.random.random() < 0.5:
                    self._late.append(request)
                raise Crash

        self.s3.before = step
        self.s3.after = lambda _: step()
        return MemoryCheckpoint(
            now=lambda: self._clock,
            owner=f"invocation-{self._invocations}",
            deadline=self._clock + _SECONDS_TO_LIVE,
            before=lambda _: step(),
            after=lambda _: step(),
            rows=self._rows,
            commits=self.commits,
        )

    def _land_late_puts(self, share: float) -> None:
        """Let a share of the puts of killed invocations reach S3 now, by the conditions they were sent with."""
        waiting, self._late = self._late, []
        for request in waiting:
            if self.random.random() > share:
                self._late.append(request)
                continue
            try:
                self.s3.land(request)
            except Exception as err:  # noqa: BLE001 - whatever S3 answers, nobody is there to hear it
                assert "PreconditionFailed" in str(err)
