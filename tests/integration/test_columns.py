"""Columns: what the function makes of delivered objects, on S3 and DynamoDB in process."""

import gzip
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from rich.console import Console

from aws.checkpoint import CheckpointTable
from aws.invocation import Invocation
from cli import convert
from cli.erase import run as erase
from cli.reconcile import Target
from cli.reconcile_columns import Columns, columns
from cli.stack_function import StackFunctionError
from handlers.wiring.convert import Convert
from handlers.wiring.erase import Erase
from handlers.wiring.fan_out import FanOut
from operations.convert.columns import Columns as Columns_
from operations.convert.converter import Converter
from operations.erase.request import read_erasure
from routing.errors import EventError
from routing.lambda_event import event_of_documents
from routing.model import ObjectKey, Shard
from routing.stored import parts
from routing.table.routes import RouteTable
from tests.builders import ROUTES, agent_event, claim, contact, lines_in, segment, table
from tests.fakes import client_error
from tests.integration.conftest import BUCKET, TABLE, Aws
from tests.parquet_rows import rows_of

STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
SHARD = Shard(STREAM, "shardId-000000000000")
GONE = "c-gone"
A_DAY = 86_400
NOT_YET = datetime(2026, 3, 3, 0, 59, 59, tzinfo=UTC).timestamp()
"""A day is closed an hour after its end."""
CLOSED = NOT_YET + 1
DAY = "date=2026-03-02"


class Converting:
    """A table, its functions, and what was delivered on one day."""

    def __init__(self, aws: Aws, routes: RouteTable, *documents: bytes) -> None:
        self.aws = aws
        self.now = CLOSED
        environment = {**aws.environment(routes), "STREAM_ARN": STREAM}
        self.deliver = FanOut(environment, routes)
        self.convert = Convert(environment, routes)
        self._erase = Erase(environment, routes)
        if documents:
            self.deliver(event_of_documents(documents), Invocation("i", lambda: 600.0))

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.convert(dict(request), Invocation("c", lambda: 900.0, now=lambda: self.now))
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return] # as Lambda passes it on

    def erase(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._erase(read_erasure(dict(request)), Invocation("e", lambda: 600.0))
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    def part_names(self) -> list[str]:
        listed = self.aws.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [entry["Key"] for entry in listed if entry["Key"].endswith(".parquet")]

    def rows(self, key: str) -> list[dict[str, Any]]:
        body = self.aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return rows_of(body)

    def until(self, prefix: str, kind: str = "contact_record") -> str:
        return str(
            self.aws.s3.get_object(Bucket=BUCKET, Key=f"{prefix}/parquet/{kind}/until/day.txt")["Body"].read(), "ascii"
        )


@pytest.fixture
def converting(aws: Aws) -> Converting:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return Converting(
        aws,
        table(),
        claim(ContactId=GONE, n=1, Channel="VOICE"),
        claim(ContactId="c-1", n=2, Attributes={"a": 1}),
        agent_event(CurrentAgentSnapshot={"Contacts": [{"ContactId": GONE}, {"ContactId": "c-1"}]}),
        segment(ContactId=GONE),
    )


def test_closed_day_becomes_one_part_of_each_kind_with_every_line_once(converting: Converting) -> None:
    done = converting.ask({"route": "all"})
    assert [result["key"] for result in done["results"]] == [
        f"all/contacts/parquet/contact_record/{DAY}/0000.parquet",
        f"all/contacts/parquet/agent_event/{DAY}/0000.parquet",
    ]
    assert done["next"] is None
    assert done["until"] == {"contact_record": "2026-03-02", "agent_event": "2026-03-02"}
    rows = converting.rows(done["results"][0]["key"])
    assert [(row["contact_id"], row["_line"], row["attributes"], row["channel"]) for row in rows] == [
        (GONE, 1, None, "VOICE"),
        ("c-1", 2, '{"a":1}', None),
    ]
    (source,) = (key for key in converting.aws.lines() if key.startswith("all/contacts/contact_record/"))
    assert {row["_object"] for row in rows} == {source}
    assert {row["_source"] for row in rows} == {source.rpartition("-")[2].partition(".")[0]}
    assert [row["record"].encode() for row in rows] == converting.aws.lines()[source]
    assert converting.until("all/contacts") == "2026-03-02\n"


def test_day_that_is_not_over_for_an_hour_is_left_alone(converting: Converting) -> None:
    converting.now = NOT_YET
    done = converting.ask({"route": "all"})
    assert (done["results"], done["until"]["contact_record"]) == ([], "2026-03-01")
    assert converting.part_names() == []


@pytest.mark.parametrize("is_passed", [False, True], ids=["the try is open", "one route is ahead of others"])
@pytest.mark.parametrize(("day", "waits"), [(DAY, True), ("date=2026-03-01", False)])
def test_day_whose_batch_is_still_tried_waits(converting: Converting, is_passed: bool, day: str, waits: bool) -> None:
    tried = ObjectKey(f"claims/contact_record/{day}/ctr-fanout-shardId-000000000000-{10**55}.ndjson.gz")
    checkpoint = CheckpointTable(converting.aws.dynamodb, TABLE, Invocation("x", lambda: 600.0))
    with checkpoint.claim(SHARD, table()) as claim_:
        claim_.intend([tried])
        if is_passed:
            claim_.commit({}, is_partial=True, release=True)
    done = converting.ask({"route": "claims"})
    told = [result["blocked_by"] for result in done["results"]]
    assert told == (["a batch of it is still being tried; it is converted when that is settled"] if waits else [""])
    assert done["until"] == {"contact_record": "2026-03-01" if waits else "2026-03-02"}
    assert len(converting.part_names()) == (not waits)
    assert [one["blocked_by"] for one in converting.ask({"route": "all"})["results"]] == ["", ""], "of another route"


@pytest.mark.parametrize(("shard", "waits"), [("shardId-000000000000", True), ("shardId-000000000009", False)])
def test_day_with_records_behind_the_watermark_waits(converting: Converting, shard: str, waits: bool) -> None:
    """A shard of which nothing is known has nothing to wait for: what replays and earlier deployments have put."""
    ahead = f"claims/contact_record/{DAY}/ctr-fanout-{shard}-{10**56}.ndjson.gz"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=ahead, Body=gzip.compress(claim() + b"\n"))
    done = converting.ask({"route": "claims"})
    told = [result["blocked_by"] for result in done["results"]]
    behind = "it has records behind the route's watermark; it is converted when that has passed them"
    assert told == ([behind] if waits else [""])
    assert done["until"] == {"contact_record": "2026-03-01" if waits else "2026-03-02"}


