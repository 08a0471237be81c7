"""A task from its first refusal to its end, on a real cluster: an agent's own program, two people, and the record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.dex import ALICE, BOB
from tests.e2e.gate import REPOSITORY, Agent, Cluster, Gate, environment, narrowgate, read_agent
from tests.e2e.kubectl import Kubectl
from tests.e2e.person import PersonsTerminal
from tests.e2e.signing_in import sign_in_gate
from tests.e2e.tasks import AgentTerminal, grantable
from tests.e2e.team import asks
from tests.e2e.workloads import deployment, yaml_of

LOOP_SECONDS = 180.0
WORKER = "worker"
STEPS = ("refused", "asks", "was", "got", "patched", "watched", "exec", "completed")


class Told(NamedTuple):
    """What is left when the agent is done."""

    gate: Gate
    agent: Agent
    said: tuple[str, ...]
    """The lines of the agent's program."""
    task: str
    kubeconfig: Path
    namespace: str
    people: tuple[str, str]
    """Who said yes, in their order, as the record names them."""


def rules(namespace: str) -> list[dict[str, Any]]:
    two = asks(2)
    return [
        grantable("web", "get watch patch", "deployments", namespace, apiGroups=["apps"], approval=two),
        grantable("clock", "get create", "pods pods/exec", namespace, approval=two),
    ]


