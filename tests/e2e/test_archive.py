"""The archive: Firehose, as the template declares it, reads the stream beside the function."""

import time

from local.connect import ConnectStandIn
from local.deployment import deploy, mend
from local.emulator import emulator


def test_archive_gets_every_record_as_connect_sent_it(bundle: None) -> None:
    """The emulator's Firehose neither buffers, compresses nor encrypts; what it reads and where it puts it, it shows."""
    with emulator() as running:
        deployed = deploy(running, ArchiveRawStream="true")
        list(mend(running, deployed))
        sent = ConnectStandIn(running, deployed.stream, seed=3).send(30, lambda _done: None)
        s3, deadline = running.client("s3"), time.monotonic() + 30
        found: list[bytes] = []
        single = [document for document in sent if document.strip().startswith(b"{")]
        while len(found) < len(single) and time.monotonic() < deadline:
            time.sleep(0.2)
            listed = s3.list_objects_v2(Bucket=deployed.bucket, Prefix="archive/records/date=").get("Contents", [])
            found = [s3.get_object(Bucket=deployed.bucket, Key=entry["Key"])["Body"].read() for entry in listed]
        everything = b"".join(found)
        assert all(document.strip() in everything for document in single)
        elsewhere = s3.list_objects_v2(Bucket=deployed.bucket).get("KeyCount", 0) - len(found)
        assert elsewhere == 0
