"""kubectl with the credential plugin, before the real gate: renewal, refusal, outages; people, workloads and keys."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.dex import ALICE
from tests.e2e.gate import ALLOW_ALL_RULES, SETTLE_SECONDS, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.person import PersonsTerminal, StartedLogin
from tests.e2e.signing_in import SignInGate, sign_in_gate

AT_ONCE = 5
"""kubectls that start together: enough to meet at the lock on two cores."""


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    """A gate before the real cluster that takes the cluster's ServiceAccount tokens, too."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    settings = {"authentication": {"serviceAccounts": {"audience": "narrowgate"}}}
    with sign_in_gate(tmp_path_factory.mktemp("plugin"), [entry], settings) as running:
        running.gate.write_policy("sre", [{"kind": "Group", "name": "corp:sre"}], ALLOW_ALL_RULES)
        yield running


@pytest.fixture(scope="module")
def alice(gate: SignInGate, tmp_path_factory: pytest.TempPathFactory) -> PersonsTerminal:
    return PersonsTerminal(tmp_path_factory.mktemp("alice"), gate, ALICE)


@pytest.fixture
def signed_in(alice: PersonsTerminal) -> PersonsTerminal:
    """Alice, signed in; once for all tests that leave her so."""
    if json.loads(alice("whoami", "-o", "json").out or "{}").get("confirmed") is not True:
        alice.login()
    return alice


def folder_of(terminal: PersonsTerminal) -> Path:
    (found,) = terminal.state.glob("127.0.0.1+*")
    return found


def credential_of(terminal: PersonsTerminal) -> Path:
    return folder_of(terminal) / "access" / "person@dev"


def age(path: Path) -> None:
    """Make a credential in the cache one of some minutes ago: one that is seconds old is not taken for refused."""
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], "made: 2026-01-01T00:00:00Z", *lines[2:]]))


def issued(gate: SignInGate) -> int:
    """How many access credentials the record says were made."""
    events = gate.gate.events('"accesscredentials"')
    return sum(event["stage"] == "ResponseComplete" for event in events)


def watching(kubectl: Kubectl) -> subprocess.Popen[bytes]:
    """A watch that has begun to answer."""
    watch = kubectl.start("get", "namespaces", "--watch", "-o", "name")
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith(b"namespace/")
    return watch


def test_a_sign_in_that_is_ended_elsewhere_ends_what_runs_and_opens_nothing_any_more(
    cluster: Cluster, signed_in: PersonsTerminal, tmp_path: Path
) -> None:
    kubectl = signed_in.kubectl(cluster)
    kubectl.must("get", "--raw", "/version")
    elsewhere = PersonsTerminal(tmp_path / "elsewhere", signed_in.gate, ALICE)
    shutil.copytree(signed_in.state, elsewhere.state)
    watch = watching(kubectl)
    assert elsewhere("logout").code == 0
    try:
        watch.communicate(timeout=SETTLE_SECONDS)
    finally:
        watch.kill()
    # The credential in the cache is good for most of an hour by its own word; the gate says otherwise.
    age(credential_of(signed_in))
    for _ in range(2):
        done = kubectl("get", "--raw", "/version")
        assert done.code == 1
        assert "narrowgate login" in done.text
    assert not credential_of(signed_in).exists()


def test_many_kubectls_at_once_renew_once(cluster: Cluster, signed_in: PersonsTerminal) -> None:
    kubectl = signed_in.kubectl(cluster)
    credential_of(signed_in).unlink()
    before = issued(signed_in.gate)
    started = [kubectl.start("get", "--raw", "/version") for _ in range(AT_ONCE)]
    said = [process.communicate(timeout=SETTLE_SECONDS)[0] for process in started]
    assert [process.returncode for process in started] == [0] * AT_ONCE, said
    assert issued(signed_in.gate) == before + 1


def test_a_credential_that_the_gate_refuses_is_not_handed_out_for_ever(
    cluster: Cluster, signed_in: PersonsTerminal
) -> None:
    kubectl = signed_in.kubectl(cluster)
    kubectl.must("get", "--raw", "/version")
    path = credential_of(signed_in)
    # As after the gate was set up anew: signed with another key.
    path.write_text("\n".join(["nga1_AAAA.AAAA", *path.read_text().split("\n")[1:]]))
    age(path)
    first = kubectl("get", "--raw", "/version")
    assert first.code == 1
    assert "logged in" in first.text
    kubectl.must("get", "--raw", "/version")


def test_a_gate_that_is_started_again_knows_who_is_signed_in(cluster: Cluster, signed_in: PersonsTerminal) -> None:
    kubectl = signed_in.kubectl(cluster)
    kubectl.must("get", "--raw", "/version")
    signed_in.gate.gate.stop()
    away = kubectl("get", "--raw", "/version")
    assert away.code == 1
    offline = signed_in("whoami", "-o", "json")
    assert json.loads(offline.out)["confirmed"] is False
    signed_in.gate.gate.start()
    kubectl.must("get", "--raw", "/version")
    credential_of(signed_in).unlink()
    kubectl.must("get", "--raw", "/version")


