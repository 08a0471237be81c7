"""Pods in the tree of a task: each below the task, or the pod, that had it made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set

import msgspec

from narrowgate.core.lineage import Placement
from narrowgate.core.task_tree import MOST_NODES, Node, NodeKind
from narrowgate.core.tree_doings import Doings

THERE = "there"
"""The state of a pod that is not gone, and is let in; what it does, its cluster knows."""

SHUT_OUT = "there, not let in"
"""The state of one that is not gone, while somebody who had it made is over."""

GONE = "gone"
"""The state of one that its cluster has deleted; it is told for a day."""


def with_pods(tree: Node, pods: Iterable[Placement], did: Callable[[str], Doings | None] | None = None) -> Node:
    """The tree with its pods of these, so many as it may have nodes: those that are there, and the newest.

    A pod with several authors stands once, below the nearest of them; one whose parent pod is forgotten, below what
    had that one made. `did` tells by a pod's UID what it did.
    """
    tasks = {node.id for node in tree if node.kind is NodeKind.TASK}
    over = frozenset(node.id for node in tree if not node.is_alive)
    listed = _of_tree(pods, tasks)
    listed.sort(key=lambda pod: (pod.gone_at is not None, -pod.first_at))
    shown = listed[: max(0, MOST_NODES - len(tasks))]
    known = tasks | {pod.uid for pod in shown}
    below: dict[str, list[Node]] = {}
    for pod in shown:
        if (parent := _parent(pod, known)) is not None:
            below.setdefault(parent, []).append(_pod(pod, over).with_doings(None if did is None else did(pod.uid)))
    return msgspec.structs.replace(_with(tree, below), left_out=tree.left_out + len(listed) - len(shown))


def _of_tree(pods: Iterable[Placement], tasks: Set[str]) -> list[Placement]:
    """Those that one of these tasks had made, by itself or by another pod."""
    return [pod for pod in pods if any(one.task in tasks for author in pod.authors for one in author)]


def _parent(pod: Placement, known: Set[str]) -> str | None:
    """The task or pod right above it; None where it is of none of these."""
    for author in sorted(pod.authors, key=len):
        for ancestor in reversed(author):
            above = ancestor.pod_uid or ancestor.task
            if above in known and above != pod.uid:
                return above
    return None


def _with(node: Node, below: Mapping[str, list[Node]]) -> Node:
    children = [_with(child, below) for child in node.children]
    children += [_with(pod, below) for pod in below.get(node.id, ())]
    return msgspec.structs.replace(node, children=tuple(children))


def _pod(pod: Placement, over: frozenset[str]) -> Node:
    """It is let in for as long as everybody is who had it made; of those in other trees nothing is known here."""
    is_let_in = not any(ancestor.task in over for author in pod.authors for ancestor in author)
    state = GONE if pod.gone_at is not None else THERE if is_let_in else SHUT_OUT
    return Node(
        kind=NodeKind.POD,
        id=pod.uid,
        name=f"{pod.namespace}/{pod.name}",
        state=state,
        is_alive=state is THERE,
        purpose="",
        allow=(),
        ends_at=None,
        ended_because="",
        did=None,
    )
