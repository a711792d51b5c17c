"""The grant matrix: every row is a request, what AWS has to answer, and why.

`tests/grants` evaluates it on the template's real policies with two engines, and removes every statement and
every condition in turn: some row here has to notice. So a row that looks redundant may be the only one that
stands for a line of the template.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cli.grants.principals import Principal, Principals
from cli.grants.requests import Request, Requests
from cli.grants.stack import ARCHIVE, ARCHIVE_KEY, HANDED_OVER, STREAM_KEY, Stack, top
from routing import dead_letter
from routing.routes import Route, RouteTable

# What is assumed to have gone wrong elsewhere, so that one lock has to hold alone.
type Assumption = Literal["", "default key policy", "no bucket policy"]

_DEAD_LETTER = dead_letter.ROUTE
_DEAD_LETTERS = dead_letter.PREFIX
_USE = (
    "kms:Decrypt kms:Encrypt kms:GenerateDataKey kms:GenerateDataKeyPair kms:GenerateDataKeyWithoutPlaintext "
    "kms:ReEncryptFrom kms:ReEncryptTo"
)
_MANAGE = (
    "kms:CancelKeyDeletion kms:CreateAlias kms:DeleteAlias kms:DescribeKey kms:DisableKey kms:DisableKeyRotation "
    "kms:EnableKey kms:EnableKeyRotation kms:GetKeyPolicy kms:GetKeyRotationStatus kms:ListGrants kms:ListKeyPolicies "
    "kms:ListKeyRotations kms:ListResourceTags kms:PutKeyPolicy kms:RevokeGrant kms:RotateKeyOnDemand "
    "kms:ScheduleKeyDeletion kms:TagResource kms:UntagResource kms:UpdateAlias kms:UpdateKeyDescription"
)
_READ_STREAM = (
    "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords kinesis:GetShardIterator "
    "kinesis:ListShards"
)
_UNKNOWN_PREFIX = "nowhere"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix.

    Attributes:
        section: What it is about: a part of the stack, or `route <name>`.
        who: The caller.
        request: What it asks for; every action of it gets the same answer.
        is_allowed: What AWS has to answer.
        why: In one sentence.
        assuming: What is assumed to have gone wrong.
    """

    section: str
    who: Principal
    request: Request
    is_allowed: bool
    why: str
    assuming: Assumption = ""


def matrix(table: RouteTable, stack: Stack) -> list[Row]:
    """Return all rows of a stack: the fixed part, then those of each route."""
    return list(_Matrix(table, stack).rows())


