"""The bundle's admission policies on a real API server.

Whoever brings a token for it is refused; whoever brings nothing is given the way to the gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.agent_place import Place, agent_place
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import SLEEP, container, yaml_of

POD_SECONDS = 120.0
COPIED = "/scratch/kubectl"
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with agent_place(cluster, direct, run_id, tmp_path_factory.mktemp("admission")) as one:
        yield one


@pytest.fixture(scope="module")
def namespace(place: Place) -> str:
    """Held by both policies; in force when one refuses."""
    name = place.namespace("admission", "--admission", "inject")
    here = place.direct.within(name)
    wrong, bare = yaml_of(pod(place, automountServiceAccountToken=True)), yaml_of(pod(place))

    def in_force() -> bool:
        refused = here("create", "--dry-run=server", "-f", "-", stdin=wrong)
        given = here("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=bare)
        return refused.code == 1 and given.code == 0 and b"KUBERNETES_SERVICE_HOST" in given.out

    place.gate.wait_until(in_force, "the API server holds the policies")
    return name


def pod(place: Place, name: str = "tried", **spec: Any) -> dict[str, Any]:
    """A pod that knows nothing of a gate: as restricted as it has to be, and a folder for kubectl."""
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    own = [{"name": "MINE", "value": "kept"}]
    main = container("main", place.cluster.image, SLEEP, securityContext=CONFINED, volumeMounts=mounts, env=own)
    first = container("first", place.cluster.image, "true", securityContext=CONFINED)
    fields = {
        "serviceAccountName": "agent",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [first],
        "containers": [main],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**fields, **spec}}


def test_a_pod_that_says_nothing_of_the_gate_comes_through_it(place: Place, namespace: str) -> None:
    here = place.direct.within(namespace)
    here.must("create", "-f", "-", stdin=yaml_of(pod(place, "bare")))
    here.must("wait", "--for=condition=Ready", "pod/bare", f"--timeout={POD_SECONDS:.0f}s")
    here.must("cp", "-c", "main", str(place.cluster.kubectl), f"{namespace}/bare:{COPIED}")
    run = ("exec", "bare", "-c", "main", "--", "env", "HOME=/scratch", "sh", "-c")
    asked = (*run, f"chmod +x {COPIED} && {COPIED} get configmaps -o name && echo mine is $MINE")
    place.gate.wait_until(lambda: here(*asked).code == 0, "the policy is in force")
    done = here(*asked)
    assert "configmap/narrowgate" in done.text
    assert "mine is kept" in done.text
    kept = json.loads(here.must("get", "pod", "bare", "-o", "json"))["spec"]
    for one in (*kept["initContainers"], *kept["containers"]):
        assert "narrowgate" in [mount["name"] for mount in one["volumeMounts"]]


def test_a_pod_without_any_volume_is_given_one(place: Place, namespace: str) -> None:
    made = pod(place, volumes=[])
    del made["spec"]["volumes"]
    del made["spec"]["containers"][0]["volumeMounts"]
    given = place.direct.within(namespace)("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=yaml_of(made))
    assert given.code == 0, given.text
    assert [one["name"] for one in json.loads(given.out)["spec"]["volumes"]] == ["narrowgate"]


@pytest.mark.parametrize(
    "spec",
    [
        {"automountServiceAccountToken": True},
        {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]},
        {"volumes": [{"name": "scratch", "projected": {"sources": [
            {"serviceAccountToken": {"path": "a", "audience": "narrowgate"}},
            {"serviceAccountToken": {"path": "b", "audience": "vault"}}]}}]},
        {"volumes": [{"name": "narrowgate", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]},
    ],
)  # fmt: skip
def test_a_token_for_anybody_else_is_refused_whoever_makes_the_pod(
    place: Place, namespace: str, spec: dict[str, Any]
) -> None:
    made = pod(place, **spec)
    made["spec"]["containers"][0].pop("volumeMounts")
    refused = place.direct.within(namespace)("create", "--dry-run=server", "-f", "-", stdin=yaml_of(made))
    assert (refused.code, "have tokens for narrowgate alone" in refused.text) == (1, True), refused.text


def test_secrets_that_become_tokens_are_refused_and_others_are_not(place: Place, namespace: str) -> None:
    metadata = {"name": "s", "annotations": {"kubernetes.io/service-account.name": "agent"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/service-account-token"}
    here = place.direct.within(namespace)
    asked = ("create", "--dry-run=server", "-f", "-")

    def refused() -> bool:
        done = here(*asked, stdin=yaml_of(secret))
        return done.code == 1 and "keeps no tokens for the API server" in done.text

    place.gate.wait_until(refused, "the API server holds the policy for Secrets")
    assert here(*asked, stdin=yaml_of({**secret, "type": "Opaque"})).code == 0


def test_other_namespaces_are_left_alone(place: Place, namespace: str) -> None:
    other = place.namespace("beside")
    made = pod(place, automountServiceAccountToken=True)
    done = place.direct.within(other)("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=yaml_of(made))
    assert done.code == 0, done.text
    assert "narrowgate" not in [one["name"] for one in json.loads(done.out)["spec"]["volumes"]]


def test_the_api_server_finds_no_fault_with_the_types_of_the_expressions(place: Place, namespace: str) -> None:
    def checked(kind: str) -> Any:
        status = json.loads(
            place.direct.must("get", "validatingadmissionpolicy", f"narrowgate-{kind}-{namespace}", "-o", "json")
        ).get("status", {})
        return status.get("typeChecking")

    for kind in ("pods", "secrets"):
        place.gate.wait_until(lambda kind=kind: checked(kind) is not None, "types are checked")
        assert checked(kind) == {}
