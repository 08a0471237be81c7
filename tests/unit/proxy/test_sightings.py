"""What two uses of credentials reveal: sentences for the record, at their time, once, within bounds."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sighting import Sighting
from narrowgate.proxy.sightings import (
    AT_ONCE,
    AT_WORK,
    MOST_CREDENTIALS,
    MOST_PLACES,
    MOST_TOLD,
    Place,
    Sightings,
    network_of,
)

AGENT = Identity(kind=Kind.AGENT, name="ci-bot", proven_by="agent-credential", credential="abc", owner="person:alice")
PERSON = Identity(kind=Kind.PERSON, name="alice", proven_by="oidc:corp", credential="session-1")
WORKLOAD = Identity(kind=Kind.WORKLOAD, name="ci/deployer", proven_by="service-account", credential="jti")
NOW = 1_700_000_000.0
BOTH = "the credential of agent ci-bot is used from 10.0.0.1 and 10.0.0.2 at once"


class Client:
    """A connection, as far as sightings look at it."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.served_agent = ""


class Watched:
    """Sightings, told in the order of time."""

    def __init__(self) -> None:
        self.sightings = Sightings()

    def once(self, who: Identity, peer: str, at: float, agent: str = "kubectl/v1.33") -> str:
        """A request that is answered at once, on a connection of its own."""
        place, noticed = self.sightings.arrived(who, Client(peer), agent, NOW + at)
        if place is not None:
            self.sightings.left(place, NOW + at)
        return noticed

    def stream(self, who: Identity, peer: str, at: float) -> Place:
        place, _ = self.sightings.arrived(who, Client(peer), "kubectl/v1.33", NOW + at)
        assert place is not None
        return place


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_one_place_is_nothing_to_notice_however_often_and_with_whatever_client(watched: Watched) -> None:
    for at in range(0, 1000, 7):
        for agent in ("kubectl/v1.33", "helm/3", ""):
            assert watched.once(AGENT, "10.0.0.1", at, agent) == ""
    assert watched.sightings.noticed == 0


def test_two_places_within_the_window_are_noticed_by_the_request_that_reveals_it(watched: Watched) -> None:
    assert watched.once(AGENT, "10.0.0.1", 0) == ""
    assert watched.once(AGENT, "10.0.0.2", AT_ONCE - 1) == BOTH
    assert watched.sightings.noticed == 1


def test_an_agent_that_moved_is_left_alone(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 0)
    assert watched.once(AGENT, "10.0.0.2", AT_ONCE) == ""


def test_a_place_where_an_answer_is_still_going_out_is_in_use(watched: Watched) -> None:
    place = watched.stream(AGENT, "10.0.0.1", 0)
    assert watched.once(AGENT, "10.0.0.2", 10 * AT_ONCE) == BOTH
    watched.sightings.left(place, NOW + 20 * AT_ONCE)
    assert watched.once(AGENT, "10.0.0.2", 21 * AT_ONCE - 1) == BOTH
    assert watched.once(AGENT, "10.0.0.2", 30 * AT_ONCE) == ""


def test_the_same_pair_is_told_once_in_a_window_and_again_after_it(watched: Watched) -> None:
    asked = [(second, peer) for second in range(180) for peer in ("10.0.0.1", "10.0.0.2")]
    told = [(second, watched.once(AGENT, peer, second)) for second, peer in asked]
    assert [second for second, noticed in told if noticed] == [0, 60, 120]


