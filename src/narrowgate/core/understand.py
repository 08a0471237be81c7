"""From method and target to an intent: what the gate is willing to have understood.

`request_info` says how the API server reads a request; here the gate adds what it knows of the cluster (discovery) and
refuses what is unknown, ambiguous or aimed at the wrong scope. Bodies are read elsewhere and added to the intent.
"""

from __future__ import annotations

import difflib
from functools import lru_cache

import msgspec

from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.intent import Entry, Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo, request_info
from narrowgate.core.target import CACHED_TARGETS, MAX_CACHED_TARGET_BYTES, Target

STREAMING_SUBRESOURCES = frozenset({"exec", "attach", "portforward"})
"""Subresources of pods that open a stream: by GET (WebSocket) or POST (SPDY), one risk and one verb, `create`."""

PROXY = "proxy"
"""The subresource of nodes, pods and services behind which the path belongs to something else than Kubernetes."""

PROXIED_RESOURCES = frozenset({"nodes", "pods", "services"})

ALL_NAMESPACES_VERBS = frozenset({"list", "watch"})
"""What the API server serves for a namespaced resource without a namespace in the path."""

REPEATABLE_PARAMETERS = frozenset({"command", "ports", "dryRun"})
"""Query parameters that are lists in Kubernetes (PodExecOptions, PodPortForwardOptions, `dryRun` of write options)."""

_SAME_RISK = {"list": ("get",), "watch": ("get", "list"), "deletecollection": ("delete",)}
"""What a guard may be written for that also withholds objects of a collection."""

MAX_SUGGESTED_LENGTH = 64
"""Longer names are cut in messages and get no suggestion: comparing costs time, and no resource is called so."""


