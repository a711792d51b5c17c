"""What checkov finds in the expanded template is passed, or has a written reason; and no reason is left over."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_CHECKOV = _HERE.parents[1] / ".venvs" / "checkov" / "bin" / "checkov"


def test_every_failed_check_has_a_reason_and_every_reason_a_failed_check(
    resources: dict[str, Any], tmp_path: Path
) -> None:
    expanded = tmp_path / "expanded.json"
    expanded.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    done = subprocess.run(
        [_CHECKOV, "-f", expanded, "--framework", "cloudformation", "--compact", "--quiet", "-o", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 50, done.stderr[-500:]
    failed = {check["check_id"] for check in report["results"]["failed_checks"]}
    assert failed == set(tomllib.loads((_HERE / "checkov.toml").read_text()))
