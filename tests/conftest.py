"""What all tests share: markers by folder, no network outside e2e, and no AWS account of the user's."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

os.environ["MOTO_ACCOUNT_ID"] = "111122223333"  # before moto is imported: the account of our templates

import pytest
from hypothesis import settings
from pytest_socket import disable_socket, enable_socket

_ROOT = Path(__file__).parent

settings.register_profile("default", max_examples=400, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=5000, deadline=None)
settings.load_profile("default")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# A run that is ended stops what it has started, as it does after Ctrl-C. A shell that starts a run in the background
# lets it ignore Ctrl-C; what the tests start must not inherit that.
signal.signal(signal.SIGTERM, _interrupt)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(Path(item.path).relative_to(_ROOT).parts[0])


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse sockets, but for the tests that talk to the emulator on this machine."""
    if request.node.get_closest_marker("e2e") or request.node.get_closest_marker("sam"):
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own credentials and profile out of every test."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
