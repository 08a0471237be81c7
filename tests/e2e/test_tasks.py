"""Access for one piece of work, on a real cluster: refused, asked for, used, completed; afterwards there is nothing."""

from __future__ import annotations

import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.tasks import AgentTerminal, credential_of, grantable, hinted, terminal
from tests.e2e.test_changes import ended, running

DECIDED = "narrowgate.dev/decision"
RECORDED = "recorded"

WATCH = ("get", "pods", "clock", "--watch")


@pytest.fixture(scope="module")
def tasks_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("tasks"), [entry])
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


class Terminals:
    """Makes agents that hold nothing, and to whom something is offered."""

    def __init__(self, gate: Gate, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.gate, self.cluster, self.namespace, self.folder = gate, cluster, namespace, folder

    def __call__(self, name: str) -> AgentTerminal:
        found = terminal(self.gate, self.cluster, name, self.folder)
        self.offer(name)
        return found

    def offer(self, name: str, verbs: str = "get list watch") -> None:
        rules = [
            grantable("read", verbs, "pods", self.namespace),
            grantable("maps", "get create delete", "configmaps", self.namespace, maxDuration="10m"),
        ]
        self.gate.allow(name, rules)


@pytest.fixture
def terminals(tasks_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path) -> Terminals:
    return Terminals(tasks_gate, cluster, namespace, tmp_path)


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def test_an_agent_is_refused_reads_the_refusal_asks_works_and_completes(
    terminals: Terminals, tasks_gate: Gate, namespace: str
) -> None:
    agent = terminals("worker")
    standing = agent.kubectl(agent.agent.kubeconfig)

    def offered() -> bool:
        return "tasks request --cluster" in standing("get", "--raw", pods(namespace)).text

    tasks_gate.wait_until(offered, "the policy offers it")
    refused = standing("get", "--raw", pods(namespace))
    assert refused.code == 1
    # Exactly what the refusal says, and where the credential is to go.
    kubeconfig = agent.shell.folder / "task.kubeconfig"
    asked = agent(*hinted(refused), "--kubeconfig", kubeconfig)
    assert asked.code == 0, asked.text
    assert (kubeconfig.stat().st_mode & 0o777, "ngt1_" in asked.text) == (0o600, False)

    at_work = agent.kubectl(kubeconfig).within(namespace)
    assert "clock" in at_work.must("get", "pods")
    assert at_work("get", "configmap", "cm-1").code == 1
    # The standing credential holds nothing, while the task runs and after it.
    assert standing("get", "--raw", pods(namespace)).code == 1

    with running(at_work, *WATCH, until=b"clock") as watch:
        # The task's own kubeconfig ends it; the standing credential is not needed.
        done = agent("tasks", "complete", "--kubeconfig", kubeconfig, NARROWGATE_CREDENTIAL="")
        assert done.code == 0, done.text
        assert "state: completed" in done.out
        assert ended(watch)
    # Each worker hears of it by itself, within a second.
    tasks_gate.wait_until(lambda: at_work("get", "pods").code == 1, "the kubeconfig opens nothing")
    assert "You must be logged in" in at_work("get", "pods").text
    (task,) = agent.document("tasks", "list")
    assert (task["state"], task["name"], task["purpose"]) == ("completed", "worker", "...")


def test_the_record_names_the_task_in_every_entry_of_its_work(
    terminals: Terminals, tasks_gate: Gate, namespace: str
) -> None:
    agent = terminals(RECORDED)
    tasks_gate.wait_until(lambda: agent(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    task, at_work = agent.request(*_wish(namespace)[2:])
    at_work.must("get", "pods", "-n", namespace)
    at_work("get", "secrets", "-n", namespace)

    def told() -> set[tuple[str, str]]:
        """The decisions and tasks of its requests, where they are decided."""
        mine = (
            event["annotations"]
            for event in tasks_gate.events(f"/namespaces/{namespace}/")
            if event["user"]["username"] == f"agent:{RECORDED}"
        )
        return {(one["narrowgate.dev/decision"], one.get("narrowgate.dev/task", "")) for one in mine if DECIDED in one}

    tasks_gate.wait_until(lambda: "deny" in {decision for decision, _ in told()}, "the refusal is in the record")
    assert told() == {("allow", task["id"]), ("deny", task["id"])}


def test_a_policy_that_is_tightened_ends_what_it_gave(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    agent = terminals("tightened")
    tasks_gate.wait_until(lambda: agent(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    _, at_work = agent.request(*_wish(namespace)[2:])
    with running(at_work.within(namespace), *WATCH, until=b"clock") as watch:
        terminals.offer("tightened", verbs="delete")
        assert ended(watch)
    refused = at_work("get", "--raw", pods(namespace))
    assert (refused.code, "orbidden" in refused.text) == (1, True)


def test_a_pause_of_the_agent_ends_its_tasks_for_good(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    agent = terminals("paused")
    tasks_gate.wait_until(lambda: agent(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    task, at_work = agent.request(*_wish(namespace)[2:])
    with running(at_work.within(namespace), *WATCH, until=b"clock") as watch:
        assert tasks_gate.command("agents", "pause", "paused", "--reason", "odd").code == 0
        assert ended(watch)
    assert at_work("get", "--raw", pods(namespace)).code == 1

    def is_revoked() -> bool:
        return any(task["id"] in line and "revoked" in line for line in _changes(tasks_gate))

    tasks_gate.wait_until(is_revoked, "the end of the task is written down")
    assert tasks_gate.command("agents", "resume", "paused").code == 0
    tasks_gate.wait_until(lambda: agent("tasks", "list").code == 0, "the agent may go on")
    assert at_work("get", "--raw", pods(namespace)).code == 1
    assert agent.document("tasks", "show", task["id"])["endedBecause"] == "the agent was paused"


def test_time_alone_ends_a_task(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    agent = terminals("brief")
    tasks_gate.wait_until(lambda: agent(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    task, at_work = agent.request(*_wish(namespace)[2:], "--for", "4s")
    with running(at_work.within(namespace), *WATCH, until=b"clock") as watch:
        assert ended(watch)
    assert at_work("get", "--raw", pods(namespace)).code == 1
    assert agent.document("tasks", "show", task["id"])["state"] == "expired"


def test_less_is_left_of_a_task_that_is_narrowed(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    agent = terminals("narrowed")
    wish = (*_wish(namespace), "--allow", f"get configmaps -n {namespace}")
    tasks_gate.wait_until(lambda: agent(*wish, "--dry-run").code == 0, "the policy offers it")
    task, at_work = agent.request(*wish[2:])
    at_work.must("get", "configmap", "cm-1", "-n", namespace)
    assert agent("tasks", "narrow", task["id"], "--keep", "allow-1").code == 0

    def gone() -> bool:
        return at_work("get", "configmap", "cm-1", "-n", namespace).code == 1

    tasks_gate.wait_until(gone, "the task is narrowed")
    at_work.must("get", "pods", "-n", namespace)


def test_nobody_works_by_somebody_elses_task(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    one, other = terminals("mine"), terminals("theirs")
    tasks_gate.wait_until(lambda: one(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    task, at_work = one.request(*_wish(namespace)[2:])
    path = one.shell.folder / "task.kubeconfig"
    for verb in ("show", "complete", "revoke"):
        done = other("tasks", verb, task["id"])
        assert (done.code, "there is no task" in done.err) == (1, True), done.text
    asked = other("tasks", "request", "--agent", "mine", "--reason", "x", "--allow", f"get pods -n {namespace}")
    assert (asked.code, "there is no agent" in asked.err) == (1, True)
    wider = one("tasks", "request", "--reason", "x", "--allow", "get secrets -n kube-system")
    assert (wider.code, "no policy offers it" in wider.err) == (1, True)
    elsewhere = one("tasks", "request", "--cluster", "prod", "--reason", "x", "--allow", f"get pods -n {namespace}")
    assert (elsewhere.code, 'works on "dev"' in elsewhere.err) == (1, True)
    # The task's credential asks for nothing, and is not exchanged for anything that outlives it.
    credential = credential_of(path)
    again = one("tasks", "request", *_wish(namespace)[2:], NARROWGATE_CREDENTIAL=credential)
    assert (again.code, "a task's credential cannot ask for tasks" in again.err) == (1, True)
    assert _exchanged(tasks_gate, credential) >= 400
    # Another cluster's name in the path, and an id without the secret.
    assert at_work("get", "--raw", f"/clusters/prod{pods(namespace)}").code == 1
    guessed = f"ngt1_{task['id']}_{'A' * 43}{credential[-6:]}"
    assert one("tasks", "show", task["id"], NARROWGATE_CREDENTIAL=guessed).code == 1
    at_work.must("get", "--raw", pods(namespace))


def test_kubectl_alone_says_how_to_ask(terminals: Terminals, tasks_gate: Gate, namespace: str) -> None:
    agent = terminals("plain")
    standing: Kubectl = agent.kubectl(agent.agent.kubeconfig)
    tasks_gate.wait_until(lambda: agent(*_wish(namespace), "--dry-run").code == 0, "the policy offers it")
    assert "narrowgate tasks request" in standing("get", "pods", "-n", namespace).text


def _exchanged(gate: Gate, credential: str) -> int:
    """The status of an attempt to exchange a credential for an access credential (RFC 8693)."""
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": credential,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "resource": f"{control_url(gate)}/clusters/dev",
    }
    context = ssl.create_default_context(cafile=str(authority_of(gate)))
    try:
        with urllib.request.urlopen(
            f"{control_url(gate)}/oauth/token", urllib.parse.urlencode(fields).encode(), timeout=90, context=context
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def _wish(namespace: str) -> tuple[str, ...]:
    return ("tasks", "request", "--reason", "look at clock", "--allow", f"get,list,watch pods -n {namespace}")


def _changes(gate: Gate) -> list[str]:
    """The record of changes, read from the store as a backup would."""
    path = next(gate.data_dir.glob("*.db"))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return [" ".join(map(str, row)) for row in database.execute("select action, subject, detail from changes")]
