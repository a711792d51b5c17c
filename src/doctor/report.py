"""Print findings: the worst first, each with its cure on lines of their own, ready to be copied."""

from collections import Counter

from rich.console import Console

from doctor.finding import Finding, Severity

_STYLES = {Severity.FAIL: "bold red", Severity.WARN: "yellow", Severity.UNKNOWN: "magenta", Severity.OK: "green"}


def show(findings: list[Finding], console: Console, *, with_ok: bool) -> None:
    """Print findings and a line that counts them."""
    for finding in findings:
        if finding.severity is Severity.OK and not with_ok:
            continue
        console.print(
            f"{finding.severity.name:7} {finding.code}  {finding.subject}",
            style=_STYLES[finding.severity],
            markup=False,
        )
        for label, text in (("seen", finding.seen), ("expected", finding.expected), ("cure", finding.cure)):
            if text:
                console.print(f"        {label}: {text}", markup=False)
    counts = Counter(finding.severity for finding in findings)
    console.print(", ".join(f"{counts[severity]} {severity.name}" for severity in _STYLES), markup=False)
