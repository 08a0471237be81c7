"""The cluster's own audit log names the task whose work a request was, where the gate speaks in others' names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.tasks import AgentTerminal, grantable
from tests.e2e.test_upstream_modes import Installed, audited


@pytest.fixture
def impersonating(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path
) -> Iterator[Installed]:
    """A gate in front of the cluster that speaks as whoever asks, with an agent `worker` that holds nothing."""
    account, namespace = new_namespace(f"gate-{secrets.token_hex(2)}"), new_namespace("work")
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(tmp_path / "gate" / "token"),
        "upstream": {"mode": "impersonate", "accountNamespace": account},
    }
    gate = Gate(tmp_path / "gate", [entry])
    one = Installed(gate, direct, account, namespace)
    one.token_file.write_text("none-yet")
    gate.agent("worker", [grantable("maps", "get list create", "configmaps", namespace)])
    one.install()
    gate.start()
    yield one
    gate.stop()
    one.remove()


def test_the_api_servers_audit_log_names_the_task(impersonating: Installed, cluster: Cluster, tmp_path: Path) -> None:
    gate, namespace = impersonating.gate, impersonating.namespace
    agent = AgentTerminal(gate, gate.agent("worker"), tmp_path / "terminal", cluster.kubectl)
    task, kubectl = agent.request("--reason", "one map", "--allow", f"create,get configmaps -n {namespace}")
    since = cluster.audit_position()
    name = f"made-{secrets.token_hex(3)}"
    kubectl.must("create", "configmap", name, "-n", namespace, "--from-literal=a=b")
    event = audited(cluster, name, since)
    extra = event["impersonatedUser"]["extra"]
    assert extra["narrowgate.dev/task"] == [task["id"]]
    assert event["impersonatedUser"]["username"].endswith("worker")
    entry = gate.wait_for_event(f"/namespaces/{namespace}/configmaps")
    assert entry["annotations"]["narrowgate.dev/task"] == task["id"]
