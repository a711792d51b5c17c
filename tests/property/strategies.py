"""Strategies that the laws share: records of every kind, poison among them, and patterns that fit them."""

from typing import Any

from hypothesis import strategies as st

from tests.builders import agent_event, claim, contact, segment

_DATES = st.sampled_from(["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "never", None])


def documents(number: int, shape: str, disconnected_at: str | None) -> bytes:
    """Make a document that tells its number, so that order and identity can be seen in the output."""
    if shape == "poison":
        return b"poison %d" % number
    if shape == "other":
        return b'{"n":%d}' % number
    make = {"claim": claim, "contact": contact, "agent": agent_event, "segment": segment}[shape]
    return make(n=number, DisconnectTimestamp=disconnected_at)


@st.composite
def streams(draw: st.DrawFn, *, most: int = 12) -> list[bytes]:
    """Draw what a shard holds."""
    shapes = st.sampled_from(["claim", "contact", "contact", "agent", "segment", "other", "poison"])
    return [documents(i, draw(shapes), draw(_DATES)) for i in range(draw(st.integers(1, most)))]


scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "x", "xy", "Y", "yx"]))
names = st.sampled_from(["a", "b", "a.b"])
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3), max_leaves=8
)
json_objects = st.dictionaries(names, json_values, max_size=3)

_text = st.sampled_from(["x", "y", "xy"])
_tests = st.one_of(
    scalars,
    st.builds(lambda v: {"prefix": v}, _text),
    st.builds(lambda v: {"suffix": v}, _text),
    st.builds(lambda v: {"equals-ignore-case": v}, _text),
    st.builds(lambda v: {"wildcard": v}, st.sampled_from(["*", "x*", "*x", "x*y", "*x*"])),
    st.builds(lambda v: {"anything-but": v}, _text | st.integers(-2, 2) | st.lists(_text, min_size=1)),
    st.builds(lambda v: {"anything-but": {"prefix": v}}, _text),
    st.builds(lambda v: {"exists": v}, st.booleans()),
    st.builds(lambda v: {"numeric": [">=", v]}, st.integers(-2, 2)),
)
_leaves = st.lists(_tests, min_size=1, max_size=3)
_branches = st.recursive(
    st.dictionaries(names, _leaves, min_size=1, max_size=2),
    lambda below: st.dictionaries(names, _leaves | below, min_size=1, max_size=2),
    max_leaves=4,
)
patterns = _branches | st.builds(lambda either: {"$or": either}, st.lists(_branches, min_size=2, max_size=3))
