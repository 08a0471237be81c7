"""A gate that pods of the test cluster reach, and namespaces of agents made from its bundles.

Here belongs what tests of such namespaces share.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from dev.cluster.node import Slot
from tests.e2e.gate import REPOSITORY, Cluster, Finished, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import SLEEP


def gate_address() -> str:
    """Address of this machine on the bridge of the cluster's pods."""
    described = json.loads((REPOSITORY / ".cluster" / "cluster.json").read_text())
    if not described["nodeAddress"]:
        # Failing is the point: without a pod that comes through the gate nothing is proven here.
        pytest.fail("cluster.json has no nodeAddress: unset KUBECONFIG, so that a cluster with a node is made here")
    return Slot(int(described["nodeAddress"].rpartition(".")[2])).bridge_address.partition("/")[0]


class Place:
    """A gate that takes ServiceAccount tokens, on the bridge of the pods, and namespaces made from its bundles."""

    def __init__(self, gate: Gate, direct: Kubectl, cluster: Cluster, run_id: str) -> None:
        self.gate = gate
        self.direct = direct
        self.cluster = cluster
        self._run = run_id
        self.namespaces: list[str] = []
        self.outside: list[str] = []

    def bundle(self, namespace: str, *options: str) -> Finished:
        done = self.gate.command("clusters", "bundle", "dev", "--namespace", namespace, *options)
        assert done.code == 0, done.text
        return done

    def namespace(self, purpose: str, *options: str) -> str:
        """A namespace of agents, and a policy that lets its account read ConfigMaps."""
        name = f"ng-{self._run}-{purpose}-{secrets.token_hex(2)}"
        self.namespaces.append(name)
        printed = self.bundle(name, *options).out
        made = [one for one in yaml.safe_load_all(printed) if "Admission" in one["kind"]]
        self.outside += [f"{one['kind']}/{one['metadata']['name']}" for one in made]
        applied = self.direct("apply", "--server-side", "-f", "-", stdin=printed.encode())
        assert applied.code == 0, applied.text
        rule = {
            "id": "maps", "effect": "allow", "verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"],
            "namespaces": [name],
        }  # fmt: skip
        self.gate.write_policy(purpose, [{"kind": "ServiceAccount", "name": f"{name}/agent"}], [rule])
        return name

    def pod(self, namespace: str) -> dict[str, Any]:
        """The pod of the bundle's own template, as the API server keeps it."""
        kept = json.loads(self.direct.must("get", "podtemplate", "narrowgate", "-n", namespace, "-o", "json"))
        spec = kept["template"]["spec"]
        spec["terminationGracePeriodSeconds"] = 0
        spec["volumes"].append({"name": "scratch", "emptyDir": {}})
        (container,) = spec["containers"]
        container |= {"image": self.cluster.image, "imagePullPolicy": "Never", "command": ["sh", "-c", SLEEP]}
        container["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch"})
        labels = kept["template"]["metadata"]["labels"]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "labels": labels}, "spec": spec}


@contextmanager
def agent_place(cluster: Cluster, direct: Kubectl, run_id: str, folder: Path) -> Iterator[Place]:
    """A gate on the bridge of the cluster's pods, and an end of all its namespaces."""
    address = gate_address()
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    authentication = {"serviceAccounts": {"audience": "narrowgate"}}
    settings = {"authentication": authentication, "tls": {"names": [address]}}
    gate = Gate(folder, [entry], settings)
    document = yaml.safe_load(gate.config.read_text())
    document["listen"]["kubernetes"] = f"{address}:{gate.kubernetes_port}"
    gate.config.write_text(yaml.safe_dump(document, sort_keys=False))
    gate.start()
    one = Place(gate, direct, cluster, run_id)
    try:
        yield one
    finally:
        gate.stop()
        for each in one.outside:
            direct("delete", each, "--ignore-not-found", "--wait=false")
        if one.namespaces:
            direct("delete", "namespace", *one.namespaces, "--wait=false", "--ignore-not-found")
