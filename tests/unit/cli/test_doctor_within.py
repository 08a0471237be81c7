"""What a pod says of its network: only the script's own words count, and what proves nothing is no all clear."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dev.cluster.processes import free_ports
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.test_namespace_reader import access, listed

from narrowgate.cli.doctor_report import Outcome
from narrowgate.cli.doctor_within import (
    EXEC_SECONDS,
    GATE,
    MOST_OF_A_KIND,
    chosen,
    gate_of,
    judged,
    script_of,
    tried_within,
    within,
)
from narrowgate.core.egress import Target
from narrowgate.core.roads import PodsLike

API, KUBELET, GATE_TARGET = (
    Target("the API server", "10.0.0.1", 443),
    Target("the kubelets", "n", 1),
    Target(GATE, "g", 2),
)
ASKED = [API, KUBELET, GATE_TARGET]


@pytest.mark.parametrize(
    ("said", "outcome", "found"),
    [
        (
            "closed 0\nclosed 1\nopen 2\n",
            Outcome.OK,
            "none of 2 addresses around the gate",
        ),
        ("open 0\nclosed 1\nopen 2\n", Outcome.FINDING, "reaches the API server (10.0.0.1:443)"),
        ("open 0\n", Outcome.FINDING, "reaches the API server"),
        ("closed 0\nclosed 1\nclosed 2\n", Outcome.NOT_TRIED, "not the gate either"),
        ("closed 0\nclosed 1\n", Outcome.NOT_TRIED, "forbidden"),
        ("", Outcome.NOT_TRIED, "forbidden"),
        ("no tool\n", Outcome.NOT_TRIED, "no nc, bash or python3"),
        ("x closed 0\nclosed 11\nclosed 2 \n", Outcome.NOT_TRIED, "forbidden"),
    ],
)
def test_what_the_pods_words_mean(said: str, outcome: Outcome, found: str) -> None:
    line = judged("ci", "web", ASKED, said, "a\nforbidden\x1b[2J\n")
    assert (line.outcome, found in line.found) == (outcome, True), line.found
    assert "\x1b" not in line.found
    assert bool(line.to_do) is (outcome is Outcome.FINDING)


def test_without_a_gate_to_compare_with_nothing_open_is_well() -> None:
    assert judged("ci", "web", [API], "closed 0\n", "").outcome is Outcome.OK


def test_a_few_of_each_kind_are_tried_and_each_once() -> None:
    many = [Target("the kubelets", f"10.0.0.{number // 2}", 10250) for number in range(40)]
    found = chosen([API, API, *many])
    assert found[0] == API
    assert len(found) == 1 + MOST_OF_A_KIND
    assert len(set(found)) == len(found)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("tool", ["bash", "python3"])
def test_the_script_tells_open_from_closed_with_whatever_is_there(tool: str, listening: int, tmp_path: Path) -> None:
    """Run by a shell whose path has this tool alone; netcat is tried in a real pod."""
    for name, path in {
        "timeout": _program("timeout"),
        "bash": _program("bash"),
        "python3": Path(sys.executable),
    }.items():
        if name in ("timeout", tool):
            (tmp_path / name).symlink_to(path)
    (tmp_path / "sh").symlink_to(_program("sh"))
    (closed,) = free_ports(1)
    script = script_of([Target("a", "127.0.0.1", listening), Target("b", "127.0.0.1", closed)])
    done = subprocess.run(
        [tmp_path / "sh", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "open 0\nclosed 1\n", done.stderr


def test_a_container_without_any_tool_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [_program("sh"), "-c", script_of([API])],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "no tool\n"


def _program(name: str) -> Path:
    found = shutil.which(name)
    assert found is not None, f"a machine without {name}"
    return Path(found)


def test_addresses_are_words_of_the_shell_and_nothing_else() -> None:
    assert "'$(reboot)'" in script_of([Target("a", "$(reboot)", 1)])


def test_the_gate_is_what_the_pods_variables_say() -> None:
    def pods(*variables: tuple[str, str]) -> PodsLike:
        env = [{"name": name, "value": value} for name, value in variables]
        spec = {"containers": [{"name": "c"}, {"name": "d", "env": env}]}
        return PodsLike(where="pod p", labels={}, annotations={}, spec=spec, account="a", runs=True)

    host, port = ("KUBERNETES_SERVICE_HOST", "gate.corp"), ("KUBERNETES_SERVICE_PORT", "8443")
    assert gate_of(pods(host, port)) == Target(GATE, "gate.corp", 8443)
    assert gate_of(pods(host)) is None
    assert gate_of(pods(host, ("KUBERNETES_SERVICE_PORT", "x"))) is None


def test_what_cannot_be_tried_is_told(scripted: ScriptedGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = within(access(scripted), tmp_path / "k", "ci", "web")
    assert (line.outcome, "not read: the service kubernetes" in line.found) == (Outcome.NOT_TRIED, True)
    scripted.answers("/api/v1/namespaces/default/services/kubernetes", told({"spec": {"clusterIPs": []}}))
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    scripted.answers(f"{slices}?limit=500&labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes", listed())
    scripted.answers("/api/v1/nodes?limit=500", listed())
    assert "not read: pod web" in within(access(scripted), tmp_path / "k", "ci", "web").found
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no kubectl here" in tried_within(tmp_path / "k", "ci", "web", [API]).found


def test_a_pod_that_never_stops_talking_is_not_listened_to_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!{_program('sh')}\nexec {_program('yes')} closed 0\n")
    kubectl.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    # Listened to for as long as the exec may take, it fills the memory.
    before = time.monotonic()
    assert tried_within(tmp_path / "k", "ci", "web", [API]).outcome is Outcome.OK
    assert time.monotonic() - before < EXEC_SECONDS / 2


def test_what_kubectl_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!{_program('sh')}\necho 'error: pods web is forbidden' >&2\nexit 1\n")
    kubectl.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    line = tried_within(tmp_path / "k", "ci", "web", [API])
    assert (line.outcome, line.found) == (Outcome.NOT_TRIED, "error: pods web is forbidden")
