"""Tasks that need people, on a real cluster: two distinct people say yes, and only then there is anything to hold."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.api_caller import Caller, by_session, by_token
from tests.e2e.dex import ALICE, BOB, CAROL
from tests.e2e.gate import Cluster, Gate, environment, narrowgate
from tests.e2e.kubectl import CALL_SECONDS, Kubectl, without_warnings
from tests.e2e.person import PersonsTerminal
from tests.e2e.rules import allow
from tests.e2e.signing_in import sign_in_gate
from tests.e2e.tasks import AgentTerminal, grantable, hinted

from narrowgate.core.moment import moment_text

TWO_DEVELOPERS = {"from": [{"group": "corp:developers", "count": 2}], "within": "5m"}
OVER = 120.0
"""Seconds for a command that waits for people who answer at once."""


class Team:
    """A gate, a cluster, and three people at their terminals: two developers, and carol, who is in no group."""

    def __init__(self, gate: Gate, cluster: Cluster, namespace: str, people: dict[str, PersonsTerminal]) -> None:
        self.gate, self.cluster, self.namespace, self.people = gate, cluster, namespace, people

    def agent(self, name: str, owner: str, folder: Path) -> AgentTerminal:
        """A new agent that may have pods for a task when two developers say yes."""
        kubeconfig = folder / f"{name}.kubeconfig"
        added = ("agents", "add", name, "--owner", owner, "--purpose", "test", "--cluster", "dev")
        done = self.gate.command(*added, "--kubeconfig", str(kubeconfig))
        assert done.code == 0, done.text
        agent = self.gate.agent_from(name, kubeconfig)
        self.gate.wait_until(lambda: agent.request("GET", "/version").status == 403, f"{name} is known")
        self.gate.allow(name, [grantable("read", "get list", "pods", self.namespace, approval=TWO_DEVELOPERS)])
        made = AgentTerminal(self.gate, agent, folder / f"terminal-{name}", self.cluster.kubectl)
        self.gate.wait_until(lambda: made("tasks", "request", *self.wish, "--dry-run").code == 0, "it is offered")
        return made

    @property
    def wish(self) -> tuple[str, ...]:
        return ("--reason", "look at the pods", "--for", "10m", "--allow", f"get,list pods -n {self.namespace}")

    def name_of(self, who: str) -> str:
        done = self.people[who]("whoami", "-o", "json")
        assert done.code == 0, done.text
        return str(json.loads(done.out)["name"])

    def requested(self, agent: AgentTerminal) -> str:
        """A task that waits; its id, and its approval's."""
        task = agent.document("tasks", "request", *self.wish, "--no-wait")
        assert (task["state"], "credential" in task) == ("requested", False)
        return str(task["id"])

    def state(self, agent: AgentTerminal, approval: str) -> str:
        return str(agent.document("approvals", "show", approval)["state"])

    def approve(self, who: str, approval: str) -> None:
        done = self.people[who]("approvals", "approve", approval)
        assert done.code == 0, done.text


