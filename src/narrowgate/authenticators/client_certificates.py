"""Agents, proven by the TLS client certificate of their connection (`AgentRecord.certificate_names`)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from narrowgate.authenticators.certificate_names import CertificateNames, Proven, Unproven
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.identity import Identity, Kind

PROVEN_BY = "client-certificate"

MOST_IDENTITIES = 10_000
"""Identities that are not made anew for each request, with half a kilobyte each."""

_NOT_MINE = NotMine()


class ClientCertificates:
    """An authenticator over one immutable snapshot of the registered agents; a change means a new object.

    It looks at the certificate alone; what becomes of a bearer credential beside it is `BearerAndCertificate`'s affair.
    """

    def __init__(self, names: CertificateNames, agents: Iterable[AgentRecord]) -> None:
        """`names` outlives the snapshot: a certificate's signature is verified once."""
        self._names = names
        self._agents: dict[str, tuple[AgentRecord, ...]] = {}
        for agent in agents:
            for name in dict.fromkeys(agent.certificate_names):
                self._agents[name] = (*self._agents.get(name, ()), agent)
        self._identities: dict[str, Identity] = {}

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        der = presented.client_certificate
        if not der:
            return _NOT_MINE
        proven = self._names.read(der)
        if isinstance(proven, Unproven):
            return Rejected(f"this client certificate {proven.reason}")
        if refused := _untimely(proven, now):
            return refused
        found = self._identities.get(proven.credential)
        if found is not None and found.expires_at is not None and now < found.expires_at:
            return found
        answer = self._answer(proven, now)
        if isinstance(answer, Identity):
            # No more of them than `names` remembers would be of use; each is one that an agent came with.
            if len(self._identities) >= MOST_IDENTITIES:
                self._identities.clear()
            self._identities[proven.credential] = answer
        return answer

    def _answer(self, proven: Proven, now: float) -> Answer:
        agents = self._agents.get(proven.name, ())
        if not agents:
            return Rejected(
                f"the client certificate of {proven.name} stands for no registered agent; register one: "
                f"narrowgate agents add NAME --certificate-name {shlex.quote(proven.name)}"
            )
        if len(agents) > 1:
            named = ", ".join(sorted(agent.name for agent in agents))
            return Rejected(f"the client certificate of {proven.name} stands for several agents ({named}); keep one")
        return _agent(agents[0], proven, now)


def _untimely(proven: Proven, now: float) -> Rejected | None:
    # Written so that a time that is no number (NaN) counts as expired.
    if not now < proven.not_after:
        ended = datetime.fromtimestamp(proven.not_after, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return Rejected(
            f"the client certificate of {proven.name}, or its CA, expired on {ended}; connect with a new one"
        )
    if now < proven.not_before:
        return Rejected(f"the client certificate of {proven.name} is not valid yet; set the clocks right")
    return None


def _agent(record: AgentRecord, proven: Proven, now: float) -> Answer:
    """An agent is what its record says now."""
    if refusal := refusal_of(record, now):
        return Rejected(refusal)
    return Identity(
        kind=Kind.AGENT,
        name=record.name,
        groups=record.groups,
        owner=record.owner,
        proven_by=PROVEN_BY,
        credential=proven.credential,
        claims=proven.claims,
        cluster=record.cluster,
        expires_at=proven.not_after if record.ends_at is None else min(proven.not_after, record.ends_at),
    )
