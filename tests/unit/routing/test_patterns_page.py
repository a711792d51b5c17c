"""Every line of docs/patterns.md is true."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from routing.errors import Fault
from routing.fields import node_type
from routing.table.pattern import compile_pattern

PAGE = Path(__file__).parents[3] / "docs" / "patterns.md"
ROW = re.compile(r"\| (?P<rule>.+?) \| `(?P<pattern>\{.+?\})` \| `(?P<hit>\{.*?\})` \| `(?P<miss>\{.*?\})` \|")
ROWS = list(ROW.finditer(PAGE.read_text()))


def test_page_has_a_line_for_every_operator() -> None:
    patterns = "".join(row["pattern"] for row in ROWS)
    for operator in ("prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "$or"):
        assert f'"{operator}"' in patterns
    assert len(ROWS) == PAGE.read_text().count("\n| ") - 1


@pytest.mark.parametrize("row", ROWS, ids=[row["rule"] for row in ROWS])
def test_line_is_true(row: re.Match[str]) -> None:
    faults: list[Fault] = []
    pattern = compile_pattern(json.loads(row["pattern"]), "pattern", faults)
    assert pattern is not None, faults
    decode = msgspec.json.Decoder(node_type(pattern.paths)).decode
    assert pattern.matches(decode(row["hit"]))
    assert not pattern.matches(decode(row["miss"]))
