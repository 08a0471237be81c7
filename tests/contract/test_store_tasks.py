"""What every store must do with tasks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.contract.stores import Opener
from tests.deciding import rule

from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, Store


def a_task(task_id: str = "t1", **other: object) -> Task:
    made = Task(
        id=task_id,
        kind=Kind.AGENT,
        name="bot",
        requested_by="agent:bot",
        cluster="prod",
        purpose='roll "back" wéb',
        link="https://tickets/1",
        rules=(rule("allow", "get list", "pods", namespaces="ci"), rule("allow", "get", "nodes")),
        credential_id=task_id,
        credential_hash=task_id.encode().ljust(32, b"\0"),
        seconds=60.5,
        requested_at=1_000.25,
        lapses_at=1_300.0,
    )
    return msgspec.structs.replace(made, **other)


def test_a_task_comes_back_as_it_was_added(store: Store) -> None:
    store.tasks.add(a_task(), by="agent:bot", at=1_000.0)
    assert store.tasks.get("t1") == a_task()
    (change,) = store.changes()
    assert (change.action, change.subject, change.by) == ("task.requested", "t1", "agent:bot")
    assert "credential" not in change.detail


@pytest.mark.parametrize("same", [{"id": "t1"}, {"credential_hash": a_task().credential_hash}])
def test_ids_and_credentials_are_taken_once(store: Store, same: dict[str, object]) -> None:
    store.tasks.add(a_task(), by="x", at=1.0)
    with pytest.raises(AlreadyThere):
        store.tasks.add(a_task("t2", **same), by="x", at=1.0)


def test_active_ones_are_told_until_they_are_changed(store: Store) -> None:
    store.tasks.add(a_task(), by="x", at=1.0)
    assert store.tasks.active() == ()
    active = a_task().after(TaskEvent.ACTIVATED, 1_100.0)
    store.tasks.change(active, was=a_task(), by="x", at=1_100.0)
    assert store.tasks.active() == (active,)
    ended = active.after(TaskEvent.COMPLETED, 1_120.0)
    store.tasks.change(ended, was=active, by="x", at=1_120.0)
    assert store.tasks.active() == ()
    assert store.tasks.get("t1") == ended


def a_child(task_id: str, parent: str, name: str = "bot/helper") -> Task:
    return a_task(task_id, parent=parent, name=name).after(TaskEvent.ACTIVATED, 1_100.0)


def test_what_was_delegated_is_found_by_the_task_that_it_was_delegated_from(store: Store) -> None:
    store.tasks.add(a_task().after(TaskEvent.ACTIVATED, 1_000.0), by="x", at=1.0)
    first, second = a_child("t2", "t1"), a_child("t3", "t1", "bot/other")
    for child in (first, second, a_child("t4", "t2", "bot/helper/second")):
        store.tasks.add(child, by="agent:bot", at=1_100.0)
    assert store.tasks.delegated_from("t1") == (first, second)
    assert [task.id for task in store.tasks.delegated_from("t2")] == ["t4"]
    assert store.tasks.delegated_from("t4") == store.tasks.delegated_from("") == ()
    assert next(change.detail for change in store.changes() if change.subject == "t2").count('"parent":"t1"') == 1


@pytest.mark.parametrize("parent", ["t1", "t2", "nobody"])
def test_nothing_is_delegated_from_a_task_that_is_not_active(store: Store, parent: str) -> None:
    store.tasks.add(a_task(), by="x", at=1.0)
    active = a_task("t2").after(TaskEvent.ACTIVATED, 1_100.0)
    store.tasks.add(active, by="x", at=1.0)
    store.tasks.change(active.after(TaskEvent.REVOKED, 1_101.0), was=active, by="x", at=2.0)
    with pytest.raises(ChangedMeanwhile):
        store.tasks.add(a_child("t3", parent), by="x", at=3.0)
    with pytest.raises(NotThere):
        store.tasks.get("t3")


def test_of_ending_a_task_and_delegating_from_it_at_once_none_is_lost(store: Store) -> None:
    root = a_task().after(TaskEvent.ACTIVATED, 1_000.0)
    store.tasks.add(root, by="x", at=1.0)

    def delegate(number: int) -> bool:
        try:
            store.tasks.add(a_child(f"c{number}", "t1", f"bot/h{number}"), by="x", at=2.0)
        except ChangedMeanwhile:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(delegate, number) for number in range(16)]
        ended = pool.submit(store.tasks.change, root.after(TaskEvent.REVOKED, 1_110.0), was=root, by="x", at=2.0)
        ended.result()
        kept = {f"c{number}" for number, one in enumerate(made) if one.result()}
    assert {task.id for task in store.tasks.delegated_from("t1")} == kept
    assert delegate(99) is False


def test_the_tasks_of_delegates_are_listed_with_those_of_their_agent(store: Store) -> None:
    store.tasks.add(a_task().after(TaskEvent.ACTIVATED, 1_000.0), by="x", at=1.0)
    store.tasks.add(a_child("t2", "t1"), by="x", at=1.0)
    store.tasks.add(a_task("t3", name="bot-2"), by="x", at=1.0)
    store.tasks.add(a_task("t4", name="bo"), by="x", at=1.0)
    assert {task.id for task in store.tasks.listed(["bot"])} == {"t1", "t2"}
    assert {task.id for task in store.tasks.listed(["bo"])} == {"t4"}


def test_a_change_undoes_none_that_it_has_not_seen(store: Store) -> None:
    active = a_task().after(TaskEvent.ACTIVATED, 1_100.0)
    store.tasks.add(active, by="x", at=1.0)
    store.tasks.change(active.after(TaskEvent.REVOKED, 1_110.0), was=active, by="x", at=2.0)
    with pytest.raises(ChangedMeanwhile):
        store.tasks.change(active.after(TaskEvent.COMPLETED, 1_110.0), was=active, by="x", at=3.0)
    assert store.tasks.get("t1").ended_because == "revoked"


def test_of_two_ends_at_once_one_wins(store: Store) -> None:
    active = a_task().after(TaskEvent.ACTIVATED, 1_100.0)
    store.tasks.add(active, by="x", at=1.0)

    def end(number: int) -> bool:
        try:
            store.tasks.change(active.after(TaskEvent.REVOKED, 1_110.0, f"n{number}"), was=active, by="x", at=2.0)
        except ChangedMeanwhile:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(end, range(8)))
    assert done.count(True) == 1
    assert store.tasks.get("t1").ended_because == f"n{done.index(True)}"


def test_what_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(NotThere):
        store.tasks.get("none")
    with pytest.raises(NotThere):
        store.tasks.change(a_task(), was=a_task(), by="x", at=1.0)


def test_every_change_of_a_task_moves_the_stamp(opener: Opener) -> None:
    store, other = opener(), opener()
    stamps = [store.change_stamp()]
    other.tasks.add(a_task(), by="x", at=1.0)
    stamps.append(store.change_stamp())
    other.tasks.change(a_task().after(TaskEvent.ACTIVATED, 1_100.0), was=a_task(), by="x", at=2.0)
    stamps.append(store.change_stamp())
    assert len(set(stamps)) == 3


def test_tasks_are_listed_newest_first_and_on_behind_what_was_seen(store: Store) -> None:
    for number, name in enumerate(("a", "b", "c", "d")):
        holder = "other" if name == "d" else "bot"
        store.tasks.add(a_task(name, requested_at=float(number // 2), name=holder), by="x", at=1.0)
    assert [task.id for task in store.tasks.listed()] == ["c", "d", "a", "b"]
    assert [task.id for task in store.tasks.listed({"bot"})] == ["c", "a", "b"]
    assert store.tasks.listed(()) == ()
    seen = [task.id for task in store.tasks.listed(limit=2)]
    assert seen + [task.id for task in store.tasks.listed(behind=seen[-1])] == ["c", "d", "a", "b"]
    assert store.tasks.listed(behind="none") == ()
