"""The names of a deployed stack: the ARNs that the rows of the matrix refer to."""

from collections.abc import Mapping
from dataclasses import dataclass

from routing import layout
from routing.lambda_event import ACCOUNT, REGION
from routing.table.routes import Route, RouteTable, logical_id

STREAM_KEY = "stream"
ARCHIVE_KEY = "archive"
ALARM_KEY = "alarm"
RESULTS_KEY = "query-results"
ARCHIVE = layout.ARCHIVE_PREFIX
HANDED_OVER = layout.HANDED_OVER_PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack with one choice of its optional parameters.

    Attributes:
        name: The parameter `Name`; stream, bucket, table and log group derive from it.
        setting: What is chosen, for people, e.g. `everything`.
        keys: Key ARNs by name: `stream`, `archive`, `dead-letter`, every route, `protection_keys`, and `alarm` and
            `query-results` where there are any.
        roles: Role ARNs by name: `fan-out`, `replay`, `erase`, `convert`, `archive`.
        mapping: The ARN of the event source mapping.
        has_connect: Connect's service-linked role is named.
        unread: Names of routes, of sealing keys, and `archive`, that no parameter names readers of. All others have a reader,
            and one auditor reads them all.
        has_replay: Somebody may take the replay role.
        has_erasure: A function may take one contact out of what is delivered.
        has_columns: A function makes Parquet of what is delivered.
        has_archive: Firehose archives the raw stream.
        has_alarm_topic: The topic of alarms is the stack's own.
        has_analysis: There are tables and workgroups.
        has_tracing: Lambda traces the functions.
        makes_stream_key: False if the stream is encrypted with an existing key.
    """

    name: str = "ctr-fanout"
    account: str = ACCOUNT
    region: str = REGION
    partition: str = "aws"
    setting: str
    keys: Mapping[str, str]
    roles: Mapping[str, str]
    mapping: str
    has_connect: bool = True
    unread: frozenset[str] = frozenset()
    has_replay: bool = True
    has_erasure: bool = True
    has_columns: bool = True
    has_archive: bool = True
    has_alarm_topic: bool = True
    has_analysis: bool = True
    has_tracing: bool = True
    makes_stream_key: bool = True

    def is_read(self, name: str) -> bool:
        """Return True if a route, a sealing key or the archive has readers."""
        return name not in self.unread

    @property
    def bucket(self) -> str:
        """The ARN of the bucket."""
        return f"arn:{self.partition}:s3:::{self.name}-{self.account}-{self.region}"

    def here(self, service: str, resource: str) -> str:
        """Return an ARN of this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    @property
    def stream(self) -> str:
        """The ARN of the stream."""
        return self.here("kinesis", f"stream/{self.name}")

    def work_group(self, route: Route) -> str:
        """The ARN of the workgroup where a route's readers ask."""
        return self.here("athena", f"workgroup/{self.name}-{route.name}")

    def session(self, role: str) -> str:
        """Return the ARN that a role's requests come from."""
        return f"arn:{self.partition}:sts::{role.split(':')[4]}:assumed-role/{role.rpartition('/')[2]}/session"


def example_stack(table: RouteTable) -> Stack:
    """Return a stack with everything switched on, for people to read."""
    names = [STREAM_KEY, ARCHIVE_KEY, *(route.name for route in table.all_routes), *table.protection_keys]
    names += [ALARM_KEY, RESULTS_KEY]
    roles = {
        "fan-out": "FanOutRole",
        "replay": "ReplayRole",
        "erase": "EraseRole",
        "convert": "ConvertRole",
        "archive": "ArchiveRole",
    }
    here = f"{REGION}:{ACCOUNT}"
    return Stack(
        setting="everything",
        keys={name: f"arn:aws:kms:{here}:key/{logical_id(name)}Key" for name in names},
        roles={name: f"arn:aws:iam::{ACCOUNT}:role/{role}" for name, role in roles.items()},
        mapping=f"arn:aws:lambda:{here}:event-source-mapping:StreamMapping",
    )


def top(route: Route) -> str:
    """Return the prefix that a route's key guards; dead letters have several kinds below theirs."""
    return layout.DEAD_LETTER_PREFIX if route.name == layout.DEAD_LETTER else route.prefix
