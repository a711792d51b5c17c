"""`make deploy`: `sam deploy` with every parameter written out.

SAM keeps the previous value of a parameter that is left out, and `--parameter-overrides` takes the place of the list
in samconfig.toml. So a reader whose line was deleted would stay admitted, and a mapping that was switched off would stay
off. Here a deployment says all: the template's defaults, the environment's list over them, what is given over both.

`python -m local.sam_deploy ENVIRONMENT [--region REGION] [--yes] [Name=Value ...]`
"""

import argparse
import difflib
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cfnlint.decode import decode

from local.deployment import SAM
from local.emulator import ROOT


class DeployError(Exception):
    """What was asked for does not exist, or is not written as a parameter is."""


def parameters_of(declared: Mapping[str, str], *layers: Iterable[str]) -> dict[str, str]:
    """Return the value of every parameter of the template.

    Args:
        declared: Their defaults.
        layers: Lists of `Name=Value`; a later one wins.

    Raises:
        DeployError: A name that the template does not have, or no `=`.
    """
    found = dict(declared)
    for layer in layers:
        for pair in layer:
            name, equals, value = pair.partition("=")
            if not equals:
                raise DeployError(f"{pair!r}: expected Name=Value")
            if name not in declared:
                near = difflib.get_close_matches(name, declared, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise DeployError(f"{name!r}: template.yaml has no such parameter{hint}")
            found[name] = value
    return found


def environments(config: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the environments that samconfig.toml can deploy to AWS."""
    return [name for name, table in config.items() if name != "local" and isinstance(table, dict) and "deploy" in table]


def overrides_of(config: Mapping[str, Mapping[str, object]], environment: str) -> list[str]:
    """Return the parameters of an environment.

    Raises:
        DeployError: samconfig.toml has no such environment.
    """
    known = environments(config)
    if environment not in known:
        raise DeployError(f"{environment!r}: expected an environment of samconfig.toml: {', '.join(known)}")
    table = config[environment]["deploy"]
    assert isinstance(table, dict)
    found = table["parameters"].get("parameter_overrides", [])
    return shlex.split(found) if isinstance(found, str) else list(found)


def quoted(parameters: Mapping[str, str]) -> list[str]:
    """Write parameters as SAM CLI reads them, empty ones and ones with blanks included."""
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    return [f'{name}="{value}"' for name, value in escaped.items()]


def defaults() -> dict[str, str]:
    """Return the defaults of template.yaml, as text."""
    template, _ = decode(str(ROOT / "template.yaml"))
    assert template is not None
    return {name: str(one.get("Default", "")) for name, one in template["Parameters"].items()}


def main(arguments: list[str]) -> int:
    """Deploy; return SAM's exit code."""
    parser = argparse.ArgumentParser(prog="make deploy", description="sam deploy with every parameter written out")
    parser.add_argument("environment")
    parser.add_argument("parameters", nargs="*", metavar="Name=Value")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION"), help="instead of that of samconfig.toml")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change set is executed")
    given = parser.parse_intermixed_args(arguments)
    config = tomllib.loads(Path(ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    declared = defaults()
    try:
        parameters = parameters_of(declared, overrides_of(config, given.environment), given.parameters)
    except DeployError as err:
        sys.stderr.write(f"{err}\n")
        return 2
    for name, value in parameters.items():
        if value != declared[name]:
            print(f"{name}={value}")  # noqa: T201
    command = [str(SAM), "deploy", "--config-env", given.environment, "--parameter-overrides", *quoted(parameters)]
    command += ["--region", given.region] if given.region else []
    command += ["--no-confirm-changeset"] if given.yes else []
    sys.stdout.flush()
    return subprocess.call(command, cwd=ROOT)  # noqa: S603 - our own pinned program


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
