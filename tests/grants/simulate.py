"""The policy engines, each in its own process: cases in, decisions out."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.grants.cases import Case, Cases
from tests.grants.mutants import Mutant

_HERE = Path(__file__).parent / "engine"
_VENVS = Path(__file__).parents[2] / ".venvs"
_NODE = _VENVS / "engine" / "bin" / "node"
_EMULATORS_PYTHON = _VENVS / "emulator" / "bin" / "python"


def decide(cases: Cases, mutants: Sequence[tuple[int, Mutant]] = ()) -> tuple[list[bool], list[int]]:
    """Decide all cases, and tell for each mutant of the policy at a place which case notices it, or -1."""
    asked = [
        {"place": place, "policy": mutant.policy, "concerned": _concerned(cases, place, mutant)}
        for place, mutant in mutants
    ]
    question = {"policies": cases.policies, "cases": [_case(cases, index) for index in range(len(cases.cases))]}
    half = (len(asked) + 1) // 2
    with ThreadPoolExecutor() as processes:
        parts = [asked[:half], asked[half:]] if asked else [[]]
        decided = list(processes.map(lambda part: _ask([_NODE, "decide.mjs"], {**question, "mutants": part}), parts))
    return decided[0]["decisions"], [noticed for part in decided for noticed in part["noticed"]]


def decide_by_emulator(cases: Cases) -> list[bool]:
    """Decide all cases by the second engine."""
    question = {"policies": cases.policies, "cases": [_case(cases, index) for index in range(len(cases.cases))]}
    decisions: list[bool] = _ask([_EMULATORS_PYTHON, "evaluate.py"], question)
    return decisions


def _ask(command: list[str | Path], question: dict[str, Any]) -> Any:
    answer = subprocess.run(command, cwd=_HERE, input=json.dumps(question), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout)


def _case(cases: Cases, index: int) -> dict[str, Any]:
    case = cases.cases[index]
    who = case.row.who
    # A session's ARN leaves the role's path out, and the engine knows the role by the session only.
    principal = who.role if "/aws-service-role/" in who.role else who.arn
    return {
        "principal": principal,
        "action": case.action,
        "resource": case.row.request.resource,
        "account": cases.deployed.stack.account,
        "identity": case.identity,
        "resourcePolicy": case.resource_policy,
        "besides": case.besides,
        "context": case.context,
    }


def _concerned(cases: Cases, place: int, mutant: Mutant) -> list[int]:
    """Return the cases that a mutant may change, those about what the statement speaks of first, the hinted before all."""
    text = json.dumps(mutant.statement)
    concerned = [
        index
        for index in cases.met_by[place]
        if mutant.role in {"", cases.cases[index].row.who.role}
        and mutant.concerns(cases.cases[index].action, cases.cases[index].row.request.resource)
    ]
    about = {index for index in concerned if f"/{cases.cases[index].row.request.on}" in text}
    hinted = {index for index in concerned if mutant.hint and _is_hinted(cases.cases[index], mutant.hint)}
    return sorted(concerned, key=lambda index: (index not in hinted, index not in about, index))


def _is_hinted(case: Case, hint: str) -> bool:
    return hint in {case.row.who.role, case.action, case.row.request.resource} or hint in case.row.request.how
