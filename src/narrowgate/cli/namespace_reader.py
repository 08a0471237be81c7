"""The objects that `narrowgate doctor --namespace` looks at, read from the API server: lists, and nothing written.

What may not be read is told by name, and is no all clear. Lists come in pages; more than MOST_OBJECTS of a kind are
not looked at, and that is told as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote as quoted

import msgspec

from narrowgate.cli.api_server import ApiServer
from narrowgate.core.account_rights import Binding, ClusterRights, Role
from narrowgate.core.egress import Target
from narrowgate.core.pods_seen import mappings
from narrowgate.core.roads import PodsLike
from narrowgate.core.uses import POD_SPECS

PAGE: Final = 500
"""Objects of one page: what kubectl asks for."""

MOST_OBJECTS: Final = 20_000
"""Of one kind: some minutes of reading; a namespace with more is looked at pod by pod (`--pod`)."""

MOST_NODES: Final = 200
"""Nodes whose kubelets are looked for behind network policies: what holds for two hundred holds for the rest."""

KUBELET_PORT: Final = 10250
ETCD_PORT: Final = 2379
METADATA: Final = (("169.254.169.254", 80), ("fd00:ec2::254", 80))
"""Where AWS, Google, Azure and others tell machines who they are, with credentials."""

WORKLOADS: Final = (
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("apps", "replicasets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("", "replicationcontrollers"),
)


class NotRead(Exception):
    """Something may not be read, or is not there; the text says what, and what the API server said."""


class NamespaceReader:
    """One namespace, by one connection."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self._server = server
        self._here = f"/api/v1/namespaces/{_segment(namespace)}"
        self._namespace = namespace

    def namespace(self) -> dict[str, Any]:
        """The Namespace. Raises NotRead."""
        return self._object(self._here, "namespace")

    def pod(self, name: str) -> PodsLike:
        """One pod. Raises NotRead."""
        return _pod(self._object(f"{self._here}/pods/{_segment(name)}", f"pod {name}"))

    def pods(self) -> list[PodsLike]:
        """Every pod that has not ended. Raises NotRead."""
        found = self._listed(f"{self._here}/pods", "pods")
        return [_pod(one) for one in found if _inside(one, "status").get("phase") not in ("Succeeded", "Failed")]

    def templates(self) -> list[PodsLike]:
        """What makes pods there, and is made by nothing else there. Raises NotRead."""
        found = []
        for group, resource in WORKLOADS:
            base = f"/apis/{group}/v1" if group else "/api/v1"
            path = f"{base}/namespaces/{_segment(self._namespace)}/{resource}"
            found += [_template(one, group, resource) for one in self._listed(path, resource) if not _is_owned(one)]
        return found

    def all(self, resource: str, group: str = "") -> list[dict[str, Any]]:
        """Every object of a kind in the namespace. Raises NotRead."""
        base = f"/apis/{group}/v1" if group else "/api/v1"
        return self._listed(f"{base}/namespaces/{_segment(self._namespace)}/{resource}", resource)

    def account(self, name: str) -> dict[str, Any]:
        """One ServiceAccount. Raises NotRead."""
        return self._object(f"{self._here}/serviceaccounts/{_segment(name)}", f"service account {name}")

    def volumes(self) -> list[dict[str, Any]]:
        """The PersistentVolumes that claims of the namespace are bound to. Raises NotRead."""
        found = self._listed("/api/v1/persistentvolumes", "persistentvolumes")
        mine = self._namespace
        return [one for one in found if _inside(_inside(one, "spec"), "claimRef").get("namespace") == mine]

    def rights(self) -> ClusterRights:
        """The roles and bindings of the cluster. Raises NotRead."""
        base = "/apis/rbac.authorization.k8s.io/v1"
        found = {
            name: self._listed(f"{base}/{name}", name)
            for name in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
        }
        try:
            return ClusterRights(
                msgspec.convert([*found["clusterroles"], *found["roles"]], list[Role]),
                msgspec.convert([*found["clusterrolebindings"], *found["rolebindings"]], list[Binding]),
            )
        except msgspec.ValidationError as error:
            raise NotRead(f"roles and bindings: {error}") from None

    def targets(self) -> list[Target]:
        """What agents' pods should not reach: API servers, etcd beside them, kubelets, the metadata service.

        Raises NotRead.
        """
        found = []
        service = self._object("/api/v1/namespaces/default/services/kubernetes", "the service kubernetes")
        found += [Target("the API server", str(one), 443) for one in _inside(service, "spec").get("clusterIPs") or ()]
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        label = "labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"
        for piece in self._listed(path, "endpointslices of the API server", label):
            hosts = [str(host) for one in mappings(piece.get("endpoints")) for host in one.get("addresses") or ()]
            ports = [int(one["port"]) for one in mappings(piece.get("ports")) if one.get("port")]
            found += [Target("the API server", host, port) for host in hosts for port in ports]
            found += [Target("etcd", host, ETCD_PORT) for host in hosts]
        for node in self._listed("/api/v1/nodes", "nodes")[:MOST_NODES]:
            status = _inside(node, "status")
            port = _inside(_inside(status, "daemonEndpoints"), "kubeletEndpoint").get("Port")
            found += [
                Target("the kubelets", str(one.get("address")), port if isinstance(port, int) else KUBELET_PORT)
                for one in mappings(status.get("addresses"))
                if one.get("type") in ("InternalIP", "ExternalIP")
            ]
        return found + [Target("the cloud's metadata", host, port) for host, port in METADATA]

    def _object(self, path: str, what: str) -> dict[str, Any]:
        answer = self._server.get(path)
        document = answer.document
        if answer.status != 200 or not isinstance(document, dict):
            raise NotRead(f"{what}: {answer.message}")
        return document

    def _listed(self, path: str, what: str, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in self._pages(path, what, query):
            found += mappings(page.get("items"))
            if len(found) > MOST_OBJECTS:
                raise NotRead(f"{what}: there are more than {MOST_OBJECTS}")
        return found

    def _pages(self, path: str, what: str, query: str) -> Iterator[dict[str, Any]]:
        asked = f"{path}?limit={PAGE}" + (f"&{query}" if query else "")
        after = ""
        while True:
            page = self._object(asked + (f"&continue={quoted(after)}" if after else ""), what)
            yield page
            after = str(_inside(page, "metadata").get("continue") or "")
            if not after:
                return


def _segment(name: str) -> str:
    """One segment of a path, whatever was typed: `a/../b` is no way to another namespace."""
    return quoted(name, safe="")


def _pod(document: dict[str, Any]) -> PodsLike:
    metadata, spec = _inside(document, "metadata"), _inside(document, "spec")
    return PodsLike(
        where=f"pod {metadata.get('name')}",
        labels=_inside(metadata, "labels"),
        annotations=_inside(metadata, "annotations"),
        spec=spec,
        account=str(spec.get("serviceAccountName") or "default"),
        runs=True,
    )


def _template(document: dict[str, Any], group: str, resource: str) -> PodsLike:
    *steps, last = POD_SPECS[group, resource]
    of_pods = document
    for step in steps:
        of_pods = _inside(of_pods, step)
    metadata, spec = _inside(of_pods, "metadata"), _inside(of_pods, last)
    return PodsLike(
        where=f"{resource} {_inside(document, 'metadata').get('name')}",
        labels=_inside(metadata, "labels"),
        annotations=_inside(metadata, "annotations"),
        spec=spec,
        account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        runs=False,
    )


def _is_owned(document: dict[str, Any]) -> bool:
    """Whether a controller keeps it, which is then looked at itself."""
    owners = mappings(_inside(document, "metadata").get("ownerReferences"))
    return any(owner.get("controller") for owner in owners)


def _inside(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
