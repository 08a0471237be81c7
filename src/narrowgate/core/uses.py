"""What a written object makes use of besides itself: the further checks that one write implies.

Creating a workload uses the ServiceAccount, Secrets, ConfigMaps, claims and host access that its pod template names;
writing a binding grants a role; a token Secret mints a token. Each becomes a `Use`, which `decide` asks the policy
about as it asks about the request itself. `core/pod_uses.py` reads the pod templates; `bind` and `escalate` are RBAC's
own verbs (k8s.io/kubernetes/pkg/registry/rbac).

A patch is read as the fragments that it shows: it uses what it adds, not what the object had before. Fields of the
wrong type are passed over, since the API server refuses the object for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from narrowgate.core import patches
from narrowgate.core.certificate_uses import certificate_uses, may_use_signer
from narrowgate.core.intent import Use
from narrowgate.core.malformed import Malformed
from narrowgate.core.pod_uses import (
    HOST_ACCESS,
    POD_FIELDS,
    claims_of_set,
    container_fields,
    data_source,
    host_access,
    mapping_at,
    named,
    pod_annotations,
    pod_fields,
    pod_spec,
    pull_secrets,
    use_of,
)
from narrowgate.core.request_info import RequestInfo

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

__all__ = [
    "BUILT_IN_GROUPS",
    "HOST_ACCESS",
    "JSON_PATCH",
    "POD_SPECS",
    "is_unseen",
    "may_use",
    "uses_of",
    "uses_of_patch",
]

_POD = ("spec",)
_TEMPLATE = ("spec", "template", "spec")
POD_SPECS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): _POD,
    ("", "podtemplates"): ("template", "spec"),
    ("", "replicationcontrollers"): _TEMPLATE,
    # Rolling back makes pods of what a revision holds (k8s.io/kubernetes/pkg/controller/history).
    ("apps", "controllerrevisions"): ("data", "spec", "template", "spec"),
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
_SET = ("apps", "statefulsets")
_CLAIMS = ("spec", "volumeClaimTemplates")
_PLACES: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {
    **{key: (path, (*path[:-1], "metadata", "annotations")) for key, path in POD_SPECS.items()},
    # The API server lets no annotation of a pod that is there say how it is confined.
    ("", "pods"): (_POD,),
    _SET: (_TEMPLATE, (*_TEMPLATE[:-1], "metadata", "annotations"), _CLAIMS),
    ("", "serviceaccounts"): (("imagePullSecrets",),),
    ("", "secrets"): (("type",), ("metadata", "annotations")),
    ("", "persistentvolumes"): (("spec",),),
    ("", "persistentvolumeclaims"): (("spec",),),
    **dict.fromkeys(_BINDINGS, (("roleRef",),)),
    **dict.fromkeys(_ROLES, ()),
}
"""Where each kind that uses something says so: values that a patch does not show must not go there."""

_UNKNOWN_PLACES = ((),)
"""In a kind that is not known, that may be anywhere."""

_SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
USES_LIMIT = 1_000
"""Things that one write may use. Each is a question to the policy; nobody writes a template that names as many."""

JSON_PATCH = "application/json-patch+json"


def is_unseen(use: Use) -> bool:
    """Whether this stands for something whose name the request does not show.

    It has no name: no rule with `names` covers it, and every guard with `names` holds for it.
    """
    return not use.name and use.verbs in (("bind",), ("use",))


def may_use(info: RequestInfo) -> bool:
    """Whether writing at this place can use something at all; if not, the body need not be seen for it."""
    if info.api_group not in BUILT_IN_GROUPS:
        return info.subresource not in ("status", "scale")
    key = (info.api_group, info.resource)
    if may_use_signer(info):
        return True
    if info.subresource:
        return key == ("", "pods") and info.subresource == "ephemeralcontainers"
    return key in _PLACES


def uses_of(info: RequestInfo, object: Any) -> tuple[Use, ...]:
    """What the whole object that `info` writes uses, each thing once, in the order in which it is named.

    Raises Malformed (413) beyond USES_LIMIT.
    """
    return _once(_read(info, object, shown_whole=True)) if may_use(info) else ()


def uses_of_patch(info: RequestInfo, content_type: str, patch: Any) -> tuple[Use, ...]:
    """What a patch adds to what the object uses.

    Merge, strategic and apply patches are read as partial objects, a JSON patch as one for each operation. Raises
    Malformed: 400 where a JSON patch moves or copies a value that it does not show to a place where it would count, 413
    as `uses_of` does.
    """
    if content_type != JSON_PATCH:
        return _once(_read(info, patch, shown_whole=False)) if may_use(info) else ()
    written = list(patches.written(patch))
    # What takes away from a role can make it more: without its names, a rule is for all.
    fragments: list[Any] = [{}] if (info.api_group, info.resource) in _ROLES and patches.takes_away(patch) else []
    for write in written:
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
    """Each thing that is used once. Raises Malformed (413) beyond USES_LIMIT."""
    found: dict[tuple[object, ...], Use] = {}
    for use in uses:
        if len(found) > USES_LIMIT:
            raise Malformed(f"the object uses more than {USES_LIMIT} things, too many to judge", 413)
        found.setdefault((use.verbs, use.api_group, use.resource, use.namespace, use.name), use)
    return tuple(found.values())


def _read(info: RequestInfo, written: Any, shown_whole: bool) -> Iterator[Use]:
    """Read one object, or one fragment of it, as the kind that `info` names."""
    key = (info.api_group, info.resource)
    if may_use_signer(info):
        yield from certificate_uses(info, written)
    elif key in POD_SPECS:
        uses = _pods(info, written, shown_whole)
        if info.resource == "pods" and info.verb == "update":
            # The API server lets no update of a pod change its node, and every pod that runs has one.
            uses = (use for use in uses if (use.resource, use.name) != ("hostaccess", "nodeName"))
        yield from uses
    elif key == ("", "serviceaccounts"):
        # Whatever runs as the account pulls with them.
        yield from pull_secrets(mapping_at(written, ()), "", info.namespace)
    elif key == ("", "secrets"):
        yield from _token_secret(written, info, shown_whole)
    elif key == ("", "persistentvolumes"):
        yield from _persistent_volume(mapping_at(written, _POD))
    elif key == ("", "persistentvolumeclaims"):
        yield from data_source(mapping_at(written, _POD), "spec", info.namespace)
    elif key in _ROLES:
        yield use_of(("escalate",), info.resource, info.namespace, info.name, "rules", _RBAC)
    elif key in _BINDINGS:
        yield from _binding(written, info)
    else:
        yield from _anywhere(written, info, shown_whole)


def _pods(info: RequestInfo, written: Any, shown_whole: bool) -> Iterator[Use]:
    """What the pods of a kind that Kubernetes has use, and what is made for each of them."""
    key = (info.api_group, info.resource)
    place = POD_SPECS[key]
    yield from pod_spec(mapping_at(written, place), ".".join(place), info.namespace, shown_whole)
    noted = (*place[:-1], "metadata", "annotations")
    yield from pod_annotations(mapping_at(written, noted), ".".join(noted), info.namespace)
    if key == _SET:
        yield from claims_of_set(mapping_at(written, _POD), info.namespace)


def _token_secret(secret: Any, info: RequestInfo, shown_whole: bool) -> Iterator[Use]:
    """A token Secret is a TokenRequest without an end: whoever writes it must be allowed to mint that token."""
    name = mapping_at(secret, ("metadata", "annotations")).get(_SERVICE_ACCOUNT_NAME)
    # What type a patched Secret has, the patch does not show.
    if name and (not shown_whole or secret.get("type") == _SERVICE_ACCOUNT_TOKEN):
        because = f"metadata.annotations[{_SERVICE_ACCOUNT_NAME}]"
        yield use_of(("create",), "serviceaccounts/token", info.namespace, str(name), because)


def _persistent_volume(spec: dict[str, Any]) -> Iterator[Use]:
    """The node's disks, and Secrets of any namespace, that a PersistentVolume names."""
    for kind, source in spec.items():
        if kind in ("hostPath", "local") and source is not None:
            yield host_access("hostPath", "", f"spec.{kind}")
        elif isinstance(source, dict):
            namespace = source.get("secretNamespace")
            yield from named("secrets", str(namespace or ""), source.get("secretName"), f"spec.{kind}.secretName")
            for field, reference in source.items():
                if field.endswith(("SecretRef", "secretRef")) and isinstance(reference, dict):
                    namespace = str(reference.get("namespace") or "")
                    yield from named("secrets", namespace, reference.get("name"), f"spec.{kind}.{field}.name")


