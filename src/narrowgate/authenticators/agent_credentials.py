"""Agents, proven by the credential that the gate gave them. Answers from a snapshot in memory, never from the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Self

from narrowgate.authenticators.credential import PREFIX, credential_problem
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.names import agent_name_problem, groups_problem

PROVEN_BY = "agent-credential"

_NOT_MINE = NotMine()
_UNKNOWN = Rejected(
    "this agent credential is not known to this gate: it was rotated or removed, or another gate made it; "
    "ask the agent's owner for the current one"
)
_sha256 = hashlib.sha256


class _Entry(NamedTuple):
    """What a credential is worth, made beforehand so that a request costs one hash and one look-up."""

    expires_at: float
    good: Identity | Rejected
    expired: Rejected


class AgentCredentials:
    """An authenticator over one immutable snapshot of the registered agents; a change means a new object.

    The look-up is by SHA-256 of what was presented. How long it takes may tell something about hashes, never about
    credentials: nobody can choose a credential's hash bit by bit.
    """

    def __init__(self, entries: dict[bytes, _Entry]) -> None:
        """Use `of`."""
        self._entries = entries

    @classmethod
    def of(cls, records: Iterable[AgentRecord]) -> Self:
        """The authenticator for these agents. A record that must not be vouched for is kept as one that is refused."""
        entries: dict[bytes, _Entry] = {}
        for record in records:
            entry = _entry(record)
            if record.credential_hash in entries:
                # The store never lets this happen. Should it: two names for one credential are a doubt, so refuse.
                shared = Rejected("this credential belongs to two agents; ask for each to be rotated")
                entry = _Entry(entry.expires_at, shared, shared)
            entries[record.credential_hash] = entry
        return cls(entries)

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        bearer = presented.bearer
        if not bearer.startswith(PREFIX):
            return _NOT_MINE
        try:
            entry = self._entries.get(_sha256(bearer.encode()).digest())
        except UnicodeEncodeError:
            entry = None
        if entry is None:
            return _unknown(bearer)
        # Written so that a time that is no number (NaN) counts as expired.
        if not now < entry.expires_at:
            return entry.expired
        return entry.good


def _entry(record: AgentRecord) -> _Entry:
    ended = datetime.fromtimestamp(record.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    expired = Rejected(
        f'the credential of agent "{record.name}" expired on {ended}; its owner ({record.owner}) can make a new one: '
        f"narrowgate agents rotate {record.name}"
    )
    if problem := agent_name_problem(record.name) or groups_problem(record.groups):
        return _Entry(record.expires_at, Rejected(f"this agent cannot be let in: {_about(record, problem)}"), expired)
    if record.paused:
        paused = Rejected(f'agent "{record.name}" is paused; ask its owner ({record.owner}) to let it go on')
        return _Entry(record.expires_at, paused, expired)
    good = Identity(
        kind=Kind.AGENT,
        name=record.name,
        groups=record.groups,
        owner=record.owner,
        proven_by=PROVEN_BY,
        credential=record.credential_id,
        cluster=record.cluster,
        expires_at=record.expires_at,
    )
    return _Entry(record.expires_at, good, expired)


def _about(record: AgentRecord, problem: str) -> str:
    named = problem if problem.startswith("group") or problem[:1].isdigit() else f'its name "{record.name}" {problem}'
    return f"{named}; its owner ({record.owner}) must remove it and add it anew"


def _unknown(bearer: str) -> Rejected:
    problem = credential_problem(bearer)
    return Rejected(f"this agent credential {problem}; copy it again") if problem else _UNKNOWN
