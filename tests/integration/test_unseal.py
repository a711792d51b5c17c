"""Seal by the wired function, unseal by the command: byte for byte, or not at all."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from typer.testing import CliRunner

from aws.invocation import Invocation
from cli.app import app
from routing.lambda_event import event_of_documents
from tests.builders import ROUTES, claim, contact, table
from tests.integration.conftest import BUCKET, Aws

PROTECTED = table(
    ROUTES.replace('prefix = "claims"\n', 'prefix = "claims"\n[[routes.protect]]\nseal = ["Queue", "Attributes.*"]\n')
)
DOCUMENTS = [
    claim(ContactId="c-1", n=1, Attributes={"phone": "+81312345678", "名前": "太郎"}),
    b'{"AWSContactTraceRecordFormatVersion":"1", "ContactId":"c-2",  "Queue":{"Name":"Claims"}, "n":1.50}',
    claim(ContactId="c-3", n=123456789012345678901234567890),
]


@pytest.fixture
def sealed(aws: Aws, invocation: Invocation, monkeypatch: pytest.MonkeyPatch) -> str:
    """Deliver sealed records; return the key of their object."""
    monkeypatch.setenv("AWS_REGION", "ap-northeast-1")
    aws.fan_out(PROTECTED)(event_of_documents([*DOCUMENTS, contact()]), invocation)
    (key,) = (key for key in aws.lines() if key.startswith("claims/"))
    return key


def unseal(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["unseal", *arguments])


def test_what_is_sealed_cannot_be_seen(aws: Aws, sealed: str) -> None:
    stored = b"\n".join(aws.lines()[sealed])
    assert b"+81312345678" not in stored
    assert b"Claims" not in stored
    assert [sorted(json.loads(line)) for line in aws.lines()[sealed]][1] == [
        "AWSContactTraceRecordFormatVersion", "ContactId", "_sealed", "n",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["object", "prefix", "bucket"])
def test_records_are_restored_byte_for_byte(aws: Aws, sealed: str, where: str, tmp_path: Path) -> None:
    source = {"object": sealed, "prefix": "claims/", "bucket": ""}[where]
    done = unseal(f"s3://{BUCKET}/{source}", "--to", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert (tmp_path / sealed.removesuffix(".gz")).read_bytes().splitlines() == DOCUMENTS
    assert "3 of them unsealed" in done.output


def test_columns_beside_the_lines_are_left_out(aws: Aws, sealed: str, tmp_path: Path) -> None:
    below = "claims/parquet/contact_record"
    copy = tmp_path / "copy"
    for name, body in ((f"{below}/until/day.txt", b"2026-03-02\n"), (f"{below}/date=2026-03-02/0000.parquet", b"PAR1")):
        aws.s3.put_object(Bucket=BUCKET, Key=name, Body=body)
    for name in (sealed, f"{below}/until/day.txt", f"{below}/date=2026-03-02/0000.parquet"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(aws.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read())
    for number, source in enumerate((f"s3://{BUCKET}/claims/", str(copy))):
        done = unseal(source, "--to", str(tmp_path / str(number)))
        assert done.exit_code == 0, done.output
        assert "1 objects, 3 records, 3 of them unsealed" in done.output
    assert "expected objects with lines, found none" in unseal(f"s3://{BUCKET}/{below}/").output


def test_nothing_is_overwritten(aws: Aws, sealed: str, tmp_path: Path) -> None:
    for expected in (0, 1):
        assert unseal(f"s3://{BUCKET}/{sealed}", "--to", str(tmp_path)).exit_code == expected
    file = tmp_path / "in" / "x.ndjson"
    file.parent.mkdir()
    file.write_bytes(b"{}\n")
    assert "expected nothing there yet" in unseal(str(file), "--to", str(file.parent)).output
    assert file.read_bytes() == b"{}\n"


def test_file_is_unsealed_to_standard_output(aws: Aws, sealed: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson.gz"
    file.write_bytes(aws.s3.get_object(Bucket=BUCKET, Key=sealed)["Body"].read())
    done = unseal(str(file))
    assert done.exit_code == 0, done.output
    assert done.stdout_bytes.splitlines()[:3] == DOCUMENTS


def tampered(lines: list[bytes], how: str) -> list[bytes]:
    first, second = json.loads(lines[0]), json.loads(lines[1])
    match how:
        case "another contact":
            first["ContactId"] = "c-9"
        case "messages exchanged":
            first["_sealed"], second["_sealed"] = second["_sealed"], first["_sealed"]
        case "message cut":
            first["_sealed"] = first["_sealed"][:-8]
        case "no message":
            first["_sealed"] = "not base64!"
        case "other values":
            del first["n"], first["Attributes"]
    return [json.dumps(line).encode() for line in (second, first)]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("another contact", "line 2: expected the sealed message of this contact, got that of another"),
        ("messages exchanged", "line 1: expected the sealed message of this contact"),
        ("message cut", "line 2: expected a message as it was sealed"),
        ("no message", "line 2: expected base64, got 11 characters"),
        ("other values", "line 2: expected the sealed values of this record"),
        ("another stack", "line 1: expected a message of one stack, got one of another"),
    ],
)
def test_tampering_is_told_and_nothing_is_written(
    aws: Aws, sealed: str, how: str, message: str, tmp_path: Path
) -> None:
    file, target = tmp_path / "in.ndjson.gz", tmp_path / "out"
    file.write_bytes(gzip.compress(b"\n".join(tampered(aws.lines()[sealed], how))))
    of = ["--name", "other"] if how == "another stack" else []
    done = unseal(str(file), "--to", str(target), *of)
    assert done.exit_code == 1
    assert message in done.output
    assert "+81312345678" not in done.output
    assert list(target.rglob("*")) == []


def test_missing_grant_is_told_with_its_cure(
    aws: Aws, sealed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, operation: str, request: Any) -> Any:
        if operation == "Decrypt":
            raise self.exceptions.ClientError({"Error": {"Code": "AccessDeniedException"}}, operation)
        return made(self, operation, request)

    made = BaseClient._make_api_call  # type: ignore[attr-defined]
    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    done = unseal(f"s3://{BUCKET}/{sealed}", "--to", str(tmp_path))
    assert done.exit_code == 1
    assert (
        "Decrypt refused with AccessDeniedException; name this role in SealedReadersOf<Route> and deploy" in done.output
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_broken_gzip_and_nothing_at_all_are_told(aws: Aws, sealed: str, tmp_path: Path) -> None:
    body = aws.s3.get_object(Bucket=BUCKET, Key=sealed)["Body"].read()
    (tmp_path / "x.gz").write_bytes(body[:-20])
    (tmp_path / "y.gz").write_bytes(body[:20] + b"\xff" * 20 + body[40:])
    assert "reading failed with" in unseal(str(tmp_path / "y.gz"), "--to", str(tmp_path / "out")).output
    assert "reading failed with EOFError" in unseal(str(tmp_path / "x.gz"), "--to", str(tmp_path / "out")).output
    assert "expected objects with lines, found none" in unseal(f"s3://{BUCKET}/nowhere/").output
    assert "no such file or folder" in unseal(str(tmp_path / "nowhere")).output
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").rglob("*")) == []
