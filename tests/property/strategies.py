"""Strategies that the laws share: JSON values, and patterns that fit them."""

from typing import Any

from hypothesis import strategies as st

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
