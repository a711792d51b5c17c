"""The managed policies of the roles that depend on the routes: what is written, erased and made columns of."""

import json
from collections.abc import Sequence
from itertools import batched

from infrastructure.blocks.parts import (
    KEY_HEADER,
    Block,
    Statement,
    columns_of_route,
    if_replayed,
    in_bucket,
    key_names,
    lines_of_route,
    sealed_for,
    via_s3_below,
)
from infrastructure.cfn_yaml import GetAtt, Inline, Ref, Sub
from routing.stored.parts import FOLDER
from routing.table.routes import HASH_KEY, Route, RouteTable, logical_id
from schema.columns import tables_of

# IAM counts 6,144 characters a managed policy, and the statements of a route that seals take about 1,200 of them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_ROUTES_PER_POLICY = 4
_CONVERTED_PER_POLICY = 2  # as many as leave a role its other policies: it has ten at most
_TARGETS_PER_RULE = 5


def writer_policies(table: RouteTable) -> Block:
    """What may be written to the routes: managed policies of a few routes each, to stay below IAM's limit."""
    return {
        f"WriterPolicy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "Description": Sub("${Name} writes each prefix with its own key and decrypts nothing"),
                "Roles": [Ref("FanOutRole"), if_replayed(Ref("ReplayRole"))],
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
                            "Sid": "ReadAndDeleteVersions",
                            "Effect": "Allow",
                            "Action": Inline(["s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObjectVersion"]),
                            "Resource": [in_bucket(route) for route in routes],
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


def convert_policies(table: RouteTable) -> Block:
    """What may be read of the routes and written below their `parquet/`, to make columns."""
    return {
        f"ConvertPolicy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Condition": "MakesColumns",
            "Properties": {
                "Description": Sub("Reads what ${Name} has delivered, and writes its columns under the same keys"),
                "Roles": [Ref("ConvertRole")],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        *(statement for route in routes for statement in _convert(route, table)),
                        {
                            "Sid": "ReadLines",
                            "Effect": "Allow",
                            "Action": "s3:GetObject",
                            "Resource": [lines for route in routes for lines in lines_of_route(route, table)],
                        },
                        {
                            "Sid": "ReadColumnsAndDeleteVersions",
                            "Effect": "Allow",
                            "Action": Inline(["s3:GetObject", "s3:DeleteObjectVersion"]),
                            "Resource": [columns_of_route(route) for route in routes],
                        },
                        _list(
                            "ListLines",
                            ["s3:ListBucket"],
                            [f"{r.prefix}/{kind}/*" for r in routes for kind, _ in tables_of(r, table)],
                        ),
                        _list(
                            "ListColumnsAndVersions",
                            ["s3:ListBucket", "s3:ListBucketVersions"],
                            [f"{route.prefix}/{FOLDER}/*" for route in routes],
                        ),
                        *(_SEE_PROGRESS if number == 1 else []),
                    ],
                },
            },
        }
        for number, routes in enumerate(batched(table.routes, _CONVERTED_PER_POLICY, strict=False), start=1)
    }


def convert_policy_names(table: RouteTable) -> list[str]:
    """The policies that have to exist before the function runs that makes columns."""
    return list(convert_policies(table))


def convert_schedules(table: RouteTable) -> Block:
    """Rules that call the function for each route, a few routes each: a rule has five targets.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
    """
    return {
        f"ConvertSchedule{number}": {
            "Type": "AWS::Events::Rule",
            "Condition": "MakesColumns",
            "DependsOn": "MonitoringStack",
            "Properties": {
                "Name": Sub(f"${{Name}}-convert-{number}"),
                "Description": "Makes columns of the days that are over, and of what has changed since",
                "ScheduleExpression": "rate(1 hour)",
                "Targets": [
                    {
                        "Id": route.name,
                        "Arn": GetAtt("ConvertFunction.Arn"),
                        "Input": json.dumps({"route": route.name}),
                    }
                    for route in routes
                ],
            },
        }
        for number, routes in enumerate(batched(table.routes, _TARGETS_PER_RULE, strict=False), start=1)
    }


