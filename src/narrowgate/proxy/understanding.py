"""The first two steps of the data path: who sends a request, and what it means, by one snapshot of what the gate knows.

Whatever here was waited for (the disk, the cluster, people) may have outlived its snapshot: `require_same` and
`look_anew` hold what was found before the wait to the snapshot after it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import assert_never

import msgspec

from narrowgate.authenticators.port import NotMine, Rejected, Unavailable
from narrowgate.core.body import must_read_body
from narrowgate.core.held_secrets import goes_into_pod
from narrowgate.core.identity import Chain, Identity, chain_behind
from narrowgate.core.pod_templates import enters_pod
from narrowgate.core.target import parse_target, split_cluster
from narrowgate.core.understand import UnknownResource, understand
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.endings import Misdirected, NobodyVouches, Unauthenticated
from narrowgate.proxy.exchange import Exchange, Understood, is_bare
from narrowgate.proxy.facts import Facts
from narrowgate.proxy.sightings import Sightings
from narrowgate.proxy.state import ServedCluster, Snapshot, State

log = logging.getLogger("narrowgate.pipeline")


class Understanding:
    """Finds out what there is to judge. Keeps nothing between requests but where credentials were seen."""

    def __init__(self, state: State, facts: Facts, sightings: Sightings) -> None:
        """Made inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._state = state
        self._facts = facts
        self._sightings = sightings

    def current(self) -> Snapshot:
        """What the gate knows at this moment. Raises StateStale."""
        return self._state.current(self._loop.time())

    async def identify(self, exchange: Exchange, snapshot: Snapshot) -> Chain:
        """Who sends it, and for whom. Raises Unauthenticated, and NobodyVouches where that cannot be told now."""
        answer = await snapshot.authenticator.authenticate(exchange.presented, exchange.received_at)
        match answer:
            case Identity():
                self.see(exchange, answer)
                return chain_behind(answer)
            case Rejected(reason=reason):
                raise Unauthenticated(reason)
            case NotMine():
                raise Unauthenticated("no credential that the gate knows: use the kubeconfig that the gate issued")
            case Unavailable(reason=reason):
                raise NobodyVouches(reason)
            case _:
                assert_never(answer)

    async def require_same(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> None:
        """Refuse a request whose credential stands for somebody else, or nobody, by now."""
        if await self.identify(exchange, snapshot) != who:
            raise Misdirected("who sends this changed while it was read: send it again", 403)

    def see(self, exchange: Exchange, sender: Identity) -> None:
        """Take down, once per request, where its credential is used."""
        if exchange.place is not None or exchange.noticed:
            return
        exchange.place, exchange.noticed = self._sightings.arrived(
            sender, exchange.client, exchange.user_agent, exchange.received_at
        )
        if exchange.noticed:
            log.warning("%s (request %s)", exchange.noticed, exchange.audit_id)

    def understand(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> Understood | None:
        """What the request means; None where that cannot be told before discovery is read again.

        Raises Malformed, Misdirected.
        """
        named, target = split_cluster(parse_target(exchange.head.target))
        served = self._cluster_for(named, who)
        cluster = served.cluster
        try:
            intent = understand(exchange.head.method, target, cluster.known(), cluster.name)
        except (UnknownResource, ClusterNotReady):
            return None
        return Understood(intent, target, served, snapshot)

    async def look_again(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> Understood:
        """What is unknown may have appeared a moment ago (a CRD, the cluster itself): look once more, then say no.

        Raises Malformed, Misdirected, UnknownResource, ClusterNotReady.
        """
        named, target = split_cluster(parse_target(exchange.head.target))
        served = self._cluster_for(named, who)
        cluster = served.cluster
        await cluster.refresh_discovery()
        intent = understand(exchange.head.method, target, cluster.known(), cluster.name)
        return Understood(intent, target, served, snapshot)

    async def read(self, exchange: Exchange, who: Chain, what: Understood) -> tuple[Understood, bytes | None]:
        """Read the body where it has a say; None stands for a body that is streamed (only behind `proxy`)."""
        if not must_read_body(what.intent.info):
            return what, b"" if exchange.head.framing.empty else self._facts.unread(exchange, what)
        return await self._facts.read(exchange, who, what)

    async def look_anew(self, exchange: Exchange, who: Chain) -> tuple[Understood, bytes]:
        """A request that waited, looked at as if it came now: nothing seen before the wait need hold any more."""
        snapshot = self.current()
        await self.require_same(exchange, who, snapshot)
        what = self.understand(exchange, who, snapshot) or await self.look_again(exchange, who, snapshot)
        if not must_read_body(what.intent.info) or is_bare(exchange.head):
            return await self.entering(exchange, who, what), b""
        complete, body = await self._facts.complete(exchange, who, what)
        return await self.entering(exchange, who, complete), body

    async def entering(self, exchange: Exchange, who: Chain, what: Understood) -> Understood:
        """What is in the pod that a request goes into, by the snapshot of this very moment."""
        while goes_into_pod(what.intent.info) or enters_pod(what.intent.info):
            looked = await self._facts.into_pod(exchange, who, what)
            current = self.current()
            if current is what.snapshot:
                return looked
            what = msgspec.structs.replace(what, snapshot=current)
            await self.require_same(exchange, who, current)
        return what

    def _cluster_for(self, named: str, who: Chain) -> ServedCluster:
        clusters = self._state.clusters
        bound = who[-1].cluster
        if bound and named and named != bound:
            raise Misdirected(f"this credential opens cluster {bound!r}, and the path names another one", 403)
        name = named or bound
        if not name and len(clusters) == 1:
            return next(iter(clusters.values()))
        served = clusters.get(name)
        if served is not None:
            return served
        snapshot = self.current()
        usable = snapshot.rulebook.clusters_of(who[-1], sorted(clusters))
        choice = ", ".join(usable) or "none that this identity may use"
        asked = f"there is no cluster {name!r} for you" if name else "the request does not say which cluster it is for"
        raise Misdirected(f"{asked}: write /clusters/<name>/... with one of: {choice}")
