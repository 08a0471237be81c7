"""One request can mean several: who writes a workload uses what it names, who writes rights grants them.

Raw requests at a running gate, for an agent that may write the objects and nothing else; each is refused for what it
uses and passes as soon as that is allowed, too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import Agent, Gate

WRITE = ["create", "update", "patch", "delete"]
JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

WRITERS_RULE = {
    "id": "write",
    "effect": "allow",
    "verbs": WRITE,
    "apiGroups": ["", "apps", "batch", "rbac.authorization.k8s.io", "certificates.k8s.io"],
    "resources": [
        "pods", "deployments", "jobs", "cronjobs", "secrets", "persistentvolumes", "serviceaccounts", "nodes",
        "namespaces", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "certificatesigningrequests",
    ],
    "namespaces": ["*"],
}  # fmt: skip


@pytest.fixture(scope="module")
def writer(echo_gate: Gate) -> Agent:
    """Writes objects and uses nothing."""
    return echo_gate.agent("writer", [WRITERS_RULE], cluster="echo")


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **fields}]}


def volume(**source: Any) -> dict[str, Any]:
    return {**container(), "volumes": [{"name": "v", **source}]}


# A pod's spec, and what a refusal of it names.
SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "another ServiceAccount": ({**container(), "serviceAccountName": "strong"}, "strong"),
    "another ServiceAccount, by its old name": ({**container(), "serviceAccount": "strong"}, "strong"),
    "a Secret as a volume": (volume(secret={"secretName": "hidden"}), "hidden"),
    "a Secret projected": (volume(projected={"sources": [{"secret": {"name": "hidden"}}]}), "hidden"),
    "a Secret in a variable": (
        container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "k"}}}]),
        "hidden",
    ),
    "a Secret as the environment": (container(envFrom=[{"secretRef": {"name": "hidden"}}]), "hidden"),
    "a Secret to pull images with": ({**container(), "imagePullSecrets": [{"name": "hidden"}]}, "hidden"),
    "a Secret of a CSI driver": (
        volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "hidden"}}),
        "hidden",
    ),
    "a Secret in an init container": (
        {
            **container(),
            "initContainers": [{"name": "i", "image": "i", "envFrom": [{"secretRef": {"name": "hidden"}}]}],
        },
        "hidden",
    ),
    "a ConfigMap as a volume": (volume(configMap={"name": "settings"}), "settings"),
    "a ConfigMap as the environment": (container(envFrom=[{"configMapRef": {"name": "settings"}}]), "settings"),
    "a claim": (volume(persistentVolumeClaim={"claimName": "disk"}), "disk"),
    "a folder of the node": (volume(hostPath={"path": "/"}), "hostPath"),
    "the node's processes": ({**container(), "hostPID": True}, "hostPID"),
    "the node's network": ({**container(), "hostNetwork": True}, "hostNetwork"),
    "the node's IPC": ({**container(), "hostIPC": True}, "hostIPC"),
    "a privileged container": (container(securityContext={"privileged": True}), "privileged"),
    "a capability": (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "capabilities"),
    "a privileged init container": (
        {**container(), "initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]},
        "privileged",
    ),
    "a node past the scheduler": ({**container(), "nodeName": "master"}, "nodeName"),
}


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w"}, "spec": spec}


def templated(kind: str, version: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "w"}, "spec": spec}


def in_every_shape(spec: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    """A pod's spec in every request that brings it to life: method, target, content type and document."""
    template = {"template": {"spec": spec}}
    deployment = templated("Deployment", "apps/v1", template)
    cron = templated("CronJob", "batch/v1", {"jobTemplate": {"spec": template}})
    deployments = "/apis/apps/v1/namespaces/d/deployments"
    unnamed = {key: value for key, value in pod(spec).items() if key not in ("apiVersion", "kind")}
    return [
        ("POST", "/api/v1/namespaces/d/pods", JSON, pod(spec)),
        # Without kind and version: the API server takes them from the path.
        ("POST", "/api/v1/namespaces/d/pods", JSON, unnamed),
        ("POST", "/api/v1/namespaces/d/pods?dryRun=All", JSON, pod(spec)),
        ("POST", "/api/v1/namespaces/d/pods", "application/yaml", pod(spec)),
        ("POST", deployments, JSON, deployment),
        ("PUT", f"{deployments}/w", JSON, deployment),
        ("PATCH", f"{deployments}/w", MERGE, {"spec": template}),
        ("PATCH", f"{deployments}/w", STRATEGIC, {"spec": template}),
        ("PATCH", f"{deployments}/w?fieldManager=t&force=true", APPLY, deployment),
        ("PATCH", f"{deployments}/w", JSON_PATCH, [{"op": "replace", "path": "/spec/template/spec", "value": spec}]),
        (
            "PATCH",
            f"{deployments}/w",
            JSON_PATCH,
            [{"op": "add", "path": "/spec", "value": {"template": {"spec": spec}}}],
        ),
        ("POST", "/apis/batch/v1/namespaces/d/jobs", JSON, templated("Job", "batch/v1", template)),
        ("POST", "/apis/batch/v1/namespaces/d/cronjobs", JSON, cron),
    ]


