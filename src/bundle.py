"""Make the installed packages of the Lambda bundle small and quick to import; run by src/Makefile.

botocore carries the models of all services, gzipped, and a list of all endpoints, of which the function
needs four services; reading the rest takes half the time in which a client is made. Byte code is made here
because SAM ships none and /var/task is read-only. docs/adr/0004-bundle.md has the figures.
"""

import compileall
import gzip
import json
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

SERVICES = {"dynamodb", "kinesis", "kms", "lambda", "s3", "sts"}
_NOT_NEEDED = ("bin", "boto3/data", "boto3/examples")


def main(bundle: Path) -> None:
    """Trim a folder of installed packages in place."""
    for name in _NOT_NEEDED:
        shutil.rmtree(bundle / name, ignore_errors=True)
    data = bundle / "botocore" / "data"
    for service in data.iterdir():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for packed in data.glob("**/*.json.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {n: s for n, s in partition["services"].items() if n in SERVICES}
    # A new file, never the old one written over: an installer may have linked it from a cache that others share.
    (data / "endpoints.json").unlink()
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    # By hash and never checked: packaging changes the times that byte code is checked by otherwise.
    if not compileall.compile_dir(bundle, quiet=1, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH):
        raise SystemExit("bundle: a module does not compile")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
