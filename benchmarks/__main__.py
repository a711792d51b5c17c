"""`make bench`: measure, and write docs/benchmarks.md and benchmarks/results.json."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import measures
from benchmarks.erasure import LINES

_ROOT = Path(__file__).parent.parent
_RESULTS = _ROOT / "benchmarks" / "results.json"
_SOAK = _ROOT / "benchmarks" / "soak.json"
_PAGE = _ROOT / "docs" / "benchmarks.md"
_NAMES = {
    "pipeline": "**ctr-fanout**",
    "floor": "floor: base64, decode of the same fields, gzip of the same bytes",
    "powertools": "Powertools `BatchProcessor`, one `put_object` a record",
    "stdlib": "stdlib `json` and `gzip` at its default level 9, grouped",
}


def main() -> None:
    """Measure and write, in a process whose heap is set as the template sets that of the function."""
    if not measures.HEAP.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks"], os.environ | measures.HEAP)  # noqa: S606 - ourselves
    results: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measures.machine(),
        "batch_of_500": measures.throughput(500, rounds=60),
        "batch_of_2000": measures.throughput(2000, rounds=20),
        "stages": measures.stages(500, rounds=60),
        "protection": measures.protection(500, rounds=20),
        "memory": measures.memory(),
        "imports": measures.imports(),
        "erasure": measures.erasure(),
        "columns": measures.columns(),
    }
    _RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _PAGE.write_text(page(results, json.loads(_SOAK.read_text())))
    print(_PAGE.read_text())


_PROTECTION = {
    "preset_usual": '`remove = ["@aws-sensitive/1"]`, records of a usual size',
    "preset": '`remove = ["@aws-sensitive/1"]`',
    "datamasking": "Powertools `DataMasking.erase`, the same fields, from bytes to bytes",
    "shipped": "the rules of the shipped `analytics` route: tokens, removal, taking out what is sealed",
    "seal": "sealing what that route takes out",
    "pack": "of it ours: writing the values as one text, and what the message is bound to",
}


def _protection(us: dict[str, float]) -> str:
    return "\n".join(f"| {says} | {us[name]:.1f} | {1e6 / us[name]:,.0f} |" for name, says in _PROTECTION.items())


def page(results: dict[str, Any], soak: dict[str, Any]) -> str:
    """Write the page of a run, and of the last soak."""
    machine, memory, imports = results["machine"], results["memory"], results["imports"]
    return f"""# Benchmarks

Written by `make bench` on {results["measured_at"]}; raw figures in `benchmarks/results.json`. Machine:
{machine["processor"]}, {machine["cores"]} cores, {machine["system"]}, CPython {machine["python"]}. One core
does the work. The heap is set as in `template.yaml` (`MALLOC_...`), for all alike. All contenders get the same made-up contact records (`local/traffic.py`) and the same three
routes (`benchmarks/three-routes.toml`), run in turns in one process and touch no network; ratios are medians
of the ratios within each turn. Read the ratios; the absolute figures are this machine's.

## Throughput and calls

Batches of 500 records, {results["batch_of_500"]["mean_record_bytes"]} bytes each on average:

{_table(results["batch_of_500"])}

Batches of 2,000:

{_table(results["batch_of_2000"])}

S3 asks KMS once for every put, since Bucket Keys are off (docs/adr/0002-grants.md). The calls of ctr-fanout to
DynamoDB are the claim, the names that it is about to put, and the commit of each batch. All records here are of one
kind and one date, which is the least number of objects: there is one for each route, kind and date in a batch.

## Where the time goes

Microseconds a record of each stage, timed alone on batches of 500:

{_stages(results["stages"])}

What is left of `decode` checks envelopes, sequence numbers, UTF-8 and line breaks, tells the kind and makes the
record; what is left of `render` joins the lines and sums them.

## Protection

On the same records of {results["protection"]["bytes"]["all"]} bytes on average, the first line on those of {results["protection"]["bytes"]["usual"]}, one core, in turns:

| | µs a record | records a second |
|---|---:|---:|
{_protection(results["protection"]["us"])}

DataMasking takes {results["protection"]["ratios"]["datamasking_times_preset"]:.1f} times as long for the same fields. A pipeline whose
routes have no rules has {results["protection"]["ratios"]["speed_without_rules"]:.3f} times the speed of one that knows no protection.
Sealing is the AWS Encryption SDK's own work: each message has its header, its key derived and committed to, and one frame; the data
key is asked of KMS once in five minutes.

## Columns

Lines become Parquet, with the `record` column, at **{results["columns"]["convert"]["mb_a_second"]} MB** of plain JSON a second and core
({results["columns"]["convert"]["records"]:,} contact records of {results["columns"]["convert"]["mean_record_bytes"]} bytes; reading and unpacking objects not counted), with
{results["columns"]["convert"]["peak_mb_besides"]} MB of memory besides the lines.

