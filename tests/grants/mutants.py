"""Every way to take something out of a policy, or to let more in: a row of the matrix has to notice each."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from local.policies import Attached, Policy

type Statement = dict[str, Any]

_LISTS = ("Action", "Resource", "NotResource")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed policy.

    Attributes:
        what: Where and what, for messages.
        statement: The statement as it was.
        policy: The document as it is then.
    """

    what: str
    statement: Statement
    policy: Policy


def mutants(attached: Attached) -> Iterator[Mutant]:
    """Return every mutant of one policy."""
    for place, statement in enumerate(attached.document["Statement"]):
        where = f"{attached.name}.{statement.get('Sid', place)}"
        yield Mutant(f"{where}: removed", statement, _with(attached, place, None))
        changes = (*_without_conditions(statement), *_without_entries(statement), *_widened(attached, statement))
        for what, changed in changes:
            yield Mutant(f"{where}: {what}", statement, _with(attached, place, changed))


def detached(attached: Attached) -> Mutant:
    """Return what a policy is for a role that it is not attached to."""
    return Mutant(f"{attached.name}: detached", {}, {**attached.document, "Statement": []})


def _with(attached: Attached, place: int, statement: Statement | None) -> Policy:
    statements = list(attached.document["Statement"])
    statements[place : place + 1] = [] if statement is None else [statement]
    return {**attached.document, "Statement": statements}


def _without_conditions(statement: Statement) -> Iterator[tuple[str, Statement]]:
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            changed = deepcopy(statement)
            del changed["Condition"][operator][key]
            changed["Condition"] = {name: left for name, left in changed["Condition"].items() if left}
            yield f"without {operator} {key}", changed
            for value in values if isinstance(values, list) and len(values) > 1 else []:
                changed = deepcopy(statement)
                changed["Condition"][operator][key].remove(value)
                yield f"without {operator} {key} = {value}", changed


def _without_entries(statement: Statement) -> Iterator[tuple[str, Statement]]:
    for element in _LISTS:
        entries = statement.get(element)
        for entry in entries if isinstance(entries, list) and len(entries) > 1 else []:
            changed = deepcopy(statement)
            changed[element].remove(entry)
            yield f"without {element} {entry}", changed
    principal = statement.get("Principal")
    for kind, names in principal.items() if isinstance(principal, dict) else []:
        for name in names if isinstance(names, list) and len(names) > 1 else []:
            changed = deepcopy(statement)
            changed["Principal"][kind].remove(name)
            yield f"without Principal {name}", changed


def _widened(attached: Attached, statement: Statement) -> Iterator[tuple[str, Statement]]:
    """Let in more than was meant; a denial that denies more is noticed by what it breaks, not here."""
    if statement["Effect"] == "Deny":
        return
    resource = statement.get("Resource", "*")
    if resource != "*" and not attached.resource:
        yield "any Resource", {**statement, "Resource": "*"}
    elif isinstance(resource, str) and resource.endswith("/*"):  # a resource policy speaks of its own resource only
        yield "any Resource", {**statement, "Resource": f"{attached.resource}/*"}
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    yield "any Action", {**statement, "Action": f"{actions[0].partition(':')[0]}:*"}
    if attached.resource:
        yield "any Principal", {**statement, "Principal": "*"}
