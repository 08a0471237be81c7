"""What agents try so that what they start is nobody's: answers that nobody can read, revisions, late writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import POD_SECONDS, Place, Pod, placed_gate, pod_template, workload
from tests.e2e.rules import allow

JSON = "application/json"
CRON_JOBS = "/apis/batch/v1/namespaces/{}/cronjobs"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("nested")) as found:
        yield found


def maker(place: Place, name: str, *more: dict[str, Any]) -> Agent:
    """An agent that may have pods of `worker` made at any time, and read ConfigMaps."""
    here = place.namespace
    rules = [
        allow("pods", "get list create patch update delete", "pods", here),
        allow("jobs", "get create patch update", "jobs cronjobs", here, groups=["batch"]),
        allow("maps", "get list", "configmaps", here),
        allow("as", "use", "serviceaccounts", here, names=["worker"]),
        allow("host", "use", "hostaccess", here, groups=["narrowgate.dev"]),
        *more,
    ]
    return place.gate.agent(name, rules)


def lost_writes(place: Place) -> list[str]:
    """What the gate does not know what became of."""
    (file,) = place.gate.data_dir.glob("*.db")
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as opened:
        return [str(row[0]) for row in opened.execute("SELECT document FROM lineage_writes")]


def test_a_revision_that_an_agent_has_written_makes_no_pods_of_nobody(
    place: Place, kubectl_of: Callable[[Agent], Kubectl]
) -> None:
    revisions = allow("revisions", "get create delete", "controllerrevisions", place.namespace, groups=["apps"])
    mine = kubectl_of(maker(place, "reviser", revisions)).within(place.namespace)
    document = yaml.safe_load(workload("StatefulSet", "web", pod_template(place)))
    # Of a rollout in stages: pods below the partition are made of the revision that the set was at.
    document["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    place.direct.must("apply", "-f", "-", stdin=json.dumps(document).encode())
    free = place.pod("app=web")
    assert free.can("get", "services"), free.said

    def current() -> str:
        status = json.loads(place.direct.must("get", "statefulset", "web", "-o", "json"))["status"]
        return str(status.get("currentRevision", "")) if status.get("currentReplicas") == 1 else ""

    place.gate.wait_until(lambda: current() != "", "the set is at a revision", POD_SECONDS)
    revision = json.loads(place.direct.must("get", "controllerrevision", current(), "-o", "json"))
    metadata = revision["metadata"]
    kept = {key: metadata[key] for key in ("name", "labels", "ownerReferences")}
    labels = {"app": "web", "my": "own"}
    data = {"spec": {"template": {"$patch": "replace", "metadata": {"labels": labels}, "spec": pod_template(place)}}}
    written = {**revision, "metadata": kept, "data": data}
    mine.must("delete", "controllerrevision", metadata["name"])
    mine.must("create", "-f", "-", stdin=json.dumps(written).encode())
    mine.must("delete", "pod", free.name, "--wait=true")

    def runs() -> bool:
        found = json.loads(place.direct.must("get", "pods", "-l", "my=own", "-o", "json"))["items"]
        return bool(found) and all(one["status"]["phase"] == "Running" for one in found)

    place.gate.wait_until(runs, "the set has made a pod of the agent's revision", POD_SECONDS)
    pod = Pod(place, free.name)
    place.gate.wait_until(lambda: pod.can("get", "configmaps"), "the pod calls")
    assert not pod.can("get", "services")
    assert 'agent "reviser"' in pod.said, pod.said
    place.direct("delete", "statefulset", "web", "--wait=false")


QUIET = (
    (TABLE, "?includeObject=None"),
    (f"{TABLE},{JSON}", "?includeObject=None"),
    (TABLE, "?includeObject=%4eone"),
    (JSON, "?includeObject=None"),
    ("application/yaml", ""),
    ("application/cbor", ""),
    ("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", ""),
)
TELLING = (
    (JSON, ""),
    (TABLE, ""),
    (TABLE, "?includeObject=Object"),
    (f"{TABLE},{JSON}", ""),
    ("application/yaml,*/*", ""),
    ("application/vnd.kubernetes.protobuf", ""),
    ("application/vnd.kubernetes.protobuf,application/yaml", ""),
)


@pytest.fixture(scope="module")
def quiet(place: Place) -> Agent:
    """An agent from whom nothing is masked, so that its answers need not be read for that."""
    reveal = {"id": "shown", "effect": "reveal", "apiGroups": ["*"], "resources": ["*"], "approval": "none"}
    return maker(place, "quiet", reveal)


@pytest.mark.parametrize(("accept", "query"), [*QUIET, *TELLING])
def test_what_an_agent_makes_is_known_by_its_answer(
    place: Place, quiet: Agent, accept: str, query: str, marker: str
) -> None:
    document = yaml.safe_load(workload("CronJob", f"quiet-{marker[-12:]}", pod_template(place)))
    document["spec"]["suspend"] = True
    headers, path = {"Content-Type": JSON, "Accept": accept}, CRON_JOBS.format(place.namespace)
    answer = quiet.request("POST", path + query, headers, json.dumps(document).encode())
    assert answer.status == 201 or ((accept, query) in QUIET and answer.status in (400, 406)), answer.body
    assert lost_writes(place) == []
    if answer.status == 201:
        patch = json.dumps({"spec": {"schedule": "0 1 1 1 *"}}).encode()
        headers["Content-Type"] = "application/merge-patch+json"
        changed = quiet.request("PATCH", f"{path}/{document['metadata']['name']}{query}", headers, patch)
        assert changed.status == 200, changed.body
        assert lost_writes(place) == []


def require_mine(place: Place, pod: Pod, name: str) -> None:
    """The pod may do what the agent of that name may, and is told for whom it speaks where it may not."""
    place.gate.wait_until(lambda: pod.can("get", "configmaps"), "the pod calls", POD_SECONDS)
    assert not pod.can("get", "services")
    assert f'agent "{name}"' in pod.said, pod.said


def by_debugging(place: Place, mine: Kubectl) -> None:
    place.direct.must("apply", "-f", "-", stdin=workload("Pod", "theirs", pod_template(place)))
    place.pod("app=theirs")
    image = place.cluster.image
    mine.must(
        "debug", "theirs", "--copy-to=copied", "--keep-labels=false", f"--set-image=main={image}", "--container=main"
    )
    place.direct.must("label", "pod", "copied", "app=copied", "--overwrite")


def by_a_cron_job_of_others(place: Place, mine: Kubectl) -> None:
    document = yaml.safe_load(workload("CronJob", "theirs-now-and-then", pod_template(place)))
    document["spec"]["suspend"] = True
    document["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] = {"app": "copied"}
    place.direct.must("apply", "-f", "-", stdin=json.dumps(document).encode())
    mine.must("create", "job", "at-once", "--from=cronjob/theirs-now-and-then")


def by_rolling_back(place: Place, mine: Kubectl) -> None:
    document = yaml.safe_load(workload("Deployment", "theirs-rolled", pod_template(place)))
    document["spec"]["selector"] = {"matchLabels": {"app": "copied"}}
    document["spec"]["strategy"] = {"type": "Recreate"}
    for note in ("first", "second"):
        document["spec"]["template"]["metadata"] = {"labels": {"app": "copied"}, "annotations": {"note": note}}
        place.direct.must("apply", "-f", "-", stdin=json.dumps(document).encode())
        place.direct.must("rollout", "status", "deployment/theirs-rolled", f"--timeout={POD_SECONDS:.0f}s")
    mine.must("rollout", "undo", "deployment/theirs-rolled")
    place.direct.must("rollout", "status", "deployment/theirs-rolled", f"--timeout={POD_SECONDS:.0f}s")


def by_a_name_that_is_made_up(place: Place, mine: Kubectl) -> None:
    document = yaml.safe_load(workload("Pod", "copied", pod_template(place)))
    document["metadata"] = {"generateName": "made-up-", "labels": {"app": "copied"}}
    mine.must("create", "-f", "-", stdin=json.dumps(document).encode())


def by_a_job_that_takes_pods_over(place: Place, mine: Kubectl) -> None:
    mine.must("apply", "-f", "-", stdin=workload("Pod", "copied", pod_template(place)))
    place.pod("app=copied")
    document = yaml.safe_load(workload("Job", "takes-over", pod_template(place)))
    document["spec"] |= {"manualSelector": True, "selector": {"matchLabels": {"app": "copied"}}}
    document["spec"]["template"]["metadata"] = {"labels": {"app": "copied"}}
    place.direct.must("apply", "-f", "-", stdin=json.dumps(document).encode())

    def is_taken() -> bool:
        metadata = json.loads(place.direct.must("get", "pod", "copied", "-o", "json"))["metadata"]
        return bool(metadata.get("ownerReferences"))

    place.gate.wait_until(is_taken, "the Job has taken the pod over", POD_SECONDS)


def by_what_is_orphaned_and_adopted(place: Place, mine: Kubectl) -> None:
    """The ReplicaSet of an agent makes pods for the Deployment of a person, which has the same template."""
    document = yaml.safe_load(workload("Deployment", "mine-at-first", pod_template(place)))
    document["spec"]["selector"] = {"matchLabels": {"app": "copied"}}
    document["spec"]["template"]["metadata"] = {"labels": {"app": "copied"}}
    mine.must("apply", "-f", "-", stdin=json.dumps(document).encode())
    first = place.pod("app=copied")
    mine.must("delete", "deployment", "mine-at-first", "--cascade=orphan")
    document["metadata"]["name"] = "theirs-later"
    place.direct.must("apply", "-f", "-", stdin=json.dumps(document).encode())

    def is_adopted() -> bool:
        listed = json.loads(place.direct.must("get", "replicasets", "-l", "app=copied", "-o", "json"))["items"]
        return any(
            one["name"] == "theirs-later" for each in listed for one in each["metadata"].get("ownerReferences", [])
        )

    place.gate.wait_until(is_adopted, "the Deployment has adopted the ReplicaSet", POD_SECONDS)
    place.direct.must("delete", "pod", first.name, "--wait=true")


WAYS = (
    by_debugging,
    by_a_cron_job_of_others,
    by_rolling_back,
    by_a_name_that_is_made_up,
    by_a_job_that_takes_pods_over,
    by_what_is_orphaned_and_adopted,
)


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_a_pod_speaks_for_the_agent_that_had_it_made_in_whatever_way(
    place: Place, kubectl_of: Callable[[Agent], Kubectl], way: Callable[[Place, Kubectl], None]
) -> None:
    name = way.__name__.replace("_", "-")
    deployments = allow(
        "apps", "get list create patch update delete", "deployments replicasets", place.namespace, groups=["apps"]
    )
    mine = kubectl_of(maker(place, name, deployments)).within(place.namespace)
    way(place, mine)
    require_mine(place, place.pod("app=copied"), name)
    for kinds in ("deployments,replicasets,cronjobs,jobs", "pods"):
        place.direct.must("delete", kinds, "--all", "--wait=true", f"--timeout={POD_SECONDS:.0f}s")
