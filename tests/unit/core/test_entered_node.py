"""What of its node a pod has in which somebody is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deciding import asks

from narrowgate.core.entered_node import OF_NODE, rights_of_node
from narrowgate.core.pod_uses import HOST_ACCESS

EXEC = asks("create", "pods/exec", "p", namespace="ci").info


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c"}], "nodeName": "n", **spec}}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"hostPID": True}, "hostPID"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"initContainers": [{"name": "c", "securityContext": {"capabilities": {"add": ["ALL"]}}}]}, "capabilities"),
    ],
)
def test_what_is_of_the_node_is_told_as_the_right_to_make_it(spec: dict[str, Any], name: str) -> None:
    (found,) = rights_of_node(EXEC, pod(**spec))
    assert str(found) == f"use hostaccess.narrowgate.dev ({name}) in ci (pod p)"


@pytest.mark.parametrize("spec", [{}, {"hostNetwork": True}, {"volumes": [{"name": "v", "emptyDir": {}}]}])
def test_where_nothing_is_nothing_is_told(spec: dict[str, Any]) -> None:
    assert rights_of_node(EXEC, pod(**spec)) == ()


@pytest.mark.parametrize("resource", ["pods/portforward", "pods/log", "pods"])
def test_who_does_not_get_in_has_nothing_of_it(resource: str) -> None:
    assert rights_of_node(asks("create", resource, "p", namespace="ci").info, pod(hostPID=True)) == ()


@pytest.mark.parametrize("there", [None, {}, {"spec": None}, []])
def test_what_is_no_pod_has_nothing(there: Any) -> None:
    assert rights_of_node(EXEC, there) == ()


def test_each_is_one_that_rules_can_name() -> None:
    assert set(HOST_ACCESS) > OF_NODE
