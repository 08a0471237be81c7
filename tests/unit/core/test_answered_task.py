"""What answers do to tasks: a no ends what waits and what was an emergency, a yes begins nothing."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import NOW, rule

from narrowgate.core.answered_task import task_after_answer
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter
from narrowgate.core.identity import Kind
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.tasks import Task, TaskEvent, TaskState

WAITING = Task(
    id="t",
    kind=Kind.PERSON,
    name="alice",
    requested_by="person:alice",
    cluster="dev",
    purpose="the database is down",
    rules=(rule("allow", "get", "pods", namespaces="ci"),),
    seconds=100.0,
    requested_at=NOW,
    lapses_at=NOW + 50,
)
ACTIVE = WAITING.after(TaskEvent.ACTIVATED, NOW)
OVER = ACTIVE.after(TaskEvent.COMPLETED, NOW + 1)
QUESTION = ApprovalQuestion(
    id="t",
    asks=(Approval((Approvers("sre", 1),), 600.0),),
    rules=(),
    task="t",
    asked_at=NOW,
    lapses_at=NOW + 600,
    ended_because="why",
)


def after(task: Task, state: ApprovalState, *, review: bool = False, about: str = "t") -> Task:
    question = msgspec.structs.replace(QUESTION, state=state, about=Matter(review=review), task=about)
    return task_after_answer(task, question, NOW + 2)


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (ApprovalState.DENIED, TaskState.DENIED),
        (ApprovalState.WITHDRAWN, TaskState.LAPSED),
        (ApprovalState.LAPSED, TaskState.LAPSED),
    ],
)
def test_a_task_that_waits_ends_with_its_question(state: ApprovalState, becomes: TaskState) -> None:
    ended = after(WAITING, state)
    assert (ended.state, ended.ended_because, ended.ended_at) == (becomes, "why", NOW + 2)
    assert after(ACTIVE, state) is ACTIVE
    assert after(WAITING, state, about="other") is WAITING


@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.SPENT])
@pytest.mark.parametrize("review", [False, True])
def test_no_answer_and_a_yes_change_nothing(state: ApprovalState, review: bool) -> None:
    for task in (WAITING, ACTIVE, OVER):
        assert after(task, state, review=review) is task


def test_an_emergency_that_was_not_in_order_is_revoked_and_an_unseen_one_goes_on_to_its_end() -> None:
    ended = after(ACTIVE, ApprovalState.DENIED, review=True)
    assert (ended.state, ended.ended_because) == (TaskState.REVOKED, "found not in order: why")
    assert after(ACTIVE, ApprovalState.LAPSED, review=True) is ACTIVE
    for task in (WAITING, OVER):
        assert after(task, ApprovalState.DENIED, review=True) is task


def test_a_no_that_comes_after_the_end_finds_it_expired() -> None:
    question = msgspec.structs.replace(QUESTION, state=ApprovalState.DENIED, about=Matter(review=True))
    assert task_after_answer(ACTIVE, question, NOW + 500).state is TaskState.EXPIRED
