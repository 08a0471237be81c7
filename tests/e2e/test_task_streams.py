"""Streams that rest on a task or an approval, by kubectl on a real cluster: they end with it, and no others do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, task_of, team_at
from tests.e2e.test_changes import ended, running


@pytest.fixture(scope="module")
def on_cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with team_at(tmp_path_factory.mktemp("streams"), [entry], {"workers": 2}) as team:
        yield team


STREAMS = {
    "watch": (("get", "pods", "clock", "--watch"), b"clock"),
    "logs": (("logs", "-f", "clock"), b"tick"),
    "exec": (("exec", "clock", "--", "sh", "-c", "echo begun; sleep 300"), b"begun"),
}
STREAM_WORDS = ("get,list,watch pods", "get pods/log", "create pods/exec")


def test_of_two_tasks_of_one_agent_a_revocation_ends_the_streams_of_one(
    on_cluster: Team, cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gate = on_cluster.gate
    rules = [
        grantable("read", "get list watch", "pods pods/log", namespace),
        grantable("run", "create", "pods/exec", namespace),
        allow("see", "get", "configmaps", namespace),
    ]
    agent = on_cluster.agent("double", rules, f"/api/v1/namespaces/{namespace}/configmaps/cm-1")
    words = [f"{word} -n {namespace}" for word in STREAM_WORDS]
    tasks = [task_of(gate, agent, *words) for _ in range(2)]
    with ExitStack() as stack:
        processes = []
        for number, (_, working) in enumerate(tasks):
            folder = tmp_path_factory.mktemp(f"home-{number}")
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(agent.kubeconfig.read_text().replace(agent.token, working.token))
            kubectl = Kubectl(cluster.kubectl, kubeconfig, folder).within(namespace)
            processes.append(
                [stack.enter_context(running(kubectl, *words, until=until)) for words, until in STREAMS.values()]
            )
        revoked = by_token(gate, agent.token)("POST", f"/tasks/{tasks[0][0]}/revoke", {"because": "enough"})
        assert revoked.status == 200
        assert [ended(process) for process in processes[0]] == [True] * len(STREAMS)
        assert [process.poll() for process in processes[1]] == [None] * len(STREAMS)
        told = gate.wait_for_event(tasks[0][0])["annotations"]
    assert "ended" in "".join(told), told


def test_an_exec_that_was_approved_ends_when_its_approval_lapses(
    on_cluster: Team, cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rules = [
        allow("see", "get", "pods configmaps", namespace),
        approve("run", "create", "pods/exec", namespace, within="6s"),
    ]
    agent = on_cluster.agent("visitor", rules, f"/api/v1/namespaces/{namespace}/configmaps/cm-1")
    kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path_factory.mktemp("home")).within(namespace)
    with ThreadPoolExecutor(1) as threads:
        words, until = STREAMS["exec"]
        answered = threads.submit(lambda: on_cluster.approve(on_cluster.one_waiting("visitor")))
        with running(kubectl, *words, until=until) as process:
            answered.result()
            assert ended(process), "the exec goes on though the time of its approval is over"
