"""The cluster to stand on: what every other end-to-end test takes for granted.

The cluster is left running: the tests beside these use it too, and `make down` stops it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "dev" / "cluster" / "cluster.py"
DIRECTORY = REPOSITORY / ".cluster"
# The very first start builds Kubernetes, which takes minutes; every later one takes seconds.
UP_SECONDS = 1800
POD_SECONDS = 120
AUDIT_SECONDS = 60

Kubectl = Callable[..., str]


def run(*command: str | Path, timeout: float = UP_SECONDS, stdin: str | None = None) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, input=stdin)
    assert result.returncode == 0, f"{' '.join(map(str, command))}: {result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    run(sys.executable, PROGRAM, "up", "--dir", DIRECTORY)
    described: dict[str, Any] = json.loads((DIRECTORY / "cluster.json").read_text())
    return described


@pytest.fixture(scope="module")
def kubectl(cluster: dict[str, Any]) -> Kubectl:
    program = Path(cluster["bin"]) / "kubectl"

    def call(*arguments: str, stdin: str | None = None) -> str:
        return run(program, "--kubeconfig", cluster["kubeconfig"], *arguments, timeout=POD_SECONDS, stdin=stdin)

    return call


@pytest.fixture(scope="module")
def pod(cluster: dict[str, Any], kubectl: Kubectl) -> Iterator[str]:
    """A pod that has said something and waits."""
    if cluster["nodeName"] is None:
        pytest.skip("the cluster has no node")
    name = f"cluster-test-{uuid.uuid4().hex[:8]}"
    container = {
        "name": "main",
        "image": cluster["image"],
        "imagePullPolicy": cluster["imagePullPolicy"],
        "command": ["sh", "-c", "echo said by the pod; exec sleep 3600"],
    }
    spec = {"hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(document))
    try:
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={POD_SECONDS - 5}s")
        yield name
    finally:
        kubectl("delete", "pod", name, "--wait=false")


def audit_stages(cluster: dict[str, Any], name: str, subresource: str | None = None) -> dict[str, dict[str, Any]]:
    """The audit entries about an object, by stage, as soon as the last is there: it may come just after the answer."""
    if cluster["auditLog"] is None:
        pytest.skip("the audit log of this cluster is not ours to read")
    deadline = time.monotonic() + AUDIT_SECONDS
    stages: dict[str, dict[str, Any]] = {}
    while "ResponseComplete" not in stages and time.monotonic() < deadline:
        with Path(cluster["auditLog"]).open() as log:
            entries = [json.loads(line) for line in log if name in line and line.endswith("\n")]
        about = {"name": name, "subresource": subresource}
        matching = [
            entry for entry in entries if about.items() <= {"subresource": None, **entry.get("objectRef", {})}.items()
        ]
        stages = {entry["stage"]: entry for entry in matching}
    return stages


def test_a_running_cluster_is_left_as_it_is(cluster: dict[str, Any]) -> None:
    run(sys.executable, PROGRAM, "up", "--dir", DIRECTORY)
    assert json.loads((DIRECTORY / "cluster.json").read_text()) == cluster


def test_status_says_that_the_cluster_is_healthy(cluster: dict[str, Any]) -> None:
    status = json.loads(run(sys.executable, PROGRAM, "status", "-o", "json", "--dir", DIRECTORY))
    assert status["healthy"] is True
    assert status["cluster"] == cluster


def test_the_api_server_is_ready(kubectl: Kubectl) -> None:
    assert kubectl("get", "--raw=/readyz") == "ok"


def test_the_node_is_ready(cluster: dict[str, Any], kubectl: Kubectl) -> None:
    if cluster["nodeName"] is None:
        pytest.skip("the cluster has no node")
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    assert kubectl("get", "node", cluster["nodeName"], "-o", f"jsonpath={ready}") == "True"


def test_a_pod_runs_and_its_log_is_read(pod: str, kubectl: Kubectl) -> None:
    assert kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}") == "Running"
    assert kubectl("logs", pod) == "said by the pod\n"


def test_a_command_runs_in_a_pod(pod: str, kubectl: Kubectl) -> None:
    assert kubectl("exec", pod, "--", "sh", "-c", "echo $((6 * 7))") == "42\n"


def test_a_file_is_copied_into_a_pod(pod: str, kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("copied")
    kubectl("cp", str(tmp_path / "note"), f"{pod}:/tmp/note")
    assert kubectl("exec", pod, "--", "cat", "/tmp/note") == "copied"


def test_the_audit_log_has_every_stage_of_a_request(cluster: dict[str, Any], kubectl: Kubectl) -> None:
    name = f"cluster-test-{uuid.uuid4().hex[:8]}"
    kubectl("get", "configmap", name, "--ignore-not-found")
    stages = audit_stages(cluster, name)
    assert list(stages) == ["RequestReceived", "ResponseComplete"]
    assert {(entry["verb"], entry["objectRef"]["resource"]) for entry in stages.values()} == {("get", "configmaps")}
    assert stages["ResponseComplete"]["responseStatus"]["code"] == 404


def test_the_audit_log_names_an_exec(cluster: dict[str, Any], pod: str, kubectl: Kubectl) -> None:
    kubectl("exec", pod, "--", "true")
    assert audit_stages(cluster, pod, "exec")["ResponseComplete"]["responseStatus"]["code"] == 101
