"""Tasks with limits, on a real cluster behind one process and behind two: no more requests, no more streams, by far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.tasks import AgentTerminal, credential_of, grantable, terminal
from tests.e2e.test_changes import ended, running
from tests.e2e.wire import Connection

MOST = 50
PARALLEL = 200
STALE_SECONDS = 10.0
"""After so long the streams of a process that was killed count no more."""
LINK = "https://tickets.corp/OPS-1"
WATCH = ("get", "pods", "clock", "--watch")


class Limited:
    """A gate, and agents whose tasks have limits."""

    def __init__(self, gate: Gate, cluster: Cluster, folder: Path) -> None:
        self.gate, self.cluster, self._folder = gate, cluster, folder

    def __call__(self, name: str, namespace: str, **terms: Any) -> AgentTerminal:
        found = terminal(self.gate, self.cluster, name, self._folder)
        self.offer(name, namespace, **terms)
        return found

    def offer(self, name: str, namespace: str, **terms: Any) -> None:
        resources = "pods pods/log pods/exec configmaps"
        self.gate.allow(name, [grantable("work", "get list watch create", resources, namespace, **terms)])


def gate_of(workers: int, cluster: Cluster, folder: Path) -> Gate:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder, [entry], {"workers": workers})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    gate.wait_until(lambda: gate.log.read_text().count("serving dev on") == workers, "all workers serve")
    return gate


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def limits_gate(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    gate = gate_of(request.param, cluster, tmp_path_factory.mktemp("limits"))
    yield gate
    if gate.running():
        gate.stop()


@pytest.fixture
def limited(limits_gate: Gate, cluster: Cluster, tmp_path: Path) -> Limited:
    return Limited(limits_gate, cluster, tmp_path)


def wish(namespace: str, *more: str) -> tuple[str, ...]:
    words = [f"get,list,watch,create {one} -n {namespace}" for one in ("pods", "pods/log", "pods/exec", "configmaps")]
    return ("--reason", "look", *(part for text in words for part in ("--allow", text)), *more)


def begin(agent: AgentTerminal, namespace: str, *more: str) -> tuple[Mapping[str, Any], Agent, Kubectl]:
    """A task of the agent's: its document, raw connections with its credential, and kubectl."""
    asked = ("tasks", "request", *wish(namespace, *more), "--dry-run")
    agent.gate.wait_until(lambda: agent(*asked).code == 0, "the policy offers it")
    task, kubectl = agent.request(*wish(namespace, *more))
    raw = replace(agent.agent, token=credential_of(agent.shell.folder / "task.kubeconfig"))
    # Known to one process when the command returns; the others follow.
    for _ in range(20):
        agent.gate.wait_until(lambda: raw.request("GET", "/version").status == 200, "the task is known")
    return task, raw, kubectl.within(namespace)


def streams(agent: AgentTerminal, task: Mapping[str, Any]) -> int:
    """Under way, as the task is shown."""
    return int(agent.document("tasks", "show", task["id"])["streams"])


def test_of_two_hundred_requests_at_once_so_many_reach_the_cluster_as_the_task_covers(
    limited: Limited, limits_gate: Gate, cluster: Cluster, namespace: str
) -> None:
    workers = limits_gate.settings["workers"]
    name = f"many-{workers}"
    agent = limited(name, namespace, maxRequests=MOST)
    task, raw, _ = begin(agent, namespace, "--max-requests", "1000")
    assert (task["maxRequests"], task["requestsUsed"]) == (MOST, 0)
    marker = f"marked-{task['id']}"
    target = f"/api/v1/namespaces/{namespace}/pods?limit=1&fieldSelector=metadata.name%3D{marker}"
    since = cluster.audit_position()

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: raw.request("GET", target).status, range(PARALLEL)))

    assert set(statuses) == {200, 403}
    # Two processes may each keep one of the last from the other; one process keeps none.
    assert statuses.count(200) == MOST if workers == 1 else MOST - 8 <= statuses.count(200) <= MOST

    def arrived() -> int:
        """Of the cluster's own record, which is written a moment later."""
        return len({event["auditID"] for event in cluster.audited(marker, since)})

    limits_gate.wait_until(lambda: arrived() >= statuses.count(200), "the cluster has recorded what it got")
    assert arrived() == statuses.count(200)

    # What one process had in hand and did not use comes back, and then exactly so many have passed.
    def passed_in_all() -> bool:
        statuses.append(raw.request("GET", target).status)
        return statuses.count(200) == MOST

    if workers > 1:
        limits_gate.wait_until(passed_in_all, "all that the task covers has passed")
    refused = raw.request("GET", target)
    assert refused.status == 403
    assert f"task {task['id']} has used up its {MOST} requests" in refused.json()["message"]
    limits_gate.wait_until(lambda: arrived() >= MOST, "the cluster has recorded what it got")
    assert arrived() == MOST
    assert agent.document("tasks", "show", task["id"])["requestsUsed"] == MOST
    # Clients find their way about all the same.
    assert raw.request("GET", "/api").status == 200


