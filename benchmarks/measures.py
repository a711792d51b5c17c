"""How it is measured: side by side in one process, or in fresh processes where a process is the subject."""

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pybase64
from aws_lambda_powertools.utilities.data_masking import DataMasking
from isal import igzip

from aws.encryption_sdk import Sealer
from aws.route_file import shipped_routes
from aws.settings import key_variable
from benchmarks.contenders import CONTENDERS, NO_KEYS, ROUTES, AsIs, Calls, NoVault, OneDataKey, pipeline_with
from local.traffic import Traffic
from local.translate import translated
from routing.fields import node_type
from routing.lambda_event import STREAM_ARN, Event, event_of_documents
from routing.model import FencingToken, Kind
from routing.protection.paths import FieldPath
from routing.protection.presets import PRESETS
from routing.protection.rules import Action, Protected, Protection, Rule
from routing.protection.sealing import SealContext, context_of, pack
from routing.stages.batch import group
from routing.stages.decode import KIND_FIELDS, Decoder
from routing.stages.protect import token_maker
from routing.stages.render import render

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / ".aws-sam" / "build" / "FanOutFunction"
_SEED = 20260302
_PAYLOAD_BYTES = 6 * 1024 * 1024
_FRESH_PROCESSES = 15
_PRESET = "aws-sensitive/1"
_USUAL_BYTES = (1_800, 2_800)  # without the samples that are full of attributes, or hold next to nothing

_VARIABLES = translated()["Resources"]["FanOutFunction"]["Properties"]["Environment"]["Variables"]
HEAP: dict[str, str] = {name: value for name, value in _VARIABLES.items() if name.startswith("MALLOC_")}
"""How the template sets the heap of the function."""

_IMPORT_OF_THE_BASE = "import boto3; from aws_lambda_powertools import Logger, Metrics"
_IMPORT_OF_THE_HANDLER = "import handlers.wiring.fan_out"
_START_OF_THE_HANDLER = "import handlers.fan_out"
_WITH_CLIENTS = "from handlers.fan_out import _fan_out; _fan_out._s3, _fan_out._dynamodb"

# A full batch through the wired function, with S3 and DynamoDB answered in memory.
_MEMORY = """
import json, os, re, sys
from aws.invocation import Invocation
from aws.route_file import shipped_routes
from aws.kms_vault import KmsVault
from handlers.wiring.fan_out import FanOut
from routing.stages.protect import Protector
from tests.fakes import MemoryS3
function = FanOut({**os.environ, "CHECKPOINT_TABLE": "off", "AWS_SAM_LOCAL": "true"}, shipped_routes())
function._s3, function._dynamodb  # made, so that they count
class Forgetful(MemoryS3):
    def put_object(self, **request): return {}
function._s3 = Forgetful()
def peak_kib():  # of this process; getrusage would count the parent's pages from before the exec
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
idle = peak_kib()
from benchmarks.contenders import OneDataKey
function._protector = Protector(KmsVault(OneDataKey, function._settings), "stack")
payload = sys.stdin.buffer.read()
answer = function(json.loads(payload), Invocation("id", lambda: 60.0))
assert answer == {"batchItemFailures": []}, answer
print(json.dumps([len(payload), idle, peak_kib()]), file=sys.stderr)
"""


