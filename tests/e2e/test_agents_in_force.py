"""An agent that is paused, over or removed holds nothing from within a second on, however it had proven itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.agent_proofs import Authority, add_by_credential, add_by_key, assertion, exchange
from tests.e2e.gate import Cluster, Finished, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.test_changes import ended, running

PROOFS = ("credential", "key", "certificate")
WATCH = ("get", "pods", "clock", "--watch")
EXEC = ("exec", "clock", "--", "sh", "-c", "echo begun; sleep 300")

every_proof = pytest.mark.parametrize("proof", PROOFS)


class AgentGate(NamedTuple):
    """A gate that takes all three proofs."""

    gate: Gate
    authority: Authority
    kubectl: Callable[[Path], Kubectl]
    namespace: str

    def agent(self, name: str, proof: str) -> Kubectl:
        """A new agent that may read pods and run commands in them, and kubectl as it."""
        ways: dict[str, Callable[[Gate, str], Path]] = {
            "credential": add_by_credential,
            "key": add_by_key,
            "certificate": self.authority.add_agent,
        }
        kubectl = self.kubectl(ways[proof](self.gate, name)).within(self.namespace)
        self.gate.allow(
            name,
            [
                allow("read", "get list watch", "pods", self.namespace),
                allow("run", "create", "pods/exec", self.namespace),
            ],
        )
        self.gate.wait_until(lambda: kubectl("get", "pods", "clock").code == 0, f"agent {name} may read")
        return kubectl

    def must(self, *arguments: str) -> Finished:
        done = self.gate.command("agents", *arguments)
        assert done.code == 0, done.text
        return done


@pytest.fixture(scope="module")
def agents(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentGate]:
    folder = tmp_path_factory.mktemp("agents")
    authority = Authority(folder)
    rules = [{"certificateAuthority": str(authority.file), "name": "commonName"}]
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder / "gate", [entry], settings={"authentication": {"clientCertificates": rules}}).start()

    def kubectl(kubeconfig: Path) -> Kubectl:
        return Kubectl(cluster.kubectl, kubeconfig, tmp_path_factory.mktemp("home-agents"))

    yield AgentGate(gate, authority, kubectl, namespace)
    gate.stop()


class Streams(NamedTuple):
    """A watch and an exec that are running."""

    watch: subprocess.Popen[bytes]
    exec: subprocess.Popen[bytes]

    def ended(self) -> bool:
        return ended(self.watch) and ended(self.exec)


def streams(kubectl: Kubectl, until_left: ExitStack) -> Streams:
    return Streams(
        until_left.enter_context(running(kubectl, *WATCH, until=b"clock")),
        until_left.enter_context(running(kubectl, *EXEC, until=b"begun")),
    )


@every_proof
def test_a_paused_agents_streams_end_and_it_goes_on_when_it_is_resumed(agents: AgentGate, proof: str) -> None:
    name = f"rests-{proof}"
    kubectl = agents.agent(name, proof)

    with ExitStack() as stack:
        running_ones = streams(kubectl, stack)
        agents.must("pause", name, "--reason", "it is loose")
        assert running_ones.ended(), "a stream still runs though its agent is paused"

    assert kubectl("get", "pods", "clock").code != 0
    event = agents.gate.wait_for_event(f'"narrowgate.dev/ended":"agent \\"{name}\\" is paused')
    assert "it is loose" not in json.dumps(event)
    agents.must("resume", name)
    agents.gate.wait_until(lambda: kubectl("get", "pods", "clock").code == 0, "the agent goes on")


@every_proof
def test_an_agents_streams_end_with_its_end_date(agents: AgentGate, proof: str) -> None:
    name = f"ends-{proof}"
    kubectl = agents.agent(name, proof)

    with ExitStack() as stack:
        running_ones = streams(kubectl, stack)
        agents.must("change", name, "--end-in", "3s")
        assert running_ones.ended(), "a stream still runs though its agent is over"

    assert kubectl("get", "pods", "clock").code != 0
    assert json.loads(agents.must("show", name, "-o", "json").out)["state"] == "ended"
    agents.must("change", name, "--no-end")
    agents.gate.wait_until(lambda: kubectl("get", "pods", "clock").code == 0, "the agent goes on")


@every_proof
def test_a_removed_agents_streams_end(agents: AgentGate, proof: str) -> None:
    name = f"leaves-{proof}"
    kubectl = agents.agent(name, proof)

    with ExitStack() as stack:
        running_ones = streams(kubectl, stack)
        agents.must("remove", name, "--yes")
        assert running_ones.ended(), "a stream still runs though its agent is gone"

    assert kubectl("get", "pods", "clock").code != 0


@every_proof
def test_an_agents_streams_end_with_what_it_had_proven_itself_by(agents: AgentGate, proof: str) -> None:
    name = f"loses-{proof}"
    kubectl = agents.agent(name, proof)
    key = json.loads(agents.must("show", name, "-o", "json").out)["keys"]
    taken = {
        "credential": ("change", name, "--no-credential"),
        "key": ("keys", "remove", name, "--", key[0]["id"] if key else ""),
        "certificate": ("change", name, "--drop-certificate-name", f"cn:{name}"),
    }

    with ExitStack() as stack:
        running_ones = streams(kubectl, stack)
        agents.must(*taken[proof])
        assert running_ones.ended(), f"a stream still runs though its {proof} was taken away"

    assert kubectl("get", "pods", "clock").code != 0


def test_a_rotated_credential_ends_the_old_ones_streams_when_its_time_is_over(agents: AgentGate) -> None:
    kubectl = agents.agent("rotates", "credential")

    with running(kubectl, *WATCH, until=b"clock") as watch:
        agents.must("rotate", "rotates", "--keep-old-for", "6s")
        assert kubectl("get", "pods", "clock").code == 0, "the old credential is good for a while yet"
        assert ended(watch), "the watch still runs though its credential is over"

    assert kubectl("get", "pods", "clock").code != 0


def test_a_paused_agent_gets_nothing_with_its_key_either(agents: AgentGate) -> None:
    agents.agent("locked-out", "key")
    key = agents.gate.folder / "locked-out.key"
    agents.must("pause", "locked-out")

    def refusal() -> str:
        status, answer = exchange(agents.gate, assertion(agents.gate, "locked-out", key), cluster="dev")
        return "" if status == 200 else str(answer["error_description"])

    agents.gate.wait_until(lambda: "is paused; ask its owner (person:test)" in refusal(), "the exchange is refused")


def test_an_agent_that_was_removed_and_added_anew_is_another_one(agents: AgentGate) -> None:
    kubectl = agents.agent("namesake", "key")
    shown = json.loads(agents.must("show", "namesake", "-o", "json").out)
    agents.must("remove", "namesake", "--yes")
    public = agents.gate.folder / "namesake.pub"
    public.write_bytes(public_half(agents.gate.folder / "namesake.key"))
    agents.must("add", "namesake", "--owner", "person:other", "--purpose", "x", "--no-credential", "--key", str(public))
    assert json.loads(agents.must("show", "namesake", "-o", "json").out)["keys"][0]["id"] == shown["keys"][0]["id"]

    agents.gate.wait_until(lambda: kubectl("get", "pods", "clock").code != 0, "the old access credential is refused")
    # Not only in between: it stays so when the gate has seen the new one.
    assert (
        exchange(agents.gate, assertion(agents.gate, "namesake", agents.gate.folder / "namesake.key"), cluster="dev")[0]
        == 200
    )
    assert kubectl("get", "pods", "clock").code != 0


def public_half(key_file: Path) -> bytes:
    openssl = subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout"], capture_output=True, check=True)
    return openssl.stdout
