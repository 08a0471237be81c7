"""Agents that prove themselves by a TLS client certificate: kubectl has one in its kubeconfig, and no token."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.signed_certificates import Authority, Made

PROD, LEGACY = Authority("prod agents"), Authority("legacy agents")
BOT = "spiffe://prod.corp/ns/ci/sa/bot"
GONE_SECONDS = 90.0


def client(authority: Authority, *uris: str, names: tuple[str, ...] = ()) -> Made:
    now = int(time.time())
    return authority.client(*uris, names=names, not_before=now - 60, not_after=now + 3600)


@pytest.fixture(scope="module")
def certified(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("certified")
    (folder / "legacy.pem").write_text(LEGACY.pem)
    rules = [
        {"certificateAuthority": PROD.pem, "name": "spiffe", "trustDomain": "prod.corp"},
        {"certificateAuthority": str(folder / "legacy.pem"), "name": "commonName"},
    ]
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder / "gate", [entry], {"authentication": {"clientCertificates": rules}})
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def kubectl_with(certified: Gate, cluster: Cluster, tmp_path: Path) -> Callable[..., Kubectl]:
    """Kubectl with a certificate, and a bearer token where one is given."""

    def make(made: Made, token: str = "") -> Kubectl:
        ca = (certified.data_dir / "keys" / "ca.pem").read_bytes()
        certificate, _, key = made.pair.partition("-----BEGIN PRIVATE KEY-----")
        user: dict[str, Any] = {
            "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
            "client-key-data": base64.b64encode(f"-----BEGIN PRIVATE KEY-----{key}".encode()).decode(),
        }
        server = f"https://127.0.0.1:{certified.kubernetes_port}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "gate",
                    "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
                }
            ],
            "users": [{"name": "me", "user": {**user, **({"token": token} if token else {})}}],
            "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "me"}}],
            "current-context": "gate",
        }
        path = tmp_path / f"{made.certificate.serial_number:x}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return Kubectl(cluster.kubectl, path, tmp_path)

    return make


def register(gate: Gate, name: str, certificate_name: str, namespace: str) -> None:
    done = gate.command(
        "agents", "add", name, "--owner", "group:sre", "--purpose", "test", "--cluster", "dev", "--no-credential",
        "--certificate-name", certificate_name,
    )  # fmt: skip
    assert done.code == 0, done.text
    rules = [
        {"id": "maps", "effect": "allow", "verbs": ["get", "list", "watch"], "apiGroups": [""],
         "resources": ["configmaps"], "namespaces": [namespace]},
    ]  # fmt: skip
    gate.allow(name, rules)


def wait_until_known(gate: Gate, kubectl: Kubectl, namespace: str) -> None:
    gate.wait_until(
        lambda: kubectl("get", "configmaps", "-n", namespace).code == 0, "the agent and its policy are known"
    )


def test_kubectl_with_a_spiffe_certificate_is_the_registered_agent(
    certified: Gate, kubectl_with: Callable[..., Kubectl], namespace: str, marker: str
) -> None:
    register(certified, "by-spiffe", BOT, namespace)
    kubectl = kubectl_with(client(PROD, BOT))
    wait_until_known(certified, kubectl, namespace)

    assert "cm-1" in kubectl.must("get", "configmaps", "-n", namespace, "-l", f"!{marker}")

    event = certified.wait_for_event(marker)
    assert event["user"]["username"] == "agent:by-spiffe"
    refused = kubectl("get", "secrets", "-n", namespace)
    assert refused.code == 1
    assert "agent:by-spiffe" in refused.text or "by-spiffe" in refused.text


def test_kubectl_with_a_common_name_is_the_registered_agent(
    certified: Gate, kubectl_with: Callable[..., Kubectl], namespace: str
) -> None:
    register(certified, "by-name", "cn:build bot", namespace)
    kubectl = kubectl_with(client(LEGACY, names=("build bot",)))
    wait_until_known(certified, kubectl, namespace)
    assert "cm-1" in kubectl.must("get", "configmaps", "-n", namespace)
    # The other CA may sign the same name; it speaks for SPIFFE IDs alone.
    assert kubectl_with(client(PROD, names=("build bot",)))("get", "configmaps", "-n", namespace).code == 1


def test_who_is_not_registered_reads_the_command_that_registers(
    certified: Gate, kubectl_with: Callable[..., Kubectl], namespace: str
) -> None:
    done = kubectl_with(client(PROD, "spiffe://prod.corp/nobody"))(
        "get", "--raw", f"/api/v1/namespaces/{namespace}/pods"
    )
    assert done.code == 1
    assert "narrowgate agents add NAME --certificate-name spiffe://prod.corp/nobody" in done.text


def test_a_certificate_and_the_credential_of_another_agent_are_refused_together(
    certified: Gate, kubectl_with: Callable[..., Kubectl], namespace: str
) -> None:
    register(certified, "by-both", "spiffe://prod.corp/both", namespace)
    alone = kubectl_with(client(PROD, "spiffe://prod.corp/both"))
    wait_until_known(certified, alone, namespace)
    other = certified.agent("other")
    done = kubectl_with(client(PROD, "spiffe://prod.corp/both"), other.token)(
        "get", "--raw", f"/api/v1/namespaces/{namespace}/configmaps"
    )
    assert done.code == 1
    assert "bring one of them" in done.text


def test_removing_the_agent_ends_its_watch_and_its_certificate(
    certified: Gate, kubectl_with: Callable[..., Kubectl], namespace: str
) -> None:
    register(certified, "brief", "spiffe://prod.corp/brief", namespace)
    kubectl = kubectl_with(client(PROD, "spiffe://prod.corp/brief"))
    wait_until_known(certified, kubectl, namespace)
    watch = kubectl.start("get", "configmaps", "-n", namespace, "--watch-only")
    try:
        certified.wait_until(lambda: bool(certified.events("watch=true")), "the watch is recorded")

        removed = certified.command("agents", "remove", "brief", "--yes")

        assert removed.code == 0, removed.text
        watch.wait(GONE_SECONDS)
        certified.wait_until(lambda: kubectl("get", "configmaps", "-n", namespace).code == 1, "it opens nothing")
    finally:
        watch.kill()
        watch.communicate()
