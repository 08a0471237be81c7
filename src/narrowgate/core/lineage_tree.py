"""Pods in the tree of a task: each below the task, or the pod, that had it made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from narrowgate.core.lineage import Placement
from narrowgate.core.task_tree import MOST_NODES, Node, NodeKind

THERE = "there"
"""The state of a pod that is not gone; what it does, its cluster knows."""


def with_pods(tree: Node, pods: Iterable[Placement]) -> Node:
    """The tree with these pods, so many of them as it may have nodes; those of other tasks are passed over.

    A pod with several authors stands once, below the nearest of them; one whose parent pod is gone, below what had
    that one made.
    """
    listed = list(pods)
    tasks = {node.id for node in tree}
    known = tasks | {pod.uid for pod in listed}
    below: dict[str, list[Placement]] = {}
    for pod in listed[: MOST_NODES - len(tasks)]:
        if (parent := _parent(pod, known)) is not None:
            below.setdefault(parent, []).append(pod)
    return _with(tree, below)


def _parent(pod: Placement, known: Iterable[str]) -> str | None:
    """The task or pod right above it; None where it is of none of these."""
    for author in sorted(pod.authors, key=len):
        for ancestor in reversed(author):
            above = ancestor.pod_uid or ancestor.task
            if above in known and above != pod.uid:
                return above
    return None


def _with(node: Node, below: Mapping[str, list[Placement]]) -> Node:
    children = [_with(child, below) for child in node.children]
    children += [_with(_pod(pod, is_alive=node.is_alive), below) for pod in below.get(node.id, ())]
    return msgspec.structs.replace(node, children=tuple(children))


def _pod(pod: Placement, *, is_alive: bool) -> Node:
    """It is let in for as long as whatever had it made is."""
    return Node(
        kind=NodeKind.POD,
        id=pod.uid,
        name=f"{pod.namespace}/{pod.name}",
        state=THERE,
        is_alive=is_alive,
        purpose="",
        allow=(),
        ends_at=None,
        ended_because="",
        did=None,
    )
