"""JSON patches where they are kept: masked by their paths, left out in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import ANYWHERE, MaskChoice, masks_for_record
from narrowgate.core.masking.masked_value import ValueMasker, is_masked
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.operations import LEFT_OUT, masked_operations

CONTAINER = "/spec/template/spec/containers/0"


def masker_of(group: str, resource: str) -> ObjectMasker:
    plan = MaskChoice(group, resource, (masks_for_record((), (group, resource)),)).plan(ANYWHERE)
    assert plan is not None
    return ObjectMasker(plan, ValueMasker(bytes(32)), {}, are_parts=True)


def kept(path: str, value: Any, group: str = "apps", resource: str = "deployments", op: str = "replace") -> Any:
    (operation,) = masked_operations([{"op": op, "path": path, "value": value}], masker_of(group, resource))
    assert (operation["op"], operation["path"]) == (op, path)
    return operation["value"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/spec/replicas", 3),
        (f"{CONTAINER}/image", "nginx:1"),
        ("/metadata/annotations/team", "red"),
        (f"{CONTAINER}/args", ["--verbose", "yes"]),
        (f"{CONTAINER}/env/-", {"name": "PLACE", "value": "here"}),
    ],
)
def test_what_is_no_secret_is_kept_as_it_is(path: str, value: Any) -> None:
    assert kept(path, value) == value


@pytest.mark.parametrize("op", ["add", "replace", "test"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CONTAINER}/env/0/value", "hush"),
        (f"{CONTAINER}/env/-/value", "hush"),
        ("/metadata/annotations/example.com~1password", "hush"),
    ],
)
def test_what_may_be_a_secret_by_what_stands_beside_it_is_masked(op: str, path: str, value: Any) -> None:
    assert is_masked(kept(path, value, op=op).encode())


def test_an_argument_whose_flag_is_not_shown_is_left_out() -> None:
    assert kept(f"{CONTAINER}/args/1", "hush") == LEFT_OUT
    assert kept(f"{CONTAINER}/command/-", "hush") == LEFT_OUT


def test_values_within_what_is_added_are_masked_by_their_own_names() -> None:
    shown = kept(f"{CONTAINER}/env/-", {"name": "DB_PASSWORD", "value": "hush"})
    assert shown["name"] == "DB_PASSWORD"
    assert is_masked(shown["value"].encode())
    whole = kept("", {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "TOKEN", "value": "hush"}]}]}}}})
    assert "hush" not in str(whole)


def test_all_below_a_hidden_place_is_left_out() -> None:
    assert kept("/data/anything", "aHVzaA==", "", "secrets") != "aHVzaA=="
    assert "aHVzaA==" not in str(kept("/data", {"a": "aHVzaA=="}, "", "secrets"))


def test_a_key_that_looks_like_a_place_in_a_list_is_both() -> None:
    assert kept("/data/0", "plain", "", "configmaps") == "plain"
    assert is_masked(kept("/data/password", "hush", "", "configmaps").encode())


def test_operations_that_show_no_value_stay() -> None:
    patch = [{"op": "remove", "path": "/spec"}, {"op": "move", "from": "/a", "path": "/b"}]
    assert masked_operations(patch, masker_of("apps", "deployments")) == patch


@pytest.mark.parametrize("patch", ["text", [1], [["x"]]])
def test_what_is_no_operation_is_left_out(patch: Any) -> None:
    assert masked_operations(patch, masker_of("apps", "deployments")) == [LEFT_OUT]


def test_what_has_no_path_is_refused() -> None:
    with pytest.raises(Malformed):
        masked_operations([{"op": "add", "value": "hush"}], masker_of("apps", "deployments"))
