"""KPL aggregation: one stream record that packs several user records.

The format is a magic number, a protobuf message and its MD5 digest. `aws-kinesis-agg` knows it too, but
prints the raw data of a message it cannot read, changes `sys.path` and needs an undeclared package, so
the message is declared here and parsed by protobuf itself (docs/adr/0003-dependencies.md). Nothing says
that Connect aggregates; other producers of the same stream may.

Source: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
"""

import functools
import hashlib
from typing import Any

from routing.errors import RecordError
from routing.reasons import Reason

MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16
# Ever so small records are a bomb: half a million fit a megabyte, and each would be a dead letter. The least
# record of Connect has some hundred bytes.
_FEW_RECORDS = 1000
_LEAST_RECORD_BYTES = 64


def user_records(raw: bytes) -> list[bytes]:
    """Unpack a stream record that starts with `MAGIC`.

    Args:
        raw: The whole stream record.

    Returns:
        The data of each user record, in order; never empty.

    Raises:
        RecordError: The digest or the message is damaged, or it holds no record or far too many.
    """
    body, digest = raw[len(MAGIC) : -_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    if hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise RecordError(Reason.BAD_AGGREGATE, f"KPL aggregate of {len(raw)} bytes: its digest does not fit")
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - as below

    try:
        message = _message_type().FromString(body)
    except DecodeError:
        raise RecordError(Reason.BAD_AGGREGATE, f"KPL aggregate of {len(raw)} bytes: not protobuf") from None
    if not message.records or not message.IsInitialized():
        raise RecordError(Reason.BAD_AGGREGATE, f"KPL aggregate of {len(raw)} bytes: it holds no complete records")
    count = len(message.records)
    if count > _FEW_RECORDS and len(raw) < count * _LEAST_RECORD_BYTES:
        raise RecordError(Reason.BAD_AGGREGATE, f"KPL aggregate of {len(raw)} bytes: {count} records")
    return [record.data for record in message.records]


@functools.cache
def _message_type() -> Any:  # noqa: ANN401 - the class is made at run time
    """Declare `AggregatedRecord`."""
    # Imported late: most streams never hold an aggregate, and every cold start would pay.
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="ctr_fanout_kpl.proto", package="ctr_fanout.kpl")
    record = file.message_type.add(name="Record")
    record.field.add(name="partition_key_index", number=1, type=field.TYPE_UINT64, label=field.LABEL_REQUIRED)
    record.field.add(name="explicit_hash_key_index", number=2, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL)
    record.field.add(name="data", number=3, type=field.TYPE_BYTES, label=field.LABEL_REQUIRED)
    aggregate = file.message_type.add(name="AggregatedRecord")
    aggregate.field.add(name="partition_key_table", number=1, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    aggregate.field.add(name="explicit_hash_key_table", number=2, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    aggregate.field.add(
        name="records",
        number=3,
        type=field.TYPE_MESSAGE,
        type_name=".ctr_fanout.kpl.Record",
        label=field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ctr_fanout.kpl.AggregatedRecord"))
