"""What docs/deploy.md says of quotas: how much of what the templates have, with every option on."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_TYPE = re.compile(r"^ +Type: (AWS::\S+)$", re.MULTILINE)
# What is counted, and AWS's default quota of it.
_COUNTED = (
    ("KMS keys", ("AWS::KMS::Key",), "100,000 a Region"),
    ("CloudWatch alarms", ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"), "none; each is billed"),
    ("managed policies", ("AWS::IAM::ManagedPolicy",), "1,500 an account, 10 a role"),
    ("Athena workgroups", ("AWS::Athena::WorkGroup",), "1,000 a Region"),
    ("Lambda functions", ("AWS::Serverless::Function",), "none; 1,000 executions at once an account"),
    ("data streams", ("AWS::Kinesis::Stream",), "50 on demand an account"),
)


def quotas() -> str:
    """Return a table of what the shipped templates take of AWS's quotas."""
    files = [_ROOT / "template.yaml", *sorted((_ROOT / "templates").glob("*.yaml"))]
    types = [found for file in files for found in _TYPE.findall(file.read_text(encoding="utf-8"))]
    rows = ["| at most | with the shipped routes | AWS's default quota |", "|---|---|---|"]
    rows += [f"| {what} | {sum(map(types.count, counted))} | {quota} |" for what, counted, quota in _COUNTED]
    return "\n".join(rows) + "\n"
