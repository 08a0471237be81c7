"""People at a real cluster: emergencies that they take for themselves, and tasks that they ask for an agent of theirs.

Given people who are signed in at a terminal and a rule for emergencies; when one of them takes one, it opens at once
what the rule says and nothing else; then another one looks at it, and a no or a sign-out ends it within a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.command_line import Shell
from tests.e2e.dex import ALICE, BOB, CAROL
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.person import PersonsTerminal
from tests.e2e.rules import allow, deny
from tests.e2e.signing_in import sign_in_gate
from tests.e2e.tasks import credential_of, grantable
from tests.e2e.test_changes import ended, running

WATCH = ("get", "pods", "clock", "--watch")
EXEC = ("exec", "clock", "--", "sh", "-c", "echo begun; sleep 300")
MARK = "narrowgate.dev/emergency"
REVIEW = {"review": {"from": [{"group": "corp:developers", "count": 1}], "within": "24h"}}
MOST = 3
"""Emergencies of one person a day."""


class Town:
    """A gate, a cluster, and three people: alice and bob are developers, carol is in no group."""

    def __init__(self, gate: Gate, cluster: Cluster, namespace: str, people: dict[str, PersonsTerminal]) -> None:
        self.gate, self.cluster, self.namespace, self.people = gate, cluster, namespace, people

    def wish(self, *words: str) -> list[str]:
        allowed = [f"{one} -n {self.namespace}" for one in words or ("get,list,watch pods", "create pods/exec")]
        given = ["--emergency", "--cluster", "dev", "--reason", "the clock stands still", "--for", "10m"]
        return ["tasks", "request", *given, *(part for one in allowed for part in ("--allow", one))]

    def kubectl(self, who: str, kubeconfig: Path) -> Kubectl:
        return Kubectl(self.cluster.kubectl, kubeconfig, self.people[who].shell.home).within(self.namespace)

    def take(self, who: str, file: str, *words: str) -> tuple[dict[str, Any], Kubectl]:
        """An emergency of theirs, and kubectl with its kubeconfig."""
        path = self.people[who].shell.folder / file
        done = self.people[who](*self.wish(*words), "--kubeconfig", path, "-o", "json")
        assert done.code == 0, done.text
        task: dict[str, Any] = json.loads(done.out)
        assert f"approval {task['id']}-review" in done.err
        return task, self.kubectl(who, path)

    def shown(self, who: str, kind: str, name: str) -> dict[str, Any]:
        done = self.people[who](kind, "show", name, "-o", "json")
        assert done.code == 0, done.text
        document: dict[str, Any] = json.loads(done.out)
        return document

    def name_of(self, who: str) -> str:
        done = self.people[who]("whoami", "-o", "json")
        assert done.code == 0, done.text
        return str(json.loads(done.out)["name"])


@pytest.fixture(scope="module")
def town(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("emergencies")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with sign_in_gate(folder, [entry]) as running_gate:
        gate = running_gate.gate
        people = {who.name: PersonsTerminal(folder / who.name, running_gate, who) for who in (ALICE, BOB, CAROL)}
        for person in people.values():
            person.login()
        rules = [
            grantable("pods", "get list watch", "pods", namespace, emergency=REVIEW),
            grantable("shell", "create", "pods/exec", namespace, emergency=REVIEW),
            grantable("maps", "get", "configmaps", namespace, emergency=REVIEW),
            deny("no-maps", "get", "configmaps", namespaces=[namespace], names=["cm-1"]),
        ]
        gate.write_policy("break-glass", [{"kind": "Group", "name": "corp:developers"}], rules)
        town = Town(gate, cluster, namespace, people)
        gate.wait_until(lambda: people["alice"](*town.wish(), "--dry-run").code == 0, "it is offered")
        yield town


def marked(gate: Gate, containing: str) -> list[tuple[str, str, bool]]:
    """Verb and stage of what the record has about it, and whether that is marked as of an emergency."""
    return [
        (event["verb"], event["stage"], event["annotations"].get(MARK) == "true") for event in gate.events(containing)
    ]


def test_an_emergency_opens_at_once_what_its_rules_say_and_signing_out_ends_it_for_good(town: Town) -> None:
    alice = town.people["alice"]
    task, at_work = town.take("alice", "first.kubeconfig", "get,list,watch pods", "create pods/exec", "get configmaps")
    assert "clock" in at_work.must("get", "pods")
    assert at_work("get", "secrets").code == 1
    # A deny rule wins over everything, and nothing leads around it.
    refused = at_work("get", "configmap", "cm-1")
    assert (refused.code, "no-maps" in refused.text) == (1, True)
    told = [one for one in marked(town.gate, task["id"]) if one[0] in ("list", "get")]
    assert told
    assert all(mark for _, _, mark in told)
    taking = [event for event in town.gate.events('"resource":"emergencies"') if event["verb"] == "create"]
    assert {event["annotations"].get(MARK) for event in taking} == {"true"}
    assert "active (emergency)" in alice("tasks", "list").out
    # Whoever took it does not answer; somebody else says that it was in order, and it goes on.
    review = f"{task['id']}-review"
    own = alice("approvals", "approve", review)
    assert (own.code, "nobody answers what was asked by or for themselves" in own.text) == (1, True)
    taken_back = alice("approvals", "withdraw", review)
    assert (taken_back.code, "nobody takes it back" in taken_back.text) == (1, True)
    assert town.people["carol"]("approvals", "approve", review).code == 1
    listed = town.people["bob"]("approvals", "list")
    assert f"review of emergency: get,list,watch pods -n {town.namespace}"[:40] in listed.out
    said = town.people["bob"]("approvals", "approve", review, "--comment", "it stood still")
    assert (said.code, "the emergency was in order" in said.out) == (0, True)
    with running(at_work, *WATCH, until=b"clock") as watch, running(at_work, *EXEC, until=b"begun") as shell:
        assert (watch.poll(), shell.poll()) == (None, None)
        try:
            out = alice("logout")
            assert out.code == 0, out.text
            assert (ended(watch), ended(shell)) == (True, True)
        finally:
            alice.login()
    town.gate.wait_until(lambda: at_work("get", "pods").code == 1, "it is over")
    # Signed in again she takes another one, and the first stays over.
    over = at_work("get", "pods")
    assert over.code == 1
    town.gate.wait_until(
        lambda: town.shown("alice", "tasks", task["id"])["state"] == "revoked", "its end is written down"
    )
    assert "sign-in" in town.shown("alice", "tasks", task["id"])["endedBecause"]


def test_a_no_ends_its_streams_within_a_second_and_there_is_no_other_one_at_once(town: Town) -> None:
    task, at_work = town.take("bob", "bob.kubeconfig")
    with running(at_work, *WATCH, until=b"clock") as watch:
        said = town.people["alice"]("approvals", "deny", f"{task['id']}-review", "--reason", "the clock goes")
        assert (said.code, "the emergency is over" in said.out) == (0, True)
        assert ended(watch)
    town.gate.wait_until(lambda: at_work("get", "pods").code == 1, "it is over")
    shown = town.shown("bob", "tasks", task["id"])
    assert (shown["state"], shown["endedBecause"]) == ("revoked", "found not in order: the clock goes")
    again = town.people["bob"](*town.wish())
    assert (again.code, "found not in order" in again.text) == (1, True)


def test_nobody_but_a_named_person_takes_one_and_nobody_for_an_agent(town: Town, tmp_path: Path) -> None:
    not_named = town.people["carol"](*town.wish())
    assert (not_named.code, "no emergency rule offers it" in not_named.text) == (1, True)
    as_task = town.people["alice"]("tasks", "request", "--agent", "loose", *town.wish()[2:])
    assert (as_task.code, "for yourself, and for no agent" in as_task.text) == (2, True)
    rules = [
        grantable("pods", "get list", "pods", town.namespace, emergency=REVIEW),
        allow("see", "get", "events", "x"),
    ]
    agent = town.gate.agent("loose", rules)
    shell = Shell(tmp_path / "terminal-loose")
    told = {
        "NARROWGATE_GATE": town.people["alice"].gate.url,
        "NARROWGATE_CERTIFICATE_AUTHORITY": str(town.people["alice"].gate.ca),
        "NARROWGATE_CREDENTIAL": agent.token,
    }
    refused = shell(*town.wish("get,list pods"), **told)
    assert (refused.code, "only a person does, for themselves" in refused.text) == (1, True)
    plain = shell("tasks", "request", "--reason", "look", "--allow", f"get pods -n {town.namespace}", **told)
    assert (plain.code, "no policy offers it" in plain.text) == (1, True)


def test_its_credential_is_for_its_own_cluster_and_work_and_gives_nothing_further(town: Town, tmp_path: Path) -> None:
    task, at_work = town.take("alice", "second.kubeconfig")
    shell = Shell(tmp_path / "elsewhere")
    stolen = {
        "NARROWGATE_GATE": town.people["alice"].gate.url,
        "NARROWGATE_CERTIFICATE_AUTHORITY": str(town.people["alice"].gate.ca),
        "NARROWGATE_CREDENTIAL": credential_of(town.people["alice"].shell.folder / "second.kubeconfig"),
    }
    assert "cannot" in shell(*town.wish(), **stolen).text
    assert shell("approvals", "list", **stolen).code == 1
    assert shell("tasks", "list", **stolen).code == 1
    assert at_work("get", "pods", "--as", "system:admin").code == 1
    # The policy is tightened: a rule that is none for emergencies any more gives this one nothing.
    plain = [grantable("pods", "get list watch", "pods", town.namespace)]
    kept = (town.gate.policies / "break-glass.yaml").read_text()
    try:
        town.gate.write_policy("break-glass", [{"kind": "Group", "name": "corp:developers"}], plain)
        town.gate.wait_until(lambda: at_work("get", "pods").code == 1, "it gives nothing any more")
    finally:
        town.gate.write_policy_text("break-glass.yaml", kept)
    town.gate.wait_until(lambda: at_work("get", "pods").code == 0, "it is as before")
    done = town.people["alice"]("tasks", "complete", task["id"])
    assert done.code == 0, done.text
    town.gate.wait_until(lambda: at_work("get", "pods").code == 1, "it is over")


def test_there_are_only_so_many_a_day(town: Town) -> None:
    taken = 0
    while (done := town.people["alice"](*town.wish("get pods"))).code == 0 and taken < MOST:
        taken += 1
    assert (done.code, f"{MOST} is the most" in done.text) == (1, True), done.text
    listed = json.loads(town.people["alice"]("tasks", "list", "-o", "json").out)
    assert sum(one["emergency"] for one in listed) == MOST


# --- tasks that people ask for an agent


def test_a_person_asks_for_an_agent_of_theirs_and_for_no_other(town: Town, tmp_path: Path) -> None:
    gate, namespace = town.gate, town.namespace
    for name, owner in (("hers", f"person:{town.name_of('alice')}"), ("his", f"person:{town.name_of('bob')}")):
        added = ("agents", "add", name, "--owner", owner, "--purpose", "test", "--cluster", "dev")
        done = gate.command(*added, "--kubeconfig", str(tmp_path / f"{name}.kubeconfig"))
        assert done.code == 0, done.text
        gate.allow(name, [grantable("read", "get list watch", "pods", namespace), allow("see", "get", "events", "x")])
    alice = town.people["alice"]
    words = ("--reason", "look at the clock", "--for", "5m", "--allow", f"get,list,watch pods -n {namespace}")
    gate.wait_until(lambda: alice("tasks", "request", "--agent", "hers", *words, "--dry-run").code == 0, "offered")
    refused = alice("tasks", "request", "--agent", "his", *words)
    assert (refused.code, 'there is no agent "his", or you do not answer for it' in refused.text) == (1, True)
    path = tmp_path / "asked.kubeconfig"
    done = alice("tasks", "request", "--agent", "hers", *words, "--kubeconfig", path, "-o", "json")
    assert done.code == 0, done.text
    task = json.loads(done.out)
    assert (task["kind"], task["name"], task["emergency"]) == ("Agent", "hers", False)
    assert task["requestedBy"] == f"person:{town.name_of('alice')}"
    at_work = town.kubectl("alice", path)
    assert "clock" in at_work.must("get", "pods")
    # What is done with it is the agent's doing, in its name and in no emergency.
    assert gate.wait_for_event(task["id"])
    seen = [each for each in gate.events(task["id"]) if each["verb"] == "list"]
    assert {each["user"]["username"] for each in seen} == {"agent:hers"}
    assert not any(MARK in each["annotations"] for each in seen)
    # Nobody else sees or ends it; she does, and what runs ends with it.
    assert town.people["bob"]("tasks", "show", task["id"]).code == 1
    assert town.people["bob"]("tasks", "revoke", task["id"]).code == 1
    with running(at_work, *WATCH, until=b"clock") as watch:
        done = alice("tasks", "revoke", task["id"], "--reason", "seen enough")
        assert done.code == 0, done.text
        assert ended(watch)
    gate.wait_until(lambda: at_work("get", "pods").code == 1, "it is over")
