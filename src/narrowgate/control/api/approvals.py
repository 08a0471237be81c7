"""Calls about questions that wait for people: seeing them, answering them, taking them back.

Whether somebody may answer is told by the groups of their newest running sign-in, now, and by nothing that they bring
along: an older credential names groups that they may have left. An answer is given from a sign-in that runs, because
whether it still counts is looked up by sign-ins later on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.answered_task import task_after_answer
from narrowgate.core.answering import is_own, may_see, refusal_to_answer
from narrowgate.core.approval_document import ApprovalDocument, approval_document, brief_document
from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    NotPossible,
    Said,
    Voice,
    after,
    answered,
)
from narrowgate.core.call_rights import Action, Reach, right_of
from narrowgate.core.identity import Identity, Kind
from narrowgate.store.people import PeopleNow
from narrowgate.store.port import ChangedMeanwhile, NotThere

ATTEMPTS = 5
"""An answer is counted anew where another one came first; more than five at once is nobody's work."""

LONGEST_COMMENT = 500
"""Characters of a comment or a reason; the requester reads it in a terminal."""

_BATCH = 500
"""Questions read at a time while looking for those that somebody may see."""

_LIST = "approvals"


class ApprovalQuery(Page, frozen=True, forbid_unknown_fields=True):
    """Which questions."""

    all: Annotated[bool, msgspec.Meta(description="Those that are over, too.")] = False


class Yes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes with a yes."""

    comment: Annotated[str, msgspec.Meta(max_length=LONGEST_COMMENT, description="One line.")] = ""


class No(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why not."""

    reason: Annotated[
        str, msgspec.Meta(min_length=1, max_length=LONGEST_COMMENT, description="One line; whoever asked is told.")
    ]


class ApprovalList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of questions, newest first."""

    items: tuple[ApprovalDocument, ...]
    metadata: ListMeta


def list_approvals(parts: ApiParts, sent: Sent) -> Answered:
    """What waits for the caller, and what is their own; all, for whoever sees all."""
    query: ApprovalQuery = sent.query
    people = PeopleNow(parts.store, sent.now)
    groups = _groups(people, sent)
    states = None if query.all else (ApprovalState.PENDING,)
    found: list[ApprovalQuestion] = []
    behind = read_token(query, _LIST)
    while len(found) <= query.limit:
        batch = parts.store.approvals.listed(states=states, behind=behind, limit=_BATCH)
        found += [one for one in batch if _is_listed(one, sent, groups, over=query.all)]
        if len(batch) < _BATCH:
            break
        behind = batch[-1].id
    shown, meta = page_of(found, query, _LIST, lambda one: one.id)
    items = tuple(brief_document(one, sent.now, may_answer=_may_answer(one, sent, people)) for one in shown)
    return Answered(document=ApprovalList(items=items, metadata=meta))


def get_approval(parts: ApiParts, sent: Sent) -> Answered:
    """One question."""
    people = PeopleNow(parts.store, sent.now)
    return Answered(document=_document(_found(parts, sent, people), sent, people))


def approve(parts: ApiParts, sent: Sent) -> Answered:
    """Say yes."""
    asked: Yes = sent.body
    return _answer(parts, sent, Voice.YES, _line("comment", asked.comment))


def deny(parts: ApiParts, sent: Sent) -> Answered:
    """Say no; one no is enough."""
    asked: No = sent.body
    return _answer(parts, sent, Voice.NO, _line("reason", asked.reason))


def withdraw(parts: ApiParts, sent: Sent) -> Answered:
    """Take a question back that is one's own."""
    because = f"withdrawn by {sent.by}"

    def withdrawn(question: ApprovalQuestion) -> ApprovalQuestion:
        if not (sent.reaches_all or is_own(question, sent.caller.identity)):
            raise Problem(
                Trouble.FORBIDDEN,
                f"approval {question.id} is withdrawn by whoever asked it, or answers for them: you may only answer it",
            )
        return after(question, ApprovalEvent.WITHDRAWN, sent.now, because)

    question = _change(parts, sent, withdrawn)
    _end_task(parts, sent, question)
    return Answered(document=_document(question, sent, PeopleNow(parts.store, sent.now)))