def reader_policies(table: RouteTable) -> Block:
    """What the readers of each route need beside its key's policy, and its sealed readers: attached by hand."""
    block: Block = {}
    for route in table.routes:
        stem = logical_id(route.name)
        block[f"{stem}ReaderPolicy"] = _to_attach(
            f"Reads {route.prefix}/ of ${{Name}}; attach it to the roles in ReadersOf{stem}",
            [
                {"Sid": f"{stem}Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": in_bucket(route)},
                {
                    "Sid": f"{stem}List",
                    "Effect": "Allow",
                    "Action": "s3:ListBucket",
                    "Resource": GetAtt("Bucket.Arn"),
                    "Condition": {"StringLike": {"s3:prefix": f"{route.prefix}/*"}},
                },
                {
                    "Sid": f"{stem}Decrypt",
                    "Effect": "Allow",
                    "Action": "kms:Decrypt",
                    "Resource": GetAtt(f"{stem}Key.Arn"),
                    "Condition": via_s3_below(in_bucket(route)),
                },
            ],
        )
        if route.seals:
            block[f"{stem}SealedReaderPolicy"] = _to_attach(
                f"Opens what {route.name} of ${{Name}} seals; attach it to the roles in SealedReadersOf{stem}",
                [
                    {
                        "Sid": f"{stem}Open",
                        "Effect": "Allow",
                        "Action": "kms:Decrypt",
                        "Resource": GetAtt(f"{logical_id(route.seal_key)}Key.Arn"),
                        "Condition": sealed_for(route),
                    }
                ],
            )
    return block


def _to_attach(about: str, statements: list[Statement]) -> Block:
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "Description": Sub(about),
            "PolicyDocument": {"Version": "2012-10-17", "Statement": statements},
        },
    }


def reader_policy_outputs(table: RouteTable) -> Block:
    """The policies to attach to readers."""
    return {
        f"{name}Arn": {"Description": "Attach it to the roles that its parameter names", "Value": Ref(name)}
        for name in reader_policies(table)
    }


def keys_of_stack(table: RouteTable) -> list[object]:
    """The ARNs of the keys that roles may use: those of the template that depend on the routes."""
    return [GetAtt(f"{logical_id(name)}Key.Arn") for name in key_names(table)]


def _write(route: Route) -> list[Statement]:
    stem = logical_id(route.name)
    key = GetAtt(f"{stem}Key.Arn")
    return [
        {
            "Sid": f"{stem}Put",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": in_bucket(route),
            "Condition": {"ArnEquals": {KEY_HEADER: key}},
        },
        {
            "Sid": f"{stem}Encrypt",
            "Effect": "Allow",
            "Action": "kms:GenerateDataKey",
            "Resource": key,
            "Condition": via_s3_below(in_bucket(route)),
        },
        *(
            [
                {
                    "Sid": f"{stem}Seal",
                    "Effect": "Allow",
                    "Action": "kms:GenerateDataKey",
                    "Resource": GetAtt(f"{logical_id(route.seal_key)}Key.Arn"),
                    "Condition": sealed_for(route),
                }
            ]
            if route.seals
            else []
        ),
    ]


def _convert(route: Route, table: RouteTable) -> list[Statement]:
    stem = logical_id(route.name)
    key = GetAtt(f"{stem}Key.Arn")
    return [
        {
            "Sid": f"{stem}PutColumns",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": columns_of_route(route),
            "Condition": {"ArnEquals": {KEY_HEADER: key}},
        },
        {
            "Sid": f"{stem}DecryptLines",
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": key,
            "Condition": via_s3_below(lines_of_route(route, table)),
        },
        {
            "Sid": f"{stem}UseKeyForColumns",
            "Effect": "Allow",
            "Action": Inline(["kms:Decrypt", "kms:GenerateDataKey"]),
            "Resource": key,
            "Condition": via_s3_below(columns_of_route(route)),
        },
    ]


def _list(sid: str, actions: list[str], prefixes: list[str]) -> Statement:
    """See names; they hold nothing of a record."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": Inline(actions),
        "Resource": GetAtt("Bucket.Arn"),
        "Condition": {"StringLike": {"s3:prefix": prefixes}},
    }


_CHECKPOINT = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${Name}-checkpoint"
# What may still change is left alone; the role holds no shard.
_SEE_PROGRESS: list[Statement] = [
    {"Sid": "ReadCheckpoint", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": Sub(_CHECKPOINT)},
    {
        "Sid": "WriteLogs",
        "Effect": "Allow",
        "Action": Inline(["logs:CreateLogStream", "logs:PutLogEvents"]),
        "Resource": Sub("${LogGroup.Arn}"),
    },
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
            "Condition": via_s3_below(in_bucket(route)),
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
        "Sid": "ReadObjectMetadata",
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": [in_bucket(route) for route in routes],
    }
