"""Which columns may tell their least and greatest values."""

import pytest

from aws.route_file import shipped_routes
from routing.model import Kind
from schema.columns import INTEGER, JSON, STRING, Column, columns_of, flat
from schema.statistics import told_by
from tests.builders import ROUTES, table

OPEN = table().routes[0]


@pytest.mark.parametrize(
    ("path", "of_type", "is_told"),
    [
        (("Queue", "Duration"), INTEGER, True),
        (("Queue", "Name"), STRING, True),
        (("Agent", "ConnectedToAgentTimestamp"), STRING, True),
        (("Agent", "Username"), STRING, False),
        (("Queue", "Duration"), JSON, False),
        (("Attributes", "phone"), INTEGER, False),  # what the widest preset protects, whatever its type
        (("CustomerEndpoint", "Address"), INTEGER, False),
    ],
)
def test_statistics_tell_numbers_times_and_what_queries_choose_by(
    path: tuple[str, ...], of_type: str, is_told: bool
) -> None:
    assert told_by(OPEN)(Column("column", path, of_type)) is is_told


def test_statistics_tell_nothing_that_the_rules_of_the_route_change() -> None:
    rules = '\n[[routes.protect]]\nremove = ["Queue"]\n[[routes.protect]]\nhash = ["ContactId"]\n'
    hiding = next(
        one for one in table(ROUTES.replace('prefix = "claims"\n', f'prefix = "claims"{rules}')).routes if one.rules
    )
    is_told = told_by(hiding)
    shown = [(("Queue", "Duration"), INTEGER), (("ContactId",), STRING), (("Channel",), STRING)]
    assert [is_told(Column("column", path, of_type)) for path, of_type in shown] == [False, False, True]


def test_no_column_of_any_shape_is_told_on_any_shipped_route() -> None:
    of_any_shape = [
        (column, told_by(route))
        for route in shipped_routes().routes
        for kind in Kind
        for column in flat(columns_of(route, kind))
        if column.type == JSON
    ]
    assert of_any_shape
    assert not [column.name for column, is_told in of_any_shape if is_told(column)]
