"""A healthy account on moto, new for each test."""

import hashlib
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from moto import mock_aws

from aws.route_file import routes_text, shipped_routes
from doctor.account import Account
from doctor.examine import Given, examine
from doctor.finding import Finding, Severity
from local.translate import Template, translated
from tests.doctor.world import STACK, Snapshot, World, healthy

type Examine = Callable[..., list[Finding]]


def examine_all(world: World, given: Given) -> list[Finding]:
    digest = hashlib.sha256(routes_text().encode()).hexdigest()
    return examine(Account(world.session), given, shipped_routes(), digest)


@pytest.fixture(scope="session")
def template() -> Template:
    return translated()


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def _built(template: Template, rsa_key: rsa.RSAPrivateKey) -> Iterator[tuple[World, Snapshot]]:
    with pytest.MonkeyPatch.context() as patch, mock_aws(config={"lambda": {"use_docker": False}}):
        # moto makes an RSA key for every KMS key, whatever its kind: most of the time that a world takes.
        patch.setattr("moto.kms.utils.rsa.generate_private_key", lambda **_: rsa_key)
        world = healthy(template)
        yield world, Snapshot(world)


@pytest.fixture
def world(_built: tuple[World, Snapshot], monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    found, snapshot = _built
    snapshot.restore()
    return found


@pytest.fixture
def doctor(world: World) -> Examine:
    """Examine the world; what is as it should be is left out."""

    def run(**given: str) -> list[Finding]:
        found = examine_all(world, Given(**(given or {"stack": STACK})))
        return [finding for finding in found if finding.severity is not Severity.OK]

    return run
