"""A task with everything that came of it, as a tree: its delegates and theirs, what each did, what is still alive.

The tree is a value of nodes of several kinds, so that whoever draws it (as text, as a picture) asks no questions.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from narrowgate.core.moment import moment_text
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import wanted_text

MOST_NODES: Final = 500
"""Nodes of one tree that are shown; it says so where there are more."""


class NodeKind(enum.Enum):
    """What a node stands for."""

    TASK = "task"
    POD = "pod"
    """A pod that somebody above it made through the gate."""


class Did(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the record has of somebody's requests."""

    requests: int
    """Those that the record was read of."""
    denied: int
    """Of these, those that were not let through."""
    last_at: str
    """When the last of them came, RFC 3339; empty where there was none."""
    is_cut_off: bool
    """Whether there are more than were read: then the numbers are of the newest."""


class Node(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One node of a tree."""

    kind: NodeKind
    id: str
    """Of the task, or the pod's UID."""
    name: str
    """Who works on it, or the pod as `namespace/name`."""
    state: str
    is_alive: bool
    purpose: str
    allow: tuple[str, ...]
    ends_at: str | None
    ended_because: str
    did: Did | None
    """Null where nobody looked, or the record could not be read now."""
    children: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        """The node and all that hangs on it, each behind what it hangs on."""
        yield self
        for child in self.children:
            yield from child


def tree_of(root: Task, below: Iterable[Task], now: float, did: Mapping[str, Did] | None = None) -> Node:
    """The tree that begins with a task, from the tasks that hang on it, as time leaves them at `now` (Unix seconds)."""
    by_parent: dict[str, list[Task]] = {}
    for task in list(below)[: MOST_NODES - 1]:
        by_parent.setdefault(task.parent, []).append(task)
    return _node(root, by_parent, now, did or {})


def _node(task: Task, by_parent: Mapping[str, list[Task]], now: float, did: Mapping[str, Did]) -> Node:
    task = task.at(now)
    return Node(
        kind=NodeKind.TASK,
        id=task.id,
        name=task.name,
        state=task.state.value,
        is_alive=task.state is TaskState.ACTIVE,
        purpose=task.purpose,
        allow=tuple(wanted_text(rule) for rule in task.rules),
        ends_at=None if task.ends_at is None else moment_text(task.ends_at),
        ended_because=task.ended_because,
        did=did.get(task.id),
        children=tuple(_node(child, by_parent, now, did) for child in by_parent.get(task.id, ())),
    )


def tree_lines(node: Node) -> list[str]:
    """The tree as text: a line for each node, and what it did."""
    return [node_line(node), *_below(node, "")]


def _below(node: Node, indent: str) -> Iterator[str]:
    for child in node.children:
        last = child is node.children[-1]
        yield f"{indent}{'└─ ' if last else '├─ '}{node_line(child)}"
        yield from _below(child, indent + ("   " if last else "│  "))


def node_line(node: Node) -> str:
    """One node on one line: `bot/helper  task t2  active until 10:00  12 requests, 1 refused: count pods`."""
    until = f" until {node.ends_at}" if node.is_alive and node.ends_at else ""
    parts = [node.name, f"{node.kind.value} {node.id}", f"{node.state}{until}"]
    if node.did is not None:
        parts.append(did_text(node.did))
    return "  ".join(parts) + (f": {node.purpose}" if node.purpose else "")


def did_text(did: Did) -> str:
    """What somebody did, in a few words."""
    more = " at least" if did.is_cut_off else ""
    last = f", last {did.last_at}" if did.last_at else ""
    refused = f", {did.denied} refused" if did.denied else ""
    return f"{did.requests} request{'' if did.requests == 1 else 's'}{more}{refused}{last}"
