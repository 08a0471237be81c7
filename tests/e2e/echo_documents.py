"""What the echo serves of its own: the resources that it claims to have, as discovery lists them, and a certificate."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CERTIFICATE_DAYS = 2


def _resource(
    name: str, kind: str, *, namespaced: bool, subresources: Iterable[tuple[str, str, str]] = ()
) -> dict[str, Any]:
    every = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    return {"name": name, "kind": kind, "namespaced": namespaced, "verbs": every, "subresources": list(subresources)}


# Group version to resources: name, kind, scope, and subresources with their kind and verbs. Enough for every line about
# the meaning of requests; shaped as a real server lists it (pods/exec and its like have connect's two verbs).
RESOURCES: Mapping[str, list[dict[str, Any]]] = {
    "v1": [
        _resource("configmaps", "ConfigMap", namespaced=True),
        _resource("secrets", "Secret", namespaced=True),
        _resource(
            "pods",
            "Pod",
            namespaced=True,
            subresources=[
                ("attach", "PodAttachOptions", "create get"),
                ("binding", "Binding", "create"),
                ("ephemeralcontainers", "Pod", "get patch update"),
                ("eviction", "Eviction", "create"),
                ("exec", "PodExecOptions", "create get"),
                ("log", "Pod", "get"),
                ("portforward", "PodPortForwardOptions", "create get"),
                ("proxy", "PodProxyOptions", "create delete get patch update"),
                ("status", "Pod", "get patch update"),
            ],
        ),
        _resource(
            "services",
            "Service",
            namespaced=True,
            subresources=[
                ("proxy", "ServiceProxyOptions", "create delete get patch update"),
                ("status", "Service", "get patch update"),
            ],
        ),
        _resource(
            "serviceaccounts", "ServiceAccount", namespaced=True, subresources=[("token", "TokenRequest", "create")]
        ),
        _resource(
            "namespaces",
            "Namespace",
            namespaced=False,
            subresources=[("finalize", "Namespace", "update"), ("status", "Namespace", "get patch update")],
        ),
        _resource(
            "nodes",
            "Node",
            namespaced=False,
            subresources=[
                ("proxy", "NodeProxyOptions", "create delete get patch update"),
                ("status", "Node", "get patch update"),
            ],
        ),
        _resource("persistentvolumes", "PersistentVolume", namespaced=False),
    ],
    "apps/v1": [
        _resource(
            "deployments",
            "Deployment",
            namespaced=True,
            subresources=[("scale", "Scale", "get patch update"), ("status", "Deployment", "get patch update")],
        ),
    ],
    "batch/v1": [_resource("jobs", "Job", namespaced=True), _resource("cronjobs", "CronJob", namespaced=True)],
    "rbac.authorization.k8s.io/v1": [
        _resource("roles", "Role", namespaced=True),
        _resource("rolebindings", "RoleBinding", namespaced=True),
        _resource("clusterroles", "ClusterRole", namespaced=False),
        _resource("clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    ],
    "certificates.k8s.io/v1": [
        _resource(
            "certificatesigningrequests",
            "CertificateSigningRequest",
            namespaced=False,
            subresources=[
                ("approval", "CertificateSigningRequest", "get patch update"),
                ("status", "CertificateSigningRequest", "get patch update"),
            ],
        )
    ],
    "authorization.k8s.io/v1": [
        _resource("selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False),
        _resource("selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False),
        _resource("subjectaccessreviews", "SubjectAccessReview", namespaced=False),
    ],
}


def status_document(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}


def content_type_of(document: Mapping[str, Any]) -> str:
    if document.get("kind") == "APIGroupDiscoveryList":
        return "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    return "application/json"


ROLES_AND_BINDINGS = frozenset(
    f"/apis/rbac.authorization.k8s.io/v1/{resource}"
    for resource in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)


def discovery(target: str, accept: str) -> dict[str, Any] | None:
    """The discovery document at a target, aggregated where the caller takes that (KEP-3352), or nothing."""
    path = target.partition("?")[0].rstrip("/")
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0-echo"}
    if path in ("/api", "/apis") and "g=apidiscovery.k8s.io" in accept:
        core = path == "/api"
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [_aggregated(version) for version in RESOURCES if ("/" not in version) is core],
        }
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(v) for v in RESOURCES if "/" in v]}
    if path in ROLES_AND_BINDINGS and target.endswith("?limit=500"):
        # Asked by the gate for itself: nobody's ServiceAccount may do anything here.
        return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}
    version = path.removeprefix("/apis/") if path.startswith("/apis/") else path.removeprefix("/api/")
    return _resource_list(version) if version in RESOURCES else None


def _group(group_version: str) -> dict[str, Any]:
    group, _, version = group_version.rpartition("/")
    entry = {"groupVersion": group_version, "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _aggregated(group_version: str) -> dict[str, Any]:
    group, _, version = group_version.rpartition("/")
    resources = [
        {
            "resource": entry["name"],
            "responseKind": {"group": group, "version": version, "kind": entry["kind"]},
            "scope": "Namespaced" if entry["namespaced"] else "Cluster",
            "singularResource": entry["kind"].lower(),
            "verbs": entry["verbs"],
            "subresources": [
                {
                    "subresource": name,
                    "responseKind": {"group": group, "version": version, "kind": kind},
                    "verbs": verbs.split(),
                }
                for name, kind, verbs in entry["subresources"]
            ],
        }
        for entry in RESOURCES[group_version]
    ]
    return {
        "metadata": {"name": group} if group else {},
        "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
    }


def _resource_list(group_version: str) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for entry in RESOURCES[group_version]:
        plain = {key: entry[key] for key in ("name", "kind", "namespaced", "verbs")}
        listed.append({**plain, "singularName": entry["kind"].lower()})
        listed += [
            {
                "name": f"{entry['name']}/{name}",
                "singularName": "",
                "namespaced": entry["namespaced"],
                "kind": kind,
                "verbs": verbs.split(),
            }
            for name, kind, verbs in entry["subresources"]
        ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def make_certificate(authority: Path, pair: Path) -> Path:
    """A certificate for 127.0.0.1 with its key in one file; it is its own authority, written beside."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "echo")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority.write_bytes(pem)
    pair.touch(mode=0o600)
    pair.write_bytes(private + pem)
    return pair
