"""What tasks leave behind is deleted by the gate's own account, with the role that its manifests print for that.

Where that role is missing nothing is lost: the gate says what it lacks, and goes on trying.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.tasks import grantable, terminal
from tests.e2e.test_upstream_modes import AUDIT_SECONDS, Installed

ROLE = "narrowgate:workload-deleter"
RETRIED_SECONDS = 120.0
"""Attempts come 2, 4, 8, 16 and 32 seconds apart at first."""


@pytest.mark.parametrize("mode", ["impersonate", "serviceAccount"])
def test_the_gates_account_deletes_with_the_role_that_the_manifests_print_and_not_before(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path, mode: str
) -> None:
    account, namespace = new_namespace(f"gate-{secrets.token_hex(2)}"), new_namespace("work")
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(tmp_path / "gate" / "token"),
        "upstream": {"mode": mode, "accountNamespace": account},
    }
    gate = Gate(tmp_path / "gate", [entry], {"authentication": {"serviceAccounts": {"audience": "narrowgate"}}})
    installed = Installed(gate, direct, account, namespace)
    installed.token_file.write_text("none-yet")
    rules = [
        grantable("jobs", "get create", "jobs", namespace, apiGroups=["batch"], onEnd="deleteWorkloads"),
        grantable("as", "use", "serviceaccounts", namespace, names=["default"]),
    ]
    gate.agent("tidy", rules)
    here, name = direct.within(namespace), f"left-{secrets.token_hex(4)}"
    try:
        installed.install()
        role = json.loads(here.must("get", "role", ROLE, "-o", "json"))
        assert role["rules"] == [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["delete"]}]
        here.must("delete", "rolebinding", ROLE)
        gate.start()
        typed = terminal(gate, cluster, "tidy", tmp_path)
        wanted = (
            "--allow",
            f"get,create jobs.batch -n {namespace}",
            "--allow",
            f"use serviceaccounts/default -n {namespace}",
        )
        task, kubectl = typed.request("--cluster", "dev", "--reason", "tidy", "--for", "10m", *wanted)
        kubectl.within(namespace).must("create", "-f", "-", stdin=_suspended(name, cluster.image))
        since = cluster.audit_position()
        assert typed("tasks", "complete", str(task["id"])).code == 0
        gate.wait_until(
            lambda: "the gate's account may not delete jobs.batch (403)" in gate.log.read_text(),
            "it is told what is missing",
        )
        assert here("get", "job", name).code == 0

        installed.install()
        gate.wait_until(lambda: here("get", "job", name).code != 0, "it was tried again", RETRIED_SECONDS)
        gate.wait_until(lambda: bool(_deletions(cluster, name, since)), "the cluster's audit log has it", AUDIT_SECONDS)
        (deleted,) = _deletions(cluster, name, since)
        assert deleted["user"]["username"] == f"system:serviceaccount:{account}:narrowgate"
        assert "impersonatedUser" not in deleted
    finally:
        gate.stop()
        installed.remove()


def _deletions(cluster: Cluster, name: str, since: int) -> list[dict[str, Any]]:
    """Of the cluster's own audit log: deletions of that Job that it has done."""
    found = [one for one in cluster.audited(f"/jobs/{name}", since) if one["stage"] == "ResponseComplete"]
    return [one for one in found if one["verb"] == "delete" and one["responseStatus"]["code"] == 200]


def _suspended(name: str, image: str) -> bytes:
    """A Job that runs nothing."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}
    document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return yaml.safe_dump({**document, "spec": {"suspend": True, "template": template}}).encode()
