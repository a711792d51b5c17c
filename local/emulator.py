"""The emulator: ministack, pinned, in a process and environment of its own.

Source: https://pypi.org/project/ministack/ (the version is in uv.lock)
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from routing.lambda_event import ACCOUNT, REGION

ROOT = Path(__file__).parent.parent
_PROGRAMS = ROOT / ".venvs" / "emulator" / "bin"
_ENFORCING = ROOT / "local" / "enforcing.py"
_SUPERVISE = ROOT / "local" / "supervise.py"
_SECONDS_TO_START = 300  # a busy machine
_SECONDS_BETWEEN_LOOKS = 0.01


class EmulatorError(Exception):
    """The emulator is not installed or does not come up."""


class Emulator:
    """A running emulator: its address, and clients for it."""

    def __init__(self, host: str, port: int) -> None:
        """Know where it listens."""
        self.host = host
        self.port = port
        self.pid = 0
        self.url = f"http://{host}:{port}"

    def workers(self) -> list[int]:
        """Return the ids of the processes that run functions: the emulator's children."""
        return _children(self.pid)

    def kill_workers(self) -> None:
        """Kill the processes that run functions, and wait until they are dead, or the next call would meet them."""
        workers = self.workers()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        while any(_is_alive(worker) for worker in workers):
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which any AWS SDK or command reaches it, and nothing of the user's own account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }

    def client(self, service: str, *, role: str = "", through: str = "", read_timeout: float = 150) -> Any:  # noqa: ANN401
        """Make a boto3 client; the time-out is longer than the function's.

        Args:
            service: e.g. `s3`.
            role: The ARN of a role to call as; by default the account's root, whom nothing is refused.
            through: The ARN of the role that takes it; by default the root.
            read_timeout: Seconds.
        """
        make: Any = boto3.client  # typed by literals, one for each service
        credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        if role:
            session = self.client("sts", role=through).assume_role(RoleArn=role, RoleSessionName="local")["Credentials"]
            credentials = {
                "aws_access_key_id": session["AccessKeyId"],
                "aws_secret_access_key": session["SecretAccessKey"],
                "aws_session_token": session["SessionToken"],
            }
        return make(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            **credentials,
            config=Config(read_timeout=read_timeout, retries={"total_max_attempts": 1}, max_pool_connections=32),
        )


@contextmanager
def emulator(host: str = "127.0.0.1", *, is_enforcing: bool = False) -> Iterator[Emulator]:
    """Run an emulator on a free port, empty, and stop it with everything it has started.

    Args:
        host: The address to listen on; containers do not reach 127.0.0.1.
        is_enforcing: True to refuse what the policies do not allow (local/enforcing.py).

    Raises:
        EmulatorError: It is not installed, or does not answer within five minutes.
    """
    program = _PROGRAMS / "ministack"
    if not program.exists():
        raise EmulatorError(f"{program.relative_to(ROOT)} is missing; run `make setup`")
    command: list[str | Path] = [sys.executable, _SUPERVISE]
    command += [_PROGRAMS / "python", _ENFORCING] if is_enforcing else [program]
    with tempfile.TemporaryDirectory(prefix="ctr-fanout-", ignore_cleanup_errors=True) as folder:
        running = Emulator(host, _free_port(host))
        log = Path(folder) / "emulator.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own pinned program
                command,
                env=_environment(running, folder) | {"AUTH": str(is_enforcing).lower()},
                stdin=subprocess.PIPE,  # closes when this process ends, however it does
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_healthy(running, process, log)
            (running.pid,) = _children(process.pid)
            yield running
        finally:
            _stop(process)


def _environment(running: Emulator, folder: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINISTACK_"))}
    return kept | {
        "GATEWAY_PORT": str(running.port),
        "BIND_HOST": running.host,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "HOME": folder,
        "TMPDIR": folder,
        # The function's own output; the emulator's interpreter runs the handler.
        "PYTHONUNBUFFERED": "1",
    }


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(running: Emulator, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmulatorError(f"ministack stopped with code {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{running.url}/_ministack/health", timeout=1):  # noqa: S310 - http, ours
                return
        except OSError:
            time.sleep(0.05)
    raise EmulatorError(f"ministack does not answer after {_SECONDS_TO_START} s:\n{log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the emulator and, as its process group, the workers that run the function."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
