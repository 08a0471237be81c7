from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.patches import OPERATIONS_LIMIT, Written, laid, written


def test_an_operation_is_laid_where_it_writes():
    patch = [
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"name": "v"}},
        {"op": "replace", "path": "/metadata/annotations/a~1b~0c", "value": "x"},
        {"op": "replace", "path": "/spec/containers/-1/image", "value": "i"},
        {"op": "replace", "path": "", "value": {"whole": True}},
    ]
    assert [laid(write) for write in written(patch)] == [
        {"spec": {"template": {"spec": {"volumes": [{"name": "v"}]}}}},
        {"metadata": {"annotations": {"a/b~c": "x"}}},
        {"spec": {"containers": [{"image": "i"}]}},
        {"whole": True},
    ]


def test_what_moves_is_not_shown_and_what_tests_or_removes_writes_nothing():
    patch = [
        {"op": "move", "from": "/a", "path": "/b"},
        {"op": "copy", "from": "/a", "path": "/c"},
        {"op": "test", "path": "/d", "value": 1},
        {"op": "remove", "path": "/e"},
    ]
    assert [*written(patch)] == [Written(("b",), None, shown=False), Written(("c",), None, shown=False)]


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ({}, "list of operations"),
        ([1], "operation 0 .* not an object"),
        ([{"op": "add", "path": "/a"}], "no value"),
        ([{"op": "add", "path": "x/a", "value": 1}], 'begin with "/"'),
        ([{"op": "add", "value": 1}], 'begin with "/"'),
        ([{"op": "add", "path": 1, "value": 1}], 'begin with "/"'),
        ([{"op": "move", "path": "/a"}], 'begin with "/"'),
        ([{"op": "move", "path": "/a", "from": "b/c"}], 'begin with "/"'),
        ([{"op": "Add", "path": "/a", "value": 1}], "none of add"),
        ([{"path": "/a", "value": 1}], "none of add"),
        ([{"op": "add", "path": "/a" * 101, "value": 1}], "more than 100 segments"),
    ],
)
def test_what_is_not_a_json_patch_is_refused(patch: Any, problem: str):
    with pytest.raises(Malformed, match=problem):
        [*written(patch)]


def test_a_patch_has_no_more_operations_than_the_api_server_takes():
    with pytest.raises(Malformed) as caught:
        [*written([{"op": "remove", "path": "/a"}] * (OPERATIONS_LIMIT + 1))]
    assert caught.value.code == 413
