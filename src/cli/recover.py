"""The `recover` command: the checkpoint table after it was restored from a backup, or made anew.

The replay function makes the rows right and then delivers from the stream what is not stored, which moves the
watermarks to where the stream is. Meanwhile nothing else may deliver: the event source mapping has to be disabled.
"""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console

from cli.replay import Replay, function_of
from cli.replay import run as run_replay
from cli.stack_function import StackFunctionError, raise_missing

_MINUTES = 15


def run(stack: str, client: Callable[..., Any], console: Console, *, apply: bool) -> int:
    """Recover the rows, then replay the stream; return the exit code: 1 if something is left.

    Raises:
        StackFunctionError: The mapping is not disabled, or the stack has no replay function.
    """
    uuid, state = _mapping(stack, client)
    if apply and state != "Disabled":
        raise StackFunctionError(
            f"mapping {uuid}: expected it disabled, got {state}; aws lambda update-event-source-mapping --uuid {uuid} "
            f"--no-enabled, then wait {_MINUTES} minutes, until nothing that was under way can land"
        )
    ask = function_of(stack, client)
    code = run_replay(Replay({"source": "checkpoint", "apply": apply}), ask, console)
    if code == 0 and apply:
        code = run_replay(Replay({"source": "stream", "apply": True, "is_settled": True}), ask, console)
    if code == 0 and apply:
        console.print(
            f"the checkpoint is recovered; aws lambda update-event-source-mapping --uuid {uuid} --enabled",
            soft_wrap=True,
        )
    return code


def _mapping(stack: str, client: Callable[..., Any]) -> tuple[str, str]:
    try:
        resource = client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId="StreamMapping")
        uuid = str(resource["StackResourceDetail"]["PhysicalResourceId"])
        return uuid, str(client("lambda").get_event_source_mapping(UUID=uuid)["State"])
    except ClientError as err:
        raise_missing(err, stack, client, "StreamMapping")
        raise
