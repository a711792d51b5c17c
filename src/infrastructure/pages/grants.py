"""The table of statements in docs/grants.md, from the templates as they are written."""

import re
from collections.abc import Iterator
from pathlib import Path

from grants.sentences import SENTENCES
from grants.written import Written, statements_of
from routing.table.routes import RouteTable, logical_id

TEMPLATES = ("template.yaml", "templates/monitoring.yaml", "templates/analysis.yaml", "templates/latest.yaml")
_WITHOUT_SID = {"attached to", "permission"}


def statement_table(table: RouteTable) -> Iterator[str]:
    """Yield the rows of a Markdown table: resource, statements, what they are for."""
    places: dict[str, list[str]] = {}
    for resource, sid in named_statements(table, [Path(name).read_text(encoding="utf-8") for name in TEMPLATES]):
        if resource not in places.setdefault(sid, []):
            places[sid].append(resource)
    yield "| statement | in | what it is for |"
    yield "|---|---|---|"
    for sid, sentence in SENTENCES.items():
        yield f"| `{sid}` | {', '.join(f'`{one}`' for one in places.get(sid, []))} | {sentence} |"


def named_statements(table: RouteTable, templates: list[str]) -> Iterator[tuple[str, str]]:
    """Yield resource and Sid of every statement that has one, names of routes replaced by `<Route>`."""
    stems = sorted((logical_id(route.name) for route in table.routes), key=len, reverse=True)
    for one in (one for template in templates for one in statements_of(template)):
        if not one.sid.isdecimal() and one.sid not in _WITHOUT_SID:
            yield _general(one, stems)


def _general(one: Written, stems: list[str]) -> tuple[str, str]:
    resource, sid = re.sub(r"\d+$", "<n>", one.resource), one.sid
    for stem in stems:
        resource = re.sub(rf"^{stem}(?=(Key|Seal|Reader|Query))", "<Route>", resource)
        sid = re.sub(rf"^{stem}(?=[A-Z])|(?<=DenyOtherKeysOf){stem}$", "<Route>", sid)
    return resource, sid
