"""docs/doctor.md shows what the doctor says: each sample is printed by it, in the account of these tests."""

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from doctor.examine import Given
from doctor.report import show
from tests.doctor.conftest import examine_all
from tests.doctor.test_doctor import classic_trap, firehose_may_not_decrypt
from tests.doctor.world import INSTANCE, World

_PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def healthy(world: World) -> None:
    """Break nothing."""


@pytest.mark.parametrize(
    ("code", "breaking"),
    [
        ("FAIL    StreamKeyNotGranted", classic_trap),
        ("FAIL    StreamKeyRoleLacksDecrypt", firehose_may_not_decrypt),
        ("OK      ContactRecordsStreamed", healthy),
    ],
)
def test_sample_of_the_page_is_what_is_printed(world: World, code: str, breaking: Callable[[World], None]) -> None:
    breaking(world)
    text = StringIO()
    findings = examine_all(world, Given(instance=INSTANCE))
    show(findings, Console(file=text, soft_wrap=True, highlight=False, width=100), with_ok=breaking is healthy)
    printed = re.sub(r"key/[0-9a-f-]{36}", "key/KEY", text.getvalue()).splitlines()
    blocks = re.findall(r"```\n((?:FAIL|OK) .*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (sample,) = [block.splitlines() for block in blocks if block.startswith(code)]
    assert [line for line in sample if line not in printed] == []
    assert findings[0].code in code or breaking is healthy
