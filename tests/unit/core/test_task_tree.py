"""Trees of tasks as values and as text: everything that hangs on a task, once, below what it hangs on."""

from __future__ import annotations

import msgspec

from narrowgate.core.identity import Kind
from narrowgate.core.task_tree import MOST_NODES, Did, Node, did_text, tree_lines, tree_of
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import read_wanted

ROOT = Task(
    id="t1",
    kind=Kind.AGENT,
    name="bot",
    requested_by="agent:bot",
    cluster="dev",
    purpose="roll back",
    rules=(read_wanted("get pods -n ci", 1),),
    seconds=100.0,
    requested_at=1_000.0,
    lapses_at=1_001.0,
).after(TaskEvent.ACTIVATED, 1_000.0)


def below(task_id: str, parent: Task) -> Task:
    return msgspec.structs.replace(parent, id=task_id, name=f"{parent.name}/{task_id}", parent=parent.id, purpose="")


LEFT, RIGHT = below("t2", ROOT), below("t3", ROOT).after(TaskEvent.COMPLETED, 1_010.0)
LEAF = below("t4", LEFT)
DID = Did(requests=12, denied=1, last_at="2026-01-01T00:00:00Z", is_cut_off=False)


def test_everything_that_hangs_on_a_task_is_in_its_tree_once() -> None:
    tree = tree_of(ROOT, (LEFT, RIGHT, LEAF), 1_020.0, {"t4": DID})
    assert [node.id for node in tree] == ["t1", "t2", "t4", "t3"]
    assert [node.is_alive for node in tree] == [True, True, True, False]
    assert [node.did for node in tree] == [None, None, DID, None]
    assert tree.allow == ("get pods -n ci",)
    assert not any(node.is_alive for node in tree_of(ROOT, (LEFT,), 1_100.0))


def test_what_hangs_on_none_of_them_and_what_is_too_much_is_left_out() -> None:
    assert [node.id for node in tree_of(ROOT, (LEAF,), 1_020.0)] == ["t1"]
    many = [msgspec.structs.replace(LEFT, id=f"c{number}") for number in range(2 * MOST_NODES)]
    assert len(list(tree_of(ROOT, many, 1_020.0))) == MOST_NODES


def test_it_is_told_as_lines_below_each_other() -> None:
    assert tree_lines(tree_of(ROOT, (LEFT, RIGHT, LEAF), 1_020.0, {"t4": DID})) == [
        "bot  task t1  active until 1970-01-01T00:18:20Z: roll back",
        "├─ bot/t2  task t2  active until 1970-01-01T00:18:20Z",
        "│  └─ bot/t2/t4  task t4  active until 1970-01-01T00:18:20Z  "
        "12 requests, 1 refused, last 2026-01-01T00:00:00Z",
        "└─ bot/t3  task t3  completed",
    ]


def test_numbers_that_are_not_all_say_so() -> None:
    assert did_text(Did(requests=1, denied=0, last_at="", is_cut_off=False)) == "1 request"
    assert did_text(Did(requests=50, denied=0, last_at="", is_cut_off=True)) == "50 requests at least"


def test_a_tree_crosses_the_border_unchanged() -> None:
    tree = tree_of(ROOT, (LEFT, LEAF), 1_020.0, {"t2": DID})
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Node) == tree
