"""`make invoke EVENT=...`: the built function by `sam local invoke`, judged by its payload.

SAM CLI exits with 0 whatever the function does, so the last line that it prints is what counts. The event
may be a whole Lambda event, a single record or JSON Lines. Without AWS in reach the function talks to an
emulator, which is deployed first, so that it finds its bucket, keys and table there.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from aws.route_file import shipped_routes
from local.deployment import SAM, DeploymentError, build, deploy, mend
from local.emulator import ROOT, Emulator, EmulatorError, emulator
from local.reconcile import delivered_objects
from routing.lambda_event import REGION, event_in

_IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"


class InvokeError(Exception):
    """The event cannot be read, or there is no container engine."""


def main(arguments: list[str]) -> int:
    """Invoke the function with one event after the other; return the exit code."""
    if not arguments:
        sys.stderr.write("usage: make invoke EVENT=events/lambda/mixed-kinds.json\n")
        return 2
    try:
        _check_files(arguments)
        bridge = _bridge()
        _say("1 of 3: build the Lambda bundle (sam build)")
        build()
        with emulator(bridge) as running:
            _say(
                "2 of 3: deploy template.yaml to an emulator, so that the function finds its bucket and keys: half a minute"
            )
            deployed = deploy(running)
            list(mend(running, deployed))
            _say("3 of 3: invoke the function in a container; the first time the image is pulled or built")
            failures = sum(_invoke(Path(name), running, deployed.function) for name in arguments)
            for found in delivered_objects(running, deployed, shipped_routes()):
                print(f"{len(found.lines):4} records  {found.key}")  # noqa: T201
    except (InvokeError, EmulatorError, DeploymentError) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    return int(failures > 0)


def _say(step: str) -> None:
    sys.stderr.write(f"{step}\n")


def _invoke(path: Path, running: Emulator, function: str) -> bool:
    """Invoke once; tell whether it failed."""
    event = event_in(path.read_bytes())[0]
    variables = running.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    with tempfile.TemporaryDirectory() as folder:
        event_file, variables_file = Path(folder, "event.json"), Path(folder, "variables.json")
        event_file.write_text(json.dumps(event))
        variables_file.write_text(json.dumps({"Parameters": {**variables, "AWS_ENDPOINT_URL": running.url}}))
        command = [str(SAM), "local", "invoke", "FanOutFunction", "--event", str(event_file), "--region", REGION]
        command += ["--env-vars", str(variables_file)]
        if _docker("image", "inspect", _IMAGE) is not None:
            command.append("--skip-pull-image")
        done = subprocess.run(  # noqa: S603 - our own pinned program
            command, cwd=ROOT, env=running.environ, capture_output=True, text=True, check=False
        )
    answer = _answer(done.stdout)
    print(f"{path}: {json.dumps(answer)}")  # noqa: T201
    if answer == {"batchItemFailures": []}:
        return False
    sys.stderr.write(done.stderr)
    return True


def _answer(stdout: str) -> Any:  # noqa: ANN401 - JSON
    """Return what the function answered; a time-out or a crash answers nothing."""
    lines = [line for line in stdout.splitlines() if line.strip()]
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return None


def _check_files(names: list[str]) -> None:
    for name in names:
        if not Path(name).is_file():
            raise InvokeError(f"{name}: expected a file, got none")


def _bridge() -> str:
    """Return the address by which containers reach this machine.

    Raises:
        InvokeError: No container engine answers.
    """
    address = _docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    if address is None:
        host = os.environ.get("DOCKER_HOST", "its default socket")
        raise InvokeError(
            f"no container engine answers at {host}; start Docker, or, as root on Debian:\n"
            '  eval "$(local/lambda-image.sh up)" && local/lambda-image.sh image   # `down` stops it'
        )
    return address or "172.17.0.1"  # an engine with its default network may not tell


def _docker(*arguments: str) -> str | None:
    """Ask the container engine; None if it does not answer or says no."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
