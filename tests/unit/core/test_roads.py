"""Roads around the gate in pods, templates, accounts and namespaces, each planted by itself."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.account_rights import HeldRight
from narrowgate.core.agent_bundle import Bundle, Way, bundle_objects
from narrowgate.core.rights import Right
from narrowgate.core.roads import (
    Kind,
    PodsLike,
    Road,
    roads_of_account,
    roads_of_namespace,
    roads_of_pods,
    roads_of_volume,
)


def pods(*, runs: bool = True, annotations: Any = None, labels: Any = None, **spec: Any) -> PodsLike:
    return PodsLike(
        where="pod web", labels=labels or {}, annotations=annotations or {}, spec=spec, account="default", runs=runs
    )


def roads(one: PodsLike, *, automounts: bool = False) -> list[Road]:
    return list(roads_of_pods(one, "gate", automounts))


def kinds(found: list[Road]) -> set[Kind]:
    return {road.kind for road in found}


def token(**source: Any) -> dict[str, Any]:
    return {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", **source}}]}}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({}, "a token of account default for the API server (volume t, mounted by main)"),
        ({"audience": ""}, "for the API server"),
        ({"audience": "vault"}, "a token for vault"),
        ({"audience": "gate"}, ""),
    ],
)
def test_a_token_that_is_not_for_the_gate_is_a_road(source: dict[str, Any], said: str) -> None:
    container = {"name": "main", "volumeMounts": [{"name": "t", "mountPath": "/x"}]}
    found = roads(pods(volumes=[token(**source)], containers=[container]))
    assert [said in road.found for road in found] == ([True] if said else [])


def test_where_the_gates_audience_is_not_known_every_token_is_a_road() -> None:
    assert kinds(list(roads_of_pods(pods(volumes=[token(audience="gate")]), "", automounts=False))) == {Kind.TOKENS}


@pytest.mark.parametrize(
    ("says", "automounts", "is_road"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_a_template_mounts_what_it_says_and_else_what_its_account_says(
    says: bool | None, automounts: bool, is_road: bool
) -> None:
    spec = {} if says is None else {"automountServiceAccountToken": says}
    assert (kinds(roads(pods(runs=False, **spec), automounts=automounts)) == {Kind.TOKENS}) is is_road
    # A pod that runs shows it by its volumes.
    assert roads(pods(**spec), automounts=automounts) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"ephemeralContainers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]}, "hostPath"),
        ({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}, "control plane (nodeSelector)"),
        ({"tolerations": [{"key": "node-role.kubernetes.io/master"}]}, "control plane (toleration of"),
        ({"tolerations": [{"operator": "Exists"}]}, "toleration of every taint"),
    ],
)
def test_more_of_the_node_than_a_container_should_have_is_a_road(spec: dict[str, Any], said: str) -> None:
    (road,) = roads(pods(**spec))
    assert (road.kind, said in road.found) == (Kind.NODES, True), road.found


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/var/run/docker.sock", "socket"),
        ("/run/containerd/containerd.sock", "socket"),
        ("/run", "socket"),
        ("/", "kubelet"),
        ("/var", "kubelet"),
        ("/var/lib/kubelet/pods", "kubelet"),
        ("/etc/kubernetes/", "kubelet"),
        ("/data", ""),
        ("/var/lib/kubelet-of-mine", ""),
    ],
)
def test_what_lies_at_a_path_of_the_node_is_told(path: str, what: str) -> None:
    found = [road.found for road in roads(pods(volumes=[{"name": "v", "hostPath": {"path": path}}]))]
    assert len(found) == (2 if what else 1)
    assert what in found[-1]
    volume = {"spec": {"hostPath": {"path": path}, "claimRef": {"name": "c"}}}
    assert len(list(roads_of_volume(volume))) == (1 if what else 0)


def test_taints_that_controllers_tolerate_by_name_are_no_choice_of_nodes() -> None:
    usual = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    assert roads(pods(tolerations=[usual])) == []


@pytest.mark.parametrize(
    "given",
    [
        {"annotations": {"iam.amazonaws.com/role": "x"}},
        {"labels": {"azure.workload.identity/use": "true"}},
        {"containers": [{"name": "c", "env": [{"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "x"}]}]},
    ],
)
def test_an_identity_of_a_cloud_is_a_road(given: dict[str, Any]) -> None:
    assert kinds(roads(pods(**given))) == {Kind.CLOUDS}


def test_a_registrys_credential_is_a_doubt() -> None:
    (road,) = roads(pods(imagePullSecrets=[{"name": "registry"}]))
    assert (road.is_doubt, road.kind) == (True, Kind.CREDENTIALS)


def test_an_account_is_a_road_by_its_rights_its_tokens_and_its_cloud() -> None:
    held = HeldRight(Right("get", "", "secrets"), "ci", "RoleBinding ci/x")
    plain = {"metadata": {"name": "a"}, "automountServiceAccountToken": False}
    assert list(roads_of_account(plain, ())) == []
    (road,) = roads_of_account(plain, (held,) * 5)
    assert road.found.startswith("may, at the API server itself: get secrets in ci (RoleBinding ci/x); ")
    assert road.found.endswith("and 2 more")
    assert [road.kind for road in roads_of_account(plain, None)] == [Kind.RIGHTS]
    assert [road.kind for road in roads_of_account({"metadata": {"name": "a"}}, ())] == [Kind.TOKENS]
    annotated = {"metadata": {"name": "a", "annotations": {"eks.amazonaws.com/role-arn": "arn"}}, **plain}
    annotated["metadata"] = {"name": "a", "annotations": {"eks.amazonaws.com/role-arn": "arn"}}
    assert [road.kind for road in roads_of_account(annotated, ())] == [Kind.CLOUDS]


@pytest.mark.parametrize(("level", "is_road"), [("restricted", 0), ("baseline", 0), ("privileged", 1), (None, 1)])
def test_a_namespace_that_takes_any_pod_is_a_road(level: str | None, is_road: int) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level} if level else {}
    assert len(list(roads_of_namespace({"metadata": {"name": "ci", "labels": labels}}))) == is_road


def test_what_the_bundle_makes_has_none() -> None:
    way = Way(host="10.0.0.5", port=8443, to=("10.0.0.5/32",), to_port=8443)
    made = Bundle(cluster="c", namespace="n", account="a", audience="gate", authority="PEM", way=way)
    for one in bundle_objects(made):
        match one["kind"]:
            case "ServiceAccount":
                assert list(roads_of_account(one, ())) == []
            case "Namespace":
                assert list(roads_of_namespace(one)) == []
            case "PodTemplate":
                assert roads(pods(runs=False, **one["template"]["spec"]), automounts=True) == []


def test_objects_of_any_shape_are_looked_at_without_a_fault() -> None:
    for wrong in ("x", 1, None, [1], {"a": 1}):
        odd = pods(volumes=wrong, containers=wrong, tolerations=wrong, nodeSelector=wrong, imagePullSecrets=wrong)
        assert isinstance(roads(odd), list)
        assert list(roads_of_account({"metadata": wrong, "automountServiceAccountToken": False}, ())) == []
        assert len(list(roads_of_namespace({"metadata": wrong}))) == 1
