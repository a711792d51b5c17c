"""Inputs and outputs of the stack: parameters, conditions, the environment of the functions, outputs."""

import hashlib

from aws.route_file import routes_text
from aws.settings import key_variable
from infrastructure.blocks.parts import (
    Block,
    has_readers,
    has_sealed_readers,
    key_names,
    prefix_of_key,
    readers,
    sealed_readers,
)
from infrastructure.cfn_yaml import Function, GetAtt, Ref, Sub
from routing.table.routes import RouteTable, logical_id

# Roles and users by name: a star or a whole account is refused.
_PRINCIPALS = "|arn:aws[-a-z0-9]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9_+=,.@/-]+"


def parameters(table: RouteTable) -> Block:
    """One parameter per route: who may read it; and one more where something is sealed."""
    return {
        f"ReadersOf{logical_id(route.name)}": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "AllowedPattern": _PRINCIPALS,
            "Description": f"ARNs of roles of this account that may read {route.prefix}/ ({route.about})",
        }
        for route in table.routes
    } | {
        sealed_readers(route): {
            "Type": "CommaDelimitedList",
            "Default": "",
            "AllowedPattern": _PRINCIPALS,
            "Description": f"ARNs of roles of this account that may open what is sealed below {route.prefix}/",
        }
        for route in table.routes
        if route.seals
    }


def conditions(table: RouteTable) -> Block:
    """One condition per route: does anybody read it? And one more where something is sealed."""
    sealed = {has_sealed_readers(route): sealed_readers(route) for route in table.routes if route.seals}
    return reader_conditions(table) | {condition: _is_given(parameter) for condition, parameter in sealed.items()}


def reader_conditions(table: RouteTable) -> Block:
    """One condition per route: does anybody read it?"""
    return {has_readers(route): _is_given(readers(route)) for route in table.routes}


def lists_of_readers(table: RouteTable) -> Block:
    """The parameters of a nested stack for the readers of each route; `joined_readers` fills them."""
    return {readers(route): {"Type": "CommaDelimitedList"} for route in table.routes}


def joined_readers(table: RouteTable) -> Block:
    """What the stack hands to a nested one: lists go as text."""
    return {readers(route): Function(("Join", [",", Ref(readers(route))])) for route in table.routes}


def _is_given(parameter: str) -> Function:
    return Function(("Not", [Function(("Equals", [Function(("Join", ["", Ref(parameter)])), ""]))]))


def environment(table: RouteTable) -> Block:
    """The function's variables: the key of every route, and those of protection."""
    return {key_variable(name): GetAtt(f"{logical_id(name)}Key.Arn") for name in key_names(table)}


def routes_digest() -> Block:
    """The digest of the route table, by which `ctr-fanout doctor` knows what is deployed."""
    return {"ROUTES_SHA256": hashlib.sha256(routes_text().encode()).hexdigest()}


def outputs(table: RouteTable) -> Block:
    """One output per route: its prefix and the alias of its key."""
    return {
        f"{logical_id(route.name)}Destination": {
            "Description": route.about,
            "Value": Sub(f"s3://${{Bucket}}/{prefix_of_key(route)}/ under alias/${{Name}}/{route.name}"),
        }
        for route in table.all_routes
    }
