"""The ends of tasks written down that nobody asked for: time was over, their holder is gone, or people said no.

Nothing rests on this for what is let through: every request is judged by the clock, by the agent's record, and by the
sign-ins of whoever took an emergency. It is for the lists and for the record of changes, and it makes a pause final for
the tasks of its time: an agent that may go on later has nothing left from before. What people said is told to a task
when they say it (`control.api.approvals`); here that is made good where a gate died in between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.answered_task import task_after_answer
from narrowgate.core.delegated_task import as_delegated, root_of
from narrowgate.core.identity import DELEGATES, Kind
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.store.port import ChangedMeanwhile, NotThere, Store, StoreUnavailable
from narrowgate.store.presence import people_present

SWEEP_SECONDS = 5.0
"""From one look to the next: lists lag that much behind, at most."""

BY = "gate"
"""Who changes are signed by that nobody asked for."""

log = logging.getLogger("narrowgate.control")


def ended_task(
    task: Task, agent: AgentRecord | None, now: float, *, present: bool = False, parent: Task | None = None
) -> Task:
    """An active task as it is kept at `now` (Unix seconds); itself where it goes on.

    `agent` is its holder's record, or that of the agent that its chain of delegates begins with; `present` whether the
    person who took an emergency is still signed in; `parent` the task that it was delegated from, as it is kept.
    """
    found = task.at(now)
    if found.parent and not found.is_final:
        gone = "the task that it was delegated from is kept no more"
        found = found.after(TaskEvent.REVOKED, now, gone) if parent is None else as_delegated(found, parent, now)
    if found.is_final:
        return found
    if task.kind is not Kind.AGENT:
        return found if present else found.after(TaskEvent.REVOKED, now, "the sign-in that it was taken with is over")
    # An agent that was made anew under the old name is another one.
    if agent is None or agent.created_at > task.requested_at:
        reason = "the agent was removed"
    elif agent.paused:
        return found.paused(now)
    else:
        reason = "the agent has ended" if refusal_of(agent, now) else ""
    return found.after(TaskEvent.REVOKED, now, reason) if reason else found


class TaskEnds:
    """Looks at the tasks of a store that are not over again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def follow(self) -> None:
        """Write down ends for as long as the process runs. A store that is away is asked again next time."""
        while True:
            try:
                await asyncio.to_thread(self.sweep, time.time())
            except StoreUnavailable as error:
                log.warning("the ends of tasks cannot be written down now: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    def sweep(self, now: float) -> None:
        """Write down every end that has come by `now`. Raises StoreUnavailable."""
        if tasks := self._store.tasks.active():
            agents = {agent.name: agent for agent in self._store.agents()}
            present = people_present(self._store.sign_ins, tasks, now)
            kept = {task.id: task for task in tasks}
            # Those of whom others hang come first, so that a whole tree ends in one sweep.
            for task in sorted(tasks, key=lambda one: (one.name.count(DELEGATES), one.id)):
                parent = self._parent(task, kept)
                agent = agents.get(root_of(task.name) if task.parent else task.name)
                ended = ended_task(task, agent, now, present=task.id in present, parent=parent)
                kept[task.id] = self._answered(ended, now) if task.emergency else ended
                self._keep(kept[task.id], task, now)
        for task in self._store.tasks.waiting():
            # What people said comes first: a no that was written down in time is why it ended.
            self._keep(self._answered(task, now).at(now), task, now)

    def _parent(self, task: Task, kept: Mapping[str, Task]) -> Task | None:
        """The task that it was delegated from, by what is known now; None where it is not kept any more, or none."""
        if not task.parent or task.parent in kept:
            return kept.get(task.parent)
        try:
            return self._store.tasks.get(task.parent)
        except NotThere:
            return None

    def _answered(self, task: Task, now: float) -> Task:
        for question in self._store.approvals.about_task(task.id):
            task = task_after_answer(task, question, now)
        return task

    def _keep(self, task: Task, was: Task, now: float) -> None:
        if task == was:
            return
        try:
            self._store.tasks.change(task, was=was, by=BY, at=now)
        except (ChangedMeanwhile, NotThere):
            # Somebody else ended it this moment, or changed it: then it is looked at again.
            return
