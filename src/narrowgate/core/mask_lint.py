"""Masks and reveals that work and hide less, or show more, than people mean to: what `lint` says about them.

A mask that masks nothing leaves its writer believing otherwise, so most is about that. Other policies count as well: a
team writes masks in one file and rules in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from narrowgate.core.masking.built_in import SECRET_DATA, built_in_rules
from narrowgate.core.masking.field_paths import parse_field_path
from narrowgate.core.masking.plan import Key
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Mask, Policy, Reveal, Rule

Remark = tuple[str, str, str]
"""Check, message, suggestion."""

_SPECIFIED: Final = frozenset({"metadata", "spec", "status"})
_TOP_KEYS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("", "secrets"): frozenset({"metadata", "data", "stringData", "type", "immutable"}),
    ("", "configmaps"): frozenset({"metadata", "data", "binaryData", "immutable"}),
    **{
        (group, resource): _SPECIFIED
        for group, resources in {
            "": "pods services namespaces nodes persistentvolumes persistentvolumeclaims replicationcontrollers",
            "apps": "deployments statefulsets daemonsets replicasets",
            "batch": "jobs cronjobs",
            "networking.k8s.io": "ingresses networkpolicies",
        }.items()
        for resource in resources.split()
    },
}
"""What objects of the resources that most masks are about have at the top (k8s.io/api)."""


def mask_remarks(policies: Sequence[Policy]) -> Iterator[tuple[Policy, Mask | Reveal, Remark]]:
    """Everything worth a second look about masks and reveals, in the order they are written."""
    gives = [rule for policy in policies for rule in policy.rules if not rule.guards or rule.approval is not None]
    written = {f"{policy.name}/{mask.id}": mask for policy in policies for mask in policy.masks}
    for policy in policies:
        for mask in policy.masks:
            for remark in (*_unread(mask, gives), *_no_such_field(mask)):
                yield policy, mask, remark
        for reveal in policy.reveals:
            for remark in (*_lifts_nothing(reveal, written), *_shows_secrets(reveal), *_asks_in_vain(reveal, gives)):
                yield policy, reveal, remark


def _unread(mask: Mask, gives: Sequence[Rule]) -> Iterator[Remark]:
    # Masks without any rule beside them are a part of a set.
    if gives and not any(_meets(mask, rule) for rule in gives):
        yield (
            "mask-unread",
            f"masks {', '.join(mask.resources)}, which no rule lets anybody read",
            "see that group and resource are those of the rules",
        )


def _no_such_field(mask: Mask) -> Iterator[Remark]:
    tops = [_TOP_KEYS.get(pair) for pair in product(mask.api_groups, mask.resources)]
    known = [top for top in tops if top is not None]
    if not known or len(known) < len(tops):
        return
    for field in mask.fields:
        first = parse_field_path(field)[0]
        if isinstance(first, Key) and not any(first.name in top for top in known):
            has = ", ".join(sorted(frozenset().union(*known)))
            yield (
                "mask-no-field",
                f'masks "{field}", and {", ".join(mask.resources)} have no {first.name}',
                f"they have {has}",
            )


def _lifts_nothing(reveal: Reveal, written: Mapping[str, Mask]) -> Iterator[Remark]:
    named = reveal.masks
    if named is None:
        if not any(_of_gate(reveal)) and not any(_meets(mask, reveal) for mask in written.values()):
            yield "reveal-nothing", f"reveals {', '.join(reveal.resources)}, and nothing masks them", "leave it out"
        return
    unknown = [name for name in named if not name.startswith(f"{BUILT_IN}/") and name not in written]
    if unknown:
        yield "reveal-unknown", f"reveals {', '.join(unknown)}, which no policy here has", "write POLICY/MASK"
    of_gate = {rule for rules in _of_gate(reveal) for rule in rules}
    idle = [
        name
        for name in named
        if name not in unknown
        and not (_meets(written[name], reveal) if name in written else name in of_gate or _is_about_all(reveal))
    ]
    if idle:
        yield (
            "reveal-nothing",
            f"reveals {', '.join(idle)}, which never masks {', '.join(reveal.resources)}",
            "see what masks them with `narrowgate policy explain`",
        )


def _shows_secrets(reveal: Reveal) -> Iterator[Remark]:
    about = {"", EVERYTHING} & set(reveal.api_groups) and {"secrets", EVERYTHING} & set(reveal.resources)
    shows = reveal.masks is None or SECRET_DATA in reveal.masks
    if about and shows and reveal.names is None and reveal.approval is None:
        yield (
            "reveal-secrets",
            "shows the values of every Secret in its scope, and asks nobody",
            "name them, or write approval: {from: [...], within: 10m}",
        )


def _asks_in_vain(reveal: Reveal, gives: Sequence[Rule]) -> Iterator[Remark]:
    gets = [rule for rule in gives if {"get", EVERYTHING} & set(rule.verbs)]
    if reveal.approval is not None and gives and not any(_meets(reveal, rule) for rule in gets):
        yield (
            "reveal-unread",
            f"asks people before a get of {', '.join(reveal.resources)}, which no rule allows",
            "a reveal gives no access: add a rule with get",
        )


def _of_gate(reveal: Reveal) -> Iterable[tuple[str, ...]]:
    """What the gate masks by itself of each of its resources; everything where it is about all."""
    return (built_in_rules(group, resource) for group, resource in product(reveal.api_groups, reveal.resources))


def _is_about_all(reveal: Reveal) -> bool:
    return EVERYTHING in reveal.resources or EVERYTHING in reveal.api_groups


def _meets(one: Mask | Reveal, other: Mask | Reveal | Rule) -> bool:
    """Whether there is a resource that both speak of; a subresource's answers are its resource's objects."""
    groups, others = set(one.api_groups), set(other.api_groups)
    if groups.isdisjoint(others) and EVERYTHING not in groups | others:
        return False
    mine, theirs = _bases(one.resources), _bases(other.resources)
    return not mine.isdisjoint(theirs) or EVERYTHING in mine | theirs


def _bases(resources: Iterable[str]) -> set[str]:
    return {resource.partition("/")[0] for resource in resources}
