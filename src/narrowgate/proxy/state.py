"""What every request is judged by, held in memory: who is known, the rules in force, the clusters behind the gate.

A snapshot is never changed, only replaced. It is kept fresh by a feed (`follow`); when the feed has been silent too
long nobody is served, because a revocation might have happened that nobody here has heard of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from narrowgate.authenticators.port import Authenticator
from narrowgate.core.grants import Grant
from narrowgate.core.identity import Chain
from narrowgate.core.rulebook import Rulebook
from narrowgate.proxy.accounts import Account
from narrowgate.proxy.cluster import Cluster

FEED_SECONDS = 0.2
"""How often the store is asked whether anything changed; a revocation is effective within about this. Every wake-up of
an idle gate costs some 100 µs, so it is no oftener than the promise of one second needs."""
MAX_SILENCE = 5.0
"""Seconds without an answer from the store after which every request is refused."""

log = logging.getLogger("narrowgate.state")


class StateStale(Exception):
    """Nobody knows whether what is held in memory is still true: refuse."""


class Snapshot(msgspec.Struct, frozen=True):
    """One consistent view. `number` grows by one with each replacement."""

    number: int
    authenticator: Authenticator
    rulebook: Rulebook
    grants: Mapping[str, Grant] = {}
    """Of each active task, by its id."""
    pending: frozenset[str] = frozenset()
    """Ids of the approvals that wait for people."""
    ended: Mapping[str, str] = {}
    """Requests that somebody ended while they ran, by their audit id, with the sentence that says so."""

    def grants_of(self, chain: Chain) -> tuple[Grant, ...]:
        """What the members of the chain hold by the tasks that they came with."""
        if not self.grants:
            return ()
        return tuple(self.grants[member.task] for member in chain if member.task in self.grants)


class Loaded(msgspec.Struct, frozen=True):
    """What a snapshot is made of."""

    authenticator: Authenticator
    rulebook: Rulebook
    grants: Mapping[str, Grant] = {}
    pending: frozenset[str] = frozenset()
    ended: Mapping[str, str] = {}


class ServedCluster(msgspec.Struct, frozen=True):
    """A cluster and the account through which requests reach it."""

    cluster: Cluster
    account: Account


class State:
    """The current snapshot and the clusters. One per process, touched by its event loop only."""

    def __init__(self, clusters: Mapping[str, ServedCluster]) -> None:
        self.clusters = dict(clusters)
        self.on_change: list[Callable[[], None]] = []
        self._snapshot: Snapshot | None = None
        self._fresh_at = float("-inf")
        self.trouble = "nothing has been loaded yet"
        """What is wrong with the feed, for `/readyz`; empty while it is well."""

    def current(self, now: float) -> Snapshot:
        """The snapshot to judge by at loop time `now`. Raises StateStale."""
        if self._snapshot is None or now - self._fresh_at > MAX_SILENCE:
            raise StateStale(f"the gate does not know its current policies and agents: {self.trouble or 'no news'}")
        return self._snapshot

    def replace(
        self,
        authenticator: Authenticator,
        rulebook: Rulebook,
        grants: Mapping[str, Grant] | None = None,
        pending: frozenset[str] = frozenset(),
        ended: Mapping[str, str] | None = None,
    ) -> None:
        """Put a new view in force."""
        number = self._snapshot.number + 1 if self._snapshot is not None else 1
        self._snapshot = Snapshot(number, authenticator, rulebook, grants or {}, pending, ended or {})
        for notify in self.on_change:
            notify()

    @property
    def number(self) -> int:
        """The number of the current snapshot, 0 before the first."""
        return self._snapshot.number if self._snapshot is not None else 0

    async def follow(
        self,
        change_stamp: Callable[[], Awaitable[object]],
        load: Callable[[], Awaitable[Loaded]],
    ) -> None:
        """Keep the snapshot fresh for as long as the gate runs. `change_stamp` is cheap; `load` reads everything."""
        loop = asyncio.get_running_loop()
        seen: object = None
        while True:
            try:
                asked_at = loop.time()
                async with asyncio.timeout(MAX_SILENCE):
                    stamp = await change_stamp()
                    if stamp != seen or self._snapshot is None:
                        loaded = await load()
                        self.replace(loaded.authenticator, loaded.rulebook, loaded.grants, loaded.pending, loaded.ended)
                        seen = stamp
                # Fresh as of the question, not of the answer.
                self._fresh_at = asked_at
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 whatever the store's trouble is, silence turns it into refusals
                reason = str(error) or "the store does not answer"
                if reason != self.trouble:
                    log.error("the store cannot be followed: %s", reason)
                self.trouble = reason
            await asyncio.sleep(FEED_SECONDS)
