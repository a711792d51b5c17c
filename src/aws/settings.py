"""Settings: the function's environment, read once, every problem named at once."""

import re
from collections.abc import Mapping

from msgspec import Struct, field

from routing import layout
from routing.errors import ConfigurationError, Fault
from routing.model import RouteName
from routing.table.routes import HASH_KEY, RouteTable

# A full ARN: an alias resolves in the caller's account, and a policy condition compares ARNs
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html).
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ACCOUNT = re.compile(r"\d{12}")
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_STREAM_ARN = re.compile(r"arn:aws[a-z-]*:kinesis:[a-z0-9-]+:\d{12}:stream/[a-zA-Z0-9_.-]{1,128}")
_UUID = re.compile(r"[A-Za-z0-9-]{1,64}")
OFF = "off"
LEAN = "lean"


class Settings(Struct, frozen=True, kw_only=True):
    """What the template tells the function.

    Attributes:
        bucket: Where all routes have their prefixes.
        bucket_owner: The account that has to own the bucket; a put elsewhere is refused.
        key_arns: The KMS key of every route, that of dead letters included.
        checkpoint_table: None turns the checkpoint off: at least once instead of exactly once.
        stream_arn: The stack's stream: records of another one are refused.
        service: The stack's name, which tells its metrics from those of another stack.
        mapping_id: The UUID of the event source mapping; empty where the function does not need it.
        is_lean: True to count only what an alarm for loss looks at.
        is_local: True under SAM's local runtime, where sample events have no stream.
        hash_key_arn: The KMS HMAC key; empty if no route hashes.
        seal_key_arns: The sealing key of every route that seals.
    """

    bucket: str
    bucket_owner: str
    key_arns: Mapping[RouteName, str]
    checkpoint_table: str | None
    stream_arn: str
    service: str
    mapping_id: str = ""
    is_lean: bool = False
    is_local: bool = False
    hash_key_arn: str = ""
    seal_key_arns: Mapping[RouteName, str] = field(default_factory=dict)


def key_variable(key: str) -> str:
    """Return the variable that holds the ARN of a key, by its name: `KEY_ARN_DEAD_LETTER`, `KEY_ARN_HASH`."""
    return f"KEY_ARN_{key.upper().replace('-', '_')}"


def is_placeholder(key_arn: str) -> bool:
    """Return True for what is no ARN of a key: SAM's local runtime fills in such, and no deployment does."""
    return not _KEY_ARN.fullmatch(key_arn)


def read_settings(environ: Mapping[str, str], table: RouteTable, *, needs_mapping: bool = False) -> Settings:
    """Read the settings for a route table.

    Args:
        environ: `{"BUCKET": ..., "BUCKET_OWNER": "111122223333", "CHECKPOINT_TABLE": <name or "off">,
            "STREAM_ARN": <ARN>, "MAPPING_ID": <UUID>, "KEY_ARN_<ROUTE>": <full key ARN>, ...}`.
        table: Every route of it needs a key.
        needs_mapping: True for functions that ask for the event source mapping.

    Raises:
        ConfigurationError: With every problem of the environment.
    """
    faults: list[Fault] = []

    def read(name: str, form: re.Pattern[str], expected: str) -> str:
        value = environ.get(name, "")
        if not form.fullmatch(value):
            faults.append(Fault(name, f"expected {expected}, got {value!r}" if value else f"expected {expected}"))
        return value

    settings = Settings(
        bucket=read("BUCKET", _BUCKET, "a bucket name"),
        bucket_owner=read("BUCKET_OWNER", _ACCOUNT, "an account id of 12 digits"),
        key_arns={
            name: read(key_variable(name), _KEY_ARN, f"the full ARN of the KMS key of route {name!r}, no alias")
            for name in (*(route.name for route in table.routes), layout.DEAD_LETTER)
        },
        checkpoint_table=_checkpoint_table(read("CHECKPOINT_TABLE", _TABLE, f"a table name, or {OFF!r}")),
        stream_arn=read("STREAM_ARN", _STREAM_ARN, "the ARN of the stream"),
        mapping_id=read("MAPPING_ID", _UUID, "the UUID of the event source mapping") if needs_mapping else "",
        # https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-using-debugging.html
        is_local=environ.get("AWS_SAM_LOCAL") == "true",
        service=environ.get("POWERTOOLS_SERVICE_NAME", "ctr-fanout"),
        is_lean=environ.get("METRICS") == LEAN,
        hash_key_arn=(
            read(key_variable(HASH_KEY), _KEY_ARN, "the full ARN of the KMS HMAC key, since a route hashes")
            if table.hashes
            else ""
        ),
        seal_key_arns={
            route.name: read(
                key_variable(route.seal_key), _KEY_ARN, f"the full ARN of the sealing key of {route.name!r}"
            )
            for route in table.routes
            if route.seals
        },
    )
    if faults:
        raise ConfigurationError("environment", faults)
    return settings


def _checkpoint_table(value: str) -> str | None:
    return None if value == OFF else value
