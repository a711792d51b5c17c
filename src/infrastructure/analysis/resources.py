"""The blocks of `template.yaml` for analysts, written by cog: tables, views, workgroups, saved queries, their rights.

Each route has a workgroup of its own, whose results Athena itself keeps for a day, encrypted under one key that is
bound to the workgroup: who reads one route does not see what others have asked of theirs.

Source: https://docs.aws.amazon.com/athena/latest/ug/managed-results.html
Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html
Source: https://docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html
"""

import json
from collections.abc import Mapping
from typing import Any

from infrastructure.analysis.queries import latest_sql, queries_for, sql_of
from infrastructure.cfn_yaml import Function, GetAtt, Inline, InlineMap, Ref, Sub, Text
from routing.model import Kind
from routing.table.partition import ARRIVAL
from routing.table.routes import Route, RouteTable, logical_id
from schema.columns import Tree, athena_type, columns_of, hive_type, tables_of, version

type Block = dict[str, Any]

WORKGROUP = "${Name}-"
_BUCKET = "${Name}-${AWS::AccountId}-${AWS::Region}"
_DATABASE = Ref("Database")
# https://docs.aws.amazon.com/athena/latest/ug/regex-serde.html: an unknown kind is one text a line.
_LINE = "org.apache.hadoop.hive.serde2.RegexSerDe"
_JSON = "org.openx.data.jsonserde.JsonSerDe"
_MOST_SCANNED_BYTES = 1_000_000_000_000
_ASK = (
    "athena:GetWorkGroup athena:StartQueryExecution athena:StopQueryExecution athena:GetQueryExecution "
    "athena:BatchGetQueryExecution athena:ListQueryExecutions athena:GetQueryResults athena:GetQueryResultsStream "
    "athena:GetNamedQuery athena:ListNamedQueries athena:BatchGetNamedQuery"
)
_LOOK_UP = "glue:GetDatabase glue:GetTable glue:GetTables glue:GetPartitions"


def analysis(table: RouteTable) -> Block:
    """Everything of the routes."""
    block: Block = {}
    for route in table.routes:
        stem = logical_id(route.name)
        block[f"{stem}WorkGroup"] = _work_group(route)
        block[f"{stem}QueryPolicy"] = _query_policy(route, table)
        for kind, name in tables_of(route, table):
            columns = columns_of(route, kind)
            base = f"{stem}{_camel(kind)}"
            block[f"{base}Table"] = _table(route, kind, name, columns)
            view = latest_sql(kind, columns, name)
            if view is not None:
                block[f"{base}LatestView"] = _view(name, columns, view, f"{base}Table")
            for query in queries_for(kind, columns):
                block[f"{base}{_camel(query.name)}Query"] = {
                    "Type": "AWS::Athena::NamedQuery",
                    "Condition": "IsOnAws",
                    "Properties": {
                        "Name": f"{query.name}: {route.name}",
                        "Description": query.about,
                        "Database": _DATABASE,
                        "WorkGroup": Ref(f"{stem}WorkGroup"),
                        "QueryString": Text(sql_of(query, name)),
                    },
                }
    return block


def analysis_outputs(table: RouteTable) -> Block:
    """The policy for the roles that ask, of each route."""
    return {
        f"{logical_id(route.name)}QueryPolicyArn": {
            "Description": f"Attach it to roles that ask Athena about {route.prefix}/",
            "Value": Ref(f"{logical_id(route.name)}QueryPolicy"),
        }
        for route in table.routes
    }


def analysis_outputs_of_stack(table: RouteTable) -> Block:
    """The same, as outputs of the whole stack."""
    return {
        name: {**output, "Condition": "Analyses", "Value": GetAtt(f"AnalysisStack.Outputs.{name}")}
        for name, output in analysis_outputs(table).items()
    }


def results_key_statements(table: RouteTable) -> list[Any]:
    """Who may use the key of query results: Athena for the workgroups, and the readers of a route for theirs."""
    return [_readers_of_results(route) for route in table.routes]


def work_groups(table: RouteTable) -> list[Sub]:
    """The ARNs of the workgroups."""
    return [_work_group_arn(route) for route in table.routes]


def _work_group(route: Route) -> Block:
    return {
        "Type": "AWS::Athena::WorkGroup",
        "Properties": {
            "Name": Sub(f"${{Name}}-{route.name}"),
            "Description": route.about,
            "RecursiveDeleteOption": True,
            "WorkGroupConfiguration": {
                "EnforceWorkGroupConfiguration": True,
                "EngineVersion": {"SelectedEngineVersion": "Athena engine version 3"},
                "BytesScannedCutoffPerQuery": _MOST_SCANNED_BYTES,
                "PublishCloudWatchMetricsEnabled": True,
                "ManagedQueryResultsConfiguration": {
                    "Enabled": True,
                    "EncryptionConfiguration": {"KmsKey": GetAtt("QueryResultsKey.Arn")},
                },
            },
        },
    }


