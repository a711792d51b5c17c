"""A stand-in for Amazon Connect: sends made-up records, oddities included, into the encrypted stream."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from aws_kinesis_agg.aggregator import RecordAggregator

from local.emulator import Emulator
from local.traffic import Traffic

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
_RECORDS_A_PUT = 500
_BYTES_A_PUT = 4 * 1024 * 1024


class RefusedError(Exception):
    """The stream refused a record."""


class ConnectStandIn:
    """Sends records as Connect does: at least once, updates as whole records, kinds mixed."""

    def __init__(self, emulator: Emulator, stream: str, seed: int, *, role: str = "") -> None:
        """Know the stream, and draw from a seed.

        Args:
            emulator: Where the stream is.
            stream: Its name.
            seed: The same one makes the same records.
            role: The ARN of Connect's service-linked role; by default the account's root, whom nothing is refused.
        """
        self._kinesis = emulator.client("kinesis", role=role)
        self._stream = stream
        self._traffic = Traffic(seed)

    def send(self, count: int, progress: Callable[[int], None]) -> list[bytes]:
        """Send `count` ordinary records and a few of every oddity.

        Args:
            count: How many ordinary ones.
            progress: Called with the number of records sent after each put.

        Returns:
            Every document that the stream now holds, those inside aggregates one by one.

        Raises:
            RefusedError: The stream refused a record.
        """
        sent: list[bytes] = []
        put: list[tuple[bytes, str]] = []
        for data, documents in self._stream_records(count):
            put.append((data, str(uuid.uuid5(uuid.NAMESPACE_OID, str(len(sent))))))
            sent += documents
            if len(put) == _RECORDS_A_PUT or sum(len(data) for data, _ in put) > _BYTES_A_PUT:
                self._put(put)
                progress(len(sent))
                put = []
        if put:
            self._put(put)
        progress(len(sent))
        return sent

    def _stream_records(self, count: int) -> Iterator[tuple[bytes, list[bytes]]]:
        """Yield the data of stream records with the documents in them."""
        for number, record in enumerate(self._traffic.records(count)):
            yield record, [record]
            if number % 97 == 0:
                yield from ((odd, [odd]) for odd in self._oddities(record))
            if number % 499 == 0:
                yield self._aggregate()

    def _oddities(self, record: bytes) -> Iterator[bytes]:
        document = json.loads(record)
        yield record  # the same once more: at least once
        if "LastUpdateTimestamp" in document:
            updated = {**document, "Attributes": {"npsScore": "9"}, "LastUpdateTimestamp": "2026-03-09T08:00:00Z"}
            yield json.dumps(updated, separators=(",", ":"), ensure_ascii=False).encode()
        yield json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
        yield record[: len(record) // 2]  # poison: cut off in the middle
        yield b"\x1f\x8b" + record[:40]  # poison: not text
        yield b'{"meter":1e400,"serial":' + b"9" * 60 + b"}"  # of another producer, beyond float64

    def _aggregate(self) -> tuple[bytes, list[bytes]]:
        """Pack fifty records as the Kinesis Producer Library does."""
        documents = list(self._traffic.records(50))
        packer: Any = RecordAggregator()  # type: ignore[no-untyped-call]
        for document in documents:
            packer.add_user_record("key", document)
        _, _, data = packer.clear_and_get().get_contents()
        return data, documents

    def _put(self, records: list[tuple[bytes, str]]) -> None:
        answer = self._kinesis.put_records(
            StreamName=self._stream, Records=[{"Data": data, "PartitionKey": key} for data, key in records]
        )
        if answer["FailedRecordCount"]:
            raise RefusedError(f"the stream refused {answer['FailedRecordCount']} of {len(records)} records")
