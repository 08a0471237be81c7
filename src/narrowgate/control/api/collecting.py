"""Collecting a task that people were asked about: it becomes active, and its credential is shown, at this one moment.

Not when the last of them says yes: whether those who did still may is looked at when their answer is used, and whoever
asked is there then to take the credential. The question is spent before the task begins, so that of two who collect at
one time one gets it, and of a gate that dies in between nobody does.
"""

from __future__ import annotations

import msgspec

from narrowgate.authenticators.task_credential import new_credential_of
from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.collect_pace import INTERVAL_SECONDS
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.tasks import TaskWithCredential, holder_of, refuse_forgetful
from narrowgate.control.delegating import refuse_too_many
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.approvals import ApprovalEvent, ApprovalQuestion, ApprovalState, after, still_approved
from narrowgate.core.call_rights import answers_for
from narrowgate.core.identity import Kind
from narrowgate.core.task_document import task_document
from narrowgate.core.task_limits import least
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import NotOffered, Offer, offer_of, strictest_end
from narrowgate.store.people import PeopleNow
from narrowgate.store.port import ChangedMeanwhile, NotThere


def collect_task(parts: ApiParts, sent: Sent) -> Answered:
    """Begin a task that people said yes to. Only its agent collects it, or the person who asked for it."""
    task, agent = _found(parts, sent)
    if task.state is not TaskState.REQUESTED:
        raise Problem(Trouble.CONFLICT, f"task {task.id} is {task.state.value}: only one that waits is collected")
    question = parts.store.approvals.get(task.id)
    _refuse_unanswered(parts, question, sent.now)
    offer = _offer_now(parts, sent, task, agent, question)
    made = new_credential_of(task.id)
    seconds = task.seconds if agent.ends_at is None else min(task.seconds, agent.ends_at - sent.now)
    given = msgspec.structs.replace(
        task,
        credential_id=made.task,
        credential_hash=made.hash,
        max_requests=least(task.max_requests, offer.max_requests),
        max_streams=least(task.max_streams, offer.max_streams),
        on_end=strictest_end(task.on_end, offer.on_end),
        handed_to=(task.requested_by, *agent.handed_to),
        seconds=seconds,
        approved=question.asks,
    )
    active = given.after(TaskEvent.ACTIVATED, sent.now)
    with parts.requesting:
        refuse_too_many(parts.store, active, sent.now)
        try:
            spent = after(question, ApprovalEvent.SPENT, sent.now)
            parts.store.approvals.change(spent, was=question, by=sent.by, at=sent.now)
            parts.store.tasks.change(active, was=task, by=sent.by, at=sent.now)
        except ChangedMeanwhile:
            raise Problem(Trouble.CONFLICT, f"task {task.id} was changed meanwhile; look at it again") from None
    fields = msgspec.structs.asdict(task_document(active, sent.now))
    return Answered(
        document=TaskWithCredential(**fields, credential=made.text),
        kept=TaskWithCredential(**fields),
    )


def _found(parts: ApiParts, sent: Sent) -> tuple[Task, AgentRecord]:
    """The task of the path, as time leaves it, and its agent, where the caller may collect it."""
    who, task_id = sent.caller.identity, sent.path["id"]
    missing = Problem(Trouble.NOT_FOUND, f'there is no task "{task_id}" that you may collect; see the list of tasks')
    try:
        kept = parts.store.tasks.get(task_id)
        agent = parts.store.agent(kept.name)
    except NotThere:
        raise missing from None
    # An agent that was removed and made anew under its old name is another one.
    if kept.kind is not Kind.AGENT or not agent.created_at <= kept.requested_at:
        raise missing
    is_agent = who.kind is Kind.AGENT and who.name == agent.name
    asked = who.kind is Kind.PERSON and kept.requested_by == sent.by
    if not (is_agent or (asked and (sent.reaches_all or answers_for(who, agent)))):
        raise missing
    return kept.at(sent.now), agent


def _refuse_unanswered(parts: ApiParts, question: ApprovalQuestion, now: float) -> None:
    """Raise Problem where people have not said yes, or those who did may not any more."""
    state = question.at(now).state
    if state is ApprovalState.PENDING:
        wait = {"Retry-After": str(INTERVAL_SECONDS)}
        if parts.pace.is_too_fast(question.id, now):
            told = f"approval {question.id} still waits for people; ask every {INTERVAL_SECONDS} seconds at most"
            raise Problem(Trouble.SLOW_DOWN, told, wait)
        raise Problem(Trouble.PENDING, f"approval {question.id} still waits for people; ask again later", wait)
    if state is not ApprovalState.APPROVED:
        because = f" ({question.ended_because})" if question.ended_because else ""
        raise Problem(Trouble.CONFLICT, f"approval {question.id} is {state.value}{because}; ask anew")
    if not still_approved(question, PeopleNow(parts.store, now).about(question), now):
        raise Problem(
            Trouble.CONFLICT,
            f"somebody whose yes approval {question.id} needs is signed in no more, or not in the group, or has been "
            "shown a credential of the agent since; ask anew",
        )


def _offer_now(parts: ApiParts, sent: Sent, task: Task, agent: AgentRecord, question: ApprovalQuestion) -> Offer:
    """What the policies offer by now. Raises Problem where they, or the agent, do not allow what people said yes to."""
    if refusal := refusal_of(agent, sent.now):
        raise Problem(Trouble.CONFLICT, refusal)
    if agent.cluster != task.cluster:
        raise Problem(Trouble.CONFLICT, f'agent "{agent.name}" does not work on "{task.cluster}" any more; ask anew')
    if sent.rulebook is None:
        raise Problem(Trouble.UNAVAILABLE, "the policies in force are not known now; try again soon")
    try:
        offer = offer_of(sent.rulebook.holding(holder_of(agent), agent.cluster), task.rules, task.seconds, task.link)
    except NotOffered as error:
        raise Problem(Trouble.FORBIDDEN, str(error)) from None
    refuse_forgetful(parts, task.cluster, offer)
    if not set(offer.approvals) <= set(question.asks):
        raise Problem(Trouble.CONFLICT, "the policies ask other people for this by now; ask anew")
    return offer
