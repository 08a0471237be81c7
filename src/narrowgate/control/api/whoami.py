"""Calls about the gate as the caller sees it: who they are, which clusters they may name, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.policies import number_in
from narrowgate.core.actor_claims import actor_claims
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.identity import Kind, chain_behind
from narrowgate.core.moment import moment_text
from narrowgate.core.roles import Role
from narrowgate.store.port import Change

_CLUSTERS = "clusters"
_CHANGES = "changes"


class WhoamiDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The caller, as the gate knows them."""

    identity: str
    """As the trail names it: `person:alice`, `agent:ci-bot`."""
    kind: Kind
    name: str
    groups: tuple[str, ...]
    roles: tuple[Role, ...]
    owner: str
    """Who answers for an agent; empty for everybody else."""
    proven_by: str
    credential: str
    """The public id of what was presented; of a sign-in, for people."""
    expires_at: str | None
    """RFC 3339; null where the proof has no end of its own."""
    chain: tuple[str, ...]
    """Everybody the caller speaks for, root first, the caller last."""
    act: dict[str, Any] | None
    """Who acts for the root of the chain, nested as in RFC 8693, section 4.1; null where it is the caller itself."""
    clusters: tuple[str, ...]
    """Those that the caller may name: where the policies have something for them."""


class ClusterDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A registered cluster."""

    name: str
    mode: UpstreamMode | None
    """In whose name requests reach it."""


class ClusterList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of clusters, by name."""

    items: tuple[ClusterDocument, ...]
    metadata: ListMeta


class ChangeDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One change to what the gate keeps."""

    number: int
    at: str
    by: str
    action: str
    subject: str
    detail: Any
    """What matters about it, by its action; never a secret."""


class ChangeList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of changes, newest first."""

    items: tuple[ChangeDocument, ...]
    metadata: ListMeta


def whoami(parts: ApiParts, sent: Sent) -> Answered:
    """Who the caller is to the gate."""
    who, roles = sent.caller.identity, sent.caller.roles
    return Answered(
        document=WhoamiDocument(
            identity=str(who),
            kind=who.kind,
            name=who.name,
            groups=who.groups,
            roles=tuple(role for role in Role if role in roles),
            owner=who.owner,
            proven_by=who.proven_by,
            credential=who.credential,
            expires_at=None if who.expires_at is None else moment_text(who.expires_at),
            chain=tuple(str(member) for member in chain_behind(who)),
            act=actor_claims(chain_behind(who)).get("act"),
            clusters=tuple(_may_name(parts, sent)),
        )
    )


def list_clusters(parts: ApiParts, sent: Sent) -> Answered:
    """All clusters, or those that the caller may name."""
    page: Page = sent.query
    behind = read_token(page, _CLUSTERS)
    names = sorted(parts.settings.clusters if sent.reaches_all else _may_name(parts, sent))
    shown, meta = page_of([name for name in names if name > behind], page, _CLUSTERS, str)
    items = tuple(ClusterDocument(name=name, mode=parts.modes.get(name)) for name in shown)
    return Answered(document=ClusterList(items=items, metadata=meta))


def list_changes(parts: ApiParts, sent: Sent) -> Answered:
    """What was changed, by whom and when."""
    page: Page = sent.query
    found = parts.store.changes(page.limit + 1, before=number_in(read_token(page, _CHANGES)))
    shown, meta = page_of(found, page, _CHANGES, lambda one: str(one.number))
    return Answered(document=ChangeList(items=tuple(_document(one) for one in shown), metadata=meta))


def _may_name(parts: ApiParts, sent: Sent) -> Sequence[str]:
    known, who = parts.settings.clusters, sent.caller.identity
    if who.cluster:
        return [name for name in known if name == who.cluster]
    return [] if sent.rulebook is None else sent.rulebook.clusters_of(who, known)


def _document(change: Change) -> ChangeDocument:
    return ChangeDocument(
        number=change.number,
        at=moment_text(change.at),
        by=change.by,
        action=change.action,
        subject=change.subject,
        detail=msgspec.json.decode(change.detail),
    )
