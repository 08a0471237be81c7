"""No change of an object goes untold, whatever is in it, and what does not change is never told."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.core.object_difference import difference

NAMES = st.sampled_from(["name", "image", "a", "port", "x.y/z", "key", ""])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from(["", "a", "a\nb", "1"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(VALUES, VALUES)
def test_every_change_is_told_and_nothing_else_is(old: Any, new: Any) -> None:
    for values in (True, False):
        told = list(difference({"spec": old}, {"spec": new}, values=values))
        assert bool(told) == (canonical(old) != canonical(new))


@given(VALUES)
def test_an_object_and_itself_do_not_differ(value: Any) -> None:
    assert list(difference({"spec": value}, {"spec": copy.deepcopy(value)}, status=True)) == []


@given(st.lists(st.sampled_from(["hush-a", "hush-b\nhush-c", "hush"]), min_size=1, max_size=4), VALUES)
def test_no_value_is_told_where_none_is_to_be(secret: list[str], value: Any) -> None:
    held = {str(number): one for number, one in enumerate(secret)}
    for old, new in (({"data": held}, {"data": value}), ({"data": value}, {"data": held}), ({}, {"data": held})):
        assert "hush" not in "\n".join(difference(old, new, values=False))
    assert "hush" not in "\n".join(difference({"l": secret}, {"l": secret[::-1]}, values=False))
