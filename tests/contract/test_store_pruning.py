"""What every store must do when what was over long ago is dropped: that goes, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.stores import OPENERS
from tests.contract.test_store_approvals import a_question
from tests.contract.test_store_tasks import a_task

from narrowgate.core.approvals import ApprovalState, Matter
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.store.port import NotThere, Store, StoreUnavailable


@pytest.fixture(params=list(OPENERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = OPENERS[request.param](tmp_path)
    yield opened
    opened.close()


def kept(store: Store, task: Task) -> Task:
    store.tasks.add(task, by="agent:bot", at=task.requested_at)
    return task


def left(store: Store) -> set[str]:
    return {task.id for task in store.tasks.listed()}


def test_tasks_go_by_the_time_of_their_end_and_those_that_go_on_stay(store: Store) -> None:
    kept(store, a_task("waits"))
    active = kept(store, a_task("runs").after(TaskEvent.ACTIVATED, 1_100.0))
    kept(store, msgspec.structs.replace(active, id="old", credential_hash=b"1").after(TaskEvent.COMPLETED, 1_110.0))
    kept(store, msgspec.structs.replace(active, id="new", credential_hash=b"2").after(TaskEvent.REVOKED, 1_150.0))
    assert store.pruning.tasks(1_110.0, 10) == 0
    assert store.pruning.tasks(1_111.0, 10) == 1
    assert left(store) == {"waits", "runs", "new"}
    # It may be changed until it goes, and goes by when it ended then.
    store.tasks.change(active.after(TaskEvent.COMPLETED, 1_120.0), was=active, by="agent:bot", at=1_120.0)
    assert store.pruning.tasks(1_121.0, 10) == 1
    assert left(store) == {"waits", "new"}
    with pytest.raises(NotThere):
        store.tasks.get("runs")


def test_what_a_task_used_of_its_limits_goes_with_it(store: Store) -> None:
    kept(store, a_task("old").after(TaskEvent.ACTIVATED, 1_100.0).after(TaskEvent.COMPLETED, 1_110.0))
    for name in ("old", "other"):
        store.task_limits.hand_out(name, 10)
        assert store.task_limits.add_stream(name, 1, 0, by="me", now=1_105.0)
    assert store.pruning.tasks(2_000.0, 10) == 1
    used = store.task_limits.used(["old", "other"], now=1_106.0)
    assert ("old" in used and used["old"].requests > 0, used["other"].streams) == (False, 1)


def test_no_more_go_at_a_time_than_are_asked_for(store: Store) -> None:
    for number in range(5):
        task = a_task(f"t{number}").after(TaskEvent.LAPSED, 1_300.0)
        kept(store, msgspec.structs.replace(task, credential_hash=b""))
    assert [store.pruning.tasks(9_999.0, 2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("state", list(ApprovalState))
def test_questions_go_once_their_time_is_over_and_one_that_waits_stays(store: Store, state: ApprovalState) -> None:
    store.approvals.add(a_question("q", state=state), by="x", at=1_000.0)
    assert store.pruning.questions(1_300.0, 10) == 0
    assert store.pruning.questions(1_300.1, 10) == (0 if state is ApprovalState.PENDING else 1)


def test_a_review_that_ended_well_goes_like_any_other(store: Store) -> None:
    store.approvals.add(a_question("r", state=ApprovalState.APPROVED, about=Matter(review=True)), by="x", at=1_000.0)
    assert store.pruning.questions(9_999.0, 10) == 1
    assert store.approvals.open() == ()


def test_changes_to_tasks_and_questions_go_and_all_others_stay(store: Store) -> None:
    store.add_revision([("a.yaml", "text")], by="local:test", at=1_000.0)
    kept(store, a_task("one"))
    store.approvals.add(a_question("q"), by="x", at=1_001.0)
    kept(store, a_task("two", requested_at=5_000.0, credential_hash=b"2"))
    assert store.pruning.changes(4_000.0, 10) == 2
    assert [change.action for change in store.changes()] == ["task.requested", "policies.revised"]


def test_the_newest_change_stays_so_that_no_number_is_used_twice(store: Store) -> None:
    kept(store, a_task("one"))
    kept(store, a_task("two", credential_hash=b"2"))
    newest = store.notifications.newest()
    assert store.pruning.changes(9_999.0, 10) == 1
    assert store.pruning.changes(9_999.0, 10) == 0
    kept(store, a_task("three", credential_hash=b"3"))
    assert [change.number for change in store.notifications.after(newest)] == [newest + 1]


def test_what_goes_is_no_change_that_anybody_judges_by(store: Store) -> None:
    kept(store, a_task("old", state=TaskState.LAPSED, ended_at=1_300.0))
    stamp = store.change_stamp()
    assert store.pruning.tasks(9_999.0, 10) == 1
    assert store.change_stamp() == stamp


def test_a_closed_store_drops_nothing(tmp_path: Path) -> None:
    for number, opener in enumerate(OPENERS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        closed = opener(folder)
        closed.close()
        with pytest.raises(StoreUnavailable):
            closed.pruning.tasks(1.0, 1)
