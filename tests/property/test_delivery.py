"""The laws of delivery: whatever happens between Lambda and S3, every record stands once per route."""

import json
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ROUTES, lines_in, table
from tests.property.strategies import streams
from tests.property.world import World

TABLE = table()
SMALL_LIMITS = table(ROUTES + "[limits]\nrecords = 3\n")


@given(documents=streams(), seed=st.integers(0, 2**32), trouble=st.integers(0, 14))
def test_nothing_is_lost_and_nothing_stands_twice(documents: list[bytes], seed: int, trouble: int) -> None:
    """Crashes before and after every step, throttles, late puts, moved cuts, restarts anywhere earlier."""
    world = World(documents, TABLE, Random(seed))
    world.run(troubled_invocations=trouble)
    assert world.standing() == world.expected()


@given(documents=streams(), seed=st.integers(0, 2**32), trouble=st.integers(0, 14))
def test_nothing_is_lost_and_nothing_stands_twice_with_several_commits(
    documents: list[bytes], seed: int, trouble: int
) -> None:
    """The same where an invocation has to commit several segments."""
    world = World(documents, SMALL_LIMITS, Random(seed))
    world.run(troubled_invocations=trouble)
    assert world.standing() == world.expected()


@given(documents=streams(), seed=st.integers(0, 2**32), trouble=st.integers(0, 14))
def test_watermarks_never_go_back(documents: list[bytes], seed: int, trouble: int) -> None:
    world = World(documents, TABLE, Random(seed))
    world.run(troubled_invocations=trouble)
    for earlier, later in zip(world.commits, world.commits[1:], strict=False):
        assert all(later[route] >= position for route, position in earlier.items())


@given(documents=streams(), seed=st.integers(0, 2**32), trouble=st.integers(0, 14))
def test_order_inside_an_object_is_the_streams(documents: list[bytes], seed: int, trouble: int) -> None:
    world = World(documents, TABLE, Random(seed))
    world.run(troubled_invocations=trouble)
    for key, put in world.s3.objects.items():
        if not key.startswith("dead-letter/"):
            numbers = [json.loads(line)["n"] for line in lines_in(put["Body"])]
            assert numbers == sorted(numbers)


@given(documents=streams())
def test_same_stream_makes_the_same_objects(documents: list[bytes]) -> None:
    """Names and bytes are a function of the records; invocations, clocks and claims leave no trace."""
    worlds = [World(documents, TABLE, Random(0)) for _ in range(2)]
    for calls, world in enumerate(worlds):
        world.random.seed(7)
        world._invocations = calls * 100
        world.run(troubled_invocations=0)
    first, second = ({key: put["Body"] for key, put in world.s3.objects.items()} for world in worlds)
    assert first == second


@given(documents=streams(), seed=st.integers(0, 2**32))
def test_every_object_stands_under_the_key_of_its_prefix(documents: list[bytes], seed: int) -> None:
    world = World(documents, TABLE, Random(seed))
    world.run(troubled_invocations=3)
    keys = {f"key-of-{route.name}": f"{route.prefix}/" for route in TABLE.all_routes}
    for key, put in world.s3.objects.items():
        assert key.startswith(keys[put["SSEKMSKeyId"]])
