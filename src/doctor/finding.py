"""A finding: its severity, what was seen, what was expected, and the cure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad it is; the numbers are the exit codes that monitoring tools know.

    Source: https://nagios-plugins.org/doc/guidelines.html#AEN78
    """

    OK = 0
    WARN = 1
    FAIL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: FAIL: records do not flow, or reach who may not have them. WARN: they flow until something
            else happens. UNKNOWN: the doctor was not allowed to look.
        code: A stable name, e.g. `StreamKeyNotGranted`.
        subject: What it is about, an ARN or a name.
        seen: What is there.
        expected: What should be.
        cure: The statement or command that fixes it.
    """

    severity: Severity
    code: str
    subject: str
    seen: str
    expected: str = ""
    cure: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {**asdict(self), "severity": self.severity.name}


def ok(code: str, subject: str, seen: str) -> Finding:
    """Return a finding for a check that passed."""
    return Finding(severity=Severity.OK, code=code, subject=subject, seen=seen)


def warn(code: str, subject: str, *, seen: str, expected: str, cure: str) -> Finding:
    """Return a finding for something that will fail later."""
    return Finding(severity=Severity.WARN, code=code, subject=subject, seen=seen, expected=expected, cure=cure)


def fail(code: str, subject: str, *, seen: str, expected: str, cure: str) -> Finding:
    """Return a finding for something that fails now."""
    return Finding(severity=Severity.FAIL, code=code, subject=subject, seen=seen, expected=expected, cure=cure)


def unknown(code: str, subject: str, *, seen: str, cure: str) -> Finding:
    """Return a finding for something that could not be read."""
    return Finding(
        severity=Severity.UNKNOWN, code=code, subject=subject, seen=seen, expected="to be let look", cure=cure
    )


def worst(findings: list[Finding]) -> Severity:
    """Return the exit code: a failure counts more than what could not be seen."""
    severities = {finding.severity for finding in findings}
    return Severity.FAIL if Severity.FAIL in severities else max(severities, default=Severity.OK)


def statement(sid: str, principal: str, action: str | list[str], resource: str, **conditions: Mapping[str, Any]) -> str:
    """Write the statement that is missing, ready to be pasted; an empty principal is left out."""
    made: dict[str, Any] = {"Sid": sid, "Effect": "Allow"}
    if principal:
        made["Principal"] = {"Service" if principal.endswith(".amazonaws.com") else "AWS": principal}
    made |= {"Action": action, "Resource": resource}
    if conditions:
        made["Condition"] = conditions
    return json.dumps(made)
