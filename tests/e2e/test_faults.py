"""One hundred schedules of faults on the deployed function: real requests, real retries, real kills."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import pytest

from aws.route_file import shipped_routes
from cli.reconcile import Range, as_lines, balances
from cli.replay import Replay, function_of
from local.deployment import STACK, deploy, mend
from local.emulator import emulator
from local.event_source import EventSource
from local.fault_proxy import Fault, Request, fault_proxy, let_claims_run_out
from local.people import role_arn
from local.reconcile import DeliveredObject
from local.traffic import Traffic
from tests.e2e.conftest import Stack

_SCHEDULES = 40
# A kill costs a cold start, so it is drawn less often.
_FAULTS: tuple[Fault, ...] = (
    "throttle", "throttle", "error", "error", "no request", "no request", "no answer", "no answer", "no answer", "slow",
    "key disabled", "key disabled", "kill", "late kill",
)  # fmt: skip


class Faults:
    """Decides what goes wrong: one request of an invocation, or all of one route for a while."""

    def __init__(self) -> None:
        self.seen = 0
        self.at: dict[int, Fault] = {}
        self.down: tuple[str, Fault] | None = None
        self.met: Counter[str] = Counter()

    def plan(self, random: Random) -> None:
        """Draw what goes wrong among the next requests."""
        self.seen = 0
        self.at = {random.randint(0, 40): random.choice(_FAULTS) for _ in range(random.randint(0, 3))}
        self.down = (
            (random.choice(("analytics", "orders", "workforce")), "key disabled") if random.random() < 0.15 else None
        )

    def calm(self) -> None:
        self.at, self.down = {}, None

    def decide(self, request: Request) -> Fault | None:
        self.seen += 1
        fault = self.at.pop(self.seen, None)
        is_down = self.down is not None and "/dead-letter/" not in request.path and f"/{self.down[0]}/" in request.path
        if fault is None and self.down and is_down and request.method == "PUT":
            fault = self.down[1]
        if fault == "key disabled" and (request.service, request.method) != ("s3", "PUT"):
            fault = "error"
        self.met[fault or "none"] += 1
        return fault


@contextmanager
def faulty() -> Iterator[tuple[Stack, Faults]]:
    """Deploy a stack whose functions reach the emulator through a proxy that decides what goes wrong."""
    faults = Faults()
    with emulator() as running, fault_proxy(running, faults.decide) as url:
        deployed = deploy(
            running,
            endpoint=url,
            ReplayOperators=role_arn("ReplayOperator"),
            MaximumRetryAttempts="12",
            BatchSize="7",
        )
        list(mend(running, deployed))
        yield Stack(running, deployed, shipped_routes()), faults


def run(stack: Stack, faults: Faults, source: EventSource, seed: int) -> list[bytes]:
    """Send some records, deliver them amid faults, then in calm."""
    random = Random(seed)
    sent = [*Traffic(seed).records(random.randint(4, 16)), b"poison %d" % seed]
    random.shuffle(sent)
    kinesis = stack.emulator.client("kinesis")
    kinesis.put_records(
        StreamName=stack.deployed.stream,
        Records=[{"Data": data, "PartitionKey": str(i)} for i, data in enumerate(sent)],
    )
    faults.plan(random)
    source.between = lambda: let_claims_run_out(stack.emulator, stack.deployed)
    source.drain()
    faults.calm()
    source.drain()
    return sent


def replay_all(stack: Stack) -> None:
    let_claims_run_out(stack.emulator, stack.deployed)
    ask = function_of(STACK, stack.client)
    for source in ("dead-letters", "on-failure"):
        for _ in Replay({"source": source, "apply": True}).slices(ask):
            let_claims_run_out(stack.emulator, stack.deployed)


def attack(stack: Stack, faults: Faults, seeds: Iterable[int]) -> None:
    """Run schedules on one stack, and reconcile."""
    source = EventSource(stack.client, stack.deployed.mapping)
    sent: list[bytes] = []
    for seed in seeds:
        sent += run(stack, faults, source, seed)
    replay_all(stack)
    result = stack.reconcile(sent, _delivered(stack))
    assert result.holds, f"after seed {seed}: {result}\n{_missing(stack)}"


@pytest.mark.timeout(6000)
def test_nothing_is_lost_and_nothing_stands_twice_on_the_emulator(bundle: None) -> None:
    """Two stacks, each with every other schedule: the machine has two cores."""
    with faulty() as (one, its_faults), faulty() as (other, others_faults), ThreadPoolExecutor(2) as threads:
        attacks = [
            threads.submit(attack, one, its_faults, range(0, _SCHEDULES, 2)),
            threads.submit(attack, other, others_faults, range(1, _SCHEDULES, 2)),
        ]
        for done in attacks:
            done.result()
    met = its_faults.met + others_faults.met
    assert all(met[fault] > 0 for fault in _FAULTS), met


def _missing(stack: Stack) -> str:
    """Return what `ctr-fanout reconcile` finds, place by place, where the stream still holds it."""
    found = balances(stack.emulator.client, stack.deployed.target, stack.table, Range())
    return "\n".join(as_lines(found))


def _delivered(stack: Stack) -> list[DeliveredObject]:
    return [found for found in stack.objects() if found.lines]
