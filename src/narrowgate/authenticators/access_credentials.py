"""Whoever came through the control plane, proven by the short access credential that it made for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from narrowgate.authenticators.access_credential import (
    PREFIX,
    AccessClaims,
    NotGenuine,
    Port,
    read_access_credential,
)
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.identity import Identity, Kind, chain_behind
from narrowgate.core.names import groups_problem, name_problem

MOST_REMEMBERED = 10_000
"""Credentials whose signature is not verified again, each with about a kilobyte: one of each active client, and a bound
on what a flood of them can take."""

LONGEST_LIFE = 86_400.0
"""Seconds. However long a credential says it is good for, it is not believed longer after it was made: ended sign-ins
are remembered for as long as this."""

_NOT_MINE = NotMine()


class Genuine:
    """Credentials whose signature was verified, by their text. One per process: it outlives every snapshot."""

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        self._key = public_key
        self._known: dict[str, AccessClaims] = {}

    def __len__(self) -> int:
        return len(self._known)

    def claims(self, text: str) -> AccessClaims:
        """What the credential says. Raises NotGenuine."""
        found = self._known.get(text)
        if found is None:
            found = read_access_credential(text, self._key)
            if len(self._known) >= MOST_REMEMBERED:
                # The oldest goes: a dict keeps the order in which keys came.
                del self._known[next(iter(self._known))]
            self._known[text] = found
        return found


class AccessCredentials:
    """An authenticator over one immutable snapshot of what has been ended; a change means a new object."""

    def __init__(
        self, genuine: Genuine, port: Port, ended: Collection[str] = (), agents: Iterable[AgentRecord] = ()
    ) -> None:
        """`ended` are ids of sign-ins not to be believed any more; `agents` all that are registered now."""
        self._genuine = genuine
        self._port = port
        self._ended = frozenset(ended)
        self._agents: Mapping[str, AgentRecord] = {agent.name: agent for agent in agents}
        self._identities: dict[str, Identity] = {}

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        text = presented.bearer
        if not text.startswith(PREFIX):
            return _NOT_MINE
        try:
            claims = self._genuine.claims(text)
        except NotGenuine as error:
            return Rejected(f"this access credential {error}; sign in again with `narrowgate login`")
        # Written so that a time that is no number (NaN) counts as expired.
        if not now < min(claims.expires_at, claims.issued_at + LONGEST_LIFE):
            ended = datetime.fromtimestamp(claims.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            return Rejected(
                f"this access credential of {claims.name} expired on {ended}; the kubectl plugin renews it by itself, "
                "else sign in again with `narrowgate login`"
            )
        found = self._identities.get(text)
        if found is not None:
            return found
        answer = self._chain(claims, now)
        if isinstance(answer, Identity) and all(one.expires_at == claims.expires_at for one in chain_behind(answer)):
            if len(self._identities) >= MOST_REMEMBERED:
                self._identities.clear()
            self._identities[text] = answer
        return answer

    def _chain(self, claims: AccessClaims, now: float) -> Answer:
        """Whoever it names, on behalf of those whom it names besides: each as everybody else is who comes so."""
        answer = self._answer(claims, now)
        if not isinstance(answer, Identity) or not claims.behind:
            return answer
        members: list[Identity] = []
        for one in claims.behind:
            about = msgspec.structs.replace(
                claims, kind=one.kind, name=one.name, groups=one.groups, proven_by=one.proven_by, claims=one.claims,
                behind=(),
            )  # fmt: skip
            found = self._answer(about, now)
            if not isinstance(found, Identity):
                return found
            members.append(found)
        return msgspec.structs.replace(answer, on_behalf_of=tuple(members))

    def _answer(self, claims: AccessClaims, now: float) -> Answer:
        if claims.port is not self._port:
            other = "the clusters' APIs" if claims.port is Port.KUBERNETES else "the gate's own API"
            return Rejected(f"this access credential is for {other}; ask for one for this port")
        if claims.id in self._ended:
            return Rejected(f"the sign-in of {claims.name} was ended; sign in again with `narrowgate login`")
        if problem := name_problem(claims.name) or groups_problem(claims.groups):
            return Rejected(f"whoever this access credential names cannot be let in: {problem}")
        if self._port is Port.KUBERNETES and not claims.cluster:
            return Rejected("this access credential names no cluster; ask for one for a cluster")
        if claims.kind is Kind.AGENT:
            return self._agent(claims, now)
        return _identity(claims, claims.groups, "", claims.expires_at)

    def _agent(self, claims: AccessClaims, now: float) -> Answer:
        """An agent is what its record says now, not what it was when the credential was made."""
        record = self._agents.get(claims.name)
        if record is None:
            return Rejected(f'agent "{claims.name}" is not registered any more; ask its owner')
        if refusal := refusal_of(record, now):
            return Rejected(refusal)
        if claims.issued_at < record.created_at:
            # Removed and added anew: whatever was given to the one before is not this one's.
            return Rejected(
                f'this access credential is of another agent that was called "{record.name}"; get a new one'
            )
        key = dict(claims.claims).get("key")
        if key is not None and all(known.id != key for known in record.keys):
            return Rejected(f'the key of agent "{record.name}" that this access credential rests on was removed')
        if self._port is Port.KUBERNETES and record.cluster != claims.cluster:
            return Rejected(f'agent "{record.name}" does not open cluster "{claims.cluster}" any more')
        ends = claims.expires_at if record.ends_at is None else min(claims.expires_at, record.ends_at)
        return _identity(claims, record.groups, record.owner, ends)


def _identity(claims: AccessClaims, groups: tuple[str, ...], owner: str, expires_at: float) -> Identity:
    return Identity(
        kind=claims.kind,
        name=claims.name,
        groups=groups,
        owner=owner,
        proven_by=claims.proven_by,
        credential=claims.id,
        claims=claims.claims,
        cluster=claims.cluster,
        expires_at=expires_at,
    )
