"""Ends that nobody asked for are written down, by the gate itself, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter
from narrowgate.core.identity import Kind
from narrowgate.core.policy import Approval, Approvers, OnEnd
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.main.task_ends import TaskEnds, ended_task
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

AGENT = AgentRecord(
    name="bot",
    owner="person:olga",
    purpose="tests",
    cluster="dev",
    credential_id="",
    credential_hash=b"",
    created_at=900,
    expires_at=9000,
)


def task(**other: Any) -> Task:
    told: dict[str, Any] = {
        "id": "t",
        "kind": Kind.AGENT,
        "name": "bot",
        "requested_by": "agent:bot",
        "cluster": "dev",
        "purpose": "tests",
        "rules": (read_wanted("get pods -n ci", 1),),
        "seconds": 100.0,
        "requested_at": 1000.0,
        "lapses_at": 1001.0,
        "state": TaskState.ACTIVE,
        "began_at": 1000.0,
        "ends_at": 1100.0,
    }
    return Task(**(told | other))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store("", tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("now", "agent", "state", "because"),
    [
        (1050.0, AGENT, "active", ""),
        (1099.9, AGENT, "active", ""),
        (1100.0, AGENT, "expired", "expired"),
        (1050.0, None, "revoked", "the agent was removed"),
        (1050.0, msgspec.structs.replace(AGENT, created_at=1001.0), "revoked", "the agent was removed"),
        (1050.0, msgspec.structs.replace(AGENT, paused=True), "revoked", "the agent was paused"),
        (1050.0, msgspec.structs.replace(AGENT, ends_at=1050.0), "revoked", "the agent has ended"),
        (1100.0, None, "expired", "expired"),
    ],
)
def test_a_task_ends_by_time_and_with_its_agent(
    now: float, agent: AgentRecord | None, state: str, because: str
) -> None:
    ended = ended_task(task(), agent, now)
    assert (ended.state.value, ended.ended_because) == (state, because)


def test_each_end_is_one_change_of_the_gates_own(store: Store) -> None:
    store.add_agent(AGENT, by="local:test", at=900)
    for made in (task(id="over"), task(id="going", ends_at=5000.0), task(id="gone", name="gone")):
        store.tasks.add(made, by="agent:bot", at=1000)
    ends = TaskEnds(store)
    ends.sweep(2000.0)
    assert {one: store.tasks.get(one).state.value for one in ("over", "going", "gone")} == {
        "over": "expired",
        "going": "active",
        "gone": "expired",
    }
    newest = store.changes(2)
    assert {(change.action, change.by) for change in newest} == {("task.changed", "gate")}
    stamp = store.changes(1)[0].number
    ends.sweep(2001.0)
    assert store.changes(1)[0].number == stamp


def test_an_agent_that_goes_on_after_a_pause_has_nothing_left_from_before(store: Store) -> None:
    store.add_agent(AGENT, by="local:test", at=900)
    store.tasks.add(task(), by="agent:bot", at=1000)
    store.change_agent(msgspec.structs.replace(AGENT, paused=True), by="person:olga", at=1010)
    TaskEnds(store).sweep(1011.0)
    store.change_agent(AGENT, by="person:olga", at=1012)
    TaskEnds(store).sweep(1013.0)
    assert store.tasks.get("t").state is TaskState.REVOKED


def emergency(**other: Any) -> Task:
    mine = {"kind": Kind.PERSON, "name": "alice", "requested_by": "person:alice", "emergency": True, "sign_in": "s1"}
    return task(**(mine | other))


def sign_in(name: str = "s1") -> SignIn:
    return SignIn(
        id=name,
        person="alice",
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=name.encode(),
        renewed_at=900.0,
        created_at=900.0,
        expires_at=9_000.0,
    )


def test_an_emergency_ends_for_good_with_the_sign_in_that_it_was_taken_with(store: Store) -> None:
    # An agent of that name is somebody else.
    store.add_agent(msgspec.structs.replace(AGENT, name="alice"), by="local:test", at=900)
    store.sign_ins.add(sign_in(), by="person:alice", at=900)
    store.tasks.add(emergency(), by="person:alice", at=1000)
    ends = TaskEnds(store)
    ends.sweep(1001.0)
    assert store.tasks.get("t").state is TaskState.ACTIVE
    store.sign_ins.end("s1", "signed out", by="person:alice", at=1002)
    store.sign_ins.add(sign_in("s2"), by="person:alice", at=1003)
    ends.sweep(1004.0)
    ended = store.tasks.get("t")
    assert (ended.state, ended.ended_because) == (TaskState.REVOKED, "the sign-in that it was taken with is over")


def question(task_id: str, **other: Any) -> ApprovalQuestion:
    told: dict[str, Any] = {
        "id": task_id,
        "task": task_id,
        "asks": (Approval((Approvers("sre", 1),), 600.0),),
        "rules": (),
        "asked_at": 1000.0,
        "lapses_at": 1600.0,
        "state": ApprovalState.DENIED,
        "ended_because": "no",
    }
    return ApprovalQuestion(**(told | other))


def test_an_emergency_that_was_found_not_in_order_is_over_although_nobody_told_it(store: Store) -> None:
    store.sign_ins.add(sign_in(), by="person:alice", at=900)
    store.tasks.add(emergency(), by="person:alice", at=1000)
    store.approvals.add(question("t", id="t-review", about=Matter(review=True)), by="person:carol", at=1001)
    TaskEnds(store).sweep(1002.0)
    ended = store.tasks.get("t")
    assert (ended.state, ended.ended_because) == (TaskState.REVOKED, "found not in order: no")


def waiting(task_id: str) -> Task:
    return task(id=task_id, state=TaskState.REQUESTED, lapses_at=1600.0, began_at=None, ends_at=None)


def test_tasks_that_wait_lapse_in_the_store_and_what_people_said_is_made_good(store: Store) -> None:
    for name in ("waits", "denied", "taken-back", "unasked"):
        store.tasks.add(waiting(name), by="agent:bot", at=1000)
    store.approvals.add(question("waits", state=ApprovalState.PENDING), by="agent:bot", at=1000)
    store.approvals.add(question("denied"), by="agent:bot", at=1000)
    store.approvals.add(question("taken-back", state=ApprovalState.WITHDRAWN), by="agent:bot", at=1000)
    ends = TaskEnds(store)

    def states() -> dict[str, str]:
        return {one.id: one.state.value for one in store.tasks.listed()}

    ends.sweep(1001.0)
    assert states() == {"waits": "requested", "denied": "denied", "taken-back": "lapsed", "unasked": "requested"}
    assert store.tasks.get("denied").ended_because == "no"
    ends.sweep(1600.0)
    assert states() == {"waits": "lapsed", "denied": "denied", "taken-back": "lapsed", "unasked": "lapsed"}
    # A clock that is set back revives nothing, and nothing is written a second time.
    stamp = store.change_stamp()
    for now in (1001.0, 0.0, 9999.0, 1001.0):
        ends.sweep(now)
    assert store.change_stamp() == stamp


def delegated(task_id: str, parent: str, name: str, **other: Any) -> Task:
    return task(id=task_id, parent=parent, name=name, **other)


def test_what_hangs_on_a_task_that_ended_unnoticed_ends_in_one_sweep(store: Store) -> None:
    store.add_agent(AGENT, by="x", at=900.0)
    line = [task(id="z"), delegated("m", "z", "bot/a"), delegated("a", "m", "bot/a/b")]
    for one in line:
        store.tasks.add(one, by="x", at=1_000.0)
    over = line[0].after(TaskEvent.COMPLETED, 1_010.0)
    store.tasks.change(over, was=line[0], by="agent:bot", at=1_010.0)
    TaskEnds(store).sweep(1_011.0)
    for task_id in ("m", "a"):
        kept = store.tasks.get(task_id)
        assert (kept.state, kept.ended_with) == (TaskState.REVOKED, "z")
        assert kept.ended_because == "task z, which it was delegated from, was completed"


def test_a_pause_of_the_agent_ends_what_it_delegated(store: Store) -> None:
    store.add_agent(msgspec.structs.replace(AGENT, paused=True), by="x", at=900.0)
    store.tasks.add(task(), by="x", at=1_000.0)
    store.tasks.add(delegated("c", "t", "bot/a"), by="x", at=1_000.0)
    TaskEnds(store).sweep(1_001.0)
    assert (
        store.tasks.get("c").ended_because == "task t, which it was delegated from, was revoked: the agent was paused"
    )


def test_what_hangs_on_nothing_that_is_kept_ends() -> None:
    child = delegated("c", "t", "bot/a")
    assert "kept no more" in ended_task(child, AGENT, 1_001.0).ended_because
    assert ended_task(child, AGENT, 1_001.0, parent=task()) == child
    assert ended_task(child, None, 1_001.0, parent=task()).ended_because == "the agent was removed"


def test_after_a_pause_nothing_is_deleted_and_after_every_other_end_it_is(store: Store) -> None:
    store.add_agent(msgspec.structs.replace(AGENT, paused=True), by="x", at=900.0)
    deletes = OnEnd.DELETE_WORKLOADS
    store.tasks.add(task(on_end=deletes), by="x", at=1_000.0)
    store.tasks.add(msgspec.structs.replace(delegated("c", "t", "bot/a"), on_end=deletes), by="x", at=1_000.0)
    TaskEnds(store).sweep(1_001.0)
    assert [store.tasks.get(name).on_end for name in ("t", "c")] == [OnEnd.LEAVE, OnEnd.LEAVE]
    for now, agent in ((1_050.0, None), (1_100.0, AGENT)):
        ended = ended_task(task(on_end=deletes), agent, now)
        assert (ended.is_final, ended.on_end) == (True, deletes)
