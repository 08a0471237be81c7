"""Whoever an agent starts is judged by the chain back to it, and is cut with its task: two levels of real pods.

An agent creates a Job, a Deployment, a CronJob, a custom resource. The pod that comes of it has nothing but a projected
token; a program in it holds a watch and asks again and again, and writes down when, by the clock of its node. It works
through the gate within the agent's rules, is refused beyond them with the chain named, and creates a child pod that
runs the same program. Then the task is revoked. From the moment of that answer until the last that either of them got
by asking, and until their watches ended, no second passes: told by the gate's own record, as it is written by the
processes that cut them, and printed beside what the pods themselves wrote down.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, Pod, Worker, placed_gate, pod_template, teams, workload

ONE_SECOND = 1.0
HOPS = 4
"""Who runs one after the other between the answer and the cut: the control plane, the data plane, the thread that asks
the store, the one that writes the record. Each may have to wait for a processor that others have."""

PROGRAM = """
trap 'exit 0' TERM
gate="/tools/kubectl --kubeconfig=/etc/gate/kubeconfig --cache-dir=/tmp/cache"
now() { cut -d ' ' -f 1 /proc/uptime; }
( $gate get configmaps --watch -o name; echo "watch-ended $(now)" ) &
while $gate get configmap gate -o name >/dev/null 2>&1; do
  echo "yes $(now)"
  sleep 0.5
done
echo "no $(now)"
sleep 3600 & wait
"""
"""What runs in both pods. `/proc/uptime` is the node's own clock, which this machine has as well."""

STARTED_SECONDS = 240.0
"""A CronJob's first minute, and a pod's start on a machine that has much else to do."""


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("nested")) as found:
        yield found


@pytest.fixture(scope="module")
def group(place: Place) -> Iterator[str]:
    with teams(place) as group:
        yield group


@pytest.mark.parametrize("kind", ["Job", "Deployment", "CronJob", "Team"])
def test_two_levels_of_pods_work_within_the_agents_rules_and_are_cut_with_its_task(
    place: Place, tmp_path: Path, group: str, kind: str
) -> None:
    name = f"nest-{kind.lower()}"
    worker = place.worker(name, tmp_path, group)

    _have_made(place, worker, kind, name, group)
    parent = place.pod(f"app={name}", STARTED_SECONDS)
    _require_bounded(parent, worker)
    assert parent.can("apply", "-f", "-", stdin=workload("Pod", f"{name}-child", _program(place))), parent.said
    child = place.pod(f"app={name}-child", STARTED_SECONDS)
    _require_bounded(child, worker)

    levels = {"parent": parent, "child": child}
    place.direct.must("create", "configmap", f"{name}-seen")
    for level, pod in levels.items():
        _wait_until_said(place, pod, {"yes", f"configmap/{name}-seen"}, f"the {level} asks, and sees what is new")
    with Lateness() as late:
        worker.revoke("it is enough")
        for level, pod in levels.items():
            _wait_until_said(place, pod, {"no", "watch-ended"}, f"the {level} is cut")

    answered = _answered(place, worker)
    for level, pod in levels.items():
        asked, watched = _last_success(place, pod) - answered, _end_of_watch(place, pod) - answered
        said = _said(place, pod)
        seen, ended = (said[word][-1] + _since_boot() - answered for word in ("yes", "watch-ended"))
        sys.stdout.write(
            f"{kind}, {level}: after the answer, recorded, {asked:+.3f} s to the last success and {watched:+.3f} s to "
            f"the watch's end; by the pod {seen:+.2f} s and {ended:+.2f} s; the machine was {late.seconds:.3f} s late\n"
        )
        assert max(asked, watched) <= ONE_SECOND + HOPS * late.seconds, level
        assert not pod.can("get", "configmaps", "-o", "name")
        assert f"task {worker.task} is over" in pod.said
        assert f"agent:{worker.name}" in pod.said
    place.direct("delete", _kind_of(kind, group), name, "--wait=false")
    place.direct("delete", "pod", f"{name}-child", "--wait=false")


