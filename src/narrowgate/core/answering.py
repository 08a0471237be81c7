"""Who may see, answer and take back a question, and the question that a task puts to people.

Belonging to a group that the question is asked of is all that lets anybody answer; no role in the gate does, and
nobody but a person. What the answers come to is counted in `approvals`.
"""

from __future__ import annotations

from collections.abc import Iterable

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, answer_problem
from narrowgate.core.decision import RuleRef
from narrowgate.core.duration import duration_text
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.people import People
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import Offer, wanted_text

_PERSON, _GROUP, _AGENT = "person:", "group:", "agent:"
"""Before names, as the record and the owners of agents have them."""


def asked_groups(question: ApprovalQuestion) -> tuple[str, ...]:
    """The groups that it is asked of, sorted."""
    return tuple(sorted({approvers.group for ask in question.asks for approvers in ask.approvers}))


def excluded_people(chain: Iterable[Identity], handed_to: Iterable[str] = ()) -> tuple[str, ...]:
    """Who may not answer what a chain asks: the people in it, and the people who answer for its agents.

    `handed_to` is everybody who was shown a credential that it can be asked with (`person:rita`): of the agent
    (`AgentRecord.handed_to`) and of the task its sender works on. A group that answers for an agent excludes nobody
    here: only a rule that says so (`not_by_owner`) keeps its members out.
    """
    return _people([*handed_to, *(name for member in chain for name in (str(member), member.owner))])


def owner_groups(owners: Iterable[str]) -> tuple[str, ...]:
    """The groups among those who answer for agents (`group:sre`), as sign-ins name them, sorted."""
    return tuple(sorted({name.removeprefix(_GROUP) for name in owners if name.startswith(_GROUP)}))


def agents_of(question: ApprovalQuestion) -> tuple[str, ...]:
    """The names of the agents whose access it is about, in the order of the chain."""
    return tuple(name.removeprefix(_AGENT) for name in question.about.chain if name.startswith(_AGENT))


def known_by_now(agents: Iterable[AgentRecord]) -> People:
    """What the records of a question's agents say now about who may not answer; nothing about anybody's groups.

    Somebody who was shown a credential after the question was put can ask as the agent just as well.
    """
    records = tuple(agents)
    names = [name for agent in records for name in (agent.owner, *agent.handed_to)]
    return People(
        excluded=frozenset(_people(names)),
        owner_groups=frozenset(owner_groups(agent.owner for agent in records)),
    )


def is_own(question: ApprovalQuestion, who: Identity) -> bool:
    """Whether `who` asked it, is to have what is asked for, or answers for the agent that is."""
    about = question.about
    if str(who) in (about.asked_by, *about.chain):
        return True
    kind, _, name = about.owner.partition(":")
    if who.kind is not Kind.PERSON or not name:
        return False
    return (kind == "person" and name == who.name) or (kind == "group" and name in who.groups)


def may_see(question: ApprovalQuestion, who: Identity, groups: frozenset[str]) -> bool:
    """Whether it is their own, or they are a person in a group that it is asked of.

    `groups` are theirs, and those in which they answer in somebody's place. Whoever comes with a task's credential sees
    what was asked with that credential, and nothing else.
    """
    if who.task:
        return question.credential == who.credential
    return is_own(question, who) or (who.kind is Kind.PERSON and not groups.isdisjoint(asked_groups(question)))


def refusal_to_answer(question: ApprovalQuestion, who: Identity, people: People) -> str:
    """Why `who` may not answer as `people` are now; empty where they may."""
    if who.kind is not Kind.PERSON:
        return f"{who} may not answer approval {question.id}: only people answer, each for themselves"
    return answer_problem(question, who.name, people)


def waits_for(question: ApprovalQuestion, who: Identity, people: People) -> bool:
    """Whether it is open, and `who` may answer and has not."""
    heard = any(said.person == who.name for said in question.said)
    return question.state is ApprovalState.PENDING and not heard and not refusal_to_answer(question, who, people)


def question_for_task(task: Task, offer: Offer, agent: AgentRecord | None, now: float) -> ApprovalQuestion:
    """What people are asked about a task that the policies offer if they say yes; its id is the task's.

    `agent` is who it is for, as recorded now; None where it is for no agent. The question lapses with the task's own
    deadline for answers, and before that when the shortest of the rules says so. Raises ValueError where nobody need
    be asked, or where the task is not waiting.
    """
    if not offer.approvals or task.state is not TaskState.REQUESTED:
        raise ValueError(f"nobody is to be asked about task {task.id}")
    holder = f"{task.kind.value.lower()}:{task.name}"
    owner, handed_to = ("", ()) if agent is None else (agent.owner, agent.handed_to)
    return ApprovalQuestion(
        id=task.id,
        asks=offer.approvals,
        rules=tuple(RuleRef(*rule.partition("/")[::2]) for rule in offer.rules),
        task=task.id,
        about=Matter(
            asked_by=task.requested_by,
            chain=(holder,),
            owner=owner,
            purpose=task.purpose,
            link=task.link,
            cluster=task.cluster,
            wanted=tuple(wanted_text(rule) for rule in task.rules),
            seconds=task.seconds,
            max_requests=task.max_requests,
            max_streams=task.max_streams,
            on_end=task.on_end,
        ),
        excluded=_people((holder, owner, task.requested_by, *handed_to)),
        excluded_groups=owner_groups((owner,)),
        asked_at=now,
        lapses_at=min([task.lapses_at, *(now + ask.within for ask in offer.approvals)]),
    )


def asks_in_words(question: ApprovalQuestion) -> tuple[str, ...]:
    """Who must say yes, a line for each rule: `2 of sre and 1 of security, within 10m`."""
    return tuple(
        f"{' and '.join(f'{one.count} of {one.group}' for one in ask.approvers)}, within {duration_text(ask.within)}"
        + (", not by who answers for the agent" if ask.not_by_owner else "")
        for ask in question.asks
    )


def _people(names: Iterable[str]) -> tuple[str, ...]:
    """The people among names as the record has them (`person:alice`), as their sign-ins have them."""
    return tuple(sorted({name.removeprefix(_PERSON) for name in names if name.startswith(_PERSON)}))
