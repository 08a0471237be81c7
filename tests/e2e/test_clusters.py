"""Several clusters behind one gate: which one a request is for, and what becomes of one when another is down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.stub import Stub

PODS = "/api/v1/namespaces/d/pods"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stub, Stub]]:
    pair = Stub(tmp_path_factory.mktemp("east")), Stub(tmp_path_factory.mktemp("west"))
    yield pair
    for stub in pair:
        stub.down()


@pytest.fixture(scope="module")
def gate(cluster: Cluster, stubs: tuple[Stub, Stub], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two stubs and the real cluster behind one gate."""
    east, west = stubs
    real = {"name": "real", "kubeconfig": str(cluster.kubeconfig)}
    gate = Gate(tmp_path_factory.mktemp("gate"), [east.cluster("east"), west.cluster("west"), real])
    for name in ("east", "west", "real"):
        gate.agent(f"of-{name}", ALLOW_ALL_RULES, cluster=name)
    gate.start()
    yield gate
    gate.stop()


def agent_of(gate: Gate, cluster: str) -> Agent:
    return gate.agent(f"of-{cluster}", ALLOW_ALL_RULES, cluster=cluster)


@pytest.mark.parametrize("named", [False, True], ids=["by the credential", "by the path"])
def test_a_request_goes_to_the_cluster_that_its_credential_opens(
    named: bool, gate: Gate, stubs: tuple[Stub, Stub], marker: str
) -> None:
    for name, here, there in (("east", *stubs), ("west", *reversed(stubs))):
        prefix = f"/clusters/{name}" if named else ""
        target = f"{PODS}/{name}-{marker}"
        answer = agent_of(gate, name).request("GET", prefix + target)

        assert (answer.status, answer.json()["target"]) == (200, target)
        assert len(here.with_marker(f"{name}-{marker}")) == 1
        assert there.with_marker(f"{name}-{marker}") == []
        event = gate.wait_for_event(f"{name}-{marker}")
        assert event["annotations"]["narrowgate.dev/cluster"] == name


def test_the_real_cluster_answers_under_its_name(gate: Gate) -> None:
    answer = agent_of(gate, "real").request("GET", "/clusters/real/api/v1/namespaces/default")
    assert (answer.status, answer.json()["metadata"]["name"]) == (200, "default")


@pytest.mark.parametrize("name", ["west", "real", "unknown"])
def test_a_credential_opens_no_other_cluster(name: str, gate: Gate, stubs: tuple[Stub, Stub], marker: str) -> None:
    answer = agent_of(gate, "east").request("GET", f"/clusters/{name}{PODS}/{marker}")

    assert answer.status == 403
    assert "opens cluster 'east'" in answer.message
    assert [stub.with_marker(marker) for stub in stubs] == [[], []]
    assert gate.wait_for_event(marker)["responseStatus"]["code"] == 403


@pytest.mark.parametrize(
    "target", ["/clusters//api", "/clusters/../api", "/clusters/east/../west/api", "/clusters/%65ast//"]
)
def test_a_prefix_in_disguise_is_refused(target: str, gate: Gate, stubs: tuple[Stub, Stub]) -> None:
    answer = agent_of(gate, "east").request("GET", target)
    assert answer.status == 400
    assert answer.message
    assert not [each for stub in stubs for each in stub.received if "clusters" in each.target or ".." in each.target]


def test_a_credential_for_a_cluster_that_is_not_there_is_told_which_are(gate: Gate, tmp_path: Path) -> None:
    done = gate.command("agents", "add", "lost", "--owner", "person:test", "--purpose", "test", "--cluster", "north")

    assert done.code == 1
    assert "north" in done.err


def test_a_cluster_that_is_down_says_so_and_the_others_work_and_it_comes_back_by_itself(
    gate: Gate, stubs: tuple[Stub, Stub]
) -> None:
    east, west = agent_of(gate, "east"), agent_of(gate, "west")
    stubs[0].down()
    try:
        gate.wait_until(lambda: east.request("GET", PODS).status == 503, "the cluster is missed")
        refusal = east.request("GET", PODS)
        assert refusal.kube_status()["reason"] == "ServiceUnavailable"
        assert "no connection to the API server" in refusal.message
        assert str(stubs[0].port) not in refusal.message
        assert "refused" in refusal.message
        assert stubs[0].token_file.read_text() not in refusal.body.decode()
        assert west.request("GET", PODS).status == 200
    finally:
        stubs[0].up()

    gate.wait_until(lambda: east.request("GET", PODS).status == 200, "the cluster is back")


def test_a_cluster_that_is_down_when_the_gate_starts_keeps_the_others_from_nothing(tmp_path: Path) -> None:
    missing, there = Stub(tmp_path / "missing"), Stub(tmp_path / "there")
    missing.down()
    gate = Gate(tmp_path / "gate", [missing.cluster("missing"), there.cluster("there")])
    agents = {name: gate.agent(f"of-{name}", ALLOW_ALL_RULES, cluster=name) for name in ("missing", "there")}
    gate.start(ready=False)
    try:
        gate.wait_until(lambda: _status(agents["there"]) == 200, "the other cluster is served")
        refusal = agents["missing"].request("GET", PODS)
        assert refusal.status == 503
        assert "'missing' cannot be served" in refusal.message

        missing.up()

        gate.wait_until(lambda: _status(agents["missing"]) == 200, "the cluster is found by itself")
        gate.wait_until(gate.ready, "the gate is ready")
    finally:
        gate.stop()
        missing.down()
        there.down()


def _status(agent: Agent) -> int:
    try:
        return agent.request("GET", PODS).status
    except OSError:
        return 0
