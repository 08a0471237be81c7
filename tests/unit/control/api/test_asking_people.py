"""A task that people are asked about: kept with its question, and not asked too often."""

from __future__ import annotations

from tests.unit.control.api.calling import Api, detail, document

from narrowgate.control.api.asking_people import MOST_WAITING
from narrowgate.core.approvals import ApprovalState
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
