"""`audit.bodies`: of which requests bodies are kept, written as the rules of Kubernetes' audit policy are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from narrowgate.config.document import Document, Path_, suggestion
from narrowgate.core.audit import Level
from narrowgate.core.body_levels import BodyRule, Resources

MOST_RULES = 256
"""Rules of one gate: each new question is held against all of them."""

KINDS = ("agent", "person", "serviceaccount")
"""What a user's name begins with, before a colon."""

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


class ResourcesEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`resources` of a rule as written (`GroupResources` in k8s.io/apiserver/pkg/apis/audit/v1)."""

    group: str = ""
    resources: list[str] | None = None
    resource_names: list[str] | None = None


class BodyRuleEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule as written (`PolicyRule` there)."""

    level: str
    users: list[str] | None = None
    user_groups: list[str] | None = None
    verbs: list[str] | None = None
    resources: list[ResourcesEntry] | None = None
    namespaces: list[str] | None = None
    clusters: list[str] | None = None


def read_body_rules(
    document: Document, written: Sequence[BodyRuleEntry], clusters: Sequence[str]
) -> tuple[BodyRule, ...]:
    """The rules, in their order; `clusters` are the names of those that there are. Raises ConfigError."""
    here = ("audit", "bodies")
    if len(written) > MOST_RULES:
        document.refuse(here, f"expected {MOST_RULES} rules at most, found {len(written)}; put some together")
    return tuple(_Reading(document, (*here, at), clusters).rule(entry) for at, entry in enumerate(written))


class _Reading:
    """One rule being read; `here` is where it stands."""

    def __init__(self, document: Document, here: Path_, clusters: Sequence[str]) -> None:
        self._document = document
        self._here = here
        self._clusters = clusters

    def rule(self, written: BodyRuleEntry) -> BodyRule:
        try:
            level = Level(written.level)
        except ValueError:
            known = [each.value for each in Level]
            self._document.refuse(
                (*self._here, "level"), f'unknown level "{written.level}"{suggestion(written.level, known)}'
            )
        return BodyRule(
            level=level,
            users=self._users(written.users),
            user_groups=self._listed("userGroups", written.user_groups),
            verbs=self._known("verbs", written.verbs, VERBS),
            resources=self._resources(written.resources),
            namespaces=self._listed("namespaces", written.namespaces),
            clusters=self._known("clusters", written.clusters, self._clusters),
        )

    def _listed(self, key: str, written: Sequence[str] | None) -> tuple[str, ...]:
        if written is not None and not written:
            # In Kubernetes an empty list asks for nothing, here it means nothing: nobody has to guess.
            self._document.refuse((*self._here, key), "an empty list; leave the key out for all of them")
        return tuple(written or ())

    def _known(self, key: str, written: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
        for at, text in enumerate(self._listed(key, written)):
            if text not in known:
                self._document.refuse((*self._here, key, at), f'unknown value "{text}"{suggestion(text, known)}')
        return tuple(written or ())

    def _users(self, written: Sequence[str] | None) -> tuple[str, ...]:
        for at, text in enumerate(self._listed("users", written)):
            kind, colon, name = text.partition(":")
            if kind not in KINDS or not colon or not name:
                self._document.refuse(
                    (*self._here, "users", at),
                    f'"{text}" is no user; write agent:<name>, person:<name> or serviceaccount:<namespace>/<name>',
                )
        return tuple(written or ())

    def _resources(self, written: Sequence[ResourcesEntry] | None) -> tuple[Resources, ...]:
        if written is not None and not written:
            self._document.refuse((*self._here, "resources"), "an empty list; leave the key out for all of them")
        return tuple(self._group(at, entry) for at, entry in enumerate(written or ()))

    def _group(self, at: int, written: ResourcesEntry) -> Resources:
        inner = _Reading(self._document, (*self._here, "resources", at), self._clusters)
        resources = inner._listed("resources", written.resources)
        names = inner._listed("resourceNames", written.resource_names)
        if "/" in written.group:
            inner._document.refuse(
                (*inner._here, "group"), f'"{written.group}" has a version; write the group alone: apps'
            )
        if names and not resources:
            # k8s.io/apiserver/pkg/apis/audit/validation refuses it, too: names of what?
            inner._document.refuse((*inner._here, "resourceNames"), "goes with resources; name them as well")
        return Resources(written.group, resources, names)
