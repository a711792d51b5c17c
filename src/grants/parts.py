"""What the parts of the fixed rows share: a stack, its callers, and requests that many of them make."""

from collections.abc import Iterator

from grants.principals import Principal, Principals
from grants.requests import Request, Requests
from grants.row import Row, Section
from grants.stack import ARCHIVE_KEY, STREAM_KEY, Stack, top
from routing import layout
from routing.table.routes import RouteTable

DEAD_LETTER = layout.DEAD_LETTER
DEAD_LETTERS = layout.DEAD_LETTER_PREFIX
READ_STREAM = (
    "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords kinesis:GetShardIterator "
    "kinesis:ListShards"
)
TAKE = "s3:GetObject s3:DeleteObject"
UNKNOWN_PREFIX = "nowhere"


class Parts:
    """The rows of one part are a method of a class below this one."""

    def __init__(self, table: RouteTable, stack: Stack) -> None:
        """Name everything that rows speak of."""
        self.stack = stack
        self.table = table
        self.ask = Requests(stack)
        self.who = Principals(stack)
        self.first = table.routes[0]
        self.prefixes = [top(route) for route in table.all_routes]
        unmanaged = {STREAM_KEY} if not stack.makes_stream_key else set()
        unmanaged |= set() if stack.has_archive else {ARCHIVE_KEY}
        self.managed_keys = [name for name in stack.keys if name not in unmanaged]

    def plain(self, actions: str, resource: str, on: str, how: str = "", *, source: str = "") -> Request:
        """Make a request of a service whose conditions look at nothing, or at what it is for."""
        return self.ask.plain(actions, resource, on, how, **({"aws_SourceArn": source} if source else {}))

    def log(self, section: Section, caller: Principal, group: str, actions: str) -> Iterator[Row]:
        """Return the rows of a role that logs into one group and takes nothing out of it."""
        here = self.stack.here
        mine, other = (
            here("logs", f"log-group:{group}:log-stream:delivery"),
            here("logs", "log-group:other:log-stream:x"),
        )
        yield section.may(caller, self.plain(actions, mine, "its log group"), "no line holds a value of a record")
        yield section.may_not(caller, self.plain(actions, other, "another log group"), "its own only")
        delete = self.plain("logs:DeleteLogStream logs:GetLogEvents logs:PutRetentionPolicy", mine, "its log group")
        yield section.may_not(caller, delete, "what is logged stays")

    def only_taken(self, section: Section, caller: Principal, role: Principal) -> Iterator[Row]:
        """Return the row of a role that is taken as it is, without tags or another name."""
        tag = self.plain("sts:TagSession sts:SetSourceIdentity", role.role, f"the {role.label} role")
        yield section.may_not(caller, tag, "and only takes it")
