"""The wheel: on-call installs the command without the repository."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_UV = _ROOT / ".venvs" / "uv" / "bin" / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Of a copy: a build writes beside its sources.
    copy = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, copy)
    shutil.copytree(_ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    command: list[str | Path] = [_UV, "build", "--wheel", "--offline", "--quiet", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", copy / "dist", copy], check=True)
    (found,) = (copy / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it into an environment of its own, which finds our locked packages, and not our sources."""
    environment = tmp_path_factory.mktemp("tool") / "environment"
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [_UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel],
        check=True,
    )
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "ctr-fanout"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["routes", "check"], "analytics/contacts/"),
        (["routes", "presets"], "@aws-sensitive/1"),
        (["grants", "--for", "function", "--json"], '"decision": "allow"'),
        (["cost", "--records-per-second", "1"], "one Firehose per key"),
        (["doctor", "--help"], "Check a live account"),
        (["replay", "--help"], "dead-letters"),
        (["unseal", "--help"], "s3://<bucket>/<key>"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_installed_command_runs_anywhere(installed: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = subprocess.run(
        [installed, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, env={"COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_wheel_declares_what_its_sources_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        declared = set(re.findall(r"^Requires-Dist: ([\w.-]+)", archive.read(metadata).decode(), re.MULTILINE))
        sources = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    imported = {module for source in sources.values() for module in _imported(source)}
    distributions = packages_distributions()
    ours = {name.partition("/")[0] for name in sources}
    needed = {
        distributions[module][0].lower().replace("_", "-")
        for module in imported - ours - sys.stdlib_module_names
        if module != "cog" and not module.startswith("mypy_boto3")  # made by cogapp; for types only
    }
    assert needed - {"botocore", "attrs"} - {"pyarrow"} <= declared, (
        "these come with boto3 and the encryption SDK; PyArrow is of the function that makes columns, and of no command"
    )


def _imported(source: bytes) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
