"""The route table: what it refuses, all at once, and which routes a record takes."""

import pytest

from routing.errors import ConfigurationError
from routing.stages.decode import Decoder
from routing.table.reader import load_routes
from routing.table.routes import DEAD_LETTER_ROUTE, RouteTable, logical_id
from tests.builders import ROUTES, agent_event, claim, contact, event, segment, table

ROUTE = """
[[routes]]
name = "claims"
about = "x"
kinds = ["contact_record"]
prefix = "claims"
"""
UNMATCHED = """
[unmatched]
contact_record = "drop"
agent_event = "drop"
contact_lens_segment = "drop"
other = "drop"
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load_routes(text)
    assert str(raised.value) == "\n".join(f"routes.toml: {fault}" for fault in raised.value.faults)
    return [str(fault) for fault in raised.value.faults]


def routes_of(document: bytes, routes: RouteTable) -> set[str]:
    _, (record,) = Decoder(routes.paths).decode(event(document))
    return {route.name for route in routes.routes_for(record)}


BAD_TABLES = {
    "not TOML": ("routes = [", ["expected TOML: Invalid value (at end of document)"]),
    "empty": (
        "",
        ["routes: expected 1 to 16 routes, got 0", "unmatched: expected a table that is not empty, got nothing"],
    ),
    "routes is no array of tables": (
        "routes = 3" + UNMATCHED,
        ["routes: expected an array of tables, got int", "routes: expected 1 to 16 routes, got 0"],
    ),
    "unknown keys at every level": (
        "zip = 1"
        + ROUTE
        + 'zap = 1\n[[routes.examples]]\nsays="x"\ntakes=true\nzup=1\nrecord={a=1}'
        + UNMATCHED
        + "other2 = 1",
        [
            "route 'claims': examples[0].zup: expected one of kind, record, says, takes, got an unknown key",
            "route 'claims': zap: expected one of about, examples, kinds, name, on_key_denied, partition, pattern, "
            "prefix, protect, retain_days, got an unknown key",
            "unmatched.other2: expected one of agent_event, contact_lens_segment, contact_record, other, got an unknown key; "
            "did you mean other?",
            "zip: expected one of limits, retain_days, routes, unmatched, got an unknown key",
        ],
    ),
    "duplicate name": (
        ROUTE + ROUTE.replace('"claims"\n', '"claims"\n', 1).replace('prefix = "claims"', 'prefix = "b"') + UNMATCHED,
        [
            "route 'claims' of line 8: name: expected a name of its own, got one that resources of route 'claims' of line 2 have"
        ],
    ),
    "names with the same logical id": (
        ROUTE.replace('"claims"', '"claims1"')
        + ROUTE.replace('name = "claims"', 'name = "claims-1"').replace('prefix = "claims"', 'prefix = "b"')
        + UNMATCHED,
        ["route 'claims-1': name: expected a name of its own, got one that resources of route 'claims1' have"],
    ),
    "reserved name": (
        ROUTE.replace('"claims"', '"dead-letter"', 1) + UNMATCHED,
        [
            "route 'dead-letter': name: expected up to 32 lower-case letters, digits and hyphens, not reserved, "
            "got 'dead-letter': it is reserved"
        ],
    ),
    "a name in capitals": (
        ROUTE.replace('"claims"', '"Claims"', 1) + UNMATCHED,
        [
            "route 'Claims': name: expected up to 32 lower-case letters, digits and hyphens, not reserved, "
            "got 'Claims': 'C' is none of these"
        ],
    ),
    "a byte order mark": (
        "\ufeff" + ROUTE + UNMATCHED,
        ["expected TOML, got a byte order mark (BOM) before it; save the file as UTF-8 without one"],
    ),
    "one mistake is one fault, though an example depends on it": (
        ROUTE.replace('["contact_record"]', '"contact_record"')
        + '[[routes.examples]]\nsays="x"\ntakes=true\nrecord={a=1}'
        + UNMATCHED,
        [
            "route 'claims': kinds: expected an array of contact_record, agent_event, contact_lens_segment, other, got string"
        ],
    ),
    "a misspelt key of a mask": (
        ROUTE + '[[routes.protect]]\nmask = ["CustomerEndpoint.Address"]\nlst = 4' + UNMATCHED,
        [
            "route 'claims': protect[0].lst: expected one of email, first, last, mask, matching, text, got an unknown key; "
            "did you mean last?"
        ],
    ),
    "arrival in capitals": (
        ROUTE + 'partition = "Arrival"' + UNMATCHED,
        ["route 'claims': partition: expected 'arrival' in lower case, or a field, got 'Arrival'"],
    ),
    "objects that expire before the stream forgets their records": (
        ROUTE + "retain_days = 3" + UNMATCHED + '[retain_days]\ndead_letters = "90"\narchives = 90',
        [
            "route 'claims': retain_days: expected 15 to 36500 days, got 3: the stream keeps a record for 14 days by default, "
            "and a replay of it must find what was delivered",
            "retain_days.dead_letters: expected 15 to 36500 days, got string: the stream keeps a record for 14 days by default, "
            "and a replay of it must find what was delivered",
            "retain_days.archives: expected one of archive, dead_letters, on_failure, got an unknown key; did you mean archive?",
        ],
    ),
    "unsafe prefix": (
        ROUTE.replace('prefix = "claims"', 'prefix = "../claims/"') + UNMATCHED,
        ["route 'claims': prefix: expected names of a-z, 0-9, _ and - joined by single slashes, got '../claims/'"],
    ),
    "prefix inside another": (
        ROUTE + ROUTE.replace('"claims"', '"b"', 1).replace('prefix = "claims"', 'prefix = "claims/motor"') + UNMATCHED,
        [
            "route 'b': prefix: expected a prefix apart from all others, got 'claims/motor'; "
            "the prefix of route 'claims' contains it or is contained"
        ],
    ),
    "prefix around another": (
        ROUTE.replace('prefix = "claims"', 'prefix = "a/claims"')
        + ROUTE.replace('"claims"', '"b"', 1).replace('prefix = "claims"', 'prefix = "a"')
        + UNMATCHED,
        [
            "route 'b': prefix: expected a prefix apart from all others, got 'a'; "
            "the prefix of route 'claims' contains it or is contained"
        ],
    ),
    "same prefix": (
        ROUTE + ROUTE.replace('"claims"', '"b"', 1) + UNMATCHED,
        [
            "route 'b': prefix: expected a prefix apart from all others, got 'claims'; "
            "the prefix of route 'claims' contains it or is contained"
        ],
    ),
    "reserved prefix": (
        ROUTE.replace('prefix = "claims"', 'prefix = "aws/claims"') + UNMATCHED,
        [
            "route 'claims': prefix: expected a prefix apart from all others, got 'aws/claims'; "
            "reserved prefix 'aws' contains it or is contained"
        ],
    ),
    "wrong types": (
        '[[routes]]\nname = 3\nabout = ""\nkinds = "contact_record"\nprefix = []\npartition = 7\non_key_denied = "stop"'
        + UNMATCHED,
        [
            "route '#1': name: expected a non-empty string, got int",
            "route '#1': prefix: expected a non-empty string, got an empty array",
            "route '#1': kinds: expected an array of contact_record, agent_event, contact_lens_segment, other, got string",
            "route '#1': about: expected a non-empty string, got an empty string",
            "route '#1': partition: expected a non-empty string, got int",
            "route '#1': on_key_denied: expected one of dead_letter, block, got 'stop'",
            "route '': kinds: expected at least one kind, or the route's name under [unmatched]; it can take no record",
        ],
    ),
    "unknown and repeated kinds": (
        ROUTE.replace('["contact_record"]', '["call", "agent_event", "agent_event", 3]') + UNMATCHED,
        [
            "route 'claims': kinds[0]: expected one of contact_record, agent_event, contact_lens_segment, other, got 'call'",
            "route 'claims': kinds[2]: expected each once, got 'agent_event' twice",
            "route 'claims': kinds[3]: expected one of contact_record, agent_event, contact_lens_segment, other, got int",
        ],
    ),
    "a route that can take nothing": (
        ROUTE.replace('["contact_record"]', "[]") + UNMATCHED,
        [
            "route 'claims': kinds: expected at least one kind, or the route's name under [unmatched]; "
            "it can take no record"
        ],
    ),
    "a pattern that nobody asks": (
        ROUTE.replace('["contact_record"]', "[]")
        + "pattern = {a = [1]}"
        + UNMATCHED.replace('other = "drop"', 'other = "claims"'),
        ["route 'claims': pattern: expected no pattern without kinds; the unmatched policy asks none"],
    ),
    "pattern faults, two of them, and bad JSON": (
        ROUTE
        + "pattern = {a = [], b = {c = [{prefix = 1}]}}"
        + ROUTE.replace('"claims"', '"b"', 1).replace('prefix = "claims"', 'prefix = "b"')
        + "pattern = '{'"
        + UNMATCHED,
        [
            "route 'claims': pattern.a: expected a non-empty array of what is accepted, got an empty array",
            "route 'claims': pattern.b.c[0].prefix: expected a non-empty string, got int",
            "route 'b': pattern: expected a table or JSON text, got text that is not: Expecting property name "
            "enclosed in double quotes: line 1 column 2 (char 1)",
        ],
    ),
    "unmatched is incomplete and names no route": (
        ROUTE + '[unmatched]\ncontact_record = "nowhere"\nagent_event = "drop"\ncontact_lens_segment = "claims"\n',
        [
            "unmatched.contact_record: expected one of drop, claims, got 'nowhere'",
            "unmatched.other: expected a non-empty string, got nothing",
        ],
    ),
    "limits out of bounds": (
        ROUTE + UNMATCHED + "[limits]\nrecords = 0\nplain_bytes = 1.5\n",
        [
            "limits.records: expected a whole number from 1 to 10000, got 0",
            "limits.plain_bytes: expected a whole number from 1048576 to 67108864, got float",
        ],
    ),
    "numbers that no text can show": (
        ROUTE + f"retain_days = 0x{'f' * 5000}" + UNMATCHED + f"[limits]\nrecords = 0x{'f' * 5000}\n",
        [
            "route 'claims': retain_days: expected 15 to 36500 days, got a number that is much too large: the stream keeps a "
            "record for 14 days by default, and a replay of it must find what was delivered",
            "limits.records: expected a whole number from 1 to 10000, got a number that is much too large",
        ],
    ),
    "an example without what it needs": (
        ROUTE.replace('["contact_record"]', '["contact_record", "agent_event"]')
        + "[[routes.examples]]\nrecord = 3"
        + UNMATCHED,
        [
            "route 'claims': examples[0].kind: expected a non-empty string, got nothing",
            "route 'claims': examples[0].says: expected a non-empty string, got nothing",
            "route 'claims': examples[0].record: expected a table that is not empty, got int",
            "route 'claims': examples[0].takes: expected true or false, got nothing",
        ],
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES, ids=BAD_TABLES)
def test_bad_table_is_refused_with_every_fault_and_its_path(case: str) -> None:
    text, faults = BAD_TABLES[case]
    assert faults == faults_of(text)


def test_more_routes_than_policies_hold_are_refused() -> None:
    many = "".join(ROUTE.replace('"claims"', f'"r{i}"') for i in range(17))
    assert "routes: expected 1 to 16 routes, got 17" in faults_of(many + UNMATCHED)


def test_prefixes_that_only_begin_alike_are_apart() -> None:
    text = ROUTE + ROUTE.replace('"claims"', '"b"', 1).replace('prefix = "claims"', 'prefix = "claims-old"') + UNMATCHED
    assert [route.prefix for route in load_routes(text).routes] == ["claims", "claims-old"]


def test_pattern_may_be_json_where_null_is_needed() -> None:
    routes = load_routes(ROUTE + """pattern = '{"Agent": [null]}'""" + UNMATCHED)
    assert routes_of(contact(Agent=None), routes) == {"claims"}
    assert routes_of(contact(), routes) == set()


def test_record_takes_every_route_that_matches() -> None:
    assert routes_of(claim(), table()) == {"claims", "all"}
    assert routes_of(contact(), table()) == {"all"}
    assert routes_of(agent_event(), table()) == {"all"}
    assert routes_of(segment(), table()) == {"speech"}


def test_record_that_no_route_takes_goes_where_unmatched_says() -> None:
    routes = table(ROUTES.replace('kinds = ["contact_record", "agent_event"]', 'kinds = ["contact_record"]'))
    assert routes_of(agent_event(), routes) == {"rest"}
    assert routes_of(b"{}", routes) == set()


def test_unmatched_route_takes_nothing_that_another_route_takes() -> None:
    assert routes_of(contact(), table()) == {"all"}


def test_undecodable_record_takes_the_dead_letter_route_only() -> None:
    assert routes_of(b"poison", table()) == {DEAD_LETTER_ROUTE.name}


def test_a_kind_that_a_route_does_not_name_never_meets_its_pattern() -> None:
    routes = load_routes(ROUTE + 'pattern = {EventType = ["LOGIN"]}' + UNMATCHED)
    assert routes_of(agent_event(EventType="LOGIN"), routes) == set()


def test_table_names_every_field_that_has_to_be_decoded() -> None:
    assert {("Queue", "Name"), ("DisconnectTimestamp",)} == table().paths


def test_logical_ids_are_what_cloudformation_takes() -> None:
    assert logical_id("claims-japan-2") == "ClaimsJapan2"


def test_dead_letter_route_blocks_rather_than_lose_a_record() -> None:
    assert DEAD_LETTER_ROUTE.blocks_when_denied
