"""Pods that call the gate with nothing but a projected token, and agents under tasks that have them made.

Here belongs what the tests of lineage share: a gate on the bridge of the cluster's pods, a namespace with an account
`worker` that a policy gives more than any agent has, and objects that hold the template of such a pod.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dev.cluster.node import Slot
from tests.e2e.gate import REPOSITORY, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.tasks import AgentTerminal, grantable
from tests.e2e.workloads import pod_spec

DIALS = 5
"""How often a pod tries to reach the gate: on a busy bridge the first packets of a connection may be lost for long."""
DIAL_FAILED = "i/o timeout"
"""What kubectl says when no connection came about; nothing was sent then."""
POD_SECONDS = 90.0
# The promise is one second; the watcher's own end comes behind it on a machine that does other things as well.
END_SECONDS = 10.0
ALL = "get list watch create patch update delete"
MAKERS = {
    "apps": "deployments statefulsets daemonsets replicasets deployments/scale",
    "batch": "jobs cronjobs",
}
KINDS = {
    "Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
}  # fmt: skip


class Place:
    """A gate that takes ServiceAccount tokens, and the namespace `worker` lives in."""

    def __init__(self, gate: Gate, cluster: Cluster, direct: Kubectl, namespace: str) -> None:
        self.gate = gate
        self.cluster = cluster
        self.namespace = namespace
        self.direct = direct.within(namespace)

    def worker(self, name: str, folder: Path, group: str = "", **terms: Any) -> Worker:
        """A new agent that works on a task: it may have pods made, the `teams` of a group too, and read ConfigMaps.

        `terms` are more of the rule about pods (`onEnd`, ...).
        """
        makers = {**MAKERS, **({group: "teams"} if group else {})}
        rules = [
            grantable("pods", ALL, "pods", self.namespace, **terms),
            *(grantable(group.partition(".")[0], ALL, names, self.namespace, apiGroups=[group])
              for group, names in makers.items()),
            grantable("maps", "get list watch", "configmaps", self.namespace),
            grantable("as", "use", "serviceaccounts", self.namespace, names=["worker"]),
            grantable("file", "use", "configmaps", self.namespace, names=["gate"]),
            grantable("host", "use", "hostaccess", self.namespace, apiGroups=["narrowgate.dev"]),
        ]  # fmt: skip
        terminal = AgentTerminal(self.gate, self.gate.agent(name), folder / name, self.cluster.kubectl)
        self.gate.allow(name, rules)
        made = [f"{name}.{group}" for group, names in makers.items() for name in names.split() if "/" not in name]
        wanted = [
            *(f"{ALL.replace(' ', ',')} {one}" for one in ("pods", *made)),
            "get,patch,update deployments.apps/scale",
            "get,list,watch configmaps",
            "use serviceaccounts/worker", "use configmaps/gate", "use hostaccess.narrowgate.dev",
        ]  # fmt: skip
        options = [part for one in wanted for part in ("--allow", f"{one} -n {self.namespace}")]
        asked = ("--cluster", "dev", "--reason", "lineage", "--for", "30m", *options)
        self.gate.wait_until(lambda: terminal("tasks", "request", "--dry-run", *asked).code == 0, "it is offered")
        task, kubectl = terminal.request(*asked)
        return Worker(terminal, str(task["id"]), kubectl, self.namespace)

    def pod(self, selector: str, seconds: float = POD_SECONDS) -> Pod:
        """The running pod with these labels, once it is ready."""
        found: list[str] = []

        def there() -> bool:
            listed = json.loads(self.direct.must("get", "pods", "-l", selector, "-o", "json"))["items"]
            ready = [
                one for one in listed
                if "deletionTimestamp" not in one["metadata"]
                and any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", []))
            ]  # fmt: skip
            found[:] = [one["metadata"]["name"] for one in ready]
            return len(found) == 1 and len(listed) == len(ready)

        self.gate.wait_until(there, f"one pod with {selector} runs", seconds)
        return Pod(self, found[0])

    def require_ended(self, *watches: subprocess.Popen[bytes]) -> None:
        """All of these end by themselves."""
        deadline = time.monotonic() + END_SECONDS
        for watch in watches:
            watch.wait(max(0.1, deadline - time.monotonic()))


class Worker:
    """An agent with a task, and kubectl under it."""

    def __init__(self, terminal: AgentTerminal, task: str, kubectl: Kubectl, namespace: str) -> None:
        self.name = terminal.agent.name
        self.task = task
        self.kubectl = kubectl.within(namespace)
        self._namespace = namespace
        self._terminal = terminal

    def tree(self) -> Any:
        """The task with everything that came of it."""
        return self._terminal.document("tasks", "show", self.task, "--tree")

    def delegate(self, name: str, *wanted: str) -> Kubectl:
        """A delegate with a part of the task, in its namespace; kubectl under what it was given."""
        path = self._terminal.shell.folder / f"{name}.kubeconfig"
        allowed = [part for one in wanted for part in ("--allow", f"{one} -n {self._namespace}")]
        told = ("--name", name, "--reason", "helps", "--for", "10m", *allowed)
        self._terminal.document("tasks", "delegate", self.task, *told, "--kubeconfig", path)
        return self._terminal.kubectl(path).within(self._namespace)

    def revoke(self, reason: str = "") -> None:
        """The task ends: completed, or revoked where there is a reason."""
        end = ("revoke", self.task, "--reason", reason) if reason else ("complete", self.task)
        done = self._terminal("tasks", *end)
        assert done.code == 0, done.text


class Pod:
    """A pod that has kubectl, and a token for the gate."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self.name = name
        self.said = ""
        """By the last command."""

    def command(self, *arguments: str) -> list[str]:
        kubectl = ["/tools/kubectl", "--kubeconfig=/etc/gate/kubeconfig", "--cache-dir=/tmp/cache", *arguments]
        return ["exec", "-i", self.name, "--", *kubectl]

    def can(self, *arguments: str, stdin: bytes = b"") -> bool:
        """Run kubectl in the pod, through the gate; whether that worked."""
        for _ in range(DIALS):
            done = self._place.direct(*self.command(*arguments), stdin=stdin)
            self.said = done.text
            if not ("dial tcp" in done.text and DIAL_FAILED in done.text):
                break
        return done.code == 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[subprocess.Popen[bytes]]:
        """A watch of ConfigMaps under way."""
        arguments = [one for one in self.command("get", "configmaps", "--watch", "-o", "name") if one != "-i"]
        for left in reversed(range(DIALS)):
            process = self._place.direct.start(*arguments)
            said = _until(process, b"configmap/")
            if b"configmap/" in said:
                break
            assert DIAL_FAILED.encode() in said, said
            assert left, said
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """What a program says until it has said this, or has ended."""
    assert process.stdout is not None
    said = b""
    while wanted not in said and (line := process.stdout.readline()):
        said += line
    if wanted not in said:
        process.communicate()
    return said


