"""A gate that starts, reloads, drains and ends, and one of several processes: what callers see of it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.wire import Connection, ConnectionEnded, Response

TARGET = "/api/v1/namespaces/d/configmaps"
END_SECONDS = 90.0
# Of these the tests of an end take a part; what would never end is cut after all of them.
DRAIN_SECONDS = 20
# Connections are spread over processes by the kernel: with so many, no process is left without one.
MANY = 24


@pytest.fixture
def own_echo(tmp_path: Path) -> Iterator[Echo]:
    echo = Echo(tmp_path / "echo")
    yield echo
    echo.go_on.set()
    echo.stop()


@pytest.fixture
def own_gate(own_echo: Echo, tmp_path: Path) -> Iterator[Gate]:
    """A gate of this test's own, which may be ended."""
    # What runs when it is told to end may finish, and the tests look around meanwhile.
    limits = {"drainTimeout": f"{DRAIN_SECONDS}s"}
    gate = Gate(tmp_path / "gate", [own_echo.cluster("echo")], {"limits": limits})
    gate.agent("all", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    yield gate
    gate.kill()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + END_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_gate_told_to_end_finishes_what_it_has_begun_and_takes_nothing_new(
    own_gate: Gate, own_echo: Echo, marker: str
) -> None:
    agent = own_gate.agent("all")
    answers: list[Response] = []
    begun = threading.Thread(target=lambda: answers.append(agent.request("GET", f"{TARGET}/patient?x={marker}")))
    begun.start()
    assert eventually(lambda: len(own_echo.with_marker(marker)) == 1)

    os.kill(own_gate.pid, signal.SIGTERM)
    assert eventually(lambda: refuses_connections(agent)), "the gate still accepts connections"
    own_echo.go_on.set()
    begun.join(END_SECONDS)

    assert [answer.json()["after"] for answer in answers] == ["patience"]
    assert own_gate.wait_for_end() == 0
    # The record was closed properly, too: the end of the request is in it.
    assert [event["stage"] for event in own_gate.events(marker)][-1] == "ResponseComplete"
    assert own_gate.command("audit", "verify").code == 0


def refuses_connections(agent: Agent) -> bool:
    try:
        socket.create_connection((agent.host, agent.port), timeout=END_SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_watch_that_would_never_end_is_cut_when_the_gate_ends(own_gate: Gate, own_echo: Echo, marker: str) -> None:
    agent = own_gate.agent("all")
    with agent.connect() as connection:
        connection.send(agent.bytes_of("GET", f"{TARGET}/endless?x={marker}"))
        assert connection.head()[0] == 200
        connection.line()

        code = own_gate.stop()

        # The chunks end without the last, empty one: no caller takes the answer for complete.
        with pytest.raises(ConnectionEnded):
            read_for_ever(connection)
    assert code == 0
    assert eventually(lambda: len(own_echo.ended) == 1)
    assert [event["stage"] for event in own_gate.events(marker)][-1] == "ResponseComplete"


def read_for_ever(connection: Connection) -> None:
    while True:
        connection.line()


def test_an_idle_connection_does_not_hold_the_end_up(own_gate: Gate, marker: str) -> None:
    agent = own_gate.agent("all")
    with agent.connect() as connection:
        connection.send(agent.bytes_of("GET", f"{TARGET}/{marker}"))
        assert connection.response().status == 200

        os.kill(own_gate.pid, signal.SIGTERM)

        assert connection.ended()
        assert own_gate.wait_for_end() == 0


def test_a_reload_keeps_every_connection_and_serves_the_new_policies(own_gate: Gate, marker: str) -> None:
    rule = {
        "id": "later",
        "effect": "allow",
        "verbs": ["get"],
        "apiGroups": [""],
        "resources": ["configmaps"],
        "namespaces": ["d"],
    }
    agent = own_gate.agent("all")
    late = own_gate.agent("late", cluster="echo")
    with agent.connect() as connection:
        connection.send(agent.bytes_of("GET", f"{TARGET}/{marker}"))
        assert connection.response().status == 200
        own_gate.allow("late", [rule], cluster="echo")

        os.kill(own_gate.pid, signal.SIGHUP)

        own_gate.wait_until(lambda: late.request("GET", f"{TARGET}/{marker}").status == 200, "the new policy in force")
        connection.send(agent.bytes_of("GET", f"{TARGET}/{marker}"))
        assert connection.response().status == 200


def test_a_second_gate_on_the_same_data_folder_is_refused_in_words(own_gate: Gate, own_echo: Echo) -> None:
    second = Gate(own_gate.folder / "second", [own_echo.cluster("echo")], data=own_gate.data_dir)
    second.start(ready=False)
    try:
        code = second.wait_for_end()
    finally:
        second.kill()

    assert code == 1
    assert second.last_words().splitlines()[-1].startswith("narrowgate:")


def test_an_upstream_that_is_not_there_is_a_status_and_becomes_one_that_is(
    own_gate: Gate, own_echo: Echo, marker: str
) -> None:
    agent = own_gate.agent("all")
    own_echo.stop()
    # Connections that were kept open die with it.
    own_gate.wait_until(lambda: agent.request("GET", f"{TARGET}/{marker}").status in (502, 503), "the upstream is gone")

    refused = agent.request("GET", f"{TARGET}/{marker}")

    assert refused.status in (502, 503)
    assert refused.message
    assert str(own_echo.port) not in refused.message


# --- several processes ---


@pytest.fixture
def crowd(own_echo: Echo, tmp_path: Path) -> Iterator[Gate]:
    """A gate of two processes that share the port."""
    gate = Gate(tmp_path / "crowd", [own_echo.cluster("echo")], {"workers": 2})
    gate.agent("all", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    yield gate
    gate.kill()


def statuses(agent: Agent, target: str) -> list[int]:
    """What the same request gets on many connections, which are open all at once."""
    connections = [agent.connect() for _ in range(MANY)]
    try:
        for connection in connections:
            connection.send(agent.bytes_of("GET", target))
        return [connection.response().status for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def test_every_process_serves_records_and_hears_of_changes(crowd: Gate, marker: str) -> None:
    agent = crowd.agent("all")
    target = f"{TARGET}/{marker}"
    crowd.wait_until(lambda: statuses(agent, target) == [200] * MANY, "every process serves")

    crowd.write_policy("all", [{"kind": "Agent", "name": "somebody-else"}], ALLOW_ALL_RULES, cluster="echo")
    crowd.wait_until(lambda: statuses(agent, target) == [403] * MANY, "every process has the new policy")
    assert crowd.command("agents", "remove", "all", "--yes").code == 0
    crowd.wait_until(lambda: statuses(agent, target) == [401] * MANY, "every process knows that the agent is gone")

    assert crowd.stop() == 0
    journals = {path.parent.name for path in (crowd.data_dir / "trail").rglob("*.jsonl") if marker in path.read_text()}
    assert len(journals) == 2
    verdict = crowd.command("audit", "verify")
    assert verdict.code == 0, verdict.text


def test_a_crowd_that_was_killed_leaves_a_record_that_proves_itself(crowd: Gate, own_echo: Echo, marker: str) -> None:
    agent = crowd.agent("all")
    assert statuses(agent, f"{TARGET}/{marker}") == [200] * MANY

    crowd.kill()

    received = own_echo.with_marker(marker)
    entries = [event for event in crowd.events(marker) if event["stage"] == "RequestReceived"]
    assert len(received) == MANY
    assert len(entries) >= MANY
    crowd.start()
    verdict = crowd.command("audit", "verify")
    assert verdict.code == 0, verdict.text
