"""Columns on the deployed stack, where policies are enforced: the role's own grants suffice, and it uses all of them."""

from io import StringIO

from rich.console import Console

from cli.convert import CURE, FUNCTION, run
from cli.erase import FUNCTION as ERASE
from cli.erase import run as erase
from cli.stack_function import function_of
from local.deployment import STACK
from routing.lambda_event import event_of_documents
from tests.builders import contact
from tests.e2e.conftest import Stack
from tests.parquet_rows import rows_of

_GONE, _KEPT = "33333333-1111-4111-8111-111111111111", "44444444-2222-4222-8222-222222222222"
_THEN = "2026-03-01T10:00:00Z"
_PART = "countries/japan/parquet/contact_record/date=2026-03-01/0000.parquet"


def test_closed_day_is_converted_under_its_key_and_erased_from_its_columns(enforced: Stack) -> None:
    documents = [
        contact(ContactId=one, Queue={"Name": "Orders JP"}, DisconnectTimestamp=_THEN) for one in (_GONE, _KEPT)
    ]
    enforced.deliver(event_of_documents(documents))
    ask = function_of(STACK, enforced.client, FUNCTION, CURE)
    text = StringIO()
    assert run(["japan"], ask, Console(file=text, width=200), apply=True) == 0, text.getvalue()
    s3, bucket = enforced.emulator.client("s3"), enforced.deployed.bucket
    part = s3.get_object(Bucket=bucket, Key=_PART)
    assert part["SSEKMSKeyId"].endswith(enforced.deployed.key_id("japan"))
    rows = rows_of(part["Body"].read())
    assert {(row["contact_id"], row["queue_name"]) for row in rows} == {(_GONE, "Orders JP"), (_KEPT, "Orders JP")}
    assert ask({"route": "japan"})["results"] == [], "it is what it should be"
    request = {"contact_ids": [_GONE], "apply": True, "old_versions": True, "first_date": None, "last_date": None}
    erasing = function_of(STACK, enforced.client, ERASE, "")
    code = erase(request, erasing, Console(file=text, width=200), stack=STACK, convert=ask, routes=["japan"])
    assert code == 0, text.getvalue()
    versions = s3.list_object_versions(Bucket=bucket, Prefix="countries/japan/parquet/")["Versions"]
    for one in (version for version in versions if version["Key"] == _PART):
        body = s3.get_object(Bucket=bucket, Key=_PART, VersionId=one["VersionId"])["Body"].read()
        assert [row["contact_id"] for row in rows_of(body)] == [_KEPT]
