"""The rows of what watches a stack and of what analysts ask: alarms, traces, workgroups and results."""

from collections.abc import Iterator
from copy import replace

from grants.parts import Parts
from grants.requests import Request
from grants.row import DEFAULT_KEY_POLICY, Row, Section
from grants.stack import ALARM_KEY, Stack
from routing.table.routes import Route, RouteTable
from schema.columns import tables_of

_RESULTS = "kms:Decrypt kms:GenerateDataKey"
_OTHER_USES = "kms:Encrypt kms:ReEncryptFrom kms:CreateGrant"
_ASK = (
    "athena:GetWorkGroup athena:StartQueryExecution athena:StopQueryExecution athena:GetQueryExecution "
    "athena:BatchGetQueryExecution athena:ListQueryExecutions athena:GetQueryResults athena:GetQueryResultsStream "
    "athena:GetNamedQuery athena:ListNamedQueries athena:BatchGetNamedQuery"
)
_LIST = "athena:ListWorkGroups athena:ListDataCatalogs athena:ListEngineVersions"
_BROWSE = (
    "athena:GetDataCatalog athena:ListDatabases athena:GetDatabase athena:ListTableMetadata athena:GetTableMetadata"
)
_LOOK_UP = "glue:GetDatabase glue:GetTable glue:GetTables glue:GetPartitions"


def rows_of_watch(table: RouteTable, stack: Stack) -> Iterator[Row]:
    """Return the rows of what a stack has of this."""
    parts = _Watch(table, stack)
    if stack.has_alarm_topic:
        yield from parts.alarms()
    if stack.has_tracing:
        yield from parts.traces()
    if stack.has_analysis:
        yield from parts.results()
        for route in table.routes:
            yield from parts.analyst(route)


