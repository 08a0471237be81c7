"""What came of a task, and what a session belongs to, on a real cluster: delegates, pods, what runs, what is gone."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, Worker, placed_gate, pod_template, workload
from tests.e2e.tasks import grantable
from tests.e2e.test_changes import running
from tests.e2e.test_delegation import Lead

NOTED_SECONDS = 60.0
"""The search takes up the record every few seconds; a busy machine is not in a hurry."""


@pytest.fixture(scope="module")
def tree_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("trees"), [entry], settings={"workers": 2})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def lead(tree_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path, marker: str) -> Lead:
    return Lead(tree_gate, cluster, f"tree-{marker[-12:]}", namespace, tmp_path)


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("tree-pods")) as found:
        yield found


def tree_of(gate: Gate, session: str) -> Any:
    """What the operator of the gate is shown; None while nothing of it is known."""
    shown = gate.command("sessions", "show", session, "--tree", "-o", "json")
    return json.loads(shown.out) if shown.code == 0 else None


def nodes(tree: Any) -> dict[str, Any]:
    """By the name of each."""
    found = {tree["name"]: tree}
    for child in tree["children"]:
        found |= nodes(child)
    return found


def streams(node: Any) -> list[tuple[str, bool, bool]]:
    """Of each its kind, whether it runs, and whether it is recorded."""
    return [(one["kind"], one["endedAt"] is None, bool(one["recording"])) for one in node["streams"]]


def test_a_delegates_session_is_in_the_tree_while_it_runs_and_when_it_is_over(lead: Lead, tmp_path: Path) -> None:
    name, gate = lead.agent.agent.name, lead.gate
    child, _, helper = lead.delegate("helper", "get,list,watch pods", "create pods/exec")
    assert helper("get", "configmaps").code != 0

    def told(expected: list[tuple[str, bool, bool]]) -> Callable[[], bool]:
        def is_told() -> bool:
            node = nodes(lead.agent.document("tasks", "show", lead.task["id"], "--tree"))[f"{name}/helper"]
            return streams(node) == expected

        return is_told

    with running(helper, "exec", "clock", "--", "sh", "-c", "echo begun; sleep 300", until=b"begun"):
        gate.wait_until(told([("exec", True, False)]), "the session runs in the tree", NOTED_SECONDS)
    gate.wait_until(told([("exec", False, True)]), "the session is over in the tree", NOTED_SECONDS)
    (over,) = nodes(tree_of(gate, lead.task["id"]))[f"{name}/helper"]["streams"]
    assert "sleep 300" in over["what"]

    # From the session itself, by the gate's files: the same tree, in which it is marked.
    tree = tree_of(gate, over["id"])
    helped = nodes(tree)[f"{name}/helper"]
    assert (tree["id"], helped["id"]) == (lead.task["id"], child["id"])
    assert [one["isNamed"] for one in helped["streams"]] == [True]
    assert helped["did"]["denied"] >= 1
    picture = tmp_path / "tree.svg"
    shown = gate.command("sessions", "show", over["id"], "--svg", str(picture))
    assert (shown.code, "<- this one" in shown.out) == (0, True), shown.text
    words = "".join(ET.parse(picture).getroot().itertext())
    assert all(said in words for said in (f"{name}/helper", "this one", "refused"))
    listed = lead.agent("tasks", "list")
    (line,) = (line.split() for line in listed.out.splitlines() if line.startswith(child["id"]))
    assert lead.task["id"] in line


def test_pods_are_told_with_where_they_run_what_they_ask_and_when_they_are_gone(place: Place, tmp_path: Path) -> None:
    worker = place.worker("grower", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "trunk", pod_template(place)))
    trunk = place.pod("app=trunk")
    assert trunk.can("apply", "-f", "-", stdin=workload("Pod", "twig", pod_template(place))), trunk.said
    assert not trunk.can("get", "services", "-o", "name")
    twig = place.pod("app=twig")
    described = json.loads(place.direct.must("get", "pod", "trunk", "-o", "json"))

    def trunk_and_twig() -> tuple[Any, Any]:
        found = nodes(worker.tree())
        return found.get(f"{place.namespace}/trunk"), found.get(f"{place.namespace}/twig")

    def watched() -> bool:
        above, below = trunk_and_twig()
        return bool(above and below) and streams(below) == [("watch", True, False)] and above["did"]["denied"] >= 1

    with twig.watching():
        place.gate.wait_until(watched, "the pods' requests and the watch are in the tree", NOTED_SECONDS)
        above, below = trunk_and_twig()
    assert (above["id"], above["runsOn"]) == (described["metadata"]["uid"], described["spec"]["nodeName"])
    assert [one["id"] for one in above["children"]] == [below["id"]]
    assert [above["state"], below["state"]] == ["there", "there"]

    # By the session of the pod's watch, and by nothing else of the agent's.
    (watch,) = below["streams"]
    tree = tree_of(place.gate, watch["id"])
    assert tree["id"] == worker.task
    assert [one["isNamed"] for one in nodes(tree)[f"{place.namespace}/twig"]["streams"]] == [True]

    place.direct.must("delete", "pod", "trunk", "--wait=true")
    place.gate.wait_until(lambda: states(worker, place) == ["gone", "there"], "the pod is gone", NOTED_SECONDS)
    worker.revoke()
    after = ["gone", "there, not let in"]
    place.gate.wait_until(lambda: states(worker, place) == after, "the other is shut out", NOTED_SECONDS)


def states(worker: Worker, place: Place) -> list[str]:
    found = nodes(worker.tree())
    return [found[f"{place.namespace}/{name}"]["state"] for name in ("trunk", "twig")]
