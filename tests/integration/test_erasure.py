"""Erase one contact from everything that is delivered: by the wired function, and the command that asks it."""

import gzip
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import EndpointConnectionError
from rich.console import Console
from typer.testing import CliRunner, Result

from aws.invocation import Invocation
from cli.app import app
from cli.erase import run, search
from handlers.wiring.erase import Erase
from handlers.wiring.fan_out import FanOut
from operations.erase.request import read_erasure
from routing.errors import EventError
from routing.lambda_event import FIRST_SEQUENCE_NUMBER, event_of_documents
from routing.stored.erased_lines import contacts_of, redacted_contacts
from routing.table.routes import RouteTable
from tests.builders import ROUTES, agent_event, claim, contact, lines_in, numbered_event, segment, table
from tests.integration.conftest import BUCKET, Aws

STREAM = "arn:aws:kinesis:ap-northeast-1:111122223333:stream/ctr-fanout"
GONE, KEPT = "c-gone", "c-kept"
HASHED = '[[routes.protect]]\nhash = ["ContactId"]\n'
HIDDEN = '[[routes.protect]]\nremove = ["ContactId"]\n'


class Erasing:
    """A table, its functions, and what was delivered."""

    def __init__(self, aws: Aws, routes: RouteTable, *documents: bytes) -> None:
        self.aws = aws
        self.environment = {**aws.environment(routes), "STREAM_ARN": STREAM}
        self.deliver = FanOut(self.environment, routes)
        self.erase = Erase(self.environment, routes)
        if documents:
            self.deliver(event_of_documents(documents), invocation())

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.erase(read_erasure(dict(request)), invocation())
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return] # as Lambda passes it on

    def run(self, receipt: Path | None = None, **asked: Any) -> tuple[int, str]:
        """Run the command; return its exit code and what it printed."""
        text = StringIO()
        request = {"contact_ids": [GONE], "apply": True, "old_versions": False, "first_date": None, "last_date": None}
        console = Console(file=text, width=200)
        return run({**request, **asked}, self.ask, console, stack="s", receipt_file=receipt), text.getvalue()

    def metadata(self, key: str) -> dict[str, str]:
        found: dict[str, str] = self.aws.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
        return found


def invocation() -> Invocation:
    return Invocation("invocation-1", lambda: 600.0)


def with_rules(rules: str) -> RouteTable:
    return table(ROUTES.replace('prefix = "claims"\n', f'prefix = "claims"\n{rules}'))


def put(aws: Aws, key: str, body: bytes) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


@pytest.fixture
def erasing(aws: Aws) -> Erasing:
    return Erasing(
        aws,
        table(),
        claim(ContactId=GONE, n=1.50),
        claim(ContactId=KEPT, n=1.50),
        agent_event(CurrentAgentSnapshot={"Contacts": [{"ContactId": GONE}, {"ContactId": KEPT}]}),
        segment(ContactId=GONE),
        contact(ContactId=KEPT, PreviousContactId=GONE),
        b"\xff" + GONE.encode(),
        b"\xff",
    )


def test_rehearsal_tells_and_changes_nothing(erasing: Erasing) -> None:
    before = erasing.aws.lines()
    code, text = erasing.run(apply=False)
    assert code == 0
    assert "would be erased" in text
    assert "nothing was changed" in text
    assert "would be erased; --apply does it" in text
    assert erasing.aws.lines() == before


def test_contact_goes_from_every_route_and_the_others_stay_byte_for_byte(erasing: Erasing) -> None:
    before = erasing.aws.lines()
    code, text = erasing.run()
    assert code == 0, text
    after = erasing.aws.lines()
    assert after.keys() == before.keys(), "names stay, so nothing is delivered again"
    left = b"\n".join(line for lines in after.values() for line in lines)
    mention = contact(ContactId=KEPT, PreviousContactId=GONE)
    assert left.count(GONE.encode()) == left.count(mention) == 1
    letters = {line for key, lines in before.items() for line in lines if key.startswith("dead-letter/")}
    kept = {line for lines in before.values() for line in lines if GONE.encode() not in line} - letters | {mention}
    assert kept <= {line for lines in after.values() for line in lines}
    assert agent_event(CurrentAgentSnapshot={"Contacts": [{"ContactId": KEPT}]}) in left.splitlines()
    letters_left = [line for key, lines in after.items() for line in lines if key.startswith("dead-letter/")]
    assert [bool(json.loads(line)["rawData"]) for line in letters_left] == [False, True]
    assert "1 records of others still name a contact" in text


