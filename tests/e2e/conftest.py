"""What every end-to-end test stands on: the cluster, kubectl, and a few gates that the whole session shares."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, ECHO_RULES, REPOSITORY, UNREAD, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import configmap, pod, yaml_of

# The first start builds Kubernetes: five minutes on two cores, more while others build.
CLUSTER_SECONDS = 1200.0
NAMESPACE_SECONDS = 120.0


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What a shell has started in the background ignores Ctrl-C, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The real cluster; started when there is none, and left running: the next run wants it too."""
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    document = json.loads(description.read_text())
    missing = [name for name in ("ca", "auditLog", "nodeName", "image") if not document[name]]
    if missing:
        # Failing is the point: a run that proves nothing about the record must not look like one that does.
        pytest.fail(f"cluster.json has no {', '.join(missing)}: unset KUBECONFIG, so that a cluster is made here")
    return Cluster(
        kubeconfig=Path(document["kubeconfig"]),
        server=document["server"],
        ca=Path(document["ca"]),
        audit_log=Path(document["auditLog"]),
        bin=Path(document["bin"]),
        node=document["nodeName"],
        image=document["image"],
    )


@pytest.fixture(scope="session")
def direct(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Kubectl at the API server itself."""
    return Kubectl(cluster.kubectl, cluster.kubeconfig, tmp_path_factory.mktemp("home-direct"))


@pytest.fixture(scope="session")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate in front of the real cluster that most tests share. Tests add agents of their own and never stop it."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("gate"), [entry])
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="session")
def admin(gate: Gate) -> Agent:
    """The agent that may do everything."""
    return gate.agent("all", ALLOW_ALL_RULES)


@pytest.fixture(scope="session")
def through(cluster: Cluster, admin: Agent, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Kubectl through the gate, for the agent that may do everything."""
    return Kubectl(cluster.kubectl, admin.kubeconfig, tmp_path_factory.mktemp("home-gate"))


@pytest.fixture(scope="session")
def kubectl_of(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Agent], Kubectl]:
    """Kubectl for any agent."""

    def make(agent: Agent) -> Kubectl:
        return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path_factory.mktemp(f"home-{agent.name}"))

    return make


@pytest.fixture(scope="session")
def run_id() -> str:
    """Four letters that tell the objects of this run from those of others."""
    return secrets.token_hex(2)


@pytest.fixture(scope="session")
def new_namespace(direct: Kubectl, run_id: str) -> Iterator[Callable[[str], str]]:
    """Makes namespaces, ready for pods, and deletes them at the end."""
    made: list[str] = []

    def make(purpose: str) -> str:
        name = f"ng-{run_id}-{purpose}"
        if name not in made:
            direct.must("create", "namespace", name)
            made.append(name)
            # Pods are refused until the controller has made their ServiceAccount.
            direct.must(
                "wait", "--for=create", "serviceaccount/default", "-n", name, f"--timeout={NAMESPACE_SECONDS:.0f}s"
            )
        return name

    yield make
    for name in made:
        # Not waited for: it takes the controllers some ten seconds, and nobody needs the names again.
        direct("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    """A namespace with a pod that speaks (`clock`) and an object (`cm-1`), for tests that need no more."""
    name = new_namespace("shared")
    here = direct.within(name)
    clock = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
    here.must("apply", "-f", "-", stdin=yaml_of(pod("clock", cluster.image, clock), configmap("cm-1", colour="red")))
    here.must("wait", "--for=condition=Ready", "pod/clock", f"--timeout={NAMESPACE_SECONDS:.0f}s")
    return name


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """The upstream that says what reached it."""
    echo = Echo(tmp_path_factory.mktemp("echo"))
    yield echo
    echo.stop()


@pytest.fixture(scope="session")
def echo_gate(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate in front of the echo alone: tests of the wire need no cluster."""
    gate = Gate(tmp_path_factory.mktemp("echo-gate"), [echo.cluster("echo")], settings=UNREAD)
    gate.agent("all", ECHO_RULES, cluster="echo")
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="session")
def caller(echo_gate: Gate) -> Agent:
    """The agent that may do everything at the echo."""
    return echo_gate.agent("all", ECHO_RULES, cluster="echo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rounds of kill -9 and full disks come last: when something simpler is broken, that says it sooner."""
    items.sort(key=lambda item: "kill9" in item.nodeid)


@pytest.fixture
def marker() -> str:
    """A word that occurs in no other request of any run."""
    return f"mark-{os.getpid()}-{secrets.token_hex(6)}"
