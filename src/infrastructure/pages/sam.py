"""What docs/sam.md quotes: the preview of a sample event."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

from aws.route_file import shipped_routes
from handlers.preview import Preview

_WIDTH = 150


def preview(event: str) -> str:
    """Return what `sam local invoke` prints for an event, long lines cut."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        answer = Preview(shipped_routes())(json.loads(Path(event).read_text(encoding="utf-8")), None)
    lines = [*printed.getvalue().splitlines(), json.dumps(answer)]
    return "".join(f"{line if len(line) <= _WIDTH else f'{line[:_WIDTH]}...'}\n" for line in lines)
