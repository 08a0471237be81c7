"""Who may answer a question, looked up in the store at one moment: sign-ins, delegations, the records of agents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from narrowgate.core.agent import AgentRecord
from narrowgate.core.answering import agents_of, known_by_now
from narrowgate.core.approvals import ApprovalQuestion
from narrowgate.core.people import People, Seat
from narrowgate.store.approvals import groups_now
from narrowgate.store.port import Delegations, NotThere, SignIns


class Records(Protocol):
    """What is needed of a store (`store.port.Store`)."""

    @property
    def sign_ins(self) -> SignIns:
        """Where people's groups are told."""
        ...

    @property
    def delegations(self) -> Delegations:
        """Who answers in whose place."""
        ...

    def agent(self, name: str) -> AgentRecord:
        """The agent of that name. Raises NotThere."""
        ...


class PeopleNow:
    """People as the store knows them at `now` (Unix seconds); each of them and each agent is looked up once.

    Every call may raise StoreUnavailable.
    """

    def __init__(self, store: Records, now: float) -> None:
        self._store = store
        self._now = now
        self._groups: dict[str, frozenset[str] | None] = {}
        self._seats: dict[str, tuple[Seat, ...]] = {}
        self._agents: dict[str, AgentRecord | None] = {}

    def about(self, question: ApprovalQuestion, *others: str) -> People:
        """Whoever has answered it, and these others, as they count for it."""
        known = known_by_now(agent for name in agents_of(question) if (agent := self._agent(name)) is not None)
        people = sorted({*others, *(one.person for one in question.said)})
        groups = {person: own for person in people if (own := self._own(person)) is not None}
        seats = {person: filled for person in groups if (filled := self.seats(person))}
        return msgspec.structs.replace(known, groups=groups, seats=seats)

    def groups(self, person: str) -> frozenset[str]:
        """Those of a person, and those in which they answer in somebody's place; none for who is signed in nowhere."""
        own = self._own(person)
        return frozenset() if own is None else own.union(*(seat.groups for seat in self.seats(person)))

    def seats(self, person: str) -> tuple[Seat, ...]:
        """The places of people who are away that this person fills now."""
        if person not in self._seats:
            self._seats[person] = tuple(self._filled(person))
        return self._seats[person]

    def _filled(self, person: str) -> Iterable[Seat]:
        for one in self._store.delegations.filled_by(person, at=self._now):
            theirs = groups_of_absent(self._store.sign_ins, one.person, self._now)
            if shared := theirs.intersection(one.groups):
                yield Seat(person=one.person, groups=shared, member_of=theirs)

    def _own(self, person: str) -> frozenset[str] | None:
        if person not in self._groups:
            self._groups[person] = groups_now(self._store.sign_ins, (person,), self._now).get(person)
        return self._groups[person]

    def _agent(self, name: str) -> AgentRecord | None:
        if name not in self._agents:
            try:
                self._agents[name] = self._store.agent(name)
            except NotThere:
                # Nobody can ask as an agent that is gone: what it asked is used by nobody.
                self._agents[name] = None
        return self._agents[name]


def groups_of_absent(sign_ins: SignIns, person: str, now: float) -> frozenset[str]:
    """The groups of somebody who may be away: by their newest running sign-in, else by their newest, where only time
    has ended it.

    A sign-in that was ended (by a sign-out, an admin, a stolen secret) tells nothing any more: whoever ends all of
    somebody's sign-ins ends what others do in their place. Raises StoreUnavailable.
    """
    running = groups_now(sign_ins, (person,), now)
    if person in running:
        return running[person]
    newest = sign_ins.listed(person, limit=1) if person else ()
    return frozenset(newest[0].groups) if newest and newest[0].ended_at is None else frozenset()
