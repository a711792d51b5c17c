"""What a stack costs a month, beside the same job on Amazon Data Firehose with one stream per key.

An estimate by the formulas that it prints: the prices are in `prices.toml`, with their date, and every one
can be given anew.
"""

import tomllib
from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from routing.errors import ConfigurationError, Fault

type Prices = Mapping[str, float]

_FILE = Path(__file__).with_name("prices.toml")
_SECONDS = 30 * 86_400
_HOURS = 30 * 24
_GB = 1_000_000_000
# The default of MaximumRetryAttempts' neighbour: records are kept fourteen days, one of them for nothing.
_RETENTION_DAYS_PAID = 13
_MOST_PAYLOAD = 6_000_000
_BASE64 = 4 / 3
_ENVELOPE_BYTES = 400
KEYS_BESIDE_ROUTES = 4
"""Of the stream, of dead letters, of alarms, of query results."""
_KINESIS_STEP, _FIREHOSE_STEP = 1_000, 5_000
ALARMS_BESIDE_ROUTES, ALARMS_A_ROUTE, _METRICS_A_ROUTE, _METRICS_BESIDE = 17, 2, 11, 7
# The grant check of each route; three metrics of the stack, and the grant checks of what no route has.
_LEAN_METRICS_A_ROUTE, _LEAN_METRICS_BESIDE = 1, 7
# The delay of conversion; columns late, columns failing.
_COLUMNS_METRICS, COLUMNS_ALARMS = 1, 2
_LISTED_AT_ONCE = 1_000
_FIREHOSE_OBJECT_BYTES = 128_000_000
_FIREHOSE_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What comes in, and what is made of it.

    Attributes:
        records_per_second: On average over the month.
        record_bytes: Of one record.
        routes: Routes, each with its key.
        protection_keys: Keys that seal or hash.
        routes_per_record: How many routes a record takes, on average.
        window_seconds: BatchWindowSeconds.
        shards: Shards that are open.
        places: Kinds and folders that one batch of a route is spread over, on average.
        milliseconds_per_batch: Of the function, whatever is in it: claim, puts, commit.
        microseconds_per_record: Of the function; docs/benchmarks.md has the measured figure.
        memory_mb: MemorySize.
        gzip_ratio: Size before gzip by the size after.
        is_lean: With `Metrics=lean`.
        has_columns: With `Parquet=on`.
        seconds_per_conversion: Of the function that makes columns, hourly for each route, whatever there is to make.
        converted_mb_per_second: Of plain lines; docs/benchmarks.md has the measured figure.
        retention_months: How long objects stay before they cost nothing here.
    """

    records_per_second: float
    record_bytes: int = 2_300
    routes: int
    protection_keys: int = 0
    routes_per_record: float = 2.0
    window_seconds: int = 60
    shards: int = 4
    places: float = 1.0
    milliseconds_per_batch: float = 300.0
    microseconds_per_record: float = 12.0
    memory_mb: int = 1_769
    gzip_ratio: float = 5.0
    is_lean: bool = False
    has_columns: bool = False
    seconds_per_conversion: float = 5.0
    converted_mb_per_second: float = 50.0
    retention_months: float = 1.0

    @property
    def records(self) -> float:
        """Records a month."""
        return self.records_per_second * _SECONDS


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an estimate.

    Attributes:
        what: For people.
        formula: How many of what, in words.
        amount: How many.
        usd: A month.
    """

    what: str
    formula: str
    amount: float
    usd: float


REGIONS = ("ap-northeast-1", "us-east-1")
"""The Regions whose prices are shipped; the template's default comes first."""


def read_prices(file: Path | None = None, region: str = REGIONS[0]) -> tuple[Prices, str]:
    """Read the prices, and what they are of: a date and a Region.

    Args:
        file: Prices to use before those that are shipped.
        region: One of `REGIONS`.

    Raises:
        ConfigurationError: The file is not of that shape.
    """
    shipped = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    shipped["prices"] |= shipped["regions"].get(region, {})
    label = f"{region}, {shipped['as_of']}"
    if file is None:
        return shipped["prices"], label
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigurationError(str(file), [Fault("", f"expected prices in TOML: {err}")]) from None
    prices = given.get("prices", {})
    faults = [
        Fault(f"prices.{name}", f"expected one of {', '.join(shipped['prices'])}")
        for name in prices
        if name not in shipped["prices"]
    ]
    faults += [
        Fault(f"prices.{name}", f"expected a number, got {type(value).__name__}")
        for name, value in prices.items()
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0
    ]
    if faults:
        raise ConfigurationError(str(file), faults)
    return {**shipped["prices"], **prices}, f"{given.get('region', '?')}, {given.get('as_of', '?')}"


