"""Where pods stand in the tree of a task."""

from __future__ import annotations

import msgspec
from tests.unit.core.test_task_tree import LEFT, RIGHT, ROOT

from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, Placement
from narrowgate.core.lineage_tree import with_pods
from narrowgate.core.task_tree import MOST_NODES, Node, NodeKind, text_of, tree_lines, tree_of
from narrowgate.core.tree_doings import Doings, doings_of

TREE = tree_of(ROOT, (LEFT, RIGHT), 1_020.0)


def task(task_id: str) -> Ancestor:
    return Ancestor(kind=Kind.AGENT, name="bot", task=task_id)


def parent(uid: str) -> Ancestor:
    return Ancestor(kind=Kind.WORKLOAD, name="ci/worker", cluster="dev", pod=uid, pod_uid=uid)


def pod(uid: str, *authors: Author) -> Placement:
    return Placement(
        cluster="dev", uid=uid, resource="pods", namespace="ci", name=f"pod-{uid}", authors=authors, first_at=1.0
    )


def places(tree: Node) -> dict[str, str]:
    """By each pod's UID what it stands below."""
    return {child.id: node.id for node in tree for child in node.children if child.kind is NodeKind.POD}


def test_a_pod_stands_below_what_had_it_made() -> None:
    first, child = pod("p1", (task("t1"),)), pod("p2", (task("t1"), parent("p1")))
    of_delegate = pod("p3", (task("t1"), task("t2")))
    assert places(with_pods(TREE, [child, first, of_delegate])) == {"p1": "t1", "p2": "p1", "p3": "t2"}


def test_a_pod_whose_parent_is_gone_stands_below_what_had_that_made() -> None:
    assert places(with_pods(TREE, [pod("p2", (task("t1"), parent("gone")))])) == {"p2": "t1"}


def test_pods_of_other_tasks_and_of_nobody_are_left_out() -> None:
    assert with_pods(TREE, [pod("p1", (task("other"),)), pod("p2")]) == TREE


def test_a_pod_stands_once_however_many_had_a_hand_in_it() -> None:
    assert places(with_pods(TREE, [pod("p1", (task("t1"), task("t2")), (task("t1"),))])) == {"p1": "t1"}


def test_pods_that_name_each_other_end_nothing() -> None:
    ring = [pod("p1", (parent("p2"),)), pod("p2", (parent("p1"),)), pod("p3", (parent("p3"),))]
    assert with_pods(TREE, ring) == TREE


def state(tree: Node) -> dict[str, tuple[str, bool]]:
    return {node.id: (node.state, node.is_alive) for node in tree if node.kind is NodeKind.POD}


def test_a_pod_is_let_in_for_as_long_as_everybody_is_who_had_it_made() -> None:
    shared = pod("p3", (task("t1"), task("t2")), (task("t1"), task("t3")))
    tree = with_pods(TREE, [pod("p1", (task("t2"),)), pod("p2", (task("t3"),)), shared])
    assert state(tree) == {
        "p1": ("there", True),
        "p2": ("there, not let in", False),
        "p3": ("there, not let in", False),
    }
    assert "ci/pod-p1  pod p1  there" in "\n".join(map(text_of, tree_lines(tree)))


def test_a_pod_that_is_gone_stays_in_its_place_with_what_it_started() -> None:
    gone = msgspec.structs.replace(pod("p1", (task("t1"),)), gone_at=2.0)
    tree = with_pods(TREE, [pod("p2", (task("t1"), parent("p1"))), gone])
    assert places(tree) == {"p1": "t1", "p2": "p1"}
    assert state(tree) == {"p1": ("gone", False), "p2": ("there", True)}


def test_what_a_pod_did_and_where_it_ran_is_told_with_it() -> None:
    def did(uid: str) -> Doings | None:
        return msgspec.structs.replace(doings_of(()), runs_on="node-1") if uid == "p1" else None

    tree = with_pods(TREE, [pod("p1", (task("t2"),)), pod("p2", (task("t2"),))], did)
    told = {node.id: (node.runs_on, node.did is None) for node in tree if node.kind is NodeKind.POD}
    assert told == {"p1": ("node-1", False), "p2": ("", True)}
    assert "there  on node-1  0 requests" in "\n".join(map(text_of, tree_lines(tree)))


def test_what_is_too_much_is_left_out() -> None:
    many = [pod(f"p{number}", (task("t1"),)) for number in range(2 * MOST_NODES)]
    tree = with_pods(TREE, many)
    assert (len(list(tree)), tree.left_out) == (MOST_NODES, MOST_NODES + 3)


def test_pods_of_others_take_no_room_and_those_that_are_there_come_before_those_that_are_gone() -> None:
    others = [pod(f"o{number}", (task("other"),)) for number in range(2 * MOST_NODES)]
    gone = [msgspec.structs.replace(pod(f"g{number}", (task("t1"),)), gone_at=5.0) for number in range(MOST_NODES)]
    first, child = pod("p1", (task("t1"),)), pod("p2", (task("t1"), parent("g0")))
    tree = with_pods(TREE, [*others, *gone, child, first])
    assert {"p1", "p2"} <= places(tree).keys()
    assert (len(list(tree)), tree.left_out) == (MOST_NODES, 5)
