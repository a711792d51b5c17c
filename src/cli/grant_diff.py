"""`ctr-fanout grants --diff`: the statements and rows that differ between a revision and the working tree."""

import difflib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from aws.route_file import shipped_routes
from grants.matrix import matrix
from grants.row import Row
from grants.stack import example_stack
from grants.written import Written, changes, statements_of
from routing.errors import ConfigurationError
from routing.table.reader import load_routes
from routing.table.routes import RouteTable

_TEMPLATES = ("template.yaml", "templates/monitoring.yaml", "templates/analysis.yaml", "templates/latest.yaml")
_ROUTES = "src/routing/routes.toml"


class RevisionError(Exception):
    """A revision cannot be compared; the message says why."""


def differences(revision: str) -> Iterator[str]:
    """Yield what differs, line by line; nothing if all grants are the same.

    Raises:
        RevisionError: There is no such revision, or this is no clone.
    """
    old = [one for name in _TEMPLATES for one in statements_of(_shown(revision, name) or "{}")]
    new = [one for name in _TEMPLATES for one in statements_of(Path(name).read_text(encoding="utf-8"))]
    for kind, one, before in changes(old, new):
        yield f"{kind}: {one.resource}, {one.sid}"
        yield from (f"    {line}" for line in _body(one, before))
    text = _shown(revision, _ROUTES)
    try:
        earlier = load_routes(text, f"{revision}:{_ROUTES}") if text else None
    except ConfigurationError as err:
        yield f"rows: not compared, since {err.source} is not valid for this version"
        return
    yield from _rows(earlier, shipped_routes())


def _body(one: Written, before: Written | None) -> Iterator[str]:
    lines = json.dumps(json.loads(one.text), indent=1).splitlines()
    if before is None:
        yield one.text
        return
    earlier = json.dumps(json.loads(before.text), indent=1).splitlines()
    for line in list(difflib.unified_diff(earlier, lines, lineterm="", n=0))[2:]:
        if not line.startswith("@@"):
            yield line


def _rows(old: RouteTable | None, new: RouteTable) -> Iterator[str]:
    before = set(_described(old)) if old is not None else set[str]()
    after = dict.fromkeys(_described(new))
    yield from (f"new row: {one}" for one in after if one not in before)
    yield from (f"row gone: {one}" for one in sorted(before) if one not in after)


def _described(table: RouteTable) -> Iterator[str]:
    """Yield what is allowed, and what is denied by a row of its own; the closed world denies the rest."""
    for row in matrix(table, example_stack(table)):
        if row.section != "Nothing else":
            yield _line(row)


def _line(row: Row) -> str:
    verdict = "allow" if row.is_allowed else "deny"
    how = "; ".join(part for part in (row.request.how, f"if: {row.assuming}" if row.assuming else "") if part)
    return (
        f"{verdict} {row.who.label}: {', '.join(row.request.actions)} on {row.request.on}{f' ({how})' if how else ''}"
    )


def _shown(revision: str, name: str) -> str | None:
    """Return a file of a revision; None if it did not exist then."""
    command = ["git", "show", f"{revision}:{name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a revision, no shell
    except FileNotFoundError:
        raise RevisionError("expected git, to read another revision") from None
    if done.returncode == 0:
        return done.stdout
    if "does not exist" in done.stderr or "exists on disk, but not in" in done.stderr:
        return None
    raise RevisionError(
        f"{revision}: expected a revision of this clone, got: {(done.stderr.strip().splitlines() or ['no answer'])[0]}"
    )
