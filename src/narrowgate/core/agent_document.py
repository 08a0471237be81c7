"""An agent as programs read it: the one document of `narrowgate agents -o json` and of the API.

No secret and no hash is in it. Fields are added at the end and never taken away: programs outside depend on them.
"""

from __future__ import annotations

import enum

import msgspec

from narrowgate.core.agent import AgentRecord, OldCredential
from narrowgate.core.moment import moment_text


class AgentState(enum.Enum):
    """What an agent can do now, by its record alone."""

    ACTIVE = "active"
    PAUSED = "paused"
    EXPIRED = "expired"
    """Its credential is, and it has no other proof."""
    ENDED = "ended"
    """Its end date has passed: no proof of it counts any more."""


class AgentKeyDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registered key, by the name it signs under."""

    id: str
    added_at: str


class OldCredentialDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A credential that was replaced and is good for a while yet."""

    credential_id: str
    expires_at: str


class AgentDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One agent. Moments are RFC 3339."""

    name: str
    owner: str
    purpose: str
    cluster: str
    groups: tuple[str, ...]
    labels: dict[str, str]
    state: AgentState
    credential_id: str
    """Empty for an agent without a simple credential."""
    created_at: str
    expires_at: str | None
    """When the simple credential ends; null where there is none."""
    ends_at: str | None
    """When the agent itself ends; null: only its proofs do."""
    keys: tuple[AgentKeyDocument, ...]
    certificate_names: tuple[str, ...]
    paused_because: str
    """Empty while it is not paused, and where no reason was given."""
    old_credential: OldCredentialDocument | None
    """The one before the last rotation, while it is still good; else null."""
    handed_to: tuple[str, ...]
    """Who was shown a credential of it, or registered a key or certificate name: they answer nothing that it asks."""


def agent_document(agent: AgentRecord, now: float) -> AgentDocument:
    """The document of a record at `now` (Unix seconds)."""
    return AgentDocument(
        name=agent.name,
        owner=agent.owner,
        purpose=agent.purpose,
        cluster=agent.cluster,
        groups=agent.groups,
        labels=dict(agent.labels),
        state=agent_state(agent, now),
        credential_id=agent.credential_id,
        created_at=moment_text(agent.created_at),
        expires_at=moment_text(agent.expires_at) if agent.credential_id else None,
        ends_at=None if agent.ends_at is None else moment_text(agent.ends_at),
        keys=tuple(AgentKeyDocument(id=key.id, added_at=moment_text(key.added_at)) for key in agent.keys),
        certificate_names=agent.certificate_names,
        paused_because=agent.paused_because,
        old_credential=_old_credential(agent.old_credential, now),
        handed_to=agent.handed_to,
    )


def _old_credential(old: OldCredential | None, now: float) -> OldCredentialDocument | None:
    if old is None or not now < old.expires_at:
        return None
    return OldCredentialDocument(credential_id=old.id, expires_at=moment_text(old.expires_at))


def agent_state(agent: AgentRecord, now: float) -> AgentState:
    """What the agent can do at `now`; the strongest reason against it wins."""
    if agent.ends_at is not None and not now < agent.ends_at:
        return AgentState.ENDED
    if agent.credential_id and not (agent.keys or agent.certificate_names) and not now < agent.expires_at:
        return AgentState.EXPIRED
    return AgentState.PAUSED if agent.paused else AgentState.ACTIVE