The saved queries over a day of {results["columns"]["query"]["records"]:,} records: {results["columns"]["query"]["objects"]:,} objects of {results["columns"]["query"]["delivered_mb"]:,} MB as
delivered, {results["columns"]["query"]["parts"]} parts of {results["columns"]["query"]["columns_mb"]:,} MB as columns, made in {results["columns"]["query"]["conversion_seconds"]:.0f} s; by DuckDB in the place of Athena's
engine, all cores, medians of three; the MB as the kernel counts what the engine reads:

| query | MB, lines | MB, columns | times fewer | s, lines | s, columns | times less |
|---|---:|---:|---:|---:|---:|---:|
{_queries(results["columns"]["query"]["queries"])}

## Erasure

Contacts erased in one walk, spread evenly, so that each object that holds one is read, searched, read again under the claim of
its shard and written without them; {LINES} records an object, one core:

| objects | contacts | records a second | MB of plain text a second | objects written again | peak memory, MB |
|---:|---:|---:|---:|---:|---:|
{_erasure(results["erasure"])}

## Memory

A full batch ({memory["payload_mb"]} MB of payload, {memory["records"]} records) through the wired function with the
shipped routes: **{memory["peak_mb"]} MB** resident at the peak, {memory["idle_mb"]} MB before the batch.

## Imports

Fresh processes on the built bundle, byte code in place:

| what | median ms | times the first |
|---|---:|---:|
| `boto3`, Powertools `Logger` and `Metrics` alone | {imports["base"]["median_ms"]} | 1 |
| every module of the handler | {imports["handler"]["median_ms"]} | {imports["handler"]["times_base"]} |
| the handler itself: settings checked, routes compiled | {imports["wired"]["median_ms"]} | {imports["wired"]["times_base"]} |
| the same, and both clients, which the first batch makes | {imports["clients"]["median_ms"]} | {imports["clients"]["times_base"]} |

{_soak(soak)}
"""


def _queries(asked: dict[str, dict[str, dict[str, float]]]) -> str:
    return "\n".join(
        f"| {name} | {lines['mb']:,.0f} | {columns['mb']:,.1f} | {lines['mb'] / columns['mb']:.0f} "
        f"| {lines['seconds']:.1f} | {columns['seconds']:.2f} | {lines['seconds'] / columns['seconds']:.0f} |"
        for name, (lines, columns) in ((name, (one["lines"], one["columns"])) for name, one in asked.items())
    )


def _erasure(cases: list[dict[str, float]]) -> str:
    return "\n".join(
        f"| {one['objects']:,} | {one['contacts']:,} | {one['records_a_second']:,} | {one['mb_a_second']} "
        f"| {one['rewritten']:,} | {one['peak_mb']} |"
        for one in cases
    )


def _soak(soak: dict[str, Any]) -> str:
    function, rate = soak["function"], soak["rate_of_others_with_one_denied"]
    begin, end = function["memory_mb"]
    files_begin, files_end = function["open_files"]
    return f"""## Soak

Written by `make soak` on {soak["measured_at"]} ({soak["machine"]}): {soak["minutes"]} minutes of load, steady and in
bursts, through the deployed function on the emulator, amid faults:
{_counted(soak["faults"])}.

| | |
|---|---:|
| records sent, a second | {soak["records"]}, {soak["records_a_second"]} |
| invocations | {soak["invocations"]} |
| batches given up, replayed at the end | {soak["given_up"]} |
| lost, duplicated | {soak["lost"]}, {soak["duplicated"]} |
| memory of the process that lived longest, warm and at its end | {begin} MB, {end} MB |
| its open files, warm and at its end | {files_begin:.0f}, {files_end:.0f} |
| how long it lived, of so many processes | {function["seconds"]} s, {function["processes"]} |
| delivery rate of the other routes with the key of `{rate["denied"]}` denied, against all keys usable | {rate["ratio"]} |"""


def _counted(faults: dict[str, int]) -> str:
    return ", ".join(f"{count} times {name}" for name, count in faults.items())


def _stages(stages: dict[str, float]) -> str:
    return "\n".join(["| stage | µs |", "|---|---:|", *(f"| {name} | {us} |" for name, us in stages.items())])


def _table(measured: dict[str, Any]) -> str:
    contenders = measured["contenders"]
    rows = [
        "| | µs a record | times ctr-fanout | bytes put a record | puts, and KMS calls, a million | DynamoDB calls |"
    ]
    rows.append("|---|---:|---:|---:|---:|---:|")
    for name, label in _NAMES.items():
        figures = contenders[name]
        calls = figures["calls_per_million"]
        rows.append(
            f"| {label} | {figures['median_us']} | {figures['times_pipeline']} "
            f"| {calls['put_bytes'] // 1_000_000 or '-'} | {calls['puts'] or '-'} | {calls['dynamodb'] or '-'} |"
        )
    over_floor = 1 / contenders["floor"]["times_pipeline"]
    rows.append(f"\nThe pipeline takes {over_floor:.2f} times the floor.")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
