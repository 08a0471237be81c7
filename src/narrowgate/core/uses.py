"""What a written object makes use of besides itself: the further checks that one write implies.

Creating a workload uses the ServiceAccount, Secrets, ConfigMaps, claims and host access that its pod template names;
writing a binding grants a role; a token Secret mints a token. Each becomes a `Use`, which `decide` asks the policy
about as it asks about the request itself. Field names follow k8s.io/api/core/v1/types.go, which of them name Secrets
and ConfigMaps follows k8s.io/kubernetes/pkg/api/v1/pod/util.go, what counts as host access follows the "baseline"
profile of the Pod Security Standards, and `bind` and `escalate` are RBAC's own verbs (pkg/registry/rbac).

A patch is read as the fragments that it shows: it uses what it adds, not what the object had before. Fields of the
wrong type are passed over, since the API server refuses the object for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from narrowgate.core import patches
from narrowgate.core.intent import GATE_GROUP, Use
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

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

BUILT_IN_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""Groups whose kinds are known: those of them that use something are listed below. Kinds of any other group may hold a
pod template anywhere, so each of their mappings is read as if it were a pod's spec and a container."""

_POD = ("spec",)
_TEMPLATE = ("spec", "template", "spec")
_POD_SPECS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): _POD,
    ("", "podtemplates"): ("template", "spec"),
    ("", "replicationcontrollers"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "replicasets"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("extensions", "daemonsets"): _TEMPLATE,
    ("extensions", "deployments"): _TEMPLATE,
    ("extensions", "replicasets"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "jobs"): _TEMPLATE,
}
"""Where the kinds that Kubernetes has keep their pod spec."""

_RBAC = "rbac.authorization.k8s.io"
_ROLES = frozenset({(_RBAC, "roles"), (_RBAC, "clusterroles")})
_BINDINGS = frozenset({(_RBAC, "rolebindings"), (_RBAC, "clusterrolebindings")})
_PLACES: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {
    **{key: (path,) for key, path in _POD_SPECS.items()},
    ("", "secrets"): (("type",), ("metadata", "annotations")),
    ("", "persistentvolumes"): (("spec",),),
    ("", "persistentvolumeclaims"): (("spec",),),
    **dict.fromkeys(_BINDINGS, (("roleRef",),)),
    **dict.fromkeys(_ROLES, ()),
}
"""Where each kind that uses something says so: values that a patch does not show must not go there."""

_UNKNOWN_PLACES = ((),)
"""In a kind that is not known, that may be anywhere."""

