"""The cluster's own audit log names everybody whom a request speaks for, where the gate speaks in others' names.

An agent's delegate, a pod that the agent had made, and a pod that this pod made: each request has its whole chain.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.tasks import AgentTerminal, grantable
from tests.e2e.test_upstream_modes import Installed, audited, maps
from tests.e2e.workloads import pod, yaml_of

RIGHTS = ("get list create", "configmaps"), ("get create", "pods")


@pytest.fixture
def impersonating(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path
) -> Iterator[Installed]:
    """A gate that speaks as whoever asks, with an agent `maker`, and pods that run as `runner`."""
    account, namespace = new_namespace(f"gate-{secrets.token_hex(2)}"), new_namespace(f"chain-{secrets.token_hex(2)}")
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(tmp_path / "gate" / "token"),
        "upstream": {"mode": "impersonate", "accountNamespace": account},
    }
    gate = Gate(tmp_path / "gate", [entry], {"authentication": {"serviceAccounts": {"audience": "narrowgate"}}})
    one = Installed(gate, direct, account, namespace)
    one.token_file.write_text("none-yet")
    direct.must("create", "serviceaccount", "runner", "-n", namespace)
    grants = [grantable(resource, verbs, resource, namespace) for verbs, resource in RIGHTS]
    gate.agent("maker", [*grants, grantable("as", "use", "serviceaccounts", namespace, names=["runner"])])
    allows = [allow(resource, verbs, resource, namespace) for verbs, resource in RIGHTS]
    allows.append(allow("as", "use", "serviceaccounts", namespace, names=["runner"]))
    gate.write_policy("runners", [{"kind": "ServiceAccount", "name": f"{namespace}/runner"}], allows)
    one.install()
    gate.start()
    yield one
    gate.stop()
    one.remove()


class Maker:
    """The agent with a task in that namespace, and pods that it has made."""

    def __init__(self, installed: Installed, cluster: Cluster, folder: Path) -> None:
        self.installed, self.cluster = installed, cluster
        self.namespace = installed.namespace
        self.terminal = AgentTerminal(installed.gate, installed.gate.agent("maker"), folder, cluster.kubectl)
        words = ["get,list,create configmaps", "get,create pods", "use serviceaccounts/runner"]
        allowed = [part for word in words for part in ("--allow", f"{word} -n {self.namespace}")]
        self.task, self.kubectl = self.terminal.request("--reason", "chains", *allowed)

    def pod(self, name: str) -> bytes:
        """A pod of the account `runner` that may be refused for nothing."""
        security = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        document = pod(
            name, self.cluster.image, hostNetwork=False, serviceAccountName="runner", automountServiceAccountToken=False
        )
        document["spec"]["containers"][0]["securityContext"] = security
        return yaml_of(document)

    def token_of(self, name: str) -> str:
        """The token that the cluster gives that pod for the gate."""
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={name}")
        return self.installed.direct.must(
            "create", "token", "runner", "-n", self.namespace, "--audience=narrowgate", "--duration=10m", *bound
        ).strip()

    def caller(self, token: str) -> Agent:
        """Whoever holds this token, at the data port."""
        agent = self.terminal.agent
        return Agent("workload", agent.kubeconfig, agent.host, agent.port, agent.ca, token)

    def chain(self, marker: str, since: int) -> tuple[str, list[str], dict[str, Any]]:
        """Of the cluster's own entry for a request: as whom it came, for whom, and what else is told."""
        user = audited(self.cluster, marker, since)["impersonatedUser"]
        return user["username"], user["extra"]["narrowgate.dev/chain"], user["extra"]


@pytest.fixture
def maker(impersonating: Installed, cluster: Cluster, tmp_path: Path) -> Maker:
    return Maker(impersonating, cluster, tmp_path / "terminal")


def test_a_delegates_requests_name_the_delegate_and_whoever_delegated(maker: Maker, marker: str) -> None:
    folder = maker.terminal.shell.folder
    file = folder / "helper.kubeconfig"
    wanted = ("--name", "helper", "--reason", "look", "--allow", f"get,list configmaps -n {maker.namespace}")
    task = maker.terminal.document(
        "tasks", "delegate", *wanted, "--kubeconfig", file, "--task-kubeconfig", folder / "task.kubeconfig",
        NARROWGATE_CREDENTIAL="",
    )  # fmt: skip
    since = maker.cluster.audit_position()
    maker.terminal.kubectl(file).must("get", "configmaps", "-n", maker.namespace, "-l", marker)
    username, chain, extra = maker.chain(marker, since)
    # To the cluster it is the root; who it really was stands beside it.
    assert username == "narrowgate:agent:maker"
    assert chain == ["agent:maker", "agent:maker/helper"]
    assert extra["narrowgate.dev/task"] == [task["id"]]


def test_a_pods_requests_name_the_agent_that_had_it_made_and_every_pod_between(maker: Maker, marker: str) -> None:
    namespace = maker.namespace
    maker.kubectl.must("create", "-n", namespace, "-f", "-", stdin=maker.pod("first"))
    first = maker.caller(maker.token_of("first"))
    headers = {"Content-Type": "application/yaml"}
    made = first.request("POST", f"/api/v1/namespaces/{namespace}/pods", headers, maker.pod("second"))
    assert made.status == 201, made.body
    second = maker.caller(maker.token_of("second"))
    since = maker.cluster.audit_position()
    for caller, name, between in ((first, "first", 0), (second, "second", 1)):
        answer = caller.request("GET", f"{maps(namespace)}?labelSelector={marker}-{name}")
        assert answer.status == 200, answer.body
        username, chain, extra = maker.chain(f"{marker}-{name}", since)
        account = f"serviceaccount:{namespace}/runner"
        assert username == f"narrowgate:{account}"
        assert chain == ["agent:maker", *[account] * between, account]
        assert extra["narrowgate.dev/pod"] == [name]
        uid = maker.installed.direct.must("get", "pod", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")
        assert extra["narrowgate.dev/pod-uid"] == [uid]