def test_while_the_identity_provider_is_away_who_is_signed_in_goes_on_and_nobody_else_comes_in(
    cluster: Cluster, signed_in: PersonsTerminal, tmp_path: Path
) -> None:
    gate = signed_in.gate
    kubectl = signed_in.kubectl(cluster)
    newcomer = PersonsTerminal(tmp_path / "newcomer", gate, ALICE)
    gate.dex.stop()
    try:
        credential_of(signed_in).unlink()
        kubectl.must("get", "--raw", "/version")
        with StartedLogin(newcomer) as started:
            page = gate.page()
            page.goto(started.address)
            assert "cannot be reached" in page.inner_text("body")
            started.interrupt()
            assert started.ended().code == 1
    finally:
        gate.dex.start()
    newcomer.login()
    newcomer.kubectl(cluster).must("get", "--raw", "/version")


def test_a_workload_works_with_its_token_alone(
    cluster: Cluster, gate: SignInGate, direct: Kubectl, namespace: str, tmp_path: Path
) -> None:
    gate.gate.write_policy("workload", [{"kind": "ServiceAccount", "name": f"{namespace}/default"}], ALLOW_ALL_RULES)
    token = tmp_path / "token"
    token.write_text(direct.must("create", "token", "default", "-n", namespace, "--audience", "narrowgate"))
    terminal = PersonsTerminal(tmp_path / "workload", gate, ALICE)
    done = gate.gate.command("kubeconfig", "--cluster", "dev", "--token-file", str(token))
    assert done.code == 0, done.text
    kubectl = terminal.kubectl(cluster, terminal.shell.write("workload.kubeconfig", done.out))
    gate.gate.wait_until(lambda: kubectl("get", "--raw", "/version").code == 0, "the workload's policy is in force")
    asked = [event for event in gate.gate.events(f"serviceaccount:{namespace}/default") if event["verb"] == "get"]
    assert asked
    assert asked[-1]["requestURI"] == "/version"
    (cached,) = (path for path in terminal.state.rglob("token-*") if not path.name.endswith(".handed"))
    before = issued(gate)
    kubectl.must("get", "--raw", "/version")
    assert issued(gate) == before
    # Another audience: the API server's own, which the gate must never take.
    token.write_text(direct.must("create", "token", "default", "-n", namespace))
    refused = kubectl("get", "--raw", "/version")
    assert refused.code == 1
    assert cached.exists()


def test_an_agent_works_with_its_key_until_it_is_paused(cluster: Cluster, gate: SignInGate, tmp_path: Path) -> None:
    key = tmp_path / "ci.pem"
    made = gate.gate.command(
        "agents", "add", "ci", "--owner", "person:test", "--purpose", "test", "--cluster", "dev", "--no-credential"
    )
    assert made.code == 0, made.text
    assert gate.gate.command("agents", "keys", "generate", "ci", "--out", str(key)).code == 0
    gate.gate.allow("ci", ALLOW_ALL_RULES)
    done = gate.gate.command("kubeconfig", "--cluster", "dev", "--agent", "ci", "--key-file", str(key))
    assert done.code == 0, done.text
    terminal = PersonsTerminal(tmp_path / "ci", gate, ALICE)
    kubectl = terminal.kubectl(cluster, terminal.shell.write("ci.kubeconfig", done.out))
    gate.gate.wait_until(lambda: kubectl("get", "--raw", "/version").code == 0, "the agent and its policy are known")
    assert gate.gate.command("agents", "pause", "ci", "--reason", "test").code == 0
    gate.gate.wait_until(lambda: kubectl("get", "--raw", "/version").code == 1, "the agent is paused")
    (cached,) = (path for path in terminal.state.rglob("key-*") if not path.name.endswith(".handed"))
    age(cached)
    assert "paused" in kubectl("get", "--raw", "/version").text
    assert gate.gate.command("agents", "resume", "ci").code == 0
    gate.gate.wait_until(lambda: kubectl("get", "--raw", "/version").code == 0, "the agent goes on")


PYTHON_CLIENT = """
import sys
from kubernetes import client, config
config.load_kube_config(sys.argv[1])
print(*(one.metadata.name for one in client.CoreV1Api().list_namespace().items))
"""


def test_the_python_client_asks_the_plugin_too(cluster: Cluster, signed_in: PersonsTerminal) -> None:
    kubectl = signed_in.kubectl(cluster)
    done = subprocess.run(
        [sys.executable, "-c", PYTHON_CLIENT, str(kubectl.kubeconfig)],
        env=kubectl.environment(),
        capture_output=True,
        text=True,
        timeout=SETTLE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "kube-system" in done.stdout.split()
