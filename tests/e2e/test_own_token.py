"""The gate renews its own token: what was registered is needed once, and nothing that lives long lies on a disk."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl

ACCOUNT = "narrowgate-renewing"
RULES: list[dict[str, Any]] = [
    {"id": "maps", "effect": "allow", "verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}
]


def objects(namespace: str) -> bytes:
    """An account that may read ConfigMaps and mint tokens of its own."""
    metadata = {"name": ACCOUNT, "namespace": namespace}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [ACCOUNT], "verbs": ["create"]},
    ]
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", **metadata}],
    }
    made = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        binding,
    ]
    return yaml.safe_dump_all(made).encode()


@pytest.mark.parametrize("key", ["", "k" * 44], ids=["kept by its mode", "kept encrypted"])
def test_the_registered_token_is_needed_once(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path, key: str
) -> None:
    namespace = new_namespace("own-token")
    direct.must("apply", "-f", "-", stdin=objects(namespace))
    token_file = tmp_path / "token"
    registered = direct.must("create", "token", ACCOUNT, "-n", namespace, "--duration=10m").strip()
    token_file.write_text(registered)
    settings: dict[str, Any] = {}
    if key:
        (tmp_path / "sealing-key").write_text(key)
        settings = {"encryption": {"keyFile": str(tmp_path / "sealing-key")}}
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(token_file),
        "upstream": {"mode": "credential", "renew": True},
    }
    gate = Gate(tmp_path / "gate", [entry], settings)
    agent = gate.agent("reader", [{**RULES[0], "namespaces": [namespace]}])
    kept = gate.data_dir / "tokens" / "dev.token"
    since = cluster.audit_position()
    gate.start()
    try:
        gate.wait_until(kept.exists, "the renewed token is kept")
        minted = cluster.audited(f"/serviceaccounts/{ACCOUNT}/token", since)
        assert minted[-1]["user"]["username"] == f"system:serviceaccount:{namespace}:{ACCOUNT}"
        token_file.write_text("spent.spent.spent")

        assert agent.request("GET", f"/api/v1/namespaces/{namespace}/configmaps").status == 200
        gate.stop()
        gate.start()
        assert agent.request("GET", f"/api/v1/namespaces/{namespace}/configmaps").status == 200
    finally:
        gate.stop()
    content = kept.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (b"Bearer" in content) == (key == "")
    private = [path.read_bytes() for path in (gate.data_dir / "keys").glob("*.key")]
    assert all((b"ENCRYPTED" in each) == (key != "") for each in private)
    # Neither token shows anywhere else, as it is or in base64.
    elsewhere = b"".join(
        path.read_bytes() for path in gate.data_dir.rglob("*") if path.is_file() and path.parent.name != "tokens"
    )
    for secret in (registered.encode(), base64.b64encode(registered.encode()), b"Bearer eyJ"):
        assert secret not in elsewhere + gate.log.read_bytes()


def test_an_account_that_may_not_renew_goes_on_with_what_it_has_and_says_so(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path
) -> None:
    namespace = new_namespace("own-token-not")
    direct.must("create", "serviceaccount", "plain", "-n", namespace)
    token_file = tmp_path / "token"
    token_file.write_text(direct.must("create", "token", "plain", "-n", namespace, "--duration=10m").strip())
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(token_file),
        "upstream": {"mode": "credential", "renew": True},
    }
    gate = Gate(tmp_path / "gate", [entry])
    agent = gate.agent("reader", [{**RULES[0], "namespaces": [namespace]}])
    gate.start()
    try:
        gate.wait_until(lambda: "is not renewed: the API server answers 403" in gate.log.read_text(), "it is said")
        # The API server knows the account, and RBAC refuses it: the token in use is the registered one.
        answer = agent.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
        assert answer.status == 403
        assert f"system:serviceaccount:{namespace}:plain" in answer.body.decode()
    finally:
        gate.stop()
