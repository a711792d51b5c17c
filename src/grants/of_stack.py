"""The rows that any stack has, whatever its routes: from Connect's way in to the bucket's own denials."""

from collections.abc import Iterator

from grants.bindings import OTHER_BUCKET, bindings, everybody
from grants.parts import DEAD_LETTER, DEAD_LETTERS, READ_STREAM, TAKE, UNKNOWN_PREFIX, Parts
from grants.requests import Request
from grants.row import DEFAULT_KEY_POLICY, NAMED_ELSEWHERE, NO_BUCKET_POLICY, OPEN_BUCKET_POLICY, Row, Section
from grants.stack import ARCHIVE, HANDED_OVER, STREAM_KEY, Stack
from routing.table.routes import RouteTable

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
_CHANGE_STREAM = "kinesis:PutRecord kinesis:DeleteStream kinesis:DecreaseStreamRetentionPeriod kinesis:SubscribeToShard"


def rows_of_stack(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the fixed rows."""
    parts = _Fixed(table, stack)
    if stack.makes_stream_key:
        yield from parts.connect()
    yield from parts.stream()
    yield from parts.function()
    yield from parts.dead_letters()
    yield from parts.handed_over()
    yield from parts.grant_check()
    yield from parts.bucket()
    yield from parts.administrators()
    yield from parts.nothing_leaves()
    yield from parts.denials_hold()


class _Fixed(Parts):
    def nothing_leaves(self) -> Iterator[Row]:
        """What carries data away if the policy of a resource elsewhere names a role of the stack: a denial of its own."""
        section, ask, who, stack = Section("Nothing leaves the stack"), self.ask, self.who, self.stack
        roles = [who.function, who.lambda_service]
        roles += [who.replay] if stack.has_replay else []
        roles += [who.erase] if stack.has_erasure else []
        roles += [who.convert] if stack.has_columns else []
        roles += [who.archive] if stack.has_archive else []
        here, named = stack.here, NAMED_ELSEWHERE
        key = here("kms", "key/another")
        elsewhere = [
            ask.put(self.first.prefix, None, write="overwrites", bucket=OTHER_BUCKET),
            ask.objects("s3:GetObject s3:PutObjectAcl s3:DeleteObject", self.first.prefix, bucket=OTHER_BUCKET),
            ask.names(None, bucket=OTHER_BUCKET),
            self.plain("kms:Encrypt kms:Decrypt kms:GenerateDataKey kms:CreateGrant", key, "another key"),
            self.plain("kinesis:PutRecord kinesis:GetRecords", here("kinesis", "stream/another"), "another stream"),
            self.plain("dynamodb:PutItem dynamodb:UpdateItem", here("dynamodb", "table/another"), "another table"),
            self.plain("sqs:SendMessage", here("sqs", "another"), "a queue"),
            self.plain("sns:Publish", here("sns", "another"), "a topic"),
            self.plain("lambda:InvokeFunction", here("lambda", "function:another"), "another function"),
            self.plain("events:PutEvents", here("events", "event-bus/another"), "an event bus"),
            self.plain("secretsmanager:PutSecretValue", here("secretsmanager", "secret:another"), "a secret"),
        ]
        for role in roles:
            for request in elsewhere:
                yield section.may_not(role, request, "an explicit denial, whatever that policy allows", named)

    def denials_hold(self) -> Iterator[Row]:
        """The denials of the bucket, if another statement of its policy let everybody in."""
        section, ask, who, first = Section("The bucket"), self.ask, self.who, self.first
        other = self.table.routes[1]
        for caller in (who.stranger, who.anonymous, who.administrator):
            for request in (
                ask.put(first.prefix, other.name),
                ask.put(first.prefix, None),
                ask.put(first.prefix, first.name, write="overwrites"),
                ask.put(first.prefix, first.name, secure=False),
                ask.put(first.prefix, first.name, action="s3:ReplicateObject"),
                ask.put(UNKNOWN_PREFIX, first.name),
                ask.put(HANDED_OVER, None, write="overwrites"),
                ask.put(HANDED_OVER, "own", algorithm="SSE-C"),
                ask.put(HANDED_OVER, first.name),
                ask.names(None, secure=False),
            ):
                yield section.may_not(caller, request, "the denial binds everybody", OPEN_BUCKET_POLICY)

    def connect(self) -> Iterator[Row]:
        section, ask, who = Section("Amazon Connect"), self.ask, self.who
        encrypt = ask.via_kinesis("kms:GenerateDataKey")
        if self.stack.has_connect:
            yield section.may(who.connect, encrypt, "without it Connect delivers nothing and says nothing")
        else:
            yield section.may_not(who.connect, encrypt, "no ConnectServiceRoleArn is given")
        rest = ask.via_kinesis("kms:Decrypt kms:Encrypt kms:CreateGrant")
        yield section.may_not(who.connect, rest, "Connect only writes")
        yield section.may_not(who.other_connect, encrypt, "only the service-linked role of this instance")

    def stream(self) -> Iterator[Row]:
        section, ask, who, stack = Section("Reading the stream"), self.ask, self.who, self.stack
        poller, read = who.lambda_service, self.plain(READ_STREAM, stack.stream, "the stream")
        decrypt = ask.via_kinesis("kms:Decrypt")
        yield section.may(poller, read, "the mapping reads it")
        yield section.may(poller, decrypt, "and hands over what it decrypted")
        yield section.may(who.function, read, "the grant check tries it, and the code has the same role")
        yield section.may(who.function, decrypt, "the grant check tries it with the same role")
        other_stream = stack.here("kinesis", "stream/other")
        other, directly = self._of_stream("kms:Decrypt", other_stream)
        change = self.plain(_CHANGE_STREAM, stack.stream, "the stream")
        yield section.may_not(poller, self.plain(READ_STREAM, other_stream, "another stream"), "this stream only")
        yield section.may_not(poller, change, "it reads and changes nothing")
        loose, bold, nothing = DEFAULT_KEY_POLICY, poller.given_everything(), poller.given_nothing()
        yield section.may_not(poller, other, "its own policy: this stream only", loose)
        yield section.may_not(poller, directly, "its own policy: through Kinesis only", loose)
        yield section.may_not(poller, self._without_stream("kms:Decrypt"), "its own policy: with the context", loose)
        yield section.may_not(poller, ask.via_kinesis("kms:Decrypt", DEAD_LETTER), "its own policy: this key", loose)
        rest = ask.via_kinesis("kms:GenerateDataKey kms:Encrypt kms:CreateGrant")
        yield section.may_not(poller, rest, "its own policy: it only decrypts", loose)
        if not stack.makes_stream_key:
            return
        yield section.may_not(bold, other, "the key serves this stream only")
        yield section.may_not(bold, directly, "the key serves through Kinesis only")
        yield section.may_not(bold, self._without_stream("kms:Decrypt"), "the key serves nothing without a context")
        yield section.may_not(bold, rest, "the key only decrypts for its readers")
        yield section.may_not(nothing, decrypt, "two locks: the key policy alone admits no role")
        yield section.may(who.administrator, read, "IAM lets administrators ask; without the key they get nothing")
        yield section.may_not(who.administrator, decrypt, "and the key does not serve them")
        yield section.may_not(who.administrator, ask.via_kinesis("kms:GenerateDataKey"), "nor can it write")

    def function(self) -> Iterator[Row]:
        section, ask, who, stack = Section("The function"), self.ask, self.who, self.stack
        function, assume = who.function, self.plain("sts:AssumeRole", who.function.role, "the fan-out role")
        yield section.may(who.service("lambda"), assume, "Lambda runs the function with it")
        for service in ("ec2", "firehose", "events"):
            yield section.may_not(who.service(service), assume, "Lambda and no other service")
        yield from self.only_taken(section, who.service("lambda"), function)
        yield section.may_not(who.administrator, assume, "only Lambda assumes it")
        table, other = stack.here("dynamodb", f"table/{stack.name}-checkpoint"), stack.here("dynamodb", "table/other")
        update, on = "dynamodb:UpdateItem", "the checkpoint table"
        yield section.may(function, self.plain(update, table, on), "claims a shard and commits its watermarks")
        forget = self.plain("dynamodb:DeleteItem dynamodb:Scan dynamodb:PutItem dynamodb:DeleteTable", table, on)
        yield section.may_not(function, forget, "it can forget no watermark")
        yield section.may_not(function, self.plain(update, other, "another table"), "its own table only")
        yield from self.log(section, function, f"/aws/lambda/{stack.name}", "logs:CreateLogStream logs:PutLogEvents")
        yield section.may_not(function, ask.names(None), "its code lists nothing: Lambda tells code from itself")
        policy = ask.bucket("s3:PutBucketPolicy s3:DeleteBucketPolicy s3:PutEncryptionConfiguration s3:DeleteBucket")
        yield section.may_not(function, policy, "it cannot change what guards it")
        change = ask.manage("kms:CreateGrant kms:PutKeyPolicy kms:DisableKey kms:ScheduleKeyDeletion", DEAD_LETTER)
        yield section.may_not(function, change, "nor the keys")
        escalate = self.plain(
            "iam:AttachRolePolicy iam:PutRolePolicy iam:PassRole", function.role, "the function's role"
        )
        yield section.may_not(function, escalate, "nor its own rights")
        unknown = ask.put(UNKNOWN_PREFIX, DEAD_LETTER)
        yield section.may_not(function, unknown, "its own policy names the prefixes", NO_BUCKET_POLICY)

    def dead_letters(self) -> Iterator[Row]:
        section, ask, who = Section("Dead letters"), self.ask, self.who
        function, decrypt = who.function, ask.via_s3("kms:Decrypt", DEAD_LETTER, DEAD_LETTERS)
        yield section.may(
            function, ask.put(DEAD_LETTERS, DEAD_LETTER), "what cannot be delivered is kept, with a reason"
        )
        yield section.may(function, ask.put(DEAD_LETTERS, DEAD_LETTER, write="replaces"), "and put again by a retry")
        yield section.may(function, ask.via_s3("kms:GenerateDataKey", DEAD_LETTER, DEAD_LETTERS), "under its key")
        yield section.may(function, ask.objects("s3:GetObject", DEAD_LETTERS), "sees the ETag of what is there")
        yield section.may_not(function, decrypt, "and not the content")
        yield section.may_not(function.given_everything(), decrypt, "the key never decrypts for the function")
        yield section.may_not(who.administrator, decrypt, "administrators read no dead letter")
        yield from bindings(section, self.stack, DEAD_LETTER, DEAD_LETTERS, self.first)

    def handed_over(self) -> Iterator[Row]:
        section, ask, who = Section("What Lambda gave up on"), self.ask, self.who
        poller, function = who.lambda_service, who.function
        put = ask.put(HANDED_OVER, None, write="overwrites")
        encrypt = ask.via_s3("kms:GenerateDataKey", DEAD_LETTER, HANDED_OVER)
        for caller, why in ((poller, "Lambda puts it, naming no key"), (function, "the grant check tries the same")):
            yield section.may(caller, put, f"{why}: the bucket's default is the dead-letter key")
            yield section.may(caller, encrypt, "under that key")
            named = ask.put(HANDED_OVER, DEAD_LETTER)
            yield section.may(caller, named, "a put that names the dead-letter key is right, too")
        yield section.may(poller, ask.names(None), "AWS documents that Lambda looks at the bucket first")
        yield section.may_not(poller, ask.elsewhere(ask.names(None)), "our bucket, not one of its name")
        yield section.may_not(poller, ask.names(None, bucket=OTHER_BUCKET), "nor any other")
        yield section.may_not(poller, ask.elsewhere(put), "a bucket whose name somebody else has taken gets nothing")
        elsewhere = ask.put(HANDED_OVER, None, write="overwrites", bucket=OTHER_BUCKET)
        yield section.may_not(poller, elsewhere, "its own policy: this bucket")
        yield section.may_not(poller, ask.put(UNKNOWN_PREFIX, None), "its own policy: aws/lambda/", NO_BUCKET_POLICY)
        yield section.may_not(poller, ask.bucket("s3:DeleteBucket s3:PutBucketPolicy s3:ListBucketVersions"), "no more")
        clear, other = ask.put(HANDED_OVER, "aws/s3", algorithm="AES256"), ask.put(HANDED_OVER, self.first.name)
        doubled = ask.put(HANDED_OVER, "double", algorithm="aws:kms:dsse")
        bare = ask.put(HANDED_OVER, "aws/s3", names_key=False)
        for caller in everybody(self.stack):
            yield section.may_not(caller, bare, "the bucket: not the account's managed key either")
        for request in (clear, other, doubled):
            yield section.may_not(poller, request, "its own policy: no other key, and not SSE-S3", NO_BUCKET_POLICY)
            for caller in everybody(self.stack):
                yield section.may_not(caller, request, "the bucket: no other key, and not SSE-S3")
        for caller in everybody(self.stack):
            own = ask.put(HANDED_OVER, "own", algorithm="SSE-C")
            yield section.may_not(caller, own, "the bucket: no key of the caller's own")
            if caller.role != function.role:
                yield section.may_not(caller, put, "the bucket: only the function's role, as which Lambda puts")
        yield section.may_not(function, ask.objects(TAKE, HANDED_OVER), "replay takes it from there")
        yield section.may_not(who.administrator, encrypt, "only the writers encrypt under the key")

    def grant_check(self) -> Iterator[Row]:
        section, who, stack = Section("The grant check"), self.who, self.stack
        function, on = stack.here("lambda", f"function:{stack.name}-grant-check"), "the grant check"
        rule = stack.here("events", f"rule/{stack.name}-grant-check")
        mapping, other = stack.mapping, stack.here("lambda", "event-source-mapping:other")
        look, change = "lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping"
        yield section.may(who.function, self.plain(look, mapping, "the mapping"), "whether the stream is being read")
        yield section.may_not(who.function, self.plain(look, other, "another mapping"), "this mapping only")
        yield section.may_not(who.function, self.plain(change, mapping, "the mapping"), "and changes nothing of it")
        invoke = self.plain("lambda:InvokeFunction", function, on, "from its schedule", source=rule)
        yield section.may(who.service("events"), invoke, "the schedule calls it")
        changed = stack.here("events", f"rule/{stack.name}-key-changed")
        at_once = self.plain("lambda:InvokeFunction", function, on, "from the rule of changed keys", source=changed)
        yield section.may(who.service("events"), at_once, "and so does the rule that notices a changed key")
        stopped = stack.here("events", f"rule/{stack.name}-stream-changed")
        noticed = self.plain("lambda:InvokeFunction", function, on, "from the rule of the stream", source=stopped)
        yield section.may(who.service("events"), noticed, "and the one that notices a changed encryption of the stream")
        alike = self.plain("lambda:UpdateFunctionCode lambda:GetFunction", function, on, "by it", source=stopped)
        yield section.may_not(who.service("events"), alike, "and it only calls")
        for caller in (who.service("s3"), who.stranger, who.anonymous):
            yield section.may_not(caller, noticed, "only EventBridge")
            yield section.may_not(caller, at_once, "nobody else")
        alike = self.plain("lambda:UpdateFunctionCode lambda:GetFunction", function, on, "by that rule", source=changed)
        yield section.may_not(who.service("events"), alike, "and it only calls")
        wrong = stack.here("events", "rule/other")
        from_other = self.plain("lambda:InvokeFunction", function, on, "from another schedule", source=wrong)
        yield section.may_not(who.service("events"), from_other, "its own schedule only")
        nowhere = self.plain("lambda:InvokeFunction", function, on, "from nowhere")
        yield section.may_not(who.service("events"), nowhere, "and only a schedule")
        update = self.plain("lambda:UpdateFunctionCode lambda:GetFunction", function, on, source=rule)
        yield section.may_not(who.service("events"), update, "and it only calls")
        yield section.may_not(who.service("s3"), invoke, "no other service")
        for caller in (who.stranger, who.anonymous):
            yield section.may_not(caller, invoke, "no other account")

    def bucket(self) -> Iterator[Row]:
        section, ask, who, first = Section("The bucket"), self.ask, self.who, self.first
        everything = "s3:GetObject s3:PutObject s3:DeleteObject s3:GetObjectVersion s3:PutObjectAcl s3:RestoreObject"
        for caller in everybody(self.stack):
            yield section.may_not(caller, ask.put(first.prefix, first.name, secure=False), "TLS or nothing")
            yield section.may_not(caller, ask.objects(everything, first.prefix, secure=False), "TLS or nothing")
            yield section.may_not(caller, ask.names(None, secure=False), "TLS or nothing, for the bucket as well")
            unknown = ask.put(UNKNOWN_PREFIX, first.name)
            yield section.may_not(caller, unknown, "no role can write below a prefix that no route has")
            if not self.stack.has_archive:
                yield section.may_not(caller, ask.put(ARCHIVE, first.name), "there is no archive")
            for action in ("s3:ReplicateObject", "s3:ReplicateDelete"):
                copied = ask.put(first.prefix, first.name, action=action)
                yield section.may_not(caller, copied, "nothing is replicated into the bucket")
        if self.stack.is_read(first.name):
            http = ask.objects("s3:GetObject", first.prefix, secure=False)
            yield section.may_not(who.reader(first.name), http, "TLS for readers, too")
        for prefix in (*self.prefixes, HANDED_OVER, *([ARCHIVE] if self.stack.has_archive else [])):
            seen = ask.objects(TAKE, prefix)
            yield section.may(who.administrator, seen, "administrators can delete; what they fetch they cannot open")
            yield section.may(who.administrator, ask.names(prefix), "and see names, which hold nothing of a record")

    def administrators(self) -> Iterator[Row]:
        section, ask, who = Section("Administrators of the account"), self.ask, self.who
        for key in self.managed_keys:
            yield section.may(who.administrator, ask.manage(_MANAGE, key), "they manage it")
            yield section.may_not(who.administrator, ask.manage(_USE, key), "and neither use it nor let others")
            yield section.may_not(who.stranger, ask.manage(f"{_MANAGE} {_USE}", key), "another account")
            yield section.may_not(who.operator, ask.manage(_MANAGE, key), "nor who has no rights in this account")

    def _of_stream(self, actions: str, other: str) -> tuple[Request, Request]:
        """Make the requests that the conditions of the stream's key are there for."""
        directly = self.ask.directly(actions, STREAM_KEY, {"aws:kinesis:arn": self.stack.stream})
        return self.ask.via_kinesis(actions, stream=other), directly

    def _without_stream(self, actions: str) -> Request:
        return self.ask.via_kinesis(actions, without_context=True)
