"""Shared by the blocks of the template: names of parameters and conditions, ARNs, conditions of statements."""

from collections.abc import Mapping
from typing import Any

from infrastructure.cfn_yaml import Explained, Function, Ref, Sub
from routing import layout
from routing.protection.sealing import BOUND_TO_ROUTE, BOUND_TO_STACK
from routing.stored.parts import FOLDER
from routing.table.routes import DEAD_LETTER_ROUTE, Route, RouteTable, logical_id
from schema.columns import tables_of

type Block = dict[str, Any]
type Statement = dict[str, Any]

ACCOUNT = {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
THIS_KEY = Explained.of("*", "in a key policy: this key")
BUCKET = "arn:${AWS::Partition}:s3:::${Name}-${AWS::AccountId}-${AWS::Region}"
KEY_HEADER = "s3:x-amz-server-side-encryption-aws-kms-key-id"


def key_names(table: RouteTable) -> list[str]:
    """Return the names of the keys of all routes and of protection, in the order of the template."""
    return [*(route.name for route in table.all_routes), *table.protection_keys]


def readers(route: Route) -> str:
    """Return the parameter that names the readers of a route."""
    return f"ReadersOf{logical_id(route.name)}"


def sealed_readers(route: Route) -> str:
    """Return the parameter that names who may open what a route seals."""
    return f"SealedReadersOf{logical_id(route.name)}"


def has_sealed_readers(route: Route) -> str:
    """Return the condition: somebody may open what a route seals."""
    return f"Has{logical_id(route.name)}SealedReaders"


def has_readers(route: Route) -> str:
    """Return the condition: a route has readers."""
    return f"Has{logical_id(route.name)}Readers"


def objects_of(route: Route) -> Sub:
    """Return the ARN of the objects below the prefix that a key guards."""
    return below_bucket(f"{prefix_of_key(route)}/*")


def in_bucket(route: Route) -> Sub:
    """Return the same for policies that may refer to the bucket; key policies may not, or references were circular."""
    return Sub(f"${{Bucket.Arn}}/{prefix_of_key(route)}/*")


def below_bucket(objects: str) -> Sub:
    """Return the ARN of objects of the bucket, whose name is fixed."""
    return Sub(f"{BUCKET}/{objects}")


def prefix_of_key(route: Route) -> str:
    """The prefix that the route's key guards; dead letters have several kinds below theirs."""
    return layout.DEAD_LETTER_PREFIX if route is DEAD_LETTER_ROUTE else route.prefix


def if_replayed(value: object) -> Function:
    """Return a value for stacks with a replay function only."""
    return Function(("If", ["HasReplayOperators", value, Ref("AWS::NoValue")]))


def if_erasing(value: object) -> Function:
    """Return a value for stacks with an erase function only."""
    return Function(("If", ["ErasesContacts", value, Ref("AWS::NoValue")]))


def if_converting(value: object) -> Function:
    """Return a value for stacks that make columns only."""
    return Function(("If", ["MakesColumns", value, Ref("AWS::NoValue")]))


def columns_of_route(route: Route) -> Sub:
    """Return the ARN of the columns of a route, for policies that may refer to the bucket."""
    return Sub(f"${{Bucket.Arn}}/{route.prefix}/{FOLDER}/*")


def lines_of_route(route: Route, table: RouteTable) -> list[Sub]:
    """Return the ARNs of what columns are made of, by kind."""
    return [Sub(f"${{Bucket.Arn}}/{route.prefix}/{kind}/*") for kind, _ in tables_of(route, table)]


def if_read(route: Route, statement: Statement) -> Function:
    """Return a statement for stacks where the route has readers only."""
    return Function(("If", [has_readers(route), statement, Ref("AWS::NoValue")]))


def via_s3_below(objects: object) -> Mapping[str, Any]:
    """Only through S3, and only for objects below a prefix: their ARN is S3's encryption context.

    It is the object's ARN only while S3 Bucket Keys are off.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    return {
        "StringEquals": {"kms:ViaService": Sub("s3.${AWS::Region}.amazonaws.com")},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": objects},
    }


def sealed_for(route: Route) -> Mapping[str, Any]:
    """Only for messages of this stack and route: what their data keys are bound to."""
    context = "kms:EncryptionContext:"
    return {"StringEquals": {f"{context}{BOUND_TO_STACK}": Ref("Name"), f"{context}{BOUND_TO_ROUTE}": route.name}}
