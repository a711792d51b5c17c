"""The statements of the bucket policy that depend on the routes."""

from infrastructure.blocks.parts import BUCKET, KEY_HEADER, Statement, if_read, objects_of, readers
from infrastructure.cfn_yaml import Function, GetAtt, Ref, Sub
from routing.table.routes import RouteTable, logical_id


def key_of_prefix(table: RouteTable) -> list[Statement]:
    """Deny a put whose key is missing or another than the prefix's; `ArnNotEquals` is true of a missing one.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    return [
        {
            "Sid": f"DenyOtherKeysOf{logical_id(route.name)}",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": objects_of(route),
            "Condition": {"ArnNotEquals": {KEY_HEADER: GetAtt(f"{logical_id(route.name)}Key.Arn")}},
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
            "Principal": {"AWS": Ref(readers(route))},
            "Action": "s3:GetObject",
            "Resource": objects_of(route),
        }
        lists: Statement = {
            "Sid": f"{logical_id(route.name)}List",
            "Effect": "Allow",
            "Principal": {"AWS": Ref(readers(route))},
            "Action": "s3:ListBucket",
            "Resource": Sub(BUCKET),
            "Condition": {"StringLike": {"s3:prefix": f"{route.prefix}/*"}},
        }
        statements += [if_read(route, reads), if_read(route, lists)]
    return statements


def routed_objects(table: RouteTable) -> list[Sub]:
    """Where the function writes: below the prefix of each route and that of dead letters."""
    return [objects_of(route) for route in table.all_routes]


def prefixes(table: RouteTable) -> list[str]:
    """The prefixes of the routes, as a listing names them."""
    return [f"{route.prefix}/*" for route in table.routes]
