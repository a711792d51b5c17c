"""Every input that was ever of interest, through its target again: what the fuzzer found stays found."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

_CORPUS = Path(__file__).parent / "corpus"
_INPUTS = sorted(path for path in _CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", _INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input_is_read_or_refused(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in _INPUTS} == set(TARGETS)
