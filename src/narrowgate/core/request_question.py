"""The question that people are asked about one held request, and what its sender is told while and after they answer.

What approvers are shown of the request itself is in `request_summary`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

import msgspec

from narrowgate.core.answering import excluded_people, owner_groups
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, Voice
from narrowgate.core.decision import Deny, NeedsApproval
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.request_summary import Seen, cut, summary_of
from narrowgate.core.target import Target, rebuild

MAX_PATH: Final = 4096
"""Characters of the path and query that are shown: an exec has its command there."""
DENIED_SECONDS: Final = 600.0
"""For how long a request that people denied is refused without asking them again."""


class HeldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a held request that a question is made from."""

    who: Chain
    intent: Intent
    target: Target
    """At the cluster."""
    body: bytes = b""
    digest: str
    audit_id: str
    purpose: str = ""
    """Of the task that its sender works on; empty for standing credentials."""
    link: str = ""
    seen: Seen | None = None
    """What the cluster shows of the object that it is about, where it is about one that may be there already."""
    typed: tuple[str, ...] = ()
    """What is typed into the session that it opened, where people are asked about that, in lines (`asked_line`)."""
    handed_to: tuple[str, ...] = ()
    """Everybody who was shown a credential that it can be sent with: of that task, of the agents (`person:rita`)."""


def question_for_request(approval_id: str, held: HeldRequest, needs: NeedsApproval, now: float) -> ApprovalQuestion:
    """What people are asked: everything that holds the request, at once, within the shortest of the times."""
    sender, info = held.who[-1], held.intent.info
    return ApprovalQuestion(
        id=approval_id,
        asks=needs.asks,
        rules=needs.rules,
        digest=held.digest,
        credential=sender.credential,
        about=Matter(
            asked_by=str(sender),
            chain=tuple(str(member) for member in held.who),
            owner=sender.owner,
            purpose=held.purpose,
            link=held.link,
            cluster=held.intent.cluster,
            verb=info.verb,
            api_group=info.api_group,
            resource=f"{info.resource}/{info.subresource}" if info.subresource else info.resource,
            namespace=info.namespace,
            name=info.name,
            path=cut(rebuild(held.target).decode("ascii"), MAX_PATH),
            audit_id=held.audit_id,
            summary=(
                *held.typed,
                *_shown(held, needs),
                *summary_of(held.intent, held.target, held.body, held.seen, now),
            ),
        ),
        excluded=excluded_people(held.who, held.handed_to),
        excluded_groups=owner_groups(member.owner for member in held.who),
        asked_at=now,
        lapses_at=now + min((ask.within for ask in needs.asks), default=0.0),
    )


def _shown(held: HeldRequest, needs: NeedsApproval) -> Iterator[str]:
    """What a yes takes masks off: a request that reads looks harmless."""
    if held.intent.info.verb == "get":
        for ref in needs.reveals:
            yield f"shows, this once, the values that are masked in it: reveal {ref.rule} of policy {ref.policy}"
    elif needs.reveals:
        yield "uses something whose values are masked for its sender, and could read them where it uses them"


def is_refused_still(question: ApprovalQuestion, now: float) -> bool:
    """Whether people denied it so lately that they are not asked again."""
    ended = question.ended_at
    return question.state is ApprovalState.DENIED and ended is not None and now < ended + DENIED_SECONDS


def told(question: ApprovalQuestion, needs: NeedsApproval, now: float) -> Deny | NeedsApproval:
    """What the sender of a held request is told about its question, as `now` finds it."""
    match question.at(now).state:
        case ApprovalState.PENDING:
            hint = (
                f"{needs.hint}; approval {question.id} asks for it (narrowgate approvals show {question.id}): "
                "send the same request again once it is approved"
            )
            return msgspec.structs.replace(needs, hint=hint, approval=question.id)
        case ApprovalState.DENIED:
            return _ended(question, needs, _denied(question), "it is not asked again for ten minutes; ask for less")
        case ApprovalState.LAPSED:
            return _ended(question, needs, "nobody answered in time", "send it again to ask anew")
        case ApprovalState.WITHDRAWN:
            return _ended(question, needs, f"it was withdrawn: {question.ended_because}", "send it again to ask anew")
        case ApprovalState.SPENT:
            return _ended(question, needs, "it was used by another request like this", "send it again to ask anew")
        case ApprovalState.APPROVED:
            # The rules that hold the request, or who may answer, have changed since.
            return _ended(question, needs, "its answers do not count any more", "send it again to ask anew")
        case state:
            assert_never(state)


def _ended(question: ApprovalQuestion, needs: NeedsApproval, how: str, hint: str) -> Deny:
    return Deny(message=f"{needs.message}; approval {question.id}: {how}", hint=hint, rule=needs.rule)


def _denied(question: ApprovalQuestion) -> str:
    noes = [one for one in question.said if one.voice is Voice.NO]
    by = f" by {', '.join(one.person for one in noes)}" if noes else ""
    reason = "" if question.ended_because in ("", ApprovalState.DENIED.value) else f": {question.ended_because}"
    return f"denied{by}{reason}"
