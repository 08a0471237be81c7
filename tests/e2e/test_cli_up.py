"""`narrowgate up` and `down`: from nothing to a gate that kubectl uses, twice, and to its end."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.command_line import Shell, one_line, three_ports
from tests.e2e.gate import Cluster, environment, narrowgate
from tests.e2e.kubectl import Kubectl

GONE_SECONDS = 90.0


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "work")
    yield made
    made("down")


def kubectl_of(shell: Shell, cluster: Cluster, agent: str = "demo") -> Kubectl:
    kubeconfig = shell.folder / "narrowgate-data" / f"{agent}.kubeconfig"
    return Kubectl(cluster.kubectl, kubeconfig, shell.home)


def pid_of(shell: Shell) -> int:
    return int((shell.folder / "narrowgate-data" / "gate.pid").read_text().split()[0])


def test_one_command_and_kubectl_works(shell: Shell, cluster: Cluster) -> None:
    done = shell.up(cluster)
    assert done.code == 0, done.text
    kubectl = kubectl_of(shell, cluster)
    assert "kube-system" in kubectl.must("get", "namespaces")
    refused = kubectl("get", "secrets", "-n", "kube-system")
    assert refused.code == 1
    assert b'agent "demo" may not list secrets in namespace "kube-system"' in refused.err


def test_what_it_made_is_said_and_is_for_its_owner_alone(shell: Shell, cluster: Cluster) -> None:
    done = shell.up(cluster)
    data = shell.folder / "narrowgate-data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "demo.kubeconfig").stat().st_mode) == 0o600
    for path in ("narrowgate.yaml", "policies", "demo.kubeconfig"):
        assert f"narrowgate-data/{path}" in done.out
        assert (data / path).exists()
    commands = [line.strip() for line in done.out.splitlines() if line.startswith("  ")]
    assert len(commands) == 4
    for command in commands:
        ran = shell.run(["bash", "-c", command], {"PATH": f"{cluster.bin}:{Path(sys.executable).parent}:/usr/bin:/bin"})
        assert ran.code == (1 if "secrets" in command else 0), ran.text


def test_the_kubeconfig_verifies_the_gate(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    written = yaml.safe_load((shell.folder / "narrowgate-data" / "demo.kubeconfig").read_text())
    reached = written["clusters"][0]["cluster"]
    assert reached["server"].startswith("https://127.0.0.1:")
    assert "certificate-authority-data" in reached
    assert "insecure-skip-tls-verify" not in reached


def test_the_second_run_uses_what_is_there(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    data = shell.folder / "narrowgate-data"
    kept = {name: (data / name).read_bytes() for name in ("narrowgate.yaml", "demo.kubeconfig", "policies/demo.yaml")}
    assert shell("down").code == 0
    again = shell("up", "--detach")
    assert again.code == 0, again.text
    assert "made" not in again.out
    assert {name: (data / name).read_bytes() for name in kept} == kept
    assert "kube-system" in kubectl_of(shell, cluster).must("get", "namespaces")


def test_up_while_it_runs_finds_it_running(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    first = pid_of(shell)
    assert shell("up", "--detach").code == 0
    assert pid_of(shell) == first
    assert f"a gate runs from here already, process {first}" in one_line(shell("up"))


def test_options_of_the_first_run_are_said_to_do_nothing_on_the_second(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    assert "--kubeconfig, --cluster-name, --port: not used" in shell.up(cluster).err


def test_an_agent_that_was_removed_does_not_come_back(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    shell("agents", "remove", "demo", "--yes")
    shell("down")
    shell("up", "--detach")
    assert shell("agents", "list", "-o", "json").out.strip() == "[]"
    assert kubectl_of(shell, cluster)("get", "namespaces").code == 1


def test_down_ends_it_and_down_again_is_content(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    pid = pid_of(shell)
    assert shell("down").code == 0
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    again = shell("down")
    assert (again.code, again.err) == (0, "no gate runs from narrowgate-data\n")


def test_a_number_that_belongs_to_somebody_else_now_is_left_alone(shell: Shell, cluster: Cluster) -> None:
    with subprocess.Popen(["sleep", "60"]) as somebody:
        shell.write("narrowgate-data/gate.pid", f"{somebody.pid} 1\n")
        assert shell("down").code == 0
        assert somebody.poll() is None
        somebody.terminate()


def test_in_the_foreground_it_serves_until_it_is_told_to_stop(shell: Shell, cluster: Cluster) -> None:
    port = str(three_ports())
    command = [narrowgate(), "up", "--kubeconfig", str(cluster.kubeconfig), "--cluster-name", "dev", "--port", port]
    variables = {**environment(), "HOME": str(shell.home)}
    with subprocess.Popen(command, cwd=shell.folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + GONE_SECONDS
            while kubectl_of(shell, cluster)("get", "namespaces").code != 0:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            process.terminate()
        said, _ = process.communicate(timeout=GONE_SECONDS)
    assert process.returncode == 0
    assert "serving until you press Ctrl-C" in said


def test_a_taken_port_is_named_before_anything_starts(shell: Shell, cluster: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell("up", "--detach", "--kubeconfig", str(cluster.kubeconfig), "--port", str(port))
    assert done.code == 1
    assert f"cannot listen on 127.0.0.1:{port} (address already in use), --port: " in one_line(done)
    assert not (shell.folder / "narrowgate-data").exists()


def test_a_gate_that_ends_while_starting_is_said_with_its_last_words(shell: Shell, cluster: Cluster) -> None:
    shell.up(cluster)
    shell("down")
    shell.write("narrowgate-data/policies/demo.yaml", "kind: Policy\n")
    # The last good revision stays in force; without it there is nothing to serve by.
    for file in (shell.folder / "narrowgate-data").glob("gate.db*"):
        file.unlink()
    done = shell("up", "--detach")
    assert done.code == 1
    assert "the gate ended while starting, see narrowgate-data/gate.log" in done.err
    assert not (shell.folder / "narrowgate-data" / "gate.pid").exists()
