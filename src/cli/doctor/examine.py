"""The examination: from the instance, the stream or the stack along the chain, causes before consequences."""

from collections.abc import Generator, Iterator

from cli.doctor.account import Account, MissingError
from cli.doctor.connect import CONTACT_RECORDS, Instance, check_connect, read_instance
from cli.doctor.consumers import check_consumers
from cli.doctor.finding import Finding, Severity, fail, warn
from cli.doctor.stack import LiveStack, check_stack, read_stack
from cli.doctor.stream import check_stream, read_stream
from routing.routes import RouteTable

_ORDER = {Severity.FAIL: 0, Severity.WARN: 1, Severity.UNKNOWN: 2, Severity.OK: 3}


def examine(
    account: Account,
    table: RouteTable,
    *,
    stack: str | None = None,
    instance: str | None = None,
    stream: str | None = None,
) -> list[Finding]:
    """Check everything that can be reached from what is given.

    Args:
        account: Whose.
        table: The routes that a stack of ours should have.
        stack: Name of a stack of ours.
        instance: Id or ARN of a Connect instance.
        stream: Name or ARN of a data stream.

    Returns:
        Failures first, and within one severity along the chain, so that a cause comes before what it causes.
    """
    findings = [*_along_the_chain(account, table, stack, instance, stream), *account.unreadable]
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.severity])


def _along_the_chain(
    account: Account, table: RouteTable, stack: str | None, instance: str | None, stream: str | None
) -> Iterator[Finding]:
    live, found = yield from _read(account, stack, instance)
    ours = _arn(account, stream or (live.resources.get("Stream") if live else None))
    if found is not None:
        yield from check_connect(found, ours)
    elif instance is None:
        yield warn(
            "InstanceNotGiven", stack or stream or "", seen="no Connect instance to look at",
            expected="the whole chain from Connect on", cure="give --instance INSTANCE_ID",
        )  # fmt: skip
    for arn in [ours] if ours else found.streams() if found else []:
        yield from _check_stream(account, arn, found)
    if live is not None:
        yield from check_stack(account, live, table)


def _read(
    account: Account, stack: str | None, instance: str | None
) -> Generator[Finding, None, tuple[LiveStack | None, Instance | None]]:
    """Read the stack and the instance; what is missing is told."""
    live: LiveStack | None = None
    found: Instance | None = None
    if stack is not None:
        try:
            live = read_stack(account, stack)
        except MissingError:
            yield fail(
                "StackMissing", stack, seen=f"no stack of that name in {account.region}", expected="a deployed stack",
                cure="make deploy, or give --region or another name",
            )  # fmt: skip
    wanted = instance or (live.parameters.get("ConnectInstanceArn") if live else None)
    if wanted:
        try:
            found = read_instance(account, wanted)
        except MissingError:
            yield fail(
                "InstanceMissing", wanted, seen=f"no such instance in {account.region}", expected="a Connect instance",
                cure="aws connect list-instances",
            )  # fmt: skip
    return live, found


def _check_stream(account: Account, arn: str, instance: Instance | None) -> Iterator[Finding]:
    try:
        stream = read_stream(account, arn)
    except MissingError:
        sent = f"Connect sends to it: {', '.join(instance.kinds_to(arn))}" if instance else "it was named"
        yield fail(
            "StreamMissing", arn, seen=f"the stream does not exist; {sent}", expected="a data stream",
            cure=f"create it, or associate another with {CONTACT_RECORDS}",
        )  # fmt: skip
        return
    if stream is not None:
        yield from check_stream(stream, account, instance)
        yield from check_consumers(account, stream)


def _arn(account: Account, stream: str | None) -> str | None:
    if not stream or stream.startswith("arn:"):
        return stream
    return f"arn:aws:kinesis:{account.region}:{account.identify()}:stream/{stream}"
