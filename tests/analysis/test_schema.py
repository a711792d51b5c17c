"""The schema holds every sample, and a route's columns are what its rules leave."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aws.route_file import shipped_routes
from infrastructure.analysis.resources import analysis, column_tables, latest_views
from routing.lambda_event import event_of_documents
from routing.model import Kind
from routing.protection.paths import show_path
from routing.stages.decode import Decoder
from routing.table.routes import Route
from schema.columns import columns_of, fields_of, flat, misfits, paths_in
from schema.known_fields import is_known
from tests.builders import ROUTES, table

_SAMPLES = sorted(Path("events/records").glob("*.json"))
_KINDS = (Kind.CONTACT_RECORD, Kind.AGENT_EVENT, Kind.CONTACT_LENS_SEGMENT)


def kind_of(document: bytes) -> Kind:
    _, (record,) = Decoder(shipped_routes().paths).decode(event_of_documents([document]))
    assert isinstance(record.kind, Kind)
    return record.kind


@pytest.mark.parametrize(
    "path", [path for path in _SAMPLES if path.stem != "contact-event"], ids=lambda path: path.stem
)
def test_every_sample_of_connect_fits_the_schema(path: Path) -> None:
    document = path.read_bytes()
    assert list(misfits(json.loads(document), fields_of(kind_of(document)))) == []


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"Queue": "Orders"}, ".Queue: expected an object, got str"),
        ({"Queue": {"Duration": "7"}}, ".Queue.Duration: expected bigint, got str"),
        ({"Queue": {"Duration": True}}, ".Queue.Duration: expected bigint, got bool"),
        ({"Recordings": {}}, ".Recordings: expected an array, got dict"),
        ({"Recordings": [{"Location": 1}]}, ".Recordings[].Location: expected string, got int"),
        ({"Novelty": "x"}, ".Novelty: expected a declared field, got str"),
    ],
)
def test_what_does_not_fit_is_told_without_its_value(record: dict[str, Any], expected: str) -> None:
    assert list(misfits(record, fields_of(Kind.CONTACT_RECORD))) == [expected]


@pytest.mark.parametrize("kind", _KINDS)
def test_every_column_is_a_field_that_connect_is_known_to_send(kind: Kind) -> None:
    assert [show_path(path) for path in paths_in(fields_of(kind)) if not is_known(path, kind)] == []


def route_with(rules: str) -> Route:
    (route,) = [
        route
        for route in table(ROUTES.replace('prefix = "claims"\n', f'prefix = "claims"\n{rules}')).routes
        if route.name == "claims"
    ]
    return route


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ('[[routes.protect]]\nremove = ["Queue"]', ("Queue",), None),
        ('[[routes.protect]]\nremove = ["Queue.Name"]', ("Queue", "Name"), None),
        ('[[routes.protect]]\nmask = ["Queue.Duration"]\ntext = "*"', ("Queue", "Duration"), "string"),
        ('[[routes.protect]]\nhash = ["CustomerEndpoint.Address"]', ("CustomerEndpoint", "Address"), "string"),
        ('[[routes.protect]]\nseal = ["Attributes"]', ("Attributes",), None),
        ('[[routes.protect]]\nseal = ["Attributes"]', ("_sealed",), "string"),
        ('[[routes.protect]]\nkeep = ["ContactId"]', ("ContactId",), "string"),
        ('[[routes.protect]]\nkeep = ["ContactId"]', ("Channel",), None),
        ("", ("Queue", "Duration"), "bigint"),
    ],
)
def test_rules_of_a_route_shape_its_columns(rules: str, path: tuple[str, ...], expected: str | None) -> None:
    found: Any = columns_of(route_with(rules), Kind.CONTACT_RECORD)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    assert found == expected


def test_columns_are_flat_and_named_as_in_connects_data_lake() -> None:
    tree: Any = {
        "AgentARN": "string",
        "Queue": {"EnqueueTimestamp": "string", "Duration": "bigint"},
        "Tags": {"*": "string"},
    }
    shown = [(column.name, column.path, column.glue_type, column.athena_type) for column in flat(tree)]
    assert shown == [
        ("agent_arn", ("AgentARN",), "string", "varchar"),
        ("queue_enqueue_timestamp", ("Queue", "EnqueueTimestamp"), "string", "varchar"),
        ("queue_duration", ("Queue", "Duration"), "bigint", "bigint"),
        ("tags", ("Tags",), "string", "varchar"),
    ]


@pytest.mark.parametrize("kind", _KINDS)
def test_no_two_fields_have_one_column(kind: Kind) -> None:
    names = [column.name for column in flat(fields_of(kind))]
    assert len(names) == len(set(names))
    assert not {"record", "object", "day"} & set(names)


@pytest.mark.parametrize(
    ("rules", "kind", "shown"),
    [
        ('remove = ["*"]', Kind.CONTACT_RECORD, []),
        ('seal = ["*"]', Kind.CONTACT_RECORD, ["_sealed"]),
        ('seal = ["*"]', Kind.AGENT_EVENT, ["_sealed"]),
        ('remove = ["**.Content"]', Kind.OTHER, []),
        ('seal = ["**.Content"]', Kind.OTHER, ["_sealed"]),
    ],
)
def test_route_that_shows_no_field_of_a_kind_has_tables_all_the_same(rules: str, kind: Kind, shown: list[str]) -> None:
    (everything,) = re.findall(r'kinds = \["contact_record"\]\npattern.*\nprefix = "claims"\n', ROUTES)
    protected = f'kinds = ["{kind}"]\nprefix = "claims"\n[[routes.protect]]\n{rules}\n'
    routes = table(ROUTES.replace(everything, protected))
    assert list(columns_of(routes.routes[0], kind)) == shown
    made = {**analysis(routes), **column_tables(routes), **latest_views(routes)}
    stem = f"Claims{''.join(part.capitalize() for part in kind.split('_'))}"
    assert {f"{stem}{what}" for what in ("Lines", "Parquet", "Until")} <= made.keys()
