"""The per-route blocks of `template.yaml`, which cog writes in place.

Pure builders: a route table in, parts of a template out, as the values that `cfn_yaml` writes. What is the
same for any table stands in the template itself, written by hand. Every statement here says who may do
what to which key or prefix; `docs/grants.md` shows them at work, `docs/adr/0002-grants.md` and
`docs/adr/0006-two-locks.md` say why each is bound three times.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any

from aws.route_file import routes_text
from aws.settings import key_variable
from infrastructure.cfn_yaml import Explained, Function, GetAtt, Inline, Ref, Sub
from routing import layout
from routing.protection.sealing import BOUND_TO_ROUTE, BOUND_TO_STACK
from routing.table.routes import DEAD_LETTER_ROUTE, HASH_KEY, Route, RouteTable, logical_id

type Block = dict[str, Any]
type Statement = dict[str, Any]

# IAM counts 6,144 characters a managed policy, and the statements of a route that seals take about 1,200 of them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_ROUTES_PER_POLICY = 4

# Account administrators manage a key and cannot use it: no Encrypt, Decrypt, GenerateDataKey or ReEncrypt,
# and no CreateGrant, by which they could give themselves the others.
_ADMINISTRATION = (
    "CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey DisableKeyRotation EnableKey "
    "EnableKeyRotation GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations "
    "ListResourceTags PutKeyPolicy RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource "
    "UntagResource UpdateAlias UpdateKeyDescription"
)
# Roles and users by name: a star, or an account as a whole, is nobody in particular.
_PRINCIPALS = "|arn:aws[-a-z0-9]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9_+=,.@/-]+"
_ACCOUNT = {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
_THIS_KEY = Explained.of("*", "in a key policy: this key")
_BUCKET = "arn:${AWS::Partition}:s3:::${Name}-${AWS::AccountId}-${AWS::Region}"
_HMAC = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
_KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
_KEY_HEADER = "s3:x-amz-server-side-encryption-aws-kms-key-id"


def parameters(table: RouteTable) -> Block:
    """One parameter per route: who may read it; and one more where something is sealed."""
    return {
        f"ReadersOf{logical_id(route.name)}": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "AllowedPattern": _PRINCIPALS,
            "Description": f"ARNs of the roles that may read {route.prefix}/ ({route.about})",
        }
        for route in table.routes
    } | {
        _sealed_readers(route): {
            "Type": "CommaDelimitedList",
            "Default": "",
            "AllowedPattern": _PRINCIPALS,
            "Description": f"ARNs of the roles that may open what is sealed below {route.prefix}/",
        }
        for route in table.routes
        if route.seals
    }


def conditions(table: RouteTable) -> Block:
    """One condition per route: does anybody read it? And one more where something is sealed."""
    sealed = {_has_sealed_readers(route): _sealed_readers(route) for route in table.routes if route.seals}
    return reader_conditions(table) | {condition: _is_given(parameter) for condition, parameter in sealed.items()}


def reader_conditions(table: RouteTable) -> Block:
    """One condition per route: does anybody read it?"""
    return {_has_readers(route): _is_given(_readers(route)) for route in table.routes}


def lists_of_readers(table: RouteTable) -> Block:
    """The parameters of a nested stack for the readers of each route; `joined_readers` fills them."""
    return {_readers(route): {"Type": "CommaDelimitedList"} for route in table.routes}


def joined_readers(table: RouteTable) -> Block:
    """What the stack hands to a nested one: lists go as text."""
    return {_readers(route): Function(("Join", [",", Ref(_readers(route))])) for route in table.routes}


def _is_given(parameter: str) -> Function:
    return Function(("Not", [Function(("Equals", [Function(("Join", ["", Ref(parameter)])), ""]))]))


def keys(table: RouteTable) -> Block:
    """One KMS key and alias per route, the one of dead letters among them."""
    block: Block = {}
    for route in table.all_routes:
        stem = logical_id(route.name)
        block[f"{stem}Key"] = {
            "Type": "AWS::KMS::Key",
            **_KEPT,
            "Properties": {
                "Description": Sub(f"${{Name}}, {_top(route)}/: {route.about.replace('${', '${!')}"),
                "EnableKeyRotation": True,
                "PendingWindowInDays": 30,
                "KeyPolicy": {"Version": "2012-10-17", "Statement": _key_policy(route)},
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
            "Principal": _ACCOUNT,
            "Action": Inline(f"kms:{action}" for action in _ADMINISTRATION.split()),
            "Resource": _THIS_KEY,
        }
    ]


def key_of_prefix(table: RouteTable) -> list[Statement]:
    """Deny a put whose key is missing or another than the prefix's; `ArnNotEquals` is true of a missing one.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    return [
        {
            "Sid": f"KeyOf{logical_id(route.name)}",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": _objects(route),
            "Condition": {"ArnNotEquals": {_KEY_HEADER: GetAtt(f"{logical_id(route.name)}Key.Arn")}},
        }
        for route in table.all_routes
    ]


