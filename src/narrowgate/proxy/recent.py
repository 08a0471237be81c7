"""What was allowed a moment ago, by the very bytes that asked for it.

Clients ask the same thing again and again: the same head, credential included, on one connection. For requests that
are a head and nothing else, who sends it, what it means and that it is allowed is remembered for at most ten seconds,
and only under the snapshot and discovery that it was judged by: a changed policy, agent or API forgets it at once. What
TLS proved of the client counts with the head: the same bytes may be somebody else's on another connection.
What is refused is never remembered, and every request is recorded by itself.
"""

from __future__ import annotations

import msgspec

from narrowgate.core.audit import RequestEvents
from narrowgate.core.decision import Allow
from narrowgate.core.discovery import Discovery
from narrowgate.core.identity import Chain
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.state import Snapshot
from narrowgate.wire.http1 import MAX_REMEMBERED_HEAD

SECONDS = 10.0
"""Longest that an Allow is used again."""
MAX_KEPT = 1024
"""Heads kept, each with some 4 KB; when it is full everything is forgotten and found again."""


class Judged(msgspec.Struct, frozen=True):
    """A request that was allowed: everything that the next one with the same bytes needs."""

    who: Chain
    what: Understood
    allowed: Allow
    events: RequestEvents
    """For `RequestEvents.again`."""
    discovery: Discovery | None
    until: float
    """Unix seconds."""


class Recent:
    """The memory of one process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, str, bytes], Judged] = {}

    def find(self, exchange: Exchange, snapshot: Snapshot) -> Judged | None:
        """The judgement on the same bytes of the same client, if nothing that it rests on has changed."""
        found = self._kept.get(_sent_by(exchange))
        if (
            found is None
            or found.what.snapshot is not snapshot
            or not exchange.received_at < found.until
            or found.what.served.cluster.discovery is not found.discovery
        ):
            return None
        return found

    def keep(self, exchange: Exchange, who: Chain, what: Understood, allowed: Allow, events: RequestEvents) -> None:
        """Remember an Allow. The caller has seen to it that the request is a head and nothing else."""
        if len(exchange.head.block) > MAX_REMEMBERED_HEAD or exchange.head.upgrade:
            return
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        until = exchange.received_at + SECONDS
        if allowed.deadline is not None:
            until = min(until, allowed.deadline)
        self._kept[_sent_by(exchange)] = Judged(who, what, allowed, events, what.served.cluster.discovery, until)


def _sent_by(exchange: Exchange) -> tuple[bytes, str, bytes]:
    """Everything that a judgement rests on and that the client chose."""
    return exchange.head.block, exchange.client.peer, exchange.client.certificate
