"""What the cog calls in the templates and the documentation may use; `refresh` imports all of it before them."""

import json
from pathlib import Path

from aws.route_file import shipped_routes
from cost import estimate as cost
from doctor.permissions import operators_policy
from grants import tables
from grants.deployer import deployer_policy
from grants.matrix import matrix
from grants.service_control import service_control_policies
from grants.stack import example_stack
from infrastructure.analysis.resources import (
    analysis,
    analysis_outputs,
    analysis_outputs_of_stack,
    column_tables,
    latest_views,
    results_key_statements,
    work_groups,
)
from infrastructure.blocks import bucket_policy, inputs, keys, lifecycle, role_policies
from infrastructure.cfn_yaml import cfn_yaml
from infrastructure.monitoring.resources import key_changed, watch
from infrastructure.pages import analysis as analysis_page
from infrastructure.pages import deploy as deploy_page
from infrastructure.pages import grants as grants_page
from infrastructure.pages import protection as protection_page
from infrastructure.pages import readme as docs
from infrastructure.pages import sam as sam_page
from infrastructure.pages import security as security_page

__all__ = [
    "Path",
    "analysis",
    "analysis_outputs",
    "analysis_outputs_of_stack",
    "analysis_page",
    "block",
    "bucket_policy",
    "column_tables",
    "cost",
    "deploy_page",
    "deployer_policy",
    "docs",
    "example_stack",
    "grants_page",
    "inputs",
    "json",
    "key_changed",
    "keys",
    "latest_views",
    "lifecycle",
    "matrix",
    "operators_policy",
    "protection_page",
    "results_key_statements",
    "role_policies",
    "sam_page",
    "security_page",
    "service_control_policies",
    "table",
    "tables",
    "watch",
    "work_groups",
]

table = shipped_routes()
"""The routes that are deployed."""


def block(value: object, indent: int) -> None:
    """Write a part of a template, indented by so many spaces."""
    import cog  # noqa: PLC0415 - each run of cog has its own

    cog.out(cfn_yaml(value, indent))
