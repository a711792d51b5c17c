"""No value of a record can reach a log or an error: who may write, and what messages may be made of."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_SRC = Path(__file__).parents[2] / "src"
FILES = sorted(
    path
    for folder in ("routing", "aws", "operations", "handlers")
    for path in (_SRC / folder).rglob("*.py")
    if path.name != "__init__.py"
)
# What holds a record, or a part of one, by the names that the code gives it.
_VALUES = {
    "body", "changed", "contact", "data", "document", "documents", "entries", "event", "fields", "kept", "line", "lines",
    "message", "payload", "piece", "pieces", "plain", "raw", "record", "records", "seen", "shown", "source", "text", "token",
    "value", "whole",
}  # fmt: skip
_MEASURES = {"len", "type"}
# These read configuration or a request of the operator's, never a record.
_OF_CONFIGURATION = {
    "masks.py", "operators.py", "partition.py", "paths.py", "pattern.py", "reader.py", "request.py", "rule_reader.py",
    "settings.py", "toml_reader.py",
}  # fmt: skip


def named(node: ast.AST) -> Iterator[str]:
    """Yield the names of values in an expression, but for what is only measured: `len(raw)`, `type(value)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MEASURES:
        return
    if isinstance(node, ast.Name) and node.id in _VALUES:
        yield node.id
    if isinstance(node, ast.Attribute) and node.attr in _VALUES:
        yield node.attr
    for below in ast.iter_child_nodes(node):
        yield from named(below)


def leaks(tree: ast.AST) -> Iterator[str]:
    """Yield what is put into a message: of an exception that is raised, or of a logger's call."""
    for node in ast.walk(tree):
        messages: list[ast.expr] = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            messages = [*node.exc.args, *(keyword.value for keyword in node.exc.keywords)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "_logger" in ast.dump(node.func):
            messages = [*node.args, *(keyword.value for keyword in node.keywords)]
        for message in messages:
            for part in ast.walk(message):
                if isinstance(part, ast.FormattedValue):
                    yield from (f"line {part.lineno}: {name}" for name in named(part.value))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_messages_hold_measures_and_never_a_value(path: Path) -> None:
    if path.name not in _OF_CONFIGURATION:
        assert list(leaks(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_telemetry_writes_logs_and_nobody_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printed = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    # What `sam local invoke` shows of a sample, on a machine without AWS; tests/unit/handlers/test_preview.py holds it there.
    assert printed == [] or path.name == "preview.py"
    if path.name != "telemetry.py":
        assert "ogger" not in path.read_text().replace("loggers of the SDK", "")


def test_the_check_sees_a_leak() -> None:
    for code in (
        'raise RecordError(f"got {data}")',
        'raise RecordError(reason, f"got {record.data!r}")',
        'raise ValueError(f"{str(raw)} of {len(raw)}")',
        'self._logger.info(f"{line}")',
    ):
        assert list(leaks(ast.parse(code))), code
    for code in ('raise RecordError(f"got {len(data)} bytes")', 'raise ValueError(f"got {type(value).__name__}")'):
        assert not list(leaks(ast.parse(code))), code
