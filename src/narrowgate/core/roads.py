"""Roads around the gate, as the objects of a namespace show them: pods, what makes pods, accounts, the namespace.

A road is what lets whoever is in a pod reach the API server, the node, or a cloud without the gate. What lies in
Secrets and ConfigMaps is `credential_roads`', what network policies leave is `egress`'.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from narrowgate.core.account_rights import HeldRight
from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_security import violations
from narrowgate.core.pods_seen import CONTAINERS, mappings

MOST_NAMED: Final = 3
"""Rights, fields and the like in one sentence; the rest are counted."""

LEVEL_LABEL: Final = "pod-security.kubernetes.io/enforce"


class Kind(enum.Enum):
    """What sort of road it is: the name of the check that looks for it."""

    TOKENS = "tokens for the API server"
    RIGHTS = "rights past the gate"
    CREDENTIALS = "credentials in objects"
    NETWORK = "network past the gate"
    NODES = "access to nodes"
    CLOUDS = "cloud identities"
    ADMISSION = "pod security of the namespace"
    STRONGER_PODS = "rules for stronger pods"


class Road(msgspec.Struct, frozen=True, kw_only=True):
    """One road, in words."""

    kind: Kind
    where: str
    """`pod web`, `service account builder`."""
    found: str
    to_do: str
    is_doubt: bool = False
    """Nobody can tell from here whether it leads anywhere."""


class PodsLike(msgspec.Struct, frozen=True, kw_only=True):
    """Pods that are, or will be: a pod, or what something makes pods of."""

    where: str
    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    account: str
    runs: bool
    """Whether it is a pod, in which the API server has written out what it mounts."""


CLOUD_OF_ACCOUNT: Final = {
    "eks.amazonaws.com/role-arn": "an AWS role",
    "iam.gke.io/gcp-service-account": "a Google service account",
    "azure.workload.identity/client-id": "an Azure identity",
    "pod-identity.alibabacloud.com/role-name": "an Alibaba Cloud role",
}
"""Annotations by which clouds give an account's pods an identity of theirs."""
CLOUD_OF_POD: Final = {
    "iam.amazonaws.com/role": "an AWS role (kube2iam, kiam)",
    "azure.workload.identity/use": "an Azure identity",
    "aadpodidbinding": "an Azure identity (aad-pod-identity)",
}
"""Annotations and labels of pods for the same."""
_CLOUD_VARIABLES: Final = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_CLIENT_ID")
"""What the clouds' admission webhooks write into containers."""

_SOCKETS: Final = ("docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock", "kubelet.sock", "buildkitd.sock")
_OF_KUBELET: Final = ("/var/lib/kubelet", "/etc/kubernetes", "/etc/rancher", "/var/lib/rancher", "/var/lib/etcd")
_CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def roads_of_pods(pods: PodsLike, audience: str, automounts: bool) -> Iterator[Road]:
    """Everything about one pod, or one template. `audience`: of tokens for the gate; empty where none is known.
    `automounts`: whether its account hands its token to pods that say nothing about it."""
    yield from _tokens(pods, audience, automounts)
    yield from _nodes(pods)
    yield from _clouds(pods)
    yield from _pull_secrets(pods)


def roads_of_account(account: Mapping[str, Any], rights: Sequence[HeldRight] | None) -> Iterator[Road]:
    """Everything about a ServiceAccount; `rights` None: more than are looked at."""
    metadata = _inside(account, "metadata")
    where = f"service account {metadata.get('name')}"
    if account.get("automountServiceAccountToken") is not False:
        yield Road(
            kind=Kind.TOKENS,
            where=where,
            found="gives every pod that does not refuse it a token for the API server",
            to_do="write automountServiceAccountToken: false into the service accounts of the namespace",
        )
    if rights is None or rights:
        told = "more than can be looked at" if rights is None else _some([str(one) for one in rights])
        yield Road(
            kind=Kind.RIGHTS,
            where=where,
            found=f"may, at the API server itself: {told}",
            to_do="take the roles from the namespace's service accounts: what they may do belongs into the gate's "
            "policies",
        )
    for key, what in CLOUD_OF_ACCOUNT.items():
        if value := _inside(metadata, "annotations").get(key):
            yield _cloud(where, f"{what} ({value})")


def roads_of_namespace(namespace: Mapping[str, Any]) -> Iterator[Road]:
    """What sort of pods the namespace takes."""
    labels = _inside(_inside(namespace, "metadata"), "labels")
    level = labels.get(LEVEL_LABEL)
    if level not in (Level.BASELINE.value, Level.RESTRICTED.value):
        yield Road(
            kind=Kind.ADMISSION,
            where=f"namespace {_inside(namespace, 'metadata').get('name')}",
            found="takes pods that share the node's network, processes or files",
            to_do=f"label the namespace {LEVEL_LABEL}=restricted, or baseline",
        )


def roads_of_volume(volume: Mapping[str, Any]) -> Iterator[Road]:
    """What a PersistentVolume that a claim of the namespace is bound to has of a node."""
    path = str(_inside(_inside(volume, "spec"), "hostPath").get("path") or "")
    claim = _inside(_inside(volume, "spec"), "claimRef").get("name")
    if path and (what := _at_path(path)):
        yield Road(
            kind=Kind.NODES,
            where=f"claim {claim}",
            found=f"is {path} of a node: {what}",
            to_do="delete the claim and the volume: pods of the namespace can mount it",
        )


