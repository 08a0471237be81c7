"""An emergency: access that a person takes for themselves, at once, that is short and looked at afterwards.

Here belong its limits and the question about it that people answer afterwards. Which rules give it is `grants`' and
`wanted`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import SignIn
from narrowgate.core.tasks import Task
from narrowgate.core.wanted import Offer, wanted_text

MOST_A_DAY: Final = 3
"""Emergencies of one person within a day: whoever needs more needs a policy, or somebody else."""

DAY_SECONDS: Final = 86_400.0
"""Counted back from now; no calendar takes part."""

SHORTEST_PURPOSE: Final = 10
"""Characters: whoever reviews it must find out what happened."""

BARRED_SECONDS: Final = 600.0
"""For how long nobody takes another one after theirs was found not in order: as long as a no to a request binds."""


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """A person who took an emergency, as long as they are signed in."""

    groups: tuple[str, ...]
    """Of their newest sign-in that runs: whoever has left a group has left it in the emergency, too."""
    expires_at: float
    """Unix seconds at which the sign-in that it was taken with is over, or the newest one where that is sooner."""


def presence(taken_with: SignIn | None, newest: SignIn | None, now: float) -> Present | None:
    """Whoever took an emergency with one sign-in and has `newest` as their newest that runs at `now` (Unix seconds).

    None once the first is over: a sign-in is never taken up again, so nobody comes back into their emergency by signing
    in anew. Both are the same person's; None stands for a sign-in that is not there.
    """
    if taken_with is None or newest is None or taken_with.person != newest.person:
        return None
    if any(one.ended_at is not None or not now < one.expires_at for one in (taken_with, newest)):
        return None
    return Present(groups=newest.groups, expires_at=min(taken_with.expires_at, newest.expires_at))


def emergency_purpose_problem(purpose: str) -> str:
    """Why this says too little for whoever reviews it; empty where it is enough."""
    if len(purpose.strip()) < SHORTEST_PURPOSE:
        return f"purpose: say in at least {SHORTEST_PURPOSE} characters what has happened; people will look at it"
    return ""


def too_many(tasks: Iterable[Task], now: float) -> str:
    """Why a person with these tasks (those of the last day at least) takes no further emergency; empty where they may.

    What was taken at a time that has not come yet (the clock was set back) counts as well.
    """
    taken = [task for task in tasks if task.emergency and task.requested_at > now - DAY_SECONDS]
    if len(taken) < MOST_A_DAY:
        return ""
    return f"you have taken {len(taken)} emergencies within a day, and {MOST_A_DAY} is the most; ask somebody else"


def barred_by(reviews: Iterable[ApprovalQuestion], now: float) -> ApprovalQuestion | None:
    """The review, of these, that found an emergency not in order so lately that there is no other one yet."""
    denied = (one for one in reviews if one.about.review and one.state is ApprovalState.DENIED)
    return next((one for one in denied if one.ended_at is None or now < one.ended_at + BARRED_SECONDS), None)


def review_of(task: Task, offer: Offer, now: float) -> ApprovalQuestion:
    """What people are asked about an emergency that begins now. Its id is not the task's, so that it begins nothing.

    Raises ValueError where it is no emergency of a person, or its rules name nobody who reviews it.
    """
    if not task.emergency or task.kind is not Kind.PERSON or not offer.reviews:
        raise ValueError(f"task {task.id} is no emergency that somebody could review")
    holder = f"{task.kind.value.lower()}:{task.name}"
    return ApprovalQuestion(
        id=f"{task.id}-review",
        asks=offer.reviews,
        rules=tuple(RuleRef(*rule.partition("/")[::2]) for rule in offer.rules),
        task=task.id,
        about=Matter(
            asked_by=task.requested_by,
            chain=(holder,),
            purpose=task.purpose,
            link=task.link,
            cluster=task.cluster,
            wanted=tuple(wanted_text(rule) for rule in task.rules),
            seconds=task.seconds,
            max_requests=task.max_requests,
            max_streams=task.max_streams,
            review=True,
        ),
        excluded=(task.name,),
        asked_at=now,
        lapses_at=now + min(ask.within for ask in offer.reviews),
    )
