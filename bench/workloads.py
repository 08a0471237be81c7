"""What the contenders are given to do, and what is measured of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench import footprint
from bench.contenders import Running
from bench.failure import BenchFailure
from bench.furniture import DATA, LIST_NAMESPACE, LOGS_PATH, NAMESPACE, OBJECT, RUNNER, WATCHED, WRITTEN, Need
from bench.load import CONNECTION, NUMBER, Address, Load, Requests

MIB = 1024 * 1024
ROUND_SECONDS = 3.0
LISTS_IN_A_ROUND = 3
# Go gives memory of handshakes back to the kernel only after a while.
WATCHES_SETTLE_SECONDS = 5.0

CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
# From the API server's cache, as informers ask: the proxy is measured, not etcd.
PODS = f"/api/v1/namespaces/{LIST_NAMESPACE}/pods?resourceVersion=0"
# From what the API server has at hand: without a version it waits for news from etcd before it answers, half a minute
# where nothing happens.
WATCH = "watch=1&resourceVersion=0&timeoutSeconds=3600"
RUNNER_PATH = (
    f"/api/v1/namespaces/{NAMESPACE}/pods/{RUNNER}/exec?command=cat&command={DATA}&container={RUNNER}&stdout=1"
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PROTOBUF = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True)
class Metric:
    """One measured figure: how tables call it, and whether less of it is better."""

    title: str
    less_is_better: bool = True
    decimals: int = 2


METRICS: dict[str, Metric] = {
    "requestsPerSecond": Metric("requests/s", less_is_better=False, decimals=0),
    "mebibytesPerSecond": Metric("MiB/s", less_is_better=False, decimals=0),
    "p50Milliseconds": Metric("p50 ms"),
    "p99Milliseconds": Metric("p99 ms"),
    "addedP50Milliseconds": Metric("added p50 ms"),
    "addedP99Milliseconds": Metric("added p99 ms"),
    "cpuMicrosecondsPerRequest": Metric("CPU µs/request", decimals=0),
    "cpuMillisecondsPerRequest": Metric("CPU ms/request", decimals=1),
    "kibibytesPerWatch": Metric("KiB/watch", decimals=1),
    "cpuMillisecondsPerWatch": Metric("CPU ms/watch opened"),
    "grownMebibytes": Metric("grown MiB", decimals=1),
    "peakMebibytes": Metric("peak MiB", decimals=1),
}
"""Every figure there is, in the order of the columns."""


@dataclass(frozen=True)
class Scene:
    """What a workload has at hand: the contender, the load generator pointed at it, and the way around it."""

    running: Running
    load: Load
    direct: Address
    quick: bool


@dataclass(frozen=True)
class Workload:
    """One kind of work. `fresh`: each measurement starts the contender anew, since memory is what is looked at."""

    name: str
    what: str
    measure: Callable[[Scene], Mapping[str, float]]
    warm_up: Callable[[Scene], object]
    needs: frozenset[Need] = frozenset()
    fresh: bool = False
    rounds: int | None = None


def requests(name: str, what: str, plan: Requests) -> Workload:
    """Small requests, one after the other on each connection."""

    def measure(scene: Scene) -> Mapping[str, float]:
        seconds = 0.5 if scene.quick else plan.seconds
        with _Spent(scene.running) as spent:
            done = _sound(scene.load.requests(_with(plan, seconds=seconds)))
        figures = {
            "requestsPerSecond": done["requests"] / done["seconds"],
            "p50Milliseconds": done["p50Micros"] / 1e3,
            "p99Milliseconds": done["p99Micros"] / 1e3,
        }
        return {**figures, **spent.figures("cpuMicrosecondsPerRequest", 1e6 / done["requests"])}

    return Workload(name, what, measure, lambda scene: scene.load.requests(_with(plan, count=32 * plan.connections)))


def large(name: str, what: str, plan: Requests, need: Need) -> Workload:
    """Large answers, a few of them one after the other on one connection."""

    def measure(scene: Scene) -> Mapping[str, float]:
        with _Spent(scene.running) as spent:
            done = _sound(scene.load.requests(_with(plan, count=1 if scene.quick else plan.count)))
        figures = {
            "mebibytesPerSecond": done["bytes"] / MIB / done["seconds"],
            "p50Milliseconds": done["p50Micros"] / 1e3,
        }
        return {**figures, **spent.figures("cpuMillisecondsPerRequest", 1e3 / done["requests"])}

    return Workload(name, what, measure, lambda scene: scene.load.requests(_with(plan, count=1)), frozenset({need}))


def _exec(scene: Scene) -> Mapping[str, float]:
    with _Spent(scene.running) as spent:
        done = scene.load.exec(RUNNER_PATH)
    if '"Success"' not in done["status"]:
        raise BenchFailure(f"exec through {scene.load.address.url} ended with {done['status'] or 'no status'}")
    figures = {"mebibytesPerSecond": done["bytes"] / MIB / done["seconds"], "p50Milliseconds": done["seconds"] * 1e3}
    return {**figures, **spent.figures("cpuMillisecondsPerRequest", 1e3)}


def _events(scene: Scene) -> Mapping[str, float]:
    watch = f"{CONFIG_MAPS}?{WATCH}&fieldSelector=metadata.name%3D{WATCHED}"
    with _Spent(scene.running) as spent:
        done = scene.load.events(watch, f"{CONFIG_MAPS}/{WATCHED}", 20 if scene.quick else 300, scene.direct)
    figures = {
        "p50Milliseconds": done["p50Micros"] / 1e3,
        "p99Milliseconds": done["p99Micros"] / 1e3,
        "addedP50Milliseconds": done["addedP50Micros"] / 1e3,
        "addedP99Milliseconds": done["addedP99Micros"] / 1e3,
    }
    return {**figures, **spent.figures("cpuMicrosecondsPerRequest", 1e6 / done["events"])}


def _watches(scene: Scene) -> Mapping[str, float]:
    count = 50 if scene.quick else 1000
    time.sleep(0.0 if scene.quick else 1.0)
    before = footprint.memory(scene.running.pids())
    begun = footprint.cpu_seconds(scene.running.pids())
    # A name that nothing has: nothing ever happens on these watches.
    path = f"{CONFIG_MAPS}?{WATCH}&fieldSelector=metadata.name%3Dnobody"
    with scene.load.watches(path, count) as answer:
        time.sleep(0.5 if scene.quick else WATCHES_SETTLE_SECONDS)
        after = footprint.memory(scene.running.pids())
        spent = footprint.cpu_seconds(scene.running.pids()) - begun
    if answer["alive"] != count:
        raise BenchFailure(
            f"{count - answer['alive']} of {count} idle watches ended by themselves: {answer['failures']}"
        )
    if not scene.running.pids():
        return {"watches": count}
    return {
        "watches": count,
        "kibibytesPerWatch": (after.shared_out - before.shared_out) / 1024 / count,
        "cpuMillisecondsPerWatch": spent * 1e3 / count,
        "grownMebibytes": (after.resident - before.resident) / MIB,
        "peakMebibytes": after.peak_resident / MIB,
    }


class _Spent:
    """What the contender's processes used inside the block."""

    def __init__(self, running: Running) -> None:
        self._pids = running.pids()
        self._seconds = 0.0

    def __enter__(self) -> _Spent:
        footprint.forget_peak(self._pids)
        self._before = footprint.memory(self._pids)
        self._begun = footprint.cpu_seconds(self._pids)
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = footprint.cpu_seconds(self._pids) - self._begun
        self._after = footprint.memory(self._pids)

    def figures(self, name: str, scale: float) -> Mapping[str, float]:
        """Processor time under the name, scaled, and memory; nothing where there is no process in between."""
        if not self._pids:
            return {}
        grown = max(0, self._after.peak_resident - self._before.resident)
        return {
            name: self._seconds * scale,
            "grownMebibytes": grown / MIB,
            "peakMebibytes": self._after.peak_resident / MIB,
        }


