"""kube-rbac-proxy: reviews a ServiceAccount's token and asks one fixed access review; it keeps both answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.build import build
from dev.cluster.processes import free_ports

from bench.cluster import REPOSITORY
from bench.contenders.contender import Contender, Running, Stage, program
from bench.furniture import NAMESPACE, ensure_namespace

ACCOUNT = "kube-rbac-proxy-caller"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
# What the review asks, whatever the request is: this proxy does not understand Kubernetes' paths.
CONFIGURATION = f"""
authorization:
  resourceAttributes: {{namespace: {NAMESPACE}, apiVersion: v1, resource: services, subresource: proxy, name: bench}}
"""
TOKEN_SECONDS = 24 * 3600


@contextmanager
def _start(stage: Stage) -> Iterator[Running]:
    folder = build(
        REPOSITORY / "bench" / "rbac_proxy",
        {"kube-rbac-proxy": "github.com/brancz/kube-rbac-proxy/cmd/kube-rbac-proxy"},
    )
    cluster = stage.cluster
    token_file = stage.folder / "kube-rbac-proxy.token"
    token_file.write_text(_token(stage))
    configuration = stage.folder / "kube-rbac-proxy.yaml"
    configuration.write_text(CONFIGURATION)
    (port,) = free_ports(1)
    command: list[str | Path] = [
        folder / "kube-rbac-proxy", f"--secure-listen-address=127.0.0.1:{port}", f"--upstream={cluster.server}/",
        f"--tls-cert-file={stage.certificate}", f"--tls-private-key-file={stage.key}", "--http2-disable",
        f"--upstream-ca-file={cluster.authority}", f"--upstream-client-cert-file={cluster.certificate}",
        f"--upstream-client-key-file={cluster.key}", f"--kubeconfig={cluster.kubeconfig}",
        f"--config-file={configuration}",
    ]  # fmt: skip
    address = stage.served(port, token_file)
    with program("kube-rbac-proxy", command, stage.folder, address) as running:
        yield running


def _token(stage: Stage) -> str:
    cluster = stage.cluster
    ensure_namespace(cluster, NAMESPACE)
    rule = {"apiGroups": [""], "resources": ["services/proxy"], "resourceNames": ["bench"], "verbs": ["*"]}
    role: dict[str, Any] = {"metadata": {"name": ACCOUNT}, "rules": [rule]}
    binding = {
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    }
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    wanted = ((accounts, {"metadata": {"name": ACCOUNT}}), (f"{RBAC}/roles", role), (f"{RBAC}/rolebindings", binding))
    for collection, document in wanted:
        if cluster.request("GET", f"{collection}/{ACCOUNT}") is None:
            cluster.request("POST", collection, document)
    answer = cluster.request("POST", f"{accounts}/{ACCOUNT}/token", {"spec": {"expirationSeconds": TOKEN_SECONDS}})
    return str(answer["status"]["token"])


KUBE_RBAC_PROXY = Contender(
    "kube-rbac-proxy", "kube-rbac-proxy with a ServiceAccount's token and one access review, both cached", _start
)
