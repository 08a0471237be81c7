"""A question put to people about one task or one request, its answers, and the states it goes through, as one table.

    pending → approved | denied | lapsed | withdrawn
    approved → spent        (a request's approval: it covers that one request, once)

What the answers come to does not depend on their order: one no from somebody who may answer denies; otherwise every
group that the rule names must have said yes through as many people as it says, and nobody counts twice, in however many
of those groups they are. Whether somebody may answer is looked at again whenever it is counted: an approver who left
the group has not approved.

Who answers in the place of somebody who is away fills that one's place and no second one: whoever has answered
themselves needs nobody in their place.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from narrowgate.core.decision import RuleRef
from narrowgate.core.people import People
from narrowgate.core.policy import Approval, Approvers, OnEnd


class ApprovalState(enum.Enum):
    """Where a question is."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    SPENT = "spent"


class ApprovalEvent(enum.Enum):
    """What happens to a question."""

    APPROVED = "approved"
    DENIED = "denied"
    LAPSED = "lapsed"
    """Not answered, or not used, in time."""
    WITHDRAWN = "withdrawn"
    """By whoever asked."""
    SPENT = "spent"
    """The request it was for has passed."""


APPROVAL_TRANSITIONS: Final[dict[tuple[ApprovalState, ApprovalEvent], ApprovalState]] = {
    (ApprovalState.PENDING, ApprovalEvent.APPROVED): ApprovalState.APPROVED,
    (ApprovalState.PENDING, ApprovalEvent.DENIED): ApprovalState.DENIED,
    (ApprovalState.PENDING, ApprovalEvent.LAPSED): ApprovalState.LAPSED,
    (ApprovalState.PENDING, ApprovalEvent.WITHDRAWN): ApprovalState.WITHDRAWN,
    (ApprovalState.APPROVED, ApprovalEvent.SPENT): ApprovalState.SPENT,
    (ApprovalState.APPROVED, ApprovalEvent.LAPSED): ApprovalState.LAPSED,
    (ApprovalState.APPROVED, ApprovalEvent.WITHDRAWN): ApprovalState.WITHDRAWN,
}
"""The whole machine; a pair that is not here does not happen."""


class Voice(enum.Enum):
    """What one person said."""

    YES = "yes"
    NO = "no"


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person's answer."""

    person: str
    voice: Voice
    comment: str = ""
    at: float
    """Unix seconds."""
    stands_for: tuple[str, ...] = ()
    """People who are away in whose place it was said; none where the person is in the group themselves."""


class Matter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a question is about, as it is shown to whoever answers: taken down when it is asked, judged by nobody."""

    asked_by: str = ""
    """Who asked: `agent:ci-bot`, `person:alice`. They may withdraw it."""
    chain: tuple[str, ...] = ()
    """For whom it was asked, root first; the last is who is to have the access."""
    owner: str = ""
    """Who answers for the agent: `person:alice`, `group:sre`; empty for everybody else."""
    purpose: str = ""
    """Of the task."""
    link: str = ""
    cluster: str = ""
    verb: str = ""
    api_group: str = ""
    resource: str = ""
    """With its subresource: `pods/exec`. Empty where it is about a task."""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """Of the request, in its canonical spelling and with its query."""
    audit_id: str = ""
    """Of the request that asked, as the trail has it; empty for a task."""
    wanted: tuple[str, ...] = ()
    """The rules that a task asks for, in words (`patch deployments.apps/web -n ci`); none for a request."""
    seconds: float = 0.0
    """How long a task is to last; 0 for a request."""
    max_requests: int | None = None
    """Requests that a task would cover in all; None: any number."""
    max_streams: int | None = None
    """Streams that it would cover at one time; None: any number."""
    on_end: OnEnd = OnEnd.LEAVE
    """What would become of the workloads that a task leaves behind."""
    summary: tuple[str, ...] = ()
    """What is in the request's object, in lines; never data of a Secret."""
    review: bool = False
    """Whether it is about an emergency task that has begun already: a yes says that it was in order, and gives
    nothing; a no ends what is left of it."""


class ApprovalQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question. Every change is a new value."""

    id: str
    asks: tuple[Approval, ...]
    """Everything that must be fulfilled: one for each rule that held it."""
    rules: tuple[RuleRef, ...]
    """Those rules."""
    task: str = ""
    """The task it is about; empty where it is about a request."""
    digest: str = ""
    """Of the request it is about (`request_digest`), and of it alone."""
    credential: str = ""
    """Public id of the credential whose request it is about."""
    about: Matter = Matter()
    excluded: tuple[str, ...] = ()
    """People who may not answer: whoever asked or can ask as the agent, those it is for, and the agent's owner."""
    excluded_groups: tuple[str, ...] = ()
    """Groups that answer for the agent: their members may not answer where a rule says so (`not_by_owner`)."""
    asked_at: float
    lapses_at: float
    """Unix seconds: until then people answer, and the request passes."""
    state: ApprovalState = ApprovalState.PENDING
    said: tuple[Said, ...] = ()
    ended_at: float | None = None
    ended_because: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to it any more. A yes is all that a review comes to: there is nothing to use."""
        if self.about.review and self.state is ApprovalState.APPROVED:
            return True
        return not any(state is self.state for state, _ in APPROVAL_TRANSITIONS)

    @property
    def holder(self) -> str:
        """Who is to have what is asked for (`agent:bot`), under whose name it is listed; empty where nobody is told."""
        return self.about.chain[-1] if self.about.chain else ""

    def at(self, now: float) -> ApprovalQuestion:
        """The question as time alone leaves it: lapsed where its time is over (or is no number), else itself."""
        if self.is_final or now < self.lapses_at:
            return self
        return after(self, ApprovalEvent.LAPSED, now)

    def covers(self, rule: RuleRef, ask: Approval | None) -> bool:
        """Whether it was asked for that rule, as demanding as the rule is now; which revision it is in is no matter.

        A review covers nothing, whatever it was asked for.
        """
        return not self.about.review and any(
            asked.policy == rule.policy and asked.rule == rule.rule and was == ask
            for asked, was in zip(self.rules, self.asks, strict=False)
        )


class NotPossible(Exception):
    """An event that a question's state does not know; the text says which state that is."""


def after(question: ApprovalQuestion, event: ApprovalEvent, now: float, because: str = "") -> ApprovalQuestion:
    """The question once `event` has happened at `now`; what comes too late finds it lapsed. Raises NotPossible."""
    if not question.is_final and not now < question.lapses_at:
        event = ApprovalEvent.LAPSED
    if question.about.review and event is ApprovalEvent.WITHDRAWN:
        raise NotPossible(f"approval {question.id} is the review of an emergency: nobody takes it back")
    state = None if question.is_final else APPROVAL_TRANSITIONS.get((question.state, event))
    if state is None:
        raise NotPossible(f"approval {question.id} is {question.state.value}: it cannot be {event.value} any more")
    if state is ApprovalState.APPROVED and not question.about.review:
        return msgspec.structs.replace(question, state=state)
    return msgspec.structs.replace(question, state=state, ended_at=now, ended_because=because or state.value)


def answered(question: ApprovalQuestion, said: Said, people: People, now: float) -> ApprovalQuestion:
    """The question with one more answer, `people` being as of `now`. Raises NotPossible.

    In whose place it was said is written down here. Whoever answers again changes their answer. What it comes to then
    is `verdict`.
    """
    if question.state is not ApprovalState.PENDING:
        raise NotPossible(f"approval {question.id} is {question.state.value}: it cannot be answered any more")
    if not now < question.lapses_at:
        return after(question, ApprovalEvent.LAPSED, now)
    if problem := answer_problem(question, said.person, people):
        raise NotPossible(problem)
    others = tuple(one for one in question.said if one.person != said.person)
    told = msgspec.structs.replace(said, stands_for=_stands_for(question, said.person, people))
    heard = msgspec.structs.replace(question, said=(*others, told))
    event = verdict(heard, people)
    return heard if event is None else after(heard, event, now, said.comment)


def answer_problem(question: ApprovalQuestion, person: str, people: People) -> str:
    """Why `person` may not answer; empty where they may, by themselves or in the place of somebody who is away."""
    if _is_excluded(question, person, people):
        return (
            f"{person} may not answer approval {question.id}: nobody answers what was asked by or for themselves, "
            "or by an agent whose credential they were shown"
        )
    away = tuple(seat.person for seat in people.seats.get(person, ()))
    if any(_groups_for(question, ask, person, away, people) for ask in question.asks):
        return ""
    own = people.groups.get(person, frozenset())
    asked = {approvers.group for ask in question.asks for approvers in ask.approvers}
    if not own.isdisjoint(asked):
        return (
            f"{person} may not answer approval {question.id}: whoever belongs to what answers for the agent "
            f"({', '.join(sorted(own & _owner_groups(question, people)))}) is kept out by the rule (notByOwner)"
        )
    if any(one.person in away for one in question.said):
        return f"whoever {person} answers for has answered approval {question.id} themselves"
    return f"{person} is in none of the groups that approval {question.id} is asked of: {', '.join(sorted(asked))}"


