"""A registered agent as a value: who it is, who answers for it, how it proves itself, and whether it may come now."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from narrowgate.core.names import agent_name_problem, groups_problem


class AgentKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key with which an agent signs for itself (`private_key_jwt`, RFC 7523); the other half stays with it."""

    id: str
    """The key's RFC 7638 thumbprint (SHA-256, base64url): the `kid` of what it signs."""
    public: bytes
    """Ed25519, the 32 raw bytes (RFC 8032)."""
    added_at: float
    """Unix seconds."""


class OldCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The simple credential that the current one replaced, where a rotation let both be good for a while."""

    id: str
    hash: bytes
    """See `AgentRecord.credential_hash`."""
    expires_at: float
    """Unix seconds; never later than it would have been without the rotation."""


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, and every way in which it may prove itself. Secrets are nowhere: only a credential's hash is kept."""

    name: str
    """Unique in the gate; `core.names` says what it may look like."""
    owner: str
    """The person or group that answers for it: `person:alice` or `group:sre`."""
    purpose: str
    cluster: str
    """The one cluster the credential opens."""
    credential_id: str
    """Public; the trail, approvals and revocations name it. Empty for an agent that has no simple credential."""
    credential_hash: bytes
    """Empty together with the id, else SHA-256 of the whole credential as it is presented. It needs no salt: the
    credential holds 256 random bits."""
    created_at: float
    """Unix seconds; when the agent was added, not when its credential was last rotated."""
    expires_at: float
    """Unix seconds after which the credential is worth nothing. Always set: nothing is handed out for ever."""
    paused: bool = False
    paused_because: str = ""
    """For people; the agent is not told. Empty while it is not paused."""
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Key and value, sorted by key; for people and their tools, no decision looks at them."""
    ends_at: float | None = None
    """Unix seconds after which the agent is over, however it proves itself; None: only its proofs end."""
    keys: tuple[AgentKey, ...] = ()
    certificate_names: tuple[str, ...] = ()
    """SPIFFE IDs (`spiffe://...`) and common names (`cn:...`) of client certificates that stand for it."""
    old_credential: OldCredential | None = None
    handed_to: tuple[str, ...] = ()
    """Who has been shown a credential of it, or has registered a key or certificate name, since its proofs were last
    all replaced (`person:rita`, sorted): they can ask as the agent, so they never answer what it asks."""


def refusal_of(agent: AgentRecord, now: float) -> str:
    """Why this agent is let in nowhere at `now` (Unix seconds), however it proves itself; empty when it is.

    Every authenticator that vouches for an agent asks here, each time: an agent is what its record says now.
    """
    if problem := agent_name_problem(agent.name):
        return f'an agent cannot be let in whose name "{agent.name}" {problem}; {_anew(agent)}'
    if problem := groups_problem(agent.groups):
        return f'agent "{agent.name}" cannot be let in: {problem}; {_anew(agent)}'
    if agent.paused:
        return f'agent "{agent.name}" is paused; ask its owner ({agent.owner}) to let it go on'
    # Written so that a time that is no number (NaN) counts as the end.
    if agent.ends_at is not None and not now < agent.ends_at:
        ended = datetime.fromtimestamp(agent.ends_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f'agent "{agent.name}" ended on {ended}; ask its owner ({agent.owner}) for a later end date'
    return ""


def _anew(agent: AgentRecord) -> str:
    return f"its owner ({agent.owner}) must remove it and add it anew"