def test_every_way_to_ask_counts(limited: Limited, limits_gate: Gate, namespace: str) -> None:
    agent = limited(f"ways-{limits_gate.settings['workers']}", namespace, maxRequests=MOST)
    task, raw, kubectl = begin(agent, namespace, "--max-requests", "6")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    with raw.connect() as same:
        for _ in range(2):
            # The same bytes on one connection: judged from memory, and counted all the same.
            same.send(raw.bytes_of("GET", f"{pods}/clock"))
            assert same.response().status == 200
    # The API server has no HEAD for objects, and says so.
    assert raw.request("HEAD", f"{pods}/clock").status == 405
    assert raw.request("GET", f"{pods}/is-not-there").status == 404
    assert raw.request("POST", pods, {"Content-Type": "application/json"}, b"{}").status >= 400
    statuses = [raw.request("GET", f"{pods}/clock").status for _ in range(20)]
    assert statuses.count(200) <= 2
    assert statuses[-1] == 403
    done = kubectl("get", "pods")
    assert (done.code, "has used up its 6 requests" in done.text) == (1, True)
    limits_gate.wait_until(
        lambda: agent.document("tasks", "show", task["id"])["requestsUsed"] in range(1, 7), "what was used is shown"
    )


def test_no_more_streams_run_at_one_time_and_an_ended_one_makes_room(
    limited: Limited, limits_gate: Gate, namespace: str
) -> None:
    agent = limited(f"streams-{limits_gate.settings['workers']}", namespace, maxStreams=3)
    task, raw, kubectl = begin(agent, namespace, "--max-streams", "2")
    assert (task["maxStreams"], task["streams"]) == (2, 0)
    with running(kubectl, *WATCH, until=b"clock") as first, running(kubectl, *WATCH, until=b"clock"):
        limits_gate.wait_until(lambda: streams(agent, task) == 2, "both watches are counted")
        refused = kubectl("exec", "clock", "--", "true")
        assert refused.code != 0
        assert "has its 2 streams at one time under way already" in refused.text
        watch = f"/api/v1/namespaces/{namespace}/pods?watch=1&timeoutSeconds=1"
        assert {raw.request("GET", watch).status for _ in range(10)} == {403}
        # What ends by itself is no stream.
        assert kubectl("logs", "clock", "--tail=1").code == 0

        first.kill()
        limits_gate.wait_until(lambda: kubectl("exec", "clock", "--", "true").code == 0, "there is room again")
    limits_gate.wait_until(lambda: streams(agent, task) == 0, "nothing runs")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_exec_after_the_other_needs_one_stream(
    limited: Limited, limits_gate: Gate, namespace: str, transport: str
) -> None:
    agent = limited(f"execs-{transport}-{limits_gate.settings['workers']}", namespace, maxStreams=1)
    _, _, kubectl = begin(agent, namespace)
    kubectl = replace(kubectl, variables=TRANSPORTS[transport])
    for _ in range(5):
        assert kubectl("exec", "clock", "--", "true").code == 0
        # An exec that fails is sent as WebSocket and again as SPDY, one after the other.
        failed = kubectl("exec", "is-not-there", "--", "true")
        assert "not found" in failed.text
        assert "at one time" not in failed.text


