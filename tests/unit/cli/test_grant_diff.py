"""`ctr-fanout grants --diff`, in a clone where grants were changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Commit templates and routes as they are."""
    for name in ("template.yaml", "templates", "src"):
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "before"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def diff(clone: Path, revision: str = "HEAD") -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from cli.app import app; app()", "grants", "--diff", revision]
    done = subprocess.run(
        command,
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
    )
    return done.returncode, done.stdout, done.stderr


def test_nothing_differs_from_what_is_committed(clone: Path) -> None:
    assert diff(clone) == (0, "no grant differs from HEAD\n", "")


def test_changed_new_and_gone_statements_are_shown(clone: Path) -> None:
    template = clone / "template.yaml"
    text = template.read_text(encoding="utf-8")
    text = text.replace("Action: dynamodb:UpdateItem", 'Action: "dynamodb:*"', 1).replace(
        "Sid: DenySseCOnFailure", "Sid: DenySseC", 1
    )
    template.write_text(text, encoding="utf-8")
    code, shown, _ = diff(clone)
    assert code == 1
    assert "changed: FunctionPolicy, WriteCheckpoint" in shown
    assert '-  "Action": "dynamodb:UpdateItem"' in shown.replace("    -", "-").replace('- "', '-  "')
    assert "new: BucketPolicy, DenySseC" in shown
    assert "gone: BucketPolicy, DenySseCOnFailure" in shown


def test_condition_of_a_statement_is_part_of_it(clone: Path) -> None:
    template = clone / "template.yaml"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("- HasConnectServiceRole\n", "- HasConnectInstance\n"), encoding="utf-8")
    assert "changed: StreamKey, ConnectEncrypts" in diff(clone)[1]


def test_rows_of_a_new_route_are_shown(clone: Path) -> None:
    routes = clone / "src" / "routing" / "routes.toml"
    vip = """
[[routes]]
name = "vip"
about = "Contacts of important customers"
kinds = ["contact_record"]
prefix = "departments/vip"
pattern = { Attributes = { vip = ["yes"] } }
"""
    routes.write_text(routes.read_text(encoding="utf-8") + vip, encoding="utf-8")
    code, shown, _ = diff(clone)
    assert code == 1
    assert "new row: allow function: s3:PutObject on departments/vip/" in shown


def test_unknown_revision_is_one_sentence(clone: Path) -> None:
    code, shown, told = diff(clone, "no-such-revision")
    assert (code, shown) == (1, "")
    assert told.startswith("no-such-revision: expected a revision of this clone, got: ")
    assert len(told.splitlines()) == 1
