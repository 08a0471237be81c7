"""Where an agent's credential was seen, as the processes of a gate tell each other."""

from __future__ import annotations

import msgspec


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One place that used one agent's credential."""

    proof: str
    """Public id of the credential, or of the key behind several short ones; never a secret."""
    agent: str
    network: str
    """The IPv4 address, or the IPv6 /64."""
    user_agent: str
    at: float
    """Unix seconds; when it was last used there."""
