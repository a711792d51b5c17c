"""A schedule: what happens in which order, drawn from a seed.

Each schedule draws which kinds of trouble it knows, so that some meet one kind often instead of all a little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from routing.table.routes import RouteTable
from tests.faults.tables import (
    CHANGED,
    FOLDERS,
    NEW_CODE,
    PROTECTED,
    PROTECTED_CHANGED,
    PROTECTED_NEW_CODE,
    PROTECTED_RENAMED,
    RENAMED,
    REPARTITIONED,
    SMALL,
    TABLE,
)
from tests.faults.world import CONTACTS, Poller, World

FAMILIES = (
    "kill", "slow", "fail", "keys", "bucket", "table", "restart", "second poller", "reshard", "skew", "deploy",
    "give up", "age", "destination", "replay", "vault", "rename", "code", "erase", "md5", "restore", "crowd", "forge",
    "redeliver", "expire",
)  # fmt: skip
_TICKS = (3, 28)
_WITH_COLUMNS = 0.01


@dataclass
class Schedule:
    """One run of a world, and what it found."""

    seed: int
    families: tuple[str, ...]
    world: World

    def __str__(self) -> str:
        """Return what replays it."""
        return f"seed {self.seed} ({', '.join(self.families)})"


def run(seed: int, *, has_checkpoint: bool = True, families: tuple[str, ...] | None = None) -> Schedule:
    """Run one schedule to its end: trouble first, then calm, then the replays that an operator would run.

    Args:
        seed: The same one makes the same schedule.
        has_checkpoint: False delivers at least once.
        families: Kinds of trouble to know; by default drawn.
    """
    random = Random(seed)
    drawn = tuple(name for name in FAMILIES if random.random() < random.choice((0.1, 0.4, 0.8)))
    # Beside the others, so that a seed draws of them what it has always drawn.
    drawn += ("columns",) if Random(f"{seed} columns").random() < _WITH_COLUMNS else ()
    families = drawn if families is None else families
    world = World(
        random,
        has_checkpoint=has_checkpoint,
        table=_first_table(random, families),
        etags_tell_content="md5" in families,
    )
    world.has_columns = "columns" in families
    world.seconds_a_request = 2.0 if "crowd" in families else 0.01
    first = world.poller(
        retries=random.choice((0, 1, 3)) if "give up" in families else None,
        max_age_seconds=300 if "age" in families else None,
    )
    pollers = [first]
    world.skew = 200.0 if "skew" in families else 0.0
    world.is_destination_down = "destination" in families and random.random() < 0.5
    world.troubles = _troubles(world, families, pollers)
    actions = _actions(world, families, pollers)
    world.produce(random.randint(1, 8))
    for _ in range(random.randint(*_TICKS)):
        random.choice(actions)()
        world.clock += random.choice((0.1, 5.0, 40.0, 90.0))
        world.land_late_puts(0.15)
    world.heal()
    for poller in pollers[:1]:
        world.drain(poller)
    world.seconds_a_request = 0.01
    world.land_late_puts(1.0)
    _replay_all(world, families)
    if "redeliver" in families:
        world.restart(first)
        world.drain(first)
        _replay_all(world, families)
    if "erase" in families:
        _erase(world, first, families)
    if world.has_columns:
        world.land_late_puts(1.0)
        world.clock += 1000
        assert world.convert(), "calm, and still not all columns"
        assert not world.wrong_columns(), world.wrong_columns()
    return Schedule(seed, families, world)


def _troubles(world: World, families: tuple[str, ...], pollers: list[Poller]) -> list[Callable[[], None]]:
    """Return what may happen between two steps of an invocation."""
    return [
        trouble
        for name, trouble in (
            ("kill", world.kill),
            ("kill", world.kill),
            ("slow", world.be_slow),
            ("fail", world.fail_once),
            ("fail", world.fail_once),
            ("keys", world.switch_key),
            ("bucket", world.switch_bucket),
            ("table", world.switch_table),
            ("vault", world.switch_vault),
            ("deploy", lambda: world.deploy(_tables(families))),
            ("rename", lambda: world.deploy(PROTECTED_RENAMED if "vault" in families else RENAMED)),
            ("code", lambda: world.deploy(PROTECTED_NEW_CODE if "vault" in families else NEW_CODE)),
            ("forge", world.forge),
            ("restore", world.back_up),
            ("second poller", lambda: _poll_any(world, pollers)),
            ("restart", lambda: world.restart(pollers[0])),
            ("replay", lambda: _try_to_replay(world)),
            ("columns", lambda: _try(world.convert_one)),
        )
        if name in families
    ]


def _actions(world: World, families: tuple[str, ...], pollers: list[Poller]) -> list[Callable[[], object]]:
    """Return what may happen between two invocations."""
    # What Lambda could not hand over is in the stream only; of an expired shard nobody can tell what is forged.
    may_expire = {"destination", "forge"}.isdisjoint(families)
    named: list[tuple[str, Callable[[], object]]] = [
        ("restart", lambda: world.restart(pollers[0])),
        ("second poller", lambda: pollers.append(world.poller(retries=pollers[0].mapping.retries))),
        ("second poller", lambda: pollers.pop() if len(pollers) > 1 else None),
        ("reshard", world.reshard),
        ("keys", world.switch_key),
        ("bucket", world.switch_bucket),
        ("table", world.switch_table),
        ("vault", world.switch_vault),
        ("deploy", lambda: world.deploy(_tables(families))),
        ("rename", lambda: world.deploy(PROTECTED_RENAMED if "vault" in families else RENAMED)),
        ("code", lambda: world.deploy(PROTECTED_NEW_CODE if "vault" in families else NEW_CODE)),
        ("forge", world.forge),
        ("restore", world.back_up),
        ("restore", world.restore),
        ("expire", lambda: world.expire(pollers[0]) if may_expire else None),
        ("erase", lambda: _try(lambda: world.erase(f"contact-{world.random.randrange(CONTACTS)}"))),
        ("age", lambda: setattr(world, "clock", world.clock + 200)),
        ("replay", lambda: _try_to_replay(world)),
        ("columns", lambda: _try(world.convert_one)),
        ("columns", lambda: _try(world.convert)),
    ]
    polls: list[Callable[[], object]] = [lambda: _poll_any(world, pollers)] * 6
    return [
        *polls,
        lambda: world.produce(world.random.randint(1, 6)),
        *(act for name, act in named if name in families),
    ]


def _first_table(random: Random, families: tuple[str, ...]) -> RouteTable:
    small = FOLDERS if {"deploy", "rename", "code"}.isdisjoint(families) else SMALL
    return PROTECTED if "vault" in families else random.choice((TABLE, TABLE, small))


def _tables(families: tuple[str, ...]) -> list[RouteTable]:
    if "vault" in families:
        return [PROTECTED, *PROTECTED_CHANGED]
    # A restored row knows nothing of a route that was not deployed when it was recovered (ADR 5).
    changed = CHANGED if "restore" not in families else [one for one in CHANGED if one.names == TABLE.names]
    is_replayed = not {"give up", "age", "destination", "replay", "erase", "restore"}.isdisjoint(families)
    return [TABLE, *changed, *([] if is_replayed else [REPARTITIONED])]


def _poll_any(world: World, pollers: list[Poller]) -> None:
    world.poll(world.random.choice(pollers))


def _try_to_replay(world: World) -> None:
    """An operator starts a replay in the middle of it all; it may be killed, too."""
    _try(lambda: world.replay(stream=world.random.random() < 0.3))


def _try(operation: Callable[[], object]) -> None:
    try:
        operation()
    except BaseException as err:
        if type(err).__name__ not in {"Killed", "Crash", "ClientError", "CheckpointError", "DeliveryError"}:
            raise


def _replay_all(world: World, families: tuple[str, ...]) -> None:
    """Replay, more than once: twice is once. The stream only for what Lambda could not hand over."""
    records = not {"code", "erase"}.isdisjoint(families)
    for _ in range(3):
        world.clock += 4000 if records else 1000
        world.replay(stream="destination" in families, is_settled=True, records=records)


def _erase(world: World, poller: Poller, families: tuple[str, ...]) -> None:
    """Erase a contact; once the erasure says that it is done, nothing brings the contact back.

    But for the stream, from which other routes take what they have never had.
    """
    contact_id = f"contact-{world.random.randrange(CONTACTS)}"
    if not world.erase(contact_id):
        return
    world.erased.add(contact_id)
    has_same_routes = {"deploy", "rename", "code"}.isdisjoint(families)
    if has_same_routes:
        world.restart(poller)
        world.drain(poller)
    world.replay(stream=has_same_routes, records=True)
