"""Workloads placed in the chain that had their pods made: by the pod's UID in the token, nothing that it could write.

Around `ServiceAccounts`, and around the access credentials that their tokens are exchanged for: a pod that somebody
had made through the gate speaks for them as well, each as the snapshot says now. A pod of which it is known that nobody
did, and a token that is bound to no pod, is just its ServiceAccount.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

import msgspec

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.authenticators.port import Answer, Authenticator, Presented, Rejected, Unavailable
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.delegated_task import USUAL_CHAIN
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.lineage import MOST_AUTHORS, Ancestor, Author, Placement

PROVEN_BY: Final = "lineage"

MOST_REMEMBERED: Final = 10_000
"""Placed identities that are remembered, as many as pods are."""

POD: Final = "pod"
POD_UID: Final = "pod-uid"
"""Claims of a workload (`core.identity.Identity.claims`)."""


class Lineage(Protocol):
    """Who had pods made, as far as it matters here."""

    def covers(self, cluster: str) -> bool:
        """Whether the pods of that cluster are placed."""
        ...

    def known(self, cluster: str, uid: str) -> Placement | None:
        """What is remembered of that pod."""
        ...

    async def placed(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:
        """Who had that pod made; None where it is not there any more. Raises ClusterSilent."""
        ...


class Authors:
    """Those who write, as one snapshot knows them."""

    def __init__(self, tasks: TaskCredentials, agents: Iterable[AgentRecord]) -> None:
        self._tasks = tasks
        self._agents: Mapping[str, AgentRecord] = {agent.name: agent for agent in agents}

    def now(self, ancestor: Ancestor, now: float) -> Answer:
        """Who that is at `now` (Unix seconds); Rejected where it is over."""
        if ancestor.kind is Kind.WORKLOAD:
            return _workload(ancestor)
        if ancestor.kind is Kind.PERSON:
            # What they may do their own tokens tell, and nobody sends those here.
            return Rejected(f"{ancestor.name} is a person, for whom somebody acted: make it in a name of your own")
        if ancestor.task:
            return self._tasks.of_task(ancestor.task, now)
        record = self._agents.get(ancestor.name)
        # An agent that was made anew under the old name is another one.
        if record is None or record.created_at > ancestor.since:
            return Rejected(f'agent "{ancestor.name}" is not registered any more')
        if refusal := refusal_of(record, now):
            return Rejected(refusal)
        return Identity(
            kind=ancestor.kind,
            name=record.name,
            groups=record.groups,
            owner=record.owner,
            proven_by=PROVEN_BY,
            credential=f"made-{record.name}",
            cluster=record.cluster,
            expires_at=record.ends_at,
        )


class _Known(NamedTuple):
    """What became of one identity."""

    answer: Identity | Rejected
    until: float
    """Unix seconds at which one of those behind it ends."""


class PlacedWorkloads:
    """An authenticator over one immutable snapshot; a change of agents and tasks means a new object."""

    def __init__(
        self, accounts: Authenticator, lineage: Lineage, authors: Authors, longest_chain: int = USUAL_CHAIN
    ) -> None:
        """`longest_chain` counts its members, the pod included."""
        self._accounts = accounts
        self._lineage = lineage
        self._authors = authors
        self._longest = longest_chain
        self._known: dict[Identity, _Known] = {}
        """Whoever adds to what is known of a pod makes a new snapshot, and so a new one of these."""

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        answer = await self._accounts.authenticate(presented, now)
        if not isinstance(answer, Identity) or answer.kind is not Kind.WORKLOAD:
            return answer
        known = self._known.get(answer)
        # Written so that a time that is no number (NaN) finds nothing.
        if known is not None and now < known.until:
            return known.answer
        return await self._looked_up(answer, now)

    async def _looked_up(self, answer: Identity, now: float) -> Answer:
        if not self._lineage.covers(answer.cluster):
            return answer
        claims = dict(answer.claims)
        uid = claims.get(POD_UID, "")
        if not uid:
            return answer
        placement = self._lineage.known(answer.cluster, uid)
        if placement is None:
            namespace = answer.name.partition("/")[0]
            try:
                placement = await self._lineage.placed(answer.cluster, namespace, claims.get(POD, ""), uid)
            except ClusterSilent as error:
                return Unavailable(str(error))
        if placement is None:
            return Rejected(f"the pod of this token ({claims.get(POD, '')}) is gone")
        return self.in_chain(answer, placement, now)

    def in_chain(self, who: Identity, placement: Placement, now: float) -> Identity | Rejected:
        """The workload with those it speaks for, at `now` (Unix seconds)."""
        found, until = self._placed(who, placement, now)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[who] = _Known(found, until)
        return found

    def _placed(self, who: Identity, placement: Placement, now: float) -> tuple[Identity | Rejected, float]:
        if len(placement.authors) > MOST_AUTHORS:
            return Rejected(f"more than {MOST_AUTHORS} have had a hand in this pod: make it anew"), now
        behind = {_key(member): member for member in who.on_behalf_of}
        ends = [float("inf")]
        for author in placement.authors:
            length = 1
            for ancestor in author:
                answer = self._authors.now(ancestor, now)
                if not isinstance(answer, Identity):
                    reason = answer.reason if isinstance(answer, Rejected | Unavailable) else "nobody knows who that is"
                    return Rejected(f"this pod was made by {written_out(author, who)}: {reason}"), now
                members = (*answer.on_behalf_of, msgspec.structs.replace(answer, on_behalf_of=()))
                ends += [one.expires_at for one in members if one.expires_at is not None]
                for member in members:
                    behind.setdefault(_key(member), member)
                length += 1
            if length > self._longest:
                return Rejected(
                    f"this pod was made by {written_out(author, who)}: a chain has {self._longest} members at most"
                ), now
        return msgspec.structs.replace(who, on_behalf_of=tuple(behind.values())), min(ends)


def written_out(author: Author, who: Identity) -> str:
    """A chain for people, root first: `agent:bot (task t1) → serviceaccount:ci/worker`."""
    members = [f"{one.kind.value.lower()}:{one.name}" + (f" (task {one.task})" if one.task else "") for one in author]
    return " → ".join([*members, str(who)])


def _workload(ancestor: Ancestor) -> Identity:
    """A pod that made another: what its ServiceAccount may do now. That it is gone ends nothing; its own makers' end
    does, and they are members of the same chain."""
    claims = ((POD, ancestor.pod), (POD_UID, ancestor.pod_uid)) if ancestor.pod_uid else ()
    return Identity(
        kind=Kind.WORKLOAD,
        name=ancestor.name,
        proven_by=PROVEN_BY,
        credential=f"pod-{ancestor.pod_uid or ancestor.name}",
        cluster=ancestor.cluster,
        claims=claims,
    )


def _key(member: Identity) -> tuple[str, ...]:
    return (member.kind.value, member.name, member.task, member.credential)
