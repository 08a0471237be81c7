"""Pods judged by the chain that had them made: an agent's Jobs, Deployments, CronJobs, an operator's resources.

Everything a pod has is a projected token for the gate. The pods are those of `tests.e2e.placed_pods`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, placed_gate, pod_template, teams, workload


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("lineage")) as found:
        yield found


def test_a_pod_of_nobody_is_just_its_service_account(place: Place) -> None:
    place.direct.must("apply", "-f", "-", stdin=workload("Pod", "free", pod_template(place)))
    pod = place.pod("app=free")
    assert pod.can("get", "configmaps", "-o", "name"), pod.said
    assert pod.can("get", "services", "-o", "name"), pod.said


def test_a_job_of_a_task_works_within_the_task_makes_a_child_and_both_end_with_it(place: Place, tmp_path: Path) -> None:
    worker = place.worker("jobber", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Job", "parent", pod_template(place)))
    pod = place.pod("app=parent")
    assert pod.can("get", "configmaps", "-o", "name"), pod.said

    assert not pod.can("get", "services", "-o", "name")
    assert f'speaking for agent "{worker.name}"' in pod.said, pod.said
    event = place.gate.wait_for_event(f"/namespaces/{place.namespace}/services")
    chain = event["annotations"]["narrowgate.dev/chain"]
    assert f"agent:{worker.name}" in chain
    assert f"serviceaccount:{place.namespace}/worker" in chain

    assert pod.can("apply", "-f", "-", stdin=workload("Pod", "child", pod_template(place))), pod.said
    child = place.pod("app=child")
    assert child.can("get", "configmaps", "-o", "name"), child.said
    assert not child.can("get", "services", "-o", "name")
    assert f'agent "{worker.name}"' in child.said, child.said

    def shown() -> bool:
        below = [
            (one["kind"], one["name"], [each["name"] for each in one["children"]]) for one in worker.tree()["children"]
        ]
        return below == [("pod", f"{place.namespace}/{pod.name}", [f"{place.namespace}/child"])]

    place.gate.wait_until(shown, "both stand in the tree")
    with pod.watching() as first, child.watching() as second:
        worker.revoke()
        place.require_ended(first, second)
    for one in (pod, child):
        assert not one.can("get", "configmaps", "-o", "name")
        assert f"task {worker.task} is over" in one.said
        assert f"agent:{worker.name}" in one.said


@pytest.mark.parametrize("kind", ["Deployment", "CronJob", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_what_controllers_make_for_an_agent_is_bounded_by_it(place: Place, tmp_path: Path, kind: str) -> None:
    name = f"kind-{kind.lower()}"
    worker = place.worker(name, tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload(kind, name, pod_template(place)))
    if kind == "CronJob":
        # The controller's own way, a minute sooner: a Job with the CronJob as its owner.
        place.direct.must("create", "job", "--from", f"cronjob/{name}", f"{name}-now")
    pod = place.pod(f"app={name}")
    assert pod.can("get", "configmaps", "-o", "name"), pod.said
    assert not pod.can("get", "services", "-o", "name")
    assert f'speaking for agent "{name}"' in pod.said, pod.said
    worker.revoke()
    place.gate.wait_until(lambda: not pod.can("get", "configmaps"), "the pod's access ends with the task")
    place.direct("delete", kind, name, "--wait=false")


def test_whoever_changes_a_template_speaks_with_the_pods_made_afterwards(place: Place, tmp_path: Path) -> None:
    first, second = place.worker("maker", tmp_path), place.worker("changer", tmp_path)
    first.kubectl.must("apply", "-f", "-", stdin=workload("Deployment", "shared", pod_template(place)))
    before = place.pod("app=shared")
    assert before.can("get", "configmaps"), before.said
    second.kubectl.must("scale", "deployment/shared", "--replicas=0")
    place.direct.must("wait", "--for=delete", "pod", "-l", "app=shared", "--timeout=60s")
    second.kubectl.must("scale", "deployment/shared", "--replicas=1")
    after = place.pod("app=shared")
    assert after.can("get", "configmaps"), after.said
    second.revoke()
    place.gate.wait_until(lambda: not after.can("get", "configmaps"), "the changer's end is theirs as well")
    assert "agent:changer" in after.said
    place.direct("delete", "deployment", "shared", "--wait=false")


def test_a_gate_killed_before_the_first_call_still_knows(place: Place, tmp_path: Path) -> None:
    worker = place.worker("killed", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "survivor", pod_template(place)))
    place.gate.kill()
    place.gate.start()
    pod = place.pod("app=survivor")
    assert pod.can("get", "configmaps"), pod.said
    assert not pod.can("get", "services")
    assert 'speaking for agent "killed"' in pod.said, pod.said


@pytest.fixture
def group(place: Place) -> Iterator[str]:
    with teams(place) as group:
        yield group


def test_what_an_operator_makes_of_an_agents_resource_is_bounded_by_the_agent(
    place: Place, tmp_path: Path, group: str
) -> None:
    worker = place.worker("resourceful", tmp_path, group)
    team = {"apiVersion": f"{group}/v1", "kind": "Team", "metadata": {"name": "red"}, "spec": {"size": 1}}
    place.gate.wait_until(
        lambda: worker.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(team).encode()).code == 0,
        "the gate has heard of the new kind",
    )
    # The operator: an account of its own, past the gate, and owner references as every operator sets them.
    uid = json.loads(place.direct.must("get", f"teams.{group}", "red", "-o", "json"))["metadata"]["uid"]
    owner = {"apiVersion": f"{group}/v1", "kind": "Team", "name": "red", "uid": uid, "controller": True}
    place.direct.must(
        "apply", "-f", "-", stdin=workload("Deployment", "team-red", pod_template(place), ownerReferences=[owner])
    )
    pod = place.pod("app=team-red")
    assert pod.can("get", "configmaps"), pod.said
    assert not pod.can("get", "services")
    assert 'speaking for agent "resourceful"' in pod.said, pod.said
    worker.revoke()
    place.gate.wait_until(lambda: not pod.can("get", "configmaps"), "the pod's access ends with the task")
    assert f"task {worker.task} is over" in pod.said
    place.direct("delete", f"teams.{group}", "red", "--wait=false")


def test_a_write_that_was_never_answered_counts_for_what_fits_it(place: Place, tmp_path: Path) -> None:
    """As a gate leaves it that is killed between the cluster's answer and its own record."""
    worker = place.worker("unanswered", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "first", pod_template(place)))
    place.gate.kill()
    database = sqlite3.connect(place.gate.data_dir / "gate.db")
    with contextlib.closing(database), database:
        (authors,) = database.execute("SELECT authors FROM lineage WHERE name = 'first'").fetchone()
        pending = {
            "audit_id": "lost", "cluster": "dev", "resource": "pods", "namespace": place.namespace, "name": "lost",
            "is_create": True, "author": json.loads(authors)[0], "at": time.time(),
        }  # fmt: skip
        columns = ("lost", "dev", "pods", place.namespace, pending["at"], json.dumps(pending))
        database.execute("INSERT INTO lineage_writes VALUES (?, ?, ?, ?, ?, ?)", columns)
    place.direct.must("apply", "-f", "-", stdin=workload("Pod", "lost", pod_template(place)))
    place.gate.start()
    pod = place.pod("app=lost")
    assert pod.can("get", "configmaps"), pod.said
    assert not pod.can("get", "services")
    assert 'speaking for agent "unanswered"' in pod.said, pod.said
