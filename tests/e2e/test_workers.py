"""Several processes behind one port: they share what is decided, keep a journal each, and live and end together."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.echo import make_certificate
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate, GateFailure
from tests.e2e.stub import Stub
from tests.e2e.wire import Connection

PODS = "/api/v1/namespaces/d/pods"
MANY = 40
"""Connections that the kernel spreads over two workers: that all end at one of them happens once in 10^12."""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    stub = Stub(tmp_path / "stub")
    yield stub
    stub.release.set()
    stub.down()


@pytest.fixture
def gate(stub: Stub, tmp_path: Path) -> Iterator[Gate]:
    """Two workers in front of the stub."""
    # What runs when it is told to end may finish, and the tests look around meanwhile.
    settings = {"workers": 2, "limits": {"drainTimeout": "60s"}}
    gate = Gate(tmp_path / "gate", [stub.cluster("dev")], settings)
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    # The first says that the gate is ready; the second may still be on its way.
    gate.wait_until(lambda: gate.log.read_text().count("serving dev on") == 2, "both workers serve")
    yield gate
    if gate.running():
        gate.stop()


@pytest.fixture
def agent(gate: Gate) -> Agent:
    return gate.agent("all", ALLOW_ALL_RULES)


def children(gate: Gate) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{gate.pid}/task/{gate.pid}/children").read_text().split()]


def answers(agent: Agent, target: str = PODS) -> set[int]:
    """The statuses of many requests, each on a connection of its own."""
    with ThreadPoolExecutor(4) as threads:
        return set(threads.map(lambda _: agent.request("GET", target).status, range(MANY)))


def test_two_workers_share_the_port_and_each_keeps_a_journal(gate: Gate, agent: Agent, marker: str) -> None:
    assert answers(agent, f"{PODS}/{marker}") == {200}

    gate.wait_until(lambda: len(gate.events(marker)) >= 2 * MANY, "all requests are recorded")
    writers = {path.parent.name for path in (gate.data_dir / "trail").rglob("*.jsonl") if marker in path.read_text()}
    assert writers == {"gate-0", "gate-1"}
    verified = gate.command("audit", "verify")
    assert (verified.code, verified.err) == (0, "")


def test_a_change_of_policy_reaches_both(gate: Gate, agent: Agent) -> None:
    gate.allow("all", [{**ALLOW_ALL_RULES[0], "resources": ["secrets"]}])
    gate.wait_until(lambda: answers(agent) == {403}, "both workers refuse")

    gate.allow("all", ALLOW_ALL_RULES)
    gate.wait_until(lambda: answers(agent) == {200}, "both workers allow")


def test_an_agents_removal_reaches_both(gate: Gate, agent: Agent) -> None:
    leaving = gate.agent("leaving", ALLOW_ALL_RULES)
    # An agent is known to `Gate.agent` when one worker knows it.
    gate.wait_until(lambda: answers(leaving) == {200}, "both workers know the agent")

    assert gate.command("agents", "remove", "leaving", "--yes").code == 0

    gate.wait_until(lambda: answers(leaving) == {401}, "both workers refuse")
    assert answers(agent) == {200}


@pytest.mark.parametrize("who", [1, 2], ids=["a worker", "the control plane"])
def test_a_process_that_dies_ends_the_gate_with_exit_code_1(gate: Gate, who: int) -> None:
    processes = children(gate)

    os.kill(processes.pop(who), signal.SIGKILL)

    assert gate.wait_for_end() == 1
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
    assert "stopping the others" in gate.last_words()


@pytest.fixture
def single(stub: Stub, tmp_path: Path) -> Iterator[Gate]:
    """One data plane, which is the process that was started, and the control plane."""
    gate = Gate(tmp_path / "single", [stub.cluster("dev")]).start()
    yield gate
    if gate.running():
        gate.stop()


def test_a_gate_without_its_control_plane_ends_with_exit_code_1(single: Gate) -> None:
    (control,) = children(single)
    os.kill(control, signal.SIGKILL)
    assert single.wait_for_end() == 1
    assert "control plane ended" in single.last_words()


def test_a_control_plane_without_its_gate_ends(single: Gate) -> None:
    (control,) = children(single)
    os.kill(single.pid, signal.SIGKILL)
    single.wait_for_end()
    single.wait_until(lambda: not Path(f"/proc/{control}").exists(), "the control plane has ended")


def test_a_gate_and_its_control_plane_end_together_on_sigterm(single: Gate) -> None:
    (control,) = children(single)
    assert single.stop() == 0
    assert not Path(f"/proc/{control}").exists()
    assert single.command("audit", "verify").code == 0


def test_a_taken_control_port_is_said_once(single: Gate, stub: Stub, tmp_path: Path) -> None:
    second = Gate(tmp_path / "second", [stub.cluster("dev")])
    second.config.write_text(second.config.read_text().replace(str(second.control_port), str(single.control_port)))
    second.start(ready=False)
    assert second.wait_for_end() == 1
    assert second.last_words().count("cannot listen") == 1
    assert "listen.control" in second.last_words()


def test_workers_whose_parent_is_gone_end(gate: Gate) -> None:
    workers = children(gate)
    os.kill(gate.pid, signal.SIGKILL)
    gate.wait_for_end()

    gate.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers have ended")


def test_a_port_that_is_taken_is_said_once_and_with_exit_code_1(gate: Gate, stub: Stub, tmp_path: Path) -> None:
    second = Gate(tmp_path / "second", [stub.cluster("dev")], {"workers": 2})
    second.config.write_text(second.config.read_text().replace(str(second.kubernetes_port), str(gate.kubernetes_port)))
    second.start(ready=False)

    assert second.wait_for_end() == 1
    said = [line for line in second.last_words().splitlines() if "cannot listen" in line]
    assert len(said) == 1
    assert str(gate.kubernetes_port) in said[0]


def test_on_sigterm_a_running_request_finishes_a_watch_ends_and_nothing_new_is_taken(
    gate: Gate, agent: Agent, stub: Stub, marker: str
) -> None:
    with agent.connect() as watching, agent.connect() as waiting, agent.connect() as idle:
        idle.send(agent.bytes_of("GET", f"{PODS}/before"))
        assert idle.response().status == 200
        watching.send(agent.bytes_of("GET", f"{PODS}?watch=1&labelSelector={marker}"))
        assert watching.head()[0] == 200
        waiting.send(agent.bytes_of("GET", f"{PODS}/held"))
        gate.wait_until(lambda: any("/held" in each.target for each in stub.received), "the request is at the cluster")

        os.kill(gate.pid, signal.SIGTERM)

        gate.wait_until(lambda: any(marker in target for target in stub.ended), "the watch is ended at the cluster")
        rest = watching._rest()
        assert b"ERROR" in rest
        assert idle.ended()
        gate.wait_until(lambda: _is_refused(agent), "no new connection is taken")
        stub.release.set()
        finished = waiting.response()
    assert (finished.status, finished.json()["target"]) == (200, f"{PODS}/held")
    assert gate.wait_for_end() == 0
    ended = gate.wait_for_event(marker)
    assert "stopping" in ended["annotations"]["narrowgate.dev/ended"]
    assert gate.command("audit", "verify").code == 0


def _is_refused(agent: Agent) -> bool:
    try:
        with Connection(agent.host, agent.port, agent.ca, seconds=2.0):
            return False
    except OSError:
        return True


def presented(gate: Gate) -> set[bytes]:
    """The certificates that many handshakes see."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = set()
    for _ in range(MANY // 2):
        found.add(ssl.get_server_certificate(("127.0.0.1", gate.kubernetes_port), timeout=10).encode())
    return found


def test_sighup_puts_a_new_certificate_in_force_and_a_broken_one_never(stub: Stub, tmp_path: Path) -> None:
    pair = tmp_path / "pair.pem"
    make_certificate(tmp_path / "first-ca.crt", pair)
    settings = {"workers": 2, "tls": {"certificate": str(pair), "key": str(pair)}}
    gate = Gate(tmp_path / "own", [stub.cluster("dev")], settings)
    gate.start()
    try:
        first = presented(gate)
        assert len(first) == 1

        make_certificate(tmp_path / "second-ca.crt", tmp_path / "other.pem")
        # The certificate of one and the key of another.
        good = pair.read_text()
        other = (tmp_path / "other.pem").read_text()
        mark = "-----BEGIN CERTIFICATE-----"
        pair.write_text(other[: other.index(mark)] + good[good.index(mark) :])
        os.kill(gate.pid, signal.SIGHUP)
        gate.wait_until(lambda: gate.log.read_text().count("was not reloaded") == 3, "all processes complain")
        assert presented(gate) == first

        pair.write_text(other)
        os.kill(gate.pid, signal.SIGHUP)
        gate.wait_until(lambda: gate.log.read_text().count("reloaded the serving") == 3, "all processes reload")
        second = presented(gate)
        assert len(second) == 1
        assert second != first
    finally:
        assert gate.stop() == 0


def test_what_one_worker_cannot_do_ends_the_gate_with_a_reason(stub: Stub, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "own", [{**stub.cluster("dev"), "upstream": {"mode": "impersonate"}}], {"workers": 2})
    gate.start(ready=False)

    with pytest.raises(GateFailure):
        gate.wait_until(gate.ready, "never ready")
    assert "may do cannot be checked" in gate.last_words() or "may do more" in gate.last_words()
    assert gate.wait_for_end() == 1
    assert json.dumps(stub.token_file.read_text())[1:-1] not in gate.log.read_text()
