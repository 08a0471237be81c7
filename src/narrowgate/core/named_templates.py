"""Where a rule says that custom resources keep what pods are made of (`pods.templates`), and what stands there.

A path leads to a pod's template, to a pod's spec, or to the name of a ServiceAccount, from the object's own mapping on:
`spec.template`, `spec.workers[*].template.spec`, `spec.groups.*.serviceAccountName`; with `?` at its end it need not be
there. Text that holds YAML of its own is no such place: what is in it nobody has read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from narrowgate.core.pod_uses import mapping_at
from narrowgate.core.pods_seen import ACCOUNT_FIELDS, CONTAINERS, DEFAULT_ACCOUNT, ITEM, Template

PATHS_LIMIT: Final = 50
"""Paths of one rule; a custom resource with more sorts of pods than that is described by no schema."""

STEPS_LIMIT: Final = 32
"""Steps of one path: twice as deep as the deepest template that Kubernetes has."""

PLACES_LIMIT: Final = 200
"""Places in one object that the paths of a rule lead to."""

_EACH: Final = "*"
_OF_LIST: Final = "[*]"
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,253}\Z")
_SPECS: Final = frozenset({"spec", "podspec"})
"""Where a path ends so, in lower case, nothing but a pod's spec stands there."""
_OF_SPEC: Final = frozenset(
    {
        *CONTAINERS,
        *ACCOUNT_FIELDS,
        "affinity",
        "automountServiceAccountToken",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "nodeName",
        "nodeSelector",
        "securityContext",
        "tolerations",
        "volumes",
    }
)
"""Fields of a pod's spec that rules look at, and no template has."""


class TemplatePath(msgspec.Struct, frozen=True):
    """One path, as a rule has it."""

    text: str
    """As it is written, without the mark for what need not be there."""
    steps: tuple[str, ...]
    """Keys; `*` for every one of a mapping, `[*]` for every item of a list."""
    optional: bool = False


class NamedPods(msgspec.Struct, frozen=True):
    """What stands at the paths of one rule, in one object."""

    templates: tuple[Template, ...] = ()
    accounts: tuple[tuple[str, str], ...] = ()
    """Places that hold the name of an account alone, and the names."""
    missing: tuple[str, ...] = ()
    """Places that must be there, and are not."""
    unread: tuple[str, ...] = ()
    """Places that hold something else."""
    too_many: bool = False
    """Whether there are more than PLACES_LIMIT; none of those beyond is looked at."""

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts that all of it runs as, each once."""
        named = [name for template in self.templates for name in template.accounts]
        return tuple(dict.fromkeys([*named, *(name for _, name in self.accounts)]))


def path_of(text: str) -> TemplatePath | None:
    """Read one path; None for what is none."""
    written = text.removesuffix("?")
    steps: list[str] = []
    for part in written.split("."):
        key = part.removesuffix(_OF_LIST)
        if key != _EACH and not _KEY.match(key):
            return None
        steps += [key, _OF_LIST] if key != part else [key]
    # The mapping of the object itself, and what Kubernetes says of every object, are no pods.
    if len(steps) > STEPS_LIMIT or steps[0] in (_EACH, "metadata", "status", "apiVersion", "kind"):
        return None
    return TemplatePath(written, tuple(steps), optional=written != text)


def named_pods(paths: Iterable[TemplatePath], written: Any) -> NamedPods:
    """What stands in the object at any of the paths, each place once."""
    templates: dict[tuple[tuple[str, ...], str], Template] = {}
    accounts: dict[tuple[str, ...], tuple[str, str]] = {}
    missing: list[str] = []
    unread: list[str] = []
    for path in paths:
        for steps, value in _reached(path, written):
            at = _written_out(steps)
            if len(templates) + len(accounts) + len(unread) + len(missing) >= PLACES_LIMIT:
                return _found(templates, accounts, missing, unread, too_many=True)
            if value is None:
                missing += [] if path.optional else [at]
            elif isinstance(value, dict):
                templates |= {(steps, one.at): one for one in _templates(path, steps, value)}
            elif isinstance(value, str):
                accounts[steps] = (at, value or DEFAULT_ACCOUNT)
            else:
                unread.append(at)
    return _found(templates, accounts, missing, unread, too_many=False)


def _found(
    templates: Mapping[Any, Template],
    accounts: Mapping[tuple[str, ...], tuple[str, str]],
    missing: list[str],
    unread: list[str],
    *,
    too_many: bool,
) -> NamedPods:
    return NamedPods(tuple(templates.values()), tuple(accounts.values()), tuple(missing), tuple(unread), too_many)


def _reached(path: TemplatePath, written: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every place that the path leads to, with its value; None for one that is not there."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), written)]
    while pending:
        here, value = pending.pop()
        depth = len(here)
        if depth == len(path.steps):
            yield here, value
            continue
        step, below = path.steps[depth], list[tuple[str, Any]]()
        if step == _OF_LIST and isinstance(value, list):
            below = [(f"[{index}]", item) for index, item in enumerate(value)]
        elif step == _EACH and isinstance(value, dict):
            below = [(str(key), inner) for key, inner in value.items()]
        elif isinstance(value, dict) and value.get(step) is not None:
            below = [(step, value[step])]
        if below:
            pending += [((*here, taken), inner) for taken, inner in reversed(below)]
        else:
            # Whatever the rest of it says, nothing is there.
            yield (*here, *path.steps[depth:]), None


def _templates(path: TemplatePath, steps: tuple[str, ...], value: dict[str, Any]) -> Iterator[Template]:
    """The pod that a mapping stands for: a template where it has, or by its name would have, a spec in it. Of one that
    reads both ways both are judged: whoever writes it knows which of them counts, and the other would be for show.
    """
    name, has_fields = path.steps[-1].lower(), not _OF_SPEC.isdisjoint(value)
    within = isinstance(value.get("spec"), dict)
    within = within or (not has_fields and ("metadata" in value or name.endswith("template")))
    within = within and name not in _SPECS
    notes = mapping_at(value, ("metadata", "annotations"))
    is_plain = not any(step == _EACH and ITEM.match(at) for step, at in zip(path.steps, steps, strict=True))
    for inner in (("spec",), ()):
        if within if inner else has_fields or not within:
            place = (*steps, *inner)
            yield Template(_written_out(place), mapping_at(value, inner), notes, place if is_plain else ())


def _written_out(steps: tuple[str, ...]) -> str:
    return ".".join(steps).replace(".[", "[")
