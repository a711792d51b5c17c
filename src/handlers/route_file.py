"""The route table that is deployed with the code; reading a file is not for the core."""

from importlib import resources

from routing.route_reader import load_routes
from routing.routes import RouteTable


def routes_text() -> str:
    """Return the text of `src/routing/routes.toml`."""
    return resources.files("routing").joinpath("routes.toml").read_text(encoding="utf-8")


def shipped_routes() -> RouteTable:
    """Load `src/routing/routes.toml`.

    Raises:
        ConfigurationError: With every fault of the file.
    """
    return load_routes(routes_text())
