"""Objects of one sort in one cluster, listed and then watched with the gate's own credential, for as long as it runs.

A list in pages, then watches of limited length, so that one that has silently died is noticed. Whatever cannot be
followed (410 Gone, an answer nobody can read, a connection that broke, more than can be kept up with) is listed anew.
What is done with what comes up belongs to whoever watches: a `Watcher`, that hears of everything in the order in which
it came, and of the next only when it is done with the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamConnection, UpstreamUnreachable
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import ResponseHead

WATCH_GRACE: Final = 10.0
"""Seconds after a watch should have been ended, after which it is taken for dead."""

EVENT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one event: more than an object of etcd's has, in base64 too."""

MOST_WAITING: Final = 10_000
"""Events that wait to be looked at; with more of them everything is listed anew."""

RETRY_SECONDS: Final = 1.0
"""Before what could not be followed is listed anew for the first time; twice that before the second, and so on."""

RETRY_LIMIT: Final = 8.0
"""Seconds between two lists at most: an API server that is back is noticed by then, and one in need not pressed."""

OK: Final = 200
REFUSED: Final = (401, 403)

_Item = TypeVar("_Item")
_Watched = TypeVar("_Watched", contravariant=True)


class Unfollowable(Exception):
    """What came cannot be followed; the message says what, for the operator. Everything is listed anew."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and how."""

    path: str
    """Of the collection, as `/api/v1/secrets`."""
    name: str
    """Of the resource, for people: `secrets`, `jobs.batch`."""
    selected: str = ""
    """A query that narrows it down, as `fieldSelector=type%3DOpaque`."""
    page: int
    """Objects of one page of a list."""
    seconds: float
    """Length of one watch; the API server ends it, and the next goes on where it ended."""
    grace: float = WATCH_GRACE
    """Seconds more, after which it is taken for dead."""
    list_as: bytes = b"application/json"
    """What is accepted as a list."""
    watch_as: bytes = b"application/json"
    """What is accepted as an event's object."""
    remedy: str
    """What an operator does whose gate may not list and watch that."""


class Watcher(Protocol[_Watched]):
    """What is done with what comes up. Whatever of `begun`, `listed`, `complete` and `told` raises Unfollowable or one
    of `failures` ends the watch, and is told to `failed`."""

    failures: tuple[type[Exception], ...]
    """What it raises besides, where it cannot do its part now."""

    def begun(self) -> None:
        """A list of everything begins."""
        ...

    async def listed(self, items: Sequence[_Watched]) -> None:
        """A page of it."""
        ...

    async def complete(self) -> None:
        """That was all of it."""
        ...

    async def told(self, kind: str, item: _Watched) -> None:
        """An event: `ADDED`, `MODIFIED` or `DELETED`."""
        ...

    def alive(self) -> None:
        """A watch has given a sign of life: an answer, an event, a bookmark, an end in good order."""
        ...

    def failed(self, problem: str) -> None:
        """It cannot be followed now, and will be listed anew."""
        ...


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    next_page: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ItemMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Versioned(msgspec.Struct):
    metadata: _ItemMetadata


_list = msgspec.json.Decoder(_List).decode
_event = msgspec.json.Decoder(_Event).decode
_versioned = msgspec.json.Decoder(_Versioned).decode