def throughput(records: int, rounds: int) -> dict[str, object]:
    """Time all contenders on the same event, in turns, so that what slows the machine slows them alike.

    Returns:
        For each contender the best and the median microseconds a record, the median ratio of its time to
        the pipeline's in the same round, and its calls a million records.
    """
    event = contacts_event(records)
    calls = {name: Calls() for name in CONTENDERS}
    runs = {name: make(event, calls[name]) for name, make in CONTENDERS.items()}
    for name, run in runs.items():
        calls[name].puts = calls[name].put_bytes = calls[name].dynamodb = 0
        run()
    per_million = {
        name: {
            "puts": c.puts * 1_000_000 // records,
            "put_bytes": c.put_bytes * 1_000_000 // records,
            "dynamodb": c.dynamodb * 1_000_000 // records,
        }
        for name, c in calls.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    shuffled = random.Random(_SEED)
    for _ in range(rounds):
        # Whoever comes second finds the event in the cache, so nobody comes second more often than others.
        for name in shuffled.sample(list(runs), len(runs)):
            seconds[name].append(_timed(runs[name]))
    sizes = [len(record["kinesis"]["data"]) * 3 // 4 for record in event["Records"]]
    return {
        "records": records,
        "rounds": rounds,
        "mean_record_bytes": round(statistics.mean(sizes)),
        "contenders": {
            name: {
                "best_us": round(min(times) / records * 1e6, 2),
                "median_us": round(statistics.median(times) / records * 1e6, 2),
                "times_pipeline": round(
                    statistics.median(t / p for t, p in zip(times, seconds["pipeline"], strict=True)), 3
                ),
                "calls_per_million": per_million[name],
            }
            for name, times in seconds.items()
        },
    }


def stages(records: int, rounds: int) -> dict[str, float]:
    """Time the stages of the pipeline one by one: the profile behind its ratio to the floor.

    Returns:
        Median microseconds a record, by stage.
    """
    event, decoder = contacts_event(records), Decoder(ROUTES.paths)
    shard, decoded = decoder.decode(event)
    assert shard is not None
    routed = [(record, ROUTES.routes_for(record)) for record in decoded]
    batches = group(routed, {}).batches
    documents = [record.data for record in decoded]
    encoded = [record["kinesis"]["data"] for record in event["Records"]]
    decode_json = msgspec.json.Decoder(node_type([*KIND_FIELDS, *ROUTES.paths])).decode
    bodies = [b"".join(record.data + b"\n" for record in batch.records) for batch in batches]
    runs: dict[str, Callable[[], object]] = {
        "decode": lambda: decoder.decode(event),
        "of it base64": lambda: [pybase64.b64decode(text, validate=True) for text in encoded],
        "of it parsing JSON": lambda: [decode_json(document) for document in documents],
        "route": lambda: [(record, ROUTES.routes_for(record)) for record in decoded],
        "batch": lambda: group(routed, {}),
        "render": lambda: [render(batch, shard, FencingToken(1), ROUTES.origin) for batch in batches],
        "of it gzip": lambda: [igzip.compress(body, 2, mtime=0) for body in bodies],
    }
    return {
        name: round(statistics.median(_timed(run) for _ in range(rounds)) / records * 1e6, 2)
        for name, run in runs.items()
    }


def protection(records: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time rules beside Powertools' DataMasking on the same fields and records, sealing, and routes without rules.

    Returns:
        Median microseconds a record by step, and how much each step takes as the median of ratios within a turn.
    """
    documents = [record.data for record in Decoder(ROUTES.paths).decode(contacts_event(records))[1]]
    route = next(route for route in shipped_routes().routes if route.name == "analytics")
    shipped = Protection(route.rules, lambda _: token_maker(bytes(32)))
    preset = PRESETS[_PRESET]
    removing = Protection([Rule(action=Action.REMOVE, paths=tuple(preset.read))], lambda _: token_maker(bytes(32)))
    masking, fields = DataMasking(raise_on_missing_field=False), [_json_path(path) for path in preset.read]
    taken = [shipped.apply(document) for document in documents]
    key: Any = OneDataKey()
    sealer = Sealer(key, "arn:aws:kms:ap-northeast-1:111122223333:key/00000000-0000-0000-0000-000000000000")
    event = contacts_event(records)

    def ours(one: Protected) -> tuple[bytes, SealContext]:
        return pack(one.pieces), context_of("stack", route.name, Kind.CONTACT_RECORD, one.data)

    def seal() -> None:
        for one in taken:
            text, context = ours(one)
            sealer.seal(text, context)

    def erase() -> list[bytes]:
        return [json.dumps(masking.erase(json.loads(document), fields=fields)).encode() for document in documents]

    usual = [document for document in documents if _USUAL_BYTES[0] <= len(document) <= _USUAL_BYTES[1]]
    repeated = [usual[number % len(usual)] for number in range(records)]
    runs: dict[str, Callable[[], object]] = {
        "preset_usual": lambda: [removing.apply(document) for document in repeated],
        "preset": lambda: [removing.apply(document) for document in documents],
        "datamasking": erase,
        "shipped": lambda: [shipped.apply(document) for document in documents],
        "seal": seal,
        "pack": lambda: [ours(one) for one in taken],
        "unprotected": pipeline_with(event, Calls(), NO_KEYS),
        "before": pipeline_with(event, Calls(), AsIs(NoVault(), "benchmarks")),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DataMasking tells of each field that a record lacks
        for turn in range(rounds):  # there and back: what runs behind its like finds a warm cache
            for name in sorted(runs, reverse=bool(turn % 2)):
                times[name].append(_timed(runs[name]) / records * 1e6)
    ratios = {
        "datamasking_times_preset": _ratio(times["datamasking"], times["preset"]),
        "speed_without_rules": _ratio(times["before"], times["unprotected"]),
    }
    medians = {name: round(statistics.median(of), 2) for name, of in times.items()}
    return {"us": medians, "ratios": ratios, "bytes": {"all": _mean(documents), "usual": _mean(repeated)}}


def _mean(documents: list[bytes]) -> int:
    return round(sum(map(len, documents)) / len(documents))


def _ratio(one: list[float], other: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)


def _json_path(path: FieldPath) -> str:
    """Write a path of a preset, which has no wildcards, as a JSONPath."""
    return ".".join(
        json.dumps(name) if isinstance(name, str) and not name.isidentifier() else str(name) for name in path
    )


def imports() -> dict[str, object]:
    """Time the imports of the built bundle in fresh processes, in turns."""
    sources = {"base": _IMPORT_OF_THE_BASE, "handler": _IMPORT_OF_THE_HANDLER, "wired": _START_OF_THE_HANDLER}
    sources["clients"] = _WITH_CLIENTS
    times: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(_FRESH_PROCESSES):
        for name, source in sources.items():
            code = f"import time; start = time.perf_counter(); {source}; print(time.perf_counter() - start)"
            times[name].append(float(_fresh(code, b"", BUNDLE).stdout.splitlines()[-1]))
    return {
        name: {
            "median_ms": round(statistics.median(values) * 1000, 1),
            "times_base": round(statistics.median(v / b for v, b in zip(values, times["base"], strict=True)), 3),
        }
        for name, values in times.items()
    }


def memory() -> dict[str, object]:
    """Measure the resident memory of a fresh process that delivers a full batch."""
    traffic, documents, size = Traffic(_SEED), [], 0
    while True:
        document = next(traffic.records(1))
        size += len(json.dumps(event_of_documents([document])["Records"][0])) + 2
        if size > _PAYLOAD_BYTES:
            break
        documents.append(document)
    payload = json.dumps(event_of_documents(documents)).encode()
    payload_bytes, idle_kib, peak_kib = json.loads(_fresh(_MEMORY, payload).stderr.splitlines()[-1])
    return {
        "payload_mb": round(payload_bytes / 1e6, 2),
        "records": len(documents),
        "idle_mb": round(idle_kib * 1024 / 1e6, 1),
        "peak_mb": round(peak_kib * 1024 / 1e6, 1),
    }


def erasure() -> list[dict[str, float]]:
    """Erase contacts from objects, each case in a fresh process for its memory."""
    code = "import json, sys; from benchmarks.erasure import measure; print(json.dumps(measure(*map(int, {}))))"
    cases = ((100, 1), (100, 1_000), (1_000, 10_000))
    return [json.loads(_fresh(code.format(list(case)), b"").stdout) for case in cases]


def columns() -> dict[str, Any]:
    """Convert lines, and ask the saved queries of a day of a million records, each in a fresh process."""
    return {
        what: json.loads(
            _fresh(
                f"import json; from benchmarks.columns import {what}; print(json.dumps({what}({n})))", b""
            ).stdout.splitlines()[-1]  # the converter's own log stands before
        )
        for what, n in (("convert", 100_000), ("query", 1_000_000))
    }


def machine() -> dict[str, object]:
    """Name the machine that the figures are of."""
    cpu = next((s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")), ":?")
    return {
        "processor": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def contacts_event(records: int) -> Event:
    """Make the event that all contenders get: contact records only, as three routes of them are."""
    traffic = Traffic(_SEED)
    return event_of_documents(traffic.contact_record() for _ in range(records))


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _fresh(code: str, stdin: bytes, *paths: Path) -> subprocess.CompletedProcess[bytes]:
    """Run code in a new process that sees only `paths`, by default this project and its environment."""
    key = "arn:aws:kms:ap-northeast-1:111122223333:key/11111111-2222-4333-8444-555555555555"
    table = shipped_routes()
    environment = {
        "PATH": os.environ["PATH"],
        **HEAP,
        "PYTHONPATH": os.pathsep.join(map(str, paths or (ROOT / "src", ROOT))),
        # As Lambda gives them; without, a client would ask the network for credentials.
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "made-up"),
        "BUCKET": "bucket",
        "BUCKET_OWNER": "111122223333",
        "CHECKPOINT_TABLE": "table",
        "STREAM_ARN": STREAM_ARN,
        **{key_variable(name): key for name in (*(route.name for route in table.all_routes), *table.protection_keys)},
    }
    return subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, *(["-S"] if paths else []), "-B", "-c", code],
        input=stdin,
        env=environment,
        capture_output=True,
        check=True,
    )