def invocations_a_month(load: Load) -> float:
    """Return how often Lambda calls: a batch ends with its window, with 2,000 records or with 6 MB."""
    of_shard = load.records_per_second / load.shards
    payload = load.record_bytes * _BASE64 + _ENVELOPE_BYTES
    most = min(2_000, _MOST_PAYLOAD // payload)
    by_size = of_shard / most
    by_window = min(1 / load.window_seconds if load.window_seconds else of_shard, of_shard)
    return max(by_size, by_window) * load.shards * _SECONDS


def of_fan_out(load: Load, prices: Prices) -> list[Item]:
    """Estimate what a stack costs a month."""
    calls = invocations_a_month(load)
    seconds = calls * load.milliseconds_per_batch / 1e3 + load.records * load.microseconds_per_record / 1e6
    gb_seconds = seconds * load.memory_mb / 1_024
    # A batch of few records does not reach all routes.
    objects = calls * min(load.routes, load.routes_per_record * load.records / calls) * load.places
    keys = load.routes + load.protection_keys + KEYS_BESIDE_ROUTES
    of_routes, beside = (
        (_LEAN_METRICS_A_ROUTE, _LEAN_METRICS_BESIDE) if load.is_lean else (_METRICS_A_ROUTE, _METRICS_BESIDE)
    )
    metrics = load.routes * of_routes + beside
    alarms = load.routes * (ALARMS_A_ROUTE - load.is_lean) + ALARMS_BESIDE_ROUTES
    return [
        *_of_stream(load, prices, readers=1),
        Item("Lambda: requests", "invocations", calls, calls / 1e6 * prices["lambda_request"]),
        Item(
            "Lambda: time",
            "GB-seconds: (invocations x ms a batch + records x us a record) x memory",
            gb_seconds,
            gb_seconds * prices["lambda_gb_second"],
        ),
        Item("DynamoDB", "writes: 3 an invocation", 3 * calls, 3 * calls / 1e6 * prices["dynamodb_write"]),
        *_of_objects(load, prices, objects, load.records * load.routes_per_record),
        Item("KMS: keys", "routes + keys of protection + 4", keys, keys * prices["kms_key_month"]),
        Item(
            "CloudWatch",
            "metrics and alarms",
            metrics + alarms,
            metrics * prices["cloudwatch_metric_month"] + alarms * prices["cloudwatch_alarm_month"],
        ),
        *(_of_columns(load, prices, objects) if load.has_columns else []),
    ]


def of_firehose(load: Load, prices: Prices) -> list[Item]:
    """Estimate one Firehose per key on the same stream, each taking every record: Firehose selects none by content.

    Its transformations by Lambda, which would have to drop what is not the route's, come on top.
    """
    streams = load.routes
    billed = streams * load.records * _stepped(load.record_bytes, _FIREHOSE_STEP) / _GB
    stored = load.records * streams
    per_second = load.records_per_second * load.record_bytes
    seconds = min(_FIREHOSE_SECONDS, _FIREHOSE_OBJECT_BYTES / per_second) if per_second else _FIREHOSE_SECONDS
    objects = streams * _SECONDS / seconds
    keys = streams + 1
    return [
        *_of_stream(load, prices, readers=streams),
        Item("Firehose", "GB: routes x records, each rounded up to 5 KB", billed, billed * prices["firehose_gb"]),
        *_of_objects(load, prices, objects, stored),
        Item("KMS: keys", "routes + 1", keys, keys * prices["kms_key_month"]),
    ]


def total(items: list[Item]) -> float:
    """Return the sum of an estimate, USD a month."""
    return sum(item.usd for item in items)


def table() -> str:
    """Return the tables of docs/cost.md, one for each Region."""
    return "\n".join(_table(region) for region in REGIONS)


def lean(region: str = "us-east-1") -> str:
    """Return a sentence of docs/cost.md: the smallest load, as deployed by default and lean."""
    prices, _ = read_prices(region=region)
    usual = Load(records_per_second=1, routes=3)
    small = replace(usual, is_lean=True, window_seconds=300)
    costs = [f"${total(of_fan_out(load, prices)):,.0f}" for load in (usual, small)]
    firehose = f"${total(of_firehose(usual, prices)):,.0f}"
    return f"Three routes at one record a second in {region}: {costs[0]} by default, {costs[1]} lean, {firehose} for Firehose.\n"


def columns(region: str = "us-east-1") -> str:
    """Return a sentence of docs/cost.md: what `Parquet=on` adds to small and large loads."""
    prices, _ = read_prices(region=region)
    loads = [Load(records_per_second=rate, routes=3, has_columns=True) for rate in (1, 10, 100)]
    added = [
        f"${sum(item.usd for item in of_fan_out(load, prices) if item.what.startswith('Columns')):,.0f}"
        for load in loads
    ]
    return (
        f"Three routes in {region}: `Parquet=on` adds {added[0]} a month at one record a second, {added[1]} at ten "
        f"and {added[2]} at a hundred.\n"
    )


def _table(region: str) -> str:
    prices, label = read_prices(region=region)
    rows = [
        "| records a second | routes | ctr-fanout | of it the stream | Firehose, one per key | of it the streams' readers and Firehose |",
        "|---|---|---|---|---|---|",
    ]
    for rate in (1, 10, 100, 1_000):
        for routes in (3, 8):
            load = Load(records_per_second=rate, routes=routes, shards=max(4, ceil(rate * 2_300 / 1e6) * 2))
            ours, theirs = of_fan_out(load, prices), of_firehose(load, prices)
            stream = sum(item.usd for item in ours if item.what.startswith("Kinesis"))
            beside = sum(item.usd for item in theirs if item.what.startswith(("Kinesis", "Firehose")))
            rows.append(
                f"| {rate:,} | {routes} | ${total(ours):,.0f} | ${stream:,.0f} | ${total(theirs):,.0f} | ${beside:,.0f} |"
            )
    return f"{chr(10).join(rows)}\n\nUSD a month; prices of {label}; records of 2.3 kB that take 2 routes each.\n"


def _of_stream(load: Load, prices: Prices, *, readers: int) -> list[Item]:
    taken = load.records * _stepped(load.record_bytes, _KINESIS_STEP) / _GB
    kept = load.records * load.record_bytes / _GB * _RETENTION_DAYS_PAID / 30
    return [
        Item("Kinesis: stream", "hours", _HOURS, _HOURS * prices["kinesis_stream_hour"]),
        Item("Kinesis: in", "GB, each record rounded up to 1 KB", taken, taken * prices["kinesis_gb_in"]),
        Item("Kinesis: out", "GB x readers", taken * readers, taken * readers * prices["kinesis_gb_out"]),
        Item("Kinesis: kept 14 days", "GB-months", kept, kept * prices["kinesis_retention_gb_month"]),
    ]


def _of_objects(load: Load, prices: Prices, objects: float, lines: float) -> list[Item]:
    stored = lines * load.record_bytes / load.gzip_ratio / _GB * load.retention_months
    return [
        Item("S3: puts", "objects", objects, objects / 1e3 * prices["s3_put"]),
        Item("KMS: requests", "one an object", objects, objects / 1e4 * prices["kms_request"]),
        Item("S3: storage", "GB-months, gzipped", stored, stored * prices["s3_gb_month"]),
    ]


def _of_columns(load: Load, prices: Prices, objects: float) -> list[Item]:
    """Estimate what columns cost beside the lines: every hour each route is listed, and each object is read once."""
    runs = load.routes * _HOURS
    standing = objects * load.retention_months / load.routes
    listings = runs * max(1, ceil(standing / _LISTED_AT_ONCE))
    plain = load.records * load.routes_per_record * load.record_bytes
    seconds = runs * load.seconds_per_conversion + plain / 1e6 / load.converted_mb_per_second
    gb_seconds = seconds * load.memory_mb / 1_024
    stored = plain / load.gzip_ratio / _GB * load.retention_months
    watched = _COLUMNS_METRICS * prices["cloudwatch_metric_month"] + COLUMNS_ALARMS * prices["cloudwatch_alarm_month"]
    return [
        Item(
            "Columns: S3 listings",
            "objects that stand / 1,000, hourly for each route",
            listings,
            listings / 1e3 * prices["s3_put"],
        ),
        Item("Columns: S3 reads", "one an object", objects, objects / 1e3 * prices["s3_get"]),
        Item("Columns: KMS requests", "one an object", objects, objects / 1e4 * prices["kms_request"]),
        Item(
            "Columns: Lambda time",
            "GB-seconds: (runs x s a run + MB of lines / MB a second) x memory",
            gb_seconds,
            gb_seconds * prices["lambda_gb_second"],
        ),
        Item("Columns: S3 storage", "GB-months, as much as lines", stored, stored * prices["s3_gb_month"]),
        Item("Columns: CloudWatch", "metrics and alarms", _COLUMNS_METRICS + COLUMNS_ALARMS, watched),
    ]


def _stepped(size: int, step: int) -> int:
    return ceil(size / step) * step
