"""The cost estimate: its formulas by hand, its prices overridable, its faults told."""

import json
from copy import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cost.estimate import Load, invocations_a_month, of_fan_out, of_firehose, read_prices, total
from routing.errors import ConfigurationError

MONTH = 30 * 86_400
FREE = dict.fromkeys(read_prices()[0], 0.0)


def test_batch_ends_with_its_window_where_little_comes() -> None:
    load = Load(records_per_second=10, routes=3, shards=2, window_seconds=60)
    assert invocations_a_month(load) == pytest.approx(2 * MONTH / 60)


def test_batch_ends_with_6_megabytes_where_much_comes() -> None:
    load = Load(records_per_second=1000, routes=3, shards=2, record_bytes=2_300)
    most = 6_000_000 // (2_300 * 4 / 3 + 400)
    assert invocations_a_month(load) == pytest.approx(1000 * MONTH / most)


def test_batch_never_is_empty() -> None:
    load = Load(records_per_second=0.001, routes=3, shards=4)
    assert invocations_a_month(load) == pytest.approx(0.001 * MONTH)


def test_each_price_counts_in_one_line_of_ours() -> None:
    """By hand: 10 records a second to 3 routes, a call a minute and shard."""
    load = Load(records_per_second=10, routes=3, shards=1, routes_per_record=3)
    calls = MONTH / 60
    by_price = {
        "kinesis_stream_hour": 720,
        "kinesis_gb_in": 10 * MONTH * 3_000 / 1e9,
        "lambda_request": calls / 1e6,
        "dynamodb_write": 3 * calls / 1e6,
        "s3_put": 3 * calls / 1e3,
        "kms_request": 3 * calls / 1e4,
        "kms_key_month": 3 + 4,
        "firehose_gb": 0,
    }
    for name, amount in by_price.items():
        assert total(of_fan_out(load, {**FREE, name: 1.0})) == pytest.approx(amount), name


def test_each_price_counts_in_what_columns_add() -> None:
    """By hand: 10 records a second of 2,000 bytes to 3 routes, a call a minute, 43,200 objects a route and month."""
    load = Load(records_per_second=10, record_bytes=2_000, routes=3, shards=1, routes_per_record=3)
    objects, plain = 3 * MONTH / 60, 3 * 10 * MONTH * 2_000
    by_price = {
        "s3_put": 3 * 720 * 44 / 1e3,
        "s3_get": objects / 1e3,
        "kms_request": objects / 1e4,
        "lambda_gb_second": (3 * 720 * 5 + plain / 50e6) * 1_769 / 1_024,
        "s3_gb_month": plain / 5 / 1e9,
        "cloudwatch_metric_month": 1,
        "cloudwatch_alarm_month": 2,
        "kms_key_month": 0,
    }
    for name, amount in by_price.items():
        prices = {**FREE, name: 1.0}
        added = total(of_fan_out(replace(load, has_columns=True), prices)) - total(of_fan_out(load, prices))
        assert added == pytest.approx(amount), name


def test_command_counts_columns_where_they_are_asked_for() -> None:
    plain, parquet = (
        CliRunner().invoke(app, ["cost", "--records-per-second", "10", *flags]) for flags in ([], ["--parquet"])
    )
    assert "Columns" not in plain.output
    assert parquet.output.count("Columns: ") == 6


def test_firehose_reads_and_takes_every_record_once_a_key_rounded_up_to_5_kilobytes() -> None:
    load = Load(records_per_second=10, routes=4, record_bytes=2_300)
    assert total(of_firehose(load, {**FREE, "firehose_gb": 1.0})) == pytest.approx(4 * 10 * MONTH * 5_000 / 1e9)
    assert total(of_firehose(load, {**FREE, "kinesis_gb_out": 1.0})) == pytest.approx(4 * 10 * MONTH * 3_000 / 1e9)


def test_prices_are_of_the_region_that_is_asked_for() -> None:
    done = CliRunner().invoke(app, ["cost", "--records-per-second", "10", "--region", "us-east-1"])
    assert "prices of us-east-1, 2026-09-23" in done.output
    assert read_prices(region="us-east-1")[0]["s3_put"] == 0.005
    assert read_prices()[0]["s3_put"] == 0.0047
    assert read_prices()[0].keys() == read_prices(region="us-east-1")[0].keys()
    refused = CliRunner().invoke(app, ["cost", "--records-per-second", "10", "--region", "eu-west-1"])
    assert refused.exit_code == 1
    assert "expected ap-northeast-1 or us-east-1; for another Region give --prices FILE" in refused.output


def test_prices_of_ones_own_take_the_place_of_those_that_are_given(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('as_of = 2027-01-01\nregion = "eu-west-1"\n[prices]\ns3_put = 1.0\n')
    prices, label = read_prices(file)
    assert prices == {**read_prices()[0], "s3_put": 1.0}
    assert label == "eu-west-1, 2027-01-01"
    done = CliRunner().invoke(app, ["cost", "--records-per-second", "1", "--prices", str(file), "--json"])
    assert done.exit_code == 0
    assert {"ctr-fanout", "one Firehose per key"} == json.loads(done.output).keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[prices]\ns3_puts = 1.0", "prices.s3_puts: expected one of kinesis_stream_hour,"),
        ('[prices]\ns3_put = "1"', "prices.s3_put: expected a number, got str"),
        ("[prices", "expected prices in TOML"),
    ],
)
def test_prices_that_make_no_sense_are_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_prices(file)
    assert message in str(caught.value)
    done = CliRunner().invoke(app, ["cost", "--records-per-second", "1", "--prices", str(file)])
    assert done.exit_code == 1
    assert message in done.output


def test_both_estimates_are_printed_with_the_date_of_the_prices() -> None:
    done = CliRunner().invoke(app, ["cost", "--records-per-second", "10"])
    assert done.exit_code == 0
    for text in ("one Firehose per key", "KMS: requests", "prices of ap-northeast-1, 2026-09-23"):
        assert text in done.output
