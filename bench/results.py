"""The outcome of one run as a value: what was measured where, by whom, and how it compares."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from bench.cluster import REPOSITORY, Cluster
from bench.contenders import YARDSTICK

FORMAT = 1


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One contender at one workload in one round. The figures' names carry their units."""

    workload: str
    contender: str
    round: int
    figures: dict[str, float]


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where it ran, and with which versions."""

    processor: str
    cores: int
    memory_mebibytes: int
    kernel: str
    python: str
    kubernetes: str
    commit: str
    # Runnable processes, averaged over a minute, when the run began and ended: others' work shows here.
    load_before: float
    load_after: float


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Everything that a run found out."""

    format: int
    begun: datetime
    ended: datetime
    quick: bool
    machine: Machine
    contenders: dict[str, str]
    workloads: dict[str, str]
    # Who or what was left out, and why.
    absent: dict[str, str]
    samples: list[Sample]
    # Workload, contender, figure: the median over the rounds.
    medians: dict[str, dict[str, dict[str, float]]]
    # The same as a multiple of the yardstick's, the median of the rounds' own ratios.
    ratios: dict[str, dict[str, dict[str, float]]]


def medians(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float]]]:
    """For each workload and contender the median of every figure over the rounds."""
    return _by_figure({key: values for key, values in _grouped(samples).items() if values})


def ratios(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float]]]:
    """Every figure as a multiple of the yardstick's in the same round: noise that hits a whole round cancels out."""
    reference = {(one.workload, one.round): one.figures for one in samples if one.contender == YARDSTICK}
    grouped: dict[tuple[str, str, str], list[float]] = {}
    for one in samples:
        beside = reference.get((one.workload, one.round), {})
        for name, value in one.figures.items():
            if beside.get(name):
                grouped.setdefault((one.workload, one.contender, name), []).append(value / beside[name])
    return _by_figure(grouped)


def _grouped(samples: Sequence[Sample]) -> dict[tuple[str, str, str], list[float]]:
    grouped: dict[tuple[str, str, str], list[float]] = {}
    for one in samples:
        for name, value in one.figures.items():
            grouped.setdefault((one.workload, one.contender, name), []).append(value)
    return grouped


def _by_figure(grouped: Mapping[tuple[str, str, str], Sequence[float]]) -> dict[str, dict[str, dict[str, float]]]:
    result: dict[str, dict[str, dict[str, float]]] = {}
    for (workload, contender, name), values in grouped.items():
        result.setdefault(workload, {}).setdefault(contender, {})[name] = median(values)
    return result


def machine(cluster: Cluster, load_before: float) -> Machine:
    """Where this run takes place, as of now."""
    return Machine(
        processor=_first("/proc/cpuinfo", "model name"),
        cores=os.cpu_count() or 0,
        memory_mebibytes=int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        kernel=platform.release(),
        python=platform.python_version(),
        kubernetes=str(cluster.request("GET", "/version")["gitVersion"]),
        commit=_commit(),
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def write(run: Run, file: Path) -> None:
    """Keeps the run as indented JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def read(file: Path) -> Run:
    """A run kept earlier."""
    return msgspec.json.decode(file.read_bytes(), type=Run)


def now() -> datetime:
    """The time at which something happens to be measured."""
    return datetime.now(UTC)


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
