"""Deployment: the project's own template on the emulator, by SAM CLI, as a user deploys it to AWS.

The emulator reports success for properties that it drops. `mend` reads them back, says which were dropped
and sets them through the service's own API, so that what runs is what the template says.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cli.reconcile import Target
from local.emulator import ROOT, Emulator
from routing.lambda_event import ACCOUNT, REGION
from routing.table.routes import RouteTable, logical_id

STACK = "ctr-fanout"
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
SAM = ROOT / ".venvs" / "sam" / "bin" / "sam"
_MADE_OF = BUILT.with_name("made-of.txt")  # `sam build` empties the folder
_BUNDLE_OF_COLUMNS = re.compile(r"^( +CodeUri: )ConvertFunction$", re.MULTILINE)
_BUNDLE = re.compile(r"^( +CodeUri: )(?:FanOut|GrantCheck|Replay|Erase)Function$", re.MULTILINE)
_NO_ENDPOINT = re.compile(r"^( +(?:AWS_ENDPOINT_URL|EndpointUrl): )(?:''|\"\")$", re.MULTILINE)
_BUCKET_OF_BUNDLES = "sam-artifacts"


class DeploymentError(Exception):
    """`sam build` or `sam deploy` failed; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What stands on the emulator.

    Attributes:
        resources: Physical ids by logical id.
        stream_key: The ARN of an existing key that the stream is encrypted with; empty if the stack has its own.
    """

    resources: dict[str, str]
    stream_key: str = ""

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.resources["Stream"]

    @property
    def target(self) -> Target:
        """What `ctr-fanout reconcile` has to know of it."""
        return Target(
            stream_arn=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.stream}",
            bucket=self.bucket,
            account=ACCOUNT,
            checkpoint_table=self.resources["CheckpointTable"],
        )

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.resources["Bucket"]

    @property
    def function(self) -> str:
        """The function's name."""
        return self.resources["FanOutFunction"]

    def key_arn(self, name: str) -> str:
        """Return the ARN of a key by its name."""
        return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.key_id(name)}"

    @property
    def mapping(self) -> str:
        """The id of the event source mapping."""
        return self.resources["StreamMapping"]

    def key_id(self, route: str) -> str:
        """Return the id of a route's key."""
        return self.resources[f"{logical_id(route)}Key"]


def build() -> None:
    """Make the Lambda bundle, as `make build` does, unless the one that is there was made of the same files.

    Raises:
        DeploymentError: It failed.
    """
    made_of = _digest_of_sources()
    with _bundle_locked(fcntl.LOCK_SH):
        if _is_made_of(made_of):
            return
    with _bundle_locked(fcntl.LOCK_EX):
        if _is_made_of(made_of):  # by somebody else meanwhile
            return
        programs = os.pathsep.join([str(ROOT / ".venvs" / "uv" / "bin"), os.environ.get("PATH", "")])
        _run(
            [str(SAM), "build"], os.environ | {"PATH": programs, "UV_PYTHON": sys.executable, "SAM_CLI_TELEMETRY": "0"}
        )
        for bundle in ("FanOutFunction", "ConvertFunction"):
            _pack(BUILT.with_name(bundle))
        _MADE_OF.write_text(made_of)


def _is_made_of(digest: str) -> bool:
    return BUILT.exists() and _MADE_OF.exists() and _MADE_OF.read_text() == digest


def _digest_of_sources() -> str:
    digest = hashlib.sha256(sys.executable.encode())
    files = [ROOT / "template.yaml", *(ROOT / "templates").rglob("*"), *(ROOT / "src").rglob("*")]
    for file in sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts):
        digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _pack(bundle: Path) -> None:
    """Pack a bundle once for all deployments; SAM would pack it anew for each function of each of them."""
    with zipfile.ZipFile(_packed(bundle), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(bundle))


def _packed(bundle: Path) -> Path:
    return bundle.with_suffix(".zip")


def deploy(emulator: Emulator, endpoint: str = "", **parameters: str) -> Deployed:
    """Deploy the bundle that `build` has made.

    Args:
        emulator: Where to.
        endpoint: Where the functions find it; by default its own address.
        parameters: Of the template, besides those of samconfig.toml's table `local`.

    Raises:
        DeploymentError: It failed.
    """
    s3 = emulator.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=_BUCKET_OF_BUNDLES, CreateBucketConfiguration={"LocationConstraint": REGION})
    overrides = {"StreamMode": "PROVISIONED", "ShardCount": "2", "MappingEnabled": "false"}
    overrides["MaximumRetryAttempts"] = "5"  # nobody waits for ten thousand on a laptop
    overrides |= parameters
    command = [str(SAM), "deploy", "--config-env", "local", "--parameter-overrides"]
    command += [f"{name}={value}" for name, value in overrides.items()]
    with (
        _bundle_locked(fcntl.LOCK_SH),
        _for_emulator(endpoint or emulator.url, makes_columns=parameters.get("Parquet") == "on") as template,
    ):
        # SAM looks for samconfig.toml beside the template.
        files = ["--template-file", str(template), "--config-file", str(ROOT / "samconfig.toml")]
        _run([*command, *files], emulator.environ)
    return Deployed(_resources(emulator, STACK), parameters.get("ExistingStreamKeyArn", ""))


