"""A write whose body must be kept is not forwarded where it cannot be, and an answer that must be does not arrive.

The API server is a stub that remembers what it got; the disks are real: small tmpfs mounts. Needs root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ECHO_RULES, UNREAD, Agent, Gate
from tests.fault.test_trail_disk import fill, mounted

TARGET = "/api/v1/namespaces/ci/configmaps"
LARGE = 200_000
"""Bytes of an object that is a recording, not a part of an entry."""

RULES = [
    {"level": "RequestResponse", "resources": [{"group": "", "resources": ["configmaps"], "resourceNames": ["kept"]}]},
    {"level": "Request", "verbs": ["create"]},
]


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    server = Echo(tmp_path / "echo")
    yield server
    server.stop()


@pytest.fixture
def gate(echo: Echo, tmp_path: Path) -> Iterator[Gate]:
    """One whose spool is a disk of its own, and small."""
    settings = {"audit": {**UNREAD["audit"], "bodies": RULES}}
    gate = Gate(tmp_path / "gate", [echo.cluster("dev")], settings=settings)
    agent = gate.agent("all", ECHO_RULES)
    gate.data_dir.mkdir(exist_ok=True)
    with mounted(gate.data_dir / "spool", "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        gate.start()
        gate.wait_until(lambda: agent.request("GET", "/version").status == 200, "the agent is known")
        yield gate
        gate.kill()


def agent_of(gate: Gate) -> Agent:
    return gate.agent("all", ECHO_RULES)


def configmap(name: str, size: int = 0) -> bytes:
    document: dict[str, Any] = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x" * size},
    }  # fmt: skip
    return json.dumps(document).encode()


def write(gate: Gate, name: str, size: int = 0) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    answer = agent_of(gate).request("POST", TARGET, headers, configmap(name, size))
    return answer.status, answer.body.decode()


def test_a_large_write_is_not_forwarded_where_the_spool_is_full_and_a_small_one_is(gate: Gate, echo: Echo) -> None:
    assert write(gate, "before", LARGE)[0] == 200
    ballast = fill(gate.data_dir / "spool")
    # The reserve of the spool is for what has begun; a page that is open may take what is little.
    status, said = write(gate, "while-full", LARGE)
    assert (status, "cannot be recorded" in said) == (500, True)
    assert write(gate, "small-while-full")[0] == 200
    ballast.unlink()
    gate.wait_until(lambda: write(gate, "after", LARGE)[0] == 200, "bodies are recorded again")
    written = [marker for marker in ("before", "while-full", "small", "after") if echo.with_marker(f'"{marker}')]
    assert written == ["before", "small", "after"]


def test_an_answer_that_cannot_be_kept_is_neither_asked_for_nor_shown(gate: Gate, echo: Echo) -> None:
    agent = agent_of(gate)
    assert agent.request("GET", f"{TARGET}/kept").status == 200
    before = len(echo.with_marker("/configmaps/kept"))
    ballast = fill(gate.data_dir / "spool")
    refused = agent.request("GET", f"{TARGET}/kept")
    assert refused.status == 500
    assert len(echo.with_marker("/configmaps/kept")) == before
    assert agent.request("GET", f"{TARGET}/other").status == 200
    ballast.unlink()
    gate.wait_until(lambda: agent.request("GET", f"{TARGET}/kept").status == 200, "answers are kept again")


def test_what_was_forwarded_before_the_gate_was_killed_is_in_the_record(gate: Gate, echo: Echo) -> None:
    names = [f"named-{number}" for number in range(20)]
    for name in names:
        assert write(gate, name)[0] == 200
    gate.kill()
    kept = [event["requestObject"]["metadata"]["name"] for event in gate.events() if "requestObject" in event]
    assert kept == names
    assert [name for name in names if echo.with_marker(f'"{name}"')] == names


def test_a_record_that_cannot_be_written_lets_no_body_pass(echo: Echo, tmp_path: Path) -> None:
    settings = {"audit": {**UNREAD["audit"], "bodies": RULES}}
    gate = Gate(tmp_path / "full", [echo.cluster("dev")], settings=settings)
    agent = gate.agent("all", ECHO_RULES)
    gate.data_dir.mkdir(exist_ok=True)
    with mounted(gate.data_dir / "trail", "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        gate.start()
        try:
            gate.wait_until(lambda: agent.request("GET", "/version").status == 200, "the agent is known")
            fill(gate.data_dir / "trail")
            # The page that is open may take an entry more; the body of this one has no room in it.
            answers = [
                agent.request("POST", TARGET, {"Content-Type": "application/json"}, configmap(f"no-{n}", 30_000)).status
                for n in range(5)
            ]
            assert answers == [500] * 5
            assert echo.with_marker('"no-') == []
        finally:
            gate.kill()
