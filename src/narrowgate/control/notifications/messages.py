"""What people read: an event with its title, its lines, and the document that programs get of it.

Everything here comes from the store as it is when it is told, and was masked when it was kept. What agents wrote is
quoted, one value to a line, so that it cannot pass for the gate's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from narrowgate.control.notifications.events import EVENTS, TEST, detail_of, event_of, message_id
from narrowgate.control.notifications.printable_text import printable, printable_document
from narrowgate.core.answering import asked_groups, asks_in_words
from narrowgate.core.approval_document import approval_document, brief_document
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.duration import duration_text
from narrowgate.core.moment import moment_text
from narrowgate.core.policy import OnEnd
from narrowgate.core.task_document import task_document
from narrowgate.core.task_fields import DELETES
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import wanted_text
from narrowgate.store.port import Change

LARGEST_BODY = 64 << 10
"""Bytes of what a webhook gets; most messages have 2 KB."""

MOST_LINES = 20
"""Of a request's object, or of the rules of a task, in chat and mail."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One event, ready to be told."""

    id: str
    """Stable over all attempts."""
    kind: str
    """Its type: `approval.asked`."""
    at: float
    """When it happened, in Unix seconds."""
    title: str
    lines: tuple[tuple[str, str], ...] = ()
    """Label and text; every text is printable and on one line."""
    commands: tuple[str, ...] = ()
    """What whoever is told may type."""
    data: Mapping[str, Any] = {}
    groups: tuple[str, ...] = ()
    """Whom a question is asked of; for everything else none."""
    approval: str = ""
    """The question that waits for an answer; empty for everything else."""
    holder: str = ""
    """Whose access it is about (`agent:bot`); empty for everything else."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the store has about a change now."""

    before: Change | None = None
    question: ApprovalQuestion | None = None
    task: Task | None = None
    """The task that changed, or that the question is about."""


def message_of(change: Change, known: Known, url: str, now: float) -> Message | None:
    """What is told of a change at `now` (Unix seconds); None where nobody is told. `url` is the control port's."""
    is_review = known.question is not None and known.question.about.review
    emergency = is_review or (known.task is not None and known.task.emergency)
    kind = event_of(change, known.before, emergency=emergency)
    if not kind:
        return None
    message = Message(id=message_id(change), kind=kind, at=change.at, title="")
    if known.question is not None:
        return _of_question(message, change, known.question, url, now)
    if known.task is not None:
        return _of_task(message, change, known.task, url, now)
    return _of_rest(message, change)


def payload(message: Message) -> bytes:
    """The body of a webhook (Standard Webhooks 1.0.0, "Payload structure"), within LARGEST_BODY."""
    document = {"type": message.kind, "timestamp": moment_text(message.at), "data": dict(message.data)}
    body = msgspec.json.encode(document)
    if len(body) <= LARGEST_BODY:
        return body
    kept = {name: message.data[name] for name in ("id", "url", "state", "shortened") if name in message.data}
    return msgspec.json.encode({**document, "data": {**kept, "shortened": True}})


def _of_question(message: Message, change: Change, question: ApprovalQuestion, url: str, now: float) -> Message:
    about, state = question.about, str(detail_of(change).get("state", ""))
    waits = question.at(now).state is ApprovalState.PENDING
    what = f"a task on {about.cluster}" if question.task else f"to {_request_words(question)} on {about.cluster}"
    who = question.holder or about.asked_by
    if about.review:
        what = f"the emergency on {about.cluster}, which is to be looked at"
    titles = {
        "approval.asked": _asked_title(question, who, what),
        "approval.answered": f"One more answer about {who}: {what}",
    }
    title = titles.get(message.kind, f"{EVENTS[message.kind].capitalize()}: {who}, {what}")
    shown = approval_document(question, now, may_answer=False)
    if len(msgspec.json.encode(shown)) > LARGEST_BODY // 2:
        shown = brief_document(question, now, may_answer=False)
    data = printable_document(msgspec.to_builtins(shown))
    # Whether a reader may answer depends on who they are, and nobody is known here.
    data.pop("mayAnswer", None)
    data |= {"state": state, "stateNow": question.at(now).state.value, "url": f"{url}/api/v1/approvals/{question.id}"}
    commands = _answers(question.id) if waits else (f"narrowgate approvals show {question.id}",)
    return msgspec.structs.replace(
        message,
        title=printable(title, 200),
        lines=_lines(
            ("approval", question.id),
            ("state", state),
            ("for", " → ".join(about.chain)),
            ("asked by", about.asked_by),
            ("purpose", about.purpose),
            ("ticket", about.link),
            ("cluster", about.cluster),
            ("request", f"{about.verb} {about.path}" if about.path else ""),
            *(("wants", text) for text in about.wanted[:MOST_LINES]),
            ("lasts", duration_text(about.seconds) if about.seconds else ""),
            ("requests at most", str(about.max_requests or "")),
            ("streams at most", str(about.max_streams or "")),
            ("in the end", "" if about.on_end is OnEnd.LEAVE else DELETES),
            *(("object", text) for text in question.about.summary[:MOST_LINES]),
            *(("asked of", text) for text in asks_in_words(question)),
            *((f"{said.person} said", f"{said.voice.value} {said.comment}") for said in question.said),
            ("because", question.ended_because),
            ("until", moment_text(question.lapses_at) if waits else ""),
        ),
        commands=commands,
        data={**data, "commands": list(commands)},
        groups=asked_groups(question),
        holder=who,
        approval=question.id if waits and message.kind in ("approval.asked", "approval.answered") else "",
    )


