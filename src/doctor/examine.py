"""The examination: from the instance, the stream or the stack along the chain, causes before consequences."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from doctor.account import Account, MissingError
from doctor.connect import CONTACT_RECORDS, Instance, check_connect, other_instances, read_instance
from doctor.consumers import check_consumers
from doctor.declared import Declared
from doctor.finding import Finding, Severity, fail, warn
from doctor.firehose import check_direct
from doctor.function import check_stream_key, stream_key
from doctor.live_stack import LiveStack
from doctor.stack import check_grants, check_resources, is_ours, read_stack
from doctor.stream import Stream, check_stream, read_stream
from routing.table.routes import RouteTable

_ORDER = {Severity.FAIL: 0, Severity.WARN: 1, Severity.UNKNOWN: 2, Severity.OK: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Where to begin.

    Attributes:
        stack: Name of a stack of ours.
        instance: Id or ARN of a Connect instance.
        stream: Name or ARN of a data stream.
    """

    stack: str = ""
    instance: str = ""
    stream: str = ""


def examine(account: Account, given: Given, table: RouteTable, digest: str) -> list[Finding]:
    """Check everything that can be reached from what is given.

    Args:
        account: The account to examine.
        given: Where to begin.
        table: The routes that a stack of ours should have.
        digest: The SHA-256 of the file that they stand in.

    Returns:
        Failures first, and within one severity along the chain, so that a cause comes before what it causes.
    """
    findings = [*_along_the_chain(account, given, table, digest), *account.unreadable]
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.severity])


def _along_the_chain(account: Account, given: Given, table: RouteTable, digest: str) -> Iterator[Finding]:
    live, found = yield from _read(account, given.stack, given.instance)
    ours = _arn(account, given.stream or (live.resources.get("Stream", "") if live else ""))
    if ours and ours.split(":")[3:5] != [account.region, account.identify()]:
        yield fail(
            "StreamElsewhere", ours, seen=f"it belongs to {' '.join(ours.split(':')[3:5])}",
            expected=f"a stream of {account.region} {account.identify()}, whose account this is",
            cure="give --region and --profile of the stream's account",
        )  # fmt: skip
        return
    if found is not None:
        yield from check_connect(found, ours, table if live else None)
    elif not given.instance:
        yield warn(
            "InstanceNotGiven", given.stack or given.stream, seen="no Connect instance to look at",
            expected="the whole chain from Connect on", cure="give --instance INSTANCE_ID",
        )  # fmt: skip
    declared = Declared(account, live) if live is not None else None
    streams = []
    instances = [*([found] if found else []), *(other_instances(account, ours, found) if ours else [])]
    for arn in [ours] if ours else found.streams() if found else []:
        stream = yield from _check_stream(account, arn, instances, declared)
        streams += [stream] if stream else []
    if declared is not None:
        yield from check_resources(account, declared, table, digest)
    for stream in streams:
        yield from check_consumers(account, stream)
    for delivery in found.deliveries() if found and not ours else []:
        yield from check_direct(account, delivery)
    if declared is not None:
        yield from check_grants(account, declared, table, frozenset(one.role for one in instances))


def _read(
    account: Account, stack: str, instance: str
) -> Generator[Finding, None, tuple[LiveStack | None, Instance | None]]:
    """Read the stack and the instance; what is missing becomes a finding."""
    live: LiveStack | None = None
    found: Instance | None = None
    if stack:
        try:
            live = read_stack(account, stack)
        except MissingError:
            yield fail(
                "StackMissing", stack, seen=f"no stack of that name in {account.region}", expected="a deployed stack",
                cure="make deploy, or give --region or another name",
            )  # fmt: skip
    if live is not None and (incomplete := list(is_ours(live))):
        yield from incomplete
        live = None
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


def _check_stream(
    account: Account, arn: str, instances: Sequence[Instance], declared: Declared | None
) -> Generator[Finding, None, Stream | None]:
    try:
        stream = read_stream(account, arn)
    except MissingError:
        kinds = [kind for instance in instances for kind in instance.kinds_to(arn)]
        sent = f"Connect sends to it: {', '.join(kinds)}" if kinds else "it was named"
        yield fail(
            "StreamMissing", arn, seen=f"the stream does not exist; {sent}", expected="a data stream",
            cure=f"create it, or associate another with {CONTACT_RECORDS}",
        )  # fmt: skip
        return None
    if stream is not None:
        if declared is not None:
            yield from check_stream_key(declared, stream)
        yield from check_stream(stream, account, instances, stream_key(declared) if declared else "KEY_ARN")
    return stream


def _arn(account: Account, stream: str) -> str | None:
    if not stream or stream.startswith("arn:"):
        return stream or None
    return f"arn:{account.partition}:kinesis:{account.region}:{account.identify()}:stream/{stream}"
