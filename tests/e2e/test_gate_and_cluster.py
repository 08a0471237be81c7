"""Two layers, both of which must agree: what the policy allows, and what the cluster allows the gate's own account.

And two clusters, of which a credential opens one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow

KubectlOf = Callable[[Agent], Kubectl]


@pytest.fixture(scope="module")
def reader(gate: Gate, namespace: str) -> Agent:
    return gate.agent("reads-pods", [allow("read-pods", "get list watch", "pods pods/log", namespace)])


@pytest.fixture(scope="module")
def weak(
    cluster: Cluster, direct: Kubectl, echo: Echo, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """A gate whose own credential may only view one namespace, in front of two clusters."""
    folder = tmp_path_factory.mktemp("weak-gate")
    here = direct.within(namespace)
    here.must("create", "serviceaccount", "gate")
    here.must("create", "rolebinding", "gate", "--clusterrole=view", f"--serviceaccount={namespace}:gate")
    token = folder / "token"
    token.write_text(here.must("create", "token", "gate", "--duration=1h").strip())
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(token),
        "upstream": {"mode": "credential"},
    }
    gate = Gate(folder, [entry, echo.cluster("echo")])
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


def test_the_gate_never_widens_what_the_cluster_allows(weak: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    kubectl = kubectl_of(weak.agent("all", ALLOW_ALL_RULES)).within(namespace)

    assert kubectl("get", "pods").code == 0
    refused = kubectl("delete", "pod", "clock")
    assert refused.code == 1
    # The cluster's own words, about the gate's account.
    assert f"system:serviceaccount:{namespace}:gate".encode() in refused.err


def test_can_i_is_answered_for_gate_and_cluster_together(weak: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    everything = kubectl_of(weak.agent("all", ALLOW_ALL_RULES)).within(namespace)
    agent = weak.agent("pods-only", [allow("pods", "get delete", "pods", namespace)])
    pods_only = kubectl_of(agent).within(namespace)

    def can(kubectl: Kubectl, *question: str) -> bytes:
        return kubectl("auth", "can-i", *question).out.strip().split(b"\n")[0].split(b" ")[0]

    # Allowed by both; by the gate alone; by the cluster alone; by neither.
    assert can(everything, "get", "pods") == b"yes"
    assert can(everything, "delete", "pods") == b"no"
    assert can(pods_only, "get", "pods") == b"yes"
    assert can(pods_only, "delete", "pods") == b"no"
    assert can(pods_only, "get", "configmaps") == b"no"
    assert can(pods_only, "create", "pods") == b"no"


def test_can_i_list_shows_what_both_allow(weak: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    agent = weak.agent("pods-only", [allow("pods", "get delete", "pods", namespace)])

    listed = kubectl_of(agent).within(namespace).must("auth", "can-i", "--list")

    rows = [line.split() for line in listed.splitlines()]
    pods = [row for row in rows if row[0] == "pods"]
    assert pods
    assert all(row[-1] == "[get]" for row in pods)
    assert not [row for row in rows if row[0] in ("configmaps", "services", "*.*")]


def test_the_reason_of_a_no_names_the_rule(gate: Gate, reader: Agent, namespace: str) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": namespace}},
    }

    answer = reader.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"Content-Type": "application/json"},
        json.dumps(review).encode(),
    )

    status = answer.json()["status"]
    assert answer.status == 201
    assert status["allowed"] is False
    assert "no rule" in status["reason"]


def test_a_credential_of_one_cluster_opens_no_other(weak: Gate, echo: Echo, marker: str) -> None:
    for_dev = weak.agent("all", ALLOW_ALL_RULES)
    for_echo = weak.agent("echoes", ALLOW_ALL_RULES, cluster="echo")
    target = f"/api/v1/namespaces/d/configmaps/{marker}"

    assert for_echo.request("GET", target).status == 200
    assert for_echo.request("GET", f"/clusters/echo{target}").status == 200
    before = len(echo.received)
    crossed = for_dev.request("GET", f"/clusters/echo{target}")
    backwards = for_echo.request("GET", f"/clusters/dev{target}")
    unknown = for_dev.request("GET", f"/clusters/nowhere{target}")

    assert crossed.status in (400, 403)
    assert backwards.status in (400, 403)
    assert unknown.status in (400, 403)
    for answer in (crossed, backwards, unknown):
        assert answer.message
    assert echo.received[before:] == []


def test_policies_for_one_cluster_allow_nothing_on_another(weak: Gate, echo: Echo, marker: str) -> None:
    agent = weak.agent("misplaced", cluster="echo")
    weak.allow("misplaced", ALLOW_ALL_RULES, cluster="dev")
    # What was written later is in force: so is what was written before.
    weak.agent("later", ALLOW_ALL_RULES, cluster="echo")

    assert agent.request("GET", f"/api/v1/namespaces/d/configmaps/{marker}").status == 403
    assert echo.with_marker(marker) == []
