"""Preview: what `sam local invoke` shows on a machine without AWS.

SAM's local runtime knows no key, no bucket and no stream: it fills `!GetAtt OrdersKey.Arn` with a placeholder. The
function then runs its real pipeline on the event and prints what it would put where. Nothing is delivered, so this
must never happen on AWS: there every key is an ARN, whatever else is set.

Source: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/using-sam-cli-local-invoke.html
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws.checkpoint import NoCheckpoint
from aws.settings import is_placeholder, key_variable
from routing import layout
from routing.errors import DeliveryError, EventError
from routing.lambda_event import with_real_stream
from routing.model import RenderedObject, RouteName
from routing.pipeline import process
from routing.protection.preview import PreviewVault
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.table.routes import RouteTable

_FIRST_LINE = (
    "LOCAL PREVIEW, nothing is delivered: no AWS and no emulator is configured. With --env-vars events/env.json the "
    "function talks to one of them (docs/sam.md)."
)
_NEEDS_AWS = (
    "this function reads what is stored, so it needs AWS or the emulator: give --env-vars events/env.json (docs/sam.md)"
)
_ROOM = 1000


def is_preview(environ: Mapping[str, str], table: RouteTable) -> bool:
    """Return True under SAM's local runtime if it knows neither AWS nor an emulator.

    Args:
        environ: The function's environment.
        table: Its routes; if any of their keys is an ARN, this is a real environment.
    """
    if environ.get("AWS_SAM_LOCAL") != "true" or environ.get("AWS_ENDPOINT_URL"):
        return False
    return all(is_placeholder(environ.get(key_variable(name), "")) for name in (*table.names, layout.DEAD_LETTER))


class Preview:
    """In the place of the function that delivers."""

    def __init__(self, table: RouteTable) -> None:
        """Ask nothing of the environment."""
        self._table = table
        self._decoder = Decoder(table.paths)

    def __call__(self, event: Mapping[str, object], _invocation: object) -> dict[str, Any]:
        """Run the pipeline on an event and print what it would put; return what the real function would."""
        print(_FIRST_LINE)  # noqa: T201 - people read it
        try:
            report = process(
                with_real_stream(event),
                decoder=self._decoder,
                table=self._table,
                protector=Protector(PreviewVault(), "preview"),
                sink=_PrintingSink(),
                checkpoint=NoCheckpoint(),
            )
        except EventError as err:
            return {"error": str(err)}
        if report.dropped:
            print(f"dropped, since [unmatched] says so: {report.dropped.total()} records")  # noqa: T201
        if not report.received:
            print("the event holds no record")  # noqa: T201
        return dict(report.response())


def refuse_preview(*_: object) -> dict[str, str]:
    """Answer for the functions that have nothing to show without AWS."""
    return {"error": _NEEDS_AWS}


class _PrintingSink:
    """Prints what would be put: route, key, records, bytes, and one line of each route."""

    def __init__(self) -> None:
        self._shown: set[RouteName] = set()

    def put_all(self, objects: Sequence[RenderedObject]) -> list[DeliveryError | None]:
        """Print the objects; all of them succeed."""
        for rendered in objects:
            counted = "1 record" if rendered.record_count == 1 else f"{rendered.record_count} records"
            print(f"{rendered.owner}: {rendered.key}  {counted}, {len(rendered.body)} bytes")  # noqa: T201
            if rendered.owner not in self._shown:
                self._shown.add(rendered.owner)
                print(f"    {_first_line(rendered)}")  # noqa: T201
        return [None] * len(objects)

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        """Nothing is refused."""
        return {}

    def room(self) -> int:
        """There is time for everything."""
        return _ROOM


def _first_line(rendered: RenderedObject) -> str:
    line = gzip.decompress(rendered.body).partition(b"\n")[0].decode()
    if rendered.route != layout.DEAD_LETTER:
        return line
    letter = json.loads(line)  # its bytes are in base64, which nobody reads
    return f"{letter['errorCode']}: {letter['errorMessage']}"
