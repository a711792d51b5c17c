"""The rows of the function that makes columns: it reads a prefix, and writes below its `parquet/` under the same key."""

from collections.abc import Iterator

from grants.bindings import OTHER_BUCKET, key_alone, role_alone
from grants.parts import DEAD_LETTERS, UNKNOWN_PREFIX, Parts
from grants.principals import Principal
from grants.row import NO_BUCKET_POLICY, Row, Section
from grants.stack import Stack
from routing.stored.parts import FOLDER
from routing.table.routes import Route, RouteTable
from schema.columns import tables_of


def rows_of_columns(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the rows of a stack that makes columns."""
    parts = _Columns(table, stack)
    yield from parts.role()
    for route in table.routes:
        yield from parts.of_route(route)
    yield from parts.rest()
    yield from parts.scheduled()


class _Columns(Parts):
    section = Section("Columns")

    def role(self) -> Iterator[Row]:
        """Return who takes the role."""
        section, who = self.section, self.who
        convert, lambda_ = who.convert, who.service("lambda")
        assume = self.plain("sts:AssumeRole", convert.role, "the convert role")
        yield section.may(lambda_, assume, "Lambda runs the function with it that makes columns")
        for caller in (who.administrator, who.operator, who.reader(self.first.name), who.stranger):
            yield section.may_not(caller, assume, "only Lambda assumes it: what it reads stays in the function")
        yield section.may_not(who.service("firehose"), assume, "no other service takes it")
        yield from self.only_taken(section, lambda_, convert)

    def of_route(self, route: Route) -> Iterator[Row]:
        """Return what it does with the lines of a route, and what it does not."""
        section, ask, convert, loose = self.section, self.ask, self.who.convert, NO_BUCKET_POLICY
        other = self.table.routes[1] if route is self.first else self.first
        key, below = route.name, f"{route.prefix}/{FOLDER}"
        first, *others = (f"{route.prefix}/{kind}" for kind, _ in tables_of(route, self.table))
        for lines in (first, *others):
            yield from self._reads(route, lines)
        yield from self._lines(route, first, other)
        yield section.may(convert, ask.put(below, key), "writes columns below the same prefix")
        yield section.may(convert, ask.put(below, key, write="replaces"), "and again, if the lines have changed")
        yield section.may(convert, ask.via_s3("kms:Decrypt kms:GenerateDataKey", key, below), "under the same key")
        uses = {"key": key, "actions": "kms:Decrypt kms:GenerateDataKey", "prefix": below}
        yield from key_alone(section, ask, convert, elsewhere=other.prefix, **uses)
        yield from role_alone(section, ask, convert, other=other, **uses)
        encrypt = ask.via_s3("kms:GenerateDataKey", key, below)
        for caller in self._outsiders():
            yield section.may_not(caller, encrypt, "nobody else writes columns")
        yield section.may_not(convert, ask.put(below, other.name), "its own policy: this key only", loose)
        yield section.may_not(convert, ask.put(below, None), "its own policy: a key, and this one", loose)
        copied = ask.put(below, key, action="s3:ReplicateObject")
        yield section.may_not(convert, copied, "its own policy: puts", loose)
        seen = ask.objects("s3:GetObject s3:DeleteObjectVersion", below)
        yield section.may(convert, seen, "sees what it replaces, and removes old versions where an erasure asks for it")
        rest = ask.objects("s3:DeleteObject s3:GetObjectVersion", below)
        yield section.may_not(convert, rest, "and removes no current ones")
        for action in ("s3:ListBucket", "s3:ListBucketVersions"):
            yield section.may(convert, ask.names(below, action=action), "finds columns, and their old versions")
            yield section.may_not(convert, ask.names(below, action=action, bucket=OTHER_BUCKET), "of this bucket")
        uploads = ask.names(below, action="s3:ListBucketMultipartUploads")
        yield section.may_not(convert, uploads, "and nothing that is only under way")
        away = ask.objects("s3:GetObject s3:PutObject s3:DeleteObjectVersion", below, bucket=OTHER_BUCKET)
        yield section.may_not(convert, away, "it carries nothing away", loose)
        yield section.may_not(convert, ask.put(below, key, bucket=OTHER_BUCKET), "its own policy: this bucket", loose)

    def _reads(self, route: Route, lines: str) -> Iterator[Row]:
        """Return what it does with the lines of one kind."""
        section, ask, convert = self.section, self.ask, self.who.convert
        yield section.may(convert, ask.objects("s3:GetObject", lines), "reads the lines")
        yield section.may(convert, ask.via_s3("kms:Decrypt", route.name, lines), "under the route's key")
        yield section.may(convert, ask.names(lines), "finds them")

    def _lines(self, route: Route, lines: str, other: Route) -> Iterator[Row]:
        """Return what it does not do with lines; their kinds stand side by side in each statement."""
        section, ask, convert, loose = self.section, self.ask, self.who.convert, NO_BUCKET_POLICY
        key = route.name
        for one in (convert, convert.given_everything()):
            yield section.may_not(one, ask.via_s3("kms:GenerateDataKey", key, lines), "it writes no lines")
        for caller in self._outsiders():
            yield section.may_not(caller, ask.via_s3("kms:Decrypt", key, lines), "nobody else reads them for it")
        yield section.may_not(convert, ask.put(lines, key), "its own policy: columns only", loose)
        uses = {"key": key, "actions": "kms:Decrypt", "prefix": lines}
        yield from key_alone(section, ask, convert, elsewhere=other.prefix, **uses)
        yield from role_alone(section, ask, convert, other=other, **uses)
        of_lines = ask.objects("s3:DeleteObjectVersion s3:DeleteObject s3:GetObjectVersion", lines)
        yield section.may_not(convert, of_lines, "and removes no line", loose)
        yield section.may_not(convert, ask.names(lines, action="s3:ListBucketVersions"), "and sees no old version")
        uploads = ask.names(lines, action="s3:ListBucketMultipartUploads")
        yield section.may_not(convert, uploads, "and nothing that is only under way")
        yield section.may_not(convert, ask.names(lines, bucket=OTHER_BUCKET), "it lists this bucket")
        away = ask.objects("s3:GetObject s3:PutObject", lines, bucket=OTHER_BUCKET)
        yield section.may_not(convert, away, "it carries nothing away", loose)

    def _outsiders(self) -> list[Principal]:
        who, stack = self.who, self.stack
        connect = [who.connect, who.other_connect] if stack.makes_stream_key else []
        return [who.administrator, who.stranger, *(one.given_everything() for one in (*connect, who.operator))]

    def rest(self) -> Iterator[Row]:
        """Return what it sees besides, and what it does not."""
        section, ask, convert, stack = self.section, self.ask, self.who.convert, self.stack
        loose = NO_BUCKET_POLICY
        letters = ask.objects("s3:GetObject s3:PutObject", DEAD_LETTERS)
        yield section.may_not(convert, letters, "dead letters are no lines of a route", loose)
        for action in ("s3:ListBucket", "s3:ListBucketVersions"):
            yield section.may_not(convert, ask.names(None, action=action), "not the whole bucket")
            yield section.may_not(convert, ask.names(UNKNOWN_PREFIX, action=action), "and no other prefix")
        yield section.may_not(convert, ask.objects("s3:GetObject", UNKNOWN_PREFIX), "no other prefix")
        yield section.may_not(convert, ask.bucket("s3:PutBucketPolicy s3:DeleteBucket"), "nor anything else")
        checkpoint, on = stack.here("dynamodb", f"table/{stack.name}-checkpoint"), "the checkpoint table"
        yield section.may(convert, self.plain("dynamodb:GetItem", checkpoint, on), "sees what may still change")
        held = self.plain("dynamodb:UpdateItem dynamodb:PutItem dynamodb:DeleteItem dynamodb:Scan", checkpoint, on)
        yield section.may_not(convert, held, "and holds nothing up")
        elsewhere = self.plain("dynamodb:GetItem", stack.here("dynamodb", "table/other"), "another table")
        yield section.may_not(convert, elsewhere, "this table only")
        yield from self.log(section, convert, f"/aws/lambda/{stack.name}", "logs:CreateLogStream logs:PutLogEvents")

    def scheduled(self) -> Iterator[Row]:
        """Return the rows of the schedules that call the function."""
        section = self.section
        who, stack, events = self.who, self.stack, self.who.service("events")
        function, on = stack.here("lambda", f"function:{stack.name}-convert"), "the function that makes columns"
        rule, other = (stack.here("events", f"rule/{name}") for name in (f"{stack.name}-convert-1", "other"))
        invoke = self.plain("lambda:InvokeFunction", function, on, "from its schedule", source=rule)
        yield section.may(events, invoke, "a schedule calls it for each route")
        wrong = self.plain("lambda:InvokeFunction", function, on, "from another schedule", source=other)
        yield section.may_not(events, wrong, "its own schedules only")
        yield section.may_not(
            events, self.plain("lambda:InvokeFunction", function, on, "from nowhere"), "and only these"
        )
        update = self.plain("lambda:UpdateFunctionCode lambda:GetFunction", function, on, source=rule)
        yield section.may_not(events, update, "and it only calls")
        for caller in (who.service("s3"), who.stranger, who.anonymous):
            yield section.may_not(caller, invoke, "nobody else")
