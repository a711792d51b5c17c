"""The KMS keys and their policies: one per route, and those of protection.

`docs/grants.md` evaluates the statements; `docs/adr/0006-two-locks.md` says why the account is admitted and bound to
roles.
"""

from infrastructure.blocks.parts import (
    ACCOUNT,
    THIS_KEY,
    Block,
    Statement,
    below_bucket,
    has_sealed_readers,
    if_converting,
    if_erasing,
    if_read,
    if_replayed,
    objects_of,
    prefix_of_key,
    readers,
    sealed_for,
    sealed_readers,
    via_s3_below,
)
from infrastructure.cfn_yaml import Function, GetAtt, Inline, Ref, Sub
from routing import layout
from routing.stored.parts import FOLDER
from routing.table.routes import DEAD_LETTER_ROUTE, HASH_KEY, Route, RouteTable, logical_id
from schema.columns import tables_of

# Account administrators manage a key and cannot use it: no Encrypt, Decrypt, GenerateDataKey or ReEncrypt,
# and no CreateGrant, by which they could give themselves the others.
_ADMINISTRATION = (
    "CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey DisableKeyRotation EnableKey "
    "EnableKeyRotation GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations "
    "ListResourceTags PutKeyPolicy RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource "
    "UntagResource UpdateAlias UpdateKeyDescription"
)
_HMAC = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
_KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}


def route_keys(table: RouteTable) -> Block:
    """One KMS key and alias per route, the one of dead letters among them."""
    block: Block = {}
    for route in table.all_routes:
        stem = logical_id(route.name)
        block[f"{stem}Key"] = {
            "Type": "AWS::KMS::Key",
            **_KEPT,
            "Properties": {
                "Description": Sub(f"${{Name}}, {prefix_of_key(route)}/: {route.about.replace('${', '${!')}"),
                "EnableKeyRotation": True,
                "PendingWindowInDays": 30,
                "KeyPolicy": {"Version": "2012-10-17", "Statement": _key_policy(route, table)},
            },
        }
        block[f"{stem}KeyAlias"] = {
            "Type": "AWS::KMS::Alias",
            "Properties": {
                "AliasName": Sub(f"alias/${{Name}}/{route.name}"),
                "TargetKeyId": GetAtt(f"{stem}Key.Arn"),
            },
        }
    return block


def protection_keys(table: RouteTable) -> Block:
    """The sealing key of each route that seals, and the key that tokens are made with."""
    sealing = {
        route.seal_key: (
            f"what {route.name} seals of a record",
            {"EnableKeyRotation": True},
            _seal_key_policy(route),
        )
        for route in table.routes
        if route.seals
    }
    # KMS does not rotate an HMAC key; a new one would make new tokens.
    # https://docs.aws.amazon.com/kms/latest/developerguide/hmac.html
    hashing = {HASH_KEY: ("the key of all tokens", _HMAC, _hash_key_policy())} if table.hashes else {}
    block: Block = {}
    for name, (about, kind, statements) in (sealing | hashing).items():
        stem = logical_id(name)
        block[f"{stem}Key"] = {
            "Type": "AWS::KMS::Key",
            **_KEPT,
            "Properties": {
                "Description": Sub(f"${{Name}}: {about}"),
                **kind,
                "PendingWindowInDays": 30,
                "KeyPolicy": {"Version": "2012-10-17", "Statement": statements},
            },
        }
        block[f"{stem}KeyAlias"] = {
            "Type": "AWS::KMS::Alias",
            "Properties": {"AliasName": Sub(f"alias/${{Name}}/{name}"), "TargetKeyId": GetAtt(f"{stem}Key.Arn")},
        }
    return block


def administration() -> list[Statement]:
    """The statement that every key policy starts with: manage it, never use it."""
    return [
        {
            "Sid": "AdministratorsManage",
            "Effect": "Allow",
            "Principal": ACCOUNT,
            "Action": Inline(f"kms:{action}" for action in _ADMINISTRATION.split()),
            "Resource": THIS_KEY,
        }
    ]