def test_columns_are_complete_up_to_the_day_before_the_first_that_waits(converting: Converting) -> None:
    for day in ("2026-02-27", "2026-03-01"):
        ahead = f"claims/contact_record/date={day}/ctr-fanout-shardId-000000000000-{10**56}.ndjson.gz"
        converting.aws.s3.put_object(Bucket=BUCKET, Key=ahead, Body=gzip.compress(claim() + b"\n"))
    assert converting.ask({"route": "claims"})["until"] == {"contact_record": "2026-02-26"}


def test_day_of_columns_goes_on_day_by_day(converting: Converting) -> None:
    for day in ("2026-03-02", "2026-03-03", "2026-03-04"):
        assert converting.ask({"route": "claims"})["until"] == {"contact_record": day}
        assert converting.until("claims") == f"{day}\n"
        converting.now += A_DAY


def test_slice_tells_no_day_that_those_before_it_have_not_reached(converting: Converting) -> None:
    assert converting.ask({"route": "claims", "after": "contact_record/2026-03-02"})["until"] == {"contact_record": ""}
    converting.now += A_DAY
    assert converting.ask({"route": "claims"})["until"] == {"contact_record": "2026-03-03"}


def test_first_part_that_cannot_be_made_keeps_the_others_from_being_made(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would share objects out among as many as they see, and the first among as many as it sees later."""
    converting = Converting(aws, table())
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 100)
    body = gzip.compress(claim())
    keys = [f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{number}.ndjson.gz" for number in range(9)]
    sources = [parts.Source(key=ObjectKey(key), etag="x", size=len(body)) for key in keys]
    broken = parts.of_part(sources, 0, parts.parts_for(sources))[0].key
    for key in keys:
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x" * len(body) if key == broken else body)
    (result,) = converting.ask({"route": "claims"})["results"]
    assert (result["key"], result["blocked_by"]) == (
        f"claims/parquet/contact_record/{DAY}/0000.parquet",
        f"{broken}: expected gzip, got {len(body)} other bytes",
    )
    assert converting.part_names() == []


def test_dry_run_counts_old_versions_and_deletes_none(converting: Converting) -> None:
    (key,) = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    metadata = converting.aws.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    converting.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata=metadata)
    for applies, left in ((False, 2), (True, 1)):
        assert converting.ask({"route": "claims", "apply": applies, "old_versions": True})["deleted"] == 1
        versions = converting.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
        assert len(versions) == left


def test_old_versions_stay_while_a_day_waits(converting: Converting) -> None:
    """An erasure is told of the day, and asks again: until then none of it is reported as done."""
    (key,) = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    metadata = converting.aws.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    converting.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata=metadata)
    ahead = f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{10**56}.ndjson.gz"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=ahead, Body=gzip.compress(claim() + b"\n"))
    done = converting.ask({"route": "claims", "old_versions": True})
    assert (len(done["results"]), done["deleted"]) == (1, 0)
    assert len(converting.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]) == 2


def test_day_of_which_parts_alone_are_left_comes_in_its_turn(converting: Converting) -> None:
    """Else a run whose time ends behind a later day would not come back to it."""
    below = "claims/contact_record/date=2026-02-27/ctr-fanout-shardId-000000000000-1.ndjson.gz"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=below, Body=gzip.compress(claim()))
    assert len(converting.ask({"route": "claims"})["results"]) == 2
    converting.aws.s3.delete_object(Bucket=BUCKET, Key=below)
    later = f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-1.ndjson.gz"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=later, Body=gzip.compress(claim()))
    results = converting.ask({"route": "claims"})["results"]
    assert [(result["key"].split("/")[3], result["records"]) for result in results] == [
        ("date=2026-02-27", 0),
        (DAY, 3),
    ]


@pytest.mark.parametrize(("rule", "shown"), [('remove = ["*"]', set()), ('seal = ["*"]', {"_sealed"})])
def test_route_that_shows_no_field_has_its_lines_and_where_they_stand(aws: Aws, rule: str, shown: set[str]) -> None:
    routes = table(ROUTES.replace('prefix = "claims"\n', f'prefix = "claims"\n[[routes.protect]]\n{rule}\n'))
    converting = Converting(aws, routes, claim(ContactId=GONE), claim(ContactId="c-1"))
    (result,) = converting.ask({"route": "claims"})["results"]
    rows = converting.rows(result["key"])
    assert rows[0].keys() == shown | {"_source", "_object", "_line", "record"}
    (lines,) = (lines for key, lines in aws.lines().items() if key.startswith("claims/"))
    assert [row["record"].encode() for row in rows] == lines
    assert result["refused"] == 0


def test_part_beyond_their_number_is_emptied(converting: Converting) -> None:
    """Whoever made it saw another first part; its lines stand in the others."""
    (key,) = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    got = converting.aws.s3.get_object(Bucket=BUCKET, Key=key)
    beyond = key.replace("0000.parquet", "0002.parquet")
    converting.aws.s3.put_object(Bucket=BUCKET, Key=beyond, Body=got["Body"].read(), Metadata=got["Metadata"])
    (result,) = converting.ask({"route": "claims"})["results"]
    assert (result["key"], result["records"]) == (beyond, 0)
    assert (len(converting.rows(key)), converting.rows(beyond)) == (2, [])


def test_number_of_parts_that_others_have_decided_meanwhile_is_not_changed(
    converting: Converting, monkeypatch: pytest.MonkeyPatch
) -> None:
    converting.ask({"route": "claims"})
    converting.aws.s3.put_object(
        Bucket=BUCKET,
        Key=f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-1.ndjson.gz",
        Body=gzip.compress(claim()),
    )
    monkeypatch.setattr(Converter, "_count", lambda *_: (2, 0))
    (result,) = converting.ask({"route": "claims"})["results"]
    assert result["blocked_by"] == "others make it at the same time; the next run looks again"


def test_day_that_was_complete_stays_so_whatever_waits_later(converting: Converting) -> None:
    converting.ask({"route": "claims"})
    assert converting.until("claims") == "2026-03-02\n"
    ahead = f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{10**56}.ndjson.gz"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=ahead, Body=gzip.compress(claim() + b"\n"))
    assert converting.ask({"route": "claims"})["until"] == {"contact_record": "2026-03-02"}
    assert converting.until("claims") == "2026-03-02\n"


def test_part_is_under_the_key_of_its_route_and_tells_of_its_sources_and_nothing_else(converting: Converting) -> None:
    (key, *_) = (result["key"] for result in converting.ask({"route": "all"})["results"])
    head = converting.aws.s3.head_object(Bucket=BUCKET, Key=key)
    assert head["SSEKMSKeyId"] == converting.aws.s3.head_object(
        Bucket=BUCKET, Key=next(iter(k for k in converting.aws.lines() if k.startswith("all/contacts/")))
    )["SSEKMSKeyId"]  # fmt: skip
    assert head["Metadata"].keys() == {
        "format-version", "parts", "sources-count", "sources-digest", "columns-digest", "lines-digest", "record-count", "refused-count",
    }  # fmt: skip
    assert (head["Metadata"]["record-count"], head["Metadata"]["refused-count"]) == ("2", "0")


def test_part_is_made_again_if_and_only_if_its_objects_changed(converting: Converting) -> None:
    (key, *_) = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    etag = converting.aws.s3.head_object(Bucket=BUCKET, Key=key)["ETag"]
    assert converting.ask({"route": "claims"})["results"] == []
    assert converting.aws.s3.head_object(Bucket=BUCKET, Key=key)["ETag"] == etag
    (source,) = (name for name in converting.aws.lines() if name.startswith("claims/contact_record/"))
    late = source.replace(".ndjson", "-0a1b2c3d.ndjson")
    converting.aws.s3.put_object(Bucket=BUCKET, Key=late, Body=gzip.compress(claim(ContactId="late") + b"\n"))
    assert [result["key"] for result in converting.ask({"route": "claims"})["results"]] == [key]
    assert {row["contact_id"] for row in converting.rows(key)} == {GONE, "c-1", "late"}
    for name in (source, late):
        converting.aws.s3.delete_object(Bucket=BUCKET, Key=name)
    assert [result["records"] for result in converting.ask({"route": "claims"})["results"]] == [0]
    assert converting.rows(key) == [], "what its objects have outlived does not outlive them as columns"


def test_rehearsal_makes_nothing(converting: Converting) -> None:
    done = converting.ask({"route": "all", "apply": False})
    assert len(done["results"]) == 2
    assert (converting.part_names(), done["until"]["contact_record"]) == ([], "")


def test_object_that_is_not_what_it_was_blocks_its_day_and_no_other(converting: Converting) -> None:
    (source,) = (name for name in converting.aws.lines() if name.startswith("claims/contact_record/"))
    metadata = converting.aws.s3.head_object(Bucket=BUCKET, Key=source)["Metadata"]
    other = gzip.compress(b'{"n":9}\n')
    converting.aws.s3.put_object(Bucket=BUCKET, Key=source, Body=other, Metadata=metadata)
    before = source.replace("2026-03-02", "2026-03-01")
    converting.aws.s3.put_object(Bucket=BUCKET, Key=before, Body=gzip.compress(claim() + b"\n"))
    done = converting.ask({"route": "claims"})
    assert [(result["key"].split("/")[3], bool(result["blocked_by"])) for result in done["results"]] == [
        ("date=2026-03-01", False),
        (DAY, True),
    ]
    assert done["results"][1]["blocked_by"] == f"{source}: expected the lines that its metadata tells of, got others"
    assert done["until"]["contact_record"] == "2026-03-01", "columns are complete up to the day before"
    converting.aws.s3.put_object(Bucket=BUCKET, Key=source, Body=b"no gzip")
    assert "expected gzip, got 7 other bytes" in converting.ask({"route": "claims"})["results"][0]["blocked_by"]


def test_lines_that_no_reader_takes_stand_there_and_are_counted(aws: Aws) -> None:
    converting = Converting(aws, table(), claim())
    (source,) = (name for name in aws.lines() if name.startswith("claims/contact_record/"))
    odd = [
        b"no JSON",
        b"[1]",
        b'{"ContactId":"\xff"}',
        b'{"ContactId":7,"Queue":"x"}',
        b'{"ContactId":"c","Queue":null}',
    ]
    aws.s3.put_object(Bucket=BUCKET, Key=source, Body=gzip.compress(b"".join(one + b"\n" for one in odd)))
    (result,) = converting.ask({"route": "claims"})["results"]
    assert (result["records"], result["refused"]) == (5, 3)
    rows = converting.rows(result["key"])
    assert [row["contact_id"] for row in rows] == [None, None, None, "7", "c"]
    assert [row["record"] for row in rows] == [line.decode(errors="replace") for line in odd]
    assert {row["queue_name"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("rule", "hidden"),
    [("", set()), ('[[routes.protect]]\nmask = ["Queue.Name", "Channel"]\ntext = "x"\n', {"queue_name", "channel"})],
)
def test_statistics_tell_nothing_of_a_person_or_of_what_a_route_protects(aws: Aws, rule: str, hidden: set[str]) -> None:
    routes = table(ROUTES.replace('prefix = "claims"\n', f'prefix = "claims"\n{rule}'))
    document = claim(
        ContactId="c-1", Channel="VOICE", CustomerId="Jane", CustomerEndpoint={"Address": "+81"}, Attributes={"a": "b"},
        Agent={"Username": "m.okabe", "AgentInteractionDuration": 7}, LastUpdateTimestamp="2026-03-02T00:00:00Z",
        Recordings=[{"Location": "s3://x"}], TransferredToEndpoint={"Address": "+82"}, Tags={"t": "u"},
    )  # fmt: skip
    converting = Converting(aws, routes, document)
    (result,) = converting.ask({"route": "claims"})["results"]
    body = aws.s3.get_object(Bucket=BUCKET, Key=result["key"])["Body"].read()
    group = parquet.ParquetFile(io.BytesIO(body)).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    told = {
        column.path_in_schema for column in columns if column.statistics is not None and column.statistics.has_min_max
    }
    expected = {"contact_id", "channel", "queue_name", "last_update_timestamp", "agent_agent_interaction_duration"}
    assert told == (expected - hidden) | {"_source", "_object", "_line"}


@pytest.mark.parametrize("routes", [["claims", "all", "speech", "rest"], []], ids=["of its table", "as it is told"])
def test_erasure_makes_columns_anew_before_its_receipt_old_versions_included(
    converting: Converting, tmp_path: Path, routes: list[str]
) -> None:
    aws = converting.aws
    for route in ("all", "claims", "speech"):
        converting.ask({"route": route})
    request = {"contact_ids": [GONE], "apply": True, "old_versions": True, "first_date": None, "last_date": None}
    text, receipt = StringIO(), tmp_path / "receipt.json"
    console = Console(file=text, width=200)
    code = erase(
        request, converting.erase, console, stack="s", convert=converting.ask, routes=routes, receipt_file=receipt
    )
    assert code == 0, text.getvalue()
    told = json.loads(receipt.read_text())["columns"]
    assert len(told["parts"]) == 4
    for entry in aws.s3.list_object_versions(Bucket=BUCKET)["Versions"]:
        body = aws.s3.get_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])["Body"].read()
        if entry["Key"].endswith(".parquet"):
            assert not [row for row in rows_of(body) if GONE in str(row)]
        elif entry["Key"].endswith(".gz"):
            assert GONE.encode() not in b"".join(lines_in(body))


def test_columns_that_nothing_makes_anew_are_left_and_told(converting: Converting) -> None:
    converting.ask({"route": "claims"})
    request = {"contact_ids": [GONE], "apply": True, "old_versions": False, "first_date": None, "last_date": None}
    text = StringIO()
    assert erase(request, converting.erase, Console(file=text, width=200), stack="s") == 1
    assert "left: columns of claims: nothing makes them anew; deploy with Parquet=on and erase again" in text.getvalue()


def test_command_makes_columns_route_by_route(converting: Converting) -> None:
    text = StringIO()
    console = Console(file=text, width=200)
    assert convert.run(["claims", "all"], converting.ask, console, apply=False) == 0
    assert "3 parts would be made; --apply does it" in text.getvalue()
    assert convert.run(["claims", "all"], converting.ask, console, apply=True) == 0
    assert "3 parts were made" in text.getvalue()
    assert len(converting.part_names()) == 3


@pytest.mark.parametrize("request_", [{}, {"route": "nowhere"}, {"route": "all", "aply": True}, {"route": 7}])
def test_request_that_is_none_is_one_error(converting: Converting, request_: dict[str, Any]) -> None:
    with pytest.raises(EventError, match="convert: "):
        converting.ask(request_)


def test_time_that_ends_leaves_the_rest_to_the_next_run(converting: Converting) -> None:
    done = converting.convert({"route": "all"}, Invocation("c", lambda: 170.0, now=lambda: CLOSED + A_DAY))
    assert (done["results"], done["next"]) == ([], "contact_record/2026-03-02")
    assert done["until"]["contact_record"] == "2026-03-01"
    assert len(converting.ask({"route": "all"})["results"]) == 2


def test_time_that_ends_between_two_parts_leaves_the_rest_to_the_next_run(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    converting = Converting(aws, table())
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 300)
    for number in range(9):
        key = f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{number}.ndjson.gz"
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(claim(n=number)))

    def remaining() -> float:
        return 170.0 if converting.part_names() else 900.0

    done = converting.convert({"route": "claims"}, Invocation("c", remaining, now=lambda: CLOSED))
    assert ([result["key"][-12:] for result in done["results"]], done["next"]) == (
        ["0000.parquet"],
        "contact_record/2026-03-02",
    )
    assert done["until"]["contact_record"] == "2026-03-01"
    assert len(converting.ask({"route": "claims", "after": done["next"]})["results"]) > 1
    assert converting.until("claims") == "2026-03-02\n"


def test_next_slice_begins_where_the_one_before_ended(converting: Converting) -> None:
    for after, kinds in (
        ("contact_record/2026-03-02", ["contact_record", "agent_event"]),
        ("contact_record/2026-03-03", ["agent_event"]),
        ("agent_event/2026-03-02", ["agent_event"]),
    ):
        results = converting.ask({"route": "all", "after": after, "apply": False})["results"]
        assert [result["key"].split("/")[3] for result in results] == kinds


def test_many_objects_are_shared_out_among_parts_that_stay_as_many(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    converting = Converting(aws, table())
    for number in range(9):
        documents = [contact(ContactId=f"c-{number}-{line}", n=number) for line in range(3)]
        body = gzip.compress(b"".join(one + b"\n" for one in documents))
        key = f"all/contacts/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{number}.ndjson.gz"
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 300)
    results = converting.ask({"route": "all"})["results"]
    assert len(results) > 2
    seen = [(row["_object"], row["_line"]) for result in results for row in converting.rows(result["key"])]
    assert len(seen) == len(set(seen)) == 27
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 100)
    assert converting.ask({"route": "all"})["results"] == [], "how many there are was decided once"


def test_reconciliation_compares_parts_with_lines_by_metadata_alone(converting: Converting) -> None:
    aws, routes = converting.aws, table()
    target = Target(stream_arn=STREAM, bucket=BUCKET, account="111122223333", checkpoint_table=None)

    def compared() -> Columns:
        return columns(lambda _: aws.s3, target, routes)

    assert compared().verdict == "0 parts of columns compared: none wrong"
    for route in ("all", "claims"):
        converting.ask({"route": route})
    assert compared().verdict == "3 parts of columns compared: none wrong"
    (source,) = (name for name in aws.lines() if name.startswith("claims/contact_record/"))
    aws.s3.put_object(
        Bucket=BUCKET, Key=source.replace(".ndjson", "-0a1b2c3d.ndjson"), Body=gzip.compress(claim() + b"\n")
    )
    assert compared().verdict == "3 parts of columns compared: none wrong, 1 to be made anew by the next schedule"
    converting.ask({"route": "claims"})
    (key,) = (key for key in converting.part_names() if key.startswith("claims/"))
    head = aws.s3.head_object(Bucket=BUCKET, Key=key)
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata={**head["Metadata"], "parts": "2"})
    assert compared().wrong == []
    key = f"all/contacts/parquet/contact_record/{DAY}/0000.parquet"
    metadata = aws.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    for changed, why in (
        ({"record-count": "3"}, "expected 2 records, got 3"),
        ({"lines-digest": "0"}, "expected the lines of its objects, got others"),
    ):
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata={**metadata, **changed})
        assert compared().wrong == [(key, why)]
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata={})
    assert compared().wrong[0][1].startswith("expected the metadata of a part")


def test_reconciliation_after_an_erasure_counts_what_is_left(converting: Converting) -> None:
    request = {"contact_ids": [GONE], "apply": True, "old_versions": False, "first_date": None, "last_date": None}
    routes = ["claims", "all", "speech"]
    for route in routes:
        converting.ask({"route": route})
    text = Console(file=StringIO())
    assert erase(request, converting.erase, text, stack="s", convert=converting.ask, routes=routes) == 0
    target = Target(stream_arn=STREAM, bucket=BUCKET, account="111122223333", checkpoint_table=None)
    found = columns(lambda _: converting.aws.s3, target, table())
    assert (found.verdict, found.wrong) == ("4 parts of columns compared: none wrong", [])


class Vanishing:
    """S3 where objects are gone between a listing and a look."""

    def __init__(self, s3: Any, ending: str) -> None:
        self._s3, self._ending = s3, ending

    def __getattr__(self, name: str) -> Any:
        """Pass on what is not asked of an object."""
        return getattr(self._s3, name)

    def head_object(self, **request: Any) -> Any:
        if request["Key"].endswith(self._ending):
            raise client_error("404", "HeadObject")
        return self._s3.head_object(**request)


@pytest.mark.parametrize("ending", [".ndjson.gz", ".parquet"])
def test_reconciliation_beside_a_change_waits_for_it(converting: Converting, ending: str) -> None:
    converting.ask({"route": "claims"})
    target = Target(stream_arn=STREAM, bucket=BUCKET, account="111122223333", checkpoint_table=None)
    found = columns(lambda _: Vanishing(converting.aws.s3, ending), target, table())
    assert found.verdict == "1 parts of columns compared: none wrong, 1 to be made anew by the next schedule"


def test_reconciliation_misses_a_part(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    converting = Converting(aws, table())
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 300)
    for number in range(9):
        key = f"claims/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{number}.ndjson.gz"
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(claim(n=number)))
    *_, last = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    aws.s3.delete_object(Bucket=BUCKET, Key=last)
    target = Target(stream_arn=STREAM, bucket=BUCKET, account="111122223333", checkpoint_table=None)
    assert columns(lambda _: aws.s3, target, table()).stale == [last]


def test_objects_of_an_earlier_partition_of_the_route_are_in_its_parts_only(aws: Aws) -> None:
    hourly = table(ROUTES.replace('prefix = "claims"\n', 'prefix = "claims"\npartition = ["date", "hour"]\n'))
    converting = Converting(aws, hourly, claim(ContactId="new"))
    (new,) = (key for key in aws.lines() if key.startswith("claims/"))
    old = new.replace("/hour=01", "")
    aws.s3.put_object(Bucket=BUCKET, Key=old, Body=gzip.compress(claim(ContactId="old") + b"\n"))
    results = converting.ask({"route": "claims"})["results"]
    rows = {result["key"]: [row["contact_id"] for row in converting.rows(result["key"])] for result in results}
    folder = f"claims/parquet/contact_record/{DAY}"
    assert rows == {f"{folder}/hour=01/0000.parquet": ["new"], f"{folder}/0000.parquet": ["old"]}
    target = Target(stream_arn=STREAM, bucket=BUCKET, account="111122223333", checkpoint_table=None)
    assert columns(lambda _: aws.s3, target, hourly).verdict == "2 parts of columns compared: none wrong"


def test_columns_of_a_kind_that_the_route_has_no_longer_are_emptied(converting: Converting) -> None:
    """Nothing shows them any more, and an erasure must not leave a contact in them."""
    converting.ask({"route": "all"})
    routes = table(ROUTES.replace('kinds = ["contact_record", "agent_event"]', 'kinds = ["contact_record"]'))
    converting.convert = Convert({**converting.aws.environment(routes), "STREAM_ARN": STREAM}, routes)
    (result,) = converting.ask({"route": "all", "old_versions": True})["results"]
    assert (result["key"], result["records"]) == (f"all/contacts/parquet/agent_event/{DAY}/0000.parquet", 0)
    versions = converting.aws.s3.list_object_versions(Bucket=BUCKET, Prefix="all/contacts/parquet/agent_event/")[
        "Versions"
    ]
    assert len([one for one in versions if one["Key"] == result["key"]]) == 1
    assert converting.ask({"route": "all"})["results"] == []


def test_part_with_other_columns_than_the_route_shows_now_is_made_again(converting: Converting) -> None:
    (key, *_) = (result["key"] for result in converting.ask({"route": "claims"})["results"])
    routes = table(
        ROUTES.replace('prefix = "claims"\n', 'prefix = "claims"\n[[routes.protect]]\nremove = ["Channel"]\n')
    )
    converting.convert = Convert({**converting.aws.environment(routes), "STREAM_ARN": STREAM}, routes)
    assert [result["key"] for result in converting.ask({"route": "claims"})["results"]] == [key]
    assert "channel" not in converting.rows(key)[0]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'{"ContactId":"a","Attributes":{"n":1e999,"s":"\\u00e9"}}', {"contact_id": "a"}),
        (b'{"ContactId":"a","Agent":{"AgentInteractionDuration":1e999}}', {"contact_id": "a"}),
        (b'{"ContactId":"a","Channel":3,"Nobody":1e999}', {"contact_id": "a", "channel": "3"}),
        (b'{"ContactId":"a","Queue":{"Duration":"1_0"}}', {"contact_id": "a", "queue_duration": None}),
        (b'{"ContactId":"a","ContactLens":{"ConversationalAnalytics":{"Configuration":{"Enabled":1}}}}', {
            "contact_id": "a", "contact_lens_conversational_analytics_configuration_enabled": True,
        }),
        (b'{"ContactId":"a","Queue":{"Name":"\\ud83d","Duration":"7"}}', {"queue_name": "?", "queue_duration": 7}),
        (b'{"ContactId":"a","Attributes":"\xff\xfe"}', {"record": '{"ContactId":"a","Attributes":"\ufffd\ufffd"}'}),
    ],
)  # fmt: skip
def test_odd_value_costs_its_own_column_and_no_other_line(aws: Aws, line: bytes, shown: dict[str, Any]) -> None:
    converting = Converting(aws, table(), claim())
    (source,) = (name for name in aws.lines() if name.startswith("claims/contact_record/"))
    aws.s3.put_object(Bucket=BUCKET, Key=source, Body=gzip.compress(line + b"\n" + claim(ContactId="b") + b"\n"))
    (result,) = converting.ask({"route": "claims"})["results"]
    assert result["blocked_by"] == ""
    odd, usual = converting.rows(result["key"])
    assert {name: odd[name] for name in shown} == shown
    assert usual["contact_id"] == "b"


def test_error_of_one_day_holds_up_no_other_and_quotes_nothing(
    converting: Converting, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = (name for name in converting.aws.lines() if name.startswith("claims/contact_record/"))
    body = converting.aws.s3.get_object(Bucket=BUCKET, Key=source)["Body"].read()
    converting.aws.s3.put_object(Bucket=BUCKET, Key=source.replace("03-02", "03-01"), Body=body)
    kept = Columns_.batch

    def batch(self: Columns_, lines: list[bytes]) -> Any:
        batch.calls += 1  # type: ignore[attr-defined]
        if batch.calls == 1:  # type: ignore[attr-defined]
            raise ValueError(lines)
        return kept(self, lines)

    batch.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Columns_, "batch", batch)
    done = converting.ask({"route": "claims"})
    assert [(one["key"].split("/")[3], one["blocked_by"]) for one in done["results"]] == [
        ("date=2026-03-01", "ValueError"),
        (DAY, ""),
    ]


def test_first_part_that_is_gone_is_made_again_for_as_many_as_there_are(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    converting = Converting(aws, table())
    for number in range(9):
        body = gzip.compress(b"".join(contact(ContactId=f"c-{number}-{line}") + b"\n" for line in range(3)))
        key = f"all/contacts/contact_record/{DAY}/ctr-fanout-shardId-000000000000-{number}.ndjson.gz"
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 300)
    made = [result["key"] for result in converting.ask({"route": "all"})["results"]]
    aws.s3.delete_object(Bucket=BUCKET, Key=made[0])
    monkeypatch.setattr("routing.stored.parts._GZIPPED_BYTES", 1 << 20)
    converting.ask({"route": "all"})
    seen = [(row["_object"], row["_line"]) for key in converting.part_names() for row in converting.rows(key)]
    assert len(seen) == len(set(seen)) == 27
    assert converting.part_names() == made


def test_command_ends_where_the_function_comes_no_further() -> None:
    def stuck(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"results": [], "deleted": 0, "until": {}, "next": "contact_record/2026-03-02"}

    with pytest.raises(StackFunctionError, match="the function comes no further than contact_record/2026-03-02"):
        list(convert.slices(stuck, "all", apply=True))


def test_erasure_writes_its_receipt_whatever_becomes_of_the_columns(converting: Converting, tmp_path: Path) -> None:
    def refusing(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise StackFunctionError("the function failed; see its log")

    request = {"contact_ids": [GONE], "apply": True, "old_versions": False, "first_date": None, "last_date": None}
    receipt, text = tmp_path / "receipt.json", StringIO()
    console = Console(file=text, width=200)
    code = erase(request, converting.erase, console, stack="s", convert=refusing, routes=["all"], receipt_file=receipt)
    assert code == 1
    assert "left: columns of all: the function failed; see its log" in text.getvalue()
    assert receipt.exists()
