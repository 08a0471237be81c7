"""One credential in two places, and a person's where an agent works: the record tells, and nobody is refused for it."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.rules import allow
from tests.e2e.wire import Connection

NOTICED = "narrowgate.dev/noticed"
HERE, THERE = "127.0.0.2", "127.0.0.3"
# The system deals connections out to workers: with so many, each place has one at each worker.
MOST_CONNECTIONS = 64
# Workers tell each other every few seconds.
NOTICED_SECONDS = 60.0


@pytest.fixture
def shared(gate: Gate, namespace: str, marker: str) -> Agent:
    """An agent of this test's own."""
    name = marker.replace("mark-", "shared-")[:60]
    return gate.agent(name, [allow("read", "get list watch", "pods", namespace)])


def ask(agent: Agent, source: str, target: str) -> int:
    with agent.connect(source=source) as connection:
        connection.send(agent.bytes_of("GET", target))
        return connection.response("GET").status


def told(gate: Gate, containing: str) -> list[tuple[str, str]]:
    events: list[dict[str, Any]] = gate.events(containing)
    return [(event["stage"], event["annotations"][NOTICED]) for event in events if NOTICED in event["annotations"]]


def test_a_credential_in_two_places_is_served_and_told_in_the_record_and_the_log(
    gate: Gate, shared: Agent, namespace: str, marker: str
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods?labelSelector=mark%3D{marker}"
    # The gate's own question whether the agent is known came from 127.0.0.1, another place.
    assert ask(shared, HERE, f"{pods}-1") == 200
    assert ask(shared, THERE, f"{pods}-2") == 200
    assert ask(shared, THERE, f"{pods}-3") == 200

    gate.wait_for_event(f"{marker}-3")
    both = f"the credential of agent {shared.name} is used from 127.0.0.1, {HERE} and {THERE} at once"
    assert told(gate, f"{marker}-2") == [("RequestReceived", both), ("ResponseComplete", both)]
    assert told(gate, f"{marker}-3") == []
    assert both in gate.log.read_text()
    assert noticed_so_far(gate) >= 1


def noticed_so_far(gate: Gate) -> float:
    """The counter at the health port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.health_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("narrowgate_noticed_total "))


def test_a_watch_that_still_runs_is_a_place_in_use(gate: Gate, shared: Agent, namespace: str, marker: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    with shared.connect(source=HERE) as watch:
        watch.send(shared.bytes_of("GET", f"{pods}?watch=true&labelSelector=mark%3D{marker}-1"))
        watch.head()
        assert ask(shared, THERE, f"{pods}?labelSelector=mark%3D{marker}-2") == 200
        event = gate.wait_for_event(f"{marker}-2")
    assert HERE in event["annotations"][NOTICED]
    assert event["annotations"]["narrowgate.dev/decision"] == "allow"


def test_what_is_noticed_can_be_searched_for(gate: Gate, shared: Agent, namespace: str, marker: str) -> None:
    for source in (HERE, THERE):
        ask(shared, source, f"/api/v1/namespaces/{namespace}/pods?labelSelector=mark%3D{marker}")
    gate.wait_for_event(marker)
    found = gate.command("audit", "search", "--who", f"agent:{shared.name}", "--noticed", "-o", "json")
    assert found.code == 0, found.text
    told = [entry["noticed"] for entry in json.loads(found.out)]
    assert told
    assert all(sentence.startswith(f"the credential of agent {shared.name} is used from") for sentence in told)


def worker_of(gate: Gate, connection: Connection, probe: Agent, mark: str) -> str:
    """Which worker serves a connection: whose journal has the request that was sent on it."""
    connection.send(probe.bytes_of("GET", f"/version?mark={mark}"))
    assert connection.response("GET").status == 200

    def journals() -> list[str]:
        found = (gate.data_dir / "trail").glob("gate-*/*.jsonl")
        return [path.parent.name for path in found if mark in path.read_text(errors="replace")]

    gate.wait_until(lambda: bool(journals()), f"an entry for {mark}")
    return journals()[0]


def test_two_places_that_two_workers_see_are_noticed_too(echo: Echo, tmp_path: Path, marker: str) -> None:
    gate = Gate(tmp_path / "gate", [echo.cluster("echo")], settings={"workers": 2})
    probe = gate.agent("probe", ALLOW_ALL_RULES, cluster="echo")
    shared = gate.agent("shared", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    try:
        with ExitStack() as stack:
            by_place: dict[tuple[str, str], Connection] = {}
            for number in range(MOST_CONNECTIONS):
                source = (HERE, THERE)[number % 2]
                connection = stack.enter_context(probe.connect(source=source))
                by_place[source, worker_of(gate, connection, probe, f"{marker}-{number}")] = connection
                pair = by_place.get((HERE, "gate-0")), by_place.get((THERE, "gate-1"))
                if None not in pair:
                    break
            noticed = f"the credential of agent shared is used from {HERE} and {THERE} at once"

            def is_noticed() -> bool:
                for connection in pair:
                    assert connection is not None, "the connections went to one worker all"
                    connection.send(shared.bytes_of("GET", f"/version?mark={marker}"))
                    assert connection.response("GET").status == 200
                return noticed in gate.log.read_text()

            gate.wait_until(is_noticed, "what two workers see", NOTICED_SECONDS)
    finally:
        gate.stop()