@pytest.fixture(scope="module")
def told(cluster: Cluster, direct: Kubectl, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The story, from the first refusal to the end of the task."""
    folder = tmp_path_factory.mktemp("story")
    direct.within(namespace).must("apply", "-f", "-", stdin=yaml_of(deployment("web", cluster.image, replicas=0)))
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with sign_in_gate(folder, [entry], settings={"workers": 2}) as running:
        gate = running.gate
        people = [PersonsTerminal(folder / who.name, running, who) for who in (ALICE, BOB)]
        for person in people:
            person.login()
        names = tuple(str(json.loads(person("whoami", "-o", "json").out)["name"]) for person in people)
        terminal = AgentTerminal(gate, gate.agent(WORKER), folder / "agent", cluster.kubectl)
        gate.allow(WORKER, rules(namespace))
        offered = ("tasks", "request", "--reason", "x", "--allow", f"watch deployments.apps/web -n {namespace}")
        gate.wait_until(lambda: terminal(*offered, "--dry-run").code == 0, "it is offered")
        kubeconfig = terminal.shell.folder / "task.kubeconfig"
        loop = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests" / "e2e" / "agent_loop.py"),
             str(cluster.kubectl), namespace, str(terminal.agent.kubeconfig), str(kubeconfig)],
            cwd=terminal.shell.folder,
            env={**environment(), **terminal.variables, "HOME": str(terminal.shell.home),
                 "NARROWGATE_COMMAND": narrowgate()},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            task = _answered(gate, people, loop)
            said, _ = loop.communicate(timeout=LOOP_SECONDS)
        finally:
            if loop.poll() is None:
                # What it has started, too.
                os.killpg(loop.pid, signal.SIGKILL)
                loop.communicate()
        assert loop.returncode == 0, said
        yield Told(gate, terminal.agent, tuple(said.splitlines()), task, kubeconfig, namespace, (names[0], names[1]))
    direct.within(namespace)("delete", "deployment", "web", "--wait=false")


def _answered(gate: Gate, people: list[PersonsTerminal], loop: subprocess.Popen[str]) -> str:
    """The task's id, once both people have looked at the question and said yes to it."""
    found: list[dict[str, Any]] = []

    def asked() -> bool:
        if loop.poll() is not None:
            raise AssertionError(f"the agent ended before it asked: {loop.communicate()[0]}")
        listed = people[0]("approvals", "list", "-o", "json")
        assert listed.code == 0, listed.text
        found[:] = [one for one in json.loads(listed.out) if one["mayAnswer"]]
        return bool(found)

    gate.wait_until(asked, "the agent asks", LOOP_SECONDS)
    (question,) = found
    for person in people:
        shown = person("approvals", "show", question["id"])
        assert (shown.code, "roll back web" in shown.out) == (0, True), shown.text
        done = person("approvals", "approve", question["id"])
        assert done.code == 0, done.text
    return str(question["id"])


def test_an_agents_own_program_is_refused_asks_as_it_is_told_works_and_completes(told: Told) -> None:
    steps = [line for line in told.said if line.startswith(STEPS)]
    assert steps == [
        "refused get",
        "refused patch",
        "refused exec",
        "refused watch",
        "asks",
        "was granted",
        "got deployment.apps/web",
        "got pod/clock",
        "patched web",
        "watched it roll back",
        "exec said inside",
        "exec said once more",
        "completed",
    ]


def test_the_task_was_no_more_than_the_refusals_named(told: Told) -> None:
    approval = told.gate.command("audit", "export", "--format", "jsonl")
    assert approval.code == 0, approval.text
    where = f"namespaces/{told.namespace}"
    by_task = [
        (event["verb"], event["requestURI"].partition("?")[0])
        for event in map(json.loads, approval.out.splitlines())
        if event["annotations"].get("narrowgate.dev/task") == told.task and where in event["requestURI"]
    ]
    assert set(by_task) == {
        ("get", f"/apis/apps/v1/{where}/deployments/web"),
        ("patch", f"/apis/apps/v1/{where}/deployments/web"),
        ("watch", f"/apis/apps/v1/{where}/deployments"),
        ("get", f"/api/v1/{where}/pods/clock"),
        ("create", f"/api/v1/{where}/pods/clock/exec"),
    }


def test_the_record_tells_the_story_in_its_order(told: Told) -> None:
    exported = told.gate.command("audit", "export", "--format", "jsonl")
    assert exported.code == 0, exported.text
    alice, bob = told.people
    worker, who = f"agent:{WORKER}", {alice: "alice", bob: "bob"}
    story = [
        (who.get(name.removeprefix("person:"), name), event["verb"], _outcome(event))
        for event in map(json.loads, exported.out.splitlines())
        if (name := event["user"].get("username", "")) and event["stage"] == "ResponseComplete"
    ]
    chapters = [
        (worker, "get", "deny"),
        (worker, "patch", "deny"),
        (worker, "create", "deny"),
        (worker, "watch", "deny"),
        (worker, "create", "allow"),
        ("alice", "get", "allow"),
        ("alice", "approve", "allow"),
        ("bob", "get", "allow"),
        ("bob", "approve", "allow"),
        (worker, "collect", "allow"),
        (worker, "get", f"allow {told.task}"),
        (worker, "patch", f"allow {told.task}"),
        (worker, "create", f"allow {told.task}"),
        (worker, "complete", f"allow {told.task}"),
    ]
    at = -1
    for chapter in chapters:
        assert chapter in story[at + 1 :], f"{chapter} is not told behind {story[: at + 1]}"
        at = story.index(chapter, at + 1)
    assert len([one for one in story if one[1] == "approve"]) == 2
    verified = told.gate.command("audit", "verify")
    assert verified.code == 0, verified.text


def _outcome(event: Mapping[str, Any]) -> str:
    """What was decided, and on which task it was done."""
    annotations = event["annotations"]
    return f"{annotations.get('narrowgate.dev/decision')} {annotations.get('narrowgate.dev/task', '')}".strip()


UPGRADES = {
    "websocket": {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "v5.channel.k8s.io"},
    "spdy": {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
}  # fmt: skip
VERBS = {
    "get": ("GET", "{pods}/clock"),
    "list": ("GET", "{pods}"),
    "list everywhere": ("GET", "/api/v1/pods"),
    "watch": ("GET", "{pods}?watch=1&timeoutSeconds=5"),
    "log": ("GET", "{pods}/clock/log"),
    "proxy": ("GET", "{pods}/clock/proxy/"),
    "create": ("POST", "/api/v1/namespaces/{namespace}/configmaps"),
    "create dry": ("POST", "/api/v1/namespaces/{namespace}/configmaps?dryRun=All"),
    "update": ("PUT", "{deployments}/web"),
    "patch": ("PATCH", "{deployments}/web"),
    "delete": ("DELETE", "{deployments}/web"),
    "deletecollection": ("DELETE", "{deployments}"),
    "evict": ("POST", "{pods}/clock/eviction"),
    "token": ("POST", "/api/v1/namespaces/{namespace}/serviceaccounts/default/token"),
    "exec by POST": ("POST", "{pods}/clock/exec?command=true&stdout=true"),
    "ask what it may": ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    "ask who it is": ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
    "version": ("GET", "/version"),
    "discovery": ("GET", "/apis"),
    "openapi": ("GET", "/openapi/v3"),
    "health": ("GET", "/readyz"),
    "by name of the cluster": ("GET", "/clusters/dev{pods}"),
}
"""Everything that a client does, whether the task covered it or not."""
STREAMS = {
    "exec": "{pods}/clock/exec?command=true&stdout=true",
    "attach": "{pods}/clock/attach?stdout=true",
    "port-forward": "{pods}/clock/portforward?ports=80",
}


def _at(told: Told, target: str) -> str:
    where = f"namespaces/{told.namespace}"
    return target.format(
        namespace=told.namespace, pods=f"/api/v1/{where}/pods", deployments=f"/apis/apps/v1/{where}/deployments"
    )


@pytest.mark.parametrize("verb", VERBS)
def test_afterwards_its_kubeconfig_opens_nothing(verb: str, told: Told) -> None:
    past = read_agent("past", told.kubeconfig)
    method, target = VERBS[verb]
    typed = {"Content-Type": "application/json"} if method in ("POST", "PUT", "PATCH") else {}
    answer = past.request(method, _at(told, target), typed, b"{}" if typed else b"")
    assert (answer.status, b"the task of this credential is over" in answer.body) == (401, True)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("protocol", UPGRADES)
def test_afterwards_its_kubeconfig_opens_no_stream(stream: str, protocol: str, told: Told) -> None:
    past = read_agent("past", told.kubeconfig)
    method = "GET" if protocol == "websocket" else "POST"
    assert past.request(method, _at(told, STREAMS[stream]), UPGRADES[protocol]).status == 401


@pytest.mark.parametrize("stays", ["the agent's own credential", "kubectl with the task's"])
def test_afterwards_kubectl_is_told_so(stays: str, told: Told, cluster: Cluster, tmp_path: Path) -> None:
    own = stays.startswith("the agent")
    kubectl = Kubectl(cluster.kubectl, told.agent.kubeconfig if own else told.kubeconfig, tmp_path)
    commands = (
        ("get", "deployment", "web"), ("patch", "deployment", "web", "-p", "{}"), ("exec", "clock", "--", "true"),
        ("logs", "clock"), ("delete", "pod", "clock", "--wait=false"), ("auth", "can-i", "get", "pods"),
    )  # fmt: skip
    for command in commands:
        done = kubectl.within(told.namespace)(*command)
        assert done.code == 1, done.text
        assert ("orbidden" if own else "You must be logged in") in done.text or done.out == b"no\n", done.text
