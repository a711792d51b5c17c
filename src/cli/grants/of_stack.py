"""The rows that any stack has, whatever its routes: from Connect's way in to the bucket's own denials."""

from collections.abc import Iterator

from cli.grants.bindings import OTHER_BUCKET, bindings, everybody, key_alone, role_alone
from cli.grants.principals import Principal, Principals
from cli.grants.requests import Request, Requests
from cli.grants.row import DEFAULT_KEY_POLICY, NO_BUCKET_POLICY, Row, Section
from cli.grants.stack import ARCHIVE, ARCHIVE_KEY, HANDED_OVER, STREAM_KEY, Stack, top
from routing import dead_letter
from routing.routes import RouteTable

_DEAD_LETTER = dead_letter.ROUTE
_DEAD_LETTERS = dead_letter.PREFIX
_MANAGE = (
    "kms:CancelKeyDeletion kms:CreateAlias kms:DeleteAlias kms:DescribeKey kms:DisableKey kms:DisableKeyRotation "
    "kms:EnableKey kms:EnableKeyRotation kms:GetKeyPolicy kms:GetKeyRotationStatus kms:ListGrants kms:ListKeyPolicies "
    "kms:ListKeyRotations kms:ListResourceTags kms:PutKeyPolicy kms:RevokeGrant kms:RotateKeyOnDemand "
    "kms:ScheduleKeyDeletion kms:TagResource kms:UntagResource kms:UpdateAlias kms:UpdateKeyDescription"
)
_USE = (
    "kms:Decrypt kms:Encrypt kms:GenerateDataKey kms:GenerateDataKeyPair kms:GenerateDataKeyWithoutPlaintext "
    "kms:ReEncryptFrom kms:ReEncryptTo kms:CreateGrant"
)
_READ_STREAM = (
    "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords kinesis:GetShardIterator "
    "kinesis:ListShards"
)
_CHANGE_STREAM = "kinesis:PutRecord kinesis:DeleteStream kinesis:DecreaseStreamRetentionPeriod kinesis:SubscribeToShard"
_TAKE = "s3:GetObject s3:DeleteObject"
_UNKNOWN_PREFIX = "nowhere"