def pod_template(place: Place, account: str = "worker") -> dict[str, Any]:
    """The spec of a pod that reaches the gate as `account`."""
    token = {"serviceAccountToken": {"audience": "narrowgate", "expirationSeconds": 3600, "path": "token"}}
    spec = pod_spec(
        place.cluster.image,
        hostNetwork=False,
        serviceAccountName=account,
        automountServiceAccountToken=False,
        volumes=[
            {"name": "token", "projected": {"sources": [token]}},
            {"name": "gate", "configMap": {"name": "gate"}},
            {"name": "tools", "hostPath": {"path": str(place.cluster.bin), "type": "Directory"}},
        ],
    )
    spec["containers"][0]["volumeMounts"] = [
        {"name": "token", "mountPath": "/var/run/secrets/gate", "readOnly": True},
        {"name": "gate", "mountPath": "/etc/gate", "readOnly": True},
        {"name": "tools", "mountPath": "/tools", "readOnly": True},
    ]
    return spec


def workload(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> bytes:
    """An object of that kind whose pod, or whose one pod, is made from `spec`."""
    labels = {"app": name}
    template: dict[str, Any] = {"metadata": {"labels": labels}, "spec": spec}
    match kind:
        case "Pod":
            body: dict[str, Any] = spec
        case "Job":
            body = {"template": {**template, "spec": {**spec, "restartPolicy": "Never"}}}
        case "CronJob":
            job = {"template": {**template, "spec": {**spec, "restartPolicy": "Never"}}}
            body = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}
        case _:
            body = {"selector": {"matchLabels": labels}, "template": template}
            if kind != "DaemonSet":
                body["replicas"] = 1
    document = {
        "apiVersion": KINDS[kind], "kind": kind, "metadata": {"name": name, "labels": labels, **metadata}, "spec": body,
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False).encode()