def test_many_streams_at_once_open_so_many_as_the_task_covers(
    limited: Limited, limits_gate: Gate, namespace: str
) -> None:
    agent = limited(f"rush-{limits_gate.settings['workers']}", namespace, maxStreams=5)
    _, raw, _ = begin(agent, namespace)
    watch = raw.bytes_of("GET", f"/api/v1/namespaces/{namespace}/pods?watch=1")
    with ExitStack() as opened:
        connections = [opened.enter_context(raw.connect()) for _ in range(40)]

        def head(connection: Connection) -> int:
            connection.send(watch)
            return connection.head()[0]

        with ThreadPoolExecutor(16) as threads:
            statuses = list(threads.map(head, connections))
        assert statuses.count(200) == 5
        assert statuses.count(403) == 35


def test_a_rule_that_is_tightened_gives_nothing_to_tasks_with_more(
    limited: Limited, limits_gate: Gate, namespace: str
) -> None:
    name = f"tightened-{limits_gate.settings['workers']}"
    agent = limited(name, namespace, maxRequests=1000)
    _, _, kubectl = begin(agent, namespace)
    with running(kubectl, *WATCH, until=b"clock") as watch:
        limited.offer(name, namespace, maxRequests=999)
        assert ended(watch)
    assert kubectl("get", "pods").code == 1


def test_a_rule_asks_for_a_link_and_takes_no_other(limited: Limited, limits_gate: Gate, namespace: str) -> None:
    name = f"linked-{limits_gate.settings['workers']}"
    agent = limited(name, namespace, links=["https://tickets.corp/"])
    limits_gate.wait_until(
        lambda: "asks for a link" in agent("tasks", "request", *wish(namespace), "--dry-run").text, "it asks"
    )
    missing = agent("tasks", "request", *wish(namespace))
    assert missing.code == 1
    assert f"rule {name}/work asks for a link that begins with https://tickets.corp/" in missing.text
    other = agent("tasks", "request", *wish(namespace, "--link", "https://tickets.corp@evil.example/OPS-1"))
    assert other.code != 0
    task, _, kubectl = begin(agent, namespace, "--link", LINK)
    assert task["link"] == LINK
    with running(kubectl, *WATCH, until=b"clock") as watch:
        limited.offer(name, namespace, links=["https://tickets.corp/INC"])
        assert ended(watch)


def test_limits_of_a_running_task_are_lowered_and_never_raised(
    limited: Limited, limits_gate: Gate, namespace: str
) -> None:
    agent = limited(f"narrowed-{limits_gate.settings['workers']}", namespace)
    task, raw, _ = begin(agent, namespace, "--max-requests", "500")
    target = f"/api/v1/namespaces/{namespace}/pods/clock"
    assert [raw.request("GET", target).status for _ in range(10)] == [200] * 10
    assert agent("tasks", "narrow", task["id"], "--max-requests", "501").code == 1
    assert agent.document("tasks", "narrow", task["id"], "--max-requests", "12")["maxRequests"] == 12
    limits_gate.wait_until(lambda: raw.request("GET", target).status == 403, "the new limit holds")
    assert agent.document("tasks", "show", task["id"])["maxRequests"] == 12


def test_streams_of_processes_that_were_killed_count_no_more_after_a_while(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    gate = gate_of(2, cluster, tmp_path / "killed")
    try:
        agent = Limited(gate, cluster, tmp_path)("killed", namespace, maxStreams=1)
        task, raw, kubectl = begin(agent, namespace)
        with running(kubectl, *WATCH, until=b"clock"):
            # kubectl shows the pod before it watches it.
            gate.wait_until(lambda: streams(agent, task) == 1, "the watch is counted")
            killed_at = time.monotonic()
            gate.kill()
        gate.start()
        watch = f"/api/v1/namespaces/{namespace}/pods?watch=1&timeoutSeconds=1"
        first = raw.request("GET", watch).status
        if time.monotonic() < killed_at + STALE_SECONDS - 3:
            # For all that is known it may still run.
            assert first == 403
        gate.wait_until(lambda: raw.request("GET", watch).status == 200, "there is room again")
        assert agent.document("tasks", "show", task["id"])["maxStreams"] == 1
    finally:
        if gate.running():
            gate.stop()
