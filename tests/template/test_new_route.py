"""Adding a route: routes.toml alone is edited by hand, `make template` does the rest, and everything follows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.translate import TEMPLATE

_ROOT = TEMPLATE.parent
_TEMPLATES = [
    "template.yaml",
    "templates/monitoring.yaml",
    "templates/analysis.yaml",
    "templates/latest.yaml",
    "templates/columns.yaml",
]
_VIP = """
[[routes]]
name = "vip"
about = "Contacts of our most loyal customers"
kinds = ["contact_record"]
pattern = { Attributes = { tier = ["gold", { prefix = "platinum" }] } }
prefix = "vip"

[[routes.examples]]
says = "a gold customer"
record = { Attributes = { tier = "gold" } }
takes = true

[[routes.examples]]
says = "anybody else"
record = { Attributes = { tier = "none" } }
takes = false
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the project, and add the route that the README adds; each test changes its own copy."""
    folder = tmp_path / "project"
    names = ["src", "templates", "local", "docs", "events", "benchmarks", "tests", ".github"]
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in names:
        shutil.copytree(_ROOT / name, folder / name, ignore=ignore)
    for name in ("template.yaml", "samconfig.toml", "pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(_ROOT / name, folder / name)
    table = folder / "src" / "routing" / "routes.toml"
    text = table.read_text(encoding="utf-8")
    before, mark, after = text.partition("# Where a record goes that no route takes")
    table.write_text(f"{before}{_VIP.lstrip()}\n{mark}{after}", encoding="utf-8")
    return folder


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"}
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environ, capture_output=True, text=True, check=False
    )


def command(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(copy, "-c", "from cli.app import app; app()", *arguments)


def test_route_of_the_readme_needs_no_other_file_edited_by_hand(copy: Path) -> None:
    assert _VIP.strip() in (_ROOT / "README.md").read_text(encoding="utf-8").replace("\n   ", "\n")
    checked = command(copy, "routes", "check")
    assert checked.returncode == 0, checked.stderr
    stale = command(copy, "template", "--check", "template.yaml")
    assert stale.returncode == 1, "a table without its blocks does not pass make check"
    cogged = [*_TEMPLATES, "README.md", "docs/grants.md", "docs/grants-rows.md", "docs/doctor.md", "docs/analysis.md"]
    made = command(copy, "template", *cogged)
    assert made.returncode == 0, made.stderr
    text = "".join((copy / name).read_text(encoding="utf-8") for name in _TEMPLATES)
    for name in (
        "VipKey:", "VipKeyAlias:", "ReadersOfVip:", "Sid: VipPut", "Sid: DenyOtherKeysOfVip", "KEY_ARN_VIP:", "VipGrantAlarm:",
        "VipFreshnessAlarm:", "VipWorkGroup:", "VipContactRecordLines:", "VipContactRecordLatestView:", "VipQueryPolicy:",
        "VipDestination:",
    ):  # fmt: skip
        assert name in text, name
    assert "Route vip" in (copy / "docs" / "grants-rows.md").read_text(encoding="utf-8")


def test_what_the_new_route_needs_is_proven_by_the_tests_as_they_are(copy: Path) -> None:
    """Those that read the template and the shipped table; nobody has told them of the new route."""
    command(copy, "template", *_TEMPLATES, "docs/grants.md", "docs/grants-rows.md", "docs/analysis.md")
    kinds = ["tests/template/test_template.py", "tests/watch", "tests/analysis/test_schema.py"]
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *kinds)
    assert done.returncode == 0, done.stdout[-3000:]


def test_record_of_the_new_route_goes_there(copy: Path, tmp_path: Path) -> None:
    record = tmp_path / "gold.json"
    contact = {"AWSContactTraceRecordFormatVersion": "1", "ContactId": "c-1", "Attributes": {"tier": "gold"}}
    record.write_text(json.dumps(contact))
    tried = command(copy, "routes", "try", str(record), "--json")
    assert tried.returncode == 0, tried.stderr
    assert "vip" in json.loads(tried.stdout)["routes"]