class ClusterWatch(Generic[_Item]):
    """Follows what is watched in one cluster, and tells its watcher."""

    def __init__(self, cluster: Cluster, watched: Watched, item: type[_Item], watcher: Watcher[_Item]) -> None:
        """`item` is what is read of an object."""
        self._cluster = cluster
        self._watched = watched
        self._decode = msgspec.json.Decoder(item).decode
        self._watcher = watcher

    async def follow(self) -> None:
        """Watch, for as long as the gate runs."""
        pause = RETRY_SECONDS
        while True:
            try:
                version = await self._read()
                while True:
                    began, before = asyncio.get_running_loop().time(), version
                    version = await self._watch(version)
                    pause = RETRY_SECONDS
                    lasted = asyncio.get_running_loop().time() - began
                    if version == before and lasted < RETRY_SECONDS:
                        # Ended before anything came, as by a proxy in between: not again and again without a breath.
                        await asyncio.sleep(RETRY_SECONDS - lasted)
            except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, Unfollowable, TimeoutError) as error:
                self._watcher.failed(str(error) or "the API server was silent for too long")
            except self._watcher.failures as error:
                self._watcher.failed(str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_LIMIT)

    async def _read(self) -> str:
        """List everything; the version to watch from."""
        self._watcher.begun()
        after = ""
        while True:
            query = [f"limit={self._watched.page}", self._watched.selected, f"continue={quote(after)}" if after else ""]
            target = f"{self._watched.path}?{'&'.join(filter(None, query))}"
            status, _, answer = await self._cluster.call("GET", target, accept=self._watched.list_as)
            if status != OK:
                raise Unfollowable(self._refused(status))
            try:
                page = _list(answer)
                items = [self._decode(bytes(one)) for one in page.items or ()]
            except msgspec.MsgspecError as error:
                raise Unfollowable(f"a list of {self._watched.name} cannot be read: {error}") from None
            await self._watcher.listed(items)
            after = page.metadata.next_page
            if not after:
                await self._watcher.complete()
                return page.metadata.resource_version

    async def _watch(self, version: str) -> str:
        """Follow changes from that version on for a while; the version to go on from, when all of it was told."""
        watched = self._watched
        query = [
            "watch=1",
            "allowWatchBookmarks=1",
            f"timeoutSeconds={max(1, round(watched.seconds))}",
            f"resourceVersion={quote(version)}",
            watched.selected,
        ]
        target = f"{watched.path}?{'&'.join(filter(None, query))}"
        waiting: asyncio.Queue[tuple[str, _Item]] = asyncio.Queue(MOST_WAITING)
        try:
            async with asyncio.timeout(watched.seconds + watched.grace), asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._tell(waiting))
                version = await self._events(target, version, waiting)
                await waiting.join()
                telling.cancel()
        except BaseExceptionGroup as group:
            # Either half may end it; what follows asks for the reason, not for its wrapping.
            raise group.exceptions[0] from None
        self._watcher.alive()
        return version

    async def _events(self, target: str, version: str, waiting: asyncio.Queue[tuple[str, _Item]]) -> str:
        connection, head = await self._cluster.opened(target, accept=self._watched.watch_as)
        try:
            if head.status != OK:
                raise Unfollowable(self._refused(head.status))
            self._watcher.alive()
            events = _Events(head, connection, version, self._taker(waiting))
            await connection.relay_to(events)
        except BaseException:
            connection.abort()
            raise
        connection.release()
        return events.version

    def _taker(self, waiting: asyncio.Queue[tuple[str, _Item]]) -> Callable[[_Event], None]:
        def take(event: _Event) -> None:
            self._watcher.alive()
            if event.type == "BOOKMARK":
                return
            try:
                waiting.put_nowait((event.type, self._decode(bytes(event.object))))
            except asyncio.QueueFull:
                raise Unfollowable(f"more than {MOST_WAITING} events wait to be looked at") from None

        return take

    async def _tell(self, waiting: asyncio.Queue[tuple[str, _Item]]) -> None:
        while True:
            await self._watcher.told(*await waiting.get())
            waiting.task_done()

    def _refused(self, status: int) -> str:
        name = self._watched.name
        if status in REFUSED:
            return f"the gate's account may not list and watch {name} ({status}); {self._watched.remedy}"
        return f"the API server answers {status} to who lists or watches {name}"


class _Events:
    """Takes the raw body of a watch, and passes each event on once it is whole."""

    def __init__(
        self, head: ResponseHead, connection: UpstreamConnection, version: str, take: Callable[[_Event], None]
    ) -> None:
        self.version = version
        """Of the last object or bookmark that came."""
        self._connection = connection
        self._take = take
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
                raise Unfollowable(f"an event of the watch has more than {EVENT_LIMIT} bytes")
            for line in lines:
                self._pass_on(line)
        except msgspec.MsgspecError as error:
            self._connection.break_off(f"an event of the watch cannot be read: {error}")
        except Unfollowable as error:
            self._connection.break_off(str(error))

    def _pass_on(self, line: bytes) -> None:
        if not line.strip():
            return
        event = _event(line)
        if event.type == "ERROR":
            raise Unfollowable("the API server ended the watch, and everything is listed anew")
        self.version = _versioned(bytes(event.object)).metadata.resource_version or self.version
        self._take(event)
