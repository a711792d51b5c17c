"""The blocks of `template.yaml` that watch a stack, written by cog."""

from typing import Any

from cost.estimate import read_prices
from infrastructure.cfn_yaml import Function, GetAtt, Ref, Sub
from infrastructure.monitoring.alarms import alarm_resources
from infrastructure.monitoring.dashboard import dashboard_body
from infrastructure.monitoring.log_queries import log_queries
from routing.table.routes import RouteTable, logical_id

type Block = dict[str, Any]


def watch(table: RouteTable) -> Block:
    """Every alarm, the dashboard and the saved queries."""
    prices, _ = read_prices()
    return {
        **alarm_resources(table),
        "Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {"DashboardName": Ref("Name"), "DashboardBody": dashboard_body(table, prices)},
        },
        **log_queries(),
    }


def key_changed(table: RouteTable) -> Block:
    """The rule that notices changed keys. It counts, which is what its alarm looks at, and has the grants tried at once.

    It needs a CloudTrail trail that records management events; the grant check notices by itself within minutes.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-disablekey.html
    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    """
    names = [*(route.name for route in table.all_routes), *table.protection_keys]
    # By the ends of ARNs: a pattern may have 2,048 characters.
    keys: list[object] = [_ending(Ref(f"{logical_id(name)}Key")) for name in names]
    keys.append(Function(("If", ["MakesStreamKey", _ending(Ref("StreamKey")), Ref("ExistingStreamKeyArn")])))
    results = GetAtt("AnalysisStack.Outputs.QueryResultsKeyId")
    keys.append(Function(("If", ["Analyses", _ending(results), Ref("AWS::NoValue")])))
    keys.append(Function(("If", ["ArchivesStream", _ending(Ref("ArchiveKey")), Ref("AWS::NoValue")])))
    return {
        "KeyChangedRule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Name": Sub("${Name}-key-changed"),
                "Description": "A key was disabled, is to be deleted, has another policy, or has lost a grant",
                "EventPattern": {
                    "source": ["aws.kms"],
                    "detail": {
                        "eventName": [
                            "DisableKey",
                            "ScheduleKeyDeletion",
                            "PutKeyPolicy",
                            "RevokeGrant",
                            "RetireGrant",
                        ],
                        "resources": {"ARN": keys},
                    },
                },
                "Targets": [{"Id": "GrantCheckFunction", "Arn": GetAtt("GrantCheckFunction.Arn")}],
            },
        }
    }


def _ending(key: object) -> Block:
    """Match an ARN by its end.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
    """
    return {"suffix": key}
