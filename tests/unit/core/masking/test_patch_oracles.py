from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.masking.built_in import built_in_rules
from narrowgate.core.masking.patch_oracles import refused_operation
from narrowgate.core.masking.resource_plan import HeldMask, plan_for


def refused(resource: str, *operations: Any, group: str = "") -> str:
    rules = built_in_rules(group, resource)
    return refused_operation([*operations], plan_for(group, resource, tuple(map(HeldMask, rules))))


ENV = "/spec/template/spec/containers/0/env/0"


@pytest.mark.parametrize(
    ("resource", "operation", "said"),
    [
        ("secrets", {"op": "test", "path": "/data/password", "value": "aHVudGVyMg=="}, "a test of"),
        ("secrets", {"op": "test", "path": "/data", "value": {"password": "aHVudGVyMg=="}}, "a test of"),
        ("secrets", {"op": "test", "path": "", "value": {}}, "a test of"),
        ("secrets", {"op": "copy", "from": "/data/password", "path": "/metadata/annotations/x"}, "write the value out"),
        ("secrets", {"op": "move", "from": "/data/a~1b", "path": "/metadata/labels/x"}, "write the value out"),
        ("secrets", {"op": "copy", "from": "", "path": "/metadata/labels"}, "write the value out"),
        ("pods", {"op": "copy", "from": "/metadata/annotations/x", "path": "/spec/nodeName"}, "write the value out"),
        ("pods", {"op": "copy", "from": "/metadata", "path": "/spec/nodeName"}, "write the value out"),
        ("events", {"op": "test", "path": "/message", "value": "the password=guess was wrong"}, "a test of"),
    ],
)
def test_a_patch_that_would_tell_what_is_masked_is_refused(resource: str, operation: Any, said: str) -> None:
    assert said in refused(resource, {"op": "add", "path": "/metadata/labels/a", "value": "b"}, operation)
    assert "operation 1" in refused(resource, {"op": "remove", "path": "/x"}, operation)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": f"{ENV}/value", "value": "guess"},
        {"op": "test", "path": ENV, "value": {"name": "PASSWORD", "value": "guess"}},
        {"op": "copy", "from": f"{ENV}/value", "path": "/spec/template/spec/containers/0/image"},
        {"op": "move", "from": ENV, "path": "/spec/template/spec/nodeSelector"},
        {"op": "copy", "from": "/spec", "path": "/metadata/labels"},
        {"op": "replace", "path": f"{ENV}/name", "value": "PORT"},
        {"op": "add", "path": f"{ENV}/name", "value": "PORT"},
        {"op": "copy", "from": f"{ENV}/-1/value".replace("/0/-1", "/-1"), "path": "/metadata/labels/x"},
    ],
)
def test_an_environment_variable_can_neither_be_guessed_nor_moved_nor_renamed(operation: Any) -> None:
    assert refused("deployments", operation, group="apps") != ""


@pytest.mark.parametrize(
    ("resource", "operation"),
    [
        ("secrets", {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}),
        ("secrets", {"op": "test", "path": "/type", "value": "Opaque"}),
        ("secrets", {"op": "replace", "path": "/data/password", "value": "bmV3"}),
        ("secrets", {"op": "remove", "path": "/data/password"}),
        ("secrets", {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/b"}),
        ("events", {"op": "test", "path": "/message", "value": "Started container"}),
        ("pods", {"op": "replace", "path": "/metadata/name", "value": "x"}),
        ("pods", {"op": "odd", "path": 7}),
        ("pods", "no operation"),
    ],
)
def test_any_other_patch_may_go(resource: str, operation: Any) -> None:
    assert refused(resource, operation) == ""


def test_where_nothing_is_masked_nothing_is_refused() -> None:
    assert refused_operation([{"op": "test", "path": "/data", "value": {}}], None) == ""
    assert refused("leases", {"op": "copy", "from": "/spec", "path": "/metadata"}, group="coordination.k8s.io") == ""
    assert refused_operation({"op": "test"}, plan_for("", "secrets", (HeldMask("narrowgate/secret-data"),))) == ""


def test_a_pointer_without_end_leads_to_what_is_masked() -> None:
    pointer = "/spec/x" + "/0" * 500
    assert refused("widgets", {"op": "copy", "from": pointer, "path": "/x"}, group="example.com") != ""
