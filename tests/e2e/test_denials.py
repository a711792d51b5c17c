"""One grant taken away at a time, live: what the design says must happen, happens, and nothing is lost."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli.replay import Replay, function_of
from local.connect import ConnectStandIn
from local.deployment import STACK
from local.event_source import EventSource
from local.people import CONNECT
from local.reconcile import Reconciliation
from routing import layout
from tests.e2e.conftest import Stack

_COUNT = 300
_HARMLESS = {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}  # a policy may not be empty


def nothing(_done: int) -> None:
    """Show no progress."""


@contextmanager
def without(stack: Stack, logical_id: str, sid: str) -> Iterator[None]:
    """Take one statement out of a key policy or a managed policy, and put it back."""
    physical = stack.deployed.resources[logical_id]
    if logical_id.endswith("Key"):
        kms = stack.emulator.client("kms")
        policy = kms.get_key_policy(KeyId=physical, PolicyName="default")["Policy"]
        kms.put_key_policy(KeyId=physical, PolicyName="default", Policy=_without(policy, sid))
        try:
            yield
        finally:
            kms.put_key_policy(KeyId=physical, PolicyName="default", Policy=policy)
        return
    iam = stack.emulator.client("iam")
    version = iam.get_policy(PolicyArn=physical)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=physical, VersionId=version)["PolicyVersion"]["Document"]
    policy = json.dumps(document)
    _set_policy(iam, physical, _without(policy, sid))
    try:
        yield
    finally:
        _set_policy(iam, physical, policy)


def _set_policy(iam: Any, arn: str, document: str) -> None:
    """Make a version the default; the emulator cannot switch back to an older one."""
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


def _without(policy: str, sid: str) -> str:
    document = json.loads(policy)
    kept = [statement for statement in document["Statement"] if statement.get("Sid") != sid]
    assert len(kept) == len(document["Statement"]) - 1, f"no statement {sid}"
    return json.dumps({**document, "Statement": kept or [_HARMLESS]})


class Run:
    """One batch of traffic into the stream of a stack, delivered as Lambda would."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sent: list[bytes] = []

    def send(self) -> None:
        stack = self.stack
        connect = ConnectStandIn(stack.emulator, stack.deployed.stream, seed=len(self.sent), role=CONNECT)
        self.sent += connect.send(_COUNT, nothing)

    def deliver(self) -> None:
        EventSource(self.stack.emulator.client, self.stack.deployed.mapping).drain(nothing)

    def result(self) -> Reconciliation:
        return self.stack.reconcile(self.sent)

    def lines(self) -> Counter[str]:
        return Counter({found.route: 0 for found in self.stack.objects()}) + Counter(
            found.route for found in self.stack.objects() for _ in found.lines
        )


@pytest.fixture
def run(enforced: Stack) -> Run:
    """Begin with an empty bucket and a stream of its own, since what one test leaves would be read by the next."""
    kinesis = enforced.emulator.client("kinesis")
    name = enforced.deployed.stream
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=336)
    key = enforced.key("stream")
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key)
    run = Run(enforced)
    run.send()
    return run


def test_with_every_grant_everything_arrives(run: Run) -> None:
    run.deliver()
    assert run.result().holds, str(run.result())
    assert run.result().delivered > _COUNT


def test_without_its_statement_connect_can_put_nothing(run: Run) -> None:
    """Trap 1. On AWS Connect would not even say so."""
    with without(run.stack, "StreamKey", "ConnectEncrypts"), pytest.raises(ClientError) as refused:
        run.send()
    assert "kms:GenerateDataKey" in str(refused.value)
    run.send()
    run.deliver()
    assert run.result().holds, str(run.result())


def test_with_the_streams_key_disabled_nothing_goes_in_or_out_and_nothing_is_lost(run: Run) -> None:
    kms, key = run.stack.emulator.client("kms"), run.stack.key("stream")
    kms.disable_key(KeyId=key)
    try:
        with pytest.raises(ClientError) as refused:
            run.deliver()
        with pytest.raises(ClientError):
            run.send()
    finally:
        kms.enable_key(KeyId=key)
    assert "DisabledException" in str(refused.value)
    run.deliver()
    assert run.result().holds, str(run.result())