def test_counts_of_the_delivery_stay_and_what_is_gone_is_told_beside_them(erasing: Erasing) -> None:
    (key,) = (key for key in erasing.aws.lines() if key.startswith("claims/"))
    before = erasing.metadata(key)
    erasing.run()
    after = erasing.metadata(key)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"plain-crc32", "fencing-token", "erased-count"}
    assert (after["record-count"], after["erased-count"]) == ("2", "1")
    assert int(after["fencing-token"]) > int(before["fencing-token"])


def test_object_is_put_again_under_its_key(erasing: Erasing) -> None:
    heads = {key: erasing.aws.s3.head_object(Bucket=BUCKET, Key=key) for key in erasing.aws.lines()}
    erasing.run()
    for key, head in heads.items():
        assert erasing.aws.s3.head_object(Bucket=BUCKET, Key=key)["SSEKMSKeyId"] == head["SSEKMSKeyId"]


def test_twice_is_once(erasing: Erasing) -> None:
    erasing.run()
    before = {key: erasing.metadata(key) for key in erasing.aws.lines()}
    code, text = erasing.run()
    assert (code, "objects" in text.splitlines()[2]) == (0, False), text
    assert {key: erasing.metadata(key) for key in erasing.aws.lines()} == before


def test_batch_that_comes_again_brings_nothing_back(erasing: Erasing) -> None:
    erasing.run()
    before = erasing.aws.lines()
    erasing.deliver(event_of_documents([claim(ContactId=GONE, n=1.50)]), invocation())
    assert erasing.aws.lines() == before


def test_object_that_is_written_meanwhile_is_not_overwritten(erasing: Erasing) -> None:
    (key,) = (key for key in erasing.aws.lines() if key.startswith("claims/"))

    def write_meanwhile(params: dict[str, Any], **_: Any) -> None:
        if params["headers"].get("If-Match") and unquote(params["url_path"]).endswith(key):
            put(erasing.aws, key, gzip.compress(claim(ContactId=GONE, n="newer")))

    erasing.erase._s3.meta.events.register("before-call.s3.PutObject", write_meanwhile)
    code, text = erasing.run()
    assert code == 1
    assert f"left: {key}: route 'claims': it was written meanwhile; erase again" in text
    assert erasing.aws.lines()[key] == [claim(ContactId=GONE, n="newer")]


def test_object_whose_batch_is_still_being_tried_is_left_and_told(aws: Aws) -> None:
    """The next try would put what it has rendered before: the contact would come back."""
    erasing = Erasing(aws, table())
    calls: list[str] = []

    def refuse_the_commit(params: dict[str, Any], **_: Any) -> None:
        calls.append(params["url_path"])
        if len(calls) == 3:  # the claim, the names that are about to be put, the commit
            raise EndpointConnectionError(endpoint_url="dynamodb")

    dynamodb = erasing.deliver._dynamodb
    dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", refuse_the_commit)
    answer = erasing.deliver(event_of_documents([claim(ContactId=GONE)]), invocation())
    assert answer["batchItemFailures"]
    before = aws.lines()
    assert any(GONE.encode() in line for lines in before.values() for line in lines)
    code, text = erasing.run()
    assert code == 1
    assert "its batch is still being tried; erase again when it is settled" in text
    assert aws.lines() == before


