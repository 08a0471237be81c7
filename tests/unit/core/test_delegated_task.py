"""What may be delegated of a task, and what becomes of it when the task that it hangs on ends or is made less."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import rule

from narrowgate.core.delegated_task import (
    LONGEST_CHAIN,
    as_delegated,
    beyond,
    delegate_name_problem,
    in_force,
    limits_problem,
    root_of,
    undelegable,
)
from narrowgate.core.identity import Kind
from narrowgate.core.names import agent_name_problem
from narrowgate.core.policy import Rule
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import read_wanted

NOW = 1_000.0


def rules(*words: str) -> tuple[Rule, ...]:
    return tuple(read_wanted(text, number) for number, text in enumerate(words, 1))


def task(task_id: str, *words: str, parent: str = "", seconds: float = 600.0, **more: object) -> Task:
    """`t1` is the agent's own, `t2` its delegate's, and so on."""
    made = Task(
        id=task_id,
        kind=Kind.AGENT,
        name="bot" + "/a" * int(parent[1:] or 0),
        requested_by="agent:bot",
        cluster="prod",
        purpose="x",
        rules=rules(*(words or ("get,list pods -n ci",))),
        seconds=seconds,
        requested_at=NOW,
        lapses_at=NOW + 1,
        parent=parent,
    )
    return msgspec.structs.replace(made, **more).after(TaskEvent.ACTIVATED, NOW)


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (("get pods -n ci",), ("get,list pods -n ci",)),
        (("get,list pods -n ci",), ("get pods -n ci", "list pods -n ci")),
        (("get pods/web -n ci",), ("get pods -n ci",)),
        (("get pods -n ci,qa",), ("get pods -n ci", "get pods -n qa,prod")),
        (("get pods -n ci",), ("get pods -n *",)),
        (("get deployments.apps -n ci",), ("* * -n ci", "* *.apps -n ci")),
        (("get nodes",), ("get,list nodes",)),
    ],
)
def test_what_each_part_is_in_some_rule_of_the_other_is_within_it(
    child: tuple[str, ...], parent: tuple[str, ...]
) -> None:
    assert beyond(rules(*child), rules(*parent)) == ""


@pytest.mark.parametrize(
    ("child", "parent", "part"),
    [
        (("get,list,delete pods -n ci",), ("get,list pods -n ci",), "delete pods -n ci"),
        (("get pods -n ci,qa",), ("get pods -n ci",), "get pods -n qa"),
        (("get pods -n *",), ("get pods -n ci",), "get pods -n *"),
        (("get pods -n ci",), ("get pods/web -n ci",), "get pods -n ci"),
        (("get pods/web2 -n ci",), ("get pods/web -n ci",), "get pods/web2 -n ci"),
        (("get pods/log -n ci",), ("get pods -n ci",), "get pods/log -n ci"),
        (("get deployments.apps -n ci",), ("get deployments.extensions.example -n ci",), "get deployments.apps -n ci"),
        (("* pods -n ci",), ("get,list,watch pods -n ci",), "* pods -n ci"),
        (("get * -n ci",), ("get pods -n ci",), "get *.* -n ci"),
        (("get nodes",), ("get pods -n *",), "get nodes"),
        (("get pods -n ci",), (), "get pods -n ci"),
    ],
)
def test_what_cannot_be_shown_to_be_within_is_named(child: tuple[str, ...], parent: tuple[str, ...], part: str) -> None:
    assert beyond(rules(*child), rules(*parent)) == part


def test_more_parts_than_can_be_looked_at_are_not_within_anything() -> None:
    wide = ("get,list,watch,create,update,patch,delete,deletecollection pods -n " + ",".join(map(str, range(65))),)
    assert beyond(rules(*wide), rules("* pods -n *")) != ""


@pytest.mark.parametrize("name", ["helper", "a", "h-2", "a" * 63])
def test_a_delegate_is_called_by_a_label(name: str) -> None:
    assert delegate_name_problem(name, "bot") == ""


@pytest.mark.parametrize(
    "name", ["", "Helper", "a/b", "a.b", "-a", "a-", "a" * 64, "a b", "a\n", "é", "system:masters"]
)
def test_other_names_are_none_for_a_delegate(name: str) -> None:
    assert delegate_name_problem(name, "bot") != ""


def test_a_name_that_no_identity_may_have_is_refused() -> None:
    assert delegate_name_problem("a" * 63, "/".join(["b" * 63] * 3)) != ""


def test_nobody_can_be_registered_under_the_name_of_a_delegate() -> None:
    assert agent_name_problem("bot/helper") != ""
    assert root_of("bot/helper/second") == root_of("bot") == "bot"


def test_only_what_is_under_way_is_delegated() -> None:
    active = task("t1")
    assert undelegable(active, NOW) == ""
    assert "expired" in undelegable(active, NOW + 600)
    assert "revoked" in undelegable(active.after(TaskEvent.REVOKED, NOW + 1), NOW + 2)
    assert "emergency" in undelegable(msgspec.structs.replace(active, kind=Kind.PERSON, emergency=True), NOW)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (TaskEvent.REVOKED, TaskState.REVOKED),
        (TaskEvent.COMPLETED, TaskState.REVOKED),
    ],
)
def test_a_task_ends_with_the_one_it_was_delegated_from_and_says_so(event: TaskEvent, state: TaskState) -> None:
    root = task("t1").after(event, NOW + 5, "enough")
    child = as_delegated(task("t2", parent="t1"), root, NOW + 6, "person:alice")
    assert (child.state, child.ended_at, child.ended_with) == (state, NOW + 6, "t1")
    assert child.ended_because == (
        f"task t1, which it was delegated from, was {root.state.value} by person:alice: enough"
    )
    grandchild = as_delegated(task("t3", parent="t2"), child, NOW + 7)
    assert (grandchild.ended_because, grandchild.ended_with) == (child.ended_because, "t1")


def test_time_that_ends_the_parent_ends_what_was_delegated_from_it() -> None:
    root = task("t1", seconds=10.0).at(NOW + 10)
    child = as_delegated(task("t2", parent="t1", seconds=60.0), root, NOW + 11)
    assert (child.state, child.ended_with) == (TaskState.EXPIRED, "t1")


def test_what_is_over_stays_as_it_ended() -> None:
    done = task("t2", parent="t1").after(TaskEvent.COMPLETED, NOW + 1, "did it")
    assert as_delegated(done, task("t1").after(TaskEvent.REVOKED, NOW + 2), NOW + 3) == done


def test_what_is_taken_from_a_task_is_taken_from_what_was_delegated_from_it() -> None:
    root = task("t1", "get pods -n ci", "get secrets -n ci", max_requests=5)
    child = task("t2", "get pods -n ci", "get secrets -n ci", parent="t1")
    less = as_delegated(child, root.narrowed(root.rules[:1], NOW + 100), NOW)
    assert (less.rules, less.ends_at, less.max_requests) == (child.rules[:1], NOW + 100, 5)


def test_a_task_of_which_nothing_is_left_ends() -> None:
    root = task("t1", "get pods -n ci", "get secrets -n ci")
    less = root.narrowed(root.rules[:1], NOW + 100)
    child = as_delegated(task("t2", "get secrets -n ci", parent="t1"), less, NOW + 1, "agent:bot")
    assert (child.state, child.ended_with) == (TaskState.REVOKED, "t1")
    assert "made less, and nothing is left" in child.ended_because


def test_in_force_is_what_hangs_on_nothing_that_is_missing() -> None:
    root, child, grandchild = task("t1"), task("t2", parent="t1"), task("t3", parent="t2")
    assert in_force([grandchild, child, root]) == (grandchild, child, root)
    assert in_force([grandchild, root]) == (root,)
    assert in_force([grandchild, child]) == ()
    assert in_force([task("t1", parent="t2"), task("t2", parent="t1")]) == ()


def test_in_force_no_task_has_more_than_any_that_it_hangs_on() -> None:
    root = task("t1", "get pods -n ci")
    child = task("t2", "get pods -n ci", "get secrets -n ci", parent="t1", seconds=700.0)
    grandchild = task("t3", "get secrets -n ci", parent="t2", seconds=900.0)
    _, less, least = in_force([root, child, grandchild])
    assert (less.rules, less.ends_at) == (root.rules, root.ends_at)
    assert (least.rules, least.ends_at) == ((), root.ends_at)


def test_what_hangs_on_another_cluster_or_a_person_covers_nothing() -> None:
    for other in ({"cluster": "dev"}, {"kind": Kind.PERSON}):
        (_, child) = in_force([task("t1", **other), task("t2", parent="t1")])
        assert child.rules == ()


def test_chains_that_are_too_long_to_be_judged_count_for_nothing() -> None:
    line = [task("t1")] + [task(f"t{number}", parent=f"t{number - 1}") for number in range(2, LONGEST_CHAIN + 3)]
    assert line[-1] not in in_force(line[::-1])
    assert line[LONGEST_CHAIN - 1] in in_force(line[:LONGEST_CHAIN])


def test_limits_are_no_wider_than_the_parents() -> None:
    parent = task("t1", max_requests=5)
    assert limits_problem((5, 3), parent) == limits_problem((None, None), parent) == ""
    assert "maxRequests: task t1 has 5" in limits_problem((6, None), parent)


def test_a_rule_that_a_task_cannot_hold_is_not_compared() -> None:
    with pytest.raises(ValueError, match="plain allow rules"):
        beyond((), (rule("deny", "get", "pods", namespaces="ci"),))
