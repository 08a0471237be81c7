"""Whom a pod speaks for: who had it made, remembered by the cluster's own UIDs. Values and unions, no look-ups.

Whoever creates or changes, through the gate, a pod or something that pods are made from becomes one of its authors; so
does whoever made what owns it, at the moment it is first seen. Authors are only ever added: whatever order writes,
first sights and restarts come in, the union is the same, and nobody loses a chain by editing labels or owners.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from narrowgate.core.identity import Chain, Identity, Kind
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.uses import BUILT_IN_GROUPS

MOST_AUTHORS: Final = 32
"""Authors of one object. A pod with more is refused: none of them may be forgotten, and each is judged."""

BEFORE_SECONDS: Final = 60.0
"""By how much a cluster's clock may be behind the gate's, where a write and an object are held together by time."""

AFTER_SECONDS: Final = 120.0
"""The API server's own limit for one request is a minute (`--request-timeout`); the rest is for its clock."""

WRITES: Final = frozenset({"create", "update", "patch"})

POD_MAKERS: Final = frozenset(
    {
        ("", "pods"),
        ("", "podtemplates"),
        ("", "replicationcontrollers"),
        ("apps", "controllerrevisions"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("batch", "cronjobs"),
        ("batch", "jobs"),
        ("extensions", "daemonsets"),
        ("extensions", "deployments"),
        ("extensions", "replicasets"),
    }
)
"""Kubernetes' own kinds that are pods or that its controllers make pods from, as (group, plural)."""

_WRITING: Final = frozenset({"", "scale", "ephemeralcontainers", "resize", "rollback"})
"""Subresources of these by which something of what a pod is made from is written; exec and the like make none."""

_NOT_WRITING: Final = frozenset({"status", "finalize"})
"""The subresources of foreign kinds by which nothing is."""


class Ancestor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member of a chain by reference: what it may do is asked anew each time, of the snapshot of then."""

    kind: Kind
    name: str
    task: str = ""
    """The task under which it wrote; empty for a standing credential."""
    cluster: str = ""
    """Of a workload: whose ServiceAccount it is."""
    pod: str = ""
    pod_uid: str = ""
    since: float = 0.0
    """Of an agent with a standing credential: when it first wrote (Unix seconds). One that was registered anew under
    its name since then is another one."""


Author = tuple[Ancestor, ...]
"""Whoever wrote, with those it spoke for: the chain of one request, root first."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `metadata.ownerReferences` (k8s.io/apimachinery/pkg/apis/meta/v1 OwnerReference)."""

    api_version: str
    kind: str
    name: str
    uid: str


class Sighted(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says of an object."""

    uid: str
    resource: str
    """`pods`, `jobs.batch`, `databases.example.com`."""
    namespace: str
    name: str
    created_at: float
    """Unix seconds; whole ones, as Kubernetes keeps them."""
    owners: tuple[Owner, ...] = ()


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one object."""

    cluster: str
    uid: str
    resource: str
    namespace: str
    name: str
    authors: tuple[Author, ...] = ()
    """Sorted; none where nobody known had it made: then it is just itself."""
    owners: tuple[str, ...] = ()
    """UIDs of what owned it whenever it was looked at, sorted: where authors come from that are added there later."""
    is_settled: bool = False
    """Whether its owners have been looked at."""
    first_at: float
    """Unix seconds."""
    audit_id: str = ""
    """The request that made it, or first changed it; empty where a controller did."""
    gone_at: float | None = None
    """When it was seen to be gone (Unix seconds); None while it is there."""

    def grown(
        self, authors: Iterable[Author], owners: Iterable[str] = (), *, is_settled: bool = False, audit_id: str = ""
    ) -> Placement:
        """With these authors and owners as well.

        A pod that writes itself is none of its authors: those who had it made are, and that is all it came with. With
        each such write its chain would grow, until it was too long.
        """
        others = [author for author in authors if not author or author[-1].pod_uid != self.uid]
        return msgspec.structs.replace(
            self,
            authors=merged(self.authors, others),
            owners=tuple(sorted({*self.owners, *owners})),
            is_settled=self.is_settled or is_settled,
            audit_id=self.audit_id or audit_id,
        )


class PendingWrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A write that is under way, or of which nobody knows what became: kept before it is sent, until it is answered.

    Should the gate be killed in between, whatever it may have made is taken to be made by it.
    """

    audit_id: str
    cluster: str
    resource: str
    namespace: str
    name: str = ""
    generate_name: str = ""
    is_create: bool
    """Whether it can only make something new; any other may have changed what was there."""
    is_whole: bool = False
    """Whether it writes the object itself, not a part of it (`scale`): then an answer of 201 says that it was made."""
    author: Author
    """Empty where only people wrote: they become nobody's author, but what they change is not the writer's alone."""
    at: float
    """Unix seconds."""

    def may_have_made(self, seen: Sighted) -> bool:
        """Whether that object may be what this write made or changed; in doubt it may."""
        if (self.resource, self.namespace) != (seen.resource, seen.namespace):
            return False
        named = self.name == seen.name if self.name else seen.name.startswith(self.generate_name)
        in_time = seen.created_at <= self.at + AFTER_SECONDS
        if self.is_create:
            in_time = in_time and self.at - BEFORE_SECONDS <= seen.created_at
        return named and in_time

    def may_have_changed(self, placement: Placement) -> bool:
        """Whether it may have changed what was known before."""
        mine = (self.resource, self.namespace, self.name)
        return not self.is_create and mine == (placement.resource, placement.namespace, placement.name)


def makes_pods(info: RequestInfo) -> bool:
    """Whether this request writes a pod, or something that a controller may make pods from.

    Which kinds of foreign groups are such nobody knows: all of them count.
    """
    if info.verb not in WRITES or not info.is_resource_request:
        return False
    if info.api_group not in BUILT_IN_GROUPS:
        return info.subresource not in _NOT_WRITING
    return (info.api_group, info.resource) in POD_MAKERS and info.subresource in _WRITING


def qualified(resource: str, group: str) -> str:
    """A resource with its group, as kubectl writes it: `pods`, `jobs.batch`."""
    return f"{resource}.{group}" if group else resource


def can_be_named(name: str) -> bool:
    """Whether anything in a cluster can be called so.

    No segment of a path holds more (k8s.io/apimachinery/pkg/api/validation/path, ValidatePathSegmentName), but nobody
    looks at what stands in owner references: asked for by such a name, the gate would ask for something else.
    """
    return name not in ("", ".", "..") and "/" not in name and "%" not in name


def author_of(chain: Chain, at: float) -> Author:
    """Who becomes an author by what this chain writes at that time (Unix seconds); empty where nobody does.

    People are none: they answer for what they made, and the pods of a person are just their ServiceAccount. Somebody
    who acts for a person is one, with that person: what they made must not be theirs alone.
    """
    if all(member.kind is Kind.PERSON for member in chain):
        return ()
    return tuple(_ancestor(member, at) for member in chain)


def merged(first: Iterable[Author], second: Iterable[Author]) -> tuple[Author, ...]:
    """All of both, each once and since the earlier, in an order that hangs on nothing but themselves.

    One more than MOST_AUTHORS are kept at most: who has so many hands behind it is refused, whoever they were.
    """
    found: dict[tuple[tuple[str, ...], ...], Author] = {}
    for author in (*first, *second):
        if author:
            same = found.get(_order(author), author)
            found[_order(author)] = tuple(
                one if one.since <= other.since else other for one, other in zip(author, same, strict=True)
            )
    return tuple(found[key] for key in sorted(found)[: MOST_AUTHORS + 1])


def _ancestor(member: Identity, at: float) -> Ancestor:
    if member.kind is not Kind.WORKLOAD:
        return Ancestor(kind=member.kind, name=member.name, task=member.task, since=0.0 if member.task else at)
    claims = dict(member.claims)
    return Ancestor(
        kind=member.kind,
        name=member.name,
        cluster=member.cluster,
        pod=claims.get("pod", ""),
        pod_uid=claims.get("pod-uid", ""),
    )


def _order(author: Author) -> tuple[tuple[str, ...], ...]:
    return tuple((one.kind.value, one.name, one.task, one.cluster, one.pod_uid, one.pod) for one in author)
