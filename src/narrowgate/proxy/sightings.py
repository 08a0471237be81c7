"""Where credentials are seen, so that two uses of one that do not go together are noticed: bookkeeping, no judgement.

An agent's credential that is used from two addresses at once is shared or stolen; a person's that is used where an
agent is at work may be in the agent's hands. Neither is refused: both have harmless explanations (a second replica, a
laptop that its owner and an agent share), and whoever wants to hide can choose another user agent. They go into the
record, with the request that reveals them, for people to look into.

Only credentials that were proven good enter, and everything is bounded. Time is an argument, in Unix seconds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Protocol, TypeVar

from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sighting import Sighting

AT_ONCE = 60.0
"""Seconds. Two addresses within this count as at once, and so does an answer that is still going out to the other one.
An agent that moved (a pod on another node) and was noticed for it is a line in the record; two that take turns each
minute must not be missed."""

LOOK_AGAIN = 20.0
"""Seconds between two close looks at a credential whose use does not change: what other processes see comes in then."""

TELL_AGAIN = 20.0
"""Seconds between two times that other processes are told of the same place; a few of these are at once (`AT_ONCE`)."""

MOST_TOLD = 2_000
"""Credentials that are gone through at a time to tell of them: under a millisecond of the event loop."""

AT_WORK = 600.0
"""Seconds after which an agent is not at work any more where it was last seen."""

MOST_CREDENTIALS = 10_000
"""Agents' credentials, and people's, that are remembered, each with about a kilobyte; the least recent goes."""

MOST_PLACES = 16
"""Addresses of one credential that are remembered, and things noticed about it in one window: more tell nothing new."""


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Origin(Protocol):
    """A client's connection, as far as it matters here."""

    peer: str
    """The client's address."""
    served_agent: str
    """The last agent that sent a request on it; empty where none did."""


class Place:
    """One address that an agent's credential is used from."""

    __slots__ = ("at", "is_ours", "network", "open", "told_at", "user_agent")

    def __init__(self, network: str, *, is_ours: bool) -> None:
        self.network = network
        self.is_ours = is_ours
        """Whether this process saw it."""
        self.told_at = float("-inf")
        self.at = float("-inf")
        """When a request from there last came or was answered."""
        self.open = 0
        """Requests that are being answered."""
        self.user_agent = ""

    def is_used(self, now: float) -> bool:
        """Whether what happens now happens at once with what happened here."""
        return self.open > 0 or now - self.at < AT_ONCE

    def is_news(self, now: float) -> bool:
        """Whether other processes should hear of it."""
        return self.is_ours and self.is_used(now) and not 0 <= now - self.told_at < TELL_AGAIN

    def told(self, proof: str, agent: str, now: float) -> Sighting:
        """As other processes hear of it, now."""
        self.told_at = now
        at = now if self.open else self.at
        return Sighting(proof=proof, agent=agent, network=self.network, user_agent=self.user_agent, at=at)


class _Looked:
    """When something was last looked at closely: until `look_at`, unless it changes, there is nothing new to see."""

    __slots__ = ("look_at", "looked_at", "noticed")

    def __init__(self) -> None:
        self.looked_at = 0.0
        self.look_at = 0.0
        self.noticed: dict[str, float] = {}
        """With what it was noticed, and when."""

    def look(self, now: float, tell_again: float) -> None:
        """Begin a look; what was noticed longer ago than `tell_again` seconds may be told again."""
        self.looked_at, self.look_at = now, now + LOOK_AGAIN
        self.noticed = {other: at for other, at in self.noticed.items() if at <= now < at + tell_again}

    def is_new(self, other: str, now: float) -> bool:
        """Whether this is to be told: it was not told lately, and there is room to remember that it was."""
        if other in self.noticed or len(self.noticed) >= MOST_PLACES:
            return False
        self.noticed[other] = now
        return True


class _AgentUse(_Looked):
    """An agent's credential, and where it is used."""

    __slots__ = ("agent", "places")

    def __init__(self, agent: str) -> None:
        super().__init__()
        self.agent = agent
        self.places: dict[str, Place] = {}
        """By address; what other processes saw, by network with a blank before it."""

    def keep(self, key: str, place: Place) -> None:
        """Remember a place as the latest; the one that was longest ago goes where there are too many."""
        self.places.pop(key, None)
        if len(self.places) >= MOST_PLACES:
            del self.places[next(iter(self.places))]
        self.places[key] = place


class _PersonUse(_Looked):
    """A person's sign-in, and what it was last seen with."""

    __slots__ = ("epoch", "peer", "served_agent", "user_agent")

    def __init__(self) -> None:
        super().__init__()
        self.epoch = -1
        self.peer = self.user_agent = self.served_agent = ""