_READ = ("use", "get")
_SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
_PUBLIC_CONFIG_MAP = "kube-root-ca.crt"
"""In every namespace, holds the cluster's CA only, and stands in each pod that the API server has completed."""

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_DEFAULT_CAPABILITIES = frozenset(
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
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_SAFE_SYSCTLS = frozenset(
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

JSON_PATCH = "application/json-patch+json"


def is_unseen(use: Use) -> bool:
    """Whether this stands for something whose name the request does not show.

    It has no name: no rule with `names` covers it, and every guard with `names` holds for it.
    """
    return use.verbs == ("bind",) and not use.name


def may_use(info: RequestInfo) -> bool:
    """Whether writing at this place can use something at all; if not, the body need not be seen for it."""
    if info.api_group not in BUILT_IN_GROUPS:
        return info.subresource not in ("status", "scale")
    key = (info.api_group, info.resource)
    if info.subresource:
        return key == ("", "pods") and info.subresource == "ephemeralcontainers"
    return key in _PLACES


def uses_of(info: RequestInfo, object: Any) -> tuple[Use, ...]:
    """What the whole object that `info` writes uses, each thing once, in the order in which it is named."""
    return _once(_read(info, object, shown_whole=True)) if may_use(info) else ()


def uses_of_patch(info: RequestInfo, content_type: str, patch: Any) -> tuple[Use, ...]:
    """What a patch adds to what the object uses.

    Merge, strategic and apply patches are read as partial objects, a JSON patch as one for each operation. Raises
    Malformed (400) where a JSON patch moves or copies a value that it does not show to a place where it would count.
    """
    if content_type != JSON_PATCH:
        return _once(_read(info, patch, shown_whole=False)) if may_use(info) else ()
    fragments = []
    for write in patches.written(patch):
        if may_use(info):
            if not write.shown and _counts(info, write.path):
                raise Malformed(
                    f"cannot judge a JSON patch that moves or copies to /{'/'.join(write.path)[:200]}: "
                    "it does not show what it writes there; write it as a merge patch"
                )
            fragments.append(patches.laid(write))
    return _once(use for fragment in fragments for use in _read(info, fragment, shown_whole=False))


def _counts(info: RequestInfo, path: tuple[str, ...]) -> bool:
    """Whether a value written at `path` would hold, or be part of, something that is used."""
    if info.api_group not in BUILT_IN_GROUPS and path[:1] in (("metadata",), ("status",)):
        return False
    places = _PLACES.get((info.api_group, info.resource), _UNKNOWN_PLACES)
    return any(path[: len(place)] == place[: len(path)] for place in places)


def _once(uses: Iterator[Use]) -> tuple[Use, ...]:
    found: dict[tuple[object, ...], Use] = {}
    for use in uses:
        found.setdefault((use.verbs, use.api_group, use.resource, use.namespace, use.name), use)
    return tuple(found.values())


def _read(info: RequestInfo, written: Any, shown_whole: bool) -> Iterator[Use]:
    """Read one object, or one fragment of it, as the kind that `info` names."""
    key = (info.api_group, info.resource)
    if key in _POD_SPECS:
        yield from _pod_spec(_at(written, _POD_SPECS[key]), ".".join(_POD_SPECS[key]), info)
    elif key == ("", "secrets"):
        yield from _token_secret(written, info, shown_whole)
    elif key == ("", "persistentvolumes"):
        yield from _persistent_volume(_at(written, _POD))
    elif key == ("", "persistentvolumeclaims"):
        yield from _claim(_at(written, _POD), "spec", info.namespace)
    elif key in _ROLES:
        yield _use(("escalate",), info.resource, info.namespace, info.name, "rules", _RBAC)
    elif key in _BINDINGS:
        yield from _binding(written, info)
    else:
        yield from _anywhere(written, info)


def _at(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
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


def _use(verbs: tuple[str, ...], resource: str, namespace: str, name: str, because: str, api_group: str = "") -> Use:
    return Use(verbs=verbs, api_group=api_group, resource=resource, namespace=namespace, name=name, because=because)


def _named(resource: str, namespace: str, name: Any, because: str) -> Iterator[Use]:
    """The use of a Secret, ConfigMap or claim, if it is named."""
    if isinstance(name, str) and name and not (resource == "configmaps" and name == _PUBLIC_CONFIG_MAP):
        yield _use(_READ, resource, namespace, name, because)


def _host(name: str, namespace: str, because: str) -> Use:
    return _use(("use",), "hostaccess", namespace, name, because, GATE_GROUP)


def _pod_spec(spec: dict[str, Any], at: str, info: RequestInfo) -> Iterator[Use]:
    """All that a pod's spec uses."""
    yield from _pod_fields(spec, at, info.namespace)
    # The API server lets no update of a pod change its node, and every pod that runs has one.
    if spec.get("nodeName") and not (info.resource == "pods" and info.verb == "update"):
        yield _host("nodeName", info.namespace, f"{at}.nodeName")
    for field in _CONTAINERS:
        for index, container in _items(spec.get(field)):
            yield from _container(container, f"{at}.{field}[{index}]", info.namespace)


def _pod_fields(spec: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """What a pod's spec uses outside of its containers."""
    account = ""
    for field in ("serviceAccountName", "serviceAccount"):
        name = spec.get(field)
        if isinstance(name, str) and name:
            account = account or name
            if name != "default":
                yield _use(("use",), "serviceaccounts", namespace, name, f"{at}.{field}")
    for field in _HOST_NAMESPACES:
        if spec.get(field):
            yield _host(field, namespace, f"{at}.{field}")
    for index, reference in _items(spec.get("imagePullSecrets")):
        yield from _named("secrets", namespace, reference.get("name"), f"{at}.imagePullSecrets[{index}].name")
    for index, volume in _items(spec.get("volumes")):
        yield from _volume(volume, f"{at}.volumes[{index}]", namespace, account or "default")
    if "securityContext" in spec:
        yield from _security_context(spec["securityContext"], f"{at}.securityContext", namespace)


def _volume(volume: dict[str, Any], at: str, namespace: str, account: str) -> Iterator[Use]:
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        here = f"{at}.{kind}"
        if kind == "configMap":
            yield from _named("configmaps", namespace, source.get("name"), f"{here}.name")
        elif kind == "persistentVolumeClaim":
            yield from _named("persistentvolumeclaims", namespace, source.get("claimName"), f"{here}.claimName")
        elif kind == "hostPath":
            yield _host("hostPath", namespace, here)
        elif kind == "projected":
            for index, part in _items(source.get("sources")):
                yield from _projected(part, f"{here}.sources[{index}]", namespace, account)
        elif kind == "ephemeral":
            claim = _at(source, ("volumeClaimTemplate", "spec"))
            yield from _claim(claim, f"{here}.volumeClaimTemplate.spec", namespace)
        else:
            yield from _secrets_of_volume(source, here, namespace)


def _secrets_of_volume(source: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """Secrets that any other kind of volume names: `secretName`, or a reference called ...SecretRef."""
    yield from _named("secrets", namespace, source.get("secretName"), f"{at}.secretName")
    for field in ("secretRef", "nodePublishSecretRef"):
        reference = _at(source, (field,))
        yield from _named("secrets", namespace, reference.get("name"), f"{at}.{field}.name")


def _projected(part: dict[str, Any], at: str, namespace: str, account: str) -> Iterator[Use]:
    yield from _named("secrets", namespace, _at(part, ("secret",)).get("name"), f"{at}.secret.name")
    yield from _named("configmaps", namespace, _at(part, ("configMap",)).get("name"), f"{at}.configMap.name")
    # A token for the API server is what every pod has of its account; one for another audience opens something else.
    if _at(part, ("serviceAccountToken",)).get("audience"):
        yield _use(("use",), "serviceaccounts", namespace, account, f"{at}.serviceAccountToken.audience")


def _container(container: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    for index, variable in _items(container.get("env")):
        source = variable.get("valueFrom")
        if isinstance(source, dict):
            for field, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
                name = _at(source, (field,)).get("name")
                yield from _named(resource, namespace, name, f"{at}.env[{index}].valueFrom.{field}.name")
    for index, source in _items(container.get("envFrom")):
        for field, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            name = _at(source, (field,)).get("name")
            yield from _named(resource, namespace, name, f"{at}.envFrom[{index}].{field}.name")
    for index, port in _items(container.get("ports")):
        if port.get("hostPort"):
            yield _host("hostPort", namespace, f"{at}.ports[{index}].hostPort")
    if "securityContext" in container:
        yield from _security_context(container["securityContext"], f"{at}.securityContext", namespace)


def _security_context(context: Any, at: str, namespace: str) -> Iterator[Use]:
    """What a pod's or a container's securityContext takes from the node."""
    if not isinstance(context, dict):
        return
    if context.get("privileged"):
        yield _host("privileged", namespace, f"{at}.privileged")
    added = _at(context, ("capabilities",)).get("add")
    if isinstance(added, list) and not all(name in _DEFAULT_CAPABILITIES for name in added if isinstance(name, str)):
        yield _host("capabilities", namespace, f"{at}.capabilities.add")
    if _at(context, ("windowsOptions",)).get("hostProcess"):
        yield _host("hostProcess", namespace, f"{at}.windowsOptions.hostProcess")
    for index, sysctl in _items(context.get("sysctls")):
        if sysctl.get("name") not in _SAFE_SYSCTLS:
            yield _host("sysctls", namespace, f"{at}.sysctls[{index}].name")
    for field in _unconfined(context):
        yield _host("unconfined", namespace, f"{at}.{field}")


def _unconfined(context: dict[str, Any]) -> Iterator[str]:
    """The fields of a securityContext that take its confinement away."""
    for field in ("seccompProfile", "appArmorProfile"):
        if _at(context, (field,)).get("type") == "Unconfined":
            yield f"{field}.type"
    if context.get("procMount", "Default") not in ("Default", "", None):
        yield "procMount"
    labels = _at(context, ("seLinuxOptions",))
    if labels.get("user") or labels.get("role") or (labels.get("type") or "") not in _SELINUX_TYPES:
        yield "seLinuxOptions"


def _token_secret(secret: Any, info: RequestInfo, shown_whole: bool) -> Iterator[Use]:
    """A token Secret is a TokenRequest without an end: whoever writes it must be allowed to mint that token."""
    name = _at(secret, ("metadata", "annotations")).get(_SERVICE_ACCOUNT_NAME)
    # What type a patched Secret has, the patch does not show.
    if name and (not shown_whole or secret.get("type") == _SERVICE_ACCOUNT_TOKEN):
        because = f"metadata.annotations[{_SERVICE_ACCOUNT_NAME}]"
        yield _use(("create",), "serviceaccounts/token", info.namespace, str(name), because)


def _persistent_volume(spec: dict[str, Any]) -> Iterator[Use]:
    """The node's disks, and Secrets of any namespace, that a PersistentVolume names."""
    for kind, source in spec.items():
        if kind in ("hostPath", "local") and source is not None:
            yield _host("hostPath", "", f"spec.{kind}")
        elif isinstance(source, dict):
            namespace = source.get("secretNamespace")
            yield from _named("secrets", str(namespace or ""), source.get("secretName"), f"spec.{kind}.secretName")
            for field, reference in source.items():
                if field.endswith(("SecretRef", "secretRef")) and isinstance(reference, dict):
                    namespace = str(reference.get("namespace") or "")
                    yield from _named("secrets", namespace, reference.get("name"), f"spec.{kind}.{field}.name")


def _claim(spec: dict[str, Any], at: str, namespace: str) -> Iterator[Use]:
    """The claim whose content a new claim begins with."""
    for field in ("dataSource", "dataSourceRef"):
        source = _at(spec, (field,))
        if source.get("kind", "PersistentVolumeClaim") == "PersistentVolumeClaim":
            elsewhere = str(source.get("namespace") or namespace)
            yield from _named("persistentvolumeclaims", elsewhere, source.get("name"), f"{at}.{field}.name")


def _binding(binding: Any, info: RequestInfo) -> Iterator[Use]:
    """The role that a binding grants. A patch need not show it: then any, of either kind, which has no name."""
    role = _at(binding, ("roleRef",))
    kind, name = role.get("kind"), role.get("name")
    if isinstance(name, str) and name and kind in ("Role", "ClusterRole"):
        resource = "roles" if kind == "Role" else "clusterroles"
        yield _use(("bind",), resource, info.namespace, name, "roleRef.name", _RBAC)
        return
    yield _use(("bind",), "clusterroles", info.namespace, "", "roleRef", _RBAC)
    if info.resource == "rolebindings":
        yield _use(("bind",), "roles", info.namespace, "", "roleRef", _RBAC)


def _anywhere(written: Any, info: RequestInfo) -> Iterator[Use]:
    """Read every mapping of an object of an unknown kind as a pod's spec and as a container."""
    pending: list[tuple[str, Any]] = [("", written)]
    while pending:
        at, value = pending.pop()
        if isinstance(value, dict):
            here = at.removeprefix(".") or "the object"
            yield from _pod_fields(value, here, info.namespace)
            yield from _container(value, here, info.namespace)
            if value.get("nodeName") and isinstance(value.get("containers"), list):
                yield _host("nodeName", info.namespace, f"{here}.nodeName")
            pending.extend((f"{at}.{key}", below) for key, below in value.items() if type(below) in (dict, list))
        elif isinstance(value, list):
            pending.extend((f"{at}[{i}]", below) for i, below in enumerate(value) if type(below) in (dict, list))