@pytest.mark.parametrize("name", SPECS)
def test_a_workload_is_refused_for_what_its_pods_would_use(name: str, writer: Agent, echo: Echo, marker: str) -> None:
    spec, named = SPECS[name]

    for method, target, content_type, document in in_every_shape(spec):
        headers = {"Content-Type": content_type, "User-Agent": marker}
        answer = writer.request(method, target, headers, json.dumps(document).encode())

        assert answer.status == 403, (method, target, content_type)
        assert named in answer.message, (method, target, content_type)
    assert echo.with_marker(marker) == []


def test_a_workload_that_uses_nothing_passes_in_every_shape(writer: Agent, echo: Echo, marker: str) -> None:
    shapes = in_every_shape(container())

    for method, target, content_type, document in shapes:
        headers = {"Content-Type": content_type, "User-Agent": marker}
        answer = writer.request(method, target, headers, json.dumps(document).encode())

        assert answer.status == 200, (method, target, content_type, answer.body)
    assert len(echo.with_marker(marker)) == len(shapes)


def test_a_right_to_use_what_is_named_lets_the_workload_pass(echo_gate: Gate, echo: Echo, marker: str) -> None:
    used = [
        {"id": "s", "effect": "allow", "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]},
        {"id": "c", "effect": "allow", "verbs": ["use"], "apiGroups": [""], "resources": ["configmaps"]},
        {"id": "a", "effect": "allow", "verbs": ["use"], "apiGroups": [""], "resources": ["serviceaccounts"]},
        {"id": "h", "effect": "allow", "verbs": ["use"], "apiGroups": ["narrowgate.dev"], "resources": ["hostaccess"]},
    ]
    names = {"s": ["hidden"], "c": ["settings"], "a": ["strong"], "h": ["hostNetwork"]}
    rules = [WRITERS_RULE, *({**rule, "namespaces": ["d"], "names": names[str(rule["id"])]} for rule in used)]
    agent = echo_gate.agent("user", rules, cluster="echo")
    headers = {"Content-Type": JSON, "User-Agent": marker}
    spec = {
        **volume(secret={"secretName": "hidden"}),
        "serviceAccountName": "strong",
        "hostNetwork": True,
        "imagePullSecrets": [{"name": "hidden"}],
    }
    spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]

    allowed = agent.request("POST", "/api/v1/namespaces/d/pods", headers, json.dumps(pod(spec)).encode())
    spec["volumes"] = [{"name": "v", "secret": {"secretName": "another"}}]
    refused = agent.request("POST", "/api/v1/namespaces/d/pods", headers, json.dumps(pod(spec)).encode())

    assert allowed.status == 200
    assert refused.status == 403
    assert "another" in refused.message
    assert "volumes[0]" in refused.message
    assert len(echo.with_marker(marker)) == 1


# Fragments of a patch that name one thing deep inside a pod's spec.
DEEP = (
    ("/spec/template/spec/volumes/0/secret/secretName", "hidden", "hidden"),
    ("/spec/template/spec/volumes/-", {"name": "v", "secret": {"secretName": "hidden"}}, "hidden"),
    ("/spec/template/spec/containers/0/securityContext/privileged", True, "privileged"),
    ("/spec/template/spec/containers/0/envFrom/0/secretRef/name", "hidden", "hidden"),
    ("/spec/template/spec/serviceAccountName", "strong", "strong"),
    ("/spec/template/spec/hostPID", True, "hostPID"),
)


@pytest.mark.parametrize(("path", "value", "named"), DEEP)
@pytest.mark.parametrize("operation", ["add", "replace"])
def test_a_json_patch_is_refused_for_what_it_puts_deep_inside(
    operation: str, path: str, value: Any, named: str, writer: Agent, echo: Echo, marker: str
) -> None:
    body = json.dumps([{"op": operation, "path": path, "value": value}]).encode()
    headers = {"Content-Type": JSON_PATCH, "User-Agent": marker}

    answer = writer.request("PATCH", "/apis/apps/v1/namespaces/d/deployments/w", headers, body)

    assert answer.status == 403
    assert named in answer.message
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize("operation", ["move", "copy"])
def test_a_json_patch_that_does_not_show_what_it_writes_into_a_pod_is_refused(
    operation: str, writer: Agent, echo: Echo, marker: str
) -> None:
    patch = [{"op": operation, "from": "/metadata/annotations/x", "path": "/spec/template/spec/serviceAccountName"}]
    headers = {"Content-Type": JSON_PATCH, "User-Agent": marker}

    answer = writer.request("PATCH", "/apis/apps/v1/namespaces/d/deployments/w", headers, json.dumps(patch).encode())

    assert answer.status in (400, 403)
    assert "patch" in answer.message
    assert echo.with_marker(marker) == []


