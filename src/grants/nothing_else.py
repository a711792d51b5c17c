"""The closed world: whatever no other row allows, each caller is denied at each place.

These rows are made, not written: for every caller and every prefix what can be done with objects, names and
the key. They detect a principal that is admitted by mistake.
"""

from collections.abc import Iterator

from grants.principals import Principal, Principals
from grants.requests import Request, Requests
from grants.row import Row, Section
from grants.stack import ARCHIVE, ARCHIVE_KEY, HANDED_OVER, STREAM_KEY, Stack, top
from routing import layout
from routing.table.routes import HASH_KEY, RouteTable

_OBJECTS = (
    "s3:GetObject s3:GetObjectVersion s3:DeleteObject s3:DeleteObjectVersion s3:PutObjectAcl s3:PutObjectTagging "
    "s3:AbortMultipartUpload"
)
_USES = "kms:Decrypt kms:Encrypt kms:GenerateDataKey kms:ReEncryptFrom kms:ReEncryptTo kms:CreateGrant"
_OF_STREAM = "kinesis:GetRecords kinesis:GetShardIterator kinesis:PutRecord kinesis:PutRecords kinesis:SubscribeToShard"
_OF_TABLE = "dynamodb:GetItem dynamodb:UpdateItem dynamodb:PutItem dynamodb:DeleteItem dynamodb:Scan dynamodb:Query"
_WHY = "nothing says that it may"


def nothing_else(table: RouteTable, stack: Stack, rows: list[Row]) -> Iterator[Row]:
    """Return a denial of everything that no row allows."""
    section = Section("Nothing else")
    allowed = {
        (row.who.label, action, row.request.resource, row.request.how)
        for row in rows
        if row.is_allowed and not row.assuming
        for action in row.request.actions
    }
    for caller in _callers(table, stack):
        for asking, request in _requests(table, stack, caller):
            known = {a for a in request.actions if (caller.label, a, request.resource, request.how) in allowed}
            left = tuple(action for action in request.actions if action not in known)
            if left:
                denied = Request(left, request.resource, request.on, request.how, request.context)
                yield section.may_not(asking, denied, _WHY)


def _callers(table: RouteTable, stack: Stack) -> list[Principal]:
    who = Principals(stack)
    readers = [who.reader(name) for name in (*(route.name for route in table.routes), ARCHIVE)]
    readers += [who.sealed_reader(route) for route in table.routes if route.seals]
    # Lambda itself has the function's role, and what it does with it is Lambda's own.
    roles = [who.function, *([who.replay] if stack.has_replay else [])]
    roles += [who.erase] if stack.has_erasure else []
    roles += [who.convert] if stack.has_columns else []
    roles += [who.archive] if stack.has_archive else []
    connect = [who.connect, who.other_connect] if stack.makes_stream_key else []
    # An administrator's own policy allows him what S3 does with objects; keys are another matter.
    return [*roles, *connect, *readers, who.auditor, who.operator, who.stranger, who.anonymous, who.administrator]


def _requests(  # noqa: C901 - one place after the other
    table: RouteTable, stack: Stack, caller: Principal
) -> Iterator[tuple[Principal, Request]]:
    """Return what to ask, and as whom: of a key with every right in IAM, so that its own policy has to refuse."""
    ask = Requests(stack)
    places: list[tuple[str, str]] = [(top(route), route.name) for route in table.all_routes]
    places.append((HANDED_OVER, layout.DEAD_LETTER))
    places += [(ARCHIVE, ARCHIVE_KEY)] if stack.has_archive else []
    is_administrator = caller.label == "administrator"
    bold = caller.given_everything() if caller.policies != "everything" and caller.role else caller
    for prefix, key in places:
        yield bold, ask.via_s3(_USES, key, prefix)
        if not is_administrator:
            yield caller, ask.put(prefix, key)
            yield caller, ask.objects(_OBJECTS, prefix)
            yield caller, ask.names(prefix)
    for route in table.routes:
        if route.seals:
            yield bold, ask.sealed(_USES, route.seal_key, stack=stack.name, route=route.name)
    if table.hashes:
        yield bold, ask.sealed(f"{_USES} kms:GenerateMac kms:VerifyMac", HASH_KEY)
    if stack.has_analysis:
        for route in table.routes:
            yield bold, ask.results(_USES, stack.work_group(route))
    if stack.makes_stream_key:
        yield bold, ask.via_kinesis(_USES, STREAM_KEY)
    if not is_administrator:
        yield caller, ask.names("")
    if caller.policies != "everything":  # an account's own administrators may ask, and get nothing without the key
        yield caller, ask.plain(_OF_STREAM, stack.stream, "the stream")
        yield (
            caller,
            ask.plain(_OF_TABLE, stack.here("dynamodb", f"table/{stack.name}-checkpoint"), "the checkpoint table"),
        )
    kept = {
        "replay": stack.has_replay,
        "erase": stack.has_erasure,
        "convert": stack.has_columns,
        "archive": stack.has_archive,
    }
    for name, role in stack.roles.items():
        if role != caller.role and kept.get(name, True):
            yield bold, ask.plain("sts:AssumeRole", role, f"the {name} role")