def readers_of_prefix(table: RouteTable) -> list[Function]:
    """Allow the readers of each route its objects, and the names below its prefix."""
    statements: list[Function] = []
    for route in table.routes:
        reads: Statement = {
            "Sid": f"{logical_id(route.name)}Read",
            "Effect": "Allow",
            "Principal": {"AWS": Ref(_readers(route))},
            "Action": "s3:GetObject",
            "Resource": _objects(route),
        }
        lists: Statement = {
            "Sid": f"{logical_id(route.name)}List",
            "Effect": "Allow",
            "Principal": {"AWS": Ref(_readers(route))},
            "Action": "s3:ListBucket",
            "Resource": Sub(_BUCKET),
            "Condition": {"StringLike": {"s3:prefix": f"{route.prefix}/*"}},
        }
        statements += [_if_read(route, reads), _if_read(route, lists)]
    return statements


def routed_objects(table: RouteTable) -> list[Sub]:
    """Where the function writes: below the prefix of each route and that of dead letters."""
    return [_objects(route) for route in table.all_routes]


def prefixes(table: RouteTable) -> list[str]:
    """The prefixes of the routes, as a listing names them."""
    return [f"{route.prefix}/*" for route in table.routes]


def writer_policies(table: RouteTable) -> Block:
    """What may be written to the routes: managed policies of a few routes each, to stay below IAM's limit."""
    return {
        f"WriterPolicy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "Description": Sub("${Name} writes each prefix with its own key and decrypts nothing"),
                "Roles": [Ref("FanOutRole"), _if_replayed(Ref("ReplayRole"))],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        *(statement for route in routes for statement in _write(route)),
                        _look(routes),
                        *([_MAKE_TOKENS] if table.hashes and number == 1 else []),
                    ],
                },
            },
        }
        for number, routes in enumerate(batched(table.routes, _ROUTES_PER_POLICY, strict=False), start=1)
    }


def writer_policy_names(table: RouteTable) -> list[str]:
    """The policies that have to exist before the function runs."""
    return list(writer_policies(table))


def erase_policies(table: RouteTable) -> Block:
    """What may be read of the routes, written again and removed of their old versions, to erase a contact."""
    return {
        f"ErasePolicy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Condition": "ErasesContacts",
            "Properties": {
                "Description": Sub("Reads what ${Name} has delivered, to take one contact out of it"),
                "Roles": [Ref("EraseRole")],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        *(statement for route in routes for statement in _rewrite(route)),
                        {
                            "Sid": "TakeVersions",
                            "Effect": "Allow",
                            "Action": Inline(["s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObjectVersion"]),
                            "Resource": [_objects(route) for route in routes],
                        },
                        *([_MAKE_TOKENS] if table.hashes and number == 1 else []),
                    ],
                },
            },
        }
        for number, routes in enumerate(batched(table.routes, _ROUTES_PER_POLICY, strict=False), start=1)
    }


def erase_policy_names(table: RouteTable) -> list[str]:
    """The policies that have to exist before the erase function runs."""
    return list(erase_policies(table))


def environment(table: RouteTable) -> Block:
    """The function's variables: the key of every route, and those of protection."""
    names = (*(route.name for route in table.all_routes), *table.protection_keys)
    return {key_variable(name): GetAtt(f"{logical_id(name)}Key.Arn") for name in names}