def test_one_that_cannot_be_opened_is_told_and_the_others_go_on(erasing: Erasing) -> None:
    put(erasing.aws, "claims/contact_record/date=2026-03-02/x.ndjson.gz", b"no gzip")
    code, text = erasing.run()
    assert code == 1
    assert "x.ndjson.gz: expected what ctr-fanout or Lambda puts here, got BadGzipFile; look at it by hand" in text
    assert not any(GONE.encode() in line for key, lines in erasing_lines(erasing) for line in lines if "claims" in key)


def erasing_lines(erasing: Erasing) -> list[tuple[str, list[bytes]]]:
    keys = [entry["Key"] for entry in erasing.aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    bodies = {key: erasing.aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    return [(key, lines_in(body)) for key, body in bodies.items() if body != b"no gzip"]


def test_name_that_the_routes_do_not_make_is_left_and_told(erasing: Erasing) -> None:
    put(erasing.aws, "claims/by-hand.gz", gzip.compress(claim(ContactId=GONE)))
    code, text = erasing.run()
    assert code == 1
    assert "left: claims/by-hand.gz: the deployed routes make no such name; deal with it by hand" in text


def test_batch_that_lambda_gave_up_on_has_to_be_replayed_first(erasing: Erasing) -> None:
    event = event_of_documents([claim(ContactId=GONE)])
    put(erasing.aws, "aws/lambda/m/s/2026/03/02/x", json.dumps({"payload": json.dumps(event)}).encode())
    put(erasing.aws, "aws/lambda/m/s/2026/03/02/y", json.dumps({"payload": None}).encode())
    code, text = erasing.run()
    assert code == 1
    assert "left: aws/lambda/m/s/2026/03/02/x: a batch that Lambda gave up on holds it; replay it" in text
    assert "2026/03/02/y" not in text


def test_token_of_the_contact_is_found_where_its_id_is_hashed(aws: Aws) -> None:
    erasing = Erasing(aws, with_rules(HASHED), claim(ContactId=GONE), claim(ContactId=KEPT))
    code, text = erasing.run()
    assert code == 0, text
    (key,) = (key for key in aws.lines() if key.startswith("claims/"))
    assert len(aws.lines()[key]) == 1


def test_route_that_hides_whose_a_record_is_is_told(aws: Aws) -> None:
    erasing = Erasing(aws, with_rules(HIDDEN), claim(ContactId=GONE))
    _, text = erasing.run()
    assert "route claims: its rules hide the contact id of a record; no contact's records can be found there" in text


@pytest.mark.parametrize("is_asked", [True, False])
def test_old_versions_go_where_that_is_asked(aws: Aws, is_asked: bool) -> None:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    erasing = Erasing(aws, table(), claim(ContactId=GONE), claim(ContactId=KEPT))
    (key,) = (key for key in aws.lines() if key.startswith("claims/"))
    old = gzip.compress(claim(ContactId=GONE, n="old"))
    current = aws.s3.get_object(Bucket=BUCKET, Key=key)
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=old)
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=current["Body"].read(), Metadata=current["Metadata"])
    code, text = erasing.run(old_versions=is_asked)
    assert code == 0, text
    versions = aws.s3.list_object_versions(Bucket=BUCKET, Prefix="claims/")["Versions"]
    bodies = [aws.s3.get_object(Bucket=BUCKET, Key=key, VersionId=one["VersionId"])["Body"].read() for one in versions]
    holding = [body for body in bodies if GONE.encode() in gzip.decompress(body)]
    assert len(holding) == (0 if is_asked else 3)
    assert ("old versions stay until" in text) is not is_asked


def test_only_the_dates_that_are_asked_for_are_searched(erasing: Erasing) -> None:
    before = erasing.aws.lines()
    code, printed = erasing.run(first_date="2099-01-01")
    assert (code, printed.splitlines()[-1]) == (1, "nothing was searched: there is no object between these dates")
    assert erasing.aws.lines() == before
    assert erasing.run(first_date="2020-01-01", last_date="2099-12-31")[0] == 0
    assert erasing.aws.lines() != before