class _Matrix:
    def __init__(self, table: RouteTable, stack: Stack) -> None:
        self._table = table
        self._stack = stack
        self._ask = Requests(stack)
        self._who = Principals(stack)
        self._other_bucket = "arn:aws:s3:::another-bucket"
        self._managed_keys = [name for name in stack.keys if stack.makes_stream_key or name != STREAM_KEY]
        if not stack.has_archive:
            self._managed_keys.remove(ARCHIVE_KEY)

    def rows(self) -> Iterator[Row]:
        if self._stack.makes_stream_key:
            yield from self._connect()
        yield from self._stream()
        yield from self._function()
        yield from self._dead_letters()
        yield from self._grant_check()
        if self._stack.has_replay:
            yield from self._replay()
        if self._stack.has_archive:
            yield from self._archive()
        yield from self._bucket()
        yield from self._administrators()
        for route, other in zip(self._table.routes, (*self._table.routes[1:], self._table.routes[0]), strict=True):
            yield from self._route(route, other)

    def _connect(self) -> Iterator[Row]:
        ask, who = self._ask, self._who
        section, encrypt = "Amazon Connect", ask.via_kinesis("kms:GenerateDataKey")
        named = self._stack.has_connect
        yield Row(
            section, who.connect, encrypt, named,
            "without it Connect delivers nothing and says nothing" if named else "no ConnectServiceRoleArn is given",
        )  # fmt: skip
        yield Row(section, who.connect, ask.via_kinesis("kms:Decrypt"), False, "Connect only writes")
        yield Row(section, who.other_connect, encrypt, False, "only the service-linked role of this instance")
        yield Row(section, who.connect, ask.via_s3(_USE, _DEAD_LETTER, _DEAD_LETTERS), False, "no key but the stream's")

    def _stream(self) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, poller = "Reading the stream", who.lambda_service
        other_stream = stack.here("kinesis", "stream/other")
        context = {"aws:kinesis:arn": stack.stream}
        yield Row(section, poller, ask.plain(_READ_STREAM, stack.stream, "the stream"), True, "the mapping reads it")
        yield Row(section, poller, ask.via_kinesis("kms:Decrypt"), True, "the mapping hands over what it decrypted")
        yield Row(
            section, poller, ask.plain(_READ_STREAM, other_stream, "another stream"), False, "this stream and no other"
        )
        yield Row(
            section, poller, ask.plain("kinesis:PutRecord kinesis:DeleteStream kinesis:IncreaseStreamRetentionPeriod",
                                       stack.stream, "the stream"), False, "it reads and changes nothing",
        )  # fmt: skip
        code = "its code has the same role; it reads no stream, and no statement could tell the two apart safely"
        yield Row(section, who.function, ask.plain(_READ_STREAM, stack.stream, "the stream"), True, code)
        yield Row(section, who.function, ask.via_kinesis("kms:Decrypt"), True, code)
        loose: Assumption = "default key policy"
        encrypt = ask.via_kinesis("kms:GenerateDataKey")
        yield Row(section, poller, encrypt, False, "its own policy: it encrypts nothing", loose)
        other = ask.via_kinesis("kms:Decrypt", stream=other_stream)
        directly = ask.directly("kms:Decrypt", STREAM_KEY, context)
        yield Row(section, poller, other, False, "its own policy names this stream", loose)
        yield Row(section, poller, directly, False, "its own policy: through Kinesis only", loose)
        yield Row(
            section, poller, ask.via_kinesis("kms:Decrypt", _DEAD_LETTER), False, "its own policy names this key", loose
        )
        if stack.makes_stream_key:
            bold = who.function.given_everything()
            yield Row(section, bold, other, False, "the key serves this stream only")
            yield Row(section, bold, directly, False, "the key serves through Kinesis only")
            yield Row(section, bold, encrypt, False, "the key lets it write nothing")
            nothing = poller.given_nothing()
            yield Row(
                section, nothing, ask.via_kinesis("kms:Decrypt"), False, "the key alone lets nobody in: two locks"
            )
            yield Row(
                section, who.administrator, ask.via_kinesis("kms:Decrypt"), False,
                "may call GetRecords, and gets nothing that the key protects",
            )  # fmt: skip
            yield Row(section, who.administrator, ask.via_kinesis("kms:GenerateDataKey"), False, "nor can it write")
            yield Row(section, who.stranger, ask.via_kinesis(_USE), False, "another account")
        for reader in self._readers():
            yield Row(section, reader, ask.plain(_READ_STREAM, stack.stream, "the stream"), False, "readers read S3")

    def _function(self) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, function = "The function", who.function
        table, log_group = (
            stack.here("dynamodb", f"table/{stack.name}-checkpoint"),
            f"log-group:/aws/lambda/{stack.name}",
        )
        yield Row(
            section, who.service("lambda"), ask.plain("sts:AssumeRole", function.role, "the function's role"), True,
            "Lambda runs the function with it",
        )  # fmt: skip
        assume = ask.plain("sts:AssumeRole", function.role, "the function's role")
        yield Row(section, who.service("ec2"), assume, False, "Lambda and no other service")
        tag = ask.plain("sts:TagSession sts:SetSourceIdentity", function.role, "the function's role")
        yield Row(section, who.service("lambda"), tag, False, "and only takes it")
        yield Row(section, who.administrator, assume, False, "no person takes it")
        update = ask.plain("dynamodb:UpdateItem", table, "the checkpoint table")
        yield Row(section, function, update, True, "claims a shard and commits its watermarks")
        yield Row(
            section, function, ask.plain("dynamodb:DeleteItem dynamodb:Scan dynamodb:PutItem dynamodb:DeleteTable",
                                         table, "the checkpoint table"), False, "it can forget no watermark",
        )  # fmt: skip
        other_table = ask.plain("dynamodb:UpdateItem", stack.here("dynamodb", "table/other"), "another table")
        yield Row(section, function, other_table, False, "its own table only")
        log = ask.plain(
            "logs:CreateLogStream logs:PutLogEvents", stack.here("logs", f"{log_group}:log-stream:x"), "its log group"
        )
        yield Row(section, function, log, True, "its log lines hold no value of a record")
        other_log = stack.here("logs", "log-group:/aws/lambda/other:log-stream:x")
        yield Row(
            section, function, ask.plain("logs:PutLogEvents", other_log, "another log group"), False, "its own only"
        )
        delete_log = ask.plain("logs:DeleteLogStream", stack.here("logs", f"{log_group}:log-stream:x"), "its log group")
        yield Row(section, function, delete_log, False, "what is logged stays")
        yield Row(section, function, ask.names(None), False, "its code lists nothing: Lambda tells code from itself")
        first = self._table.routes[0].prefix
        yield Row(section, function, ask.names(first), False, "nor below a prefix")
        for action in ("s3:DeleteObject", "s3:GetObjectVersion", "s3:PutObjectAcl", "s3:PutObjectTagging"):
            yield Row(
                section, function, ask.objects(action, first), False, "it puts, and looks at what it would replace"
            )
        policy = ask.bucket("s3:PutBucketPolicy s3:DeleteBucketPolicy s3:PutEncryptionConfiguration")
        yield Row(section, function, policy, False, "it cannot change what guards it")
        yield Row(section, function, ask.manage("kms:CreateGrant kms:PutKeyPolicy kms:DisableKey", _DEAD_LETTER), False,
                  "nor the keys")  # fmt: skip
        escalate = ask.plain(
            "iam:AttachRolePolicy iam:PutRolePolicy iam:PassRole", function.role, "the function's role"
        )
        yield Row(section, function, escalate, False, "nor its own rights")
        unknown = ask.put(_UNKNOWN_PREFIX, _DEAD_LETTER)
        yield Row(section, function, unknown, False, "its own policy names the prefixes", "no bucket policy")
        yield Row(section, function, ask.objects("s3:GetObject", ARCHIVE), False, "nothing but the prefixes it writes")

    def _dead_letters(self) -> Iterator[Row]:
        ask, who = self._ask, self._who
        section, function, poller = "Dead letters", who.function, who.lambda_service
        put = ask.put(_DEAD_LETTERS, _DEAD_LETTER)
        encrypt = ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, _DEAD_LETTERS)
        yield Row(section, function, put, True, "what cannot be delivered is kept with a reason")
        yield Row(
            section, function, ask.put(_DEAD_LETTERS, _DEAD_LETTER, write="replaces"), True, "and put again by a retry"
        )
        yield Row(section, function, encrypt, True, "under the dead-letter key")
        yield Row(section, function, ask.objects("s3:GetObject", _DEAD_LETTERS), True, "sees the ETag of what is there")
        yield Row(
            section, function, ask.via_s3("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS), False, "and not the content"
        )
        yield from self._bound(section, _DEAD_LETTER, _DEAD_LETTERS, self._table.routes[0])
        yield Row(section, poller, ask.put(HANDED_OVER, None, write="overwrites"), True,
                  "Lambda puts a batch that it gave up on, naming no key: the bucket's default is the dead-letter key")  # fmt: skip
        yield Row(section, poller, ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, HANDED_OVER), True, "under that key")
        yield Row(
            section, function, ask.put(HANDED_OVER, None, write="overwrites"), True, "the grant check tries the same"
        )
        yield Row(section, function, ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, HANDED_OVER), True, "likewise")
        yield Row(section, poller, ask.names(None), True, "AWS documents that Lambda looks at the bucket first")
        yield Row(section, poller, ask.elsewhere(ask.names(None)), False, "our bucket, not one of its name")
        yield Row(section, poller, ask.names(None, bucket=self._other_bucket), False, "nor any other")
        taken = ask.elsewhere(ask.put(HANDED_OVER, None, write="overwrites"))
        yield Row(section, poller, taken, False, "a bucket whose name somebody else has taken gets nothing")
        yield Row(section, poller, ask.put(_UNKNOWN_PREFIX, None), False, "only below aws/lambda/", "no bucket policy")
        yield Row(section, poller, ask.bucket("s3:DeleteBucket s3:PutBucketPolicy"), False, "and nothing else")
        yield Row(
            section,
            function,
            ask.objects("s3:GetObject s3:DeleteObject", HANDED_OVER),
            False,
            "replay takes it from there",
        )
        for reader in self._readers():
            yield Row(section, reader, ask.objects("s3:GetObject", _DEAD_LETTERS), False, "dead letters mix all routes")
            yield Row(section, reader, ask.via_s3("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS), False, "nor their key")
        decrypt = ask.via_s3("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS)
        yield Row(section, who.administrator, decrypt, False, "administrators read no dead letter")

    def _grant_check(self) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, function = "The grant check", stack.here("lambda", f"function:{stack.name}-grant-check")
        rule = stack.here("events", f"rule/{stack.name}-grant-check")
        state = ask.plain("lambda:GetEventSourceMapping", stack.mapping, "the mapping")
        yield Row(section, who.function, state, True, "reads whether the stream is being read")
        other = stack.here("lambda", "event-source-mapping:other")
        elsewhere = ask.plain("lambda:GetEventSourceMapping", other, "another mapping")
        yield Row(section, who.function, elsewhere, False, "this mapping only")
        change = ask.plain(
            "lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping", stack.mapping, "the mapping"
        )
        yield Row(section, who.function, change, False, "and changes nothing of it")
        invoke = ask.plain(
            "lambda:InvokeFunction", function, "the grant check", "from its schedule", aws_SourceArn=rule
        )
        yield Row(section, who.service("events"), invoke, True, "the schedule calls it")
        from_other = ask.plain(
            "lambda:InvokeFunction", function, "the grant check", "from another schedule",
            aws_SourceArn=stack.here("events", "rule/other"),
        )  # fmt: skip
        yield Row(section, who.service("events"), from_other, False, "its own schedule only")
        update = ask.plain("lambda:UpdateFunctionCode", function, "the grant check", aws_SourceArn=rule)
        yield Row(section, who.service("events"), update, False, "and it only calls")
        yield Row(section, who.service("s3"), invoke, False, "no other service")

    def _replay(self) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, replay = "Replay", who.replay
        assume = ask.plain("sts:AssumeRole", replay.role, "the replay role")
        yield Row(section, who.operator, assume, True, "named by ReplayOperators")
        yield Row(section, who.administrator, assume, False, "not named there")
        yield Row(section, who.service("lambda"), assume, False, "no service takes it")
        tag = ask.plain("sts:TagSession sts:SetSourceIdentity", replay.role, "the replay role")
        yield Row(section, who.operator, tag, False, "under its own name")
        yield Row(section, replay, ask.plain(_READ_STREAM, stack.stream, "the stream"), True, "reads a range again")
        yield Row(section, replay, ask.via_kinesis("kms:Decrypt"), True, "and decrypts it")
        loose: Assumption = "default key policy"
        for prefix in (_DEAD_LETTERS, HANDED_OVER):
            yield Row(section, replay, ask.names(prefix), True, "finds what there is to do")
            yield Row(section, replay, ask.objects("s3:GetObject s3:DeleteObject", prefix), True,
                      "takes it, and removes it when it is delivered")  # fmt: skip
            decrypt = ask.via_s3("kms:Decrypt", _DEAD_LETTER, prefix)
            yield Row(section, replay, decrypt, True, "reads it")
            yield Row(section, who.administrator, decrypt, False, "the key admits the replay role only")
            yield Row(section, who.function.given_everything(), decrypt, False, "and not the function")
        directly = ask.direct_for("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS)
        first = self._table.routes[0]
        elsewhere = ask.via_s3("kms:Decrypt", _DEAD_LETTER, first.prefix)
        bold = replay.given_everything()
        yield Row(section, replay, directly, False, "its own policy: through S3 only", loose)
        yield Row(section, replay, elsewhere, False, "its own policy: dead letters only", loose)
        yield Row(section, replay, ask.via_s3("kms:Decrypt", first.name, _DEAD_LETTERS), False,
                  "its own policy names the dead-letter key", loose)  # fmt: skip
        yield Row(section, bold, directly, False, "the key serves through S3 only")
        yield Row(section, bold, elsewhere, False, "the key serves dead letters only")
        yield Row(section, bold, ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, _DEAD_LETTERS), False,
                  "it writes no dead letter")  # fmt: skip
        yield Row(section, replay.given_nothing(), ask.via_s3("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS), False,
                  "the key alone lets nobody in: two locks")  # fmt: skip
        yield Row(section, replay, ask.names(first.prefix), False, "it lists no route")
        yield Row(section, replay, ask.names(_DEAD_LETTERS, bucket=self._other_bucket), False, "nor another bucket")
        yield Row(section, replay, ask.names(_DEAD_LETTERS, action="s3:ListBucketVersions"), False, "nor old versions")
        yield Row(section, replay, ask.objects("s3:DeleteObject", first.prefix), False, "it deletes nothing delivered")
        for prefix in (_DEAD_LETTERS, HANDED_OVER):
            yield Row(section, replay, ask.objects("s3:PutObject s3:DeleteObjectVersion s3:PutObjectTagging", prefix),
                      False, "it takes and removes, no more")  # fmt: skip
        yield Row(section, replay, ask.bucket("s3:PutBucketPolicy s3:ListBucketVersions"), False, "nor anything else")
        yield Row(section, replay, ask.via_s3("kms:DescribeKey kms:CreateGrant", _DEAD_LETTER, _DEAD_LETTERS), False,
                  "it decrypts and no more", loose)  # fmt: skip

    def _archive(self) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, firehose = "The archive", who.archive
        source = stack.here("firehose", f"deliverystream/{stack.name}-archive")
        assume = "sts:AssumeRole"
        yield Row(section, who.service("firehose"), ask.plain(assume, firehose.role, "the archive role", "for its stream",
                  aws_SourceArn=source), True, "Firehose delivers with it")  # fmt: skip
        other = stack.here("firehose", "deliverystream/other")
        yield Row(section, who.service("firehose"), ask.plain(assume, firehose.role, "the archive role",
                  "for another delivery stream", aws_SourceArn=other), False, "no confused deputy")  # fmt: skip
        yield Row(section, who.service("s3"), ask.plain(assume, firehose.role, "the archive role", "for its stream",
                  aws_SourceArn=source), False, "no other service")  # fmt: skip
        yield Row(section, who.service("firehose"), ask.plain("sts:TagSession", firehose.role, "the archive role",
                  "for its stream", aws_SourceArn=source), False, "and only takes it")  # fmt: skip
        yield Row(
            section,
            who.administrator,
            ask.plain(assume, firehose.role, "the archive role"),
            False,
            "no person takes it",
        )
        yield Row(
            section, firehose, ask.plain(_READ_STREAM, stack.stream, "the stream"), True, "reads the whole stream"
        )
        yield Row(section, firehose, ask.via_kinesis("kms:Decrypt"), True, "with the stream's key: trap 2, first half")
        put = ask.put(ARCHIVE, ARCHIVE_KEY, write="overwrites")
        yield Row(section, firehose, put, True, "writes archive/ with its key")
        both = ask.via_s3("kms:Decrypt kms:GenerateDataKey", ARCHIVE_KEY, ARCHIVE)
        yield Row(section, firehose, both, True, "under another key than the stream's: trap 2, second half")
        yield Row(section, firehose, ask.objects("s3:AbortMultipartUpload s3:GetObject", ARCHIVE), True,
                  "as Firehose documents")  # fmt: skip
        yield Row(section, firehose, ask.bucket("s3:GetBucketLocation s3:ListBucketMultipartUploads"), True, "likewise")
        yield Row(section, firehose, ask.names(None), True, "likewise")
        yield Row(section, firehose, ask.names(None, bucket=self._other_bucket), False, "no other bucket")
        log = stack.here("logs", f"log-group:/aws/kinesisfirehose/{stack.name}-archive:log-stream:delivery")
        yield Row(
            section, firehose, ask.plain("logs:PutLogEvents", log, "its log stream"), True, "so that a denial is seen"
        )
        yield Row(
            section, firehose, ask.plain("logs:DeleteLogStream", log, "its log stream"), False, "what is logged stays"
        )
        other_log = stack.here("logs", "log-group:/aws/lambda/other:log-stream:x")
        yield Row(
            section, firehose, ask.plain("logs:PutLogEvents", other_log, "another log group"), False, "its own only"
        )
        loose: Assumption = "default key policy"
        directly, first = ask.direct_for("kms:Decrypt kms:GenerateDataKey", ARCHIVE_KEY, ARCHIVE), self._table.routes[0]
        elsewhere = ask.via_s3("kms:Decrypt kms:GenerateDataKey", ARCHIVE_KEY, first.prefix)
        bold = firehose.given_everything()
        yield Row(section, firehose, directly, False, "its own policy: through S3 only", loose)
        yield Row(section, firehose, elsewhere, False, "its own policy: archive/ only", loose)
        foreign = ask.via_s3("kms:Decrypt kms:GenerateDataKey", first.name, ARCHIVE)
        yield Row(section, firehose, foreign, False, "its own policy names the archive key", loose)
        yield Row(
            section, firehose, ask.via_s3("kms:ReEncryptFrom", ARCHIVE_KEY, ARCHIVE), False, "and nothing else", loose
        )
        yield Row(section, bold, directly, False, "the key serves through S3 only")
        yield Row(section, bold, elsewhere, False, "the key serves archive/ only")
        yield Row(
            section, bold, ask.via_s3("kms:Encrypt kms:ReEncryptFrom", ARCHIVE_KEY, ARCHIVE), False, "and nothing else"
        )
        yield Row(section, firehose.given_nothing(), both, False, "the key alone lets nobody in: two locks")
        yield Row(section, firehose, ask.put(first.prefix, ARCHIVE_KEY), False, "no other prefix", "no bucket policy")
        yield Row(section, firehose, ask.objects("s3:DeleteObject", ARCHIVE), False, "what is archived stays")
        yield Row(section, firehose, ask.bucket("s3:PutBucketPolicy"), False, "and nothing else")
        yield Row(section, who.administrator, both, False, "administrators neither write nor read the archive")
        yield Row(section, who.administrator, ask.put(ARCHIVE, first.name), False, "archive/ takes its key only")
        yield Row(section, who.administrator, ask.put(ARCHIVE, None), False, "and no put that names none")
        if self._stack.has_readers:
            yield from self._archive_readers()

    def _archive_readers(self) -> Iterator[Row]:
        ask, who = self._ask, self._who
        section, first = "The archive", self._table.routes[0]
        reader = who.reader(ARCHIVE)
        decrypt = ask.via_s3("kms:Decrypt", ARCHIVE_KEY, ARCHIVE)
        for who_reads in (reader, who.auditor):
            yield Row(section, who_reads, ask.objects("s3:GetObject", ARCHIVE), True, "named by ReadersOfArchive")
            yield Row(section, who_reads, decrypt, True, "and by its key")
            yield Row(section, who_reads, ask.names(ARCHIVE), True, "finds the objects")
        directly = ask.direct_for("kms:Decrypt", ARCHIVE_KEY, ARCHIVE)
        elsewhere = ask.via_s3("kms:Decrypt", ARCHIVE_KEY, first.prefix)
        yield Row(section, reader, directly, False, "the key serves readers through S3 only")
        yield Row(section, reader, elsewhere, False, "and for archive/ only")
        yield Row(
            section, reader, ask.via_s3("kms:GenerateDataKey", ARCHIVE_KEY, ARCHIVE), False, "readers write nothing"
        )
        yield Row(section, reader, ask.objects("s3:GetObject", first.prefix), False, "nor read another prefix")
        yield Row(section, reader, ask.names(first.prefix), False, "no names of other prefixes")
        yield Row(section, reader, ask.names(ARCHIVE, action="s3:ListBucketVersions"), False, "nor old versions")
        yield Row(section, who.reader(first.name), ask.names(ARCHIVE), False, "a route's reader sees no archive")
        yield Row(section, who.reader(first.name), ask.objects("s3:GetObject", ARCHIVE), False, "nor reads it")
        yield Row(section, reader, ask.objects("s3:DeleteObject s3:PutObject", ARCHIVE), False, "readers read")

    def _bucket(self) -> Iterator[Row]:
        ask, who = self._ask, self._who
        section, first = "The bucket", self._table.routes[0]
        put = ask.put(first.prefix, first.name, secure=False)
        yield Row(section, who.function, put, False, "TLS or nothing")
        http = ask.objects("s3:GetObject", first.prefix, secure=False)
        yield Row(section, who.administrator, http, False, "TLS or nothing")
        yield Row(
            section, who.administrator, ask.names(None, secure=False), False, "TLS or nothing, for the bucket, too"
        )
        if self._stack.has_readers:
            yield Row(section, who.reader(first.name), http, False, "for readers, too")
        yield Row(section, who.administrator, ask.put(_UNKNOWN_PREFIX, first.name), False,
                  "a prefix that no route has takes nothing")  # fmt: skip
        yield Row(section, who.function.given_everything(), ask.put(_UNKNOWN_PREFIX, first.name), False, "from nobody")
        if not self._stack.has_archive:
            yield Row(section, who.administrator, ask.put(ARCHIVE, first.name), False, "there is no archive")
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            yield Row(section, who.anonymous, ask.objects(action, first.prefix), False, "nothing is public")
            yield Row(section, who.stranger, ask.objects(action, first.prefix), False, "nor another account's")
        yield Row(section, who.anonymous, ask.names(first.prefix), False, "nor a name")
        yield Row(section, who.stranger, ask.names(first.prefix), False, "nor a name")

    def _administrators(self) -> Iterator[Row]:
        ask, who = self._ask, self._who
        section = "Administrators of the account"
        for key in self._managed_keys:
            yield Row(section, who.administrator, ask.manage(_MANAGE, key), True, "they manage it")
            yield Row(section, who.administrator, ask.manage(f"{_USE} kms:CreateGrant", key), False,
                      "and neither use it nor let others")  # fmt: skip
            yield Row(section, who.stranger, ask.manage(f"{_MANAGE} {_USE}", key), False, "another account")
            yield Row(section, who.operator, ask.manage(_MANAGE, key), False, "nor who has no rights in this account")

    def _bound(self, section: str, key: str, prefix: str, other: Route) -> Iterator[Row]:
        """Whose key binds whose prefix, each lock alone: the function's policy, the key's, the bucket's."""
        ask, who = self._ask, self._who
        bold, encrypt = who.function.given_everything(), "kms:GenerateDataKey"
        directly = ask.direct_for(encrypt, key, prefix)
        elsewhere = ask.via_s3(encrypt, key, other.prefix)
        loose: Assumption = "default key policy"
        yield Row(section, who.function, elsewhere, False, "its own policy: this prefix only", loose)
        yield Row(section, who.function, directly, False, "its own policy: through S3 only", loose)
        yield Row(section, who.function, ask.via_s3(encrypt, other.name, prefix), False,
                  "its own policy: this key only", loose)  # fmt: skip
        yield Row(section, who.function, ask.via_s3("kms:Decrypt", key, prefix), False, "it never decrypts", loose)
        yield Row(
            section,
            who.function,
            ask.put(prefix, other.name),
            False,
            "its own policy: this key only",
            "no bucket policy",
        )
        yield Row(
            section,
            who.function,
            ask.objects("s3:DeleteObject", prefix),
            False,
            "it deletes nothing",
            "no bucket policy",
        )
        yield Row(
            section,
            who.function,
            ask.put(prefix, key, action="s3:ReplicateObject"),
            False,
            "and only puts",
            "no bucket policy",
        )
        yield Row(section, who.function.given_nothing(), ask.via_s3(encrypt, key, prefix), False,
                  "the key alone lets nobody in: two locks")  # fmt: skip
        yield Row(section, bold, elsewhere, False, "the key serves this prefix only")
        yield Row(section, bold, directly, False, "the key serves through S3 only")
        yield Row(
            section, bold, ask.via_s3("kms:Decrypt", key, prefix), False, "the key never decrypts for the function"
        )
        yield Row(section, who.administrator, ask.via_s3(encrypt, key, prefix), False, "nobody else writes under it")
        yield Row(section, who.administrator, ask.put(prefix, other.name), False, "another key than the prefix's")
        yield Row(section, who.administrator, ask.put(prefix, None), False, "no key named")
        yield Row(section, who.administrator, ask.put(prefix, "aws/s3", algorithm="AES256"), False, "SSE-S3 instead")
        managed = self._stack.here("kms", "alias/aws/s3")
        yield Row(section, who.administrator, ask.put(prefix, managed), False, "aws:kms without a key means aws/s3")
        yield Row(
            section,
            who.administrator,
            ask.put(prefix, key, write="overwrites"),
            False,
            "a put that could undo a newer one",
        )

    def _route(self, route: Route, other: Route) -> Iterator[Row]:
        ask, who, stack = self._ask, self._who, self._stack
        section, function, key, prefix = f"Route {route.name}", who.function, route.name, top(route)
        encrypt, decrypt = ask.via_s3("kms:GenerateDataKey", key, prefix), ask.via_s3("kms:Decrypt", key, prefix)
        yield Row(section, function, ask.put(prefix, key), True, "delivers")
        yield Row(
            section, function, ask.put(prefix, key, write="replaces"), True, "and puts again what a retry cuts anew"
        )
        yield Row(section, function, encrypt, True, "under the route's key")
        yield Row(section, function, ask.objects("s3:GetObject", prefix), True, "sees the ETag of what is there")
        yield Row(section, function, decrypt, False, "and not the content: so it can copy nothing either")
        yield from self._bound(section, key, prefix, other)
        if stack.has_replay:
            yield Row(section, who.replay, ask.put(prefix, key), True, "puts a dead letter to its place")
            yield Row(section, who.replay, encrypt, True, "under the route's key")
            yield Row(section, who.replay, ask.objects("s3:GetObject", prefix), True, "sees the ETag of what is there")
            yield Row(section, who.replay, decrypt, False, "and reads nothing delivered")
            yield Row(section, who.replay.given_everything(), decrypt, False, "the key does not decrypt for it")
        yield Row(section, who.administrator, decrypt, False, "administrators read nothing")
        yield Row(section, who.stranger, ask.via_s3(_USE, key, prefix), False, "another account")
        reader, auditor = who.reader(route.name), who.auditor
        read, names = ask.objects("s3:GetObject", prefix), ask.names(prefix)
        if not stack.has_readers:
            for request in (read, decrypt, names):
                yield Row(section, reader, request, False, "no readers are given")
            return
        for who_reads in (reader, auditor):
            yield Row(section, who_reads, read, True, "named by the route's parameter")
            yield Row(section, who_reads, decrypt, True, "and by its key")
            yield Row(section, who_reads, names, True, "finds the objects")
        yield Row(
            section, reader, ask.direct_for("kms:Decrypt", key, prefix), False, "the key serves readers through S3 only"
        )
        yield Row(section, reader, ask.via_s3("kms:Decrypt", key, other.prefix), False, "and for this prefix only")
        yield Row(section, reader, encrypt, False, "readers write nothing")
        yield Row(section, reader, ask.objects("s3:PutObject s3:DeleteObject", prefix), False, "nor delete")
        yield Row(section, reader, ask.objects("s3:GetObject", other.prefix), False, "not the next route's objects")
        yield Row(section, reader.given_everything(), ask.via_s3("kms:Decrypt", other.name, other.prefix), False,
                  "nor its key, whatever rights it collects elsewhere")  # fmt: skip
        yield Row(section, reader, ask.names(other.prefix), False, "nor the names of its objects")
        yield Row(section, reader, ask.names(None), False, "nor the whole bucket's")
        yield Row(section, reader, ask.names(prefix, action="s3:ListBucketVersions"), False, "nor old versions")

    def _readers(self) -> list[Principal]:
        """Return one reader, for what no reader may."""
        return [self._who.reader(self._table.routes[0].name)] if self._stack.has_readers else []
