"""Standing access on a real cluster: listed with its age, and with its last use once kubectl has used it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.rules import allow
from tests.e2e.tasks import AgentTerminal, grantable, terminal


@pytest.fixture(scope="module")
def standing_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("standing"), [entry], settings={"workers": 2})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


def standing(agent: AgentTerminal) -> list[dict[str, Any]]:
    found = agent.document("tasks", "list", "--standing")
    assert isinstance(found, list)
    return found


def test_what_stands_is_listed_with_its_age_and_its_last_use(
    standing_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    agent = terminal(standing_gate, cluster, "stands", tmp_path)
    assert standing(agent) == []
    rules = [allow("pods", "get list", "pods", namespace), grantable("maps", "get", "configmaps", namespace)]
    standing_gate.allow("stands", rules)
    standing_gate.wait_until(lambda: standing(agent) != [], "the rule stands")
    (line,) = standing(agent)
    assert (line["holder"], line["policy"], line["rule"], line["agents"]) == ("agent:stands", "stands", "pods", 1)
    assert line["allow"] == f"get,list pods -n {namespace}"
    assert (line["lastUsedAt"], line["isOlder"]) == ("", False)
    assert line["unusedSince"] == line["since"]

    # Another policy changes: the very same rule stands since it did.
    standing_gate.allow("other", [allow("pods", "get", "pods", namespace)])
    agent.kubectl(agent.agent.kubeconfig).must("get", "pods", "-n", namespace)
    standing_gate.wait_until(lambda: standing(agent)[0]["lastUsedAt"] != "", "its use is known")
    (used,) = standing(agent)
    assert (used["since"], used["revision"]) == (line["since"], line["revision"])
    assert (used["lastUsedBy"], used["unusedSince"]) == ("agent:stands", "")

    # A rule that says something else is another one: nobody has used it.
    standing_gate.allow("stands", [allow("pods", "get list watch", "pods", namespace)])
    standing_gate.wait_until(lambda: "watch" in standing(agent)[0]["allow"], "the rule is wider")
    (wider,) = standing(agent)
    assert (wider["lastUsedAt"], wider["revision"] > line["revision"]) == ("", True)


def test_what_a_stopped_gate_counted_is_there_when_it_starts_again(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path / "gate", [entry])
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    try:
        agent = terminal(gate, cluster, "kept", tmp_path)
        gate.agent("kept", [allow("pods", "get list", "pods", namespace)])
        agent.kubectl(agent.agent.kubeconfig).must("get", "pods", "-n", namespace)
        # At once: what the ten seconds between two tellings would lose is told while the gate drains.
        gate.stop()
        gate.start()
        (line,) = standing(agent)
        assert line["lastUsedBy"] == "agent:kept", json.dumps(line)
    finally:
        gate.stop()
