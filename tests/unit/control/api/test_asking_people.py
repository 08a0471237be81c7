"""A task that people are asked about: kept with its question, and not asked too often."""

from __future__ import annotations

import time

import msgspec
from tests.unit.control.api.calling import Api, detail, document

from narrowgate.control.api.asking_people import MOST_WAITING
from narrowgate.core.approvals import ApprovalEvent, ApprovalState, after
from narrowgate.core.tasks import TaskState

WISH = {"purpose": "rotate the key", "for": "5m", "allow": ["get secrets -n ci"]}


def test_a_task_and_its_question_are_kept_under_one_id_with_one_deadline(api: Api) -> None:
    bearer = api.agent("hers").text
    made = document(api.call("POST", "/tasks", WISH, who=bearer))
    task, question = api.store.tasks.get(made["id"]), api.store.approvals.get(made["id"])
    assert (task.state, question.state) == (TaskState.REQUESTED, ApprovalState.PENDING)
    assert (question.task, question.lapses_at) == (task.id, task.lapses_at)
    assert task.credential_hash == b""


def test_an_agent_wears_nobody_down_with_questions(api: Api) -> None:
    bearer = api.agent("hers").text
    ids = [document(api.call("POST", "/tasks", WISH, who=bearer))["id"] for _ in range(MOST_WAITING)]
    refused = api.call("POST", "/tasks", WISH, who=bearer)
    assert (refused.status, f"{MOST_WAITING} questions that wait" in detail(refused)) == (409, True)
    assert len(api.store.tasks.listed()) == MOST_WAITING
    other = api.agent("theirs").text
    assert api.call("POST", "/tasks", WISH, who=other).status == 201
    assert api.call("POST", f"/approvals/{ids[3]}/withdraw", who=bearer).status == 200
    assert api.call("POST", "/tasks", WISH, who=bearer).status == 201


def denied(api: Api, approval: str, ago: float) -> None:
    """The question as somebody has denied it so many seconds ago."""
    was, now = api.store.approvals.get(approval), time.time()
    no = after(was, ApprovalEvent.DENIED, now, "not on a Friday")
    ended = msgspec.structs.replace(no, ended_at=now - ago)
    api.store.approvals.change(ended, was=was, by="person:ada", at=now)


def test_what_people_denied_they_are_not_asked_again_for_ten_minutes(api: Api) -> None:
    bearer = api.agent("hers").text
    first = document(api.call("POST", "/tasks", WISH, who=bearer))["id"]
    denied(api, first, ago=590)
    # In other words, for another time: it is the same.
    same = {**WISH, "purpose": "please", "for": "1m", "allow": ["get  secrets   -n ci"]}
    for wish in (WISH, same):
        refused = api.call("POST", "/tasks", wish, who=bearer)
        assert (refused.status, "not on a Friday" in detail(refused)) == (403, True)
    assert len(api.store.tasks.listed()) == 1
    less = {**WISH, "allow": ["get secrets/one -n ci"]}
    assert api.call("POST", "/tasks", less, who=bearer).status == 201
    other = api.agent("theirs").text
    assert api.call("POST", "/tasks", WISH, who=other).status == 201


def test_after_ten_minutes_they_are_asked_again(api: Api) -> None:
    bearer = api.agent("hers").text
    denied(api, document(api.call("POST", "/tasks", WISH, who=bearer))["id"], ago=601)
    assert api.call("POST", "/tasks", WISH, who=bearer).status == 201
