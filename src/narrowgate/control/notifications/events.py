"""What a change is called when people are told of it. One table of types, and the one function that reads a change.

A change says what a thing is now; what happened to it is seen beside the change before. Whatever is not in the table
is told to nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.tasks import TaskState
from narrowgate.store.port import Change

EVENTS: Final[Mapping[str, str]] = {
    "approval.asked": "a question waits for people",
    "approval.answered": "somebody answered; more answers are needed",
    "approval.approved": "everybody who had to said yes",
    "approval.denied": "somebody said no",
    "approval.lapsed": "nobody answered, or used the answer, in time",
    "approval.withdrawn": "whoever asked took it back",
    "approval.spent": "the request that was approved has passed",
    "task.requested": "access was asked for and waits",
    "task.began": "an agent holds access from now on",
    "task.changed": "a running task was changed, made narrower for one",
    "task.completed": "whoever worked on it is done",
    "task.revoked": "somebody ended it",
    "task.expired": "its time is over",
    "task.denied": "people said no to it",
    "task.lapsed": "nobody answered in time, or it was taken back",
    "emergency.begun": "somebody took emergency access; every receiver hears of it",
    "emergency.ended": "emergency access is over",
    "emergency.unreviewed": "nobody looked at an emergency in time; every receiver hears of it",
    "agent.added": "there is a new agent",
    "agent.changed": "an agent's record was changed",
    "agent.paused": "an agent was paused",
    "agent.resumed": "a paused agent may go on",
    "agent.removed": "an agent was removed",
    "policies.revised": "other policies are in force",
    "role.given": "somebody was given a role in the gate",
    "role.taken": "a role was taken from somebody",
    "delegation.added": "somebody answers for somebody who is away",
    "delegation.changed": "that was changed, or ended",
}
"""Every type that a receiver may ask for, and what it means."""

TEST = "notification.test"
"""The type of what `narrowgate notifications test` sends, to the receiver that is its subject and to no other."""

_APPROVAL: Final = {
    ApprovalState.PENDING.value: "approval.answered",
    ApprovalState.APPROVED.value: "approval.approved",
    ApprovalState.DENIED.value: "approval.denied",
    ApprovalState.LAPSED.value: "approval.lapsed",
    ApprovalState.WITHDRAWN.value: "approval.withdrawn",
    ApprovalState.SPENT.value: "approval.spent",
}

_TASK: Final = {
    TaskState.REQUESTED.value: "task.requested",
    TaskState.ACTIVE.value: "task.began",
    TaskState.COMPLETED.value: "task.completed",
    TaskState.EXPIRED.value: "task.expired",
    TaskState.REVOKED.value: "task.revoked",
    TaskState.DENIED.value: "task.denied",
    TaskState.LAPSED.value: "task.lapsed",
}

_AS_THEY_ARE: Final = frozenset(
    {
        "agent.added",
        "agent.removed",
        "policies.revised",
        "role.given",
        "role.taken",
        "delegation.added",
        "delegation.changed",
        TEST,
    }
)


TOLD_ACTIONS: Final = _AS_THEY_ARE | {
    "approval.asked",
    "approval.changed",
    "task.requested",
    "task.changed",
    "agent.changed",
}
"""Changes that somebody may be told of; for the others nothing need be looked up."""


def event_of(change: Change, before: Change | None, *, emergency: bool = False) -> str:
    """The type of what happened, empty where nobody is told.

    `before` is the last change to the same thing, `emergency` whether it is an emergency task, or the review of one.
    """
    match change.action:
        case "approval.asked":
            return "approval.asked"
        case "approval.changed":
            kind = _APPROVAL.get(_state(change), "")
            return "emergency.unreviewed" if emergency and kind == "approval.lapsed" else kind
        case "task.requested" | "task.changed":
            return _task_event(_state(change), "" if before is None else _state(before), emergency=emergency)
        case "agent.changed":
            was, now = before is not None and _is_paused(before), _is_paused(change)
            return "agent.changed" if was == now else "agent.paused" if now else "agent.resumed"
        case action:
            return action if action in _AS_THEY_ARE else ""


def message_id(change: Change) -> str:
    """The same for every attempt, receiver and process, another one for every other change of any gate.

    The time (to the microsecond) and the subject tell the changes of different gates apart; there is no "." in it
    (Standard Webhooks 1.0.0, "Signature scheme").
    """
    parts = (str(change.number), repr(change.at), change.action, change.subject, change.by)
    return "msg_" + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def detail_of(change: Change) -> dict[str, Any]:
    """What the list of changes says about it; nothing where that is no JSON object."""
    try:
        return msgspec.json.decode(change.detail, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {}


def _task_event(state: str, was: str, *, emergency: bool) -> str:
    kind = _TASK.get(state, "")
    if kind and state == was:
        return "task.changed"
    if not emergency or kind in ("", "task.requested"):
        return kind
    return "emergency.begun" if kind == "task.began" else "emergency.ended"


def _state(change: Change) -> str:
    return str(detail_of(change).get("state", ""))


def _is_paused(change: Change) -> bool:
    return detail_of(change).get("paused") is True