def gate_address() -> str:
    """Address of this machine on the bridge of the cluster's pods."""
    described = json.loads((REPOSITORY / ".cluster" / "cluster.json").read_text())
    assert described["nodeAddress"], "cluster.json has no nodeAddress: no pod of that cluster reaches this machine"
    slot = Slot(int(described["nodeAddress"].rpartition(".")[2]))
    return slot.bridge_address.partition("/")[0]


@contextlib.contextmanager
def placed_gate(cluster: Cluster, direct: Kubectl, folder: Path, **settings: Any) -> Iterator[Place]:
    """A running gate, and a namespace with all that its pods need."""
    namespace, address = f"ng-lineage-{secrets.token_hex(3)}", gate_address()
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    authentication = {"serviceAccounts": {"audience": "narrowgate"}}
    gate = Gate(folder / "gate", [entry], {"authentication": authentication, "tls": {"names": [address]}, **settings})
    document = yaml.safe_load(gate.config.read_text())
    document["listen"]["kubernetes"] = f"{address}:{gate.kubernetes_port}"
    gate.config.write_text(yaml.safe_dump(document, sort_keys=False))
    direct.must("create", "namespace", namespace)
    place = Place(gate, cluster, direct, namespace)
    try:
        rules = [
            {"id": "all", "effect": "allow", "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
             "namespaces": [namespace]},
        ]  # fmt: skip
        gate.write_policy("workers", [{"kind": "ServiceAccount", "name": f"{namespace}/worker"}], rules)
        gate.start()
        place.direct.must("create", "serviceaccount", "worker")
        place.direct.must("create", "configmap", "gate", f"--from-literal=kubeconfig={_kubeconfig(place, address)}")
        yield place
    finally:
        gate.stop()
        direct("delete", "namespace", namespace, "--wait=false")


CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "spec": {
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}


@contextlib.contextmanager
def teams(place: Place) -> Iterator[str]:
    """A custom resource `teams` of a group that no other test has; the group."""
    group = f"{place.namespace}.lineage.example"
    names = {"plural": "teams", "singular": "team", "kind": "Team"}
    document = {**CRD, "metadata": {"name": f"teams.{group}"}, "spec": {**CRD["spec"], "group": group, "names": names}}
    place.direct.must("apply", "-f", "-", stdin=yaml.safe_dump(document).encode())
    try:
        place.direct.must("wait", "--for=condition=Established", f"crd/teams.{group}", "--timeout=60s")
        yield group
    finally:
        place.direct("delete", "crd", f"teams.{group}", "--wait=false")


def _kubeconfig(place: Place, address: str) -> str:
    """What a pod is given: where the gate is, how to know it, and where its own token lies. No secret."""
    ca = base64.b64encode((place.gate.data_dir / "keys" / "ca.pem").read_bytes()).decode()
    server = f"https://{address}:{place.gate.kubernetes_port}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gate", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "me", "user": {"tokenFile": "/var/run/secrets/gate/token"}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "me", "namespace": place.namespace}}],
        "current-context": "gate",
    }
    return yaml.safe_dump(document)
