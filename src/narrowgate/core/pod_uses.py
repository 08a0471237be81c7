"""What a pod's spec uses: its account, Secrets, ConfigMaps and claims, and what it takes from the node.

Field names follow k8s.io/api/core/v1/types.go, which of them name Secrets and ConfigMaps follows
k8s.io/kubernetes/pkg/api/v1/pod/util.go, and what counts as host access follows the "baseline" profile of the Pod
Security Standards. Fields of the wrong type are passed over, since the API server refuses the object for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from narrowgate.core.intent import GATE_GROUP, Use

HOST_ACCESS = {
    "capabilities": "Linux capabilities beyond those that a container runtime gives by default",
    "hostIPC": "the node's inter-process communication",
    "hostNetwork": "the node's network",
    "hostPath": "a folder or disk of the node (in a PersistentVolume: hostPath and local)",
    "hostPID": "the node's processes",
    "hostPort": "a port of the node",
    "hostProcess": "a Windows process on the node itself",
    "nodeName": "a node chosen past the scheduler",
    "privileged": "a privileged container",
    "sysctls": "kernel settings that are not namespaced",
    "unconfined": "no seccomp or AppArmor profile, an SELinux type of its own, or an unmasked /proc",
}
"""The names of `hostaccess.narrowgate.dev` in rules (verb `use`), and what each lets a pod have."""

_READ = ("use", "get")
_PUBLIC_CONFIG_MAP = "kube-root-ca.crt"
"""In every namespace, holds the cluster's CA only, and stands in each pod that the API server has completed."""

_SECRETS_STORE = ("secrets-store.csi.k8s.io", "secrets-store.csi.x-k8s.io")
"""The driver whose volumes hold what is in a store of secrets outside of the cluster, and the group of the
SecretProviderClass that says which (secrets-store-csi-driver.sigs.k8s.io)."""
_SNAPSHOTS = "snapshot.storage.k8s.io"
_DEVICES = "resource.k8s.io"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
"""Annotations that the API server still writes into the fields of the pods that are made with them
(k8s.io/kubernetes/pkg/registry/core/pod, `applyAppArmorVersionSkew`)."""

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
POD_FIELDS = frozenset(
    {
        "env",
        "envFrom",
        "imagePullSecrets",
        "nodeName",
        "ports",
        "resourceClaims",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "volumes",
        *_HOST_NAMESPACES,
    }
)
"""Every field in which `pod_fields`, `container_fields` and the choice of a node look for uses."""

DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)


