"""What operators do, on the deployed stack: the status screen, and every command of the runbook."""

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli.app import app
from cli.status import look
from local.connect import ConnectStandIn
from local.deployment import STACK
from local.event_source import EventSource
from local.metrics import of_logs
from local.people import CONNECT
from tests.e2e import aws_cli
from tests.e2e.conftest import Stack
from tests.e2e.test_denials import nothing

_COUNT = 150
# What the emulator lacks, or refuses where AWS would not: told, not hidden.
_NOT_HERE = {
    "aws kinesis update-shard-count": "a stream of two shards cannot become four at once here",
}


def commands() -> list[str]:
    text = Path("docs/runbook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return list(dict.fromkeys(line for block in blocks for line in block.splitlines() if line))


def deliver(stack: Stack) -> None:
    stack.sent = ConnectStandIn(stack.emulator, stack.deployed.stream, seed=5, role=CONNECT).send(_COUNT, nothing)
    EventSource(stack.emulator.client, stack.deployed.mapping).drain()


def ctr_fanout(stack: Stack, *arguments: str) -> Any:
    return CliRunner(env=stack.emulator.environ).invoke(app, arguments)


def test_status_shows_what_stands(stack: Stack) -> None:
    before = of_logs(stack.emulator, stack.deployed).points
    deliver(stack)
    counted = of_logs(stack.emulator, stack.deployed)
    counted.points = [point for point in counted.points if point not in before]
    counted.put(stack.emulator)
    status = look(STACK, stack.client, stack.table, 60)
    standing = Counter[str]()
    for found in stack.objects():
        standing[found.route] += len(found.lines)
    delivered = {route: numbers["records"] or 0 for route, numbers in status.routes.items() if route != "dead-letter"}
    assert delivered == {route: standing[route] for route in delivered}
    assert status.routes["dead-letter"]["dead letters"] == standing["dead-letter"]  # type: ignore[index]
    assert any("dead letters" in alarm for alarm in status.alarms), "the emulator's CloudWatch evaluates alarms"
    shown = ctr_fanout(stack, "status")
    assert shown.exit_code == 1
    assert "ALARM ctr-fanout dead letters" in shown.output
    assert json.loads(ctr_fanout(stack, "status", "--json").output)["isWell"] is False


def test_status_of_no_stack_is_told(stack: Stack) -> None:
    shown = ctr_fanout(stack, "status", "--stack", "another")
    assert shown.exit_code == 1
    assert "no stack 'another' in ap-northeast-1; give --stack or --region" in shown.output


def test_every_command_of_the_runbook_runs(enforced: Stack) -> None:
    deliver(enforced)
    kms, key = enforced.emulator.client("kms"), enforced.deployed.key_id("orders")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    ran = []
    try:
        for command in commands():
            if command.startswith("aws "):
                _run_aws(enforced, command.replace("KEY_ID", key))
            else:
                done = ctr_fanout(enforced, *shlex.split(command)[1:])
                assert done.exception is None or isinstance(done.exception, SystemExit), command
                assert "Usage:" not in done.output, f"{command}: {done.output}"
            ran.append(command.split()[0])
    finally:
        kms.enable_key(KeyId=key)
    assert Counter(ran)["aws"] > 8
    assert Counter(ran)["ctr-fanout"] > 8
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled", "the cures have cured"


def _run_aws(stack: Stack, command: str) -> None:
    try:
        aws_cli.run(command, stack.client)
    except ClientError:
        if not any(command.startswith(known) for known in _NOT_HERE):
            raise


def test_command_with_a_slip_is_noticed(enforced: Stack) -> None:
    with pytest.raises(KeyError):
        aws_cli.run("aws kms describe-key --key alias/ctr-fanout/orders", enforced.client)
