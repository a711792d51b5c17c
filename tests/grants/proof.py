"""Everything that is asked of a template: its shape, its wildcards, and the matrix in every combination of options.

The engines decide the matrix in three settings and notice every mutant; here the doctor's evaluator, which agrees with
them on every row, decides it with every option alone and with every two. Shape closes what rows cannot speak of: a kind
of resource or a property that carries a policy of its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from doctor.resolve import ResolveError
from grants.matrix import matrix
from grants.policy import Answer, Policy, Request, decide
from grants.row import Row
from local.policies import Deployed, combinations_of_options, settings
from local.translate import Template
from routing.model import Kind
from routing.table.routes import RouteTable
from tests.grants.cases import Case, Cases

# Kinds of resources that may be there; those that carry policies with all the properties that they may have.
_PROPERTIES: Mapping[str, set[str]] = {
    "AWS::IAM::Role": {"AssumeRolePolicyDocument", "Description"},
    "AWS::IAM::ManagedPolicy": {"Description", "PolicyDocument", "Roles"},
    "AWS::KMS::Key": {"Description", "EnableKeyRotation", "KeyPolicy", "KeySpec", "KeyUsage", "PendingWindowInDays"},
    "AWS::KMS::Alias": {"AliasName", "TargetKeyId"},
    "AWS::S3::Bucket": {
        "BucketEncryption", "BucketName", "LifecycleConfiguration", "NotificationConfiguration", "OwnershipControls",
        "PublicAccessBlockConfiguration", "VersioningConfiguration",
    },
    "AWS::S3::BucketPolicy": {"Bucket", "PolicyDocument"},
    "AWS::Kinesis::Stream": {"Name", "RetentionPeriodHours", "ShardCount", "StreamEncryption", "StreamModeDetails"},
    "AWS::DynamoDB::Table": {
        "AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled", "KeySchema", "PointInTimeRecoverySpecification",
        "TableName", "Tags", "TimeToLiveSpecification",
    },
    "AWS::Lambda::Function": {
        "Architectures", "Code", "Description", "Environment", "EphemeralStorage", "FunctionName", "Handler", "LoggingConfig", "MemorySize",
        "Role", "Runtime", "Tags", "Timeout", "TracingConfig",
    },
    "AWS::Lambda::Permission": {"Action", "FunctionName", "Principal", "SourceArn"},
    "AWS::Lambda::EventSourceMapping": {
        "BatchSize", "BisectBatchOnFunctionError", "DestinationConfig", "Enabled", "EventSourceArn", "FunctionName",
        "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
        "MetricsConfig", "ParallelizationFactor", "StartingPosition",
    },
    "AWS::KinesisFirehose::DeliveryStream": {
        "DeliveryStreamName", "DeliveryStreamType", "ExtendedS3DestinationConfiguration", "KinesisStreamSourceConfiguration",
    },
    "AWS::SNS::Topic": {"KmsMasterKeyId", "TopicName"},
    "AWS::SNS::TopicPolicy": {"PolicyDocument", "Topics"},
    "AWS::SNS::Subscription": {"Endpoint", "Protocol", "TopicArn"},
    "AWS::Logs::LogGroup": {"LogGroupName", "RetentionInDays"},
    "AWS::Logs::LogStream": {"LogGroupName", "LogStreamName"},
    "AWS::Events::Rule": {"Description", "EventPattern", "Name", "ScheduleExpression", "State", "Targets"},
    "AWS::Connect::InstanceStorageConfig": {"InstanceArn", "KinesisStreamConfig", "ResourceType", "StorageType"},
}  # fmt: skip
_WITHOUT_POLICIES = {
    "AWS::Athena::NamedQuery", "AWS::Athena::WorkGroup", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard", "AWS::Glue::Database", "AWS::Glue::Table", "AWS::Logs::QueryDefinition",
}  # fmt: skip
# Of these kinds there is exactly what is known; another one would be a way in or out.
_ALONE: Mapping[str, set[str]] = {
    "AWS::IAM::Role": {"ArchiveRole", "ConvertRole", "EraseRole", "FanOutRole", "ReplayRole"},
    "AWS::Lambda::EventSourceMapping": {"StreamMapping"},
    "AWS::KinesisFirehose::DeliveryStream": {"ArchiveStream"},
    "AWS::S3::Bucket": {"Bucket"},
    "AWS::SNS::Subscription": {"AlarmSubscription"},
    "AWS::Connect::InstanceStorageConfig": {"ConnectAgentEvents", "ConnectContactRecords"},
}
_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_OPERATORS = {
    "ArnEquals", "ArnEqualsIfExists", "ArnLike", "ArnNotEquals", "Bool", "Null", "StringEquals", "StringEqualsIfExists",
    "StringLike",
}  # fmt: skip
_NEVER_A_READER = (
    "*", "111122223333", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:role/*",
    "arn:aws:iam::111122223333:role/ops-?", "arn:aws:sts::111122223333:assumed-role/x/y",
)  # fmt: skip
_NEVER: Mapping[str, tuple[str, ...]] = {
    "Name": ("*", "Ctr", "a" * 27, "ctr/fanout", "ctr-*"),
    "ConnectServiceRoleArn": ("*", "arn:aws:iam::111122223333:role/Admin", "arn:aws:iam::111122223333:root"),
    "ConnectInstanceArn": ("*", "arn:aws:connect:*:*:instance/x"),
    "ExistingStreamKeyArn": ("*", "alias/x", "arn:aws:kms:ap-northeast-1:111122223333:alias/x"),
    "AlarmTopicArn": ("*", "arn:aws:sqs:ap-northeast-1:111122223333:x"),
}


def complaints(template: Template, table: RouteTable) -> Iterator[str]:
    """Yield what is wrong with a template; nothing if it keeps every promise.

    Args:
        template: Plain CloudFormation, nested stacks included.
        table: Its routes.
    """
    yield from _of_shape(template)
    yield from _of_parameters(template)
    try:
        everything = settings(template, table)["everything"]
        yield from _of_statements(everything, table)
        for deployed in chain([everything], combinations_of_options(template, table)):
            yield from _of_names(deployed)
            yield from _DECISIONS.wrong(deployed, table)
    except ResolveError as err:
        yield str(err)


def _of_shape(template: Template) -> Iterator[str]:
    for name, resource in template["Resources"].items():
        kind = resource["Type"]
        if kind not in _PROPERTIES and kind not in _WITHOUT_POLICIES:
            yield f"{name}: {kind} may carry a policy that no row speaks of"
        elif kind in _PROPERTIES and (more := set(resource.get("Properties", {})) - _PROPERTIES[kind]):
            yield f"{name}: {kind} with {', '.join(sorted(more))}"
        told = resource.get("Properties", {}).get("NotificationConfiguration", {})
        if any(destination in json.dumps(told) for destination in ("Queue", "Topic", "Lambda")):
            yield f"{name}: names of objects go elsewhere than to EventBridge of the account"
        if kind in _ALONE and name not in _ALONE[kind]:
            yield f"{name}: another {kind}"


def _of_parameters(template: Template) -> Iterator[str]:
    for name, parameter in template["Parameters"].items():
        is_of_readers = parameter["Type"] == "CommaDelimitedList"
        refused = _NEVER_A_READER if is_of_readers else _NEVER.get(name, ())
        pattern = parameter.get("AllowedPattern")
        if refused and pattern is None:
            yield f"{name}: no AllowedPattern"
        yield from (f"{name}: takes {one!r}" for one in refused if pattern and re.fullmatch(pattern, one))


def _of_statements(  # noqa: C901 - one element of a statement after the other
    deployed: Deployed, table: RouteTable
) -> Iterator[str]:
    stack = deployed.stack
    prefixes = {*(route.prefix for route in table.routes), "dead-letter", "aws/lambda", "archive"}
    tables = rf"{re.escape(stack.here('glue', 'table/'))}\w+/\w+\*"
    below_routes = {f"{route.prefix}/{name}" for route in table.routes for name in (*Kind, "parquet")}
    below = "|".join(map(re.escape, sorted(prefixes | below_routes)))
    allowed = [
        rf"{re.escape(stack.bucket)}/(({below})/)?\*", rf"({below})/\*", tables,
        re.escape(stack.here("cloudwatch", f"alarm:{stack.name} ")) + r"\*",
        re.escape(stack.here("logs", f"log-group:/aws/lambda/{stack.name}:")) + r"\*",
        re.escape(stack.here("events", f"rule/{stack.name}-convert-")) + r"\*",
        re.escape(stack.here("athena", f"workgroup/{stack.name}-")) + r"\*",
    ]  # fmt: skip
    for attached in deployed.policies:
        for one in attached.document["Statement"]:
            where = f"{attached.name}.{one.get('Sid', '?')}"
            is_denial = one["Effect"] == "Deny"
            if more := set(one) - _ELEMENTS:
                yield f"{where}: {', '.join(sorted(more))}"
            if not is_denial and {"NotAction", "NotResource"} & set(one):
                yield f"{where}: allows all but something"
            if not is_denial and "*" in json.dumps(one.get("Action", "")):
                yield f"{where}: allows actions by a pattern"
            principal = one.get("Principal", {})
            services = set(_listed(principal.get("Service", []))) if isinstance(principal, dict) else set[str]()
            if more := services - _SERVICES.get(attached.name, set()):
                yield f"{where}: admits {', '.join(sorted(more))}"
            for operator, keys in one.get("Condition", {}).items():
                if operator not in _OPERATORS or ("Not" in operator and not is_denial):
                    yield f"{where}: {operator}"
                for value in (value for values in keys.values() for value in _listed(values)):
                    if re.search(r"[*?]", value) and not any(re.fullmatch(form, value) for form in allowed):
                        yield f"{where}: the condition {value!r} is wider than a prefix"
            for value in _listed(one.get("Resource", one.get("NotResource", []))):
                is_all = value == "*" and (
                    attached.name.endswith("Key")
                    or where in _EVERYTHING
                    or where.endswith("QueryPolicy.ListWorkGroups")
                )
                if re.search(r"[*?]", value) and not is_all and not any(re.fullmatch(form, value) for form in allowed):
                    yield f"{where}: the resource {value!r} is wider than a prefix"


_SERVICES: Mapping[str, set[str]] = {
    "FanOutRole": {"lambda.amazonaws.com"},
    "ReplayRole": {"lambda.amazonaws.com"},
    "EraseRole": {"lambda.amazonaws.com"},
    "ConvertRole": {"lambda.amazonaws.com"},
    "permissions of ctr-fanout-convert": {"events.amazonaws.com"},
    "ArchiveRole": {"firehose.amazonaws.com"},
    "AlarmKey": {"cloudwatch.amazonaws.com"},
    "AlarmTopicPolicy": {"cloudwatch.amazonaws.com"},
    "QueryResultsKey": {"encryption.athena.amazonaws.com"},
    "permissions of ctr-fanout-grant-check": {"events.amazonaws.com"},
}
_EVERYTHING = {"TracingPolicy.WriteTraces", "DenyOutsidePolicy.DenyOtherServices"}


def _of_names(deployed: Deployed) -> Iterator[str]:
    """Find statements about an empty name: a parameter that is not given, under the wrong condition."""
    for attached in deployed.policies:
        for one in attached.document["Statement"]:
            principal = one.get("Principal", {})
            named = (
                [principal]
                if isinstance(principal, str)
                else [v for below in principal.values() for v in _listed(below)]
            )
            named += [
                v for keys in one.get("Condition", {}).values() for values in keys.values() for v in _listed(values)
            ]
            if not all(named):
                yield f"with {deployed.stack.setting}: {attached.name}.{one.get('Sid', '?')} speaks of nothing"


class _Decisions:
    """Decides rows, each question once: most policies are the same in most combinations."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Answer] = {}
        self._ids: dict[str, int] = {}

    def wrong(self, deployed: Deployed, table: RouteTable) -> Iterator[str]:
        cases = Cases(deployed, matrix(table, deployed.stack))
        ids = [self._ids.setdefault(json.dumps(policy, sort_keys=True), len(self._ids)) for policy in cases.policies]
        for case in cases.cases:
            wanted = Answer.YES if case.row.is_allowed else Answer.NO
            if self._decide(cases, case, ids) is not wanted:
                yield f"with {deployed.stack.setting}: {_described(case.row, case.action)}"

    def _decide(self, cases: Cases, case: Case, ids: list[int]) -> Answer:
        who, places = case.row.who, [*case.identity]
        places += [place for place in (case.resource_policy, case.besides) if place is not None]
        question = (
            who.role or who.arn, case.action, case.row.request.resource, len(case.identity), case.besides is None,
            *(ids[place] for place in places), tuple(sorted((name, str(value)) for name, value in case.context.items())),
        )  # fmt: skip
        if question not in self._known:
            self._known[question] = decide_by_doctor(cases, case)
        return self._known[question]


_DECISIONS = _Decisions()


def decide_by_doctor(cases: Cases, case: Case) -> Answer:
    """Decide a case by the evaluator that the doctor uses."""
    who = case.row.who
    request = Request(
        principal=who.role or who.arn,
        action=case.action,
        resource=case.row.request.resource,
        account=cases.deployed.stack.account,
        context=case.context,
    )
    resource: Policy | None = None if case.resource_policy is None else cases.policies[case.resource_policy]
    if resource is not None and case.besides is not None:
        resource = {**resource, "Statement": [*resource["Statement"], *cases.policies[case.besides]["Statement"]]}
    return decide(request, [cases.policies[place] for place in case.identity], resource)


def _described(row: Row, action: str) -> str:
    wanted = "allowed" if row.is_allowed else "denied"
    return f"{row.section}: {row.who.label}, {action} on {row.request.on} ({row.request.how}) {row.assuming}: expected {wanted}"


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