def _sound(done: Any) -> Any:
    if done["errors"] or not done["requests"]:
        raise BenchFailure(f"{done['errors']} of {done['requests']} requests failed: {done.get('failures')}")
    return done


def _with(plan: Requests, *, seconds: float | None = None, count: int = 0) -> Requests:
    return Requests(
        plan.path, plan.method, plan.accept, plan.content_type, plan.body, plan.connections,
        plan.seconds if seconds is None else seconds, count,
    )  # fmt: skip


def _nothing(_: Scene) -> None:
    return


_GET = f"{CONFIG_MAPS}/{OBJECT}"


def _patch(connections: int) -> Requests:
    return Requests(
        f"{CONFIG_MAPS}/{WRITTEN}-{CONNECTION}",
        method="PATCH",
        content_type="application/merge-patch+json",
        body=f'{{"data":{{"n":"{NUMBER}"}}}}',
        connections=connections,
        seconds=ROUND_SECONDS,
    )


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        requests("get-1", "GET of one ConfigMap (1.1 KB), 1 connection", Requests(_GET, seconds=ROUND_SECONDS)),
        requests(
            "get-8",
            "GET of one ConfigMap (1.1 KB), 8 connections",
            Requests(_GET, connections=8, seconds=ROUND_SECONDS),
        ),
        requests(
            "get-plain-8",
            "GET of one Lease (1 KB), which nothing masks, 8 connections",
            Requests(f"{LEASES}/{OBJECT}", connections=8, seconds=ROUND_SECONDS),
        ),
        requests("patch-1", "PATCH of a ConfigMap, 1 connection", _patch(1)),
        requests("patch-8", "PATCH of a ConfigMap, 8 connections", _patch(8)),
        large("list-json", "LIST of 5,000 pods as JSON", Requests(PODS, count=LISTS_IN_A_ROUND), Need.PODS),
        large(
            "list-table",
            "LIST of 5,000 pods as Table, as kubectl get asks",
            Requests(PODS, accept=TABLE, count=LISTS_IN_A_ROUND),
            Need.PODS,
        ),
        large(
            "list-protobuf",
            "LIST of 5,000 pods as protobuf",
            Requests(PODS, accept=PROTOBUF, count=LISTS_IN_A_ROUND),
            Need.PODS,
        ),
        Workload("events", "delay of an event on a watch", _events, _nothing),
        Workload(
            "watches",
            "1,000 idle watches",
            _watches,
            lambda scene: scene.load.requests(Requests(_GET, count=32)),
            fresh=True,
            rounds=1,
        ),
        Workload("exec", "100 MiB out of an exec (WebSocket)", _exec, _nothing, frozenset({Need.RUNNER})),
        large("logs", "100 MiB of logs", Requests(LOGS_PATH, accept="*/*", count=1), Need.TALKER),
    )
}
"""In the order in which they are run and shown."""
