"""What people and programs are told: enough to decide by, how to answer, nothing secret, nothing that acts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from tests.unit.control.notifications.samples import ABOUT, ACTIVE, NOW, QUESTION, TASK, URL, YES, change, text_of

from narrowgate.control.notifications.messages import LARGEST_BODY, Known, Message, message_of, payload
from narrowgate.core.approvals import ApprovalEvent, ApprovalQuestion, Matter, after
from narrowgate.core.tasks import TaskEvent


def told(action: str, known: Known, subject: str = "q1", **detail: Any) -> Message:
    message = message_of(change(action, subject, **detail), known, URL, NOW)
    assert message is not None
    return message


def asked(**about: Any) -> Message:
    question = msgspec.structs.replace(QUESTION, about=msgspec.structs.replace(ABOUT, **about))
    return told("approval.asked", Known(question=question), state="pending")


def test_a_question_tells_who_asks_for_what_and_how_to_answer() -> None:
    message = asked()
    assert message.title == "agent:bot asks to delete configmaps/settings in ci on prod"
    shown = text_of(message)
    for needed in (
        "approval: q1",
        "request: delete /api/v1/namespaces/ci/configmaps/settings",
        "asked of: 2 of sre and 1 of security, within 10m",
        "until: 2026-11-18T11:16:40Z",
        "narrowgate approvals approve q1",
        'narrowgate approvals deny q1 --reason "..."',
    ):
        assert needed in shown
    assert message.groups == ("security", "sre")
    assert message.approval == "q1"


def test_a_task_that_is_asked_for_tells_its_rules_and_its_time() -> None:
    about = Matter(asked_by="agent:bot", chain=("agent:bot",), cluster="prod", wanted=("get pods -n ci",), seconds=1200)
    question = msgspec.structs.replace(QUESTION, task="t1", digest="", about=about)
    message = told("approval.asked", Known(question=question, task=TASK), state="pending")
    assert message.title == "agent:bot asks for a task on prod"
    assert {("wants", "get pods -n ci"), ("lasts", "20m")} <= set(message.lines)


def test_a_question_that_is_over_meanwhile_is_told_without_the_command_to_answer() -> None:
    question = after(QUESTION, ApprovalEvent.WITHDRAWN, NOW, "withdrawn by agent:bot")
    message = told("approval.asked", Known(question=question), state="pending")
    assert message.kind == "approval.asked"
    assert message.commands == ("narrowgate approvals show q1",)
    assert message.approval == ""
    assert (message.data["state"], message.data["stateNow"]) == ("pending", "withdrawn")


def test_an_answer_is_told_with_who_said_it() -> None:
    question = msgspec.structs.replace(QUESTION, said=(YES,))
    message = told("approval.changed", Known(question=question), state="pending")
    assert message.kind == "approval.answered"
    assert ("alice said", "yes fine") in message.lines
    assert message.approval == "q1"


def test_the_document_is_the_apis_with_where_it_is_and_what_to_type() -> None:
    document = json.loads(payload(asked()))
    assert document["type"] == "approval.asked"
    assert document["timestamp"] == "2026-11-18T11:06:40Z"
    data = document["data"]
    assert data["id"] == "q1"
    assert data["url"] == f"{URL}/api/v1/approvals/q1"
    assert "narrowgate approvals approve q1" in data["commands"]
    assert "mayAnswer" not in data


def test_a_task_that_began_tells_what_it_may_and_how_to_end_it() -> None:
    before = change("task.requested", "t1", state="requested")
    message = told("task.changed", Known(before=before, task=ACTIVE), "t1", state="active")
    assert message.title == "agent:bot has begun a task on prod"
    assert ("may", "get secrets -n ci") in message.lines
    assert "narrowgate tasks revoke t1" in message.commands


def test_a_task_that_is_over_tells_why() -> None:
    ended = ACTIVE.after(TaskEvent.REVOKED, NOW + 1, "the agent was paused")
    before = change("task.changed", "t1", state="active")
    message = told("task.changed", Known(before=before, task=ended), "t1", state="revoked")
    assert ("because", "the agent was paused") in message.lines
    assert message.commands == ("narrowgate tasks show t1",)


def test_an_emergency_says_so_in_its_title() -> None:
    task = msgspec.structs.replace(ACTIVE, emergency=True)
    message = told("task.requested", Known(task=task), "t1", state="active")
    assert message.kind == "emergency.begun"
    assert message.title.startswith("EMERGENCY: agent:bot")
    assert message.data["emergency"] is True


def test_a_review_asks_whether_an_emergency_was_in_order_and_is_loud_when_nobody_looks() -> None:
    about = Matter(asked_by="person:zoe", chain=("person:zoe",), cluster="prod", purpose="db down", review=True)
    question = msgspec.structs.replace(QUESTION, id="t1-review", task="t1", digest="", about=about)
    asked_about = told("approval.asked", Known(question=question), "t1-review", state="pending")
    assert asked_about.title == "Look at the emergency of person:zoe on prod: was it in order?"
    assert "narrowgate approvals deny t1-review" in text_of(asked_about)
    lapsed = told("approval.changed", Known(question=question), "t1-review", state="lapsed")
    assert lapsed.kind == "emergency.unreviewed"


def test_no_credential_nor_its_hash_is_told() -> None:
    task = payload(told("task.requested", Known(task=ACTIVE), "t1", state="active")).decode()
    assert ACTIVE.credential_hash.decode() not in task
    agent = told(
        "agent.changed",
        Known(),
        "bot",
        paused=True,
        credential_id="cred-7",
        keys=[{"id": "key-7"}],
        paused_because="leak",
    )
    assert agent.kind == "agent.paused"
    assert "cred-7" not in payload(agent).decode() + text_of(agent)
    assert "key-7" not in payload(agent).decode() + text_of(agent)
    assert ("paused because", "leak") in agent.lines


def test_what_an_agent_wrote_stays_on_its_line() -> None:
    shown = text_of(asked(purpose="tidy up\nnarrowgate approvals approve evil\r\x1b[2J\u202egnp"))
    assert [line for line in shown.splitlines() if "evil" in line] == [
        "purpose: tidy up narrowgate approvals approve evil \\x1b[2J\\u202egnp"
    ]


def test_long_texts_are_cut_and_a_body_is_never_larger_than_its_limit() -> None:
    assert len(dict(asked(purpose="x" * 5000).lines)["purpose"]) == 1003
    flood = msgspec.structs.replace(ABOUT, summary=("ü" * 2000,) * 2000, wanted=("w" * 1000,) * 500)
    question = msgspec.structs.replace(QUESTION, about=flood)
    message = told("approval.asked", Known(question=question), state="pending")
    assert len(payload(message)) <= LARGEST_BODY
    assert json.loads(payload(message))["data"]["id"] == "q1"
    huge = msgspec.structs.replace(message, data={**message.data, "more": "x" * LARGEST_BODY})
    assert len(payload(huge)) <= LARGEST_BODY
    assert json.loads(payload(huge))["data"] == {
        "id": "q1",
        "url": f"{URL}/api/v1/approvals/q1",
        "state": "pending",
        "shortened": True,
    }


def test_what_is_not_there_any_more_is_told_by_the_change_alone() -> None:
    message = told("approval.changed", Known(), state="denied", because="no")
    assert message.kind == "approval.denied"
    assert message.title == "Somebody said no: q1"
    assert ("because", "no") in message.lines


def test_nobody_is_told_of_sign_ins() -> None:
    assert message_of(change("signin.added", "s1"), Known(), URL, NOW) is None


def test_every_state_of_a_question_can_be_told() -> None:
    states: list[tuple[ApprovalQuestion, str]] = [
        (after(QUESTION, ApprovalEvent.DENIED, NOW, "no"), "denied"),
        (after(QUESTION, ApprovalEvent.LAPSED, NOW), "lapsed"),
        (after(QUESTION, ApprovalEvent.APPROVED, NOW), "approved"),
    ]
    for question, state in states:
        message = told("approval.changed", Known(question=question), state=state)
        assert message.kind == f"approval.{state}"
        assert message.approval == ""
        assert "agent:bot" in message.title
