"""The rows of protection: who seals, who opens, and who makes tokens."""

from collections.abc import Iterator

from grants.principals import Principal, Principals
from grants.requests import Request, Requests
from grants.row import DEFAULT_KEY_POLICY, Row, Section
from grants.stack import Stack
from routing.table.routes import HASH_KEY, Route, RouteTable

_SEAL, _OPEN, _TOKEN = "kms:GenerateDataKey", "kms:Decrypt", "kms:GenerateMac"
_OTHER_USES = "kms:Encrypt kms:CreateGrant kms:ReEncryptFrom kms:ReEncryptTo"


def rows_of_protection(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the rows of the keys that rules need."""
    for route in table.routes:
        if route.seals:
            other = next(one for one in table.routes if one.name != route.name)
            yield from _sealing(stack, route, other)
    if table.hashes:
        yield from _tokens(stack, table.routes[0])


def _sealing(stack: Stack, route: Route, other: Route) -> Iterator[Row]:
    section, ask, who = Section(f"Route {route.name}"), Requests(stack), Principals(stack)
    key, mine = route.seal_key, {"stack": stack.name, "route": route.name}
    seal, opening = ask.sealed(_SEAL, key, **mine), ask.sealed(_OPEN, key, **mine)
    for writer in _writers(stack):
        bold, nothing = writer.given_everything(), writer.given_nothing()
        yield section.may(writer, seal, "takes the data keys that seal")
        yield section.may_not(writer, opening, "and opens nothing")
        yield section.may_not(bold, opening, "the sealing key never opens for who writes")
        yield section.may_not(bold, ask.sealed(_OTHER_USES, key, **mine), "and serves nothing else")
        yield section.may_not(nothing, seal, "two locks: the key policy alone admits no role")
        for request in _elsewhere(ask, _SEAL, stack, route, other):
            yield section.may_not(bold, request, "the sealing key serves messages of this stack and route")
            yield section.may_not(writer, request, "its own policy does not allow it either", DEFAULT_KEY_POLICY)
        rest = ask.sealed(f"{_OPEN} {_OTHER_USES}", key, **mine)
        yield section.may_not(writer, rest, "its own policy: nothing else", DEFAULT_KEY_POLICY)
        yield section.may_not(
            writer, ask.sealed(_SEAL, other.name, **mine), "its own policy: this key only", DEFAULT_KEY_POLICY
        )
    if stack.has_erasure:
        bold = who.erase.given_everything()
        yield section.may_not(bold, ask.sealed(f"{_SEAL} {_OPEN}", key, **mine), "erasing neither seals nor opens")
    for caller in (who.administrator, who.reader(route.name).given_everything()):
        yield section.may_not(caller, opening, "reading the prefix, or administering, opens nothing that is sealed")
        yield section.may_not(caller, seal, "nor seals")
    if stack.is_read(route.seal_key):
        yield from _sealed_readers(section, stack, route, other)


def _sealed_readers(section: Section, stack: Stack, route: Route, other: Route) -> Iterator[Row]:
    ask, who = Requests(stack), Principals(stack)
    key, mine = route.seal_key, {"stack": stack.name, "route": route.name}
    for caller in (who.sealed_reader(route), who.auditor):
        yield section.may(caller, ask.sealed(_OPEN, key, **mine), f"named by SealedReadersOf{route.name.title()}")
        for one in (caller, caller.given_everything()):
            for request in _elsewhere(ask, _OPEN, stack, route, other):
                yield section.may_not(one, request, "it opens messages of this stack and route only")
            rest = ask.sealed(f"{_SEAL} {_OTHER_USES}", key, **mine)
            yield section.may_not(one, rest, "who opens does not seal")
    reader = who.sealed_reader(route)
    opening = ask.sealed(_OPEN, key, **mine)
    yield section.may_not(reader.given_nothing(), opening, "two locks: the key policy alone admits no reader")
    for request in _elsewhere(ask, _OPEN, stack, route, other):
        yield section.may_not(reader, request, "its policy: messages of this stack and route", DEFAULT_KEY_POLICY)
    yield section.may_not(
        reader, ask.sealed(f"{_SEAL} {_OTHER_USES}", key, **mine), "its policy: it opens", DEFAULT_KEY_POLICY
    )
    yield section.may_not(
        reader, ask.sealed(_OPEN, other.name, **mine), "its policy: this key only", DEFAULT_KEY_POLICY
    )


def _elsewhere(ask: Requests, actions: str, stack: Stack, route: Route, other: Route) -> Iterator[Request]:
    key = route.seal_key
    yield ask.sealed(actions, key, stack=stack.name, route=other.name)
    yield ask.sealed(actions, key, stack="another-stack", route=route.name)
    yield ask.sealed(actions, key, stack=stack.name)
    yield ask.sealed(actions, key, route=route.name)
    yield ask.sealed(actions, key)


def _tokens(stack: Stack, first: Route) -> Iterator[Row]:
    section, ask, who = Section("Tokens"), Requests(stack), Principals(stack)
    token = ask.sealed(_TOKEN, HASH_KEY)
    rest = ask.sealed(f"kms:VerifyMac {_OPEN} {_SEAL} {_OTHER_USES}", HASH_KEY)
    for writer in [*_writers(stack), *([who.erase] if stack.has_erasure else [])]:
        yield section.may(writer, token, "makes the key of the tokens of a route, or of a group that routes join")
        yield section.may_not(writer, rest, "and nothing else", DEFAULT_KEY_POLICY)
        yield section.may_not(writer.given_everything(), rest, "the hash key serves nothing else")
        yield section.may_not(writer.given_nothing(), token, "two locks: the key policy alone admits no role")
        other = ask.sealed(_TOKEN, first.name)
        yield section.may_not(writer, other, "its own policy: this key only", DEFAULT_KEY_POLICY)
    for caller in (who.administrator, who.reader(first.name).given_everything(), who.auditor):
        yield section.may_not(caller, token, "who could make tokens could try every telephone number")


def _writers(stack: Stack) -> list[Principal]:
    who = Principals(stack)
    return [who.function, *([who.replay] if stack.has_replay else [])]
