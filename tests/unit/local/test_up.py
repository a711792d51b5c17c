"""`make up`, `make env` and `make down` where there is no stack, or only what looks like one."""

import json
import os
from pathlib import Path

import pytest

from local import up


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(up, "_STATE", tmp_path / "up.json")
    return tmp_path / "up.json"


@pytest.mark.parametrize("arguments", [["env"], ["traffic", "7"]])
def test_without_a_stack_a_shell_that_reads_the_output_gets_nothing(
    state: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert up.main(arguments) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no stack is running; make up starts one\n")
    assert not state.exists()


@pytest.mark.parametrize(
    "text", ["{", json.dumps({"url": "http://127.0.0.1:1"}), json.dumps({"pid": os.getpid(), "url": "x"})]
)
def test_what_another_process_or_a_broken_file_says_is_no_stack(
    state: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process of the third is this one: a signal would end the tests."""
    state.write_text(text)
    assert up.main(["stop"]) == 0
    assert capsys.readouterr().out == "no stack is running\n"


def test_command_that_does_not_exist_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert up.main(["traffic", "many"]) == 2
    assert "expected start, stop, env, or traffic" in capsys.readouterr().out