def _binding(binding: Any, info: RequestInfo) -> Iterator[Use]:
    """The role that a binding grants. A patch need not show it: then any, of either kind, which has no name."""
    role = mapping_at(binding, ("roleRef",))
    kind, name = role.get("kind"), role.get("name")
    if isinstance(name, str) and name and kind in ("Role", "ClusterRole"):
        resource = "roles" if kind == "Role" else "clusterroles"
        yield use_of(("bind",), resource, info.namespace, name, "roleRef.name", _RBAC)
        return
    yield use_of(("bind",), "clusterroles", info.namespace, "", "roleRef", _RBAC)
    if info.resource == "rolebindings":
        yield use_of(("bind",), "roles", info.namespace, "", "roleRef", _RBAC)


def _anywhere(written: Any, info: RequestInfo, shown_whole: bool) -> Iterator[Use]:
    """Read every mapping of an object of an unknown kind as a pod's spec and as a container."""
    pending: list[tuple[_Place | None, Any]] = [(None, written)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, dict):
            if not POD_FIELDS.isdisjoint(value):
                yield from _as_pod(value, _written_out(place), info.namespace, shown_whole)
            noted = mapping_at(value, ("annotations",))
            if noted:
                yield from pod_annotations(noted, f"{_written_out(place)}.annotations", info.namespace)
            inner: Iterable[tuple[Any, Any]] = value.items()
        else:
            inner = enumerate(value) if isinstance(value, list) else ()
        pending.extend(((place, key), below) for key, below in inner if type(below) in (dict, list))


def _as_pod(value: dict[str, Any], at: str, namespace: str, shown_whole: bool) -> Iterator[Use]:
    yield from pod_fields(value, at, namespace, shown_whole)
    yield from container_fields(value, at, namespace)
    if value.get("nodeName") and isinstance(value.get("containers"), list):
        yield host_access("nodeName", namespace, f"{at}.nodeName")


_Place = tuple[Any, str | int]
"""Where a value stands: the place of what it is in (None for the object), and the key or index there."""


def _written_out(place: _Place | None) -> str:
    """`spec.pods[2]`."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "".join(reversed(steps)).removeprefix(".") or "the object"
