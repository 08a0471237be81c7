"""What every store must do with what tasks leave behind: offer it once they are over, until its fate is known."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.contract.stores import Opener

from narrowgate.core.identity import Kind
from narrowgate.core.leftovers import ORPHAN_SECONDS, Fate, Leftover
from narrowgate.core.lineage import Ancestor, Author, PendingWrite, Placement
from narrowgate.core.policy import OnEnd
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.port import Store

BOT: Author = (Ancestor(kind=Kind.AGENT, name="bot", task="t1"),)
HELPER: Author = (*BOT, Ancestor(kind=Kind.AGENT, name="bot/helper", task="t2"))


def task(store: Store, identifier: str = "t1", on_end: OnEnd = OnEnd.DELETE_WORKLOADS, **more: Any) -> Task:
    made = Task(
        id=identifier, kind=Kind.AGENT, name="bot", requested_by="agent:bot", cluster="dev", purpose="tests",
        rules=(read_wanted("get pods -n ci", 1),), seconds=100.0, requested_at=900.0, lapses_at=901.0, on_end=on_end,
        state=TaskState.ACTIVE, began_at=900.0, ends_at=1_000_000.0, **more,
    )  # fmt: skip
    store.tasks.add(made, by="agent:bot", at=900.0)
    return made


def end(store: Store, was: Task) -> None:
    store.tasks.change(was.after(TaskEvent.COMPLETED, 2_000.0), was=was, by="agent:bot", at=2_000.0)


def create(store: Store, uid: str, author: Author = BOT, *, created: bool = True, owners: tuple[str, ...] = ()) -> None:
    placement = Placement(
        cluster="dev", uid=uid, resource="jobs.batch", namespace="ci", name=uid, authors=(author,), owners=owners,
        first_at=1_000.0,
    )  # fmt: skip
    store.lineage.add(placement, created=created)


def due(store: Store, now: float = 3_000.0, limit: int = 100) -> list[tuple[str, str]]:
    return [(one.task, one.uid) for one in store.leftovers.due(now, limit)]


def test_what_was_created_is_due_once_its_task_is_over(store: Store) -> None:
    under = task(store)
    create(store, "u1")
    create(store, "changed", created=False)
    assert due(store) == []
    end(store, under)
    assert due(store) == [("t1", "u1")]
    create(store, "late")
    assert due(store) == [("t1", "late"), ("t1", "u1")]


def test_a_task_that_leaves_what_it_leaves_makes_nothing_due(store: Store) -> None:
    under = task(store, on_end=OnEnd.LEAVE)
    create(store, "u1")
    end(store, under)
    assert due(store) == []


def test_what_a_delegate_created_is_left_behind_by_both_tasks(store: Store) -> None:
    root = task(store)
    below = task(store, "t2", parent="t1")
    create(store, "u1", HELPER)
    end(store, below)
    assert due(store) == [("t2", "u1")]
    end(store, root)
    assert due(store) == [("t1", "u1"), ("t2", "u1")]


def test_what_waits_is_due_later_and_what_ended_never_again(opener: Opener) -> None:
    store = opener()
    end(store, task(store))
    create(store, "u1")
    create(store, "u2")
    first, second = store.leftovers.due(3_000.0)
    store.leftovers.keep(first.after_failure("away", 3_000.0))
    store.leftovers.keep(second.ended(Fate.DELETED))
    store.close()
    again = opener()
    assert due(again) == []
    assert due(again, 3_002.0) == [("t1", "u1")]
    assert again.leftovers.of_task("t1") == (first.after_failure("away", 3_000.0), second.ended(Fate.DELETED))
    create(again, "u2")
    again.leftovers.keep(second.after_failure("late", 3_000.0))
    assert due(again, 3_002.0) == [("t1", "u1")]


def test_what_waited_longest_comes_first_and_no_more_than_asked_for(store: Store) -> None:
    end(store, task(store))
    for uid in ("u1", "u2", "u3"):
        create(store, uid)
    store.leftovers.keep(msgspec.structs.replace(store.leftovers.due(3_000.0)[0], next_at=2_500.0))
    assert due(store, limit=2) == [("t1", "u2"), ("t1", "u3")]
    assert due(store) == [("t1", "u2"), ("t1", "u3"), ("t1", "u1")]


def test_what_controllers_made_of_it_is_due_once_it_should_have_gone_with_it(store: Store) -> None:
    under = task(store)
    create(store, "u1")
    create(store, "set", owners=("u1",), created=False)
    create(store, "pod", owners=("set", "unknown"), created=False)
    create(store, "later", created=False)
    create(store, "later", owners=("set",), created=False)
    create(store, "alone", owners=("unknown",), created=False)
    end(store, under)
    assert due(store, 2_000.0) == [("t1", "u1")]
    assert due(store, 2_000.0 + ORPHAN_SECONDS) == [("t1", uid) for uid in ("later", "pod", "set", "u1")]
    assert [one.is_owned for one in store.leftovers.of_object("dev", "pod")] == [True]
    assert store.leftovers.of_object("dev", "alone") == ()
    store.lineage.gone("dev", "pod", at=2_001.0)
    assert (store.lineage.is_there("dev", "pod"), store.lineage.is_there("dev", "set")) == (False, True)
    assert not store.lineage.is_there("prod", "set")
    assert ("t1", "pod") not in due(store, 3_000.0)


def test_what_controllers_made_before_the_creation_was_known_is_left_behind_as_well(store: Store) -> None:
    """A watch may tell of all of it before the answer to whoever created it is kept."""
    under = task(store)
    create(store, "u1", created=False)
    create(store, "set", owners=("u1",), created=False)
    create(store, "pod", owners=("set",), created=False)
    create(store, "mine", owners=("u1",), created=False)
    create(store, "others", owners=("u11",), created=False)
    create(store, "u1")
    create(store, "mine", owners=("u1",))
    end(store, under)
    found = {one.uid: one.is_owned for one in store.leftovers.due(2_000.0 + ORPHAN_SECONDS)}
    assert found == {"u1": False, "set": True, "pod": True, "mine": False}


def test_what_a_person_changed_is_not_due_any_more(store: Store) -> None:
    end(store, task(store))
    create(store, "u1")
    pending = PendingWrite(
        audit_id="a1", cluster="dev", resource="jobs.batch", namespace="ci", name="u1", is_create=False, author=(),
        at=1_000.0,
    )  # fmt: skip
    store.lineage.begin(pending)
    store.lineage.changed_by_a_person("dev", "u1", answered="a1", at=1_000.0)
    assert store.lineage.pending("dev", "jobs.batch", "ci") == ()
    (left,) = store.leftovers.of_task("t1")
    assert (left.fate, left.why) == (Fate.LEFT, "a person had a hand in it")
    assert due(store) == []


def test_a_person_who_changed_it_before_it_was_known_counts_for_a_day(store: Store) -> None:
    end(store, task(store))
    store.lineage.changed_by_a_person("dev", "u1", answered="", at=1_000.0)
    store.lineage.changed_by_a_person("dev", "u1", answered="", at=1_001.0)
    create(store, "u1")
    assert [one.fate for one in store.leftovers.of_task("t1")] == [Fate.LEFT]
    store.lineage.changed_by_a_person("dev", "u2", answered="", at=1_000.0)
    store.lineage.prune(1_500.0, 0.0, 100)
    create(store, "u2")
    assert due(store) == [("t1", "u2")]


def test_what_is_known_to_be_gone_is_not_due(store: Store) -> None:
    end(store, task(store))
    create(store, "u1")
    create(store, "u2")
    store.lineage.gone("dev", "u1", at=2_000.0)
    assert due(store) == [("t1", "u2")]


def test_it_is_forgotten_with_the_object(store: Store) -> None:
    task(store)
    create(store, "u1")
    create(store, "u2")
    store.lineage.gone("dev", "u1", at=2_000.0)
    assert store.lineage.prune(2_500.0, 0.0, 100) == 1
    assert store.leftovers.of_task("t1") == (Leftover(task="t1", cluster="dev", uid="u2"),)
