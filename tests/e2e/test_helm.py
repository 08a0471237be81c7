"""Helm works through the gate: a chart's life from install to uninstall, and what it stores about it in Secrets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dev.build import build
from tests.e2e.gate import REPOSITORY, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl, Ran

HELM = {"helm": "helm.sh/helm/v3/cmd/helm"}
CALL_SECONDS = 120.0

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: greeting\nversion: 0.1.0\n",
    "values.yaml": "greeting: hello\nreplicas: 1\n",
    "templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
        "data:\n  greeting: {{ .Values.greeting | quote }}\n"
    ),
    "templates/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {greeting: {{ .Values.greeting | quote }}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {{ .Values.image }}
          imagePullPolicy: Never
          command: [sh, -c, "trap 'exit 0' TERM; sleep 3600 & wait"]
""",
    "templates/hook.yaml": """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-check
  annotations: {helm.sh/hook: "post-install", helm.sh/hook-delete-policy: "hook-succeeded"}
spec:
  backoffLimit: 0
  template:
    spec:
      hostNetwork: true
      restartPolicy: Never
      containers:
        - {name: main, image: {{ .Values.image }}, imagePullPolicy: Never, command: ["true"]}
""",
}


@dataclass(frozen=True)
class Helm:
    """Helm with one kubeconfig, in one namespace."""

    program: Path
    kubeconfig: Path
    home: Path
    namespace: str

    def __call__(self, *arguments: str) -> Ran:
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            capture_output=True,
            timeout=CALL_SECONDS,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.home),
                "KUBECONFIG": str(self.kubeconfig),
            },
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str) -> str:
        ran = self(*arguments)
        assert ran.code == 0, f"helm {' '.join(arguments)}: {ran.text}"
        return ran.out.decode()


@pytest.fixture(scope="module")
def program() -> Path:
    return build(REPOSITORY / "dev" / "tools", HELM) / "helm"


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart") / "greeting"
    for name, text in CHART.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_release_lives_from_install_to_uninstall(
    program: Path,
    chart: Path,
    admin: Agent,
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path: Path,
) -> None:
    namespace = new_namespace("helm")
    helm = Helm(program, admin.kubeconfig, tmp_path, namespace)
    inside = direct.within(namespace)
    image = f"image={cluster.image}"

    def greeting() -> str:
        return inside.must("get", "configmap", "hail", "-o", "jsonpath={.data.greeting}")

    helm.must("install", "hail", str(chart), "--set", image, "--wait", "--timeout=90s")
    assert greeting() == "hello"
    helm.must("upgrade", "hail", str(chart), "--set", f"{image},greeting=goodbye", "--wait", "--timeout=90s")
    assert greeting() == "goodbye"
    helm.must("rollback", "hail", "1", "--wait", "--timeout=90s")
    assert greeting() == "hello"

    history: list[dict[str, Any]] = json.loads(helm.must("history", "hail", "-o", "json"))
    assert [entry["status"] for entry in history] == ["superseded", "superseded", "deployed"]
    assert "hail" in helm.must("list")
    assert "greeting: hello" in helm.must("get", "manifest", "hail").replace('"', "")
    assert "STATUS: deployed" in helm.must("status", "hail")

    helm.must("uninstall", "hail", "--wait", "--timeout=90s")
    assert inside("get", "deployment,configmap", "hail").code == 1
    assert inside.must("get", "secrets", "-o", "name") == ""


def test_helm_prints_what_the_gate_refuses(
    program: Path,
    chart: Path,
    gate: Gate,
    cluster: Cluster,
    new_namespace: Callable[[str], str],
    tmp_path: Path,
) -> None:
    namespace = new_namespace("helm")
    rule = {
        "id": "releases",
        "effect": "allow",
        "verbs": ["*"],
        "apiGroups": [""],
        "resources": ["secrets", "configmaps"],
        "namespaces": [namespace],
    }
    agent = gate.agent("half-a-helmsman", [rule])
    helm = Helm(program, agent.kubeconfig, tmp_path, namespace)

    ran = helm("install", "refused", str(chart), "--set", f"image={cluster.image}")

    assert ran.code == 1
    assert b"half-a-helmsman" in ran.err
    assert b"may not" in ran.err
    assert b"deployments.apps" in ran.err