def message(*fields: tuple[int, bytes]) -> bytes:
    """A protobuf message of length-delimited fields, each shorter than 128 bytes."""
    return b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in fields)


def test_a_workload_in_protobuf_is_judged_or_refused_never_overlooked(writer: Agent, echo: Echo, marker: str) -> None:
    # Field numbers from k8s.io/api/core/v1/generated.proto and k8s.io/apimachinery/pkg/runtime/generated.proto.
    secret_volume = message((1, b"v"), (2, message((6, message((1, b"hidden"))))))
    spec = message((1, secret_volume), (2, message((1, b"c"), (2, b"i"))))
    body = message((1, message((1, b"w"))), (2, spec))
    envelope = b"k8s\x00" + message((1, message((1, b"v1"), (2, b"Pod"))), (2, body))
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf", "User-Agent": marker}

    answer = writer.request("POST", "/api/v1/namespaces/d/pods", headers, envelope)

    assert answer.status in (403, 415)
    assert "hidden" in answer.message or "JSON" in answer.message
    assert echo.with_marker(marker) == []


# --- admin in disguise ---

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMIN_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


def rbac(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "w"}, **fields}


DISGUISES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a role": ("POST", f"{RBAC}/namespaces/d/roles", rbac("Role", rules=EVERYTHING)),
    "a cluster role": ("POST", f"{RBAC}/clusterroles", rbac("ClusterRole", rules=EVERYTHING)),
    "a cluster role changed": ("PUT", f"{RBAC}/clusterroles/w", rbac("ClusterRole", rules=EVERYTHING)),
    "a binding": (
        "POST",
        f"{RBAC}/namespaces/d/rolebindings",
        rbac("RoleBinding", roleRef=ADMIN_ROLE, subjects=[]),
    ),
    "a cluster binding": (
        "POST",
        f"{RBAC}/clusterrolebindings",
        rbac("ClusterRoleBinding", roleRef=ADMIN_ROLE, subjects=[]),
    ),
    "a token": (
        "POST",
        "/api/v1/namespaces/d/serviceaccounts/default/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}},
    ),
    "a Secret that becomes a token": (
        "POST",
        "/api/v1/namespaces/d/secrets",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "w", "annotations": {"kubernetes.io/service-account.name": "strong"}},
        },
    ),
    "a signature on a certificate": (
        "PUT",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests/w/approval",
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": "w"},
            "spec": {"signerName": "kubernetes.io/kube-apiserver-client", "request": "", "usages": []},
        },
    ),
    "the node's disk as a volume": (
        "POST",
        "/api/v1/persistentvolumes",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "w"},
            "spec": {"hostPath": {"path": "/"}},
        },
    ),
    "a node's status": (
        "PUT",
        "/api/v1/nodes/w/status",
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w"}},
    ),
    "the end of a namespace's finalizers": (
        "PUT",
        "/api/v1/namespaces/w/finalize",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "w"}, "spec": {"finalizers": []}},
    ),
    "a pod on a node of choice": (
        "POST",
        "/api/v1/namespaces/d/pods/w/binding",
        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "w"}, "target": {"kind": "Node", "name": "n"}},
    ),
    "an eviction": (
        "POST",
        "/api/v1/namespaces/d/pods/w/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "w"}},
    ),
    "a debugging container": (
        "PATCH",
        "/api/v1/namespaces/d/pods/w/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "x", "image": "i"}]}},
    ),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_writing_the_objects_is_no_right_to_become_an_administrator(
    name: str, writer: Agent, echo: Echo, marker: str
) -> None:
    method, target, document = DISGUISES[name]
    headers = {"Content-Type": MERGE if method == "PATCH" else JSON, "User-Agent": marker}

    answer = writer.request(method, target, headers, json.dumps(document).encode())

    assert answer.status == 403
    assert answer.message
    assert echo.with_marker(marker) == []


def test_a_binding_passes_for_who_may_bind_that_very_role(echo_gate: Gate, echo: Echo, marker: str) -> None:
    bind = {
        "id": "bind",
        "effect": "allow",
        "verbs": ["bind"],
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "namespaces": ["*"],
        "names": ["view"],
    }
    agent = echo_gate.agent("binder", [WRITERS_RULE, bind], cluster="echo")
    headers = {"Content-Type": JSON, "User-Agent": marker}

    def status(role: str) -> int:
        document = rbac("RoleBinding", roleRef={**ADMIN_ROLE, "name": role}, subjects=[])
        target = f"{RBAC}/namespaces/d/rolebindings"
        return agent.request("POST", target, headers, json.dumps(document).encode()).status

    assert status("view") == 200
    assert status("cluster-admin") == 403
    assert len(echo.with_marker(marker)) == 1
