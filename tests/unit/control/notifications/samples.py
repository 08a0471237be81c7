"""Questions, tasks and changes that the tests of notifications share."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from narrowgate.control.notifications.messages import Message
from narrowgate.core.approvals import ApprovalQuestion, Matter, Said, Voice
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Kind
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import read_wanted
from narrowgate.store.port import Change

URL = "https://gate.example:8444"
NOW = 1_795_000_000.0
"""2026-11-18T11:06:40Z."""

ABOUT = Matter(
    asked_by="agent:bot",
    chain=("agent:bot",),
    owner="person:olga",
    purpose="roll back web",
    cluster="prod",
    verb="delete",
    resource="configmaps",
    namespace="ci",
    name="settings",
    path="/api/v1/namespaces/ci/configmaps/settings",
    audit_id="w-1",
)

YES = Said(person="alice", voice=Voice.YES, comment="fine", at=NOW)

QUESTION = ApprovalQuestion(
    id="q1",
    asks=(Approval((Approvers("sre", 2), Approvers("security", 1)), 600.0),),
    rules=(RuleRef("ci", "on-request"),),
    digest="d" * 64,
    credential="c1",
    about=ABOUT,
    excluded=("olga",),
    asked_at=NOW,
    lapses_at=NOW + 600,
)

TASK = Task(
    id="t1",
    kind=Kind.AGENT,
    name="bot",
    requested_by="agent:bot",
    cluster="prod",
    purpose="roll back web",
    rules=(read_wanted("get secrets -n ci", 1),),
    seconds=600.0,
    requested_at=NOW,
    lapses_at=NOW + 600,
)

ACTIVE = msgspec.structs.replace(TASK, credential_id="ngt-1", credential_hash=b"h" * 32).after(TaskEvent.ACTIVATED, NOW)


def change(action: str, subject: str = "q1", number: int = 7, **detail: Any) -> Change:
    return Change(number=number, at=NOW, by="agent:bot", action=action, subject=subject, detail=json.dumps(detail))


def text_of(message: Message) -> str:
    """All that a person reads."""
    return "\n".join([message.title, *(f"{label}: {text}" for label, text in message.lines), *message.commands])
