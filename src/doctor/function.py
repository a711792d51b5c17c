"""The functions of a stack and the mapping: do they run, as the stack declares them?"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aws.settings import OFF, key_variable
from doctor.account import Account, MissingError
from doctor.declared import Declared
from doctor.finding import Finding, fail, warn
from doctor.live_stack import LiveStack
from doctor.stream import Stream
from routing.table.routes import RouteTable, logical_id

_FUNCTIONS = ("FanOutFunction", "GrantCheckFunction", "ReplayFunction", "EraseFunction", "ConvertFunction")
_OF_ROUTES = ("FanOutFunction", "GrantCheckFunction")


def check_functions(account: Account, declared: Declared, table: RouteTable, digest: str) -> Iterator[Finding]:
    """Check each function: that it exists and can run, its routes, and whether it was changed by hand.

    Args:
        account: The account to examine.
        declared: The template of the stack.
        table: The routes that it should have.
        digest: The SHA-256 of their file.
    """
    live = declared.live
    for logical in _FUNCTIONS:
        function = live.resources.get(logical, logical)
        if logical not in _OF_ROUTES and logical not in live.resources:
            continue
        try:
            configuration = account.ask("lambda", "get_function_configuration", FunctionName=function)
            limit = account.ask("lambda", "get_function_concurrency", FunctionName=function)
        except MissingError:
            yield fail(
                "FunctionMissing", function, seen="the stack's function does not exist", expected="the function",
                cure="make deploy",
            )  # fmt: skip
            continue
        if limit is not None and limit.get("ReservedConcurrentExecutions") == 0:
            yield fail(
                "FunctionThrottled", function, seen="its reserved concurrency is 0: nothing calls it",
                expected="no reserved concurrency", cure=f"aws lambda delete-function-concurrency --function-name {function}",
            )  # fmt: skip
        if configuration is None:
            continue
        yield from _check_state(function, configuration)
        if logical in _OF_ROUTES:
            yield from _check_environment(declared, logical, function, configuration, table, digest)
        yield from _check_changed(declared, logical, function, configuration)


def check_mapping(account: Account, declared: Declared) -> Iterator[Finding]:
    """Check the event source mapping: one lane, the right function, nothing filtered, the right destination."""
    live = declared.live
    uuid, function = live.resources.get("StreamMapping", ""), live.resources.get("FanOutFunction", "")
    try:
        mapping = account.ask("lambda", "get_event_source_mapping", UUID=uuid)
    except MissingError:
        yield fail(
            "MappingMissing", uuid, seen="the stack's mapping does not exist: nothing calls the function",
            expected="the mapping", cure="delete it from the template, deploy, and deploy it again",
        )  # fmt: skip
        return
    if mapping is None:
        return
    update = f"aws lambda update-event-source-mapping --uuid {uuid}"
    if (mapping.get("ParallelizationFactor") or 1) > 1:
        yield fail(
            "MappingReadsInLanes", uuid, seen=f"ParallelizationFactor {mapping['ParallelizationFactor']}",
            expected="1: a watermark per shard is sound only if the shard is read in one lane",
            cure=f"{update} --parallelization-factor 1",
        )  # fmt: skip
    called = mapping.get("FunctionArn", "").split(":function:")[-1]
    if function and called != function:
        yield fail(
            "MappingCallsAnotherFunction", uuid, seen=f"the mapping calls {called}", expected=f"{function}, the newest version",
            cure=f"{update} --function-name {function}",
        )  # fmt: skip
    if filters := (mapping.get("FilterCriteria") or {}).get("Filters"):
        yield fail(
            "MappingFiltersRecords", uuid, seen=f"FilterCriteria with {len(filters)} filters: what they do not match is lost",
            expected="no filters: routes.toml decides", cure=f"{update} --filter-criteria '{{}}'",
        )  # fmt: skip
    bucket = f"arn:{account.partition}:s3:::{live.resources.get('Bucket', '')}"
    destination = (mapping.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination", "")
    if destination and destination != bucket:
        yield fail(
            "OnFailureElsewhere", uuid, seen=f"what Lambda gives up on goes to {destination}", expected=bucket,
            cure=f"{update} --destination-config '{json.dumps({'OnFailure': {'Destination': bucket}})}'",
        )  # fmt: skip
    yield from _check_other_mappings(account, uuid, function)


def stream_key(declared: Declared) -> str:
    """Return the key that the stack has for its stream: its own by id, or an existing one by ARN."""
    live = declared.live
    return live.resources.get("StreamKey") or live.parameters.get("ExistingStreamKeyArn", "")


def check_stream_key(declared: Declared, stream: Stream) -> Iterator[Finding]:
    """Check that the stream is encrypted with the key that the stack has for it."""
    wanted = stream_key(declared)
    if not wanted or stream.key is None:
        return  # reported as not encrypted, or as missing
    found = stream.key.arn
    if found.rpartition("/")[2] != wanted.rpartition("/")[2]:
        yield fail(
            "StreamUnderAnotherKey", stream.arn, seen=f"the stream is encrypted with {found}",
            expected=f"the key of the stack, {wanted}",
            cure=f"aws kinesis start-stream-encryption --stream-name {stream.arn.rpartition('/')[2]} "
                 f"--encryption-type KMS --key-id {wanted}",
        )  # fmt: skip


def _check_other_mappings(account: Account, uuid: str, function: str) -> Iterator[Finding]:
    listed = account.pages("lambda", "list_event_source_mappings", "EventSourceMappings") or []
    for one in listed:
        if one["UUID"] != uuid and one.get("FunctionArn", "").split(":function:")[-1] == function:
            yield fail(
                "SecondMapping", one["UUID"], seen=f"another mapping calls {function}, from {one.get('EventSourceArn')}",
                expected="the mapping of the stack only",
                cure=f"aws lambda delete-event-source-mapping --uuid {one['UUID']}",
            )  # fmt: skip


def _check_state(function: str, configuration: Mapping[str, Any]) -> Iterator[Finding]:
    state, update = configuration.get("State", "Active"), configuration.get("LastUpdateStatus", "Successful")
    if state in {"Failed", "ActiveNonInvocable"} or update == "Failed":
        reason = configuration.get("StateReasonCode") or configuration.get(
            "LastUpdateStatusReasonCode", "no reason given"
        )
        yield fail(
            "FunctionNotActive", function, seen=f"state {state}, last update {update}: {reason}", expected="Active, Successful",
            cure="make build, then make deploy; https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html",
        )  # fmt: skip


def _check_changed(
    declared: Declared, logical: str, function: str, configuration: Mapping[str, Any]
) -> Iterator[Finding]:
    properties = declared.properties(logical)
    if properties is None:
        return
    wanted = {name: str(value) for name, value in properties.get("Environment", {}).get("Variables", {}).items()}
    there = configuration.get("Environment", {}).get("Variables", {})
    # Keys and routes have findings of their own.
    odd = sorted(
        name
        for name in {*wanted, *there}
        if wanted.get(name, "") != there.get(name, "") and not name.startswith(("KEY_ARN_", "ROUTES_"))
    )
    changed = [f"variable {name}" for name in odd]
    changed += [
        f"{name} {configuration.get(name)}"
        for name in ("Handler", "Role")
        if properties.get(name) and properties[name] != configuration.get(name)
    ]
    if changed:
        yield fail(
            "FunctionChanged", function, seen=f"changed by hand: {', '.join(changed)}", expected="what the stack declares",
            cure=_restore(declared, logical, function),
        )  # fmt: skip


def _restore(declared: Declared, logical: str, function: str) -> str:
    """Return the command that gives a function its declared configuration again."""
    properties = declared.properties(logical)
    if properties is None:
        return "make deploy"
    variables = {name: str(value) for name, value in properties.get("Environment", {}).get("Variables", {}).items()}
    environment = json.dumps({"Variables": variables})
    return (
        f"aws lambda update-function-configuration --function-name {function} --handler {properties['Handler']} "
        f"--role {properties['Role']} --environment '{environment}'"
    )


def _check_environment(  # noqa: PLR0917 - one function of one stack
    declared: Declared,
    logical: str,
    function: str,
    configuration: Mapping[str, Any],
    table: RouteTable,
    digest: str,
) -> Iterator[Finding]:
    live, restore = declared.live, _restore(declared, logical, function)
    variables = configuration.get("Environment", {}).get("Variables", {})
    expected = {key_variable(name) for name in (*(route.name for route in table.all_routes), *table.protection_keys)}
    there = {name for name in variables if name.startswith("KEY_ARN_")}
    if expected != there:
        seen = [f"no {name}" for name in sorted(expected - there)] + [
            f"{name} too many" for name in sorted(there - expected)
        ]
        yield fail(
            "FunctionKnowsOtherRoutes", function, seen=", ".join(seen),
            expected="a key for each route of routes.toml, and no other",
            cure=f"after a change of routes: make template, then make deploy; after a change by hand: {restore}",
        )  # fmt: skip
    elif variables.get("ROUTES_SHA256") != digest:
        yield warn(
            "RoutesFileDiffers", function, seen="the function was deployed with another routes.toml than this one",
            expected="the same", cure=f"run the doctor from the commit that is deployed, or make deploy; after a change by hand: {restore}",
        )  # fmt: skip
    for name in sorted(expected & there):
        yield from _check_variable(live, function, name, variables[name], restore)
    if logical == "FanOutFunction" and variables.get("CHECKPOINT_TABLE") == OFF:
        yield warn(
            "CheckpointOff", function, seen="the checkpoint is off: records are delivered at least once",
            expected="Checkpoint=on, exactly once", cure='make deploy PARAMETERS="Checkpoint=on"',
        )  # fmt: skip


def _check_variable(live: LiveStack, function: str, name: str, value: str, restore: str) -> Iterator[Finding]:
    logical = logical_id(name.removeprefix("KEY_ARN_").lower().replace("_", "-")) + "Key"
    physical = live.resources.get(logical, "")
    if physical and value.rpartition("/")[2] != physical.rpartition("/")[2]:
        yield fail(
            "FunctionUsesAnotherKey", function, seen=f"{name} is {value}", expected=f"the stack's {logical}, {physical}",
            cure=restore,
        )  # fmt: skip
