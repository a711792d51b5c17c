"""The statements of the bucket policy that depend on the routes."""

from infrastructure.blocks.parts import KEY_HEADER, Statement, in_bucket
from infrastructure.cfn_yaml import GetAtt, Sub
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
            "Resource": in_bucket(route),
            "Condition": {"ArnNotEquals": {KEY_HEADER: GetAtt(f"{logical_id(route.name)}Key.Arn")}},
        }
        for route in table.all_routes
    ]


def routed_objects(table: RouteTable) -> list[Sub]:
    """Where the function writes: below the prefix of each route and that of dead letters."""
    return [in_bucket(route) for route in table.all_routes]


def prefixes(table: RouteTable) -> list[str]:
    """The prefixes of the routes, as a listing names them."""
    return [f"{route.prefix}/*" for route in table.routes]
