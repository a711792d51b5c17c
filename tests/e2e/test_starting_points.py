"""From an existing key and one Firehose that archives everything, as docs/deploy.md tells it, to routes beside it."""

import time

from aws.route_file import shipped_routes
from local.connect import ConnectStandIn
from local.deployment import deploy, mend
from local.emulator import Emulator, emulator
from local.event_source import EventSource
from tests.e2e.conftest import Stack

_SECONDS = 30


def test_archive_gets_every_record_as_connect_sent_it_and_the_routes_begin_where_the_stream_does(bundle: None) -> None:
    """The emulator's Firehose neither buffers, compresses nor encrypts; what it reads and where it puts it, it shows."""
    with emulator() as running:
        key = running.client("kms").create_key(Description="call recordings")["KeyMetadata"]["Arn"]
        deployed = deploy(running, ExistingStreamKeyArn=key, ArchiveRawStream="true")
        assert "StreamKey" not in deployed.resources
        list(mend(running, deployed))
        sent = ConnectStandIn(running, deployed.stream, seed=3).send(30, lambda _done: None)
        whole = [document.strip() for document in sent if document.strip().startswith(b"{")]
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and not archived(running, deployed.bucket, whole):
            time.sleep(0.2)
        assert archived(running, deployed.bucket, whole)
        stack = Stack(running, deployed, shipped_routes())
        described = running.client("kinesis").describe_stream_summary(StreamName=deployed.stream)
        assert described["StreamDescriptionSummary"]["KeyId"] in key
        s3 = running.client("s3")
        listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=deployed.bucket)["Contents"]]
        assert {key.partition("/")[0] for key in listed} == {"archive"}
        EventSource(running.client, deployed.mapping).drain()
        for key in listed:
            s3.delete_object(Bucket=deployed.bucket, Key=key)
        result = stack.reconcile(sent)
        assert result.holds, str(result)
        assert result.delivered > 0


def archived(running: Emulator, bucket: str, documents: list[bytes]) -> bool:
    s3 = running.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="archive/records/date=").get("Contents", [])
    everything = b"".join(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in listed)
    return all(document in everything for document in documents)
