"""Trees of tasks as values and as text: everything that hangs on a task, once, below what it hangs on."""

from __future__ import annotations

import msgspec

from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.task_tree import (
    MOST_NODES,
    Node,
    Tone,
    Totals,
    requests_text,
    running_of,
    sign_in_node,
    text_of,
    totals_of,
    tree_lines,
    tree_of,
)
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.tree_doings import Did, Doings, Stream
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
RUNS = Stream(
    id="s1",
    kind="exec",
    what="ci/web-0",
    began_at="2026-01-01T00:00:00.000000Z",
    ended_at=None,
    recording="",
    is_named=True,
)
OVER = msgspec.structs.replace(RUNS, id="s2", ended_at="2026-01-01T00:05:00.000000Z", recording="r", is_named=False)
DOINGS = Doings(did=DID, streams=(RUNS, OVER), more_streams=3, runs_on="")


def lines(node: Node) -> list[str]:
    return [text_of(line) for line in tree_lines(node)]


def test_everything_that_hangs_on_a_task_is_in_its_tree_once() -> None:
    tree = tree_of(ROOT, (LEFT, RIGHT, LEAF), 1_020.0, {"t4": Doings(did=DID)})
    assert [node.id for node in tree] == ["t1", "t2", "t4", "t3"]
    assert [node.is_alive for node in tree] == [True, True, True, False]
    assert [node.did for node in tree] == [None, None, DID, None]
    assert tree.allow == ("get pods -n ci",)
    assert not any(node.is_alive for node in tree_of(ROOT, (LEFT,), 1_100.0))


def test_what_hangs_on_none_of_them_and_what_is_too_much_is_left_out() -> None:
    assert [node.id for node in tree_of(ROOT, (LEAF,), 1_020.0)] == ["t1"]
    many = [msgspec.structs.replace(LEFT, id=f"c{number}") for number in range(2 * MOST_NODES)]
    tree = tree_of(ROOT, many, 1_020.0)
    assert (len(list(tree)), tree.left_out) == (MOST_NODES, MOST_NODES + 1)
    assert lines(tree)[-1] == f"and {MOST_NODES + 1} more that are not shown"


def test_what_ended_with_a_task_is_over_before_anybody_has_written_it_down() -> None:
    revoked = ROOT.after(TaskEvent.REVOKED, 1_010.0, "enough")
    tree = tree_of(revoked, (LEFT, LEAF), 1_020.0)
    assert [node.is_alive for node in tree] == [False, False, False]
    assert all("t1" in node.ended_because for node in tree.children)


def test_why_somebody_is_over_is_told_unless_the_state_says_it() -> None:
    revoked = tree_of(ROOT.after(TaskEvent.REVOKED, 1_010.0, "it looks at too much"), (), 1_020.0)
    assert lines(revoked) == ["bot  task t1  revoked: roll back (it looks at too much)"]
    completed = tree_of(ROOT.after(TaskEvent.COMPLETED, 1_010.0), (), 1_020.0)
    assert lines(completed) == ["bot  task t1  completed: roll back"]


def test_it_is_told_as_lines_below_each_other() -> None:
    assert lines(tree_of(ROOT, (LEFT, RIGHT, LEAF), 1_020.0, {"t4": Doings(did=DID)})) == [
        "bot  task t1  active until 1970-01-01T00:18:20Z: roll back",
        "├─ bot/t2  task t2  active until 1970-01-01T00:18:20Z",
        "│  └─ bot/t2/t4  task t4  active until 1970-01-01T00:18:20Z  "
        "12 requests, 1 refused, last 2026-01-01T00:00:00Z",
        "└─ bot/t3  task t3  completed",
    ]


def test_streams_stand_below_whoever_has_them_and_what_was_named_is_marked() -> None:
    told = lines(tree_of(ROOT, (LEFT,), 1_020.0, {"t1": DOINGS}, named="t2"))
    assert told[1:] == [
        "│    ● exec ci/web-0, since 2026-01-01T00:00:00Z  s1  <- this one",
        "│    ○ exec ci/web-0, from 2026-01-01T00:00:00Z until 2026-01-01T00:05:00Z, recorded  s2",
        "│    ... and 3 more",
        "└─ bot/t2  task t2  active until 1970-01-01T00:18:20Z  <- this one",
    ]
    assert told[0].startswith("bot  task t1  active")


def test_a_stream_of_whoever_is_over_runs_no_more_whether_or_not_its_end_is_known() -> None:
    over = tree_of(ROOT, (), 1_100.0, {"t1": DOINGS})
    assert (running_of(over), running_of(tree_of(ROOT, (), 1_020.0, {"t1": DOINGS}))) == ((), (RUNS,))
    assert lines(over)[1].startswith("     ○ exec ci/web-0, since")
    assert "whose end nobody noted" in lines(over)[1]


def test_refusals_and_what_runs_can_be_coloured() -> None:
    parts = [part for line in tree_lines(tree_of(ROOT, (), 1_020.0, {"t1": DOINGS})) for part in line]
    assert (Tone.REFUSED, "1 refused") in parts
    assert [text for tone, text in parts if tone is Tone.RUNNING] == ["●"]


def test_a_tree_is_counted_as_a_whole() -> None:
    tree = tree_of(ROOT, (LEFT, RIGHT), 1_020.0, {"t1": DOINGS, "t3": DOINGS})
    assert totals_of(tree) == Totals(tasks=3, pods=0, alive=2, requests=24, denied=2, running=1)


def test_a_sign_in_stands_above_what_was_asked_for_in_it() -> None:
    sign_in = SignIn(
        id="i1",
        person="alice",
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=b"",
        renewed_at=900.0,
        created_at=900.0,
        expires_at=1_050.0,
    )
    node = sign_in_node(sign_in, (tree_of(ROOT, (), 1_020.0),), 1_020.0, DOINGS, "i1")
    assert lines(node)[0].startswith("alice  sign-in i1  active until 1970-01-01T00:17:30Z  12 requests, 1 refused")
    assert node.is_named
    assert [child.id for child in node.children] == ["t1"]
    assert sign_in_node(sign_in, (), 1_050.0, None, "").state == "expired"
    ended = msgspec.structs.replace(sign_in, ended_at=1_000.0, ended_because="signed out")
    assert (sign_in_node(ended, (), 1_020.0, None, "").is_alive, totals_of(node).tasks) == (False, 1)


def test_numbers_that_are_not_all_say_so() -> None:
    assert requests_text(Did(requests=1, denied=0, last_at="", is_cut_off=False)) == "1 request"
    assert requests_text(Did(requests=50, denied=0, last_at="", is_cut_off=True)) == "50 requests at least"


def test_a_tree_crosses_the_border_unchanged() -> None:
    tree = tree_of(ROOT, (LEFT, LEAF), 1_020.0, {"t2": DOINGS})
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Node) == tree
