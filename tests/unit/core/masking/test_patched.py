"""What a patch makes of an object as it is shown, and as it is."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
from narrowgate.core.masking.patched import (
    COSTLY_LIMIT,
    Lists,
    apply_merge,
    apply_operations,
    merge_may_show,
    operations_may_show,
)
from narrowgate.core.masking.write_back import There

TOKEN = ValueMasker(b"k" * KEY_BYTES).of("narrowgate/env", b"hunter2")


def of(value: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "a"},
        "data": {"password": value, "plain": "x"},
        "spec": {"args": ["--password", value, "--name", "b"], "env": [{"name": "A", "value": value}, {"name": "B"}]},
    }


THERE = There(of(TOKEN), of("hunter2"))


def test_operations_put_back_what_is_in_their_place() -> None:
    patched = apply_operations(
        [
            {"op": "replace", "path": "/data/password", "value": TOKEN},
            {"op": "add", "path": "/data", "value": {"password": TOKEN, "other": "y"}},
            {"op": "replace", "path": "/spec/env/0", "value": {"name": "A", "value": TOKEN}},
            {"op": "replace", "path": "/spec/env/-2/value", "value": TOKEN},
        ],
        THERE,
    )
    assert (patched.problem, patched.left) == ("", ())
    assert [operation["value"] for operation in patched.patch] == [
        "hunter2",
        {"password": "hunter2", "other": "y"},
        {"name": "A", "value": "hunter2"},
        "hunter2",
    ]
    assert patched.result.now["data"] == {"password": "hunter2", "other": "y"}
    assert patched.result.shown["data"] == {"password": TOKEN, "other": "y"}


def test_all_of_the_object_may_be_written() -> None:
    patched = apply_operations([{"op": "replace", "path": "", "value": of(TOKEN)}], THERE)
    assert patched.patch[0]["value"] == of("hunter2")


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"op": "add", "path": "/data/copy", "value": TOKEN}, "data.copy"),
        ({"op": "add", "path": "/spec/env/-", "value": {"name": "A", "value": TOKEN}}, "spec.env[-].value"),
        ({"op": "add", "path": "/spec/env/0", "value": {"name": "A", "value": TOKEN}}, "spec.env[0].value"),
        ({"op": "replace", "path": "/spec/env/0", "value": {"name": "C", "value": TOKEN}}, "spec.env[0].value"),
        ({"op": "test", "path": "/data/plain", "value": TOKEN}, "data.plain"),
    ],
)
def test_operations_elsewhere_put_nothing_back(operation: dict[str, Any], field: str) -> None:
    patched = apply_operations([operation], THERE)
    assert [one.field for one in patched.left] == [field]
    assert "hunter2" not in str(patched.patch)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/password", "value": "hunter2"},
        {"op": "test", "path": "/data/password", "value": "wrong"},
        {"op": "test", "path": "/data", "value": {}},
        {"op": "test", "path": "", "value": of("hunter2")},
        {"op": "copy", "from": "/data/password", "path": "/data/copy"},
        {"op": "move", "from": "/data", "path": "/metadata/annotations"},
        {"op": "copy", "from": "", "path": "/metadata/annotations"},
        {"op": "test", "path": "/spec/env/-2/value", "value": "hunter2"},
    ],
)
def test_what_asks_or_takes_what_is_masked_is_a_problem_whatever_it_guesses(operation: dict[str, Any]) -> None:
    patched = apply_operations([operation], THERE)
    assert "it is masked" in patched.problem
    assert "hunter2" not in patched.problem + patched.field


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/none"},
        {"op": "replace", "path": "/data/none", "value": 1},
        {"op": "add", "path": "/none/below", "value": 1},
        {"op": "add", "path": "/spec/args/9", "value": 1},
        {"op": "add", "path": "/spec/args/x", "value": 1},
        {"op": "remove", "path": "/metadata/name/x"},
        {"op": "copy", "from": "/none", "path": "/x"},
        {"op": "add", "path": "/metadata/name/x", "value": 1},
        {"op": "replace", "path": "/spec/args/-", "value": 1},
    ],
)
def test_what_cannot_be_followed_is_a_problem(operation: dict[str, Any]) -> None:
    assert "leads to where nothing is" in apply_operations([operation], THERE).problem


def test_what_is_not_masked_may_be_tested_moved_and_removed() -> None:
    patched = apply_operations(
        [
            {"op": "test", "path": "/data/plain", "value": "x"},
            {"op": "move", "from": "/data/plain", "path": "/data/moved"},
            {"op": "copy", "from": "/metadata", "path": "/copy"},
            {"op": "remove", "path": "/spec/env/1"},
            {"op": "remove", "path": "/spec/args/0"},
            {"op": "add", "path": "/spec/args/-", "value": "end"},
        ],
        THERE,
    )
    assert patched.problem == ""
    assert patched.result.now["data"] == {"password": "hunter2", "moved": "x"}
    assert patched.result.now["copy"] == {"name": "a"}
    assert patched.result.now["spec"]["args"] == ["hunter2", "--name", "b", "end"]
    assert patched.result.shown["spec"]["args"] == [TOKEN, "--name", "b", "end"]


def test_the_objects_stay_what_they_were() -> None:
    apply_operations([{"op": "remove", "path": "/data"}, {"op": "add", "path": "/spec/args/0", "value": 1}], THERE)
    assert (THERE.shown, THERE.now) == (of(TOKEN), of("hunter2"))


def test_a_patch_asks_and_copies_no_more_than_can_be_followed() -> None:
    tests = [{"op": "test", "path": "/data/plain", "value": "x"}] * (COSTLY_LIMIT + 1)
    assert str(COSTLY_LIMIT) in apply_operations(tests, THERE).problem
    doubling = [{"op": "add", "path": "/a", "value": "x" * 1000}]
    doubling += [{"op": "copy", "from": "/a", "path": f"/a{n}"} for n in range(3)]
    nested = [
        {"op": "add", "path": "/a", "value": {"x": "x" * 100_000}},
        *({"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(20)),
    ]
    assert apply_operations(doubling, THERE).problem == ""
    assert "copies more than" in apply_operations(nested, THERE).problem


def test_a_merge_puts_back_what_is_in_its_place() -> None:
    patched = apply_merge({"data": {"password": TOKEN, "plain": None}}, THERE, whole_lists=True)
    assert patched.patch == {"data": {"password": "hunter2", "plain": None}}
    assert patched.result.now["data"] == {"password": "hunter2"}
    assert patched.left == ()


def test_a_merge_elsewhere_puts_nothing_back() -> None:
    patched = apply_merge({"data": {"copy": TOKEN}}, THERE, whole_lists=True)
    assert [one.field for one in patched.left] == ["data.copy"]


def test_lists_are_replaced_or_merged() -> None:
    patch = {"spec": {"env": [{"name": "A", "more": 1}, {"name": "C"}], "args": ["x"]}}
    whole = apply_merge(patch, THERE, whole_lists=True).result.now["spec"]
    assert whole == patch["spec"]
    merged = apply_merge(patch, THERE, whole_lists=False).result.now["spec"]
    assert merged == {
        "env": [{"name": "A", "value": "hunter2", "more": 1}, {"name": "B"}, {"name": "C"}],
        "args": ["x"],
    }


def test_an_element_is_merged_with_any_that_it_could_be_about() -> None:
    there = There({"list": [{"id": 1, "name": "A", "value": TOKEN}]}, {"list": [{"id": 1, "name": "A", "value": "s"}]})
    result = apply_merge({"list": [{"id": 1, "name": "LABEL"}]}, there, whole_lists=False).result
    assert result.now == {"list": [{"id": 1, "name": "LABEL", "value": "s"}]}


@pytest.mark.parametrize("directive", ["$deleteFromPrimitiveList/args", "$setElementOrder/args"])
def test_directives_about_a_masked_list_are_a_problem(directive: str) -> None:
    patched = apply_merge({"spec": {directive: ["--password"]}}, THERE, whole_lists=False)
    assert (patched.problem, patched.field) == ("it is masked, and its elements cannot be moved", "spec.args")
    within = There({"list": [{"name": "a"} | of(TOKEN)]}, {"list": [{"name": "a"} | of("hunter2")]})
    patched = apply_merge({"list": [{"name": "a", "spec": {directive: []}}]}, within, whole_lists=False)
    assert patched.field == "list[0].spec.args"


def test_directives_about_named_elements_are_none() -> None:
    patch = {"spec": {"$setElementOrder/env": [{"name": "A"}], "env": [{"$patch": "delete", "name": "B"}]}}
    assert apply_merge(patch, THERE, whole_lists=False).problem == ""


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ({"op": "add", "path": "/metadata/labels/a", "value": "b"}, False),
        ({"op": "replace", "path": "/spec/replicas", "value": 1}, False),
        ({"op": "remove", "path": "/data/password"}, False),
        ({"op": "test", "path": "/spec/replicas", "value": 1}, True),
        ({"op": "copy", "from": "/a", "path": "/b"}, True),
        ({"op": "move", "from": "/a", "path": "/b"}, True),
        ({"op": "replace", "path": "/spec/env/0/name", "value": "x"}, True),
        ({"op": "replace", "path": "/spec/parameter/name", "value": "x"}, True),
        ({"op": "replace", "path": "/spec/manifest/kind", "value": "x"}, True),
        ({"op": "remove", "path": "/spec/args/0"}, True),
        ({"op": "add", "path": "/spec/args/-", "value": "x"}, True),
    ],
)
def test_operations_are_looked_at_that_could_have_something_shown(operation: dict[str, Any], answer: bool) -> None:
    assert operations_may_show([operation]) is answer


@pytest.mark.parametrize(
    ("patch", "answers"),
    [
        ({"kind": "X", "metadata": {"name": "a", "ownerReferences": [{"kind": "Y"}]}}, (False, False, False)),
        ({"spec": {"replicas": 1}, "data": {"a": "b"}}, (False, False, False)),
        ({"spec": {"manifest": {"kind": "Other"}}}, (True, True, True)),
        ({"spec": {"parameter": {"name": "x"}}}, (True, True, True)),
        ({"spec": {"env": [{"name": "A", "value": "x"}]}}, (False, False, True)),
        ({"spec": {"env": [{"kind": "A"}]}}, (False, True, True)),
        ({"spec": {"$setElementOrder/env": [{"name": "A"}]}}, (False, False, True)),
        ({"spec": {"$setElementOrder/args": ["A"]}}, (True, True, True)),
        ({"$deleteFromPrimitiveList/args": ["A"]}, (True, True, True)),
        (None, (False, False, False)),
    ],
)
def test_merges_are_looked_at_that_could_have_something_shown(patch: Any, answers: tuple[bool, ...]) -> None:
    assert tuple(merge_may_show(patch, lists) for lists in Lists) == answers
