"""Kubernetes' Pod Security Standards: what of a pod's spec is not `baseline`, or not `restricted`.

The facts are those of https://kubernetes.io/docs/concepts/security/pod-security-standards and of
k8s.io/pod-security-admission/policy, one function for each check there. What a spec must say counts only where it says
just that; a field of the wrong type is not what must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_uses import DEFAULT_CAPABILITIES, SAFE_SYSCTLS, SELINUX_TYPES
from narrowgate.core.pods_seen import CONTAINERS, mappings

_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
"""Sources of volumes that `restricted` lets pods have."""
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")

_Spec = Mapping[str, Any]
_Check = Callable[[_Spec, Mapping[str, Any]], Iterator[str]]


def violations(spec: _Spec, annotations: Mapping[str, Any], level: Level) -> Iterator[str]:
    """What of a pod is not as the level demands, each as the field that says so or that does not."""
    if level is Level.PRIVILEGED:
        return
    for check in _BASELINE if level is Level.BASELINE else (*_BASELINE, *_RESTRICTED):
        yield from check(spec, annotations)


def _containers(spec: _Spec) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each container of any sort: where it stands, itself, its securityContext."""
    for field in CONTAINERS:
        for container in mappings(spec.get(field)):
            name = container.get("name")
            at = f"{field}[{name}]" if isinstance(name, str) else field
            yield at, container, _inside(container, "securityContext")


def _contexts(spec: _Spec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The securityContexts of the pod and of its containers."""
    yield "securityContext", _inside(spec, "securityContext")
    for at, _, context in _containers(spec):
        yield f"{at}.securityContext", context


def _inside(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _is_windows(spec: _Spec) -> bool:
    return _inside(spec, "os").get("name") == "windows"


# --- baseline


def _host_process(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, context in _contexts(spec):
        if _inside(context, "windowsOptions").get("hostProcess"):
            yield f"{at}.windowsOptions.hostProcess"


def _host_namespaces(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))


def _privileged(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{at}.securityContext.privileged" for at, _, context in _containers(spec) if context.get("privileged"))


def _capabilities(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, added in _added(spec):
        if not all(name in DEFAULT_CAPABILITIES for name in added):
            yield f"{at}.securityContext.capabilities.add"


def _added(spec: _Spec) -> Iterator[tuple[str, list[Any]]]:
    for at, _, context in _containers(spec):
        added = _inside(context, "capabilities").get("add")
        yield at, added if isinstance(added, list) else []


def _host_path(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for volume in mappings(spec.get("volumes")):
        if volume.get("hostPath") is not None:
            yield f"volumes[{volume.get('name')}].hostPath"


def _host_ports(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, container, _context in _containers(spec):
        if any(port.get("hostPort") for port in mappings(container.get("ports"))):
            yield f"{at}.ports.hostPort"


def _host_probes(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    """Since 1.34: a probe or hook that names a host makes the kubelet call it."""
    for at, container, _context in _containers(spec):
        lifecycle = _inside(container, "lifecycle")
        handlers = [(field, _inside(container, field)) for field in _PROBES]
        handlers += [(f"lifecycle.{field}", _inside(lifecycle, field)) for field in _HOOKS]
        for field, handler in handlers:
            if any(_inside(handler, action).get("host") for action in ("httpGet", "tcpSocket")):
                yield f"{at}.{field}.host"


def _apparmor(spec: _Spec, annotations: Mapping[str, Any]) -> Iterator[str]:
    for at, context in _contexts(spec):
        profile = context.get("appArmorProfile")
        if profile is not None and _inside(context, "appArmorProfile").get("type") not in (
            "RuntimeDefault",
            "Localhost",
        ):
            yield f"{at}.appArmorProfile.type"
    for key, value in annotations.items():
        if key.startswith(_APPARMOR) and not (
            value in ("", "runtime/default") or (isinstance(value, str) and value.startswith("localhost/"))
        ):
            yield f"annotation {key}"


def _selinux(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, context in _contexts(spec):
        labels = _inside(context, "seLinuxOptions")
        if labels.get("user") or labels.get("role") or (labels.get("type") or "") not in SELINUX_TYPES:
            yield f"{at}.seLinuxOptions"


def _proc_mount(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, _container, context in _containers(spec):
        if context.get("procMount") not in (None, "Default"):
            yield f"{at}.securityContext.procMount"


def _seccomp_unconfined(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, context in _contexts(spec):
        if "type" in _inside(context, "seccompProfile") and _seccomp(context) is False:
            yield f"{at}.seccompProfile.type"


def _sysctls(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for sysctl in mappings(_inside(spec, "securityContext").get("sysctls")):
        if sysctl.get("name") not in SAFE_SYSCTLS:
            yield f"securityContext.sysctls[{sysctl.get('name')}]"


# --- restricted


def _volume_types(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for volume in mappings(spec.get("volumes")):
        sources = {key for key, source in volume.items() if key != "name" and source is not None}
        # A volume that names no source is an empty folder.
        if sources - _VOLUMES:
            yield f"volumes[{volume.get('name')}].{min(sources - _VOLUMES)}"


def _escalation(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, _container, context in _containers(spec):
        if context.get("allowPrivilegeEscalation") is not False and not _is_windows(spec):
            yield f"{at}.securityContext.allowPrivilegeEscalation is not false"


def _non_root(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    of_pod = _inside(spec, "securityContext").get("runAsNonRoot")
    if of_pod not in (None, True):
        yield "securityContext.runAsNonRoot"
    for at, _container, context in _containers(spec):
        own = context.get("runAsNonRoot")
        if own is not True and not (own is None and of_pod is True):
            yield f"{at}.securityContext.runAsNonRoot is not true"


def _root_user(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    for at, context in _contexts(spec):
        user = context.get("runAsUser")
        if user is not None and (not isinstance(user, int) or user == 0):
            yield f"{at}.runAsUser"


def _seccomp_set(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    if _is_windows(spec):
        return
    of_pod = _seccomp(_inside(spec, "securityContext"))
    if of_pod is False:
        yield "securityContext.seccompProfile.type"
    for at, _container, context in _containers(spec):
        own = _seccomp(context)
        if own is False or (own is None and of_pod is not True):
            yield f"{at}.securityContext.seccompProfile.type is not RuntimeDefault or Localhost"


def _seccomp(context: Mapping[str, Any]) -> bool | None:
    """Whether a profile confines; None where none is written."""
    if context.get("seccompProfile") is None:
        return None
    return _inside(context, "seccompProfile").get("type") in ("RuntimeDefault", "Localhost")


def _drops_all(spec: _Spec, _: Mapping[str, Any]) -> Iterator[str]:
    if _is_windows(spec):
        return
    for at, _container, context in _containers(spec):
        dropped = _inside(context, "capabilities").get("drop")
        if not isinstance(dropped, list) or "ALL" not in dropped:
            yield f"{at}.securityContext.capabilities.drop has no ALL"
    for at, added in _added(spec):
        if any(name != "NET_BIND_SERVICE" for name in added):
            yield f"{at}.securityContext.capabilities.add"


_BASELINE: Final[tuple[_Check, ...]] = (
    _host_process,
    _host_namespaces,
    _privileged,
    _capabilities,
    _host_path,
    _host_ports,
    _host_probes,
    _apparmor,
    _selinux,
    _proc_mount,
    _seccomp_unconfined,
    _sysctls,
)
_RESTRICTED: Final[tuple[_Check, ...]] = (
    _volume_types,
    _escalation,
    _non_root,
    _root_user,
    _seccomp_set,
    _drops_all,
)