def routes_digest() -> Block:
    """The digest of the route table, by which `ctr-fanout doctor` knows what is deployed."""
    return {"ROUTES_SHA256": hashlib.sha256(routes_text().encode()).hexdigest()}


def outputs(table: RouteTable) -> Block:
    """One output per route: its prefix and the alias of its key."""
    return {
        f"{logical_id(route.name)}Destination": {
            "Description": route.about,
            "Value": Sub(f"s3://${{Bucket}}/{_top(route)}/ under alias/${{Name}}/{route.name}"),
        }
        for route in table.all_routes
    }


def _key_policy(route: Route) -> list[Statement | Function]:
    function = GetAtt("FanOutRole.Arn")
    if route is DEAD_LETTER_ROUTE:
        # Lambda puts the batches that it gave up on with the function's role and the bucket's default key.
        objects = [_objects(route), _sub(f"{layout.HANDED_OVER}*")]
        return [
            *administration(),
            _roles_may("FunctionEncrypts", function, "kms:GenerateDataKey", objects),
            _if_replayed(_roles_may("ReplayDecrypts", GetAtt("ReplayRole.Arn"), "kms:Decrypt", objects)),
            _if_replayed(_roles_may("ReplayEncrypts", GetAtt("ReplayRole.Arn"), "kms:GenerateDataKey", objects[0])),
            _if_erasing(_roles_may("EraserDecrypts", GetAtt("EraseRole.Arn"), "kms:Decrypt", objects)),
            _if_erasing(_roles_may("EraserEncrypts", GetAtt("EraseRole.Arn"), "kms:GenerateDataKey", objects[0])),
        ]
    reads: Statement = {
        "Sid": "ReadersDecrypt",
        "Effect": "Allow",
        "Principal": {"AWS": Ref(_readers(route))},
        "Action": "kms:Decrypt",
        "Resource": _THIS_KEY,
        "Condition": _via_s3_below(_objects(route)),
    }
    return [
        *administration(),
        _roles_may(
            "WritersEncrypt",
            [*_writers(), _if_erasing(GetAtt("EraseRole.Arn"))],
            "kms:GenerateDataKey",
            _objects(route),
        ),
        _if_erasing(_roles_may("EraserDecrypts", GetAtt("EraseRole.Arn"), "kms:Decrypt", _objects(route))),
        _if_read(route, reads),
    ]


def _seal_key_policy(route: Route) -> list[Statement | Function]:
    """Writers take data keys and open nothing; sealed readers open and write nothing; both for this route only."""
    opens: Statement = {
        "Sid": "SealedReadersOpen",
        "Effect": "Allow",
        "Principal": {"AWS": Ref(_sealed_readers(route))},
        "Action": "kms:Decrypt",
        "Resource": _THIS_KEY,
        "Condition": _sealed_for(route),
    }
    return [
        *administration(),
        {
            "Sid": "WritersSeal",
            "Effect": "Allow",
            "Principal": _ACCOUNT,
            "Action": "kms:GenerateDataKey",
            "Resource": _THIS_KEY,
            "Condition": {"ArnEquals": {"aws:PrincipalArn": _writers()}, **_sealed_for(route)},
        },
        Function(("If", [_has_sealed_readers(route), opens, Ref("AWS::NoValue")])),
    ]


def _hash_key_policy() -> list[Statement | Function]:
    return [
        *administration(),
        {
            "Sid": "WritersMakeTokens",
            "Effect": "Allow",
            "Principal": _ACCOUNT,
            "Action": "kms:GenerateMac",
            "Resource": _THIS_KEY,
            "Condition": {"ArnEquals": {"aws:PrincipalArn": [*_writers(), _if_erasing(GetAtt("EraseRole.Arn"))]}},
        },
    ]


def _writers() -> list[object]:
    return [GetAtt("FanOutRole.Arn"), _if_replayed(GetAtt("ReplayRole.Arn"))]


