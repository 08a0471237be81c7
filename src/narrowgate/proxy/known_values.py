"""The values of one cluster's Secrets, read by the gate's own account and kept fresh, to be masked in text.

A list, then watches of WATCH_SECONDS each, so that one that has silently died is noticed. What is new is compiled in
another thread and put in force within SETTLE_SECONDS and what that takes; until the first list has come, and when no
watch has been alive for STALE_SECONDS, nobody knows what would have to be masked, and nothing is said to be known.

Values are held in memory and nowhere else. One that was changed or deleted is masked for FORMER_SECONDS more: the pods
that have it still print it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.secret_parts import RELEASE, Known, known_parts
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamConnection, UpstreamUnreachable
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import ResponseHead

PAGE: Final = 20
"""Secrets of one page of the list: etcd takes 1.5 MiB an object, and `cluster.OWN_ANSWER_LIMIT` holds that many."""

SECRETS_LIMIT: Final = 100_000
"""Secrets of a cluster that are read before the gate gives up: so many have too many values anyway."""

WATCH_SECONDS: Final = 30
"""Length of one watch; the API server ends it, and the next goes on where it ended."""

WATCH_GRACE: Final = 10
"""Seconds more, after which a watch that was not ended is taken for dead."""

STALE_SECONDS: Final = 60
"""Without a sign of life from a watch, after which answers with text are refused."""

EVENT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one event: more than an object of etcd's has in base64."""

SETTLE_SECONDS: Final = 0.2
"""Least time between two compilations, so that a rollout of many Secrets makes few."""

RETRY_SECONDS: Final = 1.0
"""Between two attempts to read Secrets; the API server notices neither."""

RECENT_LIMIT: Final = 500
"""New values that are compiled beside the others, in milliseconds; with more of them all are compiled anew."""

FORMER_SECONDS: Final = 3_600
"""How long a value is masked after it was changed or deleted."""

FORMER_LIMIT: Final = 64
"""Former values of one Secret; whoever rotates it faster than once a minute is left with the newest."""

log = logging.getLogger("narrowgate.known_values")

_SELECTED: Final = "fieldSelector=" + quote(f"type!={RELEASE}")
_Place = tuple[str, str]
_T = TypeVar("_T")


class _Metadata(msgspec.Struct):
    namespace: str = ""
    name: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    next_page: str = msgspec.field(default="", name="continue")


class _Secret(msgspec.Struct):
    """All that is read of a Secret."""

    metadata: _Metadata
    type: str = ""
    data: dict[str, str] | None = None


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[_Secret] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_list = msgspec.json.Decoder(_List).decode
_event = msgspec.json.Decoder(_Event).decode
_secret = msgspec.json.Decoder(_Secret).decode


class _Unreadable(Exception):
    """The API server answered what cannot be followed; the message says what. Everything is read anew."""


