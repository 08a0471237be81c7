"""The tasks that one hangs on, and those that hang on it, read from a store; and the end of all of them written down.

Whoever ends a task does not wait for this: what hangs on a task that is over counts for nothing from that moment
(`core.delegated_task.in_force`).
"""

from __future__ import annotations

from typing import Protocol

from narrowgate.core.delegated_task import LONGEST_CHAIN, as_delegated
from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task
from narrowgate.store.port import ChangedMeanwhile, NotThere, Tasks

MOST_LISTED = 1_000
"""Tasks of one tree that are read: ten times what an agent has under way at one time."""


class Kept(Protocol):
    """What is needed of a store (`store.port.Store`)."""

    @property
    def tasks(self) -> Tasks:
        """All tasks."""
        ...


def ancestors_of(tasks: Tasks, task: Task) -> tuple[Task, ...]:
    """The tasks that it was delegated from, the nearest first; as far as they are kept. Raises StoreUnavailable."""
    found: list[Task] = []
    while task.parent and len(found) < LONGEST_CHAIN:
        try:
            task = tasks.get(task.parent)
        except NotThere:
            break
        found.append(task)
    return tuple(found)


def descendants_of(tasks: Tasks, task: Task) -> tuple[Task, ...]:
    """All that hangs on it, each behind what it was delegated from. Raises StoreUnavailable."""
    found: list[Task] = []
    front = [task]
    while front and len(found) < MOST_LISTED:
        front = [child for one in front for child in tasks.delegated_from(one.id)]
        found += front
    return tuple(found[:MOST_LISTED])


def write_down(tasks: Tasks, root: Task, *, by: str, at: float) -> None:
    """Keep what has become of all that hangs on a task which `by` has just ended, or made less.

    Whatever somebody else changes in the same moment is left to the sweep. Raises StoreUnavailable.
    """
    kept = {root.id: root}
    for task in descendants_of(tasks, root):
        parent = kept.get(task.parent)
        left = task if parent is None else as_delegated(task, parent, at, by)
        kept[task.id] = left
        if left == task:
            continue
        try:
            tasks.change(left, was=task, by=by, at=at)
        except (ChangedMeanwhile, NotThere):
            continue


def end_paused(tasks: Tasks, agent: str, *, by: str, at: float) -> None:
    """Keep that a paused agent's tasks are over, with all that hangs on them: before it goes on, however soon that is.

    What somebody else changes in the same moment is looked at again. Raises StoreUnavailable.
    """
    seen: set[Task] = set()
    while left := [task for task in tasks.active() if _is_of(task, agent) and task not in seen]:
        for task in left:
            seen.add(task)
            ended = task.paused(at)
            try:
                tasks.change(ended, was=task, by=by, at=at)
            except (ChangedMeanwhile, NotThere):
                continue
            write_down(tasks, ended, by=by, at=at)


def _is_of(task: Task, agent: str) -> bool:
    return task.kind is Kind.AGENT and task.name == agent and not task.parent