def test_without_the_right_to_look_what_comes_again_waits_as_a_dead_letter(run: Run) -> None:
    """A batch that is sent again meets its own objects; no shard stands still for it."""
    run.deliver()
    forget_checkpoint(run.stack)
    with (
        without(run.stack, "WriterPolicy1", "ReadObjectMetadata"),
        without(run.stack, "WriterPolicy2", "ReadObjectMetadata"),
    ):
        run.deliver()
    reasons = {key.split("/")[2] for key in waiting(run.stack)}
    assert reasons, "nothing waits"
    assert run.lines()["orders"] == expected_lines(run)["orders"]


@pytest.mark.parametrize(("where", "sid"), [("WriterPolicy1", "OrdersPut")])
def test_without_the_right_to_put_a_route_the_others_go_on(run: Run, where: str, sid: str) -> None:
    with without(run.stack, where, sid):
        run.deliver()
    assert run.lines()["orders"] == 0
    assert run.lines()["analytics"] == expected_lines(run)["analytics"]
    assert len(replay(run.stack, "dead-letters")) > 0
    assert run.result().holds, str(run.result())


def test_without_the_right_to_read_the_stream_nothing_is_lost(run: Run) -> None:
    with without(run.stack, "StreamConsumerPolicy", "ReadTheStream"), pytest.raises(ClientError):
        run.deliver()
    run.deliver()
    assert run.result().holds, str(run.result())


@pytest.mark.parametrize(
    ("where", "sid"), [("StreamConsumerPolicy", "DecryptTheStream"), ("StreamKey", "ConsumersDecrypt")]
)
def test_without_the_streams_key_nothing_is_read_and_nothing_lost(run: Run, where: str, sid: str) -> None:
    with without(run.stack, where, sid), pytest.raises(ClientError) as refused:
        run.deliver()
    assert "kms:Decrypt" in str(refused.value)
    assert run.stack.objects() == []
    run.deliver()
    assert run.result().holds, str(run.result())


@pytest.mark.parametrize(("where", "sid"), [("OrdersKey", "WritersEncrypt"), ("WriterPolicy1", "OrdersEncrypt")])
def test_without_one_routes_key_the_others_go_on_and_its_objects_wait(run: Run, where: str, sid: str) -> None:
    whole = expected_lines(run)
    with without(run.stack, where, sid):
        run.deliver()
    standing = run.lines()
    assert standing["orders"] == 0
    assert {name: standing[name] for name in whole if name not in {"orders", "dead-letter"}} == {
        name: count for name, count in whole.items() if name not in {"orders", "dead-letter"}
    }
    assert len(replay(run.stack, "dead-letters")) > 0
    assert run.lines()["orders"] == whole["orders"]
    assert run.result().holds, str(run.result())


def test_with_a_disabled_key_the_others_go_on_and_its_objects_wait(run: Run) -> None:
    kms, key = run.stack.emulator.client("kms"), run.stack.key("orders")
    kms.disable_key(KeyId=key)
    try:
        run.deliver()
    finally:
        kms.enable_key(KeyId=key)
    assert run.lines()["orders"] == 0
    assert run.lines()["analytics"] > 0
    assert len(replay(run.stack, "dead-letters")) > 0
    assert run.result().holds, str(run.result())


@pytest.mark.parametrize(
    ("where", "sid"),
    [
        ("WriterPolicy1", "AnalyticsSeal"),
        ("AnalyticsSealKey", "WritersSeal"),
        ("WriterPolicy1", "MakeTokens"),
        ("HashKey", "WritersMakeTokens"),
    ],
)
def test_without_a_key_of_protection_nothing_is_delivered_unprotected_and_the_others_go_on(
    run: Run, where: str, sid: str
) -> None:
    with without(run.stack, where, sid):
        run.deliver()
        assert run.lines()["analytics"] == 0
        assert run.lines()["orders"] == expected_lines(run)["orders"]
    assert len(replay(run.stack, "dead-letters")) > 0
    assert run.result().holds, str(run.result())
    assert run.lines()["analytics"] == expected_lines(run)["analytics"]


