"""What the workloads find in the cluster: 5,000 pods that never run, ConfigMaps, a Lease, and two pods that do.

It stays between runs, since making it takes longer than measuring; `python -m bench --clean` removes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from bench.cluster import Cluster
from bench.failure import BenchFailure
from bench.load import Load, Requests

NAMESPACE = "narrowgate-bench"
LIST_NAMESPACE = "narrowgate-bench-list"
OBJECT = "read-me"
WRITTEN = "write-me"
# One object for each connection that writes, or they would wait for each other in etcd.
WRITERS = 8
WATCHED = "watch-me"
# About 26 MB as JSON: 5.2 KB each, as a pod of two containers has.
PODS = 5000
VARIABLES = 28
# 5,000 pods take their time to be deleted, should somebody have just cleaned up.
SETTLE_SECONDS = 120.0
POLL_SECONDS = 0.2

RUNNER = "runner"
TALKER = "talker"
MEBIBYTES = 100
"""How much goes through exec and logs."""
LOGS_PATH = f"/api/v1/namespaces/{NAMESPACE}/pods/{TALKER}/log?container={TALKER}"
DATA = "/bench-data"
# Random bytes, which nothing on the way can compress, read from the page cache.
RUNNER_SCRIPT = f"dd if=/dev/urandom of={DATA} bs=1M count={MEBIBYTES} && exec sleep 1000000000"
# Lines of 1,000 bytes, which is quick: every ten seconds the kubelet rotates what running containers have written, and
# shows only the last file. Ended ones it leaves alone.
TALKER_SCRIPT = f"yes {'line-' * 199}last | head -c {MEBIBYTES * 1024 * 1024}"
# How often the log may turn out to be cut by a rotation before that is told.
TALKER_ATTEMPTS = 6


class Need(Enum):
    """Furniture that takes long to make, and is made only for those workloads that use it."""

    PODS = "pods"
    RUNNER = "runner"
    TALKER = "talker"


def furnish(cluster: Cluster, load: Load, needs: frozenset[Need]) -> None:
    """Makes what the workloads need and is missing; does nothing when all is there."""
    ensure_namespace(cluster, NAMESPACE)
    for name in (OBJECT, WATCHED, *(f"{WRITTEN}-{number}" for number in range(WRITERS))):
        _ensure(cluster, f"/api/v1/namespaces/{NAMESPACE}/configmaps", name, {"data": {"text": "x" * 700, "n": "0"}})
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    _ensure(cluster, leases, OBJECT, {"spec": {"holderIdentity": "x" * 700}})
    if Need.PODS in needs:
        ensure_namespace(cluster, LIST_NAMESPACE)
        missing = PODS - count_pods(cluster)
        if missing > 0:
            say(f"making {missing} pods that never run; they stay for the next run (`python -m bench --clean`)")
            _make_pods(load, missing)
    if Need.RUNNER in needs:
        _run_pod(cluster, RUNNER, RUNNER_SCRIPT, "Running")
    if Need.TALKER in needs:
        _talk(cluster, load)


def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Makes the namespace unless it is there, and waits until pods may be made in it."""
    path = f"/api/v1/namespaces/{name}"
    _wait(f"the end of namespace {name}", lambda: not _terminating(cluster.request("GET", path)))
    _ensure(cluster, "/api/v1/namespaces", name, {})
    accounts = f"{path}/serviceaccounts/default"
    _wait(f"the default account of {name}", lambda: cluster.request("GET", accounts) is not None)


def count_pods(cluster: Cluster) -> int:
    """How many of the pods to list there are."""
    page = cluster.request("GET", f"/api/v1/namespaces/{LIST_NAMESPACE}/pods?limit=1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def clean(cluster: Cluster) -> None:
    """Removes both namespaces; returns at once, the cluster takes its time over 5,000 pods."""
    for namespace in (NAMESPACE, LIST_NAMESPACE):
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")


def _make_pods(load: Load, count: int) -> None:
    connections = 8
    plan = Requests(
        path=f"/api/v1/namespaces/{LIST_NAMESPACE}/pods",
        method="POST",
        body=json.dumps(gated_pod(), separators=(",", ":")),
        connections=connections,
        count=-(-count // connections) * connections,
    )
    done = load.requests(plan)
    if done["errors"]:
        raise BenchFailure(f"{done['errors']} of {count} pods were refused: {done['failures']}")


def gated_pod() -> dict[str, Any]:
    """A pod that no scheduler looks at (its gate is never lifted), as large as an ordinary one."""
    variables = [{"name": f"SETTING_{number:02}", "value": "value-of-the-setting"} for number in range(VARIABLES)]
    container = {"image": "local/busybox:1", "imagePullPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "labels": {"app": "web", "pod-template-hash": "5d9c6b7f4c"}},
        "spec": {
            "schedulingGates": [{"name": "narrowgate.dev/bench"}],
            "automountServiceAccountToken": False,
            "containers": [
                {"name": "web", "command": ["sleep", "1000000"], "env": variables, **container},
                {"name": "proxy", "command": ["sleep", "1000000"], **container},
            ],
        },
    }


def _run_pod(cluster: Cluster, name: str, script: str, phase: str) -> None:
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    container = {"name": name, "image": cluster.image, "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    # A short grace: `sleep` as the first process of a container does not heed SIGTERM.
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    _ensure(cluster, pods, name, {"spec": spec})
    _wait(f"pod {name} to be {phase}", lambda: cluster.request("GET", f"{pods}/{name}")["status"].get("phase") == phase)


def _talk(cluster: Cluster, load: Load) -> None:
    """Makes the pod whose log is read, anew when its log is not whole."""
    wanted = MEBIBYTES * 1024 * 1024
    pod = f"/api/v1/namespaces/{NAMESPACE}/pods/{TALKER}"
    for _ in range(TALKER_ATTEMPTS):
        _run_pod(cluster, TALKER, TALKER_SCRIPT, "Succeeded")
        if load.requests(Requests(LOGS_PATH, accept="*/*", count=1))["bytes"] == wanted:
            return
        cluster.request("DELETE", pod)
        _wait("the pod with the log to be gone", lambda: cluster.request("GET", pod) is None)
    raise BenchFailure(
        f"the kubelet rotated the log of {TALKER} {TALKER_ATTEMPTS} times; try again on a quieter machine"
    )


def _ensure(cluster: Cluster, collection: str, name: str, document: dict[str, Any]) -> None:
    if cluster.request("GET", f"{collection}/{name}") is None:
        cluster.request("POST", collection, {"metadata": {"name": name}, **document})


def _terminating(namespace: Any) -> bool:
    return namespace is not None and namespace["metadata"].get("deletionTimestamp") is not None


def _wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BenchFailure(f"waited {SETTLE_SECONDS:.0f} s in vain for {what}")
        time.sleep(POLL_SECONDS)


def say(line: str) -> None:
    """Tells whoever waits at the terminal; stdout is for the results."""
    print(line, file=sys.stderr, flush=True)
