"""What an agent tries so that the pods it has made are somebody else's, or nobody's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, Pod, placed_gate, pod_template, workload


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    # Two processes: a pod that is made through one of them calls the other one as well.
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("attacks"), workers=2) as found:
        yield found


def require_bounded(pod: Pod, name: str) -> None:
    """The pod may do what its agent may, and no more."""
    assert pod.can("get", "configmaps"), pod.said
    assert not pod.can("get", "services")
    assert f'agent "{name}"' in pod.said, pod.said


def test_labels_annotations_and_owner_references_change_nothing(place: Place, tmp_path: Path) -> None:
    worker = place.worker("editor", tmp_path)
    place.direct.must("apply", "-f", "-", stdin=workload("ReplicaSet", "others", pod_template(place)))
    other = json.loads(place.direct.must("get", "replicaset", "others", "-o", "json"))["metadata"]
    worker.kubectl.must("apply", "-f", "-", stdin=workload("ReplicaSet", "edited", pod_template(place)))
    pod = place.pod("app=edited")
    forged = {
        "metadata": {
            "labels": {"app": "edited", "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "narrowgate.dev/chain": "person:root",
                "narrowgate.dev/task": "",
                # Its ReplicaSet makes another one meanwhile, and then has one too many: not this one goes.
                "controller.kubernetes.io/pod-deletion-cost": "1000",
            },
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "others", "uid": other["uid"],
                 "controller": True},
            ],
        }
    }  # fmt: skip
    changed = worker.kubectl("patch", "pod", pod.name, "--type=merge", "-p", json.dumps(forged))
    assert changed.code == 0, changed.text
    require_bounded(pod, "editor")
    # Past the gate, too: what was recorded at first sight is by UID.
    place.direct.must("patch", "pod", pod.name, "--type=merge", "-p", '{"metadata": {"ownerReferences": null}}')
    require_bounded(pod, "editor")
    place.direct("delete", "replicaset", "others", "edited", "--wait=false")


def test_orphaning_what_owns_a_pod_sets_it_free_of_nobody(place: Place, tmp_path: Path) -> None:
    worker = place.worker("orphaner", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Deployment", "orphan", pod_template(place)))
    pod = place.pod("app=orphan")
    worker.kubectl.must("delete", "deployment", "orphan", "--cascade=orphan")
    listed = json.loads(place.direct.must("get", "replicasets", "-l", "app=orphan", "-o", "json"))["items"]
    worker.kubectl.must("delete", "replicaset", listed[0]["metadata"]["name"], "--cascade=orphan")

    def is_orphan() -> bool:
        metadata = json.loads(place.direct.must("get", "pod", pod.name, "-o", "json"))["metadata"]
        return not metadata.get("ownerReferences")

    place.gate.wait_until(is_orphan, "the pod has no owner any more")
    # Nobody has called from it before.
    require_bounded(pod, "orphaner")
    place.direct("delete", "pod", pod.name, "--wait=false")


def test_a_pod_that_another_one_adopts_stays_whose_it_was(place: Place, tmp_path: Path) -> None:
    worker = place.worker("lender", tmp_path)
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "adopted", pod_template(place)))
    pod = place.pod("app=adopted")
    place.direct.must("apply", "-f", "-", stdin=workload("ReplicaSet", "adopted", pod_template(place)))

    def is_adopted() -> bool:
        metadata = json.loads(place.direct.must("get", "pod", "adopted", "-o", "json"))["metadata"]
        return bool(metadata.get("ownerReferences"))

    place.gate.wait_until(is_adopted, "the ReplicaSet has taken the pod over")
    require_bounded(pod, "lender")
    place.direct("delete", "replicaset", "adopted", "--wait=false")


def test_the_same_name_again_is_another_pod(place: Place, tmp_path: Path) -> None:
    worker = place.worker("renamer", tmp_path)
    place.direct.must("apply", "-f", "-", stdin=workload("Pod", "again", pod_template(place)))
    free = place.pod("app=again")
    assert free.can("get", "services"), free.said
    worker.kubectl.must("delete", "pod", "again", "--wait=true")
    worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "again", pod_template(place)))
    require_bounded(place.pod("app=again"), "renamer")


def test_somebody_who_changes_a_running_pod_bounds_it_from_then_on(place: Place, tmp_path: Path) -> None:
    worker = place.worker("meddler", tmp_path)
    place.direct.must("apply", "-f", "-", stdin=workload("Pod", "running", pod_template(place)))
    pod = place.pod("app=running")
    assert pod.can("get", "services"), pod.said
    image = f'{{"spec": {{"containers": [{{"name": "main", "image": "{place.cluster.image}"}}]}}}}'
    done = worker.kubectl("patch", "pod", "running", "--type=strategic", "-p", image)
    assert done.code == 0, done.text
    place.gate.wait_until(lambda: not pod.can("get", "services"), "the meddler is an author of it")
    require_bounded(pod, "meddler")


@pytest.mark.parametrize("patch", ["merge", "strategic", "json", "apply"])
def test_every_sort_of_patch_of_a_template_makes_an_author(place: Place, tmp_path: Path, patch: str) -> None:
    name = f"by-{patch}"
    worker = place.worker(name, tmp_path)
    place.direct.must("apply", "-f", "-", stdin=workload("Deployment", name, pod_template(place)))
    free = place.pod(f"app={name}")
    assert free.can("get", "services"), free.said
    metadata = {"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}}
    if patch == "apply":
        spec = pod_template(place)
        done = worker.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-",
            stdin=workload("Deployment", name, {**spec, "terminationGracePeriodSeconds": 1}),
        )  # fmt: skip
    elif patch == "json":
        operations = [{"op": "add", "path": "/spec/template/metadata/annotations", "value": {"changed": "yes"}}]
        done = worker.kubectl("patch", "deployment", name, "--type=json", "-p", json.dumps(operations))
    else:
        done = worker.kubectl("patch", "deployment", name, f"--type={patch}", "-p", json.dumps(metadata))
    assert done.code == 0, done.text
    place.direct.must("rollout", "status", f"deployment/{name}", "--timeout=90s")
    place.direct.must("wait", "--for=delete", f"pod/{free.name}", "--timeout=60s")
    require_bounded(place.pod(f"app={name}"), name)
    place.direct("delete", "deployment", name, "--wait=false")
