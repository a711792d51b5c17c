"""Recover: nothing is changed while the mapping may still deliver."""

import json
from io import BytesIO, StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cli.recover import run
from cli.stack_function import StackFunctionError
from tests.fakes import client_error


class Account:
    """A stack with a mapping in some state, and a replay function that notes what it is asked."""

    def __init__(self, state: str, *, left: str = "", has_stack: bool = True) -> None:
        self.state = state
        self.left = left
        self.has_stack = has_stack
        self.asked: list[dict[str, Any]] = []

    meta = SimpleNamespace(region_name="ap-northeast-1")

    def client(self, _service: str, **_: Any) -> Any:
        return self

    def describe_stack_resource(self, **asked: Any) -> Any:
        if not self.has_stack:
            raise client_error("ValidationError", "DescribeStackResource")
        return {"StackResourceDetail": {"PhysicalResourceId": f"id-of-{asked['LogicalResourceId']}"}}

    def get_event_source_mapping(self, **_: Any) -> Any:
        return {"State": self.state}

    def invoke(self, **asked: Any) -> Any:
        request = json.loads(asked["Payload"])
        self.asked.append(request)
        result = {"key": "shard", "route": "", "reason": "Restored", "records": 2, "blocked_by": self.left}
        done = {"results": [{**result, "to_come": 0, "waiting": 0}], "next": None}
        return {"Payload": BytesIO(json.dumps(done).encode())}


def recovered(account: Account, *, apply: bool) -> tuple[int, str]:
    text = StringIO()
    return run("ctr-fanout", account.client, Console(file=text, width=200), apply=apply), text.getvalue()


@pytest.mark.parametrize("state", ["Enabled", "Disabling", "Updating"])
def test_mapping_that_is_not_disabled_is_refused_with_what_to_do(state: str) -> None:
    account = Account(state)
    with pytest.raises(StackFunctionError, match=rf"expected it disabled, got {state}; .* --no-enabled, then wait 15"):
        recovered(account, apply=True)
    assert account.asked == []


def test_dry_run_changes_nothing_whatever_the_mapping_does() -> None:
    account = Account("Enabled")
    code, text = recovered(account, apply=False)
    assert (code, "nothing was changed" in text) == (0, True)
    assert [(one["source"], one["apply"]) for one in account.asked] == [("checkpoint", False)]


def test_rows_first_then_the_stream() -> None:
    account = Account("Disabled")
    code, text = recovered(account, apply=True)
    assert (code, "--uuid id-of-StreamMapping --enabled" in text) == (0, True)
    assert [(one["source"], one["apply"]) for one in account.asked] == [("checkpoint", True), ("stream", True)]
    assert account.asked[1]["is_settled"] is True


def test_shard_that_is_left_stops_before_the_stream() -> None:
    account = Account("Disabled", left="another invocation holds the shard")
    code, text = recovered(account, apply=True)
    assert (code, "another invocation holds the shard" in text) == (1, True)
    assert [one["source"] for one in account.asked] == ["checkpoint"]


def test_stack_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        StackFunctionError, match=r"^no stack 'ctr-fanout' in ap-northeast-1; give --stack or --region$"
    ):
        recovered(Account("Disabled", has_stack=False), apply=False)