@pytest.fixture(scope="module")
def team(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("answers")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with sign_in_gate(folder, [entry]) as running:
        people = {who.name: PersonsTerminal(folder / who.name, running, who) for who in (ALICE, BOB, CAROL)}
        for person in people.values():
            person.login()
        yield Team(running.gate, cluster, namespace, people)


def waiting(team: Team, who: str) -> list[dict[str, Any]]:
    done = team.people[who]("approvals", "list", "-o", "json")
    assert done.code == 0, done.text
    return [one for one in json.loads(done.out) if one["mayAnswer"]]


def test_an_agent_is_refused_asks_as_it_is_told_two_people_say_yes_it_works_and_completes(
    team: Team, tmp_path: Path, cluster: Cluster
) -> None:
    agent = team.agent("asker", f"person:{team.name_of('carol')}", tmp_path)
    kubeconfig = agent.shell.folder / "task.kubeconfig"
    refused = agent.kubectl(agent.agent.kubeconfig)("get", "--raw", f"/api/v1/namespaces/{team.namespace}/pods")
    assert refused.code == 1
    running = subprocess.Popen(
        [narrowgate(), *hinted(refused), "--kubeconfig", str(kubeconfig)],
        cwd=agent.shell.folder,
        env={**environment(), "HOME": str(agent.shell.home), **agent.variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        team.gate.wait_until(lambda: len(waiting(team, "alice")) == 1, "alice is asked")
        (question,) = waiting(team, "alice")
        assert question["chain"] == ["agent:asker"]
        assert question["wanted"] == [f"list pods -n {team.namespace}"]
        assert waiting(team, "carol") == []
        team.approve("alice", question["id"])
        # One person of two: nothing is given, however often alice says it.
        team.approve("alice", question["id"])
        assert team.state(agent, question["id"]) == "pending"
        assert not kubeconfig.exists()
        team.approve("bob", question["id"])
        out, err = running.communicate(timeout=OVER)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
    assert running.returncode == 0, out + err
    assert "waits for 2 of corp:developers" in err
    at_work = agent.kubectl(kubeconfig).within(team.namespace)
    assert "clock" in at_work.must("get", "pods")
    assert at_work("get", "configmaps").code == 1
    completed = agent("tasks", "complete", "--kubeconfig", kubeconfig, NARROWGATE_CREDENTIAL="")
    assert completed.code == 0, completed.text
    team.gate.wait_until(lambda: at_work("get", "pods").code == 1, "it is over")
    # Who was asked what, and said what, is in the record in its order.
    told = [
        (event["verb"], event["user"]["username"])
        for event in team.gate.events(question["id"])
        if event["stage"] == "ResponseComplete" and event["verb"] in ("approve", "collect", "complete")
    ]
    names = [team.name_of("alice")] * 2 + [team.name_of("bob")]
    assert [verb for verb, _ in told] == ["approve"] * 3 + ["collect", "complete"]
    assert all(name in user for name, (_, user) in zip(names, told[:3], strict=True))


def test_its_owner_and_the_agent_itself_never_answer(team: Team, tmp_path: Path) -> None:
    agent = team.agent("owned", f"person:{team.name_of('alice')}", tmp_path)
    task = team.requested(agent)
    refused = team.people["alice"]("approvals", "approve", task)
    assert (refused.code, "by or for themselves" in refused.text) == (1, True)
    carol = team.people["carol"]("approvals", "approve", task)
    assert (carol.code, "there is no approval" in carol.text) == (1, True)
    own = by_token(team.gate, agent.agent.token)("POST", f"/approvals/{task}/approve", {})
    assert (own.status, "only people answer" in own.document["detail"]) == (403, True)
    # An agent's terminal has nobody signed in; its credential does not answer in a person's place.
    assert agent("approvals", "approve", task).code == 1
    team.approve("bob", task)
    assert team.state(agent, task) == "pending"
    assert by_token(team.gate, agent.agent.token)("POST", f"/tasks/{task}/collect").status == 409
    denied = team.people["bob"]("approvals", "deny", task, "--reason", "changed my mind")
    assert denied.code == 0, denied.text
    done = agent("tasks", "collect", task)
    assert (done.code, "changed my mind" in done.text) == (1, True)
    assert agent.document("tasks", "show", task)["state"] == "denied"


def test_whoever_is_signed_in_nowhere_when_it_is_collected_has_not_approved(team: Team, tmp_path: Path) -> None:
    agent = team.agent("patient", f"person:{team.name_of('carol')}", tmp_path)
    bob = team.people["bob"]
    page = bob.gate.page()
    bob.login(page=page)
    task = team.requested(agent)
    for who in ("alice", "bob"):
        team.approve(who, task)
    assert team.state(agent, task) == "approved"
    # The command line's, and every browser's.
    console = by_session(team.gate, page)
    running = console("GET", "/sign-ins?running=true").document["items"]
    for sign_in in sorted(running, key=lambda one: bool(one["current"])):
        assert console("DELETE", f"/sign-ins/{sign_in['id']}").status == 204
    try:
        done = agent("tasks", "collect", task)
        assert (done.code, "signed in no more, or not in the group" in done.text) == (1, True)
        assert agent.document("tasks", "show", task)["state"] == "requested"
    finally:
        bob.login()
    kubeconfig = agent.shell.folder / "task.kubeconfig"
    done = agent("tasks", "collect", task, "--kubeconfig", kubeconfig)
    assert done.code == 0, done.text
    assert "clock" in agent.kubectl(kubeconfig).within(team.namespace).must("get", "pods")
    # The answer was used: it gives nothing a second time.
    assert agent("tasks", "collect", task).code == 1


def test_answers_outlive_the_gate(team: Team, tmp_path: Path) -> None:
    agent = team.agent("steady", f"person:{team.name_of('carol')}", tmp_path)
    task = team.requested(agent)
    team.approve("alice", task)
    team.gate.kill()
    team.gate.start()
    team.approve("bob", task)
    kubeconfig = agent.shell.folder / "task.kubeconfig"
    done = agent("tasks", "collect", task, "--kubeconfig", kubeconfig)
    assert done.code == 0, done.text
    assert "clock" in agent.kubectl(kubeconfig).within(team.namespace).must("get", "pods")


def test_what_was_withdrawn_waits_for_nobody(team: Team, tmp_path: Path) -> None:
    agent = team.agent("hasty", f"person:{team.name_of('carol')}", tmp_path)
    task = team.requested(agent)
    assert [one["id"] for one in waiting(team, "bob") if one["chain"] == ["agent:hasty"]] == [task]
    done = agent("approvals", "withdraw", task)
    assert (done.code, done.out) == (0, f"approval {task} is withdrawn\n")
    assert [one for one in waiting(team, "bob") if one["chain"] == ["agent:hasty"]] == []
    late = team.people["bob"]("approvals", "approve", task)
    assert (late.code, "is withdrawn" in late.text) == (1, True)


def test_whoever_got_a_tasks_credential_does_not_answer_what_is_sent_with_it(
    team: Team, tmp_path: Path, direct: Kubectl, marker: str
) -> None:
    # The group owns the agent, so nobody is its owner; alice asks for the task, and holds its credential.
    agent = team.agent("shared", "group:corp:developers", tmp_path)
    name, one = f"key-{marker.lower()}", {"from": [{"group": "corp:developers", "count": 1}], "within": "5m"}
    rules = [
        grantable("read", "get list", "pods", team.namespace),
        {**allow("keys", "get", "secrets", team.namespace), "effect": "approve", "approval": one},
    ]
    direct.within(team.namespace).must("create", "secret", "generic", name, "--from-literal=word=hush")
    team.gate.allow("shared", rules)
    kubeconfig, alice = tmp_path / "alice.kubeconfig", team.people["alice"]
    wish = ("tasks", "request", "--agent", "shared", *team.wish)
    team.gate.wait_until(lambda: "approval: none" in alice(*wish, "--dry-run").out, "nobody is asked any more")
    asked = alice(*wish, "--kubeconfig", kubeconfig)
    assert asked.code == 0, asked.text
    held = agent.kubectl(kubeconfig).within(team.namespace).start("get", "secret", name, "-o", "name")
    try:
        team.gate.wait_until(lambda: any(each["name"] == name for each in waiting(team, "bob")), "bob is asked")
        (question,) = [each for each in waiting(team, "bob") if each["name"] == name]
        refused = alice("approvals", "approve", question["id"])
        assert (refused.code, "by or for themselves" in refused.text) == (1, True)
        assert held.poll() is None
        team.approve("bob", question["id"])
        out, _ = held.communicate(timeout=CALL_SECONDS)
        assert (held.returncode, without_warnings(out)) == (0, f"secret/{name}\n")
    finally:
        if held.poll() is None:
            held.kill()
            held.communicate()


def test_somebody_answers_in_the_place_of_who_is_away_until_it_is_taken_back(team: Team, tmp_path: Path) -> None:
    agent = team.agent("covered", "group:corp:nobody", tmp_path)
    alice, carol = team.people["alice"], team.people["carol"]
    until = moment_text(time.time() + 3600)
    made = alice(
        "approvals", "delegate", "--to", team.name_of("carol"), "--until", until, "--groups", "corp:developers",
        "--comment", "at a conference", "-o", "json",
    )  # fmt: skip
    assert made.code == 0, made.text
    delegation = json.loads(made.out)
    task = team.requested(agent)
    assert [one["id"] for one in waiting(team, "carol") if one["chain"] == ["agent:covered"]] == [task]
    team.approve("carol", task)
    # Both of them are one person.
    team.approve("alice", task)
    refused = carol("approvals", "approve", task)
    assert (refused.code, "has answered" in refused.text) == (1, True)
    assert team.state(agent, task) == "pending"
    team.approve("bob", task)
    shown = carol("approvals", "show", task)
    assert f"{team.name_of('carol')} for {team.name_of('alice')}: yes" in shown.out
    kubeconfig = agent.shell.folder / "task.kubeconfig"
    done = agent("tasks", "collect", task, "--kubeconfig", kubeconfig)
    assert done.code == 0, done.text
    assert "clock" in agent.kubectl(kubeconfig).within(team.namespace).must("get", "pods")
    # What was said in alice's place counts no more once she has taken it back.
    second = team.requested(agent)
    for who in ("carol", "bob"):
        team.approve(who, second)
    assert team.state(agent, second) == "approved"
    listed = carol("approvals", "delegations")
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [[delegation["id"], "inForce"]]
    assert alice("approvals", "undelegate", delegation["id"]).code == 0
    done = agent("tasks", "collect", second)
    assert (done.code, "not in the group" in done.text) == (1, True)
    assert carol("approvals", "delegations").err == "nobody answers in your place, nor you in anybody's\n"


def console(team: Team, who: str) -> Caller:
    """The API as a browser calls it in which somebody has just signed in."""
    page = team.people[who].gate.page()
    team.people[who].login(page=page)
    return by_session(team.gate, page)


def test_whoever_rotated_the_agents_credential_does_not_answer_what_it_asks(team: Team, tmp_path: Path) -> None:
    # The group owns the agent, and one of the group is enough: alice would need nobody but herself.
    agent = team.agent("rotated", "group:corp:developers", tmp_path)
    one = {"from": [{"group": "corp:developers", "count": 1}], "within": "5m"}
    team.gate.allow("rotated", [grantable("read", "get list", "pods", team.namespace, approval=one)])
    rotated = console(team, "alice")("POST", "/agents/rotated/rotate", {})
    assert rotated.status == 200, rotated.document
    assert rotated.document["handedTo"] == [f"person:{team.name_of('alice')}"]
    mine = {"NARROWGATE_CREDENTIAL": rotated.document["credential"]}
    offered = ("tasks", "request", *team.wish, "--dry-run", "-o", "json")
    team.gate.wait_until(
        lambda: (done := agent(*offered, **mine)).code == 0 and json.loads(done.out)["approvers"][0]["count"] == 1,
        "one is asked",
    )
    task = str(agent.document("tasks", "request", *team.wish, "--no-wait", **mine)["id"])
    refused = team.people["alice"]("approvals", "approve", task)
    assert (refused.code, "credential they were shown" in refused.text) == (1, True)
    team.approve("bob", task)
    # Whoever is shown one after saying yes has not said yes.
    bobs = console(team, "bob")("POST", "/agents/rotated/rotate", {"keepOldFor": "10m"})
    assert bobs.status == 200, bobs.document
    done = agent("tasks", "collect", task, **mine)
    assert (done.code, "shown a credential of the agent since" in done.text) == (1, True)
    assert agent.document("tasks", "show", task, **mine)["state"] == "requested"


def test_a_rule_keeps_the_owning_group_from_answering_and_says_where_nobody_could(team: Team, tmp_path: Path) -> None:
    agent = team.agent("theirs", "group:corp:developers", tmp_path)
    kept_out = {"from": [{"group": "corp:developers", "count": 1}], "within": "5m", "notByOwner": True}
    team.gate.allow("theirs", [grantable("read", "get list", "pods", team.namespace, approval=kept_out)])
    wish = ("tasks", "request", *team.wish, "--no-wait")
    team.gate.wait_until(lambda: "nobody can answer" in agent(*wish).text, "the owning group is asked, and kept out")
    # Alice is in sre as well; being asked as one does not hide being the other.
    kept_out["from"] = [{"group": "corp:sre", "count": 1}]
    team.gate.allow("theirs", [grantable("read", "get list", "pods", team.namespace, approval=kept_out)])
    team.gate.wait_until(lambda: agent(*wish).code == 0, "sre is asked")
    task = team.requested(agent)
    refused = team.people["alice"]("approvals", "approve", task)
    assert (refused.code, "kept out by the rule (notByOwner)" in refused.text) == (1, True)
    assert "not by who answers for the agent" in team.people["alice"]("approvals", "show", task).out