def verdict(question: ApprovalQuestion, people: People) -> ApprovalEvent | None:
    """What the answers so far come to; None while more is needed. Independent of their order."""
    if any(_heard(question, ask, Voice.NO, people) for ask in question.asks):
        return ApprovalEvent.DENIED
    # A question that asks nobody is a mistake somewhere, and a mistake is no yes.
    if question.asks and all(
        ask.approvers and _is_fulfilled(ask.approvers, _heard(question, ask, Voice.YES, people))
        for ask in question.asks
    ):
        return ApprovalEvent.APPROVED
    return None


def still_approved(question: ApprovalQuestion, people: People, now: float) -> bool:
    """Whether an approved question may be used at `now`: in time, and its answers still count."""
    in_time = question.state is ApprovalState.APPROVED and now < question.lapses_at
    return in_time and not question.about.review and verdict(question, people) is ApprovalEvent.APPROVED


def unanswerable(asks: Iterable[Approval], owner_groups: Collection[str]) -> str:
    """Why nobody could ever say yes to all of `asks`, in words; empty where somebody might.

    That is so where a rule asks the very group that answers for the agent, and keeps its members out.
    """
    for ask in asks:
        for approvers in ask.approvers:
            if ask.not_by_owner and approvers.group in owner_groups:
                return (
                    f"nobody can answer: {approvers.group} is asked, which answers for the agent, and the rule keeps "
                    "its members out (notByOwner); another group has to be asked, or to own the agent"
                )
    return ""


def _heard(question: ApprovalQuestion, ask: Approval, voice: Voice, people: People) -> dict[str, frozenset[str]]:
    """Who said that, of those who count for `ask`, and in which of its groups each of them counts."""
    said = (one for one in question.said if one.voice is voice)
    found = {one.person: _groups_for(question, ask, one.person, one.stands_for, people) for one in said}
    return {person: groups for person, groups in found.items() if groups}


def _groups_for(
    question: ApprovalQuestion, ask: Approval, person: str, stands_for: Collection[str], people: People
) -> frozenset[str]:
    """In which of the groups that `ask` names this person counts now, by themselves or for who is away."""
    own = people.groups.get(person)
    owners = _owner_groups(question, people) if ask.not_by_owner else frozenset[str]()
    if own is None or _is_excluded(question, person, people) or not own.isdisjoint(owners):
        return frozenset()
    heard = {one.person for one in question.said}
    filled = (
        seat.groups
        for seat in people.seats.get(person, ())
        if seat.person in stands_for
        and seat.person not in heard
        and not _is_excluded(question, seat.person, people)
        and seat.member_of.isdisjoint(owners)
    )
    return own.union(*filled) & {approvers.group for approvers in ask.approvers}


def _stands_for(question: ApprovalQuestion, person: str, people: People) -> tuple[str, ...]:
    """Those in whose place this person answers: who lets them count where they do not by themselves."""
    away = sorted(seat.person for seat in people.seats.get(person, ()))
    return tuple(
        one
        for one in away
        if any(
            _groups_for(question, ask, person, (one,), people) - _groups_for(question, ask, person, (), people)
            for ask in question.asks
        )
    )


def _is_excluded(question: ApprovalQuestion, person: str, people: People) -> bool:
    return person in question.excluded or person in people.excluded


def _owner_groups(question: ApprovalQuestion, people: People) -> frozenset[str]:
    return people.owner_groups.union(question.excluded_groups)


def _is_fulfilled(approvers: Iterable[Approvers], people: Mapping[str, frozenset[str]]) -> bool:
    """Whether every place can be given to another person (a matching, found by augmenting paths)."""
    places = [each.group for each in approvers for _ in range(max(1, each.count))]
    held: dict[str, int] = {}

    def place(index: int, tried: set[str]) -> bool:
        for person in sorted(people):
            if places[index] in people[person] and person not in tried:
                tried.add(person)
                if person not in held or place(held[person], tried):
                    held[person] = index
                    return True
        return False

    return all(place(index, set()) for index in range(len(places)))
