"""The route table that is deployed with the code; reading files is not for the core."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from routing.table.reader import load_routes
from routing.table.routes import RouteTable


def routes_text() -> str:
    """Return the text of `src/routing/routes.toml`."""
    return resources.files("routing").joinpath("routes.toml").read_text(encoding="utf-8")


def shipped_routes() -> RouteTable:
    """Load `src/routing/routes.toml`, identified together with the code that reads records by it.

    Raises:
        ConfigurationError: With every fault of the file.
    """
    return load_routes(routes_text(), code=code_digest())


@cache
def code_digest() -> str:
    """Return the SHA-256 of the core's sources and of the packages beside it: 64 hexadecimal digits.

    A retry by other code may send a record elsewhere, so what one version of it has begun another must not
    take for its own (`routing/stages/progress.py`).
    """
    folder = Path(str(resources.files("routing")))
    sources = (source.relative_to(folder).as_posix().encode() + source.read_bytes() for source in _sources(folder))
    # Another version of a package may read a record that this one refuses; its folder names the version.
    packages = (found.name.encode() for found in sorted(Path(msgspec.__file__).parents[1].glob("*.dist-info")))
    return hashlib.sha256(b"\0".join((*sources, *packages))).hexdigest()


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/*.py"))
