"""What the docs quote, made by the code itself: cog writes it into README.md."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from routing.explain import explain
from routing.lambda_event import event_of_documents
from routing.model import FencingToken
from routing.protection.preview import PreviewVault
from routing.stages.batch import group
from routing.stages.decode import Decoder
from routing.stages.protect import Protector
from routing.stages.render import render
from routing.table.routes import RouteTable

_ROOT = Path(__file__).parents[3]


def route_source(name: str) -> str:
    """Return a route of routes.toml as it is written there, without its examples."""
    tables = (_ROOT / "src" / "routing" / "routes.toml").read_text(encoding="utf-8").split("[[routes]]\n")
    (source,) = (table for table in tables if table.startswith(f'name = "{name}"\n'))
    return "[[routes]]\n" + source.partition("\n[[routes.examples]]")[0].strip() + "\n"


def object_of(record: Path, route: str, table: RouteTable) -> str:
    """Return the key of the object that a route makes of one sample record, or say why it makes none."""
    data = record.read_bytes()
    shard, records = Decoder(table.paths).decode(event_of_documents([data]))
    if shard is None:
        raise ValueError(f"{record}: expected a record, got none")
    batches = group([(one, table.routes_for(one)) for one in records], {}).batches
    keys = [render(batch, shard, FencingToken(1), table.origin).key for batch in batches if batch.route.name == route]
    return keys[0] if keys else str(next(iter(explain(data, record.name, table))).misses[route])


def speed() -> str:
    """Return one sentence about the last `make bench`."""
    results = json.loads((_ROOT / "benchmarks" / "results.json").read_text())
    measured, machine = results["batch_of_500"]["contenders"], results["machine"]
    puts = measured["powertools"]["calls_per_million"]["puts"] / measured["pipeline"]["calls_per_million"]["puts"]
    over_floor = 1 / measured["floor"]["times_pipeline"]
    return (
        f"One core ({machine['processor']}) takes {measured['pipeline']['median_us']:.0f} µs a record "
        f"for three routes in batches of 500: {over_floor:.1f} times the floor of base64, JSON and gzip alone, "
        f"{measured['stdlib']['times_pipeline']:.0f} times as fast as grouped stdlib `json` and `gzip` (level 9), and for records "
        "of one kind and date with "
        f"{puts:.0f} times fewer puts and KMS requests than one object a record "
        f"([benchmarks](docs/benchmarks.md), `make bench`).\n"
    )


# Of the sample, what the README has room for.
_SHOWN = {
    "AWSContactTraceRecordFormatVersion": None, "Agent": ("Username",), "Channel": None, "ContactId": None,
    "CustomerEndpoint": ("Address", "Type"), "Queue": ("Name",),
}  # fmt: skip
_TOKEN = re.compile(r'"([0-9a-f]{8})[0-9a-f]{56}"')
_MARK = re.compile(r'"\(preview: [^)]*\)"')


def in_and_out(record: Path, routes: Sequence[str], table: RouteTable) -> str:
    """Return a part of a sample record, and the line that each of some routes would deliver of it."""
    sample = json.loads(record.read_bytes())
    part = {key: {one: sample[key][one] for one in below} if below else sample[key] for key, below in _SHOWN.items()}
    _, (one,) = Decoder(table.paths).decode(event_of_documents([msgspec.json.encode(part)]))
    protector = Protector(PreviewVault(), "preview")
    lines = [f"{'in':<10} {one.data.decode()}\n"]
    for route in (route for route in table.routes_for(one) if route.name in routes):
        line = protector.line(route, one.kind, one.data).decode()
        lines.append(f"{route.name:<10} {_MARK.sub('"AgV4..."', _TOKEN.sub(r'"\1..."', line))}\n")
    return "".join(lines)
