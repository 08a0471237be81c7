"""The ends of tasks written down that nobody asked for: time was over, or the agent was paused, ended or removed.

Nothing rests on this for what is let through: every request is judged by the clock and by the agent's record. It is
for the lists and for the record of changes, and it makes a pause final for the tasks of its time: an agent that may go
on later has nothing left from before.
"""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.store.port import ChangedMeanwhile, NotThere, Store, StoreUnavailable

SWEEP_SECONDS = 5.0
"""From one look to the next: lists lag that much behind, at most."""

BY = "gate"
"""Who changes are signed by that nobody asked for."""

log = logging.getLogger("narrowgate.control")


def ended_task(task: Task, agent: AgentRecord | None, now: float) -> Task:
    """The task as it is kept at `now` (Unix seconds), its holder's record being `agent`; itself where it goes on."""
    found = task.at(now)
    if found.is_final or task.kind is not Kind.AGENT:
        return found
    # An agent that was made anew under the old name is another one.
    if agent is None or agent.created_at > task.requested_at:
        reason = "the agent was removed"
    elif agent.paused:
        reason = "the agent was paused"
    else:
        reason = "the agent has ended" if refusal_of(agent, now) else ""
    return found.after(TaskEvent.REVOKED, now, reason) if reason else found


class TaskEnds:
    """Looks at the active tasks of a store again and again."""

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
        tasks = self._store.tasks.active()
        if not tasks:
            return
        agents = {agent.name: agent for agent in self._store.agents()}
        for task in tasks:
            ended = ended_task(task, agents.get(task.name), now)
            if ended != task:
                try:
                    self._store.tasks.change(ended, was=task, by=BY, at=now)
                except (ChangedMeanwhile, NotThere):
                    # Somebody else ended it this moment, or changed it: then it is looked at again.
                    continue
