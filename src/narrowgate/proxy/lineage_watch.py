"""Pods, ReplicaSets and Jobs of a cluster, watched with the gate's own credential: each is placed at first sight.

So a pod that a controller makes is known before it calls, and what owned it is known although that is taken from it
later: orphaned, adopted, renamed in its references. What nobody known had made is not kept; there may be very much.

Nothing is permitted by this: while it does not work, whoever calls is asked for in the cluster, and what it alone would
have seen (what is orphaned before anybody asks) is missed and said aloud. What cannot be placed now keeps nobody else
from being placed: whoever may write owner references could otherwise blind the gate with one of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.lineage import AFTER_SECONDS, Placement, Sighted, qualified
from narrowgate.core.rights import LINEAGE_FOLLOWED
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.cluster_watch import WATCH_GRACE, ClusterWatch, Unfollowable, Watched
from narrowgate.proxy.lineage import Lineage
from narrowgate.proxy.lineage_reader import METADATA, METADATA_LIST, PAGE, Metadata, seen_in
from narrowgate.store.port import Lineage as KeptLineage
from narrowgate.store.port import StoreUnavailable

MOST_KEPT: Final = 100_000
"""Objects of one sort that are looked for among those that are there."""

MOST_AGAIN: Final = 100
"""Of those in one go: three calls a second are nothing to an API server, whatever is in its objects."""

MOST_UNPLACED: Final = 10_000
"""Objects that are looked at again because they could not be placed; the oldest goes until everything is listed."""

log = logging.getLogger("narrowgate.lineage")


class Pace(NamedTuple):
    """How often, in seconds."""

    watch: float = 60.0
    """Length of one watch: a connection that has silently died costs that long, and a little grace."""
    grace: float = WATCH_GRACE
    sweep: float = 3_600.0
    """From one look for what is gone to the next; what is kept of it until then harms nobody."""
    again: float = 30.0
    """From one look at what could not be placed to the next."""


class _Object(msgspec.Struct):
    """All that is read of a pod, a ReplicaSet, a Job."""

    metadata: Metadata


class LineageWatch:
    """Follows one cluster. One per gate: what it finds is in the store for all of its processes."""

    def __init__(self, cluster: Cluster, lineage: Lineage, kept: KeptLineage, pace: Pace | None = None) -> None:
        self.cluster = cluster
        self._lineage = lineage
        self._kept = kept
        self._pace = pace or Pace()
        self._problem: dict[str, str] = {}
        self._unplaced: dict[str, Sighted] = {}

    async def follow(self) -> None:
        """Place whatever comes up for as long as the gate runs."""
        async with asyncio.TaskGroup() as tasks:
            for group, resource in LINEAGE_FOLLOWED:
                tasks.create_task(self._watch_of(group, resource).follow())
            tasks.create_task(self._sweep())
            tasks.create_task(self._look_again())

    def _watch_of(self, group: str, resource: str) -> ClusterWatch[_Object]:
        name = qualified(resource, group)
        watched = Watched(
            path=f"/apis/{group}/v1/{resource}" if group else f"/api/v1/{resource}",
            name=name,
            page=PAGE,
            seconds=self._pace.watch,
            grace=self._pace.grace,
            list_as=METADATA_LIST,
            watch_as=METADATA,
            remedy="apply what `narrowgate clusters manifests` prints, or write serviceAccounts: {lineage: false}",
        )
        return ClusterWatch(self.cluster, watched, _Object, _Placing(self, name))

    async def _sweep(self) -> None:
        """Take down which of the others are gone: Deployments, CronJobs, operators' resources; there are few."""
        followed = {qualified(resource, group) for group, resource in LINEAGE_FOLLOWED}
        while True:
            await asyncio.sleep(self._pace.sweep)
            try:
                await self._find_lost()
                for kept in await asyncio.to_thread(self._kept.listed, self.cluster.name, limit=MOST_KEPT):
                    if kept.resource not in followed:
                        await self._sweep_one(kept)
            except StoreUnavailable as error:
                self.warn("what owns pods", str(error))

    async def _find_lost(self) -> None:
        """Find what was written by requests that were never answered, or too late: once they are forgotten, who sent
        them would be the author of nothing. Raises StoreUnavailable.
        """
        before = time.time() - AFTER_SECONDS
        for write in await asyncio.to_thread(partial(self._kept.lost, self.cluster.name, before, limit=MOST_KEPT)):
            try:
                await self._lineage.find(write)
            except ClusterSilent as error:
                self.warn(write.resource, str(error))

    async def _sweep_one(self, kept: Placement) -> None:
        """Nobody who cannot be asked about one of them keeps the others from being taken down."""
        try:
            if await self._lineage.is_gone(kept):
                await asyncio.to_thread(self._gone, kept.uid)
        except ClusterSilent as error:
            self.warn(kept.resource, str(error))

    async def _look_again(self) -> None:
        """Place what could not be placed when it came up: one after the other, so that it presses nobody."""
        while True:
            await asyncio.sleep(self._pace.again)
            for seen in list(self._unplaced.values())[:MOST_AGAIN]:
                if seen.uid in self._unplaced:
                    try:
                        await self._try_to_place(seen)
                    except StoreUnavailable as error:
                        self.warn("what could not be placed", str(error))

    async def place(self, seen: Sighted) -> None:
        """Keep who had it made; where that cannot be found out now, it is looked at again. Raises StoreUnavailable."""
        unplaced = self._unplaced.get(seen.uid)
        if unplaced is None or unplaced.owners != seen.owners:
            await self._try_to_place(seen)

    async def _try_to_place(self, seen: Sighted) -> None:
        try:
            await self._lineage.follow(self.cluster.name, seen)
        except ClusterSilent as error:
            # As it was at first: what is taken from its references later has made it all the same.
            first = self._unplaced.pop(seen.uid, None)
            if first is None:
                log.info("cluster %s: %s %s/%s: %s", self.cluster.name, seen.resource, seen.namespace, seen.name, error)
            if len(self._unplaced) >= MOST_UNPLACED:
                del self._unplaced[next(iter(self._unplaced))]
            self._unplaced[seen.uid] = first or seen
        else:
            self._unplaced.pop(seen.uid, None)

    async def forget(self, uid: str) -> None:
        """It was deleted; nothing with that UID comes again. Raises StoreUnavailable."""
        self._unplaced.pop(uid, None)
        await asyncio.to_thread(self._gone, uid)

    async def forget_others(self, name: str, there: set[str], before: float) -> None:
        """So was whatever else was kept of that resource before then (Unix seconds). Raises StoreUnavailable."""
        for kept in await asyncio.to_thread(self._kept.listed, self.cluster.name, name, limit=MOST_KEPT):
            if kept.uid not in there and kept.first_at < before:
                await self.forget(kept.uid)

    def warn(self, name: str, problem: str) -> None:
        """Say once that something is not followed, and why."""
        if problem != self._problem.get(name):
            self._problem[name] = problem
            log.warning("cluster %s: who has %s made is not followed: %s", self.cluster.name, name, problem)

    def works(self, name: str) -> None:
        """It is followed now."""
        self._problem.pop(name, None)

    def _gone(self, uid: str) -> None:
        self._kept.gone(self.cluster.name, uid, at=time.time())


