"""Putting a task's question to people: the task and its question are kept together, or it never becomes active."""

from __future__ import annotations

from narrowgate.control.api.calls import Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentRecord
from narrowgate.core.answering import question_for_task
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, unanswerable
from narrowgate.core.duration import duration_text
from narrowgate.core.request_question import DENIED_SECONDS, is_refused_still
from narrowgate.core.tasks import Task
from narrowgate.core.wanted import Offer

MOST_WAITING = 20
"""Questions of one agent that wait at one time: people answer them one by one, and must not be worn down by more."""

MOST_DENIED = 200
"""The newest denied questions that are looked through: more are not denied by people within ten minutes."""


def ask_people(parts: ApiParts, sent: Sent, task: Task, offer: Offer, agent: AgentRecord) -> None:
    """Keep a task that waits, and the question about it.

    Raises Problem where nobody could answer, where the agent has too many that wait, or where people denied it the same
    a moment ago. The task
    goes first: should the gate fail in between, it lapses without anybody having been asked.
    """
    question = question_for_task(task, offer, agent, sent.now)
    if nobody := unanswerable(question.asks, question.excluded_groups):
        raise Problem(Trouble.FORBIDDEN, nobody)
    with parts.requesting:
        kept = parts.store.approvals.listed({question.holder}, states={ApprovalState.PENDING}, limit=10 * MOST_WAITING)
        waiting = [one for one in kept if one.at(sent.now).state is ApprovalState.PENDING]
        if len(waiting) >= MOST_WAITING:
            raise Problem(
                Trouble.CONFLICT,
                f'agent "{task.name}" has {MOST_WAITING} questions that wait for people; withdraw those that are over',
            )
        _refuse_denied(parts, question, sent.now)
        parts.store.tasks.add(task, by=sent.by, at=sent.now)
        parts.store.approvals.add(question, by=sent.by, at=sent.now)


def _refuse_denied(parts: ApiParts, question: ApprovalQuestion, now: float) -> None:
    """Raise Problem where people said no to the same rules on the same cluster, so lately that it still holds."""
    denied = parts.store.approvals.listed({question.holder}, states={ApprovalState.DENIED}, limit=MOST_DENIED)
    asked = (question.about.cluster, frozenset(question.about.wanted))
    for one in denied:
        if one.task and (one.about.cluster, frozenset(one.about.wanted)) == asked and is_refused_still(one, now):
            raise Problem(
                Trouble.FORBIDDEN,
                f"people denied this as approval {one.id} ({one.ended_because}); "
                f"they are not asked again for {duration_text(DENIED_SECONDS)}; ask for less",
            )