class KnownSecrets:
    """What is known of one cluster's Secrets. One per process and cluster that is registered so."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._of: dict[_Place, frozenset[Known]] = {}
        self._former: dict[_Place, dict[Known, float]] = {}
        self._settled = NOTHING_KNOWN
        self._settled_at = 0.0
        self._current: KnownValues | None = None
        self._fresh_at = float("-inf")
        self._changed = asyncio.Event()
        self._problem = "they have not been read yet"

    def current(self) -> KnownValues:
        """What is to be masked now. Raises ClusterNotReady where that is not known."""
        if self._current is None or self._clock() - self._fresh_at > STALE_SECONDS:
            raise ClusterNotReady(
                f"cluster {self._cluster.name!r} has its Secrets' values masked in text, and the gate does not know "
                f"them now: {self._problem or 'its watch of them is silent'}"
            )
        return self._current

    @property
    def trouble(self) -> str:
        """What is wrong, for `/readyz`; empty while values are known."""
        try:
            self.current()
        except ClusterNotReady:
            return f"answers with text are refused: {self._problem or 'the watch of its Secrets is silent'}"
        return ""

    async def follow(self) -> None:
        """Keep the values known for as long as the gate runs."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._compile())
            while True:
                try:
                    version = await self._read()
                    while True:
                        version = await self._watch(version)
                except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, _Unreadable, TimeoutError) as error:
                    problem = str(error) or "the API server was silent for too long"
                    if problem != self._problem:
                        log.warning("cluster %s: the values of its Secrets: %s", self._cluster.name, problem)
                    self._problem = problem
                await asyncio.sleep(RETRY_SECONDS)

    # --- reading

    async def _read(self) -> str:
        """Read all Secrets; the version to watch from."""
        began = self._clock()
        found: dict[_Place, frozenset[Known]] = {}
        after = ""
        while True:
            path = f"/api/v1/secrets?limit={PAGE}&{_SELECTED}" + (f"&continue={quote(after)}" if after else "")
            status, _, answer = await self._cluster.call("GET", path)
            if status != 200:
                raise _Unreadable(self._refused(status))
            page = _decoded(_list, answer)
            for secret in page.items or ():
                found[_place(secret)] = _values(secret)
            if len(found) > SECRETS_LIMIT:
                raise _Unreadable(f"there are more than {SECRETS_LIMIT} Secrets")
            after = page.metadata.next_page
            if not after:
                break
        for place in self._of.keys() - found.keys():
            self._hold(place, frozenset())
        for place, values in found.items():
            self._hold(place, values)
        self._is_alive(began)
        self._changed.set()
        return page.metadata.resource_version

    async def _watch(self, version: str) -> str:
        """Follow changes from that version on for a while; the version to go on from."""
        path = (
            f"/api/v1/secrets?watch=1&allowWatchBookmarks=1&timeoutSeconds={WATCH_SECONDS}"
            f"&resourceVersion={quote(version)}&{_SELECTED}"
        )
        async with asyncio.timeout(WATCH_SECONDS + WATCH_GRACE):
            connection, head = await self._cluster.opened(path)
            try:
                if head.status != 200:
                    raise _Unreadable(self._refused(head.status))
                self._is_alive(self._clock())
                events = _Events(head, connection, version, self._take)
                await connection.relay_to(events)
            except BaseException:
                connection.abort()
                raise
            connection.release()
        self._is_alive(self._clock())
        return events.version

    def _refused(self, status: int) -> str:
        if status in (401, 403):
            return (
                f"the gate's account may not list and watch secrets ({status}); give it that right, or take "
                "maskKnownValues out of the cluster's registration"
            )
        return f"the API server answers {status} to who lists or watches secrets"

    def _take(self, kind: str, secret: _Secret) -> None:
        """One event of the watch."""
        self._is_alive(self._clock())
        match kind:
            case "ADDED" | "MODIFIED":
                self._hold(_place(secret), _values(secret))
            case "DELETED":
                self._hold(_place(secret), frozenset())
            case _:
                return
        self._changed.set()

    def _is_alive(self, at: float) -> None:
        self._fresh_at = max(self._fresh_at, at)
        if self._current is not None:
            self._problem = ""

    def _hold(self, place: _Place, values: frozenset[Known]) -> None:
        """From now on these are a Secret's values; those it had before are former ones."""
        if gone := self._of.get(place, frozenset()) - values:
            former = self._former.setdefault(place, {})
            for value in gone:
                former.pop(value, None)
                former[value] = self._clock() + FORMER_SECONDS
            for value in list(former)[:-FORMER_LIMIT]:
                del former[value]
        if values:
            self._of[place] = values
        else:
            self._of.pop(place, None)

    # --- compiling

    async def _compile(self) -> None:
        """Put what is known in force whenever it has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._current = await self._compiled(self._wanted())
                self._problem = ""
            except Exception as error:  # noqa: BLE001 whatever it is (too many, no memory): nothing is known, so refused
                self._current = None
                self._problem = str(error) or "the values could not be compiled"
                log.error("cluster %s: the values of its Secrets: %s", self._cluster.name, self._problem)
            await asyncio.sleep(SETTLE_SECONDS)

    async def _compiled(self, wanted: frozenset[Known]) -> KnownValues:
        new = wanted - self._settled.values
        is_old = self._clock() - self._settled_at > FORMER_SECONDS and self._settled.values - wanted
        if self._current is None or len(new) > RECENT_LIMIT or is_old:
            self._settled = await asyncio.to_thread(KnownValues, wanted)
            self._settled_at = self._clock()
            return self._settled
        return await asyncio.to_thread(KnownValues, new, self._settled) if new else self._settled

    def _wanted(self) -> frozenset[Known]:
        now = self._clock()
        wanted: set[Known] = set()
        for values in self._of.values():
            wanted |= values
        for place, former in list(self._former.items()):
            left = {value: until for value, until in former.items() if until > now}
            if left:
                self._former[place] = left
                wanted |= left.keys()
            else:
                del self._former[place]
        return frozenset(wanted)


class _Events:
    """Takes the raw body of a watch, and tells each event once it is whole."""

    def __init__(
        self, head: ResponseHead, connection: UpstreamConnection, version: str, take: Callable[[str, _Secret], None]
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
                raise _Unreadable(f"an event of the watch has more than {EVENT_LIMIT} bytes")
            for line in lines:
                self._tell(line)
        except _Unreadable as error:
            self._connection.break_off(str(error))

    def _tell(self, line: bytes) -> None:
        if not line.strip():
            return
        event = _decoded(_event, line)
        if event.type == "ERROR":
            raise _Unreadable("the API server ended the watch of secrets, and they are read anew")
        secret = _decoded(_secret, bytes(event.object))
        self.version = secret.metadata.resource_version or self.version
        self._take(event.type, secret)


def _place(secret: _Secret) -> _Place:
    return secret.metadata.namespace, secret.metadata.name


def _values(secret: _Secret) -> frozenset[Known]:
    data = {}
    for key, encoded in (secret.data or {}).items():
        try:
            data[key] = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _Unreadable("a Secret's value is not base64") from None
    return frozenset(known_parts(secret.type, data))


def _decoded(decode: Callable[[bytes], _T], data: bytes) -> _T:
    try:
        return decode(data)
    except msgspec.MsgspecError as error:
        raise _Unreadable(f"its answer about secrets cannot be read: {error}") from None
