"""What a request into a pod would do there: which container, which command, which pod; and what rules say of that.

`kubectl exec`, `attach`, `cp` (an exec) and `debug` (a new ephemeral container) are the ways in. Whatever is not known
of one (a container that is not named, the command of an attach, a pod that nobody was shown) covers nothing where a
rule gives, and is within what it guards where it guards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from narrowgate.core.commands import CommandGift, CommandGuard, shown
from narrowgate.core.intent import Entry, Intent, PodSeen
from narrowgate.core.policy import Rule

OPENED: Final = frozenset({"exec", "attach"})
DEBUG: Final = "ephemeralcontainers"

_WRITES: Final = frozenset({"update", "patch"})
_SHOWN_COMMAND: Final = 160
"""Characters of a command in a refusal, which is one line."""

_SHOWN_PATTERNS: Final = 6
"""Patterns, containers or labels in a refusal."""


def entries_of(what: Intent) -> tuple[Entry, ...]:
    """Every way into a pod that the request opens; none where it opens none."""
    info = what.info
    if info.resource != "pods" or info.api_group:
        return ()
    if info.subresource in OPENED:
        return (what.entry or Entry(),)
    if info.subresource == DEBUG and info.verb in _WRITES:
        return _debug_containers(what.object, what.old_object)
    return ()


def pod_seen(pod: Any) -> PodSeen:
    """What rules may ask of a pod as the cluster shows it.

    Without a container in the request the API server takes the only one there is and refuses where there are several
    (k8s.io/kubernetes/pkg/registry/core/pod, `validateContainer`); an annotation that names a default is for kubectl.
    """
    metadata, spec = _mapping(_mapping(pod).get("metadata")), _mapping(_mapping(pod).get("spec"))
    labels = _mapping(metadata.get("labels"))
    containers = spec.get("containers")
    if not metadata or not isinstance(containers, list):
        return PodSeen(unknown="the cluster shows no pod there")
    names = [_mapping(one).get("name") for one in containers]
    only = names[0] if len(names) == 1 and isinstance(names[0], str) else ""
    told = [(key, value) for key, value in labels.items() if isinstance(key, str) and isinstance(value, str)]
    return PodSeen(labels=tuple(sorted(told)), only_container=only)


class Inside:
    """What one rule says of ways into pods. Asked twice: exactly (`covers`), and generously (`reaches`)."""

    __slots__ = ("_containers", "_gift", "_guard", "_labels", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule: Final = rule
        self._containers: Final = None if rule.containers is None else frozenset(rule.containers)
        self._gift: Final = None if rule.commands is None else CommandGift(rule.commands)
        self._guard: Final = None if rule.commands is None or not rule.guards else CommandGuard(rule.commands)
        self._labels: Final = frozenset(rule.pod_labels or ())

    def wants_pod(self, entries: Iterable[Entry]) -> bool:
        """Whether the pod has to be looked at before anything can be said of these."""
        return bool(self._labels) or (self._containers is not None and any(not entry.container for entry in entries))

    def wants_containers(self) -> bool:
        """Whether the containers that a request would add to a pod have to be known."""
        return self._containers is not None or self._gift is not None

    def covers(self, entries: Sequence[Entry], pod: PodSeen | None) -> bool:
        """Whether all of it is within what the rule says; in doubt it is not."""
        if not entries or not self.has_labels(pod):
            return False
        return all(self.has_container(entry, pod) and self.has_command(entry) for entry in entries)

    def reaches(self, entries: Sequence[Entry], pod: PodSeen | None) -> bool:
        """Whether any of it may be within what the rule says; in doubt it is."""
        if self._labels and pod is not None and not pod.unknown and not self.has_labels(pod):
            return False
        return not entries or any(self._reaches_entry(entry, pod) for entry in entries)

    def has_labels(self, pod: PodSeen | None) -> bool:
        """Whether the pod is known to have every label."""
        if not self._labels:
            return True
        return pod is not None and not pod.unknown and self._labels.issubset(pod.labels)

    def has_container(self, entry: Entry, pod: PodSeen | None) -> bool:
        """Whether the entry is known to lead into one of the containers."""
        if self._containers is None:
            return True
        named = _container(entry, pod)
        return bool(named) and named in self._containers and (not entry.target or entry.target in self._containers)

    def has_command(self, entry: Entry) -> bool:
        """Whether the entry is known to run one of the commands."""
        return self._gift is None or (bool(entry.command) and self._gift.covers(entry.command))

    def _reaches_entry(self, entry: Entry, pod: PodSeen | None) -> bool:
        if entry.is_debug:
            # Its name, and the image that its command is from, are its sender's choice; and it may see every process.
            return True
        named = _container(entry, pod)
        if self._containers is not None and named and named not in self._containers:
            return False
        return self._guard is None or self._guard.reaches(entry.command or None)


def turned_away(near: Sequence[Inside], entries: Sequence[Entry], pod: PodSeen | None) -> str:
    """Why rules that would give something give nothing here, to follow "no rule allows"; empty where none is near."""
    if not near:
        return ""
    there = [one for one in near if one.has_labels(pod)]
    if not there:
        wanted = _listed(f"{key}={value}" for one in near for key, value in one.rule.pod_labels or ())
        if pod is None or pod.unknown:
            return f"getting into a pod whose labels are not known; it must have {wanted}"
        return f"getting into this pod: it must have the labels {wanted}"
    for entry in entries:
        inside = [one for one in there if one.has_container(entry, pod)]
        if not inside:
            named = _container(entry, pod)
            where = f"container {json.dumps(named)}" if named else "a container that the request does not name"
            return f"getting into {where}: containers allowed are " + _listed(
                name for one in there for name in one.rule.containers or ()
            )
        if not any(one.has_command(entry) for one in inside):
            allowed = _listed(shown(pattern) for one in inside for pattern in one.rule.commands or ())
            return f"{_running(entry, pod)}: commands allowed are {allowed}"
    return "this as a whole; ask for one thing at a time"


def _running(entry: Entry, pod: PodSeen | None) -> str:
    named = _container(entry, pod)
    where = f" in container {json.dumps(named)}" if named else ""
    if not entry.command:
        return f"a command that the request does not tell{where}"
    text = json.dumps(list(entry.command), ensure_ascii=not all(word.isprintable() for word in entry.command))
    return f"running {text if len(text) <= _SHOWN_COMMAND else text[:_SHOWN_COMMAND] + '…'}{where}"


def _container(entry: Entry, pod: PodSeen | None) -> str:
    """The container by its name; empty where it is not known."""
    if entry.container or entry.is_debug:
        return entry.container
    return pod.only_container if pod is not None and not pod.unknown else ""


def new_debug_containers(what: Intent) -> tuple[tuple[Entry, str], ...]:
    """The debug containers that a request would add to a pod, each with its image; none where that is not known."""
    if what.info.subresource != DEBUG or not isinstance(what.object, dict):
        return ()
    added = _added(what.object, what.old_object)
    return tuple((_debug_container(one), str(_mapping(one).get("image", ""))) for one in added)


def _debug_containers(now: Any, before: Any) -> tuple[Entry, ...]:
    """The ephemeral containers that were not there before; one of which nothing is known where nobody can tell."""
    if not isinstance(now, dict):
        return (Entry(is_debug=True),)
    return tuple(_debug_container(one) for one in _added(now, before))


def _added(now: Any, before: Any) -> list[Any]:
    had = {_mapping(one).get("name") for one in _ephemeral(before)}
    return [one for one in _ephemeral(now) if _mapping(one).get("name") not in had]


def _debug_container(written: Any) -> Entry:
    container = _mapping(written)
    name, target = container.get("name"), container.get("targetContainerName") or ""
    if not isinstance(name, str) or not isinstance(target, str):
        return Entry(is_debug=True)
    words = _texts(container.get("command"))
    # Without a command it is the image's own that is run. Kubernetes puts variables in place of $(NAME), and $ for $$.
    is_plain = bool(words) and not any("$" in word for word in (*words, *_texts(container.get("args"))))
    command = (*words, *_texts(container.get("args"))) if is_plain else ()
    return Entry(container=name, command=command, is_debug=True, target=target)


def _ephemeral(pod: Any) -> list[Any]:
    found = _mapping(_mapping(pod).get("spec")).get("ephemeralContainers")
    return found if isinstance(found, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one with anything else in it is none."""
    return tuple(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else ()


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _listed(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    return ", ".join(listed[:_SHOWN_PATTERNS]) + (", ..." if len(listed) > _SHOWN_PATTERNS else "")
