"""How much of which request is kept: rules shaped like those of Kubernetes' audit policy, the first that fits counts.

Here belongs what a rule says and whether it fits. Meanings follow `PolicyRule` in k8s.io/apiserver/pkg/apis/audit/v1
and k8s.io/apiserver/pkg/audit/policy/checker.go: what a rule does not name, it does not ask for. How a rule is written
is `config/audit_bodies.py`, how bodies are kept `proxy/kept_bodies.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from narrowgate.core.audit import Level
from narrowgate.core.identity import Chain
from narrowgate.core.masking.choosing import is_masked
from narrowgate.core.policy import EVERYTHING
from narrowgate.core.request_info import RequestInfo

LEVELS_REMEMBERED: Final = 4_096
"""Questions whose level is remembered: some identities times some resources and names, at 200 bytes each."""

NEVER_KEPT: Final = frozenset(
    {
        ("", "secrets", ""),
        ("", "serviceaccounts", "token"),
        ("authentication.k8s.io", "tokenreviews", ""),
    }
)
"""Objects that are credentials: never kept, whatever the level (as in Kubernetes' own example policy)."""


class Resources(msgspec.Struct, frozen=True):
    """Resources of one API group that a rule is about."""

    group: str
    resources: tuple[str, ...] = ()
    """`pods`, `pods/status`, `pods/*`, `*/status`, `*`; none written means all."""
    names: tuple[str, ...] = ()
    """Names of objects; none written means any."""

    def has(self, info: RequestInfo) -> bool:
        """Whether a request is about one of them. `pods` is not `pods/status`, as in Kubernetes."""
        if self.group != info.api_group or (self.names and info.name not in self.names):
            return False
        if not self.resources:
            return True
        combined = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        meant = {EVERYTHING, combined}
        if info.subresource:
            meant |= {f"{info.resource}/*", f"*/{info.subresource}"}
        return not meant.isdisjoint(self.resources)


class BodyRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. What is empty was not written, and asks for nothing."""

    level: Level
    users: tuple[str, ...] = ()
    """`agent:ci`, `person:alice`, `serviceaccount:ns/name`: whoever sends it, or anybody it speaks for."""
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[Resources, ...] = ()
    namespaces: tuple[str, ...] = ()
    """An empty name stands for what is in no namespace."""
    clusters: tuple[str, ...] = ()

    def fits(self, who: Chain, cluster: str, info: RequestInfo) -> bool:
        """Whether it is about this request."""
        return (
            (not self.clusters or cluster in self.clusters)
            and (not self.verbs or info.verb in self.verbs)
            and (not self.namespaces or info.namespace in self.namespaces)
            and (not self.users or any(str(member) in self.users for member in who))
            and (not self.user_groups or any(not set(self.user_groups).isdisjoint(one.groups) for one in who))
            and (not self.resources or any(each.has(info) for each in self.resources))
        )


class BodyLevels:
    """The rules of a gate."""

    def __init__(self, rules: Sequence[BodyRule]) -> None:
        self._rules: Final = tuple(rules)
        self._remembered = lru_cache(maxsize=LEVELS_REMEMBERED)(self._found)

    @property
    def keep_some(self) -> bool:
        """Whether bodies of anything are kept."""
        return any(keeps_request(rule.level) for rule in self._rules)

    def of(self, who: Chain, cluster: str, info: RequestInfo) -> Level:
        """What is kept of this request. Streams, logs and programs behind the API server have keys of their own; what
        is about no resource is never kept, as in Kubernetes.
        """
        return self._remembered(who, cluster, info)

    def _found(self, who: Chain, cluster: str, info: RequestInfo) -> Level:
        level = next((rule.level for rule in self._rules if rule.fits(who, cluster, info)), Level.METADATA)
        if keeps_request(level) and not has_bodies(info):
            return Level.METADATA
        return level


def keeps_request(level: Level) -> bool:
    """Whether what was sent is kept."""
    return level in (Level.REQUEST, Level.REQUEST_RESPONSE)


def keeps_response(level: Level) -> bool:
    """Whether what was answered is kept."""
    return level is Level.REQUEST_RESPONSE


def has_bodies(info: RequestInfo) -> bool:
    """Whether a request is an ordinary one about objects."""
    return is_masked(info) and info.verb != "watch" and info.subresource != "log"


def is_never_kept(info: RequestInfo) -> bool:
    """Whether objects of such a request are credentials."""
    return (info.api_group, info.resource, info.subresource) in NEVER_KEPT
