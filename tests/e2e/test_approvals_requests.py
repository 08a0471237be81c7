"""Requests that wait for people, on a real cluster: kubectl waits, two people answer, it passes once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from tests.e2e.dex import ALICE, BOB
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import CALL_SECONDS, Kubectl, without_warnings
from tests.e2e.person import PersonsTerminal
from tests.e2e.rules import allow
from tests.e2e.signing_in import sign_in_gate

TWO_DEVELOPERS = {"from": [{"group": "corp:developers", "count": 2}], "within": "5m"}


class Approvers(NamedTuple):
    """The gate, kubectl as the agent, and two people at their terminals."""

    gate: Gate
    agent: Agent
    kubectl: Kubectl
    people: tuple[PersonsTerminal, PersonsTerminal]

    def waiting(self, name: str) -> list[dict[str, Any]]:
        """What the first of the people may answer about the object of that name."""
        done = self.people[0]("approvals", "list", "-o", "json")
        assert done.code == 0, done.text
        return [one for one in json.loads(done.out) if one["name"] == name and one["mayAnswer"]]

    def one_waiting(self, name: str) -> str:
        self.gate.wait_until(lambda: len(self.waiting(name)) == 1, f"one approval about {name}")
        return str(self.waiting(name)[0]["id"])

    def approve(self, approval: str) -> None:
        for person in self.people:
            done = person("approvals", "approve", approval)
            assert done.code == 0, done.text

    def deny(self, approval: str, reason: str) -> None:
        done = self.people[1]("approvals", "deny", approval, "--reason", reason)
        assert done.code == 0, done.text


def held(identifier: str, verbs: str, resources: str, namespace: str) -> dict[str, Any]:
    """A rule that holds requests until two developers have said yes."""
    return {**allow(identifier, verbs, resources, namespace), "effect": "approve", "approval": TWO_DEVELOPERS}


@pytest.fixture(scope="module")
def approvers(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Approvers]:
    folder = tmp_path_factory.mktemp("approvals")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with sign_in_gate(folder, [entry], settings={"workers": 2}) as running:
        people = (PersonsTerminal(folder / "alice", running, ALICE), PersonsTerminal(folder / "bob", running, BOB))
        for person in people:
            person.login()
        rules = [
            allow("see", "get list", "pods configmaps", namespace),
            held("keys", "get", "secrets", namespace),
            held("run", "create", "pods/exec", namespace),
            held("change", "delete create", "configmaps", namespace),
        ]
        agent = running.gate.agent("careful", rules)
        kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, folder).within(namespace)
        yield Approvers(running.gate, agent, kubectl, people)


@pytest.fixture
def secret(direct: Kubectl, namespace: str, marker: str) -> str:
    name = f"key-{marker.lower()}"
    direct.within(namespace).must("create", "secret", "generic", name, "--from-literal=word=hush")
    return name


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=CALL_SECONDS)
    return process.returncode, without_warnings(out)


def test_kubectl_waits_for_two_people_and_passes_once(
    approvers: Approvers, cluster: Cluster, namespace: str, secret: str
) -> None:
    before = cluster.audit_position()
    running = approvers.kubectl.start("get", "secret", secret, "-o", "name")
    approval = approvers.one_waiting(secret)
    assert not cluster.audited(f"secrets/{secret}", before)
    approvers.approve(approval)
    assert finished(running) == (0, f"secret/{secret}\n")
    again = approvers.kubectl.start("get", "secret", secret, "-o", "name")
    other = approvers.one_waiting(secret)
    assert other != approval
    approvers.deny(other, "once is enough")
    code, said = finished(again)
    assert code == 1
    assert "once is enough" in said
    assert (
        len([each for each in cluster.audited(f"secrets/{secret}", before) if each["stage"] == "ResponseComplete"]) == 1
    )
    told = [event["annotations"].get("narrowgate.dev/approval") for event in approvers.gate.events(f"secrets/{secret}")]
    assert {approval, other} <= set(told)


def test_an_exec_that_kubectl_repeats_in_spdy_is_one_question(approvers: Approvers) -> None:
    running = approvers.kubectl.start("exec", "clock", "--", "echo", "ran it")
    approval = approvers.one_waiting("clock")
    approvers.approve(approval)
    code, said = finished(running)
    assert (code, said.strip()) == (0, "ran it")
    refused = approvers.kubectl.start("exec", "clock", "--", "echo", "ran it")
    approvers.deny(approvers.one_waiting("clock"), "not twice")
    code, said = finished(refused)
    assert code != 0
    assert "not twice" in said
    assert approvers.waiting("clock") == []


def test_a_delete_that_is_denied_deletes_nothing(
    approvers: Approvers, direct: Kubectl, namespace: str, marker: str
) -> None:
    name = f"kept-{marker.lower()}"
    direct.within(namespace).must("create", "configmap", name)
    running = approvers.kubectl.start("delete", "configmap", name)
    approvers.deny(approvers.one_waiting(name), "it is in use")
    code, said = finished(running)
    assert code == 1
    assert "it is in use" in said
    assert direct.within(namespace)("get", "configmap", name).code == 0


def test_an_answer_outlives_the_gate_and_nothing_passes_twice(
    approvers: Approvers, cluster: Cluster, namespace: str, secret: str
) -> None:
    before = cluster.audit_position()
    running = approvers.kubectl.start("get", "secret", secret, "-o", "name")
    approval = approvers.one_waiting(secret)
    approvers.gate.kill()
    running.communicate(timeout=CALL_SECONDS)
    assert running.returncode != 0
    approvers.gate.start()
    approvers.approve(approval)
    target = f"/api/v1/namespaces/{namespace}/secrets/{secret}"
    with ThreadPoolExecutor(6) as threads:
        running = approvers.kubectl.start("get", "secret", secret, "-o", "name")
        assert finished(running) == (0, f"secret/{secret}\n")
        sent = [threads.submit(approvers.agent.request, "GET", target) for _ in range(6)]
        approvers.deny(approvers.one_waiting(secret), "it was used")
        assert [each.result().status for each in sent] == [403] * 6
    assert (
        len([each for each in cluster.audited(f"secrets/{secret}", before) if each["stage"] == "ResponseComplete"]) == 1
    )


def test_of_many_who_send_the_same_at_once_to_several_workers_one_passes(
    approvers: Approvers, cluster: Cluster, namespace: str, secret: str
) -> None:
    before = cluster.audit_position()
    target = f"/api/v1/namespaces/{namespace}/secrets/{secret}"
    with ThreadPoolExecutor(12) as threads:
        sent = [threads.submit(approvers.agent.request, "GET", target) for _ in range(12)]
        approvers.approve(approvers.one_waiting(secret))
        # Whoever comes when it has been used up asks anew, and is told no.
        codes = sorted(each.result().status for each in sent if each.done() or not each.cancel())
    assert codes.count(200) == 1
    assert set(codes) == {200, 403}
    assert (
        len([each for each in cluster.audited(f"secrets/{secret}", before) if each["stage"] == "ResponseComplete"]) == 1
    )
