"""Calls of people who take emergency access for themselves: at once, for a short time, and looked at afterwards.

Nobody is asked before, so nothing here may be quiet: the review is put to people before the access begins, and an
emergency that nobody could look at does not begin.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.authenticators.task_credentials import PROVEN_BY
from narrowgate.control.api.approvals import require_sign_in
from narrowgate.control.api.calls import PREFIX, Answered, Sent
from narrowgate.control.api.paging import LONGEST_PAGE
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.tasks import TaskWithCredential
from narrowgate.control.api.wishes import Words, seconds_wanted
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.approval_document import ApproversDocument
from narrowgate.core.approvals import ApprovalState
from narrowgate.core.duration import duration_text
from narrowgate.core.emergency import (
    BARRED_SECONDS,
    DAY_SECONDS,
    barred_by,
    emergency_purpose_problem,
    review_of,
    too_many,
)
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy import Rule
from narrowgate.core.task_document import task_document
from narrowgate.core.task_fields import DEFAULT_SECONDS, link_problem, task_purpose_problem
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import MOST_WANTED, NotOffered, Offer, WantedRefused, longest_offered, offer_of, read_wanted
from narrowgate.store.approvals import groups_now

MOST_DENIED = 50
"""The newest denied reviews of one person that are looked through; nobody takes so many emergencies."""


class NewEmergency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person needs at once, for themselves."""

    cluster: Annotated[str, msgspec.Meta(max_length=63, description="Where.")]
    purpose: Annotated[str, msgspec.Meta(description="One line: what has happened. People look at it afterwards.")]
    link: Annotated[str, msgspec.Meta(description="Where more is written about it, https.")] = ""
    for_: Annotated[str, msgspec.Meta(description="How long, like 20m; left out: 20m, or as long as is offered.")] = (
        msgspec.field(name="for", default="")
    )
    allow: Annotated[
        Words,
        msgspec.Meta(min_length=1, max_length=MOST_WANTED, description='Like "get,list pods -n ci".'),
    ]


class EmergencyOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What would begin at once, and by which rules."""

    cluster: str
    lasts: str
    rules: tuple[str, ...]
    """The emergency rules, `policy/rule`."""
    reviewers: tuple[ApproversDocument, ...]
    """Everybody who is asked afterwards whether it was in order."""


class _Asked(msgspec.Struct, frozen=True):
    """What was asked for, checked, and what the policies say to it."""

    rules: tuple[Rule, ...]
    seconds: float
    offer: Offer


def check_emergency(parts: ApiParts, sent: Sent) -> Answered:
    """Say what would begin; nothing is changed."""
    wish: NewEmergency = sent.body
    asked = _asked(parts, sent)
    needed = [one for review in asked.offer.reviews for one in review.approvers]
    return Answered(
        document=EmergencyOffer(
            cluster=wish.cluster,
            lasts=duration_text(asked.seconds),
            rules=asked.offer.rules,
            reviewers=tuple(ApproversDocument(group=one.group, count=one.count) for one in dict.fromkeys(needed)),
        )
    )


def take_emergency(parts: ApiParts, sent: Sent) -> Answered:
    """Begin an emergency."""
    wish: NewEmergency = sent.body
    who = sent.caller.identity
    asked = _asked(parts, sent)
    made = new_task_credential()
    task = Task(
        id=made.task,
        kind=Kind.PERSON,
        name=who.name,
        requested_by=sent.by,
        cluster=wish.cluster,
        purpose=wish.purpose,
        link=wish.link,
        rules=asked.rules,
        credential_id=made.task,
        credential_hash=made.hash,
        handed_to=(sent.by,),
        seconds=asked.seconds,
        requested_at=sent.now,
        # Nobody is asked: it begins in this moment or never.
        lapses_at=sent.now + 1.0,
        max_requests=asked.offer.max_requests,
        max_streams=asked.offer.max_streams,
        emergency=True,
        sign_in=who.credential,
    ).after(TaskEvent.ACTIVATED, sent.now)
    with parts.requesting:
        _refuse_more(parts, task, sent.now)
        # The question first: a gate that dies in between has asked about nothing, and never let anybody in unasked.
        parts.store.approvals.add(review_of(task, asked.offer, sent.now), by=sent.by, at=sent.now)
        parts.store.tasks.add(task, by=sent.by, at=sent.now)
    fields = msgspec.structs.asdict(task_document(task, sent.now))
    return Answered(
        document=TaskWithCredential(**fields, credential=made.text),
        headers={"Location": f"{PREFIX}/tasks/{task.id}"},
        kept=TaskWithCredential(**fields),
    )


def _asked(parts: ApiParts, sent: Sent) -> _Asked:
    """What the body asks for, and the offer for it. Raises Problem."""
    wish: NewEmergency = sent.body
    who = sent.caller.identity
    if who.kind is not Kind.PERSON:
        raise Problem(
            Trouble.FORBIDDEN, f"{who} takes no emergency: only a person does, for themselves and for no agent"
        )
    require_sign_in(parts, who, sent.now)
    if wish.cluster not in parts.settings.clusters:
        raise Problem(Trouble.INVALID, f'cluster: there is no "{wish.cluster}"; see `narrowgate whoami`')
    problem = task_purpose_problem(wish.purpose) or emergency_purpose_problem(wish.purpose) or link_problem(wish.link)
    if problem:
        raise Problem(Trouble.INVALID, problem)
    rules = _rules(wish)
    if sent.rulebook is None:
        raise Problem(Trouble.UNAVAILABLE, "the policies in force are not known now; try again soon")
    holding = sent.rulebook.holding(_holder(parts, sent), wish.cluster)
    seconds = (
        seconds_wanted(wish.for_)
        if wish.for_
        else min(DEFAULT_SECONDS, longest_offered(holding, rules, emergency=True))
    )
    try:
        return _Asked(rules, seconds, offer_of(holding, rules, seconds, wish.link, emergency=True))
    except NotOffered as error:
        raise Problem(Trouble.FORBIDDEN, str(error)) from None


def _holder(parts: ApiParts, sent: Sent) -> Identity:
    """The person as they will come with the credential: in the groups of their newest sign-in that runs."""
    who, wish = sent.caller.identity, sent.body
    return Identity(
        kind=Kind.PERSON,
        name=who.name,
        groups=tuple(sorted(groups_now(parts.store.sign_ins, (who.name,), sent.now).get(who.name, ()))),
        proven_by=PROVEN_BY,
        credential="",
        cluster=wish.cluster,
    )


def _refuse_more(parts: ApiParts, task: Task, now: float) -> None:
    """Raise Problem where the person has taken as many as one may, or was told no; hold `parts.requesting`."""
    taken: list[Task] = []
    behind = ""
    while read := parts.store.tasks.listed({task.name}, behind=behind, limit=LONGEST_PAGE):
        taken += [one for one in read if one.kind is Kind.PERSON]
        behind = read[-1].id
        if read[-1].requested_at <= now - DAY_SECONDS:
            break
    if problem := too_many(taken, now):
        raise Problem(Trouble.FORBIDDEN, problem)
    holder = f"person:{task.name}"
    denied = parts.store.approvals.listed({holder}, states={ApprovalState.DENIED}, limit=MOST_DENIED)
    if (barring := barred_by(denied, now)) is not None:
        raise Problem(
            Trouble.FORBIDDEN,
            f"your last emergency was found not in order ({barring.id}: {barring.ended_because}); "
            f"there is no other one for {duration_text(BARRED_SECONDS)}",
        )


def _rules(wish: NewEmergency) -> tuple[Rule, ...]:
    try:
        return tuple(read_wanted(text, number) for number, text in enumerate(wish.allow, 1))
    except WantedRefused as error:
        raise Problem(Trouble.INVALID, f"allow: {error}") from None