def rows_of_stack(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the fixed rows."""
    parts = _Parts(table, stack)
    if stack.makes_stream_key:
        yield from parts.connect()
    yield from parts.stream()
    yield from parts.function()
    yield from parts.dead_letters()
    yield from parts.handed_over()
    yield from parts.grant_check()
    if stack.has_replay:
        yield from parts.replay()
    if stack.has_archive:
        yield from parts.archive()
        if stack.has_readers:
            yield from parts.archive_readers()
    yield from parts.bucket()
    yield from parts.administrators()


class _Parts:
    def __init__(self, table: RouteTable, stack: Stack) -> None:
        self._stack = stack
        self._ask = Requests(stack)
        self._who = Principals(stack)
        self._first = table.routes[0]
        self._prefixes = [top(route) for route in table.all_routes]
        unmanaged = {STREAM_KEY} if not stack.makes_stream_key else set()
        unmanaged |= set() if stack.has_archive else {ARCHIVE_KEY}
        self._managed_keys = [name for name in stack.keys if name not in unmanaged]

    def connect(self) -> Iterator[Row]:
        section, ask, who = Section("Amazon Connect"), self._ask, self._who
        encrypt = ask.via_kinesis("kms:GenerateDataKey")
        if self._stack.has_connect:
            yield section.may(who.connect, encrypt, "without it Connect delivers nothing and says nothing")
        else:
            yield section.may_not(who.connect, encrypt, "no ConnectServiceRoleArn is given")
        rest = ask.via_kinesis("kms:Decrypt kms:Encrypt kms:CreateGrant")
        yield section.may_not(who.connect, rest, "Connect only writes")
        yield section.may_not(who.other_connect, encrypt, "only the service-linked role of this instance")

    def stream(self) -> Iterator[Row]:
        section, ask, who, stack = Section("Reading the stream"), self._ask, self._who, self._stack
        poller, read = who.lambda_service, self._plain(_READ_STREAM, stack.stream, "the stream")
        decrypt = ask.via_kinesis("kms:Decrypt")
        yield section.may(poller, read, "the mapping reads it")
        yield section.may(poller, decrypt, "and hands over what it decrypted")
        yield section.may(who.function, read, "the grant check tries it, and the code has the same role")
        yield section.may(who.function, decrypt, "likewise")
        other_stream = stack.here("kinesis", "stream/other")
        other, directly = self._of_stream("kms:Decrypt", other_stream)
        change = self._plain(_CHANGE_STREAM, stack.stream, "the stream")
        yield section.may_not(poller, self._plain(_READ_STREAM, other_stream, "another stream"), "this stream only")
        yield section.may_not(poller, change, "it reads and changes nothing")
        loose, bold, nothing = DEFAULT_KEY_POLICY, poller.given_everything(), poller.given_nothing()
        yield section.may_not(poller, other, "its own policy: this stream only", loose)
        yield section.may_not(poller, directly, "its own policy: through Kinesis only", loose)
        yield section.may_not(poller, self._without_stream("kms:Decrypt"), "its own policy: with the context", loose)
        yield section.may_not(poller, ask.via_kinesis("kms:Decrypt", _DEAD_LETTER), "its own policy: this key", loose)
        rest = ask.via_kinesis("kms:GenerateDataKey kms:Encrypt kms:CreateGrant")
        yield section.may_not(poller, rest, "its own policy: it only decrypts", loose)
        if not stack.makes_stream_key:
            return
        yield section.may_not(bold, other, "the key serves this stream only")
        yield section.may_not(bold, directly, "the key serves through Kinesis only")
        yield section.may_not(bold, self._without_stream("kms:Decrypt"), "the key serves nothing without a context")
        yield section.may_not(bold, rest, "the key only decrypts for its readers")
        yield section.may_not(nothing, decrypt, "the key alone lets nobody in: two locks")
        yield section.may(who.administrator, read, "IAM lets administrators ask; without the key they get nothing")
        yield section.may_not(who.administrator, decrypt, "and the key does not serve them")
        yield section.may_not(who.administrator, ask.via_kinesis("kms:GenerateDataKey"), "nor can it write")

    def function(self) -> Iterator[Row]:
        section, ask, who, stack = Section("The function"), self._ask, self._who, self._stack
        function, assume = who.function, self._plain("sts:AssumeRole", who.function.role, "the fan-out role")
        yield section.may(who.service("lambda"), assume, "Lambda runs the function with it")
        for service in ("ec2", "firehose", "events"):
            yield section.may_not(who.service(service), assume, "Lambda and no other service")
        yield from self._only_taken(section, who.service("lambda"), function)
        yield section.may_not(who.administrator, assume, "nobody takes it who is not Lambda")
        table, other = stack.here("dynamodb", f"table/{stack.name}-checkpoint"), stack.here("dynamodb", "table/other")
        update, on = "dynamodb:UpdateItem", "the checkpoint table"
        yield section.may(function, self._plain(update, table, on), "claims a shard and commits its watermarks")
        forget = self._plain("dynamodb:DeleteItem dynamodb:Scan dynamodb:PutItem dynamodb:DeleteTable", table, on)
        yield section.may_not(function, forget, "it can forget no watermark")
        yield section.may_not(function, self._plain(update, other, "another table"), "its own table only")
        yield from self._log(section, function, f"/aws/lambda/{stack.name}", "logs:CreateLogStream logs:PutLogEvents")
        yield section.may_not(function, ask.names(None), "its code lists nothing: Lambda tells code from itself")
        policy = ask.bucket("s3:PutBucketPolicy s3:DeleteBucketPolicy s3:PutEncryptionConfiguration s3:DeleteBucket")
        yield section.may_not(function, policy, "it cannot change what guards it")
        change = ask.manage("kms:CreateGrant kms:PutKeyPolicy kms:DisableKey kms:ScheduleKeyDeletion", _DEAD_LETTER)
        yield section.may_not(function, change, "nor the keys")
        escalate = self._plain(
            "iam:AttachRolePolicy iam:PutRolePolicy iam:PassRole", function.role, "the function's role"
        )
        yield section.may_not(function, escalate, "nor its own rights")
        unknown = ask.put(_UNKNOWN_PREFIX, _DEAD_LETTER)
        yield section.may_not(function, unknown, "its own policy names the prefixes", NO_BUCKET_POLICY)

    def dead_letters(self) -> Iterator[Row]:
        section, ask, who = Section("Dead letters"), self._ask, self._who
        function, decrypt = who.function, ask.via_s3("kms:Decrypt", _DEAD_LETTER, _DEAD_LETTERS)
        yield section.may(
            function, ask.put(_DEAD_LETTERS, _DEAD_LETTER), "what cannot be delivered is kept, with a reason"
        )
        yield section.may(function, ask.put(_DEAD_LETTERS, _DEAD_LETTER, write="replaces"), "and put again by a retry")
        yield section.may(function, ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, _DEAD_LETTERS), "under its key")
        yield section.may(function, ask.objects("s3:GetObject", _DEAD_LETTERS), "sees the ETag of what is there")
        yield section.may_not(function, decrypt, "and not the content")
        yield section.may_not(function.given_everything(), decrypt, "the key never decrypts for the function")
        yield section.may_not(who.administrator, decrypt, "administrators read no dead letter")
        yield from bindings(section, self._stack, _DEAD_LETTER, _DEAD_LETTERS, self._first)

    def handed_over(self) -> Iterator[Row]:
        section, ask, who = Section("What Lambda gave up on"), self._ask, self._who
        poller, function = who.lambda_service, who.function
        put = ask.put(HANDED_OVER, None, write="overwrites")
        encrypt = ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, HANDED_OVER)
        for caller, why in ((poller, "Lambda puts it, naming no key"), (function, "the grant check tries the same")):
            yield section.may(caller, put, f"{why}: the bucket's default is the dead-letter key")
            yield section.may(caller, encrypt, "under that key")
            named = ask.put(HANDED_OVER, _DEAD_LETTER)
            yield section.may(caller, named, "a put that names the dead-letter key is right, too")
        yield section.may(poller, ask.names(None), "AWS documents that Lambda looks at the bucket first")
        yield section.may_not(poller, ask.elsewhere(ask.names(None)), "our bucket, not one of its name")
        yield section.may_not(poller, ask.names(None, bucket=OTHER_BUCKET), "nor any other")
        yield section.may_not(poller, ask.elsewhere(put), "a bucket whose name somebody else has taken gets nothing")
        elsewhere = ask.put(HANDED_OVER, None, write="overwrites", bucket=OTHER_BUCKET)
        yield section.may_not(poller, elsewhere, "its own policy: this bucket")
        yield section.may_not(poller, ask.put(_UNKNOWN_PREFIX, None), "its own policy: aws/lambda/", NO_BUCKET_POLICY)
        yield section.may_not(poller, ask.bucket("s3:DeleteBucket s3:PutBucketPolicy s3:ListBucketVersions"), "no more")
        clear, other = ask.put(HANDED_OVER, "aws/s3", algorithm="AES256"), ask.put(HANDED_OVER, self._first.name)
        doubled = ask.put(HANDED_OVER, "double", algorithm="aws:kms:dsse")
        for request in (clear, other, doubled):
            yield section.may_not(poller, request, "its own policy: no other key, and not SSE-S3", NO_BUCKET_POLICY)
            for caller in everybody(self._stack):
                yield section.may_not(caller, request, "the bucket: no other key, and not SSE-S3")
        for caller in everybody(self._stack):
            own = ask.put(HANDED_OVER, "own", algorithm="SSE-C")
            yield section.may_not(caller, own, "the bucket: no key of the caller's own")
        yield section.may_not(function, ask.objects(_TAKE, HANDED_OVER), "replay takes it from there")
        yield section.may_not(who.administrator, encrypt, "nobody else writes under the key")

    def grant_check(self) -> Iterator[Row]:
        section, who, stack = Section("The grant check"), self._who, self._stack
        function, on = stack.here("lambda", f"function:{stack.name}-grant-check"), "the grant check"
        rule = stack.here("events", f"rule/{stack.name}-grant-check")
        mapping, other = stack.mapping, stack.here("lambda", "event-source-mapping:other")
        look, change = "lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping"
        yield section.may(who.function, self._plain(look, mapping, "the mapping"), "whether the stream is being read")
        yield section.may_not(who.function, self._plain(look, other, "another mapping"), "this mapping only")
        yield section.may_not(who.function, self._plain(change, mapping, "the mapping"), "and changes nothing of it")
        invoke = self._plain("lambda:InvokeFunction", function, on, "from its schedule", source=rule)
        yield section.may(who.service("events"), invoke, "the schedule calls it")
        wrong = stack.here("events", "rule/other")
        from_other = self._plain("lambda:InvokeFunction", function, on, "from another schedule", source=wrong)
        yield section.may_not(who.service("events"), from_other, "its own schedule only")
        nowhere = self._plain("lambda:InvokeFunction", function, on, "from nowhere")
        yield section.may_not(who.service("events"), nowhere, "and only a schedule")
        update = self._plain("lambda:UpdateFunctionCode lambda:GetFunction", function, on, source=rule)
        yield section.may_not(who.service("events"), update, "and it only calls")
        yield section.may_not(who.service("s3"), invoke, "no other service")
        for caller in (who.stranger, who.anonymous):
            yield section.may_not(caller, invoke, "no other account")

    def replay(self) -> Iterator[Row]:
        section, ask, who, stack = Section("Replay"), self._ask, self._who, self._stack
        replay, assume = who.replay, self._plain("sts:AssumeRole", who.replay.role, "the replay role")
        yield section.may(who.operator, assume, "named by ReplayOperators")
        yield section.may_not(who.administrator, assume, "not named there")
        for service in ("lambda", "firehose"):
            yield section.may_not(who.service(service), assume, "no service takes it")
        yield section.may_not(who.reader(self._first.name), assume, "no reader takes it")
        yield section.may_not(who.stranger, assume, "nor another account")
        yield from self._only_taken(section, who.operator, replay)
        yield section.may(replay, self._plain(_READ_STREAM, stack.stream, "the stream"), "reads a range of it again")
        yield section.may(replay, ask.via_kinesis("kms:Decrypt"), "and decrypts it: all records, so name few operators")
        for prefix in (_DEAD_LETTERS, HANDED_OVER):
            decrypt, take = ask.via_s3("kms:Decrypt", _DEAD_LETTER, prefix), ask.objects(_TAKE, prefix)
            yield section.may(replay, ask.names(prefix), "finds what there is to do")
            yield section.may(replay, take, "takes it, and removes it when it is delivered")
            yield section.may(replay, decrypt, "reads it")
            yield section.may_not(who.function.given_everything(), decrypt, "the key admits replay, not the function")
            away = ask.put(prefix, None, bucket=OTHER_BUCKET)
            yield section.may_not(replay, away, "it carries nothing away")
        decrypts = {"key": _DEAD_LETTER, "actions": "kms:Decrypt", "prefix": _DEAD_LETTERS}
        yield from key_alone(section, ask, replay, elsewhere=self._first.prefix, **decrypts)
        yield from role_alone(section, ask, replay, other=self._first, **decrypts)
        encrypt = ask.via_s3("kms:GenerateDataKey", _DEAD_LETTER, _DEAD_LETTERS)
        yield section.may_not(replay.given_everything(), encrypt, "it writes no dead letter")
        elsewhere = ask.objects(_TAKE, _UNKNOWN_PREFIX)
        yield section.may_not(replay, elsewhere, "dead letters and nothing else")
        versions = ask.names(_DEAD_LETTERS, action="s3:ListBucketVersions")
        yield section.may_not(replay, versions, "no old versions")
        yield section.may_not(replay, ask.names(_UNKNOWN_PREFIX), "no other prefix")
        yield section.may_not(replay, ask.names(None), "nor the whole bucket")
        yield section.may_not(replay, ask.names(_DEAD_LETTERS, bucket=OTHER_BUCKET), "nor another bucket")
        yield section.may_not(replay, ask.bucket("s3:PutBucketPolicy s3:DeleteBucket"), "nor anything else")

    def archive(self) -> Iterator[Row]:
        section, ask, who, stack = Section("The archive"), self._ask, self._who, self._stack
        firehose, service = who.archive, who.service("firehose")
        source, on = stack.here("firehose", f"deliverystream/{stack.name}-archive"), "the archive role"
        assume = self._plain("sts:AssumeRole", firehose.role, on, "for its stream", source=source)
        other = stack.here("firehose", "deliverystream/other")
        confused = self._plain("sts:AssumeRole", firehose.role, on, "for another delivery stream", source=other)
        yield section.may(service, assume, "Firehose delivers with it")
        yield section.may_not(service, confused, "no confused deputy")
        yield section.may_not(service, self._plain("sts:AssumeRole", firehose.role, on), "and for a stream only")
        yield section.may_not(who.service("s3"), assume, "no other service")
        tag = self._plain("sts:TagSession", firehose.role, on, "for its stream", source=source)
        yield section.may_not(service, tag, "and only takes it")
        for caller in (who.administrator, who.operator, who.stranger):
            yield section.may_not(caller, assume, "no person takes it")
        yield section.may(firehose, self._plain(_READ_STREAM, stack.stream, "the stream"), "reads the whole stream")
        yield section.may(firehose, ask.via_kinesis("kms:Decrypt"), "with the stream's key: trap 2, first half")
        yield section.may(firehose, ask.put(ARCHIVE, ARCHIVE_KEY), "writes archive/ with its key")
        yield section.may(firehose, ask.put(ARCHIVE, ARCHIVE_KEY, write="overwrites"), "in Firehose's own way")
        both = ask.via_s3("kms:Decrypt kms:GenerateDataKey", ARCHIVE_KEY, ARCHIVE)
        yield section.may(firehose, both, "under another key than the stream's: trap 2, second half")
        yield section.may(
            firehose, ask.objects("s3:AbortMultipartUpload s3:GetObject", ARCHIVE), "as Firehose documents"
        )
        yield section.may(firehose, ask.bucket("s3:GetBucketLocation s3:ListBucketMultipartUploads"), "likewise")
        yield section.may(firehose, ask.names(None), "likewise")
        yield section.may(firehose, ask.names(""), "likewise")
        for prefix in (*self._prefixes, HANDED_OVER, ARCHIVE):
            yield section.may(firehose, ask.names(prefix), "likewise: names hold nothing of a record")
        yield from self._log(section, firehose, f"/aws/kinesisfirehose/{stack.name}-archive", "logs:PutLogEvents")
        writes = {"key": ARCHIVE_KEY, "actions": "kms:Decrypt kms:GenerateDataKey", "prefix": ARCHIVE}
        yield from key_alone(section, ask, firehose, elsewhere=self._first.prefix, **writes)
        yield from role_alone(section, ask, firehose, other=self._first, **writes)
        foreign = ask.put(self._first.prefix, ARCHIVE_KEY)
        yield section.may_not(firehose, foreign, "its own policy: archive/ only", NO_BUCKET_POLICY)
        away = ask.put(ARCHIVE, ARCHIVE_KEY, bucket=OTHER_BUCKET)
        yield section.may_not(firehose, away, "its own policy: this bucket", NO_BUCKET_POLICY)
        yield section.may_not(firehose, ask.names(None, bucket=OTHER_BUCKET), "no other bucket")
        yield section.may_not(
            firehose, ask.objects("s3:DeleteObject s3:GetObjectVersion", ARCHIVE), "what is archived stays"
        )
        yield section.may_not(
            firehose, ask.bucket("s3:PutBucketPolicy s3:ListBucketVersions s3:DeleteBucket"), "no more"
        )
        yield section.may_not(who.administrator, both, "administrators neither write nor read the archive")
        for caller in everybody(stack):
            yield section.may_not(caller, ask.put(ARCHIVE, self._first.name), "archive/ takes its key only")
            yield section.may_not(caller, ask.put(ARCHIVE, None), "and no put that names none")

    def archive_readers(self) -> Iterator[Row]:
        section, ask, who = Section("The archive"), self._ask, self._who
        reader = who.reader(ARCHIVE)
        for caller in (reader, who.auditor):
            yield section.may(caller, ask.objects("s3:GetObject", ARCHIVE), "named by ReadersOfArchive")
            yield section.may(caller, ask.via_s3("kms:Decrypt", ARCHIVE_KEY, ARCHIVE), "and by its key")
            yield section.may(caller, ask.names(ARCHIVE), "finds the objects")
        for caller in (reader, who.auditor, reader.given_everything()):
            directly = ask.direct_for("kms:Decrypt", ARCHIVE_KEY, ARCHIVE)
            elsewhere = ask.via_s3("kms:Decrypt", ARCHIVE_KEY, self._first.prefix)
            yield section.may_not(caller, directly, "the key serves readers through S3 only")
            yield section.may_not(caller, elsewhere, "and for archive/ only")
            yield section.may_not(caller, ask.for_bucket("kms:Decrypt", ARCHIVE_KEY), "no Bucket Key")
            yield section.may_not(caller, ask.without_context("kms:Decrypt", ARCHIVE_KEY), "nothing without a context")
            rest = ask.via_s3("kms:GenerateDataKey kms:Encrypt kms:CreateGrant", ARCHIVE_KEY, ARCHIVE)
            yield section.may_not(caller, rest, "readers read")
        yield section.may_not(reader, ask.names(ARCHIVE, action="s3:ListBucketVersions"), "no old versions")
        yield section.may_not(reader, ask.names(None), "nor the names of the whole bucket")
        yield section.may_not(reader, ask.names("no-prefix-of-its-own"), "nor of another prefix")

    def bucket(self) -> Iterator[Row]:
        section, ask, who, first = Section("The bucket"), self._ask, self._who, self._first
        everything = "s3:GetObject s3:PutObject s3:DeleteObject s3:GetObjectVersion s3:PutObjectAcl s3:RestoreObject"
        for caller in everybody(self._stack):
            yield section.may_not(caller, ask.put(first.prefix, first.name, secure=False), "TLS or nothing")
            yield section.may_not(caller, ask.objects(everything, first.prefix, secure=False), "TLS or nothing")
            yield section.may_not(caller, ask.names(None, secure=False), "TLS or nothing, for the bucket as well")
            unknown = ask.put(_UNKNOWN_PREFIX, first.name)
            yield section.may_not(caller, unknown, "a prefix that no route has takes nothing, from nobody")
            if not self._stack.has_archive:
                yield section.may_not(caller, ask.put(ARCHIVE, first.name), "there is no archive")
            for action in ("s3:ReplicateObject", "s3:ReplicateDelete"):
                copied = ask.put(first.prefix, first.name, action=action)
                yield section.may_not(caller, copied, "nothing is replicated into the bucket")
        if self._stack.has_readers:
            http = ask.objects("s3:GetObject", first.prefix, secure=False)
            yield section.may_not(who.reader(first.name), http, "TLS for readers, too")
        for prefix in (*self._prefixes, HANDED_OVER, *([ARCHIVE] if self._stack.has_archive else [])):
            seen = ask.objects(_TAKE, prefix)
            yield section.may(who.administrator, seen, "administrators can delete; what they fetch they cannot open")
            yield section.may(who.administrator, ask.names(prefix), "and see names, which hold nothing of a record")

    def administrators(self) -> Iterator[Row]:
        section, ask, who = Section("Administrators of the account"), self._ask, self._who
        for key in self._managed_keys:
            yield section.may(who.administrator, ask.manage(_MANAGE, key), "they manage it")
            yield section.may_not(who.administrator, ask.manage(_USE, key), "and neither use it nor let others")
            yield section.may_not(who.stranger, ask.manage(f"{_MANAGE} {_USE}", key), "another account")
            yield section.may_not(who.operator, ask.manage(_MANAGE, key), "nor who has no rights in this account")

    def _plain(self, actions: str, resource: str, on: str, how: str = "", *, source: str = "") -> Request:
        """Make a request of a service whose conditions look at nothing, or at what it is for."""
        return self._ask.plain(actions, resource, on, how, **({"aws_SourceArn": source} if source else {}))

    def _of_stream(self, actions: str, other: str) -> tuple[Request, Request]:
        """Make the requests that the conditions of the stream's key are there for."""
        directly = self._ask.directly(actions, STREAM_KEY, {"aws:kinesis:arn": self._stack.stream})
        return self._ask.via_kinesis(actions, stream=other), directly

    def _without_stream(self, actions: str) -> Request:
        return self._ask.via_kinesis(actions, without_context=True)

    def _log(self, section: Section, caller: Principal, group: str, actions: str) -> Iterator[Row]:
        here = self._stack.here
        mine, other = (
            here("logs", f"log-group:{group}:log-stream:delivery"),
            here("logs", "log-group:other:log-stream:x"),
        )
        yield section.may(caller, self._plain(actions, mine, "its log group"), "no line holds a value of a record")
        yield section.may_not(caller, self._plain(actions, other, "another log group"), "its own only")
        delete = self._plain("logs:DeleteLogStream logs:GetLogEvents logs:PutRetentionPolicy", mine, "its log group")
        yield section.may_not(caller, delete, "what is logged stays")

    def _only_taken(self, section: Section, caller: Principal, role: Principal) -> Iterator[Row]:
        tag = self._plain("sts:TagSession sts:SetSourceIdentity", role.role, f"the {role.label} role")
        yield section.may_not(caller, tag, "and only takes it")