def _tokens(pods: PodsLike, audience: str, automounts: bool) -> Iterator[Road]:
    for volume in mappings(pods.spec.get("volumes")):
        for source in mappings(_inside(volume, "projected").get("sources")):
            token = source.get("serviceAccountToken")
            if not isinstance(token, dict) or (audience and token.get("audience") == audience):
                continue
            yield _token_road(pods, str(volume.get("name")), str(token.get("audience") or ""))
    says = pods.spec.get("automountServiceAccountToken")
    if not pods.runs and (says is True or (says is None and automounts)):
        yield Road(
            kind=Kind.TOKENS,
            where=pods.where,
            found=f"its pods get a token of account {pods.account} for the API server",
            to_do="write automountServiceAccountToken: false into it, and mount a token for the gate",
        )


def _token_road(pods: PodsLike, volume: str, audience: str) -> Road:
    mounting = [
        str(container.get("name"))
        for field in CONTAINERS
        for container in mappings(pods.spec.get(field))
        if any(mount.get("name") == volume for mount in mappings(container.get("volumeMounts")))
    ]
    by = f", mounted by {_some(mounting)}" if mounting else ", mounted by no container"
    if audience:
        found = f"a token for {audience} (volume {volume}{by}), which opens the API server if that takes this audience"
    else:
        found = f"a token of account {pods.account} for the API server (volume {volume}{by})"
    return Road(
        kind=Kind.TOKENS,
        where=pods.where,
        found=found,
        to_do="write automountServiceAccountToken: false, and project tokens for the gate's audience alone",
    )


def _nodes(pods: PodsLike) -> Iterator[Road]:
    found = list(violations(pods.spec, pods.annotations, Level.BASELINE))
    if found:
        yield Road(
            kind=Kind.NODES,
            where=pods.where,
            found=f"has more of its node than a container should: {_some(found)}",
            to_do="run it in another namespace, or without: the node's credentials are an API server's as well",
        )
    for volume in mappings(pods.spec.get("volumes")):
        path = str(_inside(volume, "hostPath").get("path") or "")
        if path and (what := _at_path(path)):
            yield Road(
                kind=Kind.NODES,
                where=pods.where,
                found=f"mounts {path} of the node: {what}",
                to_do="take the mount away: who holds it can start containers or read credentials without any API",
            )
    if chosen := _control_plane(pods.spec):
        yield Road(
            kind=Kind.NODES,
            where=pods.where,
            found=f"may run on nodes of the control plane ({chosen})",
            to_do="keep agents' pods on nodes without administrators' files",
        )


def _at_path(path: str) -> str:
    clean = "/" + path.strip("/")
    if clean.rpartition("/")[2] in _SOCKETS or clean in ("/run", "/var/run", "/run/containerd", "/var/run/containerd"):
        return "the container runtime's socket"
    if any(clean == "/" or clean == one or clean.startswith(f"{one}/") or one.startswith(f"{clean}/") for one in
           _OF_KUBELET):  # fmt: skip
        return "credentials of the kubelet, or of the control plane"
    return ""


def _control_plane(spec: Mapping[str, Any]) -> str:
    selector = _inside(spec, "nodeSelector")
    if any(key in selector for key in _CONTROL_PLANE):
        return "nodeSelector"
    for toleration in mappings(spec.get("tolerations")):
        key = toleration.get("key")
        if key in _CONTROL_PLANE:
            return f"toleration of {key}"
        # No key with Exists is every taint; those that the DaemonSet controller adds have keys.
        if not key and toleration.get("operator") == "Exists":
            return "toleration of every taint"
    return ""


def _clouds(pods: PodsLike) -> Iterator[Road]:
    for key, what in CLOUD_OF_POD.items():
        if value := pods.annotations.get(key) or pods.labels.get(key):
            yield _cloud(pods.where, f"{what} ({key}: {value})")
    for field in CONTAINERS:
        for container in mappings(pods.spec.get(field)):
            named = {one.get("name") for one in mappings(container.get("env"))}
            if given := [name for name in _CLOUD_VARIABLES if name in named]:
                yield _cloud(pods.where, f"an identity of its cloud (container {container.get('name')}: {given[0]})")


def _cloud(where: str, what: str) -> Road:
    return Road(
        kind=Kind.CLOUDS,
        where=where,
        found=f"has {what}: clouds let some of those into their clusters, and into what lies under them",
        to_do="take it away, or see in the cloud that it may do nothing with clusters, nodes and disks",
    )


def _pull_secrets(pods: PodsLike) -> Iterator[Road]:
    names = [str(one.get("name")) for one in mappings(pods.spec.get("imagePullSecrets"))]
    if names:
        yield Road(
            kind=Kind.CREDENTIALS,
            where=pods.where,
            found=f"pulls images with {_some(names)}; whether that may push images too is for the registry to say",
            to_do="",
            is_doubt=True,
        )


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return "; ".join(texts[:MOST_NAMED]) + more


def _inside(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
