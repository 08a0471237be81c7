"""From a wide account to a narrow one by the command line alone, and the gate at work with it: each upstream mode.

Given the manifests that `narrowgate clusters manifests` prints, applied as they are, and a token of the account they
make: the gate starts, what a policy allows passes, and the cluster itself refuses what no policy allows.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.e2e.command_line import Shell
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl

LOOK = {"id": "look", "effect": "allow", "verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}


@dataclass
class Narrow:
    """A gate with an account of the manifests, and the agent that the policy is about."""

    gate: Gate
    shell: Shell
    agent: Agent
    accounts: str


@pytest.fixture
def accounts(direct: Kubectl) -> Iterator[str]:
    name = f"ngu-{secrets.token_hex(3)}"
    direct.must("create", "namespace", name)
    yield name
    direct("delete", "namespace", name, "--wait=false")


@pytest.fixture(params=["impersonate", "constrained", "serviceAccount"])
def narrow(
    request: pytest.FixtureRequest, tmp_path: Path, cluster: Cluster, direct: Kubectl, accounts: str
) -> Iterator[Narrow]:
    mode = "impersonate" if request.param == "constrained" else request.param
    shell = Shell(tmp_path / "work")
    wide = {
        "name": "dev",
        "kubeconfig": str(cluster.kubeconfig),
        "upstream": {"mode": mode, "accountNamespace": accounts},
    }
    gate = Gate(tmp_path / "gate", [wide])
    agent = gate.agent("looker", [{**LOOK, "namespaces": [accounts]}], cluster="dev")

    constrained = ["--constrained"] if request.param == "constrained" else []
    manifests = shell("clusters", "manifests", "dev", *constrained, "--config", gate.config)
    assert manifests.code == 0, manifests.err
    direct.must("apply", "-f", "-", stdin=manifests.out.encode())
    token = direct.must("create", "token", "narrowgate", "-n", accounts)
    _register_instead(gate, shell, cluster, token)
    yield Narrow(gate, shell, agent, accounts)
    gate.stop()
    direct("delete", "--ignore-not-found", "-f", "-", stdin=_without_namespace(manifests.out).encode())


def _register_instead(gate: Gate, shell: Shell, cluster: Cluster, token: str) -> None:
    """Put the new account in the place of the administrator's kubeconfig."""
    admin = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    document = yaml.safe_load(gate.config.read_text())
    upstream = document["clusters"][0]["upstream"]
    document["clusters"] = [
        {
            "name": "dev",
            "server": cluster.server,
            "certificateAuthority": str(
                shell.write("ca.crt", base64.b64decode(admin["certificate-authority-data"]).decode())
            ),
            "tokenFile": str(shell.write("token", token, mode=0o600)),
            "upstream": upstream,
        }
    ]
    gate.config.write_text(yaml.safe_dump(document))


def _without_namespace(manifests: str) -> str:
    kept = [one for one in yaml.safe_load_all(manifests) if one["kind"] != "Namespace"]
    return yaml.safe_dump_all(kept)


def test_the_gate_starts_and_what_the_policy_allows_passes(
    narrow: Narrow, kubectl_of: Callable[[Agent], Kubectl], direct: Kubectl
) -> None:
    narrow.gate.start()
    kubectl = kubectl_of(narrow.agent)
    assert "No resources found" in kubectl("get", "pods", "-n", narrow.accounts).text
    assert kubectl("get", "secrets", "-n", narrow.accounts).code == 1
    assert kubectl("get", "pods", "-n", "default").code == 1
    assert kubectl("auth", "can-i", "list", "pods", "-n", narrow.accounts).out.strip() == b"yes"
    assert kubectl("auth", "can-i", "list", "secrets", "-n", narrow.accounts).out.startswith(b"no")


def test_the_cluster_refuses_by_itself_what_no_manifest_allows(
    narrow: Narrow, kubectl_of: Callable[[Agent], Kubectl]
) -> None:
    # A policy that came later than the manifests: the gate would let it pass, the cluster does not know of it.
    narrow.gate.start()
    later = narrow.gate.agent(
        "looker", [{**LOOK, "id": "more", "resources": ["secrets"], "namespaces": [narrow.accounts]}]
    )
    refused = kubectl_of(later)("get", "secrets", "-n", narrow.accounts)
    assert refused.code == 1
    assert b"secrets is forbidden" in refused.err


def test_an_account_that_may_do_more_than_impersonate_keeps_the_gate_from_starting(
    tmp_path: Path, cluster: Cluster
) -> None:
    shell = Shell(tmp_path / "work")
    config = shell.configure(cluster.kubeconfig, more="    upstream: {mode: impersonate}\n")
    done = shell("serve", "--config", config)
    assert done.code == 1, done.text
    said = [line for line in done.err.splitlines() if line.startswith("narrowgate: ")]
    assert len(said) == 1
    assert "may do more than impersonate" in said[0]
