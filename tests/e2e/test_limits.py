"""What one client, or many, may take of a gate: the limits of the configuration, and memory that stays flat."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.stub import LARGE_BYTES, Stub
from tests.e2e.wire import Connection, ConnectionEnded

PODS = "/api/v1/namespaces/d/pods"
MEBIBYTE = 1 << 20
# Two buffers for each side, TLS records and what Python keeps: generous, and far below one list held in memory.
ROOM = 16 * MEBIBYTE
SLOW_READERS = 3
IDLE = 500
# What 500 idle connections may take: OpenSSL keeps some 40 KB for each, our objects a few more.
IDLE_ROOM = IDLE * 160 * 1024


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    stub = Stub(tmp_path_factory.mktemp("stub"))
    yield stub
    stub.release.set()
    stub.down()


def started(folder: Path, stub: Stub, **limits: object) -> Gate:
    gate = Gate(folder, [stub.cluster("dev")], {"limits": limits})
    gate.agent("all", ALLOW_ALL_RULES)
    return gate.start()


@pytest.fixture(scope="module")
def strict(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate with small limits."""
    gate = started(
        tmp_path_factory.mktemp("strict"), stub, connections=20, headerBytes=4096, headerCount=16, bodyBytes=10_000,
        headerTimeout="1s", bodyTimeout="1s", idleTimeout="2s",
    )  # fmt: skip
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def roomy(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate with the limits that it has by itself."""
    gate = started(tmp_path_factory.mktemp("roomy"), stub)
    yield gate
    gate.stop()


def agent_of(gate: Gate) -> Agent:
    return gate.agent("all", ALLOW_ALL_RULES)


def memory(gate: Gate) -> int:
    """Resident memory of the gate's process in bytes."""
    lines = Path(f"/proc/{gate.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def test_connections_above_the_limit_are_closed_and_leave_the_others_alone(strict: Gate) -> None:
    agent = agent_of(strict)
    held = [agent.connect() for _ in range(20)]
    try:
        for connection in held:
            connection.send(agent.bytes_of("GET", PODS))
            assert connection.response().status == 200
        with agent.connect() as extra:
            assert extra.ended()
        held[0].send(agent.bytes_of("GET", PODS))
        assert held[0].response().status == 200
    finally:
        for connection in held:
            connection.close()
    strict.wait_until(lambda: _answers(agent), "there is room again")


def _answers(agent: Agent) -> bool:
    try:
        return agent.request("GET", PODS).status == 200
    except (OSError, ConnectionEnded):
        return False


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"X-Long": "x" * 4096}, b"", 431),
        ({f"X-{number}": "1" for number in range(20)}, b"", 431),
        ({"Content-Type": "application/json"}, b"{" + b" " * 10_000 + b"}", 413),
    ],
    ids=["a long head", "many headers", "a long body"],
)
def test_what_is_larger_than_configured_is_refused_with_a_status(
    headers: dict[str, str], body: bytes, status: int, strict: Gate
) -> None:
    answer = agent_of(strict).request("POST" if body else "GET", PODS, headers, body)
    assert answer.status == status
    assert answer.message


def test_the_same_passes_a_gate_with_the_usual_limits(roomy: Gate) -> None:
    headers = {"X-Long": "x" * 4096, **{f"X-{number}": "1" for number in range(20)}}
    assert agent_of(roomy).request("GET", PODS, headers).status == 200


@pytest.mark.parametrize("start", [b"", b"GET /api HTT", b"body"], ids=["idle", "half a head", "half a body"])
def test_whoever_takes_longer_than_configured_is_cut_off(start: bytes, strict: Gate) -> None:
    agent = agent_of(strict)
    with agent.connect() as connection:
        if start == b"body":
            start = agent.bytes_of("POST", PODS, {"Content-Type": "application/json", "Content-Length": "99"}) + b"{"
        connection.send(start)
        assert connection.ended()


def test_idle_connections_cost_little_and_are_served_when_they_ask(roomy: Gate) -> None:
    agent = agent_of(roomy)
    assert agent.request("GET", PODS).status == 200
    before = memory(roomy)
    idle: list[Connection] = []
    try:
        idle.extend(agent.connect() for _ in range(IDLE))
        for connection in idle[::50]:
            connection.send(agent.bytes_of("GET", PODS))
            assert connection.response().status == 200
        grown = memory(roomy) - before
    finally:
        for connection in idle:
            connection.close()
    assert grown < IDLE_ROOM, f"{grown // IDLE} bytes for each"
    assert agent.request("GET", PODS).status == 200


def test_a_large_list_for_slow_readers_does_not_grow_the_gate(roomy: Gate) -> None:
    agent = agent_of(roomy)
    # The first one fills buffers and caches that stay.
    with agent.connect() as first:
        first.send(agent.bytes_of("GET", f"{PODS}/large"))
        assert first.head()[0] == 200
        assert drained(first) == LARGE_BYTES
    before = memory(roomy)
    slow: list[Connection] = []
    try:
        for _ in range(SLOW_READERS):
            connection = agent.connect()
            # Else the kernel takes much of the list, and the gate has nothing to hold back.
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            connection.send(agent.bytes_of("GET", f"{PODS}/large"))
            assert connection.head()[0] == 200
            slow.append(connection)
        # All have begun and none goes on; whatever the gate would take ahead, it takes while these are served.
        for _ in range(50):
            assert agent.request("GET", PODS).status == 200
        grown = memory(roomy) - before
        assert [drained(connection) for connection in slow] == [LARGE_BYTES] * SLOW_READERS
    finally:
        for connection in slow:
            connection.close()
    assert grown < ROOM, f"grown by {grown} bytes"
    assert memory(roomy) - before < ROOM


def drained(connection: Connection) -> int:
    """How many bytes of the large list arrive."""
    size = len(connection.buffer)
    while size < LARGE_BYTES and (data := connection.receive()):
        size += len(data)
    return size


def test_clients_that_leave_in_the_middle_leave_nothing_behind(roomy: Gate, stub: Stub, marker: str) -> None:
    agent = agent_of(roomy)
    for number in range(10):
        with agent.connect() as connection:
            connection.send(agent.bytes_of("GET", f"{PODS}?watch=1&labelSelector={marker}-{number}"))
            assert connection.head()[0] == 200
    roomy.wait_until(lambda: sum(marker in target for target in stub.ended) == 10, "all are ended at the cluster")
    for number in range(10):
        event = roomy.wait_for_event(f"{marker}-{number}")
        assert "client closed" in event["annotations"]["narrowgate.dev/ended"]
