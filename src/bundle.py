"""Make the Lambda bundle: the locked packages for Lambda's platform, our packages, small and quick to import.

Run by src/Makefile as `bundle.py ARTIFACTS_DIR`; it uses the standard library only, and uv or else pip.

botocore carries the models of all services, gzipped, and a list of all endpoints, of which the functions
need six services; reading the rest takes half the time in which a client is made. Byte code is made here
because SAM ships none and /var/task is read-only. docs/adr/0004-bundle.md has the figures.
"""

import compileall
import contextlib
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

SERVICES = {"dynamodb", "kinesis", "kms", "lambda", "s3", "sts"}
_OURS = ("routing", "schema", "aws", "operations", "handlers")
_REQUIREMENTS, _OF_COLUMNS = "requirements.txt", "requirements-parquet.txt"
_MADE_OF = (*_OURS, "bundle.py", _REQUIREMENTS, _OF_COLUMNS, "Makefile")
_MAKES_COLUMNS = "ConvertFunction"
_NOT_NEEDED = ("bin", "boto3/data", "boto3/examples")
# Of PyArrow's 165 MB: no Flight, no Substrait queries, no other file systems and formats, nothing to compile against.
_ARROW_FOLDERS = {"parquet", "vendored"}
_ARROW_SOURCES = {".pyx", ".pxi", ".pxd", ".h"}
_ARROW_LIBRARIES = (
    "lib.",
    "_parquet.",
    "_fs.",
    "_compute.",
    "libarrow.",
    "libarrow_python.so.",
    "libarrow_compute.",
    "libarrow_dataset.",
    "libarrow_acero.",
    "libarrow_substrait.",
    "libparquet.",
)
_PYTHON = "3.13"
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# Amazon Linux 2023, on which the runtime stands, has glibc 2.34. pip wants every platform by name.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
_GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")


def main(artifacts: Path) -> None:
    """Put the bundle of the sources in the current folder into a folder.

    Every function has the same bundle, and the one that makes columns PyArrow besides: a bundle is made once for these
    sources, packages and platform, then copied.
    """
    architecture = architecture_of(Path("../template.yaml"))
    requirements = [_REQUIREMENTS, *([_OF_COLUMNS] if artifacts.name == _MAKES_COLUMNS else [])]
    bundles = artifacts.parent.parent / "bundles"
    bundle = bundles / f"{_key()}-{architecture}-{len(requirements)}"
    if not bundle.exists():
        bundles.mkdir(parents=True, exist_ok=True)
        for stale in set(bundles.glob("*-*")) - set(bundles.glob(f"{_key()}-*")):
            shutil.rmtree(stale, ignore_errors=True)
        # `sam sync` builds the functions side by side: each makes its own, and one of them stays.
        with tempfile.TemporaryDirectory(dir=bundles, ignore_cleanup_errors=True) as folder:
            unfinished = Path(folder) / "bundle"
            for file in requirements:
                install(unfinished, architecture, file)
            for package in _OURS:
                shutil.copytree(package, unfinished / package, ignore=shutil.ignore_patterns("__pycache__"))
            trim(unfinished)
            with contextlib.suppress(OSError):
                unfinished.rename(bundle)
    shutil.copytree(bundle, artifacts, dirs_exist_ok=True)


def architecture_of(template: Path) -> str:
    """Return the architecture that the template deploys; in SAM's build container that of the container.

    SAM tells a build neither the architecture nor the parameters, so the template says it in one place, as a constant.
    """
    if not template.exists():
        machines = {"aarch64": "arm64", "arm64": "arm64"}
        return machines.get(platform.machine(), "x86_64")
    found = re.findall(r"^ +Architectures: \[(\w+)\]", template.read_text(encoding="utf-8"), re.MULTILINE)
    if len(set(found)) != 1 or found[0] not in _MACHINES:
        raise SystemExit(f"template.yaml: expected Architectures: [x86_64] or [arm64] once, got {found}")
    return str(found[0])


def install(target: Path, architecture: str, requirements: str) -> None:
    """Install the locked, hashed wheels for Lambda's platform."""
    machine = _MACHINES[architecture]
    hashed = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", requirements]
    if shutil.which("uv"):
        where = ["--python-version", _PYTHON, "--python-platform", f"{machine}-manylinux_2_34"]
        command = ["uv", "pip", "install", "--quiet", "--link-mode", "copy", "--target", str(target), *where, *hashed]
    else:
        where = ["--implementation", "cp", "--python-version", _PYTHON]
        for glibc in _GLIBC:
            where += ["--platform", f"manylinux_{glibc}_{machine}"]
        where += ["--platform", f"manylinux2014_{machine}"]
        quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-compile"]
        command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target), *where, *hashed]
    if subprocess.run(command, check=False, env={**os.environ, "UV_NO_CONFIG": "1"}).returncode:  # noqa: S603
        raise SystemExit(f"bundle: {command[0]} could not install {requirements}; its message is above")


def trim(bundle: Path) -> None:
    """Trim a folder of installed packages in place, and compile it."""
    for name in _NOT_NEEDED:
        shutil.rmtree(bundle / name, ignore_errors=True)
    if (bundle / "pyarrow").exists():
        trim_arrow(bundle / "pyarrow")
    data = bundle / "botocore" / "data"
    for service in data.iterdir():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for packed in data.glob("**/*.json.gz"):
        model = json.loads(gzip.decompress(packed.read_bytes()))
        for part in {"shapes", "operations"} & set(model):  # botocore asks for what some others say
            model[part] = without_documentation(model[part])
        packed.with_suffix("").write_text(json.dumps(model, separators=(",", ":")))
        packed.unlink()
    for examples in data.glob("*/*/examples-1.json"):
        examples.unlink()
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {n: s for n, s in partition["services"].items() if n in SERVICES}
    # A new file, never the old one written over: an installer may have linked it from a cache that others share.
    (data / "endpoints.json").unlink()
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    # By hash and never checked: packaging changes the times that byte code is checked by otherwise.
    if not compileall.compile_dir(bundle, quiet=1, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH):
        raise SystemExit("bundle: a module does not compile")


def without_documentation(model: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a service's model without what it says to people: five sixths of the text that each new client parses."""
    if isinstance(model, dict):
        return {
            name: without_documentation(below)
            for name, below in model.items()
            if not (name == "documentation" and isinstance(below, str))
        }
    return [without_documentation(one) for one in model] if isinstance(model, list) else model


def trim_arrow(folder: Path) -> None:
    """Leave of PyArrow what reads rows and writes Parquet, and the libraries that it links."""
    for path in [*folder.iterdir()]:
        if path.is_dir():
            if path.name not in _ARROW_FOLDERS:
                shutil.rmtree(path)
        elif path.suffix in _ARROW_SOURCES or (".so" in path.name and not path.name.startswith(_ARROW_LIBRARIES)):
            path.unlink()


def _key() -> str:
    """Return what identifies everything that a bundle is made of."""
    digest = hashlib.sha256()
    for file in sorted(_sources()):
        digest.update(f"{file.as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    for name in _MADE_OF:
        below = Path(name).rglob("*") if Path(name).is_dir() else [Path(name)]
        yield from (file for file in below if file.is_file() and "__pycache__" not in file.parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
