"""The grant matrix holds on the template's policies, and notices whatever is taken out of them."""

import json
from collections import Counter

import pytest

from aws.route_file import shipped_routes
from grants.policy import Answer
from routing.table.routes import logical_id
from tests.grants.cases import Cases
from tests.grants.mutants import Statement, detached, mutants
from tests.grants.proof import decide_by_doctor
from tests.grants.simulate import decide, decide_by_emulator

SETTINGS = ("everything", "an existing stream key", "nothing optional")


def wrong(cases: Cases, decisions: list[bool]) -> list[str]:
    """Describe the cases that were decided otherwise than their row says."""
    return [
        f"{case.row.section}: {case.row.who.label}, {case.action} on {case.row.request.on} ({case.row.request.how}) "
        f"{case.row.assuming}: expected {'allow' if case.row.is_allowed else 'deny'}"
        for case, decision in zip(cases.cases, decisions, strict=True)
        if decision != case.row.is_allowed
    ]


def statements(cases: Cases) -> list[tuple[str, Statement]]:
    return [(attached.name, statement) for attached in cases.attached for statement in attached.document["Statement"]]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_row_is_decided_as_it_says(every_setting: dict[str, Cases], setting: str) -> None:
    cases = every_setting[setting]
    decisions, _ = decide(cases)
    assert wrong(cases, decisions) == []


@pytest.mark.parametrize("setting", SETTINGS)
def test_second_engine_agrees_on_every_row(every_setting: dict[str, Cases], setting: str) -> None:
    cases = every_setting[setting]
    assert wrong(cases, decide_by_emulator(cases)) == []


@pytest.mark.parametrize("setting", SETTINGS)
def test_whatever_is_taken_out_of_a_policy_or_let_in_is_noticed(every_setting: dict[str, Cases], setting: str) -> None:
    """Statements, conditions, entries of lists, attachments; and any resource, any action, any principal."""
    cases = every_setting[setting]
    known = [] if setting == "everything" else statements(every_setting["everything"])
    made = [
        (place, mutant)
        for place, attached in enumerate(cases.attached)
        for mutant in mutants(attached, cases.outsiders, cases.writers)
        if (attached.name, mutant.statement) not in known
    ]
    _, noticed = decide(cases, made)
    survivors = [mutant.what for (_, mutant), case in zip(made, noticed, strict=True) if case < 0]
    assert survivors == []


def test_a_policy_that_is_not_attached_to_one_of_its_roles_is_noticed(every_setting: dict[str, Cases]) -> None:
    cases = every_setting["everything"]
    made = [
        (place, detached(attached, role)) for place, attached in enumerate(cases.attached) for role in attached.roles
    ]
    assert len(made) > 6
    _, noticed = decide(cases, made)
    assert [mutant.what for (_, mutant), case in zip(made, noticed, strict=True) if case < 0] == []


def test_matrix_is_as_large_as_what_it_speaks_of(every_setting: dict[str, Cases]) -> None:
    rows = {id(case.row): case.row for case in every_setting["everything"].cases}.values()
    sections = Counter(row.section for row in rows)
    of_routes = {section: count for section, count in sections.items() if section.startswith("Route ")}
    assert set(of_routes) == {f"Route {route.name}" for route in shipped_routes().routes}
    assert min(of_routes.values()) >= 12
    assert sum(sections.values()) - sum(of_routes.values()) >= 60


def test_no_wildcard_but_where_aws_has_nothing_narrower(every_setting: dict[str, Cases]) -> None:
    """In a key policy `*` is the key itself; wild actions are denials; traces and lists of names have no resource."""
    wild = {
        (attached.name, statement["Sid"])
        for attached in every_setting["everything"].attached
        for statement in attached.document["Statement"]
        if "*" in json.dumps(statement.get("Action", statement.get("NotAction")))
        or (statement.get("Resource") == "*" and not attached.name.endswith("Key"))
    }
    denials = {f"DenyOther{what}" for what in ("Buckets", "Keys", "Services", "Streams", "Tables")}
    assert wild == {
        ("BucketPolicy", "DenyInsecureTransport"),
        ("TracingPolicy", "WriteTraces"),
        *(("DenyOutsidePolicy", sid) for sid in denials),
        *((f"{logical_id(route.name)}QueryPolicy", "ListWorkGroups") for route in shipped_routes().routes),
    }


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_doctors_evaluator_agrees_on_every_row(every_setting: dict[str, Cases], setting: str) -> None:
    cases = every_setting[setting]
    answers = [decide_by_doctor(cases, case) for case in cases.cases]
    assert Answer.MAYBE not in answers
    assert wrong(cases, [answer is Answer.YES for answer in answers]) == []
