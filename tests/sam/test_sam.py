"""Every command of docs/sam.md, as printed, by a SAM CLI that finds nothing of ours: no Makefile, no uv, no settings.

The commands run in a copy of what is committed. Their only help is the emulator in the place of AWS, which the built
template has to name, and answers to SAM's questions.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.deployment import with_endpoint
from local.emulator import ROOT, Emulator, emulator
from local.sam_deploy import defaults

_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BRIDGE = "172.17.0.1"  # by which containers reach this machine


def commands() -> list[str]:
    """Return the commands of the page, in its order."""
    page = (ROOT / "docs" / "sam.md").read_text(encoding="utf-8")
    return [line for block in _BLOCK.findall(page) for line in block.splitlines() if line and not line.startswith("#")]


COMMANDS = commands()


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with emulator(_BRIDGE) as one:
        yield one


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
    archive = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"],  # noqa: S607
        cwd=ROOT,
        input=tracked,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive, check=True)  # noqa: S607
    return folder


@pytest.fixture(scope="module")
def stock(running: Emulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's environment: SAM CLI, our command as it is installed, a Python 3.13 and the system's programs."""
    programs = tmp_path_factory.mktemp("bin")
    python = Path(sys.executable).resolve()
    for name, program in {
        "sam": ROOT / ".venvs" / "sam" / "bin" / "sam",
        "ctr-fanout": ROOT / ".venv" / "bin" / "ctr-fanout",
        "python3.13": python,
    }.items():
        (programs / name).symlink_to(program)
    kept = {name: os.environ[name] for name in ("DOCKER_HOST", "SAM_SKIP_PULL_IMAGE", "HOME") if name in os.environ}
    of_aws = {name: value for name, value in running.environ.items() if name.startswith("AWS_")}
    path = os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
    return {**kept, **of_aws, "PATH": path, "SAM_CLI_TELEMETRY": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(command: str, folder: Path, environ: dict[str, str]) -> str:
    """Run a line in a shell and return all that it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],  # noqa: S607
        cwd=folder,
        env=environ,
        input=_answers(command),
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, f"{command}\n{printed[-3000:]}"
    assert "Traceback (most recent call last)" not in printed.partition("LAMBDA_RUNTIME Failed to get next")[0], command
    return printed


def _answers(command: str) -> str:
    """Take the default of every question, and agree to the last one."""
    if "--guided" not in command:
        return "y\n"
    asked = 8 + len(defaults())  # stack, Region, parameters, and six about how to deploy
    return "\n" * asked + "y\n"


def test_commands_of_the_page_run_one_after_the_other(checkout: Path, stock: dict[str, str], running: Emulator) -> None:
    """One test, since each command needs what those before it have made."""
    printed: dict[str, str] = {}
    offline = {name: value for name, value in stock.items() if not name.startswith("AWS_")} | {
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for number, command in enumerate(COMMANDS):
        has_aws = number >= COMMANDS.index("sam deploy --guided")
        if command == "sam deploy --guided":
            built = checkout / ".aws-sam" / "build" / "template.yaml"
            built.write_text(with_endpoint(built.read_text(), running.url))
        printed[command] = run(command, checkout, stock if has_aws else offline)
    local = [
        text for command, text in printed.items() if command.startswith("sam local invoke") and "env" not in command
    ]
    assert local
    for text in local:
        assert "LOCAL PREVIEW, nothing is delivered" in text
        assert '{"batchItemFailures": []}' in text
    (first,) = (text for command, text in printed.items() if "one-contact-record" in command)
    assert "departments/orders/contact_record/date=" in first
    (sample,) = (text for command, text in printed.items() if "generate-event" in command)
    assert "NotJson: not JSON at character 0 of 26" in sample
    (real,) = (text for command, text in printed.items() if "--env-vars" in command)
    assert "LOCAL PREVIEW" not in real
    bucket = "ctr-fanout-111122223333-ap-northeast-1"
    keys = [one["Key"] for one in running.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert any(key.startswith("workforce/agent-events/agent_event/") for key in keys)


@pytest.mark.parametrize("name", ["ReplayFunction", "GrantCheckFunction"])
def test_functions_that_need_aws_say_so_in_one_sentence(checkout: Path, stock: dict[str, str], name: str) -> None:
    offline = {name: value for name, value in stock.items() if not name.startswith("AWS_")} | {
        "AWS_DEFAULT_REGION": "ap-northeast-1"
    }
    run("sam build", checkout, offline)
    printed = run(f'echo \'{{"source": "dead-letters"}}\' | sam local invoke {name} -e -', checkout, offline)
    assert '{"error": "this function reads what is stored, so it needs AWS or the emulator' in printed
