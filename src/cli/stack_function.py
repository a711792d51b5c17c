"""The functions of a stack that commands ask: a request in, one slice of the work out."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

type Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""One slice: a request -> what was done, with `next`: where the next slice begins, None after the last."""


class StackFunctionError(Exception):
    """The function cannot be asked, or refuses the request."""


def raise_missing(err: ClientError, stack: str, client: Callable[..., Any], wanted: str = "") -> None:
    """Raise what an answer of CloudFormation means, if it is that something does not exist.

    Raises:
        StackFunctionError: The stack does not exist, or has not what is wanted.
    """
    if err.response["Error"]["Code"] not in {"ValidationError", "StackNotFoundException"}:
        return
    if wanted and "Resource" in str(err.response["Error"].get("Message", "")):
        raise StackFunctionError(f"stack {stack!r} has no {wanted}") from None
    region = client("cloudformation").meta.region_name
    raise StackFunctionError(f"no stack {stack!r} in {region}; give --stack or --region") from None


def name_of(stack: str, client: Callable[..., Any], logical_id: str, cure: str) -> str:
    """Return the name of a function of a stack.

    Args:
        stack: Its name.
        client: Makes boto3 clients.
        logical_id: The function's, in the template.
        cure: How to have one, if the stack has none.

    Raises:
        StackFunctionError: The stack has none.
    """
    try:
        resource = client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    except ClientError as err:
        raise_missing(err, stack, client, f"{logical_id}; {cure}")
        raise
    return str(resource["StackResourceDetail"]["PhysicalResourceId"])


def function_if_any(stack: str, client: Callable[..., Any], logical_id: str) -> Ask | None:
    """Return what asks a function of a stack; None if the stack has none."""
    try:
        return function_of(stack, client, logical_id, "")
    except StackFunctionError:
        return None


def function_of(stack: str, client: Callable[..., Any], logical_id: str, cure: str) -> Ask:
    """Return what asks a function of a stack; the arguments are those of `name_of`.

    Raises:
        StackFunctionError: The stack has none.
    """
    name = name_of(stack, client, logical_id, cure)
    # The function may take a quarter of an hour; asked again by the SDK, two would run at once.
    functions = client("lambda", config=Config(read_timeout=910, retries={"total_max_attempts": 1}))

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(request))
        payload: Any = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise StackFunctionError(str(payload.get("errorMessage", "the function failed; see its log")))
        done: Mapping[str, Any] = payload
        return done

    return ask