def _key_policy(route: Route, table: RouteTable) -> list[Statement | Function]:
    function = GetAtt("FanOutRole.Arn")
    if route is DEAD_LETTER_ROUTE:
        # Lambda puts the batches that it gave up on with the function's role and the bucket's default key.
        objects = [objects_of(route), below_bucket(f"{layout.HANDED_OVER}*")]
        return [
            *administration(),
            _roles_may("FunctionEncrypts", function, "kms:GenerateDataKey", objects),
            if_replayed(_roles_may("ReplayDecrypts", GetAtt("ReplayRole.Arn"), "kms:Decrypt", objects)),
            if_replayed(_roles_may("ReplayEncrypts", GetAtt("ReplayRole.Arn"), "kms:GenerateDataKey", objects[0])),
            if_erasing(_roles_may("EraserDecrypts", GetAtt("EraseRole.Arn"), "kms:Decrypt", objects)),
            if_erasing(_roles_may("EraserEncrypts", GetAtt("EraseRole.Arn"), "kms:GenerateDataKey", objects[0])),
        ]
    converter = GetAtt("ConvertRole.Arn")
    lines = [below_bucket(f"{route.prefix}/{kind}/*") for kind, _ in tables_of(route, table)]
    columns = below_bucket(f"{route.prefix}/{FOLDER}/*")
    reads = _roles_may("ReadersDecrypt", Ref(readers(route)), "kms:Decrypt", objects_of(route))
    return [
        *administration(),
        _roles_may(
            "WritersEncrypt",
            [*_writers(), if_erasing(GetAtt("EraseRole.Arn"))],
            "kms:GenerateDataKey",
            objects_of(route),
        ),
        if_erasing(_roles_may("EraserDecrypts", GetAtt("EraseRole.Arn"), "kms:Decrypt", objects_of(route))),
        if_converting(_roles_may("ConverterDecrypts", converter, "kms:Decrypt", lines)),
        if_converting(_roles_may("ConverterUses", converter, Inline(["kms:Decrypt", "kms:GenerateDataKey"]), columns)),
        if_read(route, reads),
    ]


def _seal_key_policy(route: Route) -> list[Statement | Function]:
    """Writers take data keys and open nothing; sealed readers open and write nothing; both for this route only."""
    opens: Statement = {
        "Sid": "SealedReadersOpen",
        "Effect": "Allow",
        "Principal": ACCOUNT,
        "Action": "kms:Decrypt",
        "Resource": THIS_KEY,
        "Condition": {"ArnEquals": {"aws:PrincipalArn": Ref(sealed_readers(route))}, **sealed_for(route)},
    }
    return [
        *administration(),
        {
            "Sid": "WritersSeal",
            "Effect": "Allow",
            "Principal": ACCOUNT,
            "Action": "kms:GenerateDataKey",
            "Resource": THIS_KEY,
            "Condition": {"ArnEquals": {"aws:PrincipalArn": _writers()}, **sealed_for(route)},
        },
        Function(("If", [has_sealed_readers(route), opens, Ref("AWS::NoValue")])),
    ]


def _hash_key_policy() -> list[Statement | Function]:
    return [
        *administration(),
        {
            "Sid": "WritersMakeTokens",
            "Effect": "Allow",
            "Principal": ACCOUNT,
            "Action": "kms:GenerateMac",
            "Resource": THIS_KEY,
            "Condition": {"ArnEquals": {"aws:PrincipalArn": [*_writers(), if_erasing(GetAtt("EraseRole.Arn"))]}},
        },
    ]


def _writers() -> list[object]:
    return [GetAtt("FanOutRole.Arn"), if_replayed(GetAtt("ReplayRole.Arn"))]


def _roles_may(sid: str, roles: object, action: object, objects: object) -> Statement:
    """Admit roles of the account, if their own policies do as well: two locks, each bound to the prefix.

    Naming a role as principal would admit it whatever its own policy says.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": ACCOUNT,
        "Action": action,
        "Resource": THIS_KEY,
        "Condition": {"ArnEquals": {"aws:PrincipalArn": roles}, **via_s3_below(objects)},
    }