class _Watch(Parts):
    def alarms(self) -> Iterator[Row]:
        section, who, stack = Section("Alarms"), self.who, self.stack
        topic, on = stack.here("sns", f"{stack.name}-alarms"), "the topic of alarms"
        alarm, other = (stack.here("cloudwatch", f"alarm:{name}") for name in (f"{stack.name} late", "other"))
        service = who.service("cloudwatch")
        publish = self.plain("sns:Publish", topic, on, "an alarm of the stack", source=alarm)
        yield section.may(service, publish, "an alarm reaches somebody")
        yield section.may_not(
            service, self.plain("sns:Publish", topic, on, "another alarm", source=other), "its own alarms only"
        )
        yield section.may_not(service, self.plain("sns:Publish", topic, on, "no alarm"), "and only an alarm")
        rest = self.plain("sns:Subscribe sns:SetTopicAttributes sns:DeleteTopic", topic, on, source=alarm)
        yield section.may_not(service, rest, "it only publishes")
        for caller in (who.service("events"), who.stranger, who.anonymous, who.operator):
            yield section.may_not(caller, publish, "nobody else")
        encrypt = self._use(_RESULTS, ALARM_KEY, "for the topic")
        yield section.may(service, encrypt, "without it no alarm arrives, and nothing says so")
        yield section.may_not(service, self._use(_OTHER_USES, ALARM_KEY, "for the topic"), "and nothing else")
        for caller in (who.service("events"), who.stranger, who.anonymous, who.operator, who.administrator):
            yield section.may_not(caller, encrypt, "the key serves alarms only")

    def traces(self) -> Iterator[Row]:
        section, who, stack = Section("Traces"), self.who, self.stack
        put = self.plain("xray:PutTraceSegments xray:PutTelemetryRecords", "*", "traces")
        rest = self.plain("xray:BatchGetTraces xray:GetTraceSummaries xray:PutEncryptionConfig", "*", "traces")
        roles = [who.function, *([who.replay] if stack.has_replay else [])]
        roles += [who.erase] if stack.has_erasure else []
        roles += [who.convert] if stack.has_columns else []
        for caller in roles:
            yield section.may(caller, put, "Lambda traces its invocations, with Tracing=Active")
            yield section.may_not(caller, rest, "and reads none")

    def results(self) -> Iterator[Row]:
        section, who, stack = Section("Results of queries"), self.who, self.stack
        athena = who.service("encryption.athena")
        every = f"{_RESULTS} kms:DescribeKey"
        other_group = stack.here("athena", "workgroup/other")
        for route in self.table.routes:
            mine = self.stack.work_group(route)
            yield section.may(athena, self._kept(every, mine), "Athena keeps results for a day, under the stack's key")
        mine = self.stack.work_group(self.first)
        kept = self._kept(every, mine)
        no_such = stack.here("athena", f"workgroup/{stack.name}-no-route")
        yield section.may_not(athena, self._kept(every, no_such, source=mine), "for a workgroup of the stack only")
        yield section.may_not(athena, self._kept(every, mine, source=other_group), "and on behalf of one")
        yield section.may_not(athena, self._kept(every, mine, source=""), "and on behalf of any")
        yield section.may_not(athena, self._kept(every, mine, account="999988887777"), "of this account")
        yield section.may_not(athena, self._kept(every, mine, account=""), "of this account, for certain")
        yield section.may_not(athena, self._kept(every, "", source=mine), "nothing without a context")
        yield section.may_not(athena, self._kept(_OTHER_USES, mine), "and nothing else")
        for caller in (who.service("athena"), who.stranger, who.anonymous, who.operator):
            yield section.may_not(caller, kept, "nobody else")
        following = (*self.table.routes[1:], self.table.routes[0])
        for route, other in zip(self.table.routes, following, strict=True):
            reader, mine, theirs = who.reader(route.name), self.stack.work_group(route), self.stack.work_group(other)
            if not stack.is_read(route.name):
                continue
            for caller in (reader, who.auditor):
                yield section.may(caller, self.ask.results(_RESULTS, mine), "who asks needs the key, too")
            named = self.ask.results(_RESULTS, mine)
            yield section.may_not(reader.given_nothing(), named, "two locks: the key policy alone admits no reader")
            yield section.may_not(who.analyst(route.name), named, "nor the attached policy alone")
            loose = DEFAULT_KEY_POLICY
            odd = self.ask.results(_RESULTS, theirs)
            yield section.may_not(reader, odd, "its policy: this workgroup only", loose)
            other_key = replace(named, resource=stack.keys[route.name], on=f"{route.name} key")
            yield section.may_not(reader, other_key, "its policy: this key only", loose)
            yield section.may_not(reader, self.ask.results(_RESULTS, ""), "its policy: with the context", loose)
            yield section.may_not(reader, self.ask.results(_OTHER_USES, mine), "its policy: nothing else", loose)
            for caller in (reader, reader.given_everything()):
                yield section.may_not(caller, self.ask.results(_RESULTS, theirs), "no results of another workgroup")
                yield section.may_not(caller, self.ask.results(_RESULTS, ""), "nothing without a context")
                yield section.may_not(caller, self.ask.results(_OTHER_USES, mine), "and nothing else")

    def analyst(self, route: Route) -> Iterator[Row]:
        """Return what the policy allows that an administrator attaches to the role of a reader."""
        section, who, stack = Section("Analysts"), self.who, self.stack
        analyst = who.analyst(route.name)
        other = next(one for one in self.table.routes if one is not route)
        mine, theirs = self.stack.work_group(route), self.stack.work_group(other)
        yield section.may(analyst, self.plain(_ASK, mine, f"workgroup {route.name}"), "asks in the route's workgroup")
        yield section.may_not(analyst, self.plain(_ASK, theirs, f"workgroup {other.name}"), "in no other")
        rest = "athena:UpdateWorkGroup athena:DeleteWorkGroup athena:CreateNamedQuery athena:DeleteNamedQuery"
        yield section.may_not(analyst, self.plain(rest, mine, f"workgroup {route.name}"), "and changes nothing of it")
        yield section.may(analyst, self.plain(_LIST, "*", "names of workgroups"), "finds its workgroup in the console")
        ours, federated = (stack.here("athena", f"datacatalog/{name}") for name in ("AwsDataCatalog", "another"))
        yield section.may(analyst, self.plain(_BROWSE, ours, "the data catalog"), "and the tables that Glue shows it")
        change = "athena:UpdateDataCatalog athena:DeleteDataCatalog athena:UpdateWorkGroup"
        yield section.may_not(analyst, self.plain(change, ours, "the data catalog"), "and changes nothing of it")
        yield section.may_not(analyst, self.plain(_BROWSE, federated, "another data catalog"), "no other catalog")
        database = stack.name.replace("-", "_")
        places = ["catalog", "database/default", f"database/{database}"]
        places += [
            f"table/{database}/{name}{view}"
            for _, name in tables_of(route, self.table)
            for view in ("", "_lines", "_latest")
        ]
        for place in places:
            yield section.may(analyst, self._catalog(_LOOK_UP, place), "finds its tables")
            change = "glue:UpdateTable glue:DeleteTable glue:CreateTable glue:DeleteDatabase"
            yield section.may_not(analyst, self._catalog(change, place), "and changes none")
        _, another = next(tables_of(other, self.table))
        for place in (f"table/{database}/{another}", f"table/another/{another}", "database/another"):
            yield section.may_not(analyst, self._catalog(_LOOK_UP, place), "no other tables")

    def _catalog(self, actions: str, place: str) -> Request:
        return self.plain(actions, self.stack.here("glue", place), f"the catalog: {place}")

    def _kept(self, actions: str, group: str, *, source: str | None = None, account: str | None = None) -> Request:
        """Use the key of results for a workgroup, as Athena does."""
        seen = self.ask.results(actions, group)
        added = {
            "aws:SourceArn": group if source is None else source,
            "aws:SourceAccount": self.stack.account if account is None else account,
        }
        odd = [
            f"{name} {value or 'absent'}" for name, value in added.items() if value not in {group, self.stack.account}
        ]
        context = {**seen.context, **{name: value for name, value in added.items() if value}}
        return replace(seen, how=", ".join([seen.how, *odd]), context=context)

    def _use(self, actions: str, key: str, how: str) -> Request:
        return self.plain(actions, self.stack.keys[key], f"{key} key", how)