def _answer(parts: ApiParts, sent: Sent, voice: Voice, comment: str) -> Answered:
    who = sent.caller.identity

    def heard(question: ApprovalQuestion) -> ApprovalQuestion:
        people = PeopleNow(parts.store, sent.now).about(question, who.name)
        if problem := refusal_to_answer(question, who, people):
            raise Problem(Trouble.FORBIDDEN, problem)
        require_sign_in(parts, who, sent.now)
        return answered(question, Said(person=who.name, voice=voice, comment=comment, at=sent.now), people, sent.now)

    question = _change(parts, sent, heard)
    if question.state is ApprovalState.DENIED:
        _end_task(parts, sent, question)
    return Answered(document=_document(question, sent, PeopleNow(parts.store, sent.now)))


def _change(parts: ApiParts, sent: Sent, change: Callable[[ApprovalQuestion], ApprovalQuestion]) -> ApprovalQuestion:
    """The question of the path, changed and kept. Raises Problem where it lapsed: that is kept, too."""
    for _ in range(ATTEMPTS):
        was = _found(parts, sent, PeopleNow(parts.store, sent.now))
        try:
            question = change(was)
            parts.store.approvals.change(question, was=was, by=sent.by, at=sent.now)
        except ChangedMeanwhile:
            continue
        except NotPossible as error:
            raise Problem(Trouble.CONFLICT, str(error)) from None
        if question.state is ApprovalState.LAPSED:
            raise Problem(Trouble.CONFLICT, f"approval {question.id} has lapsed: it had to be answered before")
        return question
    raise Problem(Trouble.CONFLICT, f"approval {sent.path['id']} is being answered by others again and again; wait")


def _end_task(parts: ApiParts, sent: Sent, question: ApprovalQuestion) -> None:
    """Tell the task that was waiting, or the emergency that was found not in order.

    Should this fail, the gate does it by itself within seconds (`main.task_ends`).
    """
    if not question.task:
        return
    for _ in range(ATTEMPTS):
        try:
            was = parts.store.tasks.get(question.task)
            task = task_after_answer(was, question, sent.now)
            if task is was:
                return
            parts.store.tasks.change(task, was=was, by=sent.by, at=sent.now)
        except NotThere:
            return
        except ChangedMeanwhile:
            continue
        return


def _found(parts: ApiParts, sent: Sent, people: PeopleNow) -> ApprovalQuestion:
    """The question of the path. Whoever may not see it is told what they would be told if it were not there."""
    wanted = sent.path["id"]
    try:
        question = parts.store.approvals.get(wanted)
    except NotThere:
        question = None
    if question is None or not (_sees_all(sent) or may_see(question, sent.caller.identity, _groups(people, sent))):
        more = "" if _sees_all(sent) else ", or it is not asked of you"
        raise Problem(Trouble.NOT_FOUND, f'there is no approval "{wanted}"{more}; look at the list of approvals')
    return question


def _sees_all(sent: Sent) -> bool:
    """Whether the caller sees every question: to see one is not to answer it."""
    right = right_of(Action.GET_APPROVAL, sent.caller.roles)
    return right is not None and right.reach is Reach.ALL


def _is_listed(question: ApprovalQuestion, sent: Sent, groups: frozenset[str], *, over: bool) -> bool:
    if not over and question.at(sent.now).state is not ApprovalState.PENDING:
        return False
    return sent.reaches_all or may_see(question, sent.caller.identity, groups)


def _groups(people: PeopleNow, sent: Sent) -> frozenset[str]:
    """Those in which the caller is asked, as they are known now; an agent has none here, whatever its record says."""
    who = sent.caller.identity
    return people.groups(who.name) if who.kind is Kind.PERSON else frozenset()


def require_sign_in(parts: ApiParts, who: Identity, now: float) -> None:
    """Raise Problem where the caller did not come by a running sign-in of their own."""
    try:
        sign_in = parts.store.sign_ins.get(who.credential)
    except NotThere:
        sign_in = None
    if sign_in is None or sign_in.person != who.name or sign_in.ended_at is not None or not now < sign_in.expires_at:
        raise Problem(
            Trouble.FORBIDDEN, "an answer is given from a sign-in that runs: use `narrowgate login`, or the browser"
        )


def _document(question: ApprovalQuestion, sent: Sent, people: PeopleNow) -> ApprovalDocument:
    return approval_document(question, sent.now, may_answer=_may_answer(question, sent, people))


def _may_answer(question: ApprovalQuestion, sent: Sent, people: PeopleNow) -> bool:
    who = sent.caller.identity
    return not refusal_to_answer(question, who, people.about(question, who.name))


def _line(field: str, text: str) -> str:
    if not text.isprintable() or (field == "reason" and not text.strip()):
        raise Problem(Trouble.INVALID, f"{field}: write one line")
    return text.strip()
