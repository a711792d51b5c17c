"""The stack in every setting, and the rows that hold for it."""

import pytest

from aws.route_file import shipped_routes
from grants.matrix import matrix
from local.policies import settings
from local.translate import translated
from tests.grants.cases import Cases


@pytest.fixture(scope="session")
def every_setting() -> dict[str, Cases]:
    table = shipped_routes()
    return {
        name: Cases(deployed, matrix(table, deployed.stack)) for name, deployed in settings(translated(), table).items()
    }
