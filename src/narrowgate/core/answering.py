"""Who may see, answer and take back a question, and the question that a task puts to people.

Belonging to a group that the question is asked of is all that lets anybody answer; no role in the gate does, and
nobody but a person. What the answers come to is counted in `approvals`.
"""

from __future__ import annotations

from collections.abc import Iterable

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, answer_problem
from narrowgate.core.decision import RuleRef
from narrowgate.core.duration import duration_text
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import Offer, wanted_text

_PERSON = "person:"


def asked_groups(question: ApprovalQuestion) -> tuple[str, ...]:
    """The groups that it is asked of, sorted."""
    return tuple(sorted({approvers.group for ask in question.asks for approvers in ask.approvers}))


def excluded_people(chain: Iterable[Identity], task_by: str = "") -> tuple[str, ...]:
    """Who may not answer what a chain asks: the people in it, and the people who answer for its agents.

    `task_by` is who asked for the task that its sender works on (`person:rita`): they were given its credential.
    A group that answers for an agent excludes nobody: else a team could never say yes to what is its own, however many
    must say it.
    """
    return _people([task_by, *(name for member in chain for name in (str(member), member.owner))])


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

    Whoever comes with a task's credential sees what was asked with that credential, and nothing else.
    """
    if who.task:
        return question.credential == who.credential
    return is_own(question, who) or (who.kind is Kind.PERSON and not groups.isdisjoint(asked_groups(question)))


def refusal_to_answer(question: ApprovalQuestion, who: Identity, groups: frozenset[str]) -> str:
    """Why `who`, in these groups now, may not answer; empty where they may."""
    if who.kind is not Kind.PERSON:
        return f"{who} may not answer approval {question.id}: only people answer, each for themselves"
    return answer_problem(question, who.name, groups)


def waits_for(question: ApprovalQuestion, who: Identity, groups: frozenset[str]) -> bool:
    """Whether it is open, and `who` may answer and has not."""
    heard = any(said.person == who.name for said in question.said)
    return question.state is ApprovalState.PENDING and not heard and not refusal_to_answer(question, who, groups)


def question_for_task(task: Task, offer: Offer, owner: str, now: float) -> ApprovalQuestion:
    """What people are asked about a task that the policies offer if they say yes; its id is the task's.

    `owner` answers for the agent (`person:alice`; empty for everybody else). The question lapses with the task's own
    deadline for answers, and before that when the shortest of the rules says so. Raises ValueError where nobody need
    be asked, or where the task is not waiting.
    """
    if not offer.approvals or task.state is not TaskState.REQUESTED:
        raise ValueError(f"nobody is to be asked about task {task.id}")
    holder = f"{task.kind.value.lower()}:{task.name}"
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
        ),
        excluded=_people((holder, owner, task.requested_by)),
        asked_at=now,
        lapses_at=min([task.lapses_at, *(now + ask.within for ask in offer.approvals)]),
    )


def asks_in_words(question: ApprovalQuestion) -> tuple[str, ...]:
    """Who must say yes, a line for each rule: `2 of sre and 1 of security, within 10m`."""
    return tuple(
        f"{' and '.join(f'{one.count} of {one.group}' for one in ask.approvers)}, within {duration_text(ask.within)}"
        for ask in question.asks
    )


def _people(names: Iterable[str]) -> tuple[str, ...]:
    """The people among names as the record has them (`person:alice`), as their sign-ins have them."""
    return tuple(sorted({name.removeprefix(_PERSON) for name in names if name.startswith(_PERSON)}))
