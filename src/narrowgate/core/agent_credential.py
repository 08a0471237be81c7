"""An agent's simple credential in its record: how long one may live, how the next one takes its place, and who saw it.

Whoever is shown a credential, or registers a key or certificate name, can ask as the agent from then on, and so never
answers what it asks (`AgentRecord.handed_to`).
"""

from __future__ import annotations

import msgspec

from narrowgate.core.agent import AgentRecord, OldCredential

DEFAULT_LIFETIME = "30d"
"""A credential nobody renews is one nobody misses: a month, so that forgotten agents end by themselves."""

LONGEST_LIFETIME = 365 * 86_400
"""Seconds. A year, as the gate's own certificate; what shall last longer is rotated."""

LONGEST_OVERLAP = 86_400
"""Seconds that a rotated credential may stay good: a day, to change it everywhere; longer would be a second one."""


class NextCredential(msgspec.Struct, frozen=True, kw_only=True):
    """The credential that an agent gets."""

    id: str
    hash: bytes
    to: str
    """Who is shown it: `person:rita`, `local:root`."""
    until: float
    """Unix seconds; the agent's own end cuts it short."""
    old_until: float = 0.0
    """Until when the one before stays good, too; what has passed means not at all."""


def with_credential(agent: AgentRecord, given: NextCredential, now: float) -> AgentRecord:
    """The agent with a new credential in the place of the one it had. `now` is Unix seconds.

    No credential is good for longer than its agent, and the old one never for longer than it was. Those who were handed
    something before are forgotten only where nothing that they may have is good any more.
    """
    old = None
    if agent.credential_id and given.old_until > now:
        expires_at = min(given.old_until, agent.expires_at)
        old = OldCredential(id=agent.credential_id, hash=agent.credential_hash, expires_at=expires_at)
    until = given.until if agent.ends_at is None else min(given.until, agent.ends_at)
    replaced = old is None and not agent.keys and not agent.certificate_names
    known = msgspec.structs.replace(agent, handed_to=()) if replaced else agent
    return msgspec.structs.replace(
        handed_over(known, given.to),
        credential_id=given.id,
        credential_hash=given.hash,
        expires_at=until,
        old_credential=old,
    )


def handed_over(agent: AgentRecord, to: str) -> AgentRecord:
    """The agent once `to` was shown a credential of it, or registered a key or a certificate name for it."""
    return msgspec.structs.replace(agent, handed_to=tuple(sorted({*agent.handed_to, to})))
