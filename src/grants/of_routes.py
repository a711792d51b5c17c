"""The rows of one route: its writers, its readers, and everybody else."""

from collections.abc import Iterator

from grants.bindings import bindings, readers_locks
from grants.principals import Principals
from grants.requests import Requests
from grants.row import Row, Section
from grants.stack import Stack, top
from routing.table.routes import Route


def rows_of_route(stack: Stack, route: Route, other: Route) -> Iterator[Row]:
    """Return the rows of a route.

    Args:
        stack: The stack whose grants are described.
        route: The route.
        other: Another one, of which it must not see anything.
    """
    section, ask, who = Section(f"Route {route.name}"), Requests(stack), Principals(stack)
    key, prefix, function = route.name, top(route), who.function
    encrypt, decrypt = ask.via_s3("kms:GenerateDataKey", key, prefix), ask.via_s3("kms:Decrypt", key, prefix)
    yield section.may(function, ask.put(prefix, key), "delivers")
    yield section.may(function, ask.put(prefix, key, write="replaces"), "and puts again what a retry cuts anew")
    yield section.may(function, encrypt, "under the route's key")
    yield section.may(function, ask.objects("s3:GetObject", prefix), "sees the ETag of what is there")
    yield section.may_not(function, decrypt, "and not the content: so it can copy nothing either")
    yield section.may_not(function.given_everything(), decrypt, "the key never decrypts for the function")
    yield from bindings(section, stack, key, prefix, other)
    if stack.has_replay:
        yield section.may(who.replay, ask.put(prefix, key), "puts a dead letter to its place")
        yield section.may(who.replay, encrypt, "under the route's key")
        yield section.may(who.replay, ask.names(prefix), "lists names to find what is already delivered")
        yield section.may(who.replay, ask.objects("s3:GetObject", prefix), "sees the ETag of what is there")
        yield section.may_not(who.replay, decrypt, "and reads nothing delivered")
        yield section.may_not(who.replay.given_everything(), decrypt, "the key does not decrypt for it")
    yield section.may_not(who.administrator, decrypt, "administrators fetch what they cannot open")
    if stack.is_read(route.name):
        yield from _readers(section, stack, route, other)


def _readers(section: Section, stack: Stack, route: Route, other: Route) -> Iterator[Row]:
    ask, who = Requests(stack), Principals(stack)
    key, prefix, reader = route.name, top(route), who.reader(route.name)
    for caller in (reader, who.auditor):
        yield section.may(caller, ask.objects("s3:GetObject", prefix), "named by the route's parameter")
        yield section.may(caller, ask.via_s3("kms:Decrypt", key, prefix), "and by its key")
        yield section.may(caller, ask.names(prefix), "finds the objects")
    for caller in (reader, who.auditor, reader.given_everything()):
        yield section.may_not(
            caller, ask.direct_for("kms:Decrypt", key, prefix), "the key serves readers through S3 only"
        )
        yield section.may_not(caller, ask.via_s3("kms:Decrypt", key, other.prefix), "and for this prefix only")
        yield section.may_not(caller, ask.for_bucket("kms:Decrypt", key), "no Bucket Key")
        yield section.may_not(caller, ask.without_context("kms:Decrypt", key), "nothing without a context")
        rest = ask.via_s3("kms:GenerateDataKey kms:Encrypt kms:CreateGrant", key, prefix)
        yield section.may_not(caller, rest, "readers read")
    yield from readers_locks(section, ask, reader, key=key, prefix=prefix, other=other)
    elsewhere = ask.via_s3("kms:Decrypt", other.name, other.prefix)
    yield section.may_not(reader.given_everything(), elsewhere, "no other key, whatever rights it collects")
    yield section.may_not(reader, ask.names(None), "nor the names of the whole bucket")
    yield section.may_not(reader, ask.names("no-prefix-of-its-own"), "nor of a prefix that is not the route's")
    yield section.may_not(reader, ask.names(prefix, action="s3:ListBucketVersions"), "nor old versions")
