"""What a namespace of agents needs so that the gate is the way to the API server that its pods find, and the only one.

Clients find a cluster by three files and two variables (`rest.InClusterConfig` in k8s.io/client-go/rest/config.go, and
alike in other languages), or by `KUBECONFIG`. The bundle puts the gate's address, its CA and a token for the gate in
just those places, and nothing that opens the API server anywhere. Variables that a container names itself win over
those that the kubelet adds (`makeEnvironmentVariables` in k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import yaml

from narrowgate.core.manifests import Document

TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where clients look for a pod's token; a pod that says `automountServiceAccountToken: false` has nothing there."""

NAME: Final = "narrowgate"
"""Of the ConfigMap, the policy, the template and the volume."""

TOKEN_SECONDS: Final = 3600
"""How long a token lives; the kubelet puts a new one in its place at four fifths of that (KEP-1205)."""

LABELS: Final = {"app.kubernetes.io/managed-by": "narrowgate"}
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""The label by which policies name a namespace; the API server holds it to be its name (KEP-2161)."""

DNS_PORT: Final = 53
CLIENT_USER: Final = 10001
"""The user that the template runs as: not root, and none that images are likely to know."""


class PodPlace(msgspec.Struct, frozen=True):
    """Pods that a policy lets others reach: those of a namespace with these labels."""

    namespace: str
    labels: tuple[tuple[str, str], ...]

    @property
    def peer(self) -> Document:
        """As k8s.io/api/networking/v1 `NetworkPolicyPeer`."""
        return {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: self.namespace}},
            "podSelector": {"matchLabels": dict(self.labels)},
        }


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How pods get to the gate, and what else they reach."""

    host: str
    """As the gate's certificate has it."""
    port: int
    to: tuple[str | PodPlace, ...]
    """The gate behind that name: networks (`10.0.0.5/32`), or its pods. Never empty."""
    to_port: int
    """Where the gate itself listens, which is what network policies see behind a Service."""
    dns: tuple[str | PodPlace, ...] = ()
    """Whom pods ask for names; empty: nobody."""

    @property
    def server(self) -> str:
        """The address as a URL."""
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What one namespace's bundle is made of."""

    cluster: str
    namespace: str
    account: str
    audience: str
    """What the gate demands of tokens."""
    authority: str
    """PEM of the gate's CA. Never empty: a pod has no other way to know it."""
    way: Way
    level: str = "restricted"
    """Pod Security level that the namespace enforces."""
    image: str = "registry.example/agent:1"


def bundle_objects(bundle: Bundle) -> tuple[Document, ...]:
    """What to apply, in the order in which to apply it."""
    # A pod that names no account runs as `default`, which must mount nothing either. It comes last: the cluster makes
    # it as well, a moment after the namespace, and a client-side apply in that moment fails where it stands.
    accounts = dict.fromkeys((bundle.account, "default"))
    return (
        _namespace(bundle),
        _config_map(bundle),
        network_policy(bundle.namespace, bundle.way),
        _pod_template(bundle),
        *(_account(name, bundle.namespace) for name in accounts),
    )


def network_policy(namespace: str, way: Way) -> Document:
    """Nothing comes in; the gate and name servers are all that pods reach. Other policies can only add to it."""
    egress: list[Document] = [{"to": _peers(way.to), "ports": [{"protocol": "TCP", "port": way.to_port}]}]
    if way.dns:
        ports = [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]
        egress.append({"to": _peers(way.dns), "ports": ports})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(NAME, namespace),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": egress},
    }


def template_patch(bundle: Bundle, containers: Sequence[str]) -> Document:
    """What a Deployment, StatefulSet, DaemonSet or Job of the namespace needs besides, as a strategic merge patch."""
    spec = {
        "serviceAccountName": bundle.account,
        "automountServiceAccountToken": False,
        "volumes": [volume(bundle.audience)],
        "containers": [{"name": name, **container_fields(bundle.way)} for name in containers],
    }
    return {"spec": {"template": {"spec": spec}}}


def volume(audience: str) -> Document:
    """The files that clients look for: a token for the gate in place of one for the API server."""
    token = {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    files = [{"key": name, "path": name} for name in ("ca.crt", "kubeconfig")]
    own_namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": token},
        {"configMap": {"name": NAME, "items": files}},
        {"downwardAPI": {"items": [own_namespace]}},
    ]
    return {"name": NAME, "projected": {"sources": sources}}


def container_fields(way: Way) -> Document:
    """Where a container finds them."""
    variables = {
        "KUBERNETES_SERVICE_HOST": way.host,
        "KUBERNETES_SERVICE_PORT": str(way.port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(way.port),
        "KUBECONFIG": f"{TOKEN_FOLDER}/kubeconfig",
    }
    return {
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": [{"name": NAME, "mountPath": TOKEN_FOLDER, "readOnly": True}],
    }


def kubeconfig(bundle: Bundle) -> str:
    """A kubeconfig without a secret: it names the files beside it, which the kubelet renews."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": bundle.cluster,
                "cluster": {
                    "server": f"{bundle.way.server}/clusters/{bundle.cluster}",
                    "certificate-authority": f"{TOKEN_FOLDER}/ca.crt",
                },
            }
        ],
        "users": [{"name": "pod", "user": {"tokenFile": f"{TOKEN_FOLDER}/token"}}],
        "contexts": [
            {
                "name": bundle.cluster,
                "context": {"cluster": bundle.cluster, "user": "pod", "namespace": bundle.namespace},
            }
        ],
        "current-context": bundle.cluster,
    }
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


def as_network(host: str) -> str:
    """The network of one address, `10.0.0.5/32`; empty for a name, which no policy can be about."""
    try:
        return str(ipaddress.ip_network(host))
    except ValueError:
        return ""


def is_this_machine(host: str) -> bool:
    """Whether an address means whoever calls it, so that no pod gets anywhere by it."""
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _peers(places: Iterable[str | PodPlace]) -> list[Document]:
    return [place.peer if isinstance(place, PodPlace) else {"ipBlock": {"cidr": place}} for place in places]


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": dict(LABELS)}


def _namespace(bundle: Bundle) -> Document:
    kept = {f"pod-security.kubernetes.io/{mode}": bundle.level for mode in ("enforce", "warn")}
    metadata = {"name": bundle.namespace, "labels": {**LABELS, **kept}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _account(name: str, namespace: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(name, namespace),
        "automountServiceAccountToken": False,
    }


def _config_map(bundle: Bundle) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(NAME, bundle.namespace),
        "data": {"ca.crt": bundle.authority, "kubeconfig": kubeconfig(bundle)},
    }


def _pod_template(bundle: Bundle) -> Document:
    """A pod as it has to be here, to copy from; the API server checks it as it checks pods."""
    confined = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    spec = {
        "serviceAccountName": bundle.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": CLIENT_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [volume(bundle.audience)],
        "containers": [
            {"name": "agent", "image": bundle.image, "securityContext": confined, **container_fields(bundle.way)}
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": _metadata(NAME, bundle.namespace),
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec},
    }
