"""Rendering: the key and the bytes are a function of the records."""

import gzip
import zlib

from routing.model import FencingToken, RenderedObject
from routing.stages.batch import group
from routing.stages.decode import Decoder
from routing.stages.render import render
from tests.builders import claim, contact, lines_of, numbered_event, table

TABLE = table()
SEVENTH = FencingToken(7)


def rendered(*documents: bytes, token: FencingToken | None = SEVENTH) -> list[RenderedObject]:
    shard, records = Decoder(TABLE.paths).decode(numbered_event(enumerate(documents, start=41)))
    assert shard is not None
    routed = [(record, TABLE.routes_for(record)) for record in records]
    return [render(batch, shard, token, TABLE.origin) for batch in group(routed, {}).batches]


def test_object_is_named_by_prefix_kind_date_stream_shard_and_first_record() -> None:
    (made,) = rendered(contact(), contact())
    assert made.key == "all/contacts/contact_record/date=2026-03-02/ctr-fanout-shardId-000000000000-41.ndjson.gz"


def test_object_holds_one_line_a_record_in_stream_order() -> None:
    documents = [contact(n=i) for i in range(50)]
    (made,) = rendered(*documents)
    assert lines_of(made) == documents
    assert gzip.decompress(made.body).endswith(b"}\n")


def test_metadata_tells_the_range_and_holds_no_value_of_a_record() -> None:
    documents = contact(secret="marker"), contact()
    (made,) = rendered(*documents)
    plain = b"".join(document + b"\n" for document in documents)
    assert made.metadata == {
        "format-version": "1",
        "fencing-token": "7",
        "routes": TABLE.routes_digest[:16],
        "route": "all",
        "record-count": "2",
        "first-sequence-number": "41",
        "last-sequence-number": "42",
        "plain-crc32": f"{zlib.crc32(plain):08x}",
        "numbers-crc32": f"{zlib.crc32(b'41\n42\n'):08x}",
    }
    assert (made.record_count, made.plain_bytes) == (2, len(plain))


def test_same_records_make_the_same_key_and_bytes() -> None:
    """A clock in the gzip header would make every retry a different object."""
    documents = [contact(n=i) for i in range(20)]
    assert rendered(*documents) == rendered(*documents)


def test_other_records_make_other_metadata() -> None:
    """So that two objects of one name can be told apart without a key."""
    (one,), (other,) = rendered(contact(n=1)), rendered(contact(n=2))
    assert one.key == other.key
    assert one.metadata != other.metadata


def test_route_makes_an_object_of_its_own() -> None:
    assert [(made.route, lines_of(made)) for made in rendered(claim())] == [("all", [claim()]), ("claims", [claim()])]


def test_without_a_claim_the_name_tells_the_content() -> None:
    """Nothing is replaced then, so two cuts of the same records need two names."""
    short, long = rendered(contact(n=1), token=None), rendered(contact(n=1), contact(n=2), token=None)
    again = rendered(contact(n=1), token=None)
    assert short[0].key == again[0].key != long[0].key
    assert short[0].key.endswith(f"-41-{short[0].metadata['plain-crc32']}.ndjson.gz")
    assert "fencing-token" not in short[0].metadata
