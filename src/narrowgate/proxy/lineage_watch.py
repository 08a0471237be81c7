"""Pods, ReplicaSets and Jobs of a cluster, watched with the gate's own credential: each is placed at first sight.

So a pod that a controller makes is known before it calls, and what owned it is known although that is taken from it
later: orphaned, adopted, renamed in its references. What nobody known had made is not kept; there may be very much.

A list, then watches of WATCH_SECONDS each. Nothing is permitted by this: while it does not work, whoever calls is asked
for in the cluster, and what it alone would have seen (what is orphaned before anybody asks) is missed and said aloud.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final
from urllib.parse import quote

import msgspec

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.lineage import qualified
from narrowgate.core.rights import LINEAGE_FOLLOWED
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.lineage import METADATA, Lineage, Metadata, seen_in
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamConnection, UpstreamUnreachable
from narrowgate.store.port import Lineage as KeptLineage
from narrowgate.store.port import StoreUnavailable
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import ResponseHead

PAGE: Final = 500
"""Objects of one page of a list, of which only metadata comes."""

WATCH_SECONDS: Final = 60
"""Length of one watch; the API server ends it, and the next goes on where it ended."""

WATCH_GRACE: Final = 10
"""Seconds more, after which a watch that was not ended is taken for dead."""

EVENT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one event: more than an object of etcd's has."""

SWEEP_SECONDS: Final = 3_600.0
"""From one look for what is gone to the next; what is kept of it until then harms nobody."""

RETRY_SECONDS: Final = 1.0
"""Between two attempts; the API server notices neither."""

MOST_KEPT: Final = 100_000
"""Objects of one sort that are looked for among those that are there."""

MOST_WAITING: Final = 10_000
"""Events that wait to be looked at; with more of them everything is listed anew."""

log = logging.getLogger("narrowgate.lineage")


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    next_page: str = msgspec.field(default="", name="continue")


class _Versioned(Metadata):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Object(msgspec.Struct):
    metadata: _Versioned


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Object] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_list = msgspec.json.Decoder(_List).decode
_event = msgspec.json.Decoder(_Event).decode
_object = msgspec.json.Decoder(_Object).decode


class _Unreadable(Exception):
    """The API server answered what cannot be followed; the message says what. Everything is read anew."""


