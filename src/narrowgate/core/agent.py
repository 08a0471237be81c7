"""A registered agent as a value: who it is, who answers for it, and what its credential opens."""

from __future__ import annotations

import msgspec


class AgentKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key with which an agent signs for itself (`private_key_jwt`, RFC 7523); the other half stays with it."""

    id: str
    """The key's RFC 7638 thumbprint (SHA-256, base64url): the `kid` of what it signs."""
    public: bytes
    """Ed25519, the 32 raw bytes (RFC 8032)."""
    added_at: float
    """Unix seconds."""


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
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Key and value, sorted by key; for people and their tools, no decision looks at them."""
    ends_at: float | None = None
    """Unix seconds after which the agent is over, however it proves itself; None: only its proofs end."""
    keys: tuple[AgentKey, ...] = ()
    certificate_names: tuple[str, ...] = ()
    """SPIFFE IDs (`spiffe://...`) and common names (`cn:...`) of client certificates that stand for it."""