def _table(route: Route, kind: Kind, name: str, columns: Mapping[str, Tree]) -> Block:
    place = f"s3://{_BUCKET}/{route.prefix}/{kind}/"
    # What dates itself may lie ahead, as a scheduled contact does.
    until = "NOW" if route.partition.path is None else "NOW+366DAYS"
    described = f"{route.about}; dated by {'.'.join(route.partition.path or (ARRIVAL,))}; schema version {version()}"
    serde: Block = (
        {"SerializationLibrary": _JSON, "Parameters": {"case.insensitive": "TRUE"}}
        if columns
        else {"SerializationLibrary": _LINE, "Parameters": {"input.regex": "(.*)"}}
    )
    return {
        "Type": "AWS::Glue::Table",
        "Properties": {
            "CatalogId": Ref("AWS::AccountId"),
            "DatabaseName": _DATABASE,
            "TableInput": {
                "Name": name,
                "Description": described,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {
                    "EXTERNAL": "TRUE",
                    "classification": "json",
                    "compressionType": "gzip",
                    "projection.enabled": "true",
                    "projection.day.type": "date",
                    "projection.day.format": "yyyy-MM-dd",
                    "projection.day.range": f"2020-01-01,{until}",
                    "storage.location.template": Sub(f"{place}date=${{!day}}/"),
                },
                "PartitionKeys": [{"Name": "day", "Type": "string"}],
                "StorageDescriptor": {
                    "Location": Sub(place),
                    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
                    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
                    "Compressed": True,
                    "SerdeInfo": serde,
                    "Columns": _columns(columns or {"record": "string"}),
                },
            },
        },
    }


def _view(name: str, columns: Mapping[str, Tree], sql: str, of: str) -> Block:
    """Make a view as Athena itself stores one: its definition in base64, in a comment.

    Source: https://github.com/iconara/terraform-aws-athena-view
    """
    typed = [{"name": column.lower(), "type": athena_type(tree)} for column, tree in columns.items()]
    definition = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": "${Database}",
        "columns": [*typed, {"name": "day", "type": "varchar"}],
    }
    encoded = {"Fn::Base64": Sub(json.dumps(definition, separators=(",", ":")))}
    return {
        "Type": "AWS::Glue::Table",
        "DependsOn": [of],
        "Properties": {
            "CatalogId": Ref("AWS::AccountId"),
            "DatabaseName": _DATABASE,
            "TableInput": {
                "Name": f"{name}_latest",
                "Description": "The newest version of each",
                "TableType": "VIRTUAL_VIEW",
                "Parameters": {"presto_view": "true", "comment": "Presto View"},
                "ViewOriginalText": Function(("Join", ["", ["/* Presto View: ", encoded, " */"]])),
                "ViewExpandedText": "/* Presto View */",
                "StorageDescriptor": {
                    "SerdeInfo": {"Name": "-", "SerializationLibrary": "-"},
                    "Columns": _columns({**columns, "day": "string"}),
                },
            },
        },
    }


def _query_policy(route: Route, table: RouteTable) -> Block:
    """What a reader's role needs besides: AWS has no resource policy for workgroups, so an administrator attaches it."""
    names = [name for _, name in tables_of(route, table)]
    catalog = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}"
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "Description": Sub(f"Asks Athena about {route.prefix}/ of ${{Name}}; for roles that may read it"),
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "QueryWorkGroup",
                        "Effect": "Allow",
                        "Action": Inline(_ASK.split()),
                        "Resource": _work_group_arn(route),
                    },
                    {
                        "Sid": "LookUpTables",
                        "Effect": "Allow",
                        "Action": Inline(_LOOK_UP.split()),
                        "Resource": [
                            Sub(f"{catalog}:catalog"),
                            Sub(f"{catalog}:database/${{Database}}"),
                            *(Sub(f"{catalog}:table/${{Database}}/{name}*") for name in names),
                        ],
                    },
                    {
                        "Sid": "UseResultsKey",
                        "Effect": "Allow",
                        "Action": Inline(["kms:Decrypt", "kms:GenerateDataKey"]),
                        "Resource": GetAtt("QueryResultsKey.Arn"),
                        "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:athena:arn": _work_group_arn(route)}},
                    },
                ],
            },
        },
    }


def _readers_of_results(route: Route) -> Function:
    stem = logical_id(route.name)
    statement = {
        "Sid": f"{stem}ReadersKeepResults",
        "Effect": "Allow",
        "Principal": {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
        "Action": Inline(["kms:Decrypt", "kms:GenerateDataKey"]),
        "Resource": "*",
        "Condition": {
            "ArnEquals": {
                "aws:PrincipalArn": Ref(f"ReadersOf{stem}"),
                "kms:EncryptionContext:aws:athena:arn": _work_group_arn(route),
            }
        },
    }
    return Function(("If", [f"Has{stem}Readers", statement, Ref("AWS::NoValue")]))


def _work_group_arn(route: Route) -> Sub:
    return Sub(f"arn:${{AWS::Partition}}:athena:${{AWS::Region}}:${{AWS::AccountId}}:workgroup/${{Name}}-{route.name}")


def _columns(columns: Mapping[str, Tree]) -> list[Block]:
    return [InlineMap(Name=name.lower(), Type=hive_type(tree)) for name, tree in columns.items()]


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.replace("-", "_").replace(" ", "_").split("_"))