def test_a_third_place_is_told_with_the_others(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.2", 0)
    watched.once(AGENT, "10.0.0.1", 1)
    assert watched.once(AGENT, "10.0.0.3", 2).endswith("from 10.0.0.1, 10.0.0.2 and 10.0.0.3 at once")


def test_an_old_place_that_is_used_again_is_noticed(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 0)
    for at in (100, 110, 120):
        watched.once(AGENT, "10.0.0.2", at)
    assert watched.once(AGENT, "10.0.0.1", 121) == BOTH


def test_other_credentials_elsewhere_are_other_affairs(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 0)
    assert watched.once(msgspec.structs.replace(AGENT, credential="rotated"), "10.0.0.2", 1) == ""


def test_short_credentials_of_one_key_are_one(watched: Watched) -> None:
    by_key = [msgspec.structs.replace(AGENT, credential=name, claims=(("key", "thumb"),)) for name in ("a", "b")]
    watched.once(by_key[0], "10.0.0.1", 0)
    assert watched.once(by_key[1], "10.0.0.2", 1) == BOTH


@pytest.mark.parametrize("who", [PERSON, WORKLOAD])
def test_people_and_workloads_may_be_in_two_places(watched: Watched, who: Identity) -> None:
    assert [watched.once(who, f"10.0.0.{number}", 0) for number in range(5)] == [""] * 5


def test_a_person_where_an_agent_is_at_work_is_noticed(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 0)
    told = watched.once(PERSON, "10.0.0.1", AT_WORK - 1)
    assert told == (
        "the credential of person alice is used from 10.0.0.1 with the same client where agent ci-bot is at work"
    )


@pytest.mark.parametrize(
    ("peer", "at", "agent"),
    [("10.0.0.1", AT_WORK, "kubectl/v1.33"), ("10.0.0.1", 1, "k9s/1"), ("10.0.0.2", 1, "kubectl/v1.33")],
    ids=["later", "another client", "another address"],
)
def test_a_person_elsewhere_is_not(watched: Watched, peer: str, at: float, agent: str) -> None:
    watched.once(AGENT, "10.0.0.1", 0)
    assert watched.once(PERSON, peer, at, agent) == ""


def test_an_agent_that_comes_after_the_person_is_noticed_with_the_persons_next_request(watched: Watched) -> None:
    assert watched.once(PERSON, "10.0.0.1", 0) == ""
    assert watched.once(AGENT, "10.0.0.1", 1) == ""
    assert "agent ci-bot" in watched.once(PERSON, "10.0.0.1", 2)
    assert watched.once(PERSON, "10.0.0.1", 3) == ""


def test_person_and_agent_are_told_once_in_ten_minutes(watched: Watched) -> None:
    told = []
    for at in range(0, 1300, 10):
        watched.once(AGENT, "10.0.0.1", at)
        told.append((at, watched.once(PERSON, "10.0.0.1", at)))
    assert [at for at, noticed in told if noticed] == [0, 600, 1200]


def test_a_person_on_an_agents_connection_is_noticed_whatever_the_client_says(watched: Watched) -> None:
    client = Client("10.0.0.1")
    watched.sightings.arrived(AGENT, client, "python", NOW)
    _, noticed = watched.sightings.arrived(PERSON, client, "kubectl", NOW + 5_000)
    assert noticed == "the credential of person alice is used on a connection where agent ci-bot is at work"
    assert watched.once(PERSON, "10.0.0.1", 5_001, "kubectl") == ""


def test_addresses_of_one_network_are_one_place(watched: Watched) -> None:
    watched.once(AGENT, "2001:db8:0:1::1", 0)
    assert watched.once(AGENT, "2001:db8:0:1:ffff::2", 1) == ""
    assert "2001:db8:0:1::/64 and 2001:db8:0:2::/64" in watched.once(AGENT, "2001:db8:0:2::1", 2)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_a_place_is_an_address_or_an_ipv6_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_what_is_remembered_is_bounded(watched: Watched) -> None:
    for number in range(MOST_CREDENTIALS + 500):
        watched.once(msgspec.structs.replace(AGENT, name=f"a{number}", credential=str(number)), f"h{number}", 0)
        watched.once(msgspec.structs.replace(PERSON, credential=str(number)), f"h{number}", 0)
    assert len(watched.sightings) == 2 * MOST_CREDENTIALS
    # The oldest went, the newest are known.
    assert watched.once(msgspec.structs.replace(AGENT, credential="0"), "elsewhere", 1) == ""
    last = str(MOST_CREDENTIALS + 499)
    assert watched.once(msgspec.structs.replace(AGENT, credential=last), "elsewhere", 1)


def test_a_credential_from_everywhere_is_told_a_few_times_and_no_more(watched: Watched) -> None:
    told = [watched.once(AGENT, f"10.0.{number // 200}.{number % 200}", 1) for number in range(2_000)]
    assert 0 < len([noticed for noticed in told if noticed]) <= MOST_PLACES
    assert max(len(noticed) for noticed in told) < 600


def test_a_clock_that_is_set_back_hides_nothing(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 1_000_000)
    watched.once(AGENT, "10.0.0.1", 0)
    assert watched.once(AGENT, "10.0.0.2", 1) == BOTH


class Processes:
    """Two processes that tell each other what they see."""

    def __init__(self) -> None:
        self.first, self.second = Watched(), Watched()

    def share(self, at: float) -> None:
        told = [watched.sightings.to_tell(NOW + at) for watched in (self.first, self.second)]
        self.first.sightings.hear(told[1], NOW + at)
        self.second.sightings.hear(told[0], NOW + at)


@pytest.fixture
def processes() -> Processes:
    return Processes()


def test_places_that_two_processes_see_are_noticed_with_the_next_request(processes: Processes) -> None:
    processes.first.once(AGENT, "10.0.0.1", 0)
    processes.second.once(AGENT, "10.0.0.2", 1)
    processes.share(5)
    assert processes.second.once(AGENT, "10.0.0.2", 6) == BOTH
    assert processes.second.once(AGENT, "10.0.0.2", 7) == ""


def test_one_place_that_two_processes_see_is_one(processes: Processes) -> None:
    for at in range(0, 300, 5):
        assert processes.first.once(AGENT, "10.0.0.1", at) == ""
        assert processes.second.once(AGENT, "10.0.0.1", at) == ""
        processes.share(at)


def test_a_credential_that_comes_here_after_it_was_heard_of_is_noticed_at_once(processes: Processes) -> None:
    processes.first.once(AGENT, "10.0.0.1", 0)
    processes.share(5)
    assert processes.second.once(AGENT, "10.0.0.2", 6) == BOTH


def test_what_was_heard_is_not_told_on_and_fades(processes: Processes) -> None:
    processes.first.once(AGENT, "10.0.0.1", 0)
    processes.share(5)
    assert processes.second.sightings.to_tell(NOW + 100) == ()
    assert processes.second.once(AGENT, "10.0.0.2", AT_ONCE) == ""


def test_a_stream_that_another_process_serves_is_a_place_in_use_for_as_long_as_it_runs(processes: Processes) -> None:
    place = processes.first.stream(AGENT, "10.0.0.1", 0)
    for at in range(5, 600, 5):
        processes.share(at)
    assert processes.second.once(AGENT, "10.0.0.2", 600) == BOTH
    processes.first.sightings.left(place, NOW + 600)
    for at in range(605, 700, 5):
        processes.share(at)
    assert processes.second.once(AGENT, "10.0.0.2", 800) == ""


def test_a_place_is_told_three_times_a_minute_however_busy_it_is(processes: Processes) -> None:
    told = 0
    for at in range(0, 60, 5):
        processes.first.once(AGENT, "10.0.0.1", at)
        told += len(processes.first.sightings.to_tell(NOW + at))
    assert told == 3


def test_a_person_is_noticed_where_another_process_saw_an_agent(processes: Processes) -> None:
    assert processes.second.once(PERSON, "10.0.0.1", 0) == ""
    processes.first.once(AGENT, "10.0.0.1", 1)
    processes.share(5)
    assert "agent ci-bot" in processes.second.once(PERSON, "10.0.0.1", 6)


def test_old_news_of_an_agent_does_not_hide_a_newer_one(watched: Watched) -> None:
    watched.once(AGENT, "10.0.0.1", 500)
    old = Sighting(proof="x", agent="old", network="10.0.0.1", user_agent="kubectl/v1.33", at=NOW)
    watched.sightings.hear([old], NOW + 505)
    assert "agent ci-bot" in watched.once(PERSON, "10.0.0.1", 506)


def test_of_very_many_credentials_some_are_told_at_a_time_and_all_in_the_end(watched: Watched) -> None:
    for number in range(MOST_CREDENTIALS):
        watched.once(msgspec.structs.replace(AGENT, credential=str(number)), "10.0.0.1", 0)
    rounds = [watched.sightings.to_tell(NOW + 1) for _ in range(6)]
    assert max(len(told) for told in rounds) == MOST_TOLD
    assert len({one.proof for told in rounds for one in told}) == MOST_CREDENTIALS