class _Placing:
    """What is done with one resource that is watched; see `cluster_watch.Watcher`."""

    failures: tuple[type[Exception], ...] = (StoreUnavailable,)

    def __init__(self, watch: LineageWatch, name: str) -> None:
        self._watch = watch
        self._name = name
        self._began = 0.0
        self._there: set[str] = set()

    def begun(self) -> None:
        """See `Watcher`."""
        self._began = time.time()
        self._there = set()

    async def listed(self, items: Sequence[_Object]) -> None:
        """See `Watcher`."""
        for item in items:
            self._there.add(item.metadata.uid)
            await self._see(item)

    async def complete(self) -> None:
        """See `Watcher`."""
        # What was being made when the list was read may not be in it, and is kept from before it was sent.
        await self._watch.forget_others(self._name, self._there, self._began - AFTER_SECONDS)
        self._there = set()
        self._watch.works(self._name)

    async def told(self, kind: str, item: _Object) -> None:
        """See `Watcher`."""
        if kind in ("ADDED", "MODIFIED"):
            await self._see(item)
        elif kind == "DELETED":
            await self._watch.forget(item.metadata.uid)

    def alive(self) -> None:
        """See `Watcher`."""

    def failed(self, problem: str) -> None:
        """See `Watcher`."""
        self._watch.warn(self._name, problem)

    async def _see(self, item: _Object) -> None:
        seen = seen_in(item.metadata, self._name)
        if seen is None:
            raise Unfollowable(f"an object of {self._name} has no UID, or no date")
        await self._watch.place(seen)
