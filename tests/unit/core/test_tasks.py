"""Tasks go through their states as the table says, at the times that the gate set."""

from __future__ import annotations

import math

import msgspec
import pytest
from tests.deciding import rule

from narrowgate.core.identity import Kind
from narrowgate.core.policy import OnEnd
from narrowgate.core.task_limits import Limits
from narrowgate.core.tasks import TASK_TRANSITIONS, NotPossible, Task, TaskEvent, TaskState

READ = rule("allow", "get list", "pods", namespaces="ci", id="allow-1")
PATCH = rule("allow", "patch", "deployments", groups="apps", namespaces="ci", names="web", id="allow-2")
TASK = Task(
    id="t1",
    kind=Kind.AGENT,
    name="ci",
    requested_by="agent:ci",
    cluster="prod",
    purpose="roll back web",
    rules=(READ, PATCH),
    seconds=600.0,
    requested_at=1_000.0,
    lapses_at=1_300.0,
)
ACTIVE = TASK.after(TaskEvent.ACTIVATED, 1_100.0)


def test_it_covers_from_activation_to_its_end_and_neither_before_nor_after() -> None:
    assert TASK.grant() is None
    grant = ACTIVE.grant()
    assert grant is not None
    assert (grant.begins_at, grant.ends_at, grant.cluster, grant.name) == (1_100.0, 1_700.0, "prod", "ci")
    assert [str(each.ref) for each in grant.rules] == ["task/t1/allow-1", "task/t1/allow-2"]
    for event in (TaskEvent.COMPLETED, TaskEvent.REVOKED, TaskEvent.EXPIRED):
        assert ACTIVE.after(event, 1_200.0).grant() is None


@pytest.mark.parametrize("state", list(TaskState))
@pytest.mark.parametrize("event", list(TaskEvent))
def test_nothing_happens_that_is_not_in_the_table(state: TaskState, event: TaskEvent) -> None:
    task = msgspec.structs.replace(ACTIVE if state is TaskState.ACTIVE else TASK, state=state)
    to = TASK_TRANSITIONS.get((state, event))
    if to is None:
        with pytest.raises(NotPossible, match=f"task t1 is {state.value}"):
            task.after(event, 1_200.0)
    else:
        assert task.after(event, 1_200.0).state is to


def test_an_answer_that_comes_too_late_finds_it_lapsed() -> None:
    assert TASK.after(TaskEvent.ACTIVATED, 1_300.0).state is TaskState.LAPSED
    assert TASK.after(TaskEvent.ACTIVATED, math.nan).state is TaskState.LAPSED


def test_an_end_that_comes_after_the_end_finds_it_expired() -> None:
    assert ACTIVE.after(TaskEvent.COMPLETED, 1_700.0).state is TaskState.EXPIRED


def test_time_alone_ends_it() -> None:
    assert TASK.at(1_299.9) is TASK
    assert TASK.at(1_300.0).state is TaskState.LAPSED
    assert ACTIVE.at(1_699.9) is ACTIVE
    assert ACTIVE.at(1_700.0).state is TaskState.EXPIRED
    assert ACTIVE.at(math.nan).state is TaskState.EXPIRED
    done = ACTIVE.after(TaskEvent.COMPLETED, 1_200.0)
    assert done.at(9_999.0) is done


def test_it_is_narrowed_and_never_widened() -> None:
    narrow = ACTIVE.narrowed((READ,), 1_500.0)
    assert (narrow.rules, narrow.ends_at) == ((READ,), 1_500.0)
    other = rule("allow", "get", "secrets", namespaces="ci")
    for rules, ends_at in (((READ, other), 1_500.0), ((READ,), 1_800.0), ((READ,), math.nan)):
        with pytest.raises(NotPossible, match="never widened"):
            ACTIVE.narrowed(rules, ends_at)
    with pytest.raises(NotPossible, match="only an active one"):
        TASK.narrowed((READ,), 1_200.0)
    with pytest.raises(NotPossible, match="never widened"):
        narrow.narrowed((READ, PATCH), 1_500.0)


def test_why_it_ended_is_kept() -> None:
    ended = ACTIVE.after(TaskEvent.REVOKED, 1_200.0, "by person:alice: wrong cluster")
    assert (ended.ended_at, ended.ended_because) == (1_200.0, "by person:alice: wrong cluster")
    assert TASK.after(TaskEvent.DENIED, 1_200.0).ended_because == "denied"


LIMITED = msgspec.structs.replace(ACTIVE, max_requests=50)


def test_its_grant_has_its_limits_and_its_link() -> None:
    grant = msgspec.structs.replace(LIMITED, link="https://tickets.corp/1").grant()
    assert grant is not None
    assert (grant.limits, grant.link) == (Limits("t1", 50, None), "https://tickets.corp/1")
    free = ACTIVE.grant()
    assert free is not None
    assert free.limits is None


def test_limits_can_be_lowered_and_never_raised() -> None:
    lower = LIMITED.narrowed(LIMITED.rules, 1_700.0, 10, 2)
    assert (lower.max_requests, lower.max_streams, lower.ends_at) == (10, 2, 1_700.0)
    same = lower.narrowed(lower.rules, 1_600.0)
    assert (same.max_requests, same.max_streams) == (10, 2)
    for requests, streams in ((11, None), (None, 3)):
        with pytest.raises(NotPossible, match="never widened"):
            lower.narrowed(lower.rules, 1_600.0, requests, streams)


def test_a_pause_ends_a_task_and_has_nothing_deleted() -> None:
    deletes = msgspec.structs.replace(ACTIVE, on_end=OnEnd.DELETE_WORKLOADS)
    grant = deletes.grant()
    assert grant is not None
    assert grant.on_end is OnEnd.DELETE_WORKLOADS
    paused = deletes.paused(1_200.0)
    assert (paused.state, paused.ended_because, paused.on_end) == (
        TaskState.REVOKED,
        "the agent was paused",
        OnEnd.LEAVE,
    )
    # What was over before the pause goes as it was to go.
    over = deletes.after(TaskEvent.COMPLETED, 1_100.0)
    assert over.paused(1_200.0) is over
    assert over.on_end is OnEnd.DELETE_WORKLOADS
