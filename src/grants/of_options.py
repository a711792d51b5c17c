"""The rows of what a stack may have besides: the roles of replay, erasure and columns, and the archive."""

from collections.abc import Iterator

from grants.bindings import OTHER_BUCKET, everybody, key_alone, readers_locks, role_alone
from grants.of_columns import rows_of_columns
from grants.parts import DEAD_LETTER, DEAD_LETTERS, READ_STREAM, TAKE, UNKNOWN_PREFIX, Parts
from grants.principals import Principal
from grants.row import NO_BUCKET_POLICY, Row, Section
from grants.stack import ARCHIVE, ARCHIVE_KEY, HANDED_OVER, Stack, top
from routing.table.routes import RouteTable


def rows_of_options(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the rows of the options that a stack has."""
    parts = _Options(table, stack)
    if stack.has_replay:
        yield from parts.replay()
    if stack.has_erasure:
        yield from parts.erasure()
    if stack.has_columns:
        yield from rows_of_columns(table, stack)
    if stack.has_archive:
        yield from parts.archive()
        if stack.is_read(ARCHIVE):
            yield from parts.archive_readers()


class _Options(Parts):
    def replay(self) -> Iterator[Row]:
        section, ask, who, stack = Section("Replay"), self.ask, self.who, self.stack
        replay, assume = who.replay, self.plain("sts:AssumeRole", who.replay.role, "the replay role")
        yield section.may(who.operator, assume, "named by ReplayOperators, and allowed by its own policy")
        yield section.may_not(who.operator.given_nothing(), assume, "two locks: the trust alone lets no operator in")
        yield section.may_not(who.administrator, assume, "not named there")
        yield section.may(who.service("lambda"), assume, "Lambda runs the replay function with it")
        yield section.may_not(who.service("firehose"), assume, "no other service takes it")
        yield section.may_not(who.reader(self.first.name), assume, "no reader takes it")
        yield section.may_not(who.stranger, assume, "nor another account")
        for caller in (who.operator.given_everything(), who.service("lambda")):
            yield from self.only_taken(section, caller, replay)
        yield section.may(replay, self.plain(READ_STREAM, stack.stream, "the stream"), "reads a range of it again")
        yield section.may(replay, ask.via_kinesis("kms:Decrypt"), "and decrypts it: all records, so name few operators")
        for prefix in (DEAD_LETTERS, HANDED_OVER):
            decrypt, take = ask.via_s3("kms:Decrypt", DEAD_LETTER, prefix), ask.objects(TAKE, prefix)
            yield section.may(replay, ask.names(prefix), "finds what there is to do")
            yield section.may(replay, take, "takes it, and removes it when it is delivered")
            yield section.may(replay, decrypt, "reads it")
            yield section.may_not(who.function.given_everything(), decrypt, "the key admits replay, not the function")
            away = ask.put(prefix, None, bucket=OTHER_BUCKET)
            yield section.may_not(replay, away, "it carries nothing away")
        yield from self._replay_writes(section)
        elsewhere = ask.objects(TAKE, UNKNOWN_PREFIX)
        yield section.may_not(replay, elsewhere, "dead letters and nothing else")
        versions = ask.names(DEAD_LETTERS, action="s3:ListBucketVersions")
        yield section.may_not(replay, versions, "no old versions")
        yield section.may_not(replay, ask.names(UNKNOWN_PREFIX), "no other prefix")
        yield section.may_not(replay, ask.names(None), "nor the whole bucket")
        yield section.may_not(replay, ask.names(DEAD_LETTERS, bucket=OTHER_BUCKET), "nor another bucket")
        yield section.may_not(replay, ask.bucket("s3:PutBucketPolicy s3:DeleteBucket"), "nor anything else")

    def _replay_writes(self, section: Section) -> Iterator[Row]:
        ask, who, stack = self.ask, self.who, self.stack
        replay = who.replay
        uses = {"key": DEAD_LETTER, "actions": "kms:Decrypt kms:GenerateDataKey", "prefix": DEAD_LETTERS}
        yield from key_alone(section, ask, replay, elsewhere=self.first.prefix, **uses)
        yield from role_alone(section, ask, replay, other=self.first, **uses)
        encrypt, given_up = "kms:GenerateDataKey", ask.via_s3("kms:GenerateDataKey", DEAD_LETTER, HANDED_OVER)
        yield section.may(replay, ask.put(DEAD_LETTERS, DEAD_LETTER), "what is refused again becomes a dead letter")
        yield section.may(
            replay, ask.put(DEAD_LETTERS, DEAD_LETTER, write="replaces"), "and one that is moved is emptied"
        )
        yield section.may(replay, ask.via_s3(encrypt, DEAD_LETTER, DEAD_LETTERS), "under their key")
        yield section.may_not(replay.given_everything(), given_up, "it hands nothing over")
        takes = {"key": DEAD_LETTER, "actions": "kms:Decrypt", "prefix": HANDED_OVER}
        yield from role_alone(section, ask, replay, other=self.first, **takes)
        loose = NO_BUCKET_POLICY
        yield section.may_not(replay, ask.put(DEAD_LETTERS, self.first.name), "its own policy: this key only", loose)
        yield section.may_not(replay, ask.put(DEAD_LETTERS, None), "its own policy: a key, and this one", loose)
        yield section.may_not(replay, ask.put(HANDED_OVER, DEAD_LETTER), "its own policy: dead-letter/ only", loose)
        copied = ask.put(DEAD_LETTERS, DEAD_LETTER, action="s3:ReplicateObject")
        yield section.may_not(replay, copied, "its own policy: puts", loose)
        away = ask.put(DEAD_LETTERS, DEAD_LETTER, bucket=OTHER_BUCKET)
        yield section.may_not(replay, away, "its own policy: this bucket", loose)
        first = self.first.prefix
        yield section.may_not(replay, ask.names(first, bucket=OTHER_BUCKET), "it lists this bucket")
        yield section.may_not(replay, ask.names(first, action="s3:ListBucketVersions"), "and no old versions")
        yield from self.holding(section, replay)
        yield from self.log(section, replay, f"/aws/lambda/{stack.name}", "logs:CreateLogStream logs:PutLogEvents")

    def erasure(self) -> Iterator[Row]:
        section, ask, who, stack = Section("Erasure"), self.ask, self.who, self.stack
        erase, lambda_, loose = who.erase, who.service("lambda"), NO_BUCKET_POLICY
        assume = self.plain("sts:AssumeRole", erase.role, "the erase role")
        yield section.may(lambda_, assume, "Lambda runs the erase function with it")
        for caller in (who.administrator, who.operator, who.reader(self.first.name), who.stranger):
            yield section.may_not(caller, assume, "only Lambda assumes it: what it reads stays in the function")
        yield section.may_not(who.service("firehose"), assume, "no other service takes it")
        yield from self.only_taken(section, lambda_, erase)
        for prefix, key in self._delivered():
            other = self.table.routes[1] if prefix == self.first.prefix else self.first
            uses = {"key": key, "actions": "kms:Decrypt kms:GenerateDataKey", "prefix": prefix}
            yield section.may(erase, ask.put(prefix, key), "IAM does not tell a new object from an old one")
            yield section.may(
                erase, ask.put(prefix, key, write="replaces"), "writes an object again, without the contact"
            )
            yield section.may(erase, ask.via_s3("kms:Decrypt kms:GenerateDataKey", key, prefix), "under the same key")
            yield from key_alone(section, ask, erase, elsewhere=other.prefix, **uses)
            yield from role_alone(section, ask, erase, other=other, **uses)
            yield section.may_not(erase, ask.put(prefix, other.name), "its own policy: this key only", loose)
            yield section.may_not(erase, ask.put(prefix, None), "its own policy: a key, and this one", loose)
            away = ask.put(prefix, key, bucket=OTHER_BUCKET)
            yield section.may_not(erase, away, "its own policy: this bucket", loose)
            copied = ask.put(prefix, key, action="s3:ReplicateObject")
            yield section.may_not(erase, copied, "its own policy: puts", loose)
        handed_over, encrypt = ask.via_s3("kms:Decrypt", DEAD_LETTER, HANDED_OVER), "kms:GenerateDataKey"
        yield section.may(erase, handed_over, "finds it in a batch that Lambda gave up on")
        yield from role_alone(
            section, ask, erase, key=DEAD_LETTER, actions="kms:Decrypt", prefix=HANDED_OVER, other=self.first
        )
        bold = erase.given_everything()
        yield section.may_not(bold, ask.via_s3(encrypt, DEAD_LETTER, HANDED_OVER), "and writes none")
        versions = "s3:GetObject s3:GetObjectVersion s3:DeleteObjectVersion"
        for prefix in (*self.prefixes, HANDED_OVER):
            yield section.may(erase, ask.objects(versions, prefix), "reads it, and removes old versions where asked")
            for action in ("s3:ListBucket", "s3:ListBucketVersions"):
                yield section.may(erase, ask.names(prefix, action=action), "finds the objects")
                yield section.may_not(erase, ask.names(prefix, action=action, bucket=OTHER_BUCKET), "of this bucket")
            away = ask.objects(f"{versions} s3:PutObject", prefix, bucket=OTHER_BUCKET)
            yield section.may_not(erase, away, "it carries nothing away", loose)
        for action in ("s3:ListBucket", "s3:ListBucketVersions"):
            yield section.may_not(erase, ask.names(None, action=action), "not the whole bucket")
            yield section.may_not(erase, ask.names(UNKNOWN_PREFIX, action=action), "and no other prefix")
        yield section.may_not(erase, ask.objects(versions, UNKNOWN_PREFIX), "no other prefix")
        yield section.may_not(erase, ask.put(HANDED_OVER, DEAD_LETTER), "its own policy: dead-letter/ only", loose)
        for prefix in (*self.prefixes, HANDED_OVER):
            uploads = ask.names(prefix, action="s3:ListBucketMultipartUploads")
            yield section.may_not(erase, uploads, "and nothing that is only under way")
        yield section.may_not(erase, ask.bucket("s3:PutBucketPolicy s3:DeleteBucket"), "nor anything else")
        yield from self.holding(section, erase)
        yield from self.log(section, erase, f"/aws/lambda/{stack.name}", "logs:CreateLogStream logs:PutLogEvents")

    def _delivered(self) -> Iterator[tuple[str, str]]:
        """Return each prefix that the function writes, and the name of its key."""
        return ((top(route), route.name) for route in self.table.all_routes)

    def holding(self, section: Section, caller: Principal) -> Iterator[Row]:
        """Return the rows of a role that holds shards beside the function."""
        stack = self.stack
        table, other = stack.here("dynamodb", f"table/{stack.name}-checkpoint"), stack.here("dynamodb", "table/other")
        hold, on = "dynamodb:GetItem dynamodb:UpdateItem", "the checkpoint table"
        yield section.may(caller, self.plain(hold, table, on), "holds a shard while it writes")
        yield section.may_not(caller, self.plain(hold, other, "another table"), "its own table only")
        forget = self.plain("dynamodb:DeleteItem dynamodb:Scan dynamodb:PutItem dynamodb:DeleteTable", table, on)
        yield section.may_not(caller, forget, "it can forget no watermark")

    def archive(self) -> Iterator[Row]:
        section, ask, who, stack = Section("The archive"), self.ask, self.who, self.stack
        firehose, service = who.archive, who.service("firehose")
        source, on = stack.here("firehose", f"deliverystream/{stack.name}-archive"), "the archive role"
        assume = self.plain("sts:AssumeRole", firehose.role, on, "for its stream", source=source)
        other = stack.here("firehose", "deliverystream/other")
        confused = self.plain("sts:AssumeRole", firehose.role, on, "for another delivery stream", source=other)
        yield section.may(service, assume, "Firehose delivers with it")
        yield section.may_not(service, confused, "no confused deputy")
        yield section.may_not(service, self.plain("sts:AssumeRole", firehose.role, on), "and for a stream only")
        yield section.may_not(who.service("s3"), assume, "no other service")
        tag = self.plain("sts:TagSession", firehose.role, on, "for its stream", source=source)
        yield section.may_not(service, tag, "and only takes it")
        for caller in (who.administrator, who.operator, who.stranger):
            yield section.may_not(caller, assume, "no person takes it")
        yield section.may(firehose, self.plain(READ_STREAM, stack.stream, "the stream"), "reads the whole stream")
        yield section.may(firehose, ask.via_kinesis("kms:Decrypt"), "with the stream's key: trap 2, first half")
        yield section.may(firehose, ask.put(ARCHIVE, ARCHIVE_KEY), "writes archive/ with its key")
        yield section.may(firehose, ask.put(ARCHIVE, ARCHIVE_KEY, write="overwrites"), "in Firehose's own way")
        both = ask.via_s3("kms:Decrypt kms:GenerateDataKey", ARCHIVE_KEY, ARCHIVE)
        yield section.may(firehose, both, "under another key than the stream's: trap 2, second half")
        yield section.may(
            firehose, ask.objects("s3:AbortMultipartUpload s3:GetObject", ARCHIVE), "as Firehose documents"
        )
        yield section.may(
            firehose,
            ask.bucket("s3:GetBucketLocation s3:ListBucketMultipartUploads"),
            "Firehose documents it for its bucket",
        )
        yield section.may(firehose, ask.names(None), "Firehose documents it for its bucket")
        yield section.may(firehose, ask.names(""), "Firehose documents it for its bucket")
        for prefix in (*self.prefixes, HANDED_OVER, ARCHIVE):
            yield section.may(
                firehose, ask.names(prefix), "Firehose documents it for its bucket; names hold nothing of a record"
            )
        yield from self.log(section, firehose, f"/aws/kinesisfirehose/{stack.name}-archive", "logs:PutLogEvents")
        writes = {"key": ARCHIVE_KEY, "actions": "kms:Decrypt kms:GenerateDataKey", "prefix": ARCHIVE}
        yield from key_alone(section, ask, firehose, elsewhere=self.first.prefix, **writes)
        yield from role_alone(section, ask, firehose, other=self.first, **writes)
        foreign = ask.put(self.first.prefix, ARCHIVE_KEY)
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
            yield section.may_not(caller, ask.put(ARCHIVE, self.first.name), "archive/ takes its key only")
            yield section.may_not(caller, ask.put(ARCHIVE, None), "and no put that names none")

    def archive_readers(self) -> Iterator[Row]:
        section, ask, who = Section("The archive"), self.ask, self.who
        reader = who.reader(ARCHIVE)
        for caller in (reader, who.auditor):
            yield section.may(caller, ask.objects("s3:GetObject", ARCHIVE), "named by ReadersOfArchive")
            yield section.may(caller, ask.via_s3("kms:Decrypt", ARCHIVE_KEY, ARCHIVE), "and by its key")
            yield section.may(caller, ask.names(ARCHIVE), "finds the objects")
        for caller in (reader, who.auditor, reader.given_everything()):
            directly = ask.direct_for("kms:Decrypt", ARCHIVE_KEY, ARCHIVE)
            elsewhere = ask.via_s3("kms:Decrypt", ARCHIVE_KEY, self.first.prefix)
            yield section.may_not(caller, directly, "the key serves readers through S3 only")
            yield section.may_not(caller, elsewhere, "and for archive/ only")
            yield section.may_not(caller, ask.for_bucket("kms:Decrypt", ARCHIVE_KEY), "no Bucket Key")
            yield section.may_not(caller, ask.without_context("kms:Decrypt", ARCHIVE_KEY), "nothing without a context")
            rest = ask.via_s3("kms:GenerateDataKey kms:Encrypt kms:CreateGrant", ARCHIVE_KEY, ARCHIVE)
            yield section.may_not(caller, rest, "readers read")
        yield from readers_locks(section, ask, reader, key=ARCHIVE_KEY, prefix=ARCHIVE, other=self.first)
        yield section.may_not(reader, ask.names(ARCHIVE, action="s3:ListBucketVersions"), "no old versions")
        yield section.may_not(reader, ask.names(None), "nor the names of the whole bucket")
        yield section.may_not(reader, ask.names("no-prefix-of-its-own"), "nor of another prefix")
