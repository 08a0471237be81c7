"""What a task leaves behind is deleted when it is over, where a rule says so: that, all of it, and nothing else."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import ALL, Place, Worker, placed_gate, pod_template, workload
from tests.e2e.rules import allow
from tests.e2e.tasks import AgentTerminal, grantable
from tests.oidc_issuer import Issuer

DELETES = {"onEnd": "deleteWorkloads"}
GONE_SECONDS = 120.0


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Vouches for people."""
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, direct: Kubectl, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    people = {
        "issuer": {"url": issuer.url, "certificateAuthority": issuer.ca, "audiences": ["narrowgate"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }
    believed = {"serviceAccounts": {"audience": "narrowgate"}, "jwt": [people]}
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("ends"), authentication=believed) as found:
        yield found


class Deletions:
    """What the record says the gate deleted by itself."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def because_of(self, task: str, stage: str = "ResponseComplete") -> list[dict[str, Any]]:
        found = self._place.gate.events('"username":"gate"')
        return [one for one in found if one["annotations"].get("narrowgate.dev/task") == task and one["stage"] == stage]


def kept(place: Place, task: str) -> Any:
    """A task as the store has it."""
    with contextlib.closing(sqlite3.connect(place.gate.data_dir / "gate.db")) as database:
        (document,) = database.execute("SELECT document FROM tasks WHERE id = ?", (task,)).fetchone()
    return json.loads(document)


def fates(place: Place, task: str) -> list[str]:
    """What the store has of that which a task left behind, sorted."""
    with contextlib.closing(sqlite3.connect(place.gate.data_dir / "gate.db")) as database:
        return sorted(fate for (fate,) in database.execute("SELECT fate FROM leftovers WHERE task = ?", (task,)))


def there(place: Place, kind: str, name: str) -> str:
    """The UID of an object, past the gate; empty where it is not there, or on its way out."""
    shown = place.direct("get", kind, name, "-o", "json", "--ignore-not-found")
    metadata = json.loads(shown.out)["metadata"] if shown.code == 0 and shown.out.strip() else {}
    return "" if "deletionTimestamp" in metadata else str(metadata.get("uid", ""))


def wait_gone(place: Place, kind: str, name: str) -> None:
    place.gate.wait_until(lambda: not there(place, kind, name), f"{kind} {name} is gone", GONE_SECONDS)


def empty(kind: str, name: str, place: Place, **metadata: Any) -> bytes:
    """A workload that runs nothing, so that it costs the machine nothing."""
    document = yaml.safe_load(workload(kind, name, pod_template(place), **metadata))
    match kind:
        case "Deployment" | "StatefulSet" | "ReplicaSet":
            document["spec"]["replicas"] = 0
        case "CronJob" | "Job":
            document["spec"]["suspend"] = True
        case _:
            document["spec"]["schedulingGates"] = [{"name": "test.example/never"}]
    return yaml.safe_dump(document).encode()


def test_everything_that_was_created_under_a_task_goes_with_it_and_the_record_says_why(
    place: Place, tmp_path: Path
) -> None:
    worker = place.worker("tidy", tmp_path, **DELETES)
    kinds = ["Pod", "Job", "CronJob", "Deployment", "StatefulSet", "ReplicaSet"]
    names = {kind: f"tidy-{kind.lower()}" for kind in kinds}
    for kind in kinds[:3]:
        worker.kubectl.must("create", "-f", "-", stdin=empty(kind, names[kind], place))
    for kind in kinds[3:]:
        worker.kubectl.must("apply", "--server-side", "-f", "-", stdin=empty(kind, names[kind], place))
    assert all(there(place, kind, names[kind]) for kind in kinds)
    worker.revoke()
    for kind in kinds:
        wait_gone(place, kind, names[kind])
    done = Deletions(place)
    place.gate.wait_until(lambda: len(done.because_of(worker.task)) == len(kinds), "each deletion is in the record")
    for event in done.because_of(worker.task):
        assert event["verb"] == "delete"
        assert event["objectRef"]["name"] in names.values()
        assert event["objectRef"]["namespace"] == place.namespace
        assert event["responseStatus"]["code"] == 200
        assert f"task {worker.task} is over (completed)" in event["annotations"]["narrowgate.dev/because"]
    assert len(done.because_of(worker.task, "RequestReceived")) == len(kinds)
    found = place.gate.command("audit", "search", "--task", worker.task, "--verb", "delete", "-o", "json")
    assert found.code == 0, found.text
    assert len(json.loads(found.out)) == len(kinds)


def test_without_the_rule_everything_stays(place: Place, tmp_path: Path) -> None:
    worker, other = place.worker("untidy", tmp_path), place.worker("tidier", tmp_path, **DELETES)
    worker.kubectl.must("create", "-f", "-", stdin=empty("Job", "untidy", place))
    other.kubectl.must("create", "-f", "-", stdin=empty("Job", "tidier", place))
    worker.revoke()
    other.revoke()
    wait_gone(place, "Job", "tidier")
    assert there(place, "Job", "untidy")


def test_what_somebody_else_had_a_hand_in_or_has_made_anew_stays(place: Place, tmp_path: Path) -> None:
    worker, other = place.worker("author", tmp_path, **DELETES), place.worker("second", tmp_path)
    for name in ("alone", "shared", "anew"):
        worker.kubectl.must("create", "-f", "-", stdin=empty("Job", f"author-{name}", place))
    place.direct.must("create", "-f", "-", stdin=empty("Job", "author-foreign", place))
    worker.kubectl.must("label", "job", "author-foreign", "changed=yes")
    other.kubectl.must("label", "job", "author-shared", "mine=too")
    place.direct.must("delete", "job", "author-anew", "--wait=true")
    place.direct.must("create", "-f", "-", stdin=empty("Job", "author-anew", place))
    worker.revoke()
    wait_gone(place, "Job", "author-alone")
    place.gate.wait_until(
        lambda: "had a hand in it" in place.gate.log.read_text(), "it is told what is left, and because of whom"
    )
    for name in ("shared", "anew", "foreign"):
        assert there(place, "Job", f"author-{name}"), name


def test_what_a_person_changed_through_the_gate_stays(place: Place, issuer: Issuer, tmp_path: Path) -> None:
    worker, namespace = place.worker("helped", tmp_path, **DELETES), place.namespace
    for name in ("helped-on", "helped-not"):
        worker.kubectl.must("create", "-f", "-", stdin=empty("Job", name, place))
    rules = [allow("jobs", "get patch", "jobs", namespace, apiGroups=["batch"])]
    place.gate.write_policy("people", [{"kind": "Person", "name": "ann"}], rules)
    ann = replace(place.gate.agent("helped"), name="ann", token=issuer.token(sub="ann"))
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs/helped-on"
    patch = {"headers": {"Content-Type": "application/merge-patch+json"}, "body": b'{"metadata":{"labels":{"a":"b"}}}'}
    place.gate.wait_until(lambda: ann.request("GET", path).status == 200, "the policy is in force")
    assert ann.request("PATCH", path, **patch).status == 200
    worker.revoke()
    wait_gone(place, "Job", "helped-not")
    place.gate.wait_until(lambda: fates(place, worker.task) == ["deleted", "left"], "the fate of both is kept")
    assert there(place, "Job", "helped-on")


def test_what_the_agent_orphaned_goes_with_the_task(place: Place, tmp_path: Path) -> None:
    worker = place.worker("orphans", tmp_path, **DELETES)
    worker.kubectl.must("create", "-f", "-", stdin=workload("Deployment", "orphans", pod_template(place)))
    pod = place.pod("app=orphans")
    place.gate.wait_until(lambda: len(fates(place, worker.task)) == 3, "the pod and its ReplicaSet are known")
    worker.kubectl.must("delete", "deployment", "orphans", "--cascade=orphan")
    assert there(place, "Pod", pod.name)
    worker.revoke()
    wait_gone(place, "Pod", pod.name)
    assert not there(place, "ReplicaSet", pod.name.rpartition("-")[0])


def test_a_finalizer_of_the_agents_keeps_no_pods(place: Place, tmp_path: Path) -> None:
    worker = place.worker("stays", tmp_path, **DELETES)
    held = workload("Deployment", "stays", pod_template(place), finalizers=["test.example/stay"])
    worker.kubectl.must("create", "-f", "-", stdin=held)
    pod = place.pod("app=stays")
    try:
        worker.revoke()
        wait_gone(place, "Deployment", "stays")
        wait_gone(place, "Pod", pod.name)
    finally:
        place.direct("patch", "deployment", "stays", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_a_delegates_workloads_go_with_the_task_above_it(place: Place, tmp_path: Path) -> None:
    worker = place.worker("giver", tmp_path, **DELETES)
    uses = ("use serviceaccounts/worker", "use configmaps/gate", "use hostaccess.narrowgate.dev")
    helper = worker.delegate("helper", "create,get,patch jobs.batch", *uses)
    helper.must("create", "-f", "-", stdin=empty("Job", "giver-helped", place))
    worker.kubectl.must("label", "job", "giver-helped", "seen=yes")
    assert there(place, "Job", "giver-helped")
    worker.revoke()
    wait_gone(place, "Job", "giver-helped")


def test_a_pause_deletes_nothing(place: Place, tmp_path: Path) -> None:
    worker, other = place.worker("paused", tmp_path, **DELETES), place.worker("goes-on", tmp_path, **DELETES)
    worker.kubectl.must("create", "-f", "-", stdin=empty("Job", "paused", place))
    other.kubectl.must("create", "-f", "-", stdin=empty("Job", "goes-on", place))
    done = place.gate.command("agents", "pause", "paused")
    assert done.code == 0, done.text
    place.gate.wait_until(lambda: kept(place, worker.task)["state"] == "revoked", "the pause is written down")
    other.revoke()
    wait_gone(place, "Job", "goes-on")
    assert there(place, "Job", "paused")
    assert kept(place, worker.task)["on_end"] == "leave"


def test_a_gate_killed_before_it_deleted_does_so_when_it_is_back(place: Place, tmp_path: Path) -> None:
    worker = place.worker("interrupted", tmp_path, **DELETES)
    names = [f"interrupted-{number}" for number in range(5)]
    for name in names:
        worker.kubectl.must("create", "-f", "-", stdin=empty("Job", name, place))
    worker.revoke()
    place.gate.kill()
    place.gate.start()
    for name in names:
        wait_gone(place, "Job", name)


def test_it_is_said_beforehand(place: Place, tmp_path: Path) -> None:
    name, wanted = "asked", f"{ALL.replace(' ', ',')} jobs.batch -n {place.namespace}"
    terminal = AgentTerminal(place.gate, place.gate.agent(name), tmp_path / name, place.cluster.kubectl)
    place.gate.allow(name, [grantable("jobs", ALL, "jobs", place.namespace, apiGroups=["batch"], **DELETES)])
    asked = ("--cluster", "dev", "--reason", "ends", "--for", "10m", "--allow", wanted)
    place.gate.wait_until(lambda: terminal("tasks", "request", "--dry-run", *asked).code == 0, "it is offered")
    told = "in the end: the workloads that were created under it are deleted"
    assert told in terminal("tasks", "request", "--dry-run", *asked).out
    task, _ = terminal.request(*asked)
    assert task["onEnd"] == "deleteWorkloads"
    assert told in terminal("tasks", "show", str(task["id"])).out


def test_a_rule_that_deletes_by_now_grants_nothing_to_a_task_that_was_not_told_so(place: Place, tmp_path: Path) -> None:
    worker: Worker = place.worker("promised", tmp_path)
    worker.kubectl.must("create", "-f", "-", stdin=empty("Job", "promised", place))
    rules = [grantable("batch", ALL, "jobs cronjobs", place.namespace, apiGroups=["batch"], **DELETES)]
    place.gate.allow("promised", rules)
    place.gate.wait_until(lambda: worker.kubectl("get", "jobs").code != 0, "the rule has changed")
    worker.revoke()
    assert there(place, "Job", "promised")