def test_without_the_checkpoint_table_nothing_is_put_and_nothing_lost(run: Run) -> None:
    with without(run.stack, "FunctionPolicy", "WriteCheckpoint"):
        run.deliver()
    assert {found.key.split("/")[0] for found in run.stack.objects()} == {"aws"}, "Lambda has given up"
    assert sum(result["records"] for result in replay(run.stack, "on-failure")) > 0
    assert run.result().holds, str(run.result())


@pytest.mark.parametrize(
    ("where", "sid"), [("DeadLetterKey", "FunctionEncrypts"), ("FunctionPolicy", "DeadLetterEncrypt")]
)
def test_without_the_dead_letter_key_what_lambda_discards_is_replayed_from_the_stream(
    run: Run, where: str, sid: str
) -> None:
    """Poison has nowhere to go, and Lambda cannot hand over what it gives up on: the stream still has it."""
    with without(run.stack, where, sid):
        run.deliver()
    assert run.lines()["dead-letter"] == 0
    assert run.result().lost > 0
    replay(run.stack, "stream", is_settled=True)
    assert run.result().holds, str(run.result())


def test_grant_check_names_the_route_whose_grant_is_gone(run: Run) -> None:
    functions = run.stack.emulator.client("lambda")

    def checked() -> Any:
        answer = functions.invoke(FunctionName=run.stack.deployed.resources["GrantCheckFunction"], Payload=b"{}")
        return json.loads(answer["Payload"].read())

    # On the emulator the mapping is always off: our own event source takes its place.
    assert checked() == {"stream": "MappingDisabled"}
    assert checked() == {"stream": "MappingDisabled"}, "it replaces its own object the second time"
    with without(run.stack, "BillingKey", "WritersEncrypt"):
        assert checked() == {"billing": "KmsKeyAccessDenied", "stream": "MappingDisabled"}
    with without(run.stack, "FunctionPolicy", "PutFailedBatches"):
        assert checked() == {"on-failure": "AccessDenied", "stream": "MappingDisabled"}
    with without(run.stack, "FunctionPolicy", "WriteCheckpoint"):
        assert checked() == {"checkpoint": "CheckpointUnavailable", "stream": "MappingDisabled"}
    with without(run.stack, "MappingStatePolicy", "ReadMapping"):
        assert checked() == {"stream": "MappingUnknown"}


def expected_lines(run: Run) -> Counter[str]:
    """Return how many lines each route would get with every grant."""
    result: Counter[str] = Counter()
    from routing.lambda_event import event_of_documents  # noqa: PLC0415
    from routing.stages.decode import Decoder  # noqa: PLC0415

    decoder = Decoder(run.stack.table.paths)
    for document in run.sent:
        _, (record,) = decoder.decode(event_of_documents([document]))
        result.update(route.name for route in run.stack.table.routes_for(record))
    return result


def forget_checkpoint(stack: Stack) -> None:
    """Lose the watermarks, so that everything is delivered once more."""
    dynamodb, table = stack.emulator.client("dynamodb"), stack.deployed.resources["CheckpointTable"]
    for row in dynamodb.scan(TableName=table)["Items"]:
        dynamodb.delete_item(TableName=table, Key={"shard": row["shard"]})


def waiting(stack: Stack) -> list[str]:
    """Return the keys of rendered objects that wait among the dead letters."""
    listed = stack.emulator.client("s3").list_objects_v2(
        Bucket=stack.deployed.bucket, Prefix=f"{layout.DEAD_LETTER_PREFIX}/objects/"
    )
    return [entry["Key"] for entry in listed.get("Contents", [])]


def replay(stack: Stack, source: str, **asked: Any) -> list[Mapping[str, Any]]:
    """Replay with the stack's function, as `ctr-fanout replay SOURCE --apply` does; return what it did."""
    ask = function_of(STACK, stack.client)
    slices = Replay({"source": source, "apply": True, **asked}).slices(ask)
    things = [result for done in slices for result in done["results"]]
    left = [result["key"] for result in things if result["blocked_by"]]
    assert all(key.startswith("dead-letter/records/") for key in left), left
    return [result for result in things if not result["blocked_by"]]