class Sightings:
    """The memory of one process."""

    def __init__(self) -> None:
        self._agents: dict[str, _AgentUse] = {}
        self._people: dict[str, _PersonUse] = {}
        self._at_work: dict[tuple[str, str], tuple[str, float]] = {}
        """By network and user agent: the agent last seen there, and when."""
        self._to_tell: list[str] = []
        """Credentials to go through before everybody is told of all of them."""
        self._epoch = 0
        """Grows when an agent appears at a new place: whoever else is there must be looked at again."""
        self.noticed = 0
        """How often something was noticed."""

    def __len__(self) -> int:
        return len(self._agents) + len(self._people)

    def arrived(self, who: Identity, origin: Origin, user_agent: str, now: float) -> tuple[Place | None, str]:
        """Take down that a request came, and say in a sentence what it reveals; empty where that is nothing new.

        The place is for `left`, once the request is answered.
        """
        if who.kind is Kind.AGENT:
            origin.served_agent = who.name
            proof = proof_of(who) if who.claims else who.credential
            use = self._agents.get(proof)
            if use is not None and use.looked_at <= now < use.look_at:
                place = use.places.get(origin.peer)
                if place is not None and place.user_agent == user_agent and place.is_used(now):
                    place.open += 1
                    place.at = now
                    return place, ""
            return self._look_at_agent(who.name, proof, origin.peer, user_agent, now)
        if who.kind is Kind.PERSON:
            return None, self._look_at_person(who, origin, user_agent, now)
        return None, ""

    @staticmethod
    def left(place: Place | None, now: float) -> None:
        """Take down that a request which came from there is answered; from nowhere that is kept, where None."""
        if place is not None:
            place.open -= 1
            place.at = now

    def to_tell(self, now: float) -> tuple[Sighting, ...]:
        """What other processes should know: places in use of some credentials, of the next ones at the next call."""
        if not self._to_tell:
            self._to_tell = list(self._agents)
        found: list[Sighting] = []
        for proof in self._to_tell[-MOST_TOLD:]:
            if (use := self._agents.get(proof)) is not None:
                found += [place.told(proof, use.agent, now) for place in use.places.values() if place.is_news(now)]
        del self._to_tell[-MOST_TOLD:]
        return tuple(found)

    def hear(self, seen: Iterable[Sighting], now: float) -> None:
        """Take in what other processes saw; what that reveals is told with the next request here."""
        for one in seen:
            use = self._agents.get(one.proof)
            if use is None:
                use = _newest(self._agents, one.proof, _AgentUse(one.agent))
            place = use.places.get(f" {one.network}")
            if place is None or not place.is_used(now):
                use.look_at = 0.0
            place = place or Place(one.network, is_ours=False)
            place.at = max(place.at, one.at)
            use.keep(f" {one.network}", place)
            self._is_at_work(one.agent, one.network, one.user_agent, one.at)

    def _look_at_agent(self, name: str, proof: str, peer: str, user_agent: str, now: float) -> tuple[Place, str]:
        use = _newest(self._agents, proof, self._agents.pop(proof) if proof in self._agents else _AgentUse(name))
        use.look(now, AT_ONCE)
        place = use.places.get(peer) or Place(network_of(peer), is_ours=True)
        others = {other.network for other in use.places.values() if other.is_used(now)} - {place.network}
        use.keep(peer, place)
        place.open += 1
        place.at = now
        place.user_agent = user_agent
        self._is_at_work(name, place.network, user_agent, now)
        told = [other for other in others if use.is_new(" ".join(sorted((other, place.network))), now)]
        if not told:
            return place, ""
        self.noticed += 1
        *places, last = sorted((*told, place.network))
        return place, f"the credential of agent {name} is used from {', '.join(places)} and {last} at once"

    def _is_at_work(self, name: str, network: str, user_agent: str, at: float) -> None:
        before, seen_at = self._at_work.pop((network, user_agent), ("", at))
        if before != name or not at - seen_at < AT_WORK:
            self._epoch += 1
        # What another process saw may be older than what is known here.
        latest = (name, at) if at >= seen_at else (before, seen_at)
        _newest(self._at_work, (network, user_agent), latest)

    def _look_at_person(self, who: Identity, origin: Origin, user_agent: str, now: float) -> str:
        use = self._people.get(who.credential)
        if (
            use is not None
            and use.looked_at <= now < use.look_at
            and use.epoch == self._epoch
            and use.peer == origin.peer
            and use.user_agent == user_agent
            and use.served_agent == origin.served_agent
        ):
            return ""
        use = _newest(self._people, who.credential, _PersonUse() if use is None else self._people.pop(who.credential))
        use.look(now, AT_WORK)
        use.epoch = self._epoch
        use.peer, use.user_agent, use.served_agent = origin.peer, user_agent, origin.served_agent
        return self._reveals(who, use, now)

    def _reveals(self, who: Identity, use: _PersonUse, now: float) -> str:
        """Which agent is at work where this person's credential is used."""
        network = network_of(use.peer)
        agent, seen_at = self._at_work.get((network, use.user_agent), ("", now))
        agent = use.served_agent or (agent if now - seen_at < AT_WORK else "")
        if not agent or not use.is_new(agent, now):
            return ""
        self.noticed += 1
        where = "on a connection" if use.served_agent else f"from {network} with the same client"
        return f"the credential of person {who.name} is used {where} where agent {agent} is at work"


def proof_of(who: Identity) -> str:
    """What an agent proved itself by in the end: the key behind short credentials, of which each has its own id."""
    return next((value for name, value in who.claims if name == "key"), who.credential)


def network_of(address: str) -> str:
    """The place that an address stands for. In IPv6 a machine changes addresses within its /64 (RFC 8981)."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _newest(memory: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    """Put it at the end, where what came last is, and let the first go where there are too many."""
    memory[key] = value
    if len(memory) > MOST_CREDENTIALS:
        del memory[next(iter(memory))]
    return value
