"""A question as programs read it: the one document of `narrowgate approvals -o json` and of the API.

Nothing in it is a secret: the request's body is told in lines that hold no data of Secrets. Fields are added at the
end and never taken away: programs outside depend on them.
"""

from __future__ import annotations

import hashlib

import msgspec

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Voice
from narrowgate.core.duration import duration_text
from narrowgate.core.moment import moment_text
from narrowgate.core.policy import Approval, OnEnd


class ApproversDocument(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a group must say yes."""

    group: str
    count: int


class AskDocument(
    msgspec.Struct, frozen=True, kw_only=True, rename={"approvers": "from", "not_by_owner": "notByOwner"}
):
    """What one rule demands, as policies write it."""

    approvers: tuple[ApproversDocument, ...]
    within: str
    not_by_owner: bool
    """Whether members of a group that answers for the agent may not answer this."""


class AnswerDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One person's answer."""

    person: str
    answer: Voice
    comment: str
    at: str
    stands_for: tuple[str, ...]
    """People who are away in whose place it was given; none where the person is in the group themselves."""


class ApprovalDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One question. Moments are RFC 3339."""

    id: str
    state: ApprovalState
    task: str
    """The task it is about; empty where it is about one request."""
    asked_by: str
    chain: tuple[str, ...]
    """For whom, root first; the last is who gets the access."""
    owner: str
    purpose: str
    link: str
    cluster: str
    verb: str
    """Of the request; empty for a task."""
    api_group: str
    resource: str
    namespace: str
    name: str
    path: str
    summary: tuple[str, ...]
    """What is in the request's object, in lines."""
    wanted: tuple[str, ...]
    """The rules that a task asks for, in words; none for a request."""
    duration: str
    """How long a task is to last, like 20m; empty for a request."""
    max_requests: int | None
    """Requests that a task would cover in all; null: any number."""
    max_streams: int | None
    """Streams that it would cover at one time; null: any number."""
    on_end: OnEnd
    """What becomes of the workloads that a task leaves behind when it is over: `leave`, `deleteWorkloads`."""
    rules: tuple[str, ...]
    """The rules that ask, `policy/rule`."""
    asks: tuple[AskDocument, ...]
    excluded: tuple[str, ...]
    """People who may not answer."""
    answers: tuple[AnswerDocument, ...]
    asked_at: str
    lapses_at: str
    ended_at: str | None
    ended_because: str
    may_answer: bool
    """Whether whoever reads this may answer it now."""
    digest: str
    """Of the request, which the answer is bound to; empty for a task."""
    audit_id: str
    """Of the request's entry in the trail; empty for a task."""
    excluded_groups: tuple[str, ...]
    """Groups that answer for the agent: their members may not answer where `notByOwner` is true."""
    review: bool
    """Whether it is about an emergency that has begun already: a yes says that it was in order and gives nothing, a
    no ends what is left of it."""
    asked_with: str
    """The same for all that was asked with one credential, which it does not tell; empty for a task."""


BRIEF_LINES = 8
"""Rules of a task that a list shows; a page of lists stays small enough for every client."""

BRIEF_TEXT = 200
"""Characters of a path, or of a rule, that a list shows."""


def brief_document(question: ApprovalQuestion, now: float, *, may_answer: bool) -> ApprovalDocument:
    """The document as lists have it: without the object, and with the longest texts cut."""
    whole = approval_document(question, now, may_answer=may_answer)
    wanted = tuple(_cut(line) for line in whole.wanted[:BRIEF_LINES])
    if left_out := len(whole.wanted) - len(wanted):
        wanted = (*wanted, f"... and {left_out} more")
    return msgspec.structs.replace(whole, summary=(), path=_cut(whole.path), wanted=wanted)


def approval_document(question: ApprovalQuestion, now: float, *, may_answer: bool) -> ApprovalDocument:
    """The document of a question at `now` (Unix seconds), for somebody who may answer it or may not."""
    question, about = question.at(now), question.about
    return ApprovalDocument(
        id=question.id,
        state=question.state,
        task=question.task,
        asked_by=about.asked_by,
        chain=about.chain,
        owner=about.owner,
        purpose=about.purpose,
        link=about.link,
        cluster=about.cluster,
        verb=about.verb,
        api_group=about.api_group,
        resource=about.resource,
        namespace=about.namespace,
        name=about.name,
        path=about.path,
        summary=about.summary,
        wanted=about.wanted,
        duration=duration_text(about.seconds) if about.seconds else "",
        max_requests=about.max_requests,
        max_streams=about.max_streams,
        on_end=about.on_end,
        rules=tuple(map(str, question.rules)),
        asks=tuple(map(_ask, question.asks)),
        excluded=question.excluded,
        answers=tuple(
            AnswerDocument(
                person=said.person,
                answer=said.voice,
                comment=said.comment,
                at=moment_text(said.at),
                stands_for=said.stands_for,
            )
            for said in question.said
        ),
        asked_at=moment_text(question.asked_at),
        lapses_at=moment_text(question.lapses_at),
        ended_at=None if question.ended_at is None else moment_text(question.ended_at),
        ended_because=question.ended_because,
        may_answer=may_answer and question.state is ApprovalState.PENDING,
        digest=question.digest,
        audit_id=about.audit_id,
        excluded_groups=question.excluded_groups,
        review=about.review,
        asked_with=_mark(question.credential),
    )


def _mark(credential: str) -> str:
    # Sixteen digits: nobody finds another credential with the same, and two in one list never have it.
    return hashlib.sha256(b"asked with " + credential.encode()).hexdigest()[:16] if credential else ""


def _ask(ask: Approval) -> AskDocument:
    who = tuple(ApproversDocument(group=one.group, count=one.count) for one in ask.approvers)
    return AskDocument(approvers=who, within=duration_text(ask.within), not_by_owner=ask.not_by_owner)


def _cut(text: str) -> str:
    return text if len(text) <= BRIEF_TEXT else f"{text[:BRIEF_TEXT]}..."
