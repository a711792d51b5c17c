"""The blocks of `template.yaml` for analysts, written by cog: tables, views, workgroups, saved queries, their rights.

Each route has a workgroup of its own, whose results Athena itself keeps for a day, encrypted under one key that is
bound to the workgroup: who reads one route does not see what others have asked of theirs.

Source: https://docs.aws.amazon.com/athena/latest/ug/managed-results.html
Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html
Source: https://docs.aws.amazon.com/athena/latest/ug/lazy-simple-serde.html
"""

import json
from collections.abc import Mapping
from typing import Any

from infrastructure.analysis.queries import (
    LINE,
    all_sql,
    folder_column,
    latest_sql,
    lines_sql,
    queries_for,
    sql_of,
    until_sql,
    view_columns,
    view_sql,
)
from infrastructure.cfn_yaml import Function, GetAtt, Inline, InlineMap, Ref, Sub, SubText, Text
from routing.model import Kind
from routing.stored.parts import folder_of, until_key
from routing.table.routes import Route, RouteTable, logical_id
from schema.columns import Column, columns_of, flat, tables_of, version

type Block = dict[str, Any]

WORKGROUP = "${Name}-"
_BUCKET = "${Name}-${AWS::AccountId}-${AWS::Region}"
_DATABASE = Ref("Database")
# A line is one text: fields end at a control character that JSON cannot hold, and nothing is quoted or escaped.
_WHOLE_LINES = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
_ORIGIN = {"_source": "string", "_object": "string", "_line": "int", LINE: "string"}
_MOST_SCANNED_BYTES = 1_000_000_000_000
_ASK = (
    "athena:GetWorkGroup athena:StartQueryExecution athena:StopQueryExecution athena:GetQueryExecution "
    "athena:BatchGetQueryExecution athena:ListQueryExecutions athena:GetQueryResults athena:GetQueryResultsStream "
    "athena:GetNamedQuery athena:ListNamedQueries athena:BatchGetNamedQuery"
)
_LOOK_UP = "glue:GetDatabase glue:GetTable glue:GetTables glue:GetPartitions"
# What the query editor of the console lists before anybody has chosen a workgroup; it shows names only.
# https://docs.aws.amazon.com/athena/latest/ug/example-policies-workgroup.html
_LIST = "athena:ListWorkGroups athena:ListDataCatalogs athena:ListEngineVersions"
_BROWSE = (
    "athena:GetDataCatalog athena:ListDatabases athena:GetDatabase athena:ListTableMetadata athena:GetTableMetadata"
)


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
            block[f"{base}Lines"] = _lines(route, kind, f"{name}_lines")
            if not columns:
                continue
            block[f"{base}View"] = _records(route, kind, name)
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


def latest_views(table: RouteTable) -> Block:
    """The views of the newest versions; a stack of their own, since one template with all views would be too large."""
    block: Block = {}
    for route in table.routes:
        for kind, name in tables_of(route, table):
            columns, folders = columns_of(route, kind), route.partition.folders
            if columns and (latest := latest_sql(kind, columns, name, folders)) is not None:
                view = _view(f"{name}_latest", "The newest version of each", view_columns(columns, folders), latest)
                block[f"{logical_id(route.name)}{_camel(kind)}LatestView"] = view
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
                "EnforceWorkGroupConfiguration": Function(("If", ["ManagesResults", True, False])),
                "EngineVersion": {"SelectedEngineVersion": "Athena engine version 3"},
                "BytesScannedCutoffPerQuery": _MOST_SCANNED_BYTES,
                "PublishCloudWatchMetricsEnabled": True,
                "ManagedQueryResultsConfiguration": Function(
                    (
                        "If",
                        [
                            "ManagesResults",
                            {"Enabled": True, "EncryptionConfiguration": {"KmsKey": GetAtt("QueryResultsKey.Arn")}},
                            Ref("AWS::NoValue"),
                        ],
                    )
                ),
            },
        },
    }


def column_tables(table: RouteTable) -> Block:
    """The views that read lines, and with Parquet=on the tables of columns and how far they reach; a stack of their own."""
    block: Block = {}
    for route in table.routes:
        for kind, name in tables_of(route, table):
            columns, folders = columns_of(route, kind), route.partition.folders
            base = f"{logical_id(route.name)}{_camel(kind)}"
            block[f"{base}Parquet"] = {"Condition": "MakesColumns", **_parquet(route, kind, name)}
            block[f"{base}Until"] = {"Condition": "MakesColumns", **_until(route, kind, name)}
            if columns:
                sql = view_sql(columns, f"{name}_lines", folders)
                block[f"{base}JsonView"] = _view(
                    f"{name}_json", "A record a row, read from its line", view_columns(columns, folders), sql
                )
    return block


def _records(route: Route, kind: Kind, name: str) -> Block:
    """Make the view of all records of a route and kind."""
    columns, folders = columns_of(route, kind), route.partition.folders
    shown, until = view_columns(columns, folders), until_sql(f"{name}_until")
    both = all_sql(columns, name, folders, bucket=f"s3://{_BUCKET}", until=until)
    text = Function(("If", ["MakesColumns", _stored(both, shown), _stored(lines_sql(shown, name), shown)]))
    return _view_of(name, "A record a row", shown, text)