class LineageWatch:
    """Follows one cluster. One per gate: what it finds is in the store for all of its processes."""

    def __init__(self, cluster: Cluster, lineage: Lineage, kept: KeptLineage) -> None:
        self.cluster = cluster
        self._lineage = lineage
        self._kept = kept
        self._problem: dict[str, str] = {}

    async def follow(self) -> None:
        """Place whatever comes up for as long as the gate runs."""
        async with asyncio.TaskGroup() as tasks:
            for group, resource in LINEAGE_FOLLOWED:
                tasks.create_task(self._follow(group, resource))
            tasks.create_task(self._sweep())

    async def _follow(self, group: str, resource: str) -> None:
        name = qualified(resource, group)
        path = f"/apis/{group}/v1/{resource}" if group else f"/api/v1/{resource}"
        while True:
            try:
                version = await self._read(path, name)
                while True:
                    version = await self._watch(path, name, version)
            except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, _Unreadable, TimeoutError) as error:
                self._told(name, str(error) or "the API server was silent for too long")
            except (ClusterSilent, StoreUnavailable) as error:
                self._told(name, str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _sweep(self) -> None:
        """Take down which of the others are gone: Deployments, CronJobs, operators' resources; there are few."""
        followed = {qualified(resource, group) for group, resource in LINEAGE_FOLLOWED}
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                for kept in await asyncio.to_thread(self._kept.listed, self.cluster.name, limit=MOST_KEPT):
                    if kept.resource not in followed and await self._lineage.is_gone(kept):
                        await asyncio.to_thread(self._gone, kept.uid)
            except (ClusterSilent, StoreUnavailable) as error:
                self._told("what owns pods", str(error))

    def _told(self, name: str, problem: str) -> None:
        if problem != self._problem.get(name):
            self._problem[name] = problem
            log.warning("cluster %s: who has %s made is not followed: %s", self.cluster.name, name, problem)

    async def _read(self, path: str, name: str) -> str:
        """Place all that are there, and take down which are gone; the version to watch from."""
        began, after, there = time.time(), "", set()
        while True:
            page_path = f"{path}?limit={PAGE}" + (f"&continue={quote(after)}" if after else "")
            status, _, answer = await self.cluster.call("GET", page_path, accept=_AS_LIST)
            if status != 200:
                raise _Unreadable(_refused(status, name))
            page = _decoded_list(answer)
            for one in page.items or ():
                there.add(one.metadata.uid)
                await self._see(one.metadata, name)
            after = page.metadata.next_page
            if not after:
                break
        for kept in await asyncio.to_thread(self._kept.listed, self.cluster.name, name, limit=MOST_KEPT):
            if kept.uid not in there and kept.first_at < began:
                await asyncio.to_thread(self._gone, kept.uid)
        self._problem.pop(name, None)
        return page.metadata.resource_version

    async def _watch(self, path: str, name: str, version: str) -> str:
        """Follow changes from that version on for a while; the version to go on from."""
        target = f"{path}?watch=1&allowWatchBookmarks=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={quote(version)}"
        waiting: asyncio.Queue[tuple[str, _Versioned]] = asyncio.Queue(MOST_WAITING)
        try:
            async with asyncio.timeout(WATCH_SECONDS + WATCH_GRACE), asyncio.TaskGroup() as tasks:
                taking = tasks.create_task(self._take(waiting, name))
                version = await self._events(target, name, version, waiting)
                await waiting.join()
                taking.cancel()
        except BaseExceptionGroup as group:
            # Either half may end it; what follows asks for the reason, not for its wrapping.
            raise group.exceptions[0] from None
        return version

    async def _events(
        self, target: str, name: str, version: str, waiting: asyncio.Queue[tuple[str, _Versioned]]
    ) -> str:
        connection, head = await self.cluster.opened(target, accept=METADATA)
        try:
            if head.status != 200:
                raise _Unreadable(_refused(head.status, name))
            events = _Events(head, connection, version, waiting)
            await connection.relay_to(events)
        except BaseException:
            connection.abort()
            raise
        connection.release()
        return events.version

    async def _take(self, waiting: asyncio.Queue[tuple[str, _Versioned]], name: str) -> None:
        while True:
            kind, metadata = await waiting.get()
            if kind in ("ADDED", "MODIFIED"):
                await self._see(metadata, name)
            elif kind == "DELETED":
                await asyncio.to_thread(self._gone, metadata.uid)
            waiting.task_done()

    async def _see(self, metadata: Metadata, name: str) -> None:
        seen = seen_in(metadata, name)
        if seen is None:
            raise _Unreadable(f"an object of {name} has no UID, or no date")
        await self._lineage.follow(self.cluster.name, seen)

    def _gone(self, uid: str) -> None:
        self._kept.gone(self.cluster.name, uid, at=time.time())


_AS_LIST: Final = b"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class _Events:
    """Takes the raw body of a watch, and passes each event on once it is whole."""

    def __init__(
        self,
        head: ResponseHead,
        connection: UpstreamConnection,
        version: str,
        waiting: asyncio.Queue[tuple[str, _Versioned]],
    ) -> None:
        self.version = version
        """Of the last object or bookmark that came."""
        self._connection = connection
        self._waiting = waiting
        self._payload: list[bytes] = []
        self._body: Body = follow(head.framing, strict=False, payload=self._payload)
        self._until_close = head.framing.until_close
        self._rest = b""

    def write(self, data: bytes) -> None:
        """See `Sink`."""
        if self._until_close:
            self._payload.append(data)
        else:
            self._body.feed(data)
        lines = (self._rest + b"".join(self._payload)).split(b"\n")
        self._payload.clear()
        self._rest = lines.pop()
        try:
            if len(self._rest) > EVENT_LIMIT:
                raise _Unreadable(f"an event of the watch has more than {EVENT_LIMIT} bytes")
            for line in lines:
                self._tell(line)
        except _Unreadable as error:
            self._connection.break_off(str(error))

    def _tell(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            event = _event(line)
            if event.type == "ERROR":
                raise _Unreadable("the API server ended the watch, and everything is read anew")
            metadata = _object(bytes(event.object)).metadata
        except msgspec.MsgspecError as error:
            raise _Unreadable(f"an event of the watch cannot be read: {error}") from None
        self.version = metadata.resource_version or self.version
        if event.type == "BOOKMARK":
            return
        try:
            self._waiting.put_nowait((event.type, metadata))
        except asyncio.QueueFull:
            raise _Unreadable(f"more than {MOST_WAITING} events wait to be looked at") from None


def _decoded_list(answer: bytes) -> _List:
    try:
        return _list(answer)
    except msgspec.MsgspecError as error:
        raise _Unreadable(f"its answer cannot be read: {error}") from None


def _refused(status: int, name: str) -> str:
    if status in (401, 403):
        return (
            f"the gate's account may not list and watch {name} ({status}); apply what `narrowgate clusters manifests` "
            "prints, or write serviceAccounts: {lineage: false}"
        )
    return f"the API server answers {status} to who lists or watches {name}"
