"""The doctor, as an operator runs it, on the stack that its own template has made."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack
from tests.e2e.test_denials import without

_COMMAND = Path(__file__).parents[2] / ".venv" / "bin" / "ctr-fanout"
# The emulator has no Connect, its mapping is off because our own event source takes its place, and nobody reads its mail.
_ALWAYS = {"InstanceNotGiven", "MappingDisabled", "AlarmsReachNobody"}


def examine(stack: Stack) -> tuple[int, list[str]]:
    """Return the exit code, and the findings' codes in order, without what the emulator always shows."""
    done = subprocess.run(
        [_COMMAND, "doctor", "--stack", "ctr-fanout", "--json", "--all"],
        env=stack.emulator.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [one for one in found if one["severity"] != "OK" and not one["seen"].startswith("connect:")]
    return done.returncode, [one["code"] for one in wrong if one["code"] not in _ALWAYS]


def test_deployed_stack_is_healthy_row_by_row(enforced: Stack) -> None:
    assert examine(enforced) == (2, [])


@pytest.mark.parametrize(
    ("where", "sid", "code"),
    [
        ("StreamConsumerPolicy", "DecryptTheStream", "StreamKeyRoleLacksDecrypt"),
        ("StreamKey", "ConsumersDecrypt", "StreamKeyPolicyDoesNotAdmit"),
        ("WriterPolicy1", "OrdersEncrypt", "GrantRoleLacksGenerateDataKey"),
        ("OrdersKey", "WritersEncrypt", "GrantPolicyDoesNotAdmit"),
        ("FunctionPolicy", "WriteCheckpoint", "GrantMissing"),
        ("OrdersKey", "ReadersDecrypt", "ReaderNotAdmitted"),
    ],
)
def test_grant_that_is_taken_away_is_the_first_finding(enforced: Stack, where: str, sid: str, code: str) -> None:
    with without(enforced, where, sid):
        exit_code, codes = examine(enforced)
    assert (exit_code, codes[0]) == (2, code)
