"""The values of one cluster's Secrets, read by the gate's own account and kept fresh, to be masked in text.

What is new is compiled in another thread and put in force within SETTLE_SECONDS and what that takes; until the first
list has come, and when no watch has been alive for STALE_SECONDS, nobody knows what would have to be masked, and
nothing is said to be known.

Values are held in memory and nowhere else. One that was changed or deleted is masked for FORMER_SECONDS more: the pods
that have it still print it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.secret_parts import RELEASE, Known, known_parts
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.cluster_watch import ClusterWatch, Unfollowable, Watched

PAGE: Final = 20
"""Secrets of one page of the list: etcd takes 1.5 MiB an object, and `cluster.OWN_ANSWER_LIMIT` holds that many."""

SECRETS_LIMIT: Final = 100_000
"""Secrets of a cluster that are read before the gate gives up: so many have too many values anyway."""

WATCH_SECONDS: Final = 30
"""Length of one watch; the API server ends it, and the next goes on where it ended."""

STALE_SECONDS: Final = 60
"""Without a sign of life from a watch, after which answers with text are refused."""

SETTLE_SECONDS: Final = 0.2
"""Least time between two compilations, so that a rollout of many Secrets makes few."""

RECENT_LIMIT: Final = 500
"""New values that are compiled beside the others, in milliseconds; with more of them all are compiled anew."""

FORMER_SECONDS: Final = 3_600
"""How long a value is masked after it was changed or deleted."""

FORMER_LIMIT: Final = 64
"""Former values of one Secret; whoever rotates it faster than once a minute is left with the newest."""

log = logging.getLogger("narrowgate.known_values")

_Place = tuple[str, str]


class _Metadata(msgspec.Struct):
    namespace: str = ""
    name: str = ""


class _Secret(msgspec.Struct):
    """All that is read of a Secret."""

    metadata: _Metadata
    type: str = ""
    data: dict[str, str] | None = None


WATCHED: Final = Watched(
    path="/api/v1/secrets",
    name="secrets",
    selected="fieldSelector=" + quote(f"type!={RELEASE}"),
    page=PAGE,
    seconds=WATCH_SECONDS,
    remedy="give it that right, or take maskKnownValues out of the cluster's registration",
)


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
        self._began = 0.0
        self._found: dict[_Place, frozenset[Known]] = {}
        """What a list that is being read has shown so far."""

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
            tasks.create_task(ClusterWatch(self._cluster, WATCHED, _Secret, self).follow())

    # --- see `cluster_watch.Watcher`

    failures: tuple[type[Exception], ...] = ()
    """Nothing that it does can fail but by what has come."""

    def begun(self) -> None:
        """See `Watcher`."""
        self._began = self._clock()
        self._found = {}

    async def listed(self, items: Sequence[_Secret]) -> None:
        """See `Watcher`."""
        for secret in items:
            self._found[_place(secret)] = _values(secret)
        if len(self._found) > SECRETS_LIMIT:
            raise Unfollowable(f"there are more than {SECRETS_LIMIT} Secrets")

    async def complete(self) -> None:
        """See `Watcher`."""
        found, self._found = self._found, {}
        for place in self._of.keys() - found.keys():
            self._hold(place, frozenset())
        for place, values in found.items():
            self._hold(place, values)
        self._is_alive(self._began)
        self._changed.set()

    async def told(self, kind: str, item: _Secret) -> None:
        """See `Watcher`."""
        match kind:
            case "ADDED" | "MODIFIED":
                self._hold(_place(item), _values(item))
            case "DELETED":
                self._hold(_place(item), frozenset())
            case _:
                return
        self._changed.set()

    def alive(self) -> None:
        """See `Watcher`."""
        self._is_alive(self._clock())

    def failed(self, problem: str) -> None:
        """See `Watcher`."""
        if problem != self._problem:
            log.warning("cluster %s: the values of its Secrets: %s", self._cluster.name, problem)
        self._problem = problem

    # --- holding

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


def _place(secret: _Secret) -> _Place:
    return secret.metadata.namespace, secret.metadata.name


def _values(secret: _Secret) -> frozenset[Known]:
    data = {}
    for key, encoded in (secret.data or {}).items():
        try:
            data[key] = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Unfollowable("a Secret's value is not base64") from None
    return frozenset(known_parts(secret.type, data))
