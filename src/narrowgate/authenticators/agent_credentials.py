"""Agents, proven by the credential that the gate gave them. Answers from a snapshot in memory, never from the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, Self

from narrowgate.authenticators.credential import PREFIX, credential_problem
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.identity import Identity, Kind

PROVEN_BY = "agent-credential"

_NOT_MINE = NotMine()
_UNKNOWN = Rejected(
    "this agent credential is not known to this gate: it was rotated or removed, or another gate made it; "
    "ask the agent's owner for the current one"
)
_sha256 = hashlib.sha256


class _Entry(NamedTuple):
    """What a credential is worth, made beforehand so that a request costs one hash and one look-up."""

    ends_at: float
    """Unix seconds: of the credential or of the agent, whichever comes first."""
    good: Identity | Rejected
    over: Rejected


class _Credential(NamedTuple):
    """One of the credentials that an agent has at a time."""

    id: str
    hash: bytes
    expires_at: float


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
            for credential in _credentials(record):
                entry = _entry(record, credential)
                if credential.hash in entries:
                    # The store never lets this happen. Should it: two names for one credential are a doubt, so refuse.
                    shared = Rejected("this credential belongs to two agents; ask for each to be rotated")
                    entry = _Entry(entry.ends_at, shared, shared)
                entries[credential.hash] = entry
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
        # Written so that a time that is no number (NaN) counts as the end.
        if not now < entry.ends_at:
            return entry.over
        return entry.good


def _credentials(record: AgentRecord) -> Iterator[_Credential]:
    """The current one, unless the agent has none, and the one before while it is still good as well."""
    if record.credential_id and record.credential_hash:
        yield _Credential(record.credential_id, record.credential_hash, record.expires_at)
    if (old := record.old_credential) is not None:
        yield _Credential(old.id, old.hash, old.expires_at)


def _entry(record: AgentRecord, credential: _Credential) -> _Entry:
    ends_at = credential.expires_at
    expired = datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    over = (
        f'the credential of agent "{record.name}" expired on {expired}; its owner ({record.owner}) can make a new one: '
        f"narrowgate agents rotate {record.name}"
    )
    if record.ends_at is not None and record.ends_at <= ends_at:
        ends_at, over = record.ends_at, refusal_of(record, record.ends_at)
    # Whatever keeps it out now does so until its record changes, but for its end, which is looked at each time.
    if refusal := refusal_of(record, float("-inf")):
        return _Entry(ends_at, Rejected(refusal), Rejected(over))
    good = Identity(
        kind=Kind.AGENT,
        name=record.name,
        groups=record.groups,
        owner=record.owner,
        proven_by=PROVEN_BY,
        credential=credential.id,
        cluster=record.cluster,
        expires_at=ends_at,
    )
    return _Entry(ends_at, good, Rejected(over))


def _unknown(bearer: str) -> Rejected:
    problem = credential_problem(bearer)
    return Rejected(f"this agent credential {problem}; copy it again") if problem else _UNKNOWN
