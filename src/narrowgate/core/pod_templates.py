"""The pods that an object makes: each spec in it from which pods are or will be made, and where it stands.

Kinds that Kubernetes has keep it where `uses` says; in any other, every mapping that looks like a pod's spec is one,
which is to say that it has containers or names a ServiceAccount.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from narrowgate.core.pod_uses import mapping_at
from narrowgate.core.pods_seen import ACCOUNT_FIELDS, CONTAINERS, ITEM, Template, mappings
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.uses import BUILT_IN_GROUPS, POD_SPECS, may_use

TEMPLATES_LIMIT: Final = 200
"""Templates of one object that are judged; custom resources for whole pipelines have some dozens."""

RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
"""The annotation of a template by which its pods are made anew (k8s.io/kubectl/pkg/polymorphichelpers). By others, and
by labels, webhooks put containers of another's choice into them."""

_SCALED: Final = frozenset({"scale"})
_WRITES: Final = frozenset({"create", "update", "patch"})
ENTERED: Final = frozenset({"exec", "attach", "portforward", "ephemeralcontainers"})
"""Subresources of pods by which somebody reaches what runs in them: a proxy beside it lends its token by a port."""


def makes_pods(info: RequestInfo) -> bool:
    """Whether a request writes something that pods are made from, or says how many there are."""
    if info.verb not in _WRITES or not info.resource:
        return False
    if info.subresource in _SCALED:
        return True
    if (info.api_group, info.resource) == ("", "pods") and info.subresource:
        return False
    if info.api_group in BUILT_IN_GROUPS:
        return (info.api_group, info.resource) in POD_SPECS and not info.subresource
    return may_use(info)


def enters_pod(info: RequestInfo) -> bool:
    """Whether a request reaches into a pod that is there."""
    if info.api_group or info.verb not in _WRITES:
        return False
    return (info.resource == "pods" and info.subresource in ENTERED) or reaches_kubelet(info)


def reaches_kubelet(info: RequestInfo) -> bool:
    """Whether a request reaches a node's kubelet by a method with which that runs commands, in any of its pods
    (k8s.io/kubernetes/pkg/kubelet/server, `/run`). What is read there by GET is read: nothing is upgraded there.
    """
    is_kubelet = (info.api_group, info.resource, info.subresource) == ("", "nodes", "proxy")
    return is_kubelet and info.verb in _WRITES


def templates_of(info: RequestInfo, written: Any) -> tuple[Template, ...]:
    """Every template in the object, or in the fragment of one, that `info` is about, at most TEMPLATES_LIMIT + 1."""
    place = POD_SPECS.get((info.api_group, info.resource))
    if place is not None:
        spec = mapping_at(written, place)
        metadata = mapping_at(written, (*place[:-1], "metadata"))
        found = Template(".".join(place), spec, mapping_at(metadata, ("annotations",)), place)
        return (found,) if spec else ()
    return tuple(_anywhere(written)) if info.api_group not in BUILT_IN_GROUPS else ()


def is_laid_over(info: RequestInfo, written: Any) -> bool:
    """Whether it is a revision that does not say itself what the pods are: it is laid over the object as it is then, as
    a strategic patch (k8s.io/kubernetes/pkg/controller/statefulset, `ApplyRevision`), with any field of that object.
    """
    if (info.api_group, info.resource) != ("apps", "controllerrevisions"):
        return False
    data, spec = mapping_at(written, ("data",)), mapping_at(written, ("data", "spec"))
    return not (
        set(data) == {"spec"}
        and set(spec) == {"template"}
        and mapping_at(spec, ("template",)).get("$patch") == "replace"
    )


def has_token(pod: Any) -> bool:
    """Whether a pod as it runs holds a token of its account, or a certificate that stands for it: the API server has
    written each into its volumes.
    """
    volumes = mapping_at(pod, ("spec",)).get("volumes")
    for volume in mappings(volumes):
        for source in mappings(mapping_at(volume, ("projected",)).get("sources")):
            if source.get("serviceAccountToken") is not None or source.get("podCertificate") is not None:
                return True
    return False


def with_debug_containers(old: Any, written: Any) -> Template:
    """What a pod becomes by new ephemeral containers; nothing else of it can be written there."""
    spec = mapping_at(old, ("spec",))
    added = mapping_at(written, ("spec",)).get("ephemeralContainers")
    annotations = mapping_at(old, ("metadata", "annotations"))
    return Template("spec", {**spec, "ephemeralContainers": added}, annotations)


def runs_the_same(info: RequestInfo, old: Any, new: Any) -> bool:
    """Whether nothing differs but metadata of the object, or a restart of its pods."""
    place = POD_SPECS.get((info.api_group, info.resource))
    return place is not None and _without_metadata(old, place) == _without_metadata(new, place)


def touches_metadata_alone(info: RequestInfo, patch: Any) -> bool:
    """Whether a merge or strategic patch is seen to change nothing but that."""
    place = POD_SPECS.get((info.api_group, info.resource))
    if place is None:
        return False
    harmless = (("apiVersion",), ("kind",), restart_of(place))
    return all(path[:1] == ("metadata",) or path in harmless for path in _leaves(patch, ()))


def restart_of(place: tuple[str, ...]) -> tuple[str, ...]:
    """Where a restart is written in a kind that has its pods' spec at `place`."""
    return (*place[:-1], "metadata", "annotations", RESTARTED)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        yield path
        return
    for key, below in value.items():
        # `$patch: replace` is about what it stands in.
        yield from _leaves(below, path if key.startswith("$") else (*path, key))


def _without_metadata(value: Any, place: tuple[str, ...]) -> Any:
    """A copy of the object without what it says of itself, and without restarts of its pods."""
    if not isinstance(value, dict):
        return value
    kept = {key: below for key, below in value.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    *above, _spec = place
    here = kept
    for step in above:
        if not isinstance(here.get(step), dict):
            return kept
        here[step] = dict(here[step])
        here = here[step]
    if above:
        here["metadata"] = _without_restart(mapping_at(here, ("metadata",)))
    return kept


def _without_restart(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What pods are given besides their spec; webhooks that put containers into them go by it."""
    notes = {key: value for key, value in mapping_at(metadata, ("annotations",)).items() if key != RESTARTED}
    kept = {**metadata, "annotations": notes}
    return {key: value for key, value in kept.items() if value and key != "creationTimestamp"}


def _anywhere(written: Any) -> Iterable[Template]:
    found = 0
    pending: list[tuple[str, Any, tuple[str, ...] | None]] = [("", written, ())]
    while pending and found <= TEMPLATES_LIMIT:
        at, value, steps = pending.pop()
        if isinstance(value, dict):
            if _looks_like_pod(value):
                found += 1
                yield Template(at or "the object", value, {}, steps or ())
            pending += [
                (f"{at}.{key}" if at else str(key), below, _below(steps, str(key))) for key, below in value.items()
            ]
        elif isinstance(value, list):
            pending += [(f"{at}[{index}]", below, None) for index, below in enumerate(value)]


def _below(steps: tuple[str, ...] | None, key: str) -> tuple[str, ...] | None:
    return None if steps is None or ITEM.match(key) else (*steps, key)


def _looks_like_pod(value: Mapping[str, Any]) -> bool:
    if any(isinstance(value.get(field), str) and value[field] for field in ACCOUNT_FIELDS):
        return True
    return any(isinstance(value.get(field), list) and value[field] for field in CONTAINERS)
