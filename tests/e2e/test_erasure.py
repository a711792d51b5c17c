"""Erase on the deployed stack, where policies are enforced: the erase function's own grants suffice."""

import json
from io import StringIO

import pytest
from rich.console import Console

from cli.erase import FUNCTION, run
from cli.stack_function import StackFunctionError, function_of
from local.deployment import STACK
from routing.lambda_event import event_of_documents
from tests.builders import agent_event, contact
from tests.e2e.conftest import Stack

_GONE, _KEPT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
_CURE = "deploy with Erasure=on to have one"


def documents() -> list[bytes]:
    return [
        contact(ContactId=_GONE, Queue={"Name": "Orders JP"}, CustomerEndpoint={"Address": "+815550100"}),
        contact(ContactId=_KEPT, Queue={"Name": "Orders JP"}, CustomerEndpoint={"Address": "+815550101"}),
        agent_event(CurrentAgentSnapshot={"Contacts": [{"ContactId": _GONE}, {"ContactId": _KEPT}]}),
        b"\xff" + _GONE.encode(),
    ]


def erase(stack: Stack, *, apply: bool) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    text = StringIO()
    request = {"contact_ids": [_GONE], "apply": apply, "old_versions": True, "first_date": None, "last_date": None}
    ask = function_of(STACK, stack.client, FUNCTION, _CURE)
    return run(request, ask, Console(file=text, width=200), stack=STACK), text.getvalue()


def forget_versions(stack: Stack) -> None:
    """Delete the old versions that other tests have left: versions first, or one would stand again without its marker."""
    s3 = stack.emulator.client("s3")
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=stack.deployed.bucket))
    for kind in ("Versions", "DeleteMarkers"):
        for one in [one for page in pages for one in page.get(kind, [])]:
            s3.delete_object(Bucket=stack.deployed.bucket, Key=one["Key"], VersionId=one["VersionId"])


def test_contact_goes_from_every_prefix_and_nothing_else_does(enforced: Stack) -> None:
    forget_versions(enforced)
    enforced.deliver(event_of_documents(documents()))
    before = {found.key: found for found in enforced.objects()}
    expected = {"orders", "japan", "analytics", "workforce", "dead-letter"}
    assert {found.route for found in before.values()} == expected, sorted(before)
    code, text = erase(enforced, apply=False)
    assert code == 0, text
    assert {found.key: found for found in enforced.objects()} == before
    code, text = erase(enforced, apply=True)
    assert code == 0, text
    after = {found.key: found for found in enforced.objects()}
    assert {key: found.kms_key for key, found in after.items()} == {key: found.kms_key for key, found in before.items()}
    for key, found in after.items():
        kept = [line for line in before[key].lines if _GONE.encode() not in line]
        if found.route == "workforce":
            (line,) = found.lines
            assert json.loads(line)["CurrentAgentSnapshot"] == {"Contacts": [{"ContactId": _KEPT}]}
        else:
            assert list(found.lines) == kept
    assert erase(enforced, apply=True)[0] == 0
    assert {found.key: found for found in enforced.objects()} == after


def test_stack_without_an_erase_function_is_told(stack: Stack) -> None:
    with pytest.raises(StackFunctionError, match=r"has no EraseFunction; deploy with Erasure=on to have one"):
        function_of(STACK, stack.client, FUNCTION, _CURE)