def test_slices_go_on_where_one_ended(erasing: Erasing) -> None:
    for number in range(20):
        document = claim(ContactId=GONE, n=number)
        erasing.deliver(numbered_event([(FIRST_SEQUENCE_NUMBER + 10**9 + number, document)]), invocation())
    done, after, searched = 0, None, 0
    while True:
        answer = erasing.ask({"contact_ids": [GONE], "apply": True, "limit": 1, "after": after})
        done, after, searched = done + 1, answer["next"], searched + answer["scanned"]
        if after is None:
            break
    assert done > 2
    assert searched == len(erasing.aws.lines())
    assert erasing.run()[0] == 0
    assert not any(claim(ContactId=GONE, n=n) in lines for n in range(20) for lines in erasing.aws.lines().values())


def test_receipt_says_what_was_done_and_holds_no_record(erasing: Erasing, tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    code, _ = erasing.run(file)
    receipt = json.loads(file.read_text())
    assert code == 0
    assert (receipt["contactIds"], receipt["applied"], receipt["objectsSearched"]) == (
        [GONE],
        True,
        len(erasing.aws.lines()),
    )
    assert sum(result.get("records", 0) for result in receipt["objects"]) == 4
    assert sum(result.get("entries", 0) for result in receipt["objects"]) == 1
    assert KEPT not in file.read_text()


def test_many_contacts_go_in_one_walk_and_the_receipt_says_which_were_there(aws: Aws, tmp_path: Path) -> None:
    there = [f"00000000-0000-4000-8000-{n:012}" for n in range(300)]
    erasing = Erasing(aws, with_rules(HASHED), *(claim(ContactId=one) for one in there), claim(ContactId=KEPT))
    absent = [f"ffffffff-ffff-4fff-8fff-{n:012}" for n in range(9700)]
    file = tmp_path / "receipt.json"
    code, text = erasing.run(file, contact_ids=there + absent)
    assert code == 0, text
    assert "of 300 of 10000 contacts" in text.splitlines()[-1]
    left = [line for lines in aws.lines().values() for line in lines]
    assert len(left) == 2, "of each route the one that stays"
    receipt = json.loads(file.read_text())
    assert receipt["notFound"] == absent


def test_customer_is_erased_by_what_identifies_them_or_its_token(aws: Aws) -> None:
    rules = '[[routes.protect]]\nhash = ["CustomerId", "CustomerEndpoint.Address"]\n'
    mine = {"CustomerId": "cust-7", "CustomerEndpoint": {"Address": "+81300004410"}}
    other = {"CustomerId": "cust-8", "CustomerEndpoint": {"Address": "+81300004411"}}
    erasing = Erasing(
        aws,
        with_rules(rules),
        claim(ContactId="c-by-id", CustomerId="cust-7"),
        claim(ContactId="c-by-address", CustomerEndpoint={"Address": "+81300004410", "Type": "TELEPHONE_NUMBER"}),
        claim(ContactId="c-both", **mine),
        claim(ContactId="c-other", **other, Attributes={"note": "cust-7 called"}),
        segment(ContactId="c-both"),
    )
    console = Console(file=StringIO(), width=200)
    found = search({"customers": ["cust-7", "+81300004410"]}, erasing.ask, console).contacts
    assert found == ["c-both", "c-by-address", "c-by-id"]
    assert erasing.run(contact_ids=found)[0] == 0
    left = {json.loads(line)["ContactId"] for lines in aws.lines().values() for line in lines}
    assert left == {"c-other"}
    assert search({"customers": ["cust-7", "+81300004410"]}, erasing.ask, console).contacts == []


def test_route_that_shows_no_customer_is_told_and_others_still_lead_to_the_contact(aws: Aws) -> None:
    rules = '[[routes.protect]]\nseal = ["CustomerId", "CustomerEndpoint"]\n'
    erasing = Erasing(aws, with_rules(rules), claim(ContactId="c-1", CustomerId="cust-7"))
    text = StringIO()
    assert search({"customers": ["cust-7"]}, erasing.ask, Console(file=text, width=200)).contacts == ["c-1"]
    assert (
        "route claims: its rules hide what is searched for, or whose a record is; contacts that only this route has are not found"
        in text.getvalue()
    )
    assert "cust-7" not in text.getvalue()
    assert erasing.run(contact_ids=["c-1"])[0] == 0
    assert [line for lines in aws.lines().values() for line in lines] == []


@pytest.mark.parametrize(
    "rule", ['mask = ["ContactId"]\ntext = "hidden"', 'mask = ["ContactId"]\nlast = 4', 'hash = ["ContactId"]']
)
def test_route_that_shows_another_id_than_the_contacts_own_leads_to_nobody(aws: Aws, rule: str) -> None:
    mine, other = claim(ContactId="contact-1", CustomerId="p1"), claim(ContactId="contact-2", CustomerId="p2")
    erasing = Erasing(aws, with_rules(f"[[routes.protect]]\n{rule}\n"), mine, other)
    text = StringIO()
    searched = search({"customers": ["p1"]}, erasing.ask, Console(file=text, width=200))
    assert searched.contacts == ["contact-1"], "of the other route"
    assert searched.blind == ("claims",)
    assert searched.is_whole
    erasing.run(contact_ids=searched.contacts)
    assert other in {line for lines in aws.lines().values() for line in lines}


def test_id_that_a_route_shows_for_every_contact_erases_nobody(aws: Aws) -> None:
    rule = '[[routes.protect]]\nmask = ["ContactId"]\ntext = "hidden"\n'
    erasing = Erasing(aws, with_rules(rule), claim(ContactId="contact-1"), claim(ContactId="contact-2"))
    before = aws.lines()
    with pytest.raises(EventError, match="one of them is what route 'claims' shows instead of every contact's id"):
        erasing.ask({"contact_ids": ["contact-1", "hidden"], "apply": True})
    assert aws.lines() == before


def test_contacts_of_a_customer_are_kept_before_anything_goes(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasing = Erasing(
        aws, table(), claim(ContactId="c-1", CustomerId="p1"), segment(ContactId="c-1"), claim(ContactId=KEPT)
    )
    monkeypatch.setattr("cli.record_commands.session_of", lambda *_: aws)
    people, receipt = tmp_path / "people", tmp_path / "receipt.json"
    people.write_text("p1\n")

    def asked(*arguments: str) -> Result:
        monkeypatch.setattr("cli.stack_function.function_of", lambda *_: erasing.ask)
        monkeypatch.setattr("cli.stack_function.function_if_any", lambda *_: None)
        return CliRunner().invoke(app, ["erase", *arguments])

    monkeypatch.setattr(Aws, "client", None, raising=False)
    done = asked("--customer", str(people))
    assert (done.exit_code, "would be erased" in done.output) == (0, True), done.output
    put(aws, "speech/broken.ndjson.gz", b"no gzip")
    done = asked("--customer", str(people), "--apply", "--receipt", str(receipt))
    kept = tmp_path / "receipt.json.contacts"
    assert kept.read_text() == "c-1\n"
    assert f"to go on after a failure: --contacts {kept}" in done.output
    assert done.exit_code == 1, "an object could not be searched"
    assert "p1" not in done.output.replace(str(people), "")
    aws.s3.delete_object(Bucket=BUCKET, Key="speech/broken.ndjson.gz")
    done = asked("--contacts", str(kept), "--apply", "--receipt", str(tmp_path / "second.json"))
    assert done.exit_code == 0, done.output
    assert {line for lines in aws.lines().values() for line in lines} == {claim(ContactId=KEPT)}


def test_search_that_cannot_read_an_object_is_not_whole(erasing: Erasing) -> None:
    put(erasing.aws, next(key for key in erasing.aws.lines() if key.startswith("claims/")), b"no gzip")
    searched = search({"customers": ["p1"]}, erasing.ask, Console(file=StringIO()))
    assert (searched.contacts, searched.is_whole, len(searched.unsearched)) == ([], False, 1)


def test_customer_with_characters_that_json_escapes_is_found() -> None:
    line = rb'{"ContactId":"c-1","CustomerId":"crm\/77","CustomerEndpoint":{"Address":"\"a b\"@example.com"}}'
    assert [*contacts_of([line], ["crm/77"])] == [*contacts_of([line], ['"a b"@example.com'])] == ["c-1"]
    redacted = rb'{"ContactId":"c-1","SegmentAttributes":{"connect\u003aRedactedFields":{"ValueString":"x"}}}'
    assert [*redacted_contacts([redacted])] == ["c-1"]


def test_old_version_that_only_mentions_a_contact_stays(aws: Aws) -> None:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    erasing = Erasing(aws, table(), claim(ContactId=KEPT, PreviousContactId=GONE))
    for key, lines in erasing.aws.lines().items():
        put(aws, key, gzip.compress(b"\n".join(lines)))
    before = len(aws.s3.list_object_versions(Bucket=BUCKET)["Versions"])
    erasing.run(old_versions=True)
    assert len(aws.s3.list_object_versions(Bucket=BUCKET)["Versions"]) == before


def test_what_was_delivered_before_connect_redacted_a_contact_goes_and_the_redacted_record_stays(aws: Aws) -> None:
    redacted = {"SegmentAttributes": {"connect:RedactedFields": {"ValueString": "CustomerEndpoint"}}}
    after = claim(ContactId="c-1", CustomerEndpoint=None, **redacted)
    erasing = Erasing(
        aws,
        table(),
        claim(ContactId="c-1", CustomerEndpoint={"Address": "x"}),
        after,
        claim(ContactId=KEPT),
        segment(ContactId="c-1"),
    )
    found = search({"redacted": True}, erasing.ask, Console(file=StringIO())).contacts
    assert found == ["c-1"]
    assert erasing.run(contact_ids=found, keep_redacted=True)[0] == 0
    left = [line for lines in aws.lines().values() for line in lines]
    assert sorted(left) == sorted([after, claim(ContactId=KEPT)] * 2)
    assert erasing.run(contact_ids=found, keep_redacted=True)[1].splitlines()[-1].startswith("nothing of this contact")


def test_log_does_not_tell_whose_records_went(erasing: Erasing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ctr-fanout")  # whatever level another test has left
    erasing.run()
    (record,) = (record for record in caplog.records if record.message == "erase")
    printed = json.dumps(vars(record), default=str)
    assert GONE not in printed


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"contact_ids": [""]}, "contact_ids[0]: expected 1 to 256 letters, digits, '-' or '_', got 0 characters"),
        (
            {"contact_ids": [GONE, "c 1"]},
            "contact_ids[1]: expected 1 to 256 letters, digits, '-' or '_', got 3 characters",
        ),
        ({"contact_ids": ["x"] * 10_001}, "contact_ids: expected at most 10000, got 10001"),
        ({"contact_ids": [GONE], "customers": ["x"]}, "expected one of contact_ids, customers and redacted"),
        ({"customers": [""]}, "customers[0]: expected 1 to 512 characters, got 0"),
        ({"customers": ["x"] * 101}, "customers: expected at most 100, got 101"),
        ({"customers": ["x"], "apply": True}, "apply: expected contact_ids; a search changes nothing"),
        (
            {"contact_ids": [GONE], "first_date": "yesterday"},
            "first_date: expected a date like 2026-03-01, got 9 characters",
        ),
        ({"contact_ids": [GONE], "limit": 0}, "limit: expected 1 to 10000, got 0"),
        ({"contact_ids": [GONE], "all": True}, "erase: Object contains unknown field `all`"),
        ({}, "expected one of contact_ids, customers and redacted"),
    ],
)
def test_request_that_makes_no_sense_is_refused_clearly(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(EventError) as caught:
        read_erasure(asked)
    assert message in str(caught.value)
