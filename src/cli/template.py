"""Refresh the blocks that cog writes into files, or tell whether they are up to date."""

from pathlib import Path

from cogapp import Cog

# What a one-line call in a marked file may use.
_PROLOGUE = """
import cog
from pathlib import Path
from cli import analysis_page, blocks, cost, docs, protection_page
from cli.analysis.resources import analysis, analysis_outputs, results_key_statements, work_groups
from cli.cfn_yaml import cfn_yaml
from cli.doctor.permissions import operators_policy
from cli.grants import tables
from cli.grants.matrix import matrix
from cli.grants.stack import example_stack
from cli.watch.resources import watch
from handlers.route_file import shipped_routes
table = shipped_routes()
def block(value, by):
    cog.out(cfn_yaml(value, by))
"""


def refresh(paths: list[Path], *, is_check: bool) -> bool:
    """Run the cog calls of files in place.

    Args:
        paths: Files with calls between `[[[cog` and `[[[end]]]`.
        is_check: True to change nothing.

    Returns:
        True if every file is up to date, or is now.
    """
    arguments = ["cog", "-p", _PROLOGUE, "--verbosity=1", *(["--check", "--diff"] if is_check else ["-r"])]
    code: int = Cog().main([*arguments, *map(str, paths)])  # type: ignore[no-untyped-call]
    return code == 0
