"""Who is believed by a process of the gate: what outlives a snapshot, and the authenticator of each snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.access_credentials import LONGEST_LIFE, AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.port import Authenticator
from narrowgate.core.agent import AgentRecord
from narrowgate.keys import Keys
from narrowgate.store.port import Store


class Identification:
    """One per process. What is slow to find out (a signature, an issuer's keys) is remembered here across snapshots."""

    def __init__(self, keys: Keys, port: Port) -> None:
        self._port = port
        self._genuine = Genuine(keys.access_key.public_key())

    def load(self, store: Store, now: float) -> tuple[Authenticator, tuple[AgentRecord, ...]]:
        """The authenticator for what the store says at `now`, and the agents it knows. Raises StoreUnavailable."""
        agents = store.agents()
        ended = store.sign_ins.ended_since(now - LONGEST_LIFE)
        return FirstMatch(self._in_order(agents, ended)), agents

    def _in_order(self, agents: Sequence[AgentRecord], ended: Collection[str]) -> list[Authenticator]:
        """Most used first: each one that has to say that it is not asked costs a little."""
        return [
            AgentCredentials.of(agents),
            AccessCredentials(self._genuine, self._port, ended, agents),
        ]

    async def follow(self) -> None:
        """Keep issuers' keys fresh for as long as the process runs."""

    async def close(self) -> None:
        """Close what is open towards issuers."""