def mapping_at(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """The mapping at `path`; an empty one where there is none."""
    for segment in path:
        if not isinstance(value, dict):
            return {}
        value = value.get(segment)
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """The mappings in a list, with their places."""
    if not isinstance(value, list):
        return []
    return [(index, item) for index, item in enumerate(value) if isinstance(item, dict)]


def use_of(verbs: tuple[str, ...], resource: str, namespace: str, name: str, because: str, api_group: str = "") -> Use:
    """A use, in the order in which it is read."""
    return Use(verbs=verbs, api_group=api_group, resource=resource, namespace=namespace, name=name, because=because)


def named(resource: str, namespace: str, name: Any, because: str, api_group: str = "") -> Iterator[Use]:
    """The use of a Secret, ConfigMap or claim, if it is named."""
    if isinstance(name, str) and name and not (resource == "configmaps" and name == _PUBLIC_CONFIG_MAP):
        yield use_of(_READ, resource, namespace, name, because, api_group)


def host_access(name: str, namespace: str, because: str) -> Use:
    """The use of something of the node; `name` is one of HOST_ACCESS."""
    return use_of(("use",), "hostaccess", namespace, name, because, GATE_GROUP)


def pod_spec(spec: dict[str, Any], at: str, namespace: str, shown_whole: bool = True) -> Iterator[Use]:
    """All that a pod's spec, found `at` this place of an object, uses; a patch does not show it whole."""
    yield from pod_fields(spec, at, namespace, shown_whole)
    if spec.get("nodeName"):
        yield host_access("nodeName", namespace, f"{at}.nodeName")
    for field in _CONTAINERS:
        for index, container in _items(spec.get(field)):
            yield from container_fields(container, f"{at}.{field}[{index}]", namespace)


def pod_fields(spec: dict[str, Any], at: str, namespace: str, shown_whole: bool = True) -> Iterator[Use]:
    """What a pod's spec uses outside of its containers."""
    account = ""  # in a patch that does not show it: any
    for field in ("serviceAccountName", "serviceAccount"):
        name = spec.get(field)
        if isinstance(name, str) and name:
            account = account or name
            if name != "default":
                yield use_of(("use",), "serviceaccounts", namespace, name, f"{at}.{field}")
    for field in _HOST_NAMESPACES:
        if spec.get(field):
            yield host_access(field, namespace, f"{at}.{field}")
    yield from pull_secrets(spec, f"{at}.", namespace)
    for index, volume in _items(spec.get("volumes")):
        yield from _volume(volume, f"{at}.volumes[{index}]", namespace, account or ("default" if shown_whole else ""))
    for index, device in _items(spec.get("resourceClaims")):
        for field, resource in (
            ("resourceClaimName", "resourceclaims"),
            ("resourceClaimTemplateName", "resourceclaimtemplates"),
        ):
            here = f"{at}.resourceClaims[{index}].{field}"
            yield from named(resource, namespace, device.get(field), here, _DEVICES)
    if "securityContext" in spec:
        yield from _security_context(spec["securityContext"], f"{at}.securityContext", namespace)


def pull_secrets(spec: dict[str, Any], before: str, namespace: str) -> Iterator[Use]:
    """The Secrets with which images are pulled for a pod, or for all pods of an account."""
    for index, reference in _items(spec.get("imagePullSecrets")):
        yield from named("secrets", namespace, reference.get("name"), f"{before}imagePullSecrets[{index}].name")


def _volume(volume: dict[str, Any], at: str, namespace: str, account: str) -> Iterator[Use]:
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        here = f"{at}.{kind}"
        if kind == "configMap":
            yield from named("configmaps", namespace, source.get("name"), f"{here}.name")
        elif kind == "persistentVolumeClaim":
            yield from named("persistentvolumeclaims", namespace, source.get("claimName"), f"{here}.claimName")
        elif kind == "hostPath":
            yield host_access("hostPath", namespace, here)
        elif kind == "projected":
            for index, part in _items(source.get("sources")):
                yield from _projected(part, f"{here}.sources[{index}]", namespace, account)
        elif kind == "ephemeral":
            claim = mapping_at(source, ("volumeClaimTemplate", "spec"))
            yield from data_source(claim, f"{here}.volumeClaimTemplate.spec", namespace)
        else:
            yield from _secrets_of_volume(source, here, namespace)


def _secrets_of_volume(source: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """Secrets that any other kind of volume names: `secretName`, or a reference called ...SecretRef."""
    yield from named("secrets", namespace, source.get("secretName"), f"{at}.secretName")
    for field in ("secretRef", "nodePublishSecretRef"):
        reference = mapping_at(source, (field,))
        yield from named("secrets", namespace, reference.get("name"), f"{at}.{field}.name")
    driver, group = _SECRETS_STORE
    if source.get("driver") == driver:
        name = mapping_at(source, ("volumeAttributes",)).get("secretProviderClass")
        here = f"{at}.volumeAttributes.secretProviderClass"
        yield from named("secretproviderclasses", namespace, name, here, group)


def _projected(part: dict[str, Any], at: str, namespace: str, account: str) -> Iterator[Use]:
    yield from named("secrets", namespace, mapping_at(part, ("secret",)).get("name"), f"{at}.secret.name")
    yield from named("configmaps", namespace, mapping_at(part, ("configMap",)).get("name"), f"{at}.configMap.name")
    # A token for the API server is what every pod has of its account; one for another audience opens something else.
    if mapping_at(part, ("serviceAccountToken",)).get("audience"):
        yield use_of(("use",), "serviceaccounts", namespace, account, f"{at}.serviceAccountToken.audience")
    if mapping_at(part, ("podCertificate",)):
        yield use_of(("use",), "serviceaccounts", namespace, account, f"{at}.podCertificate.signerName")


def container_fields(container: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """What one container uses."""
    for index, variable in _items(container.get("env")):
        source = variable.get("valueFrom")
        if isinstance(source, dict):
            for field, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
                name = mapping_at(source, (field,)).get("name")
                yield from named(resource, namespace, name, f"{at}.env[{index}].valueFrom.{field}.name")
    for index, source in _items(container.get("envFrom")):
        for field, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            name = mapping_at(source, (field,)).get("name")
            yield from named(resource, namespace, name, f"{at}.envFrom[{index}].{field}.name")
    for index, port in _items(container.get("ports")):
        if port.get("hostPort"):
            yield host_access("hostPort", namespace, f"{at}.ports[{index}].hostPort")
    if "securityContext" in container:
        yield from _security_context(container["securityContext"], f"{at}.securityContext", namespace)


def _security_context(context: Any, at: str, namespace: str) -> Iterator[Use]:
    """What a pod's or a container's securityContext takes from the node."""
    if not isinstance(context, dict):
        return
    if context.get("privileged"):
        yield host_access("privileged", namespace, f"{at}.privileged")
    added = mapping_at(context, ("capabilities",)).get("add")
    if isinstance(added, list) and not all(name in DEFAULT_CAPABILITIES for name in added if isinstance(name, str)):
        yield host_access("capabilities", namespace, f"{at}.capabilities.add")
    if mapping_at(context, ("windowsOptions",)).get("hostProcess"):
        yield host_access("hostProcess", namespace, f"{at}.windowsOptions.hostProcess")
    for index, sysctl in _items(context.get("sysctls")):
        if sysctl.get("name") not in SAFE_SYSCTLS:
            yield host_access("sysctls", namespace, f"{at}.sysctls[{index}].name")
    for field in _unconfined(context):
        yield host_access("unconfined", namespace, f"{at}.{field}")


def _unconfined(context: dict[str, Any]) -> Iterator[str]:
    """The fields of a securityContext that take its confinement away."""
    for field in ("seccompProfile", "appArmorProfile"):
        if mapping_at(context, (field,)).get("type") == "Unconfined":
            yield f"{field}.type"
    if context.get("procMount", "Default") not in ("Default", "", None):
        yield "procMount"
    labels = mapping_at(context, ("seLinuxOptions",))
    if labels.get("user") or labels.get("role") or (labels.get("type") or "") not in SELINUX_TYPES:
        yield "seLinuxOptions"


def data_source(spec: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """The claim, or the snapshot of one, whose content a new claim begins with."""
    for field in ("dataSource", "dataSourceRef"):
        source = mapping_at(spec, (field,))
        elsewhere, kind = str(source.get("namespace") or namespace), source.get("kind", "PersistentVolumeClaim")
        if kind == "PersistentVolumeClaim":
            yield from named("persistentvolumeclaims", elsewhere, source.get("name"), f"{at}.{field}.name")
        elif kind == "VolumeSnapshot":
            yield from named("volumesnapshots", elsewhere, source.get("name"), f"{at}.{field}.name", _SNAPSHOTS)


def pod_annotations(annotations: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """What the annotations of a pod, found `at` this place, take from the node."""
    for key, value in annotations.items():
        if key.startswith(_APPARMOR) and value == "unconfined":
            yield host_access("unconfined", namespace, f"{at}[{key}]")


def claims_of_set(spec: dict[str, Any], namespace: str) -> Iterator[Use]:
    """The claims of a StatefulSet's pods: those of their names that are there already, whoever made them
    (k8s.io/kubernetes/pkg/controller/statefulset, `getPersistentVolumeClaimName`).

    How many pods there will be nobody knows, so that any claim counts as used: it has no name.
    """
    for index, claim in _items(spec.get("volumeClaimTemplates")):
        at = f"spec.volumeClaimTemplates[{index}]"
        yield use_of(_READ, "persistentvolumeclaims", namespace, "", at)
        yield from data_source(mapping_at(claim, ("spec",)), f"{at}.spec", namespace)
