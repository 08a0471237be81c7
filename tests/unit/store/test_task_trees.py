"""Trees of tasks in a store: who hangs on whom, and what becomes of them when something above them ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.open import open_store
from narrowgate.store.port import Store
from narrowgate.store.task_trees import ancestors_of, descendants_of, end_paused, write_down

ROOT = Task(
    id="t1",
    kind=Kind.AGENT,
    name="bot",
    requested_by="agent:bot",
    cluster="dev",
    purpose="tests",
    rules=(read_wanted("get pods -n ci", 1), read_wanted("get secrets -n ci", 2)),
    seconds=100.0,
    requested_at=1_000.0,
    lapses_at=1_001.0,
).after(TaskEvent.ACTIVATED, 1_000.0)


def below(task_id: str, parent: Task) -> Task:
    return msgspec.structs.replace(parent, id=task_id, name=f"{parent.name}/{task_id}", parent=parent.id)


LEFT, RIGHT = below("t2", ROOT), below("t3", ROOT)
LEAF = below("t4", LEFT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store("", tmp_path)
    for task in (ROOT, LEFT, RIGHT, LEAF):
        opened.tasks.add(task, by="agent:bot", at=1_000.0)
    yield opened
    opened.close()


def states(store: Store) -> dict[str, str]:
    return {task_id: store.tasks.get(task_id).state.value for task_id in ("t1", "t2", "t3", "t4")}


def test_a_task_knows_what_it_hangs_on_and_what_hangs_on_it(store: Store) -> None:
    assert ancestors_of(store.tasks, LEAF) == (LEFT, ROOT)
    assert ancestors_of(store.tasks, ROOT) == ()
    assert descendants_of(store.tasks, ROOT) == (LEFT, RIGHT, LEAF)
    assert descendants_of(store.tasks, LEAF) == ()


@pytest.mark.parametrize(
    ("ended", "left"),
    [(ROOT, set[str]()), (LEFT, {"t1", "t3"}), (RIGHT, {"t1", "t2", "t4"}), (LEAF, {"t1", "t2", "t3"})],
)
def test_the_end_of_a_task_is_the_end_of_what_hangs_on_it_and_of_nothing_else(
    store: Store, ended: Task, left: set[str]
) -> None:
    over = ended.after(TaskEvent.REVOKED, 1_010.0, "enough")
    store.tasks.change(over, was=ended, by="person:alice", at=1_010.0)
    write_down(store.tasks, over, by="person:alice", at=1_010.0)
    assert {task_id for task_id, state in states(store).items() if state == "active"} == left


def test_the_record_says_with_whose_end_it_ended_and_who_ended_that(store: Store) -> None:
    over = ROOT.after(TaskEvent.REVOKED, 1_010.0, "enough")
    store.tasks.change(over, was=ROOT, by="person:alice", at=1_010.0)
    write_down(store.tasks, over, by="person:alice", at=1_010.0)
    leaf = store.tasks.get("t4")
    assert (leaf.state, leaf.ended_with) == (TaskState.REVOKED, "t1")
    assert leaf.ended_because == "task t1, which it was delegated from, was revoked by person:alice: enough"


def test_what_is_taken_from_a_task_is_taken_from_all_that_hangs_on_it(store: Store) -> None:
    less = ROOT.narrowed(ROOT.rules[:1], 1_050.0)
    store.tasks.change(less, was=ROOT, by="agent:bot", at=1_010.0)
    write_down(store.tasks, less, by="agent:bot", at=1_010.0)
    for task_id in ("t2", "t3", "t4"):
        kept = store.tasks.get(task_id)
        assert (kept.rules, kept.ends_at, kept.state) == (ROOT.rules[:1], 1_050.0, TaskState.ACTIVE)


def test_what_a_paused_agent_had_under_way_is_over_with_all_that_hangs_on_it_alone(
    store: Store,
) -> None:
    others = msgspec.structs.replace(ROOT, id="t5", name="bot2")
    store.tasks.add(others, by="agent:bot2", at=1_000.0)
    end_paused(store.tasks, "bot", by="person:ann", at=1_010.0)
    assert states(store) == dict.fromkeys(("t1", "t2", "t3", "t4"), "revoked")
    assert store.tasks.get("t1").ended_because == "the agent was paused"
    assert store.tasks.get("t4").ended_with == "t1"
    assert store.tasks.get("t5").state is TaskState.ACTIVE
