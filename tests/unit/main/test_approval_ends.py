"""Questions whose time is over are written down as lapsed, and no others."""

from __future__ import annotations

from pathlib import Path

from tests.contract.test_store_approvals import a_question, answered_yes
from tests.contract.test_store_tasks import a_task

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.tasks import TaskEvent, TaskState
from narrowgate.main.approval_ends import ApprovalEnds
from narrowgate.store.sqlite import SQLiteStore


def test_what_nobody_answered_or_used_in_time_lapses_and_the_rest_stays(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gate.db")
    store.approvals.add(a_question("waits"), by="x", at=1_000.0)
    store.approvals.add(answered_yes(a_question("unused")), by="x", at=1_000.0)
    later = a_question("later", lapses_at=1_301.0)
    store.approvals.add(later, by="x", at=1_000.0)
    ApprovalEnds(store).sweep(1_299.9)
    assert len(store.approvals.open()) == 3
    ApprovalEnds(store).sweep(1_300.0)
    assert store.approvals.open() == (later,)
    waits = store.approvals.get("waits")
    assert (waits.state, waits.ended_at) == (ApprovalState.LAPSED, 1_300.0)
    assert store.changes()[0].by == "gate"
    store.close()


def test_what_only_a_task_that_is_over_could_send_is_taken_back(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gate.db")
    task = a_task("t-1", state=TaskState.ACTIVE, began_at=1_000.0, ends_at=2_000.0)
    store.tasks.add(task, by="x", at=1_000.0)
    held = a_question("of-task", digest="d1", credential=task.id)
    other = a_question("of-agent", digest="d2", credential="an-agents")
    for question in (held, other):
        store.approvals.add(question, by="x", at=1_000.0)
    ApprovalEnds(store).sweep(1_100.0)
    assert len(store.approvals.open()) == 2
    store.tasks.change(task.after(TaskEvent.COMPLETED, 1_100.0), was=task, by="x", at=1_100.0)
    ApprovalEnds(store).sweep(1_101.0)
    assert [one.id for one in store.approvals.open()] == ["of-agent"]
    ended = store.approvals.get("of-task")
    assert (ended.state, ended.ended_because) == (ApprovalState.WITHDRAWN, "task t-1 is over")
    store.close()
