"""What tasks leave behind, deleted once they are over, where the rules that they rested on say so.

One process of the gate does it, by what is kept in the store: after an outage, a restart or a kill it goes on where it
was. An object that was deleted and not written down as such is asked for once more, by its UID, and is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from narrowgate.core.leftovers import (
    GIVE_UP_SECONDS,
    Fate,
    Leftover,
    doubtful_write,
    foreign_hand,
    tree_of,
)
from narrowgate.core.lineage import Placement
from narrowgate.core.tasks import Task
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.deletion import ClusterAway, Deletion, NotDeleted
from narrowgate.store.port import NotThere, Store, StoreUnavailable
from narrowgate.store.task_trees import ancestors_of, descendants_of
from narrowgate.trail.segment_file import TrailUnwritable

LOOK_SECONDS = 1.0
"""From one look for what is to be deleted to the next: one query that mostly finds nothing."""

AT_ONCE = 100
"""Objects taken in hand at one look; the others wait for the next."""

log = logging.getLogger("narrowgate.control")


class WorkloadEnds:
    """Looks again and again for what is to be deleted."""

    def __init__(self, store: Store, clusters: Mapping[str, Cluster], deletion: Deletion) -> None:
        """`clusters` are the registered ones by name; their discovery is followed by somebody else."""
        self._store = store
        self._clusters = clusters
        self._deletion = deletion
        self._told: dict[str, str] = {}

    async def follow(self) -> None:
        """Delete for as long as the process runs. Store and trail may be away: nothing is done without them."""
        while True:
            try:
                await self.sweep(time.time())
                self._told.pop("", None)
            except (StoreUnavailable, TrailUnwritable) as error:
                self._tell("", f"what tasks leave behind cannot be deleted now: {error}")
            await asyncio.sleep(LOOK_SECONDS)

    async def sweep(self, now: float) -> None:
        """Try what is due at `now` (Unix seconds), each cluster by itself. Raises StoreUnavailable, TrailUnwritable."""
        due: defaultdict[str, list[Leftover]] = defaultdict(list)
        for leftover in await asyncio.to_thread(self._store.leftovers.due, now, AT_ONCE):
            due[leftover.cluster].append(leftover)
        try:
            async with asyncio.TaskGroup() as tasks:
                for cluster, leftovers in due.items():
                    tasks.create_task(self._in_cluster(cluster, leftovers, now))
        except BaseExceptionGroup as group:
            # Whichever cluster it was, store and trail are one for all; who asks wants the reason, not its wrapping.
            raise group.exceptions[0] from None

    async def _in_cluster(self, name: str, leftovers: Sequence[Leftover], now: float) -> None:
        """One after the other; a cluster that is away is not asked for the next one."""
        away = "" if name in self._clusters else f"cluster {name} is not registered any more"
        for leftover in leftovers:
            try:
                kept = await self._deleted(leftover, now, away)
            except ClusterAway as error:
                away = str(error)
                kept = leftover.after_failure(away, now)
            except NotDeleted as error:
                kept = leftover.after_failure(str(error), now)
            if kept.fate is Fate.WAITS:
                self._tell(name, f"task {kept.task} has left behind what is not deleted yet: {kept.why}")
            await asyncio.to_thread(self._store.leftovers.keep, kept)

    async def _deleted(self, leftover: Leftover, now: float, away: str) -> Leftover:
        """What is kept of it after another attempt; `away` says why its cluster cannot be asked. Raises NotDeleted."""
        task, placement, why = await asyncio.to_thread(self._looked_up, leftover)
        if placement is None:
            return leftover.ended(Fate.GONE)
        if why:
            log.info("task %s leaves %s %s behind: %s", task.id, placement.resource, placement.name, why)
            return leftover.ended(Fate.LEFT, why)
        if now > (task.ended_at or now) + GIVE_UP_SECONDS:
            return leftover.ended(Fate.GIVEN_UP, leftover.why)
        if away:
            raise NotDeleted(away)
        cluster = self._clusters[leftover.cluster]
        told, again = because(task), leftover.tries > 0
        fate = await self._deletion.delete(cluster, placement, task=task.id, because=told, again=again)
        self._told.pop(leftover.cluster, None)
        return leftover.ended(fate)

    def _looked_up(self, leftover: Leftover) -> tuple[Task, Placement | None, str]:
        """The task, the object where it is still kept, and why it is not the gate's to delete. Raises NotDeleted."""
        try:
            task = self._store.tasks.get(leftover.task)
        except NotThere:
            raise NotDeleted(f"task {leftover.task} is kept no more") from None
        placement = self._store.lineage.get(leftover.cluster, leftover.uid)
        if placement is None:
            return task, None, ""
        tree = tree_of(task, ancestors_of(self._store.tasks, task), descendants_of(self._store.tasks, task))
        if why := foreign_hand(placement, tree):
            return task, placement, why
        pending = self._store.lineage.pending(placement.cluster, placement.resource, placement.namespace)
        if doubt := doubtful_write(placement, tree, pending):
            raise NotDeleted(doubt)
        return task, placement, self._kept_by_owner(leftover, placement)

    def _kept_by_owner(self, leftover: Leftover, placement: Placement) -> str:
        """Why what controllers made stays; empty where all that ever owned it is gone. Raises NotDeleted.

        The pods of what is left are not touched: whoever keeps a Deployment keeps its pods.
        """
        if not leftover.is_owned:
            return ""
        for uid in placement.owners:
            owners = self._store.leftovers.of_object(leftover.cluster, uid)
            fate = next((one.fate for one in owners if one.task == leftover.task), Fate.LEFT)
            if fate in (Fate.LEFT, Fate.GIVEN_UP):
                return "it belongs to what stays"
            if fate is Fate.WAITS and self._store.lineage.is_there(leftover.cluster, uid):
                raise NotDeleted("what owns it is not deleted yet")
        return ""

    def _tell(self, about: str, problem: str) -> None:
        if self._told.get(about) != problem:
            self._told[about] = problem
            log.warning("%s", problem)


def because(task: Task) -> str:
    """Why the gate deletes what a task left behind, in the words of the record."""
    told = "" if task.ended_because in ("", task.state.value) else f": {task.ended_because}"
    return f"task {task.id} is over ({task.state.value}{told}), and deletes what was created under it"