@contextmanager
def _for_emulator(endpoint: str, *, makes_columns: bool) -> Iterator[Path]:
    """Write the built template with an address in the place of AWS's own, and packed bundles, while it is deployed.

    SAM uploads the bundle of every function, also of one that is not made: that of columns, 150 MB, is left out then.
    """
    # Beside the built one, since it names the bundle by relative paths.
    file = BUILT.with_name(f"emulator-{os.getpid()}.yaml")
    built = with_endpoint(BUILT.read_text(), endpoint)
    of_columns = "ConvertFunction" if makes_columns else "FanOutFunction"
    built = _BUNDLE_OF_COLUMNS.sub(rf"\g<1>{_packed(Path(of_columns))}", built)
    file.write_text(_BUNDLE.sub(rf"\g<1>{_packed(Path('FanOutFunction'))}", built))
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def with_endpoint(built: str, endpoint: str) -> str:
    """Return a built template whose functions find AWS at an address.

    Raises:
        DeploymentError: It has no empty `AWS_ENDPOINT_URL` to fill in.
    """
    filled, count = _NO_ENDPOINT.subn(rf"\g<1>{endpoint}", built)
    if not count:
        raise DeploymentError("the built template: expected an empty AWS_ENDPOINT_URL to fill in")
    return filled


@contextmanager
def _bundle_locked(how: int) -> Iterator[None]:
    """Wait until nobody builds the bundle, or, to build it, until nobody deploys it either."""
    lock = ROOT / ".cache" / "bundle.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, how)
        yield


def _resources(emulator: Emulator, stack: str) -> dict[str, str]:
    """Return the physical ids of a stack's resources by logical id, those of nested stacks included."""
    found: dict[str, str] = {}
    for one in emulator.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]:
        found[one["LogicalResourceId"]] = one["PhysicalResourceId"]
        if one["ResourceType"] == "AWS::CloudFormation::Stack":
            found |= _resources(emulator, one["PhysicalResourceId"])
    return found


def mend(emulator: Emulator, deployed: Deployed) -> Iterator[str]:
    """Set what the emulator has dropped of the template, and yield what it was."""
    functions = emulator.client("lambda")
    if functions.get_event_source_mapping(UUID=deployed.mapping)["State"] != "Disabled":
        # The emulator reads "false" as true, and its own poller keeps none of Lambda's rules.
        functions.update_event_source_mapping(UUID=deployed.mapping, Enabled=False)
        yield "StreamMapping.Enabled"
    kinesis, s3, dynamodb = (emulator.client(service) for service in ("kinesis", "s3", "dynamodb"))
    stream = kinesis.describe_stream_summary(StreamName=deployed.stream)["StreamDescriptionSummary"]
    if stream.get("EncryptionType") != "KMS":
        key = deployed.stream_key or deployed.resources["StreamKey"]
        kinesis.start_stream_encryption(StreamName=deployed.stream, EncryptionType="KMS", KeyId=key)
        yield "Stream.StreamEncryption"
    rules = s3.get_bucket_encryption(Bucket=deployed.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    if rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] != "aws:kms":
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": deployed.key_id("dead-letter")}
        s3.put_bucket_encryption(
            Bucket=deployed.bucket,
            ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
        )
        yield "Bucket.BucketEncryption"
    table = deployed.resources["CheckpointTable"]
    if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
        dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
        )
        yield "CheckpointTable.TimeToLiveSpecification"


def aliases(emulator: Emulator, deployed: Deployed, table: RouteTable) -> dict[str, str]:
    """Return the alias of each route's key, as KMS tells it, e.g. `{"orders": "alias/ctr-fanout/orders"}`."""
    pages = emulator.client("kms").get_paginator("list_aliases").paginate()
    by_key = {alias.get("TargetKeyId"): alias["AliasName"] for page in pages for alias in page["Aliases"]}
    return {route.name: by_key[deployed.key_id(route.name)] for route in table.all_routes}


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # SAM CLI leaves folders behind
        done = subprocess.run(  # noqa: S603 - our own pinned program
            command, cwd=ROOT, env={**environ, "TMPDIR": folder}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "Uploading to" not in line]
        shown = "\n".join(lines[-30:])
        raise DeploymentError(f"{' '.join(command[1:3])} ended with code {done.returncode}:\n{shown}")
