"""A registered agent as a value: who it is, who answers for it, and what its credential opens."""

from __future__ import annotations

import msgspec


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One agent and its one credential. The secret itself is nowhere: only its hash is kept."""

    name: str
    """Unique in the gate; `core.names` says what it may look like."""
    owner: str
    """The person or group that answers for it: `person:alice` or `group:sre`."""
    purpose: str
    cluster: str
    """The one cluster the credential opens."""
    credential_id: str
    """Public; the trail, approvals and revocations name it."""
    credential_hash: bytes
    """SHA-256 of the whole credential as it is presented. It needs no salt: the credential holds 256 random bits."""
    created_at: float
    """Unix seconds; when the agent was added, not when its credential was last rotated."""
    expires_at: float
    """Unix seconds after which the credential is worth nothing. Always set: nothing is handed out for ever."""
    paused: bool = False
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Key and value, sorted by key; for people and their tools, no decision looks at them."""