def _sealed_for(route: Route) -> Mapping[str, Any]:
    """Only for messages of this stack and route: what their data keys are bound to."""
    context = "kms:EncryptionContext:"
    return {"StringEquals": {f"{context}{BOUND_TO_STACK}": Ref("Name"), f"{context}{BOUND_TO_ROUTE}": route.name}}


def _roles_may(sid: str, roles: object, action: str, objects: object) -> Statement:
    """Admit roles of the account, if their own policies do as well: two locks, each bound to the prefix.

    Naming a role as principal would admit it whatever its own policy says.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _ACCOUNT,
        "Action": action,
        "Resource": _THIS_KEY,
        "Condition": {"ArnEquals": {"aws:PrincipalArn": roles}, **_via_s3_below(objects)},
    }


def _write(route: Route) -> list[Statement]:
    stem = logical_id(route.name)
    key = GetAtt(f"{stem}Key.Arn")
    return [
        {
            "Sid": f"{stem}Put",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": _objects(route),
            "Condition": {"ArnEquals": {_KEY_HEADER: key}},
        },
        {
            "Sid": f"{stem}Encrypt",
            "Effect": "Allow",
            "Action": "kms:GenerateDataKey",
            "Resource": key,
            "Condition": _via_s3_below(_objects(route)),
        },
        *(
            [
                {
                    "Sid": f"{stem}Seal",
                    "Effect": "Allow",
                    "Action": "kms:GenerateDataKey",
                    "Resource": GetAtt(f"{logical_id(route.seal_key)}Key.Arn"),
                    "Condition": _sealed_for(route),
                }
            ]
            if route.seals
            else []
        ),
    ]


def _rewrite(route: Route) -> list[Statement]:
    stem = logical_id(route.name)
    put = _write(route)[0]
    return [
        put,
        {
            "Sid": f"{stem}Rewrite",
            "Effect": "Allow",
            "Action": Inline(["kms:Decrypt", "kms:GenerateDataKey"]),
            "Resource": GetAtt(f"{stem}Key.Arn"),
            "Condition": _via_s3_below(_objects(route)),
        },
    ]


_MAKE_TOKENS: Statement = {
    "Sid": "MakeTokens",
    "Effect": "Allow",
    "Action": "kms:GenerateMac",
    "Resource": GetAtt(f"{logical_id(HASH_KEY)}Key.Arn"),
}


def _look(routes: Sequence[Route]) -> Statement:
    """See what a put would replace: its ETag, which needs no decryption."""
    return {
        "Sid": "Look",
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": [_objects(route) for route in routes],
    }


def _via_s3_below(objects: object) -> Mapping[str, Any]:
    """Only through S3, and only for objects below a prefix: their ARN is S3's encryption context.

    It is the object's ARN only while S3 Bucket Keys are off.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    return {
        "StringEquals": {"kms:ViaService": Sub("s3.${AWS::Region}.amazonaws.com")},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": objects},
    }


def _if_replayed(value: object) -> Function:
    return Function(("If", ["HasReplayOperators", value, Ref("AWS::NoValue")]))


def _if_erasing(value: object) -> Function:
    return Function(("If", ["ErasesContacts", value, Ref("AWS::NoValue")]))


def _if_read(route: Route, statement: Statement) -> Function:
    return Function(("If", [_has_readers(route), statement, Ref("AWS::NoValue")]))


def _objects(route: Route) -> Sub:
    return _sub(f"{_top(route)}/*")


def _sub(objects: str) -> Sub:
    return Sub(f"{_BUCKET}/{objects}")


def _top(route: Route) -> str:
    """The prefix that the route's key guards; dead letters have several kinds below theirs."""
    return layout.DEAD_LETTER_PREFIX if route is DEAD_LETTER_ROUTE else route.prefix


def _readers(route: Route) -> str:
    return f"ReadersOf{logical_id(route.name)}"


def _sealed_readers(route: Route) -> str:
    return f"SealedReadersOf{logical_id(route.name)}"


def _has_sealed_readers(route: Route) -> str:
    return f"Has{logical_id(route.name)}SealedReaders"


def _has_readers(route: Route) -> str:
    return f"Has{logical_id(route.name)}Readers"