def _parquet(route: Route, kind: Kind, name: str) -> Block:
    columns = [InlineMap(Name=column.name, Type=column.parquet_type) for column in flat(columns_of(route, kind))]
    columns += [InlineMap(Name=column, Type=of_type) for column, of_type in _ORIGIN.items()]
    return _table(
        f"{name}_parquet",
        f"{route.about}; columns; schema version {version()}",
        f"s3://{_BUCKET}/{folder_of(route.prefix, kind)}",
        {"EXTERNAL": "TRUE", "classification": "parquet"},
        {
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
            "Columns": columns,
        },
        route=route,
    )


def _until(route: Route, kind: Kind, name: str) -> Block:
    place = f"{until_key(route.prefix, kind).rpartition('/')[0]}/"
    return _table(
        f"{name}_until",
        "The last day whose columns are complete",
        f"s3://{_BUCKET}/{place}",
        {"EXTERNAL": "TRUE", "classification": "csv"},
        {**_TEXT, "Columns": [InlineMap(Name="until", Type="string")]},
    )


def _lines(route: Route, kind: Kind, name: str) -> Block:
    return _table(
        name,
        f"{route.about}; partition: {route.partition}; schema version {version()}",
        f"s3://{_BUCKET}/{route.prefix}/{kind}/",
        {"EXTERNAL": "TRUE", "classification": "csv", "compressionType": "gzip"},
        {**_TEXT, "Compressed": True, "Columns": [InlineMap(Name=LINE, Type="string")]},
        route=route,
    )


_TEXT = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": _WHOLE_LINES,
        "Parameters": InlineMap({"serialization.format": "1"}),
    },
}


def _table(
    name: str,
    about: str,
    place: str,
    parameters: Mapping[str, str],
    storage: Block,
    *,
    route: Route | None = None,
) -> Block:
    """Make a table; with a route its partitions are projected."""
    projection, keys = _projection(route, place) if route is not None else ({}, ())
    return {
        "Type": "AWS::Glue::Table",
        "Properties": {
            "CatalogId": Ref("AWS::AccountId"),
            "DatabaseName": _DATABASE,
            "TableInput": {
                "Name": name,
                "Description": about,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {**parameters, **projection},
                **({"PartitionKeys": [{"Name": key, "Type": "string"} for key in keys]} if keys else {}),
                "StorageDescriptor": {"Location": Sub(place), **storage},
            },
        },
    }


def _projection(route: Route, place: str) -> tuple[Block, tuple[str, ...]]:
    # What dates itself may lie ahead, as a scheduled contact does.
    until = "NOW" if route.partition.path is None else "NOW+366DAYS"
    folders = {folder_column(name): (name, values) for name, values in route.partition.folders.items()}
    below = "".join(f"{name}=${{!{column}}}/" for column, (name, _) in folders.items())
    projection = {
        "projection.enabled": "true",
        "projection.day.type": "date",
        "projection.day.format": "yyyy-MM-dd",
        "projection.day.range": f"2020-01-01,{until}",
        **{f"projection.{column}.type": "enum" for column in folders},
        **{f"projection.{column}.values": ",".join(values) for column, (_, values) in folders.items()},
        "storage.location.template": Sub(f"{place}date=${{!day}}/{below}"),
    }
    return projection, ("day", *folders)


def _view(name: str, about: str, columns: Mapping[str, Column], sql: str) -> Block:
    return _view_of(name, about, columns, _stored(sql, columns))


def _stored(sql: str, columns: Mapping[str, Column]) -> Function:
    """Write a view's SQL as Athena itself stores it: its definition in base64, in a comment.

    Source: https://github.com/iconara/terraform-aws-athena-view
    """
    definition = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": "${Database}",
        "columns": [{"name": column, "type": one.athena_type} for column, one in columns.items()],
    }
    encoded = {"Fn::Base64": SubText(json.dumps(definition, separators=(",", ":")))}
    return Function(("Join", ["", ["/* Presto View: ", encoded, " */"]]))


def _view_of(name: str, about: str, columns: Mapping[str, Column], text: Function) -> Block:
    return {
        "Type": "AWS::Glue::Table",
        "Properties": {
            "CatalogId": Ref("AWS::AccountId"),
            "DatabaseName": _DATABASE,
            "TableInput": {
                "Name": name,
                "Description": about,
                "TableType": "VIRTUAL_VIEW",
                "Parameters": {"presto_view": "true", "comment": "Presto View"},
                "PartitionKeys": [],  # without it a query of the view fails
                "ViewOriginalText": text,
                "ViewExpandedText": "/* Presto View */",
                "StorageDescriptor": {
                    "SerdeInfo": {"Name": "-", "SerializationLibrary": "-"},
                    "Columns": [InlineMap(Name=column, Type=one.glue_type) for column, one in columns.items()],
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
                    {"Sid": "ListWorkGroups", "Effect": "Allow", "Action": Inline(_LIST.split()), "Resource": "*"},
                    {
                        "Sid": "BrowseCatalog",
                        "Effect": "Allow",
                        "Action": Inline(_BROWSE.split()),
                        "Resource": Sub(
                            "arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:datacatalog/AwsDataCatalog"
                        ),
                    },
                    {
                        "Sid": "LookUpTables",
                        "Effect": "Allow",
                        "Action": Inline(_LOOK_UP.split()),
                        "Resource": [
                            Sub(f"{catalog}:catalog"),
                            # https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
                            Sub(f"{catalog}:database/default"),
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


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.replace("-", "_").replace(" ", "_").split("_"))
