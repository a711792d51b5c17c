"""The keys of a stack: do they exist, are they usable, and whom do they admit?"""

from collections.abc import Iterator
from contextlib import suppress

from doctor.account import Account, Key, MissingError
from doctor.declared import Declared, admitted
from doctor.finding import Finding, fail
from doctor.live_stack import LiveStack
from doctor.stream import check_key_state, check_rotation
from grants.stack import ALARM_KEY, ARCHIVE_KEY, RESULTS_KEY, STREAM_KEY
from routing.table.routes import HASH_KEY, SEAL_SUFFIX, RouteTable, logical_id


def key_names(table: RouteTable) -> tuple[str, ...]:
    """Return the names of all keys that a stack may have."""
    of_routes = (*(route.name for route in table.all_routes), *table.protection_keys)
    return (*of_routes, ARCHIVE_KEY, STREAM_KEY, ALARM_KEY, RESULTS_KEY)


def read_keys(account: Account, live: LiveStack, names: tuple[str, ...]) -> dict[str, Key]:
    """Return the keys of a stack that are there and may be read, by name."""
    found: dict[str, Key] = {}
    for name in names:
        with suppress(MissingError):
            key = _key(account, live, name)
            if key is not None:
                found[name] = key
    return found


def check_keys(account: Account, live: LiveStack, names: tuple[str, ...]) -> Iterator[Finding]:
    """Check that every key exists, is enabled and rotates."""
    for name in names:
        try:
            key = _key(account, live, name)
        except MissingError:
            yield fail(
                "KeyMissing", _key_id(live, name), seen="the key does not exist any more", expected=f"the key of {name}",
                cure="what it encrypted cannot be read again; deploy a new one by renaming the route",
            )  # fmt: skip
            continue
        if key is not None and name not in {STREAM_KEY, ARCHIVE_KEY}:  # reported with the stream and with Firehose
            yield from check_key_state(key, "RouteKey", f"route {name}")
            if name != HASH_KEY:  # KMS rotates no HMAC key
                yield from check_rotation(account, key, f"route {name}")


def check_users(declared: Declared, name: str, key: Key, others: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Compare whom a key admits, by its policy or by a grant, with what the stack declares.

    Args:
        declared: The template of the stack.
        name: Of the key.
        key: The key as it is.
        others: Roles that may use it besides: those of other Connect instances that send to the stream.
    """
    live = declared.live
    parameter = {
        STREAM_KEY: "ConnectServiceRoleArn", ARCHIVE_KEY: "ReadersOfArchive",
    }.get(name, f"{'Sealed' * name.endswith(SEAL_SUFFIX)}ReadersOf{logical_id(name.removesuffix(SEAL_SUFFIX))}")  # fmt: skip
    logical = f"{logical_id(name)}Key"
    policy, restore = declared.policy(logical), declared.restore(logical)
    wanted = {one.strip() for one in live.parameters.get(parameter, "").split(",")} - {""}
    named = admitted(key.policy or {"Statement": []})
    known = wanted | others | set(admitted(policy) if policy else ())
    expected = f"those in {parameter}, and the roles of the stack" if wanted else "the roles of the stack only"
    for user in sorted(set(named) - known) if key.policy is not None and policy is not None else []:
        yield fail(
            "UnexpectedReader", key.arn, seen=f"the key of {name} admits {user}, by the statement {named[user]!r}",
            expected=expected, cure=f"{restore}; then see in CloudTrail who called PutKeyPolicy",
        )  # fmt: skip
    for user in (
        sorted(wanted - set(named)) if key.policy is not None and name != STREAM_KEY else []
    ):  # the stream tells
        yield fail(
            "ReaderNotAdmitted", key.arn, seen=f"the key of {name} does not name {user}", expected=f"all of {parameter}",
            cure=restore,
        )  # fmt: skip
    for grant in key.grants or []:
        if grant.get("GranteePrincipal") not in wanted | others:
            yield fail(
                "UnexpectedGrant", key.arn, expected="no grant beside the template",
                seen=f"a grant on the key of {name} lets {grant.get('GranteePrincipal')} {', '.join(grant['Operations'])}",
                cure=f"aws kms revoke-grant --key-id {key.arn} --grant-id {grant['GrantId']}",
            )  # fmt: skip


def _key(account: Account, live: LiveStack, name: str) -> Key | None:
    """Read a key of a stack; None if the stack has none of that name, or if it may not be read."""
    key_id = _key_id(live, name)
    return account.key(key_id) if key_id else None


def _key_id(live: LiveStack, name: str) -> str:
    existing = live.parameters.get("ExistingStreamKeyArn", "") if name == STREAM_KEY else ""
    return live.resources.get(f"{logical_id(name)}Key", "") or existing
