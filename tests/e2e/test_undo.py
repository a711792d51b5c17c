"""The commands of docs/deploy.md that leave nothing of a stack, so that its name is free again."""

import os
import re
import subprocess
import sys
from pathlib import Path

from local.connect import ConnectStandIn
from local.deployment import STACK, deploy, mend
from local.emulator import ROOT, emulator
from local.event_source import EventSource

_BLOCK = re.compile(r"<!-- undo -->\n```bash\n(.*?)```", re.DOTALL)


def test_stack_that_was_undone_comes_back_under_its_name(bundle: None, tmp_path: Path) -> None:
    (script,) = _BLOCK.findall((ROOT / "docs" / "deploy.md").read_text(encoding="utf-8"))
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.e2e.aws_cli "$@"\n')
    aws.chmod(0o755)
    with emulator() as running:
        deployed = deploy(running, Analysis="off")
        list(mend(running, deployed))
        ConnectStandIn(running, deployed.stream, seed=1).send(20, lambda _: None)
        EventSource(running.client, deployed.mapping).drain()
        assert running.client("s3").list_object_versions(Bucket=deployed.bucket)["Versions"]
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],  # noqa: S607
            cwd=tmp_path,
            env=running.environ | {"PATH": os.pathsep.join([str(aws.parent), os.environ["PATH"]])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert STACK not in running.client("kinesis").list_streams()["StreamNames"]
        assert deployed.bucket not in [one["Name"] for one in running.client("s3").list_buckets()["Buckets"]]
        key = running.client("kms").describe_key(KeyId=deployed.key_id("orders"))["KeyMetadata"]
        assert key["KeyState"] == "PendingDeletion"
        assert deploy(running, Analysis="off").bucket == deployed.bucket