class UnknownResource(Malformed):
    """Discovery does not list what the request names: 403, since what the gate does not know it denies."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=403)


def understand(method: str, target: Target, discovery: Discovery, cluster: str) -> Intent:
    """Say what a request would do in `cluster`, as far as method and target tell.

    The target is the one behind `/clusters/<name>` (`split_cluster`).

    For exec, attach and port-forward the verb of the intent is `create` whatever the method. The API server's own
    reading (`request_info`) takes GET for get, and since 1.35 checks create besides (feature gate
    AuthorizePodWebsocketUpgradeCreatePermission). `*/proxy` keeps the verb of its method, as RBAC has it; see
    `same_risk_verbs`.

    Raises Malformed (400, or 405 for methods) for what cannot be meant, UnknownResource (403) for what is not known.
    """
    size = len(target.path)
    for key, value in target.query:
        size += len(key) + len(value)
    if size <= MAX_CACHED_TARGET_BYTES:
        return _understand_cached(method, target, discovery, cluster)
    return _understand(method, target, discovery, cluster)


def same_risk_verbs(info: RequestInfo) -> tuple[str, ...]:
    """Verbs that reach the same thing as this request does: a deny rule for any of them has to hold for it.

    Whoever may GET nodes/proxy can run commands through the kubelet, and GET pods/proxy can do what POST does in a
    server that does not care. A list shows what gets would, and a watch what lists would, object by object; deleting a
    collection deletes each. A rule that allows must still cover the request's own verb.
    """
    if is_streaming(info):
        return ("create", "get")
    if info.subresource == PROXY:
        return ("get", "create", "update", "patch", "delete")
    if info.subresource == "ephemeralcontainers" and info.verb in ("patch", "update"):
        return ("patch", "update")
    return (info.verb, *(_SAME_RISK.get(info.verb, ()) if not info.subresource else ()))


def is_streaming(info: RequestInfo) -> bool:
    """Whether this opens a stream into a pod: exec, attach or port-forward."""
    return info.subresource in STREAMING_SUBRESOURCES and info.resource == "pods" and info.api_group == ""


def is_proxied(info: RequestInfo) -> bool:
    """Whether what answers is not Kubernetes but a node, pod or service behind `/proxy`."""
    return info.subresource == PROXY and info.api_group == "" and info.resource in PROXIED_RESOURCES


def proxied_name(info: RequestInfo) -> str:
    """The object behind `[scheme:]name[:port]` in front of `/proxy`; the name as it is for every other request.

    RBAC compares the whole text, so an allow rule has to spell it. A deny rule for a service is meant for all of its
    spellings (k8s.io/apimachinery/pkg/util/net, SplitSchemeNamePort: two parts are name and port).
    """
    if not is_proxied(info):
        return info.name
    parts = info.name.split(":")
    return parts[1] if len(parts) == 3 else parts[0]


def _understand(method: str, target: Target, discovery: Discovery, cluster: str) -> Intent:
    info = request_info(method, target)
    if not info.is_resource_request:
        return Intent(cluster=cluster, info=info)
    kind = _known(info, discovery)
    _require_plain_path(method, target, info)
    _require_scope(info, kind)
    if target.query and not is_proxied(info):
        _require_no_repeats(target)
    if is_streaming(info):
        if method not in ("GET", "POST"):
            raise Malformed(f"pods/{info.subresource} is opened by GET or POST, not by {method}", code=405)
        info = msgspec.structs.replace(info, verb="create")
    return Intent(cluster=cluster, info=info, namespaced=kind.namespaced, entry=_entry(info, target))


def _entry(info: RequestInfo, target: Target) -> Entry | None:
    """What an exec or attach says of itself (PodExecOptions, PodAttachOptions); what attach runs is running already."""
    if not is_streaming(info) or info.subresource == "portforward":
        return None
    is_exec = info.subresource == "exec"
    command = tuple(value for key, value in target.query if key == "command") if is_exec else ()
    return Entry(container=target.first("container") or "", command=command)


_understand_cached = lru_cache(maxsize=CACHED_TARGETS)(_understand)


def _known(info: RequestInfo, discovery: Discovery) -> ResourceType:
    kind = discovery.lookup(info.api_group, info.api_version, info.resource)
    if kind is None:
        raise UnknownResource(_unknown_resource_message(info, discovery))
    if info.subresource and info.subresource not in kind.subresources:
        listed = ", ".join(sorted(kind.subresources)) or "none"
        raise UnknownResource(
            f"{_readable(info)} has no subresource {_short(info.subresource)} that discovery lists, "
            f"and the gate denies what it does not know (known: {listed})"
        )
    return kind


def _require_plain_path(method: str, target: Target, info: RequestInfo) -> None:
    """Refuse resource paths that can be read in more than one way."""
    if info.verb == "proxy":
        raise Malformed(
            "paths of the form /api/v1/proxy/... are no longer served by Kubernetes: write the proxy subresource, "
            "/api/v1/namespaces/<namespace>/services/<name>/proxy/..."
        )
    segments = target.segments
    lead = 2 if info.api_prefix == "api" else 3
    if segments[lead] == "watch":
        if method not in ("GET", "HEAD"):
            raise Malformed(f"a path of the form .../watch/... is read, not written: {method} has no meaning there")
        if info.subresource:
            raise Malformed("a path of the form .../watch/... names no subresource")
        lead += 1
    in_namespace = bool(info.namespace) and info.resource != "namespaces"
    if len(segments) - lead != len(info.parts) + (2 if in_namespace else 0):
        raise Malformed(f"{_readable(info)} does not live in a namespace: /namespaces/ stands in the path twice")
    if is_proxied(info):
        _require_proxied_name(info)
        return
    if target.path.endswith("/"):
        raise Malformed("the path of a resource ends with a slash: leave the slash out")
    if len(info.parts) > 3:
        raise Malformed(f"the path goes on behind the subresource {_short(info.subresource)}: only behind proxy it may")


def _require_proxied_name(info: RequestInfo) -> None:
    parts = info.name.split(":")
    scheme = parts[0] if len(parts) == 3 else ""
    if len(parts) > 3 or not proxied_name(info) or scheme not in ("", "http", "https"):
        raise Malformed("the name before /proxy is written name, name:port, or scheme:name:port with http or https")


def _require_scope(info: RequestInfo, kind: ResourceType) -> None:
    """Refuse a path of the other scope (CVE-2019-11247: a custom resource reached and authorized in the wrong one)."""
    if kind.namespaced:
        if not info.namespace and (info.verb not in ALL_NAMESPACES_VERBS or len(info.parts) > 1):
            raise Malformed(
                f"{_readable(info)} lives in namespaces: without one it can only be listed and watched; "
                f"write .../namespaces/<namespace>/{info.resource}"
            )
    elif info.namespace and not (info.resource == "namespaces" and info.namespace == info.parts[1]):
        raise Malformed(f"{_readable(info)} does not live in a namespace: leave /namespaces/... out")


def _require_no_repeats(target: Target) -> None:
    """Refuse a parameter given twice: the API server takes the first, other readers might not."""
    query = target.query
    if len(query) == 1:
        return
    seen = set()
    for key, _ in query:
        if key in seen and key not in REPEATABLE_PARAMETERS:
            raise Malformed(f"the query gives the parameter {key[:40]!r} more than once: give it once")
        seen.add(key)


def _unknown_resource_message(info: RequestInfo, discovery: Discovery) -> str:
    message = f"{_readable(info)} is not a resource that discovery lists, and the gate denies what it does not know"
    suggestion = _suggestion(info, discovery)
    return f"{message}; did you mean {suggestion}?" if suggestion else message


def _suggestion(info: RequestInfo, discovery: Discovery) -> str:
    """The nearest known resource: the same under another version or group, the plural, or a near spelling."""
    wanted = info.resource.lower()
    if len(wanted) > MAX_SUGGESTED_LENGTH:
        return ""
    spellings: dict[str, ResourceType] = {}
    for kind in discovery.types():
        for word in (kind.resource, kind.singular, kind.kind.lower(), *kind.short_names):
            if word and (word not in spellings or kind.group == info.api_group):
                spellings[word] = kind
    near = [wanted] if wanted in spellings else difflib.get_close_matches(wanted, spellings, n=1, cutoff=0.75)
    if not near:
        return ""
    found = spellings[near[0]]
    return f"{found.resource} in {_group_version(found.group, found.version)}"


def _readable(info: RequestInfo) -> str:
    return f"{_short(info.resource)} in {_group_version(info.api_group, info.api_version)}"


def _short(name: str) -> str:
    return repr(name[:MAX_SUGGESTED_LENGTH])


def _group_version(group: str, version: str) -> str:
    shown = version[:MAX_SUGGESTED_LENGTH]
    return f"{group[:MAX_SUGGESTED_LENGTH]}/{shown}" if group else shown