def _have_made(place: Place, worker: Worker, kind: str, name: str, group: str) -> None:
    """The agent creates an object of which its controller, or an operator, makes a pod."""
    if kind != "Team":
        document = yaml.safe_load(workload(kind, name, _program(place)))
        if kind == "CronJob":
            document["spec"] |= {"schedule": "* * * * *", "concurrencyPolicy": "Forbid"}
        worker.kubectl.must("apply", "-f", "-", stdin=yaml.safe_dump(document).encode())
        return
    team = {"apiVersion": f"{group}/v1", "kind": "Team", "metadata": {"name": name}, "spec": {"size": 1}}
    place.gate.wait_until(
        lambda: worker.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(team).encode()).code == 0,
        "the gate has heard of the new kind",
    )
    # The operator: an account of its own, past the gate, and owner references as every operator sets them.
    uid = json.loads(place.direct.must("get", f"teams.{group}", name, "-o", "json"))["metadata"]["uid"]
    owner = {"apiVersion": f"{group}/v1", "kind": "Team", "name": name, "uid": uid, "controller": True}
    made = workload("Deployment", name, _program(place), ownerReferences=[owner])
    place.direct.must("apply", "-f", "-", stdin=made)


def _kind_of(kind: str, group: str) -> str:
    return f"teams.{group}" if kind == "Team" else kind


def _program(place: Place) -> dict[str, Any]:
    spec = pod_template(place)
    spec["containers"][0]["command"] = ["sh", "-c", PROGRAM]
    return spec


def _require_bounded(pod: Pod, worker: Worker) -> None:
    """It reads what the agent may read, and is refused what its own account may and the agent may not."""
    assert pod.can("get", "configmaps", "-o", "name"), pod.said
    assert not pod.can("get", "services", "-o", "name")
    assert f'speaking for agent "{worker.name}"' in pod.said, pod.said


def _wait_until_said(place: Place, pod: Pod, words: set[str], what: str) -> None:
    place.gate.wait_until(lambda: words <= _said(place, pod).keys(), what, STARTED_SECONDS)


def _said(place: Place, pod: Pod) -> dict[str, list[float]]:
    """What the program in a pod has written down: by its first word, the times."""
    found: dict[str, list[float]] = {}
    for line in place.direct.must("logs", pod.name).splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(float(rest) if rest.replace(".", "", 1).isdecimal() else 0.0)
    return found


def _since_boot() -> float:
    """What makes of a time since the start of this machine one since 1970."""
    return time.time() - float(Path("/proc/uptime").read_text().split()[0])


def _at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _answered(place: Place, worker: Worker) -> float:
    """When the call that revoked the task was answered."""
    return _at(place.gate.wait_for_event(f"/tasks/{worker.task}/revoke")["stageTimestamp"])


def _finished(place: Place, pod: Pod, verb: str) -> list[dict[str, Any]]:
    """The ends of a pod's requests, as the record has them."""
    found = place.gate.events(f'"{pod.name}"')
    return [
        one
        for one in found
        if one["stage"] == "ResponseComplete"
        and one["verb"] == verb
        and one["user"].get("extra", {}).get("narrowgate.dev/pod") == [pod.name]
    ]


def _last_success(place: Place, pod: Pod) -> float:
    done = [one for one in _finished(place, pod, "get") if one["responseStatus"]["code"] == 200]
    return max(_at(one["stageTimestamp"]) for one in done)


def _end_of_watch(place: Place, pod: Pod) -> float:
    place.gate.wait_until(lambda: bool(_finished(place, pod, "watch")), "the end of the watch is in the record")
    (watch,) = _finished(place, pod, "watch")
    assert watch["annotations"]["narrowgate.dev/ended"], watch
    return _at(watch["stageTimestamp"])


class Lateness:
    """How late this machine lets run, at the worst, whoever wants to run every ten milliseconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            began = time.monotonic()
            over = self._over.wait(0.01)
            if over:
                return
            self.seconds = max(self.seconds, time.monotonic() - began - 0.01)