def _of_task(message: Message, change: Change, task: Task, url: str, now: float) -> Message:
    who = f"{task.kind.value.lower()}:{task.name}"
    state = str(detail_of(change).get("state", ""))
    words = {
        "task.requested": f"{who} asks for a task on {task.cluster}",
        "task.began": f"{who} has begun a task on {task.cluster}",
        "emergency.begun": f"EMERGENCY: {who} has taken access to {task.cluster}",
        "emergency.ended": f"Emergency over: {who} on {task.cluster}",
    }
    title = words.get(message.kind, f"Task of {who} on {task.cluster}: {EVENTS[message.kind]}")
    data = printable_document(msgspec.to_builtins(task_document(task, now)))
    data |= {"state": state, "stateNow": task.at(now).state.value, "emergency": task.emergency}
    data |= {"by": printable(change.by), "url": f"{url}/api/v1/tasks/{task.id}"}
    show = f"narrowgate tasks show {task.id}"
    runs = task.at(now).state is TaskState.ACTIVE
    commands = (show, f"narrowgate tasks revoke {task.id}") if runs else (show,)
    return msgspec.structs.replace(
        message,
        title=printable(title, 200),
        lines=_lines(
            ("task", task.id),
            ("state", state),
            ("for", who),
            ("asked by", task.requested_by),
            ("purpose", task.purpose),
            ("ticket", task.link),
            ("cluster", task.cluster),
            *(("may", wanted_text(rule)) for rule in task.rules[:MOST_LINES]),
            ("until", moment_text(task.ends_at) if runs and task.ends_at is not None else ""),
            ("changed by", change.by),
            ("because", task.ended_because),
        ),
        commands=commands,
        data={**data, "commands": list(commands)},
        holder=who,
    )


_TOLD_OF_AGENTS = ("owner", "purpose", "cluster", "paused", "paused_because")
"""Of an agent's record; keys and ids of credentials are no business of a chat's."""


def _of_rest(message: Message, change: Change) -> Message:
    """Agents, policies, roles; and questions and tasks that are not there any more."""
    noun, detail = message.kind.partition(".")[0], detail_of(change)
    told = {name: detail[name] for name in _TOLD_OF_AGENTS if name in detail} if noun == "agent" else detail
    subject = printable(change.subject, 200)
    title = "Narrowgate reaches you" if message.kind == TEST else f"{EVENTS[message.kind].capitalize()}: {subject}"
    data = {"id": subject, "by": printable(change.by), **printable_document(told)}
    rest = {name: value for name, value in data.items() if name not in ("id", "by") and value not in ("", None, False)}
    return msgspec.structs.replace(
        message,
        title=printable(title, 200),
        lines=_lines(
            ("changed by", change.by), *((name.replace("_", " "), _flat(value)) for name, value in rest.items())
        ),
        data=data,
    )


def _answers(approval: str) -> tuple[str, ...]:
    return (
        f"narrowgate approvals show {approval}",
        f"narrowgate approvals approve {approval}",
        f'narrowgate approvals deny {approval} --reason "..."',
    )


def _asked_title(question: ApprovalQuestion, who: str, what: str) -> str:
    if question.about.review:
        return f"Look at the emergency of {who} on {question.about.cluster}: was it in order?"
    return f"{who} asks for {what}" if question.task else f"{who} asks {what}"


def _request_words(question: ApprovalQuestion) -> str:
    about = question.about
    what = "/".join(part for part in (about.resource, about.name) if part) or about.path
    where = f" in {about.namespace}" if about.namespace else ""
    return f"{about.verb} {what}{where}"


def _lines(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((printable(label, 100), printable(text.strip())) for label, text in pairs if text.strip())


def _flat(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
