"""The bench runs and says what it measured: completeness, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.e2e.gate import REPOSITORY, Cluster

CONTENDERS = ("direct", "reverseproxy", "gate")
# Takes part in small requests alone.
PLACED = "gate-pod-placed"
# What each workload must have found out of a contender; those of a process only where there is one.
FIGURES = {
    "get-1": {"requestsPerSecond", "p50Milliseconds", "p99Milliseconds"},
    "events": {"p50Milliseconds", "p99Milliseconds", "addedP50Milliseconds", "addedP99Milliseconds"},
}
OF_A_PROCESS = {"cpuMicrosecondsPerRequest", "grownMebibytes", "peakMebibytes"}
# Two small Go programs are built when the cache is cold; the measuring itself takes seconds.
BENCH_SECONDS = 300.0


@pytest.fixture(scope="module")
def bench(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """One quick run: its JSON, its table, its picture."""
    assert cluster.kubeconfig.is_file()
    folder = tmp_path_factory.mktemp("bench")
    report, picture = folder / "run.json", folder / "run.svg"
    command = [
        sys.executable, "-m", "bench", "--quick",
        "--contenders", ",".join((*CONTENDERS, PLACED)), "--workloads", ",".join(FIGURES),
        "--json", str(report), "--svg", str(picture),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BENCH_SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(report.read_text()), done.stdout, picture


def test_every_contender_has_every_figure_of_every_workload(bench: tuple[dict[str, Any], str, Path]) -> None:
    report, _, _ = bench
    assert report["absent"] == {}
    for workload, wanted in FIGURES.items():
        for contender in CONTENDERS:
            figures = report["medians"][workload][contender]
            process = set() if contender == "direct" else OF_A_PROCESS
            assert set(figures) == wanted | process, (workload, contender)


def test_a_pod_that_was_made_by_an_agent_is_measured_where_it_could_be_seen(
    bench: tuple[dict[str, Any], str, Path],
) -> None:
    medians = bench[0]["medians"]
    assert set(medians["get-1"][PLACED]) == FIGURES["get-1"] | OF_A_PROCESS
    assert PLACED not in medians["events"]


def test_requests_were_answered_and_processor_time_was_counted(bench: tuple[dict[str, Any], str, Path]) -> None:
    report, _, _ = bench
    for sample in report["samples"]:
        if sample["workload"] == "get-1":
            assert sample["figures"]["requestsPerSecond"] > 0
        if sample["contender"] != "direct":
            assert sample["figures"]["cpuMicrosecondsPerRequest"] > 0


def test_the_yardstick_is_once_itself(bench: tuple[dict[str, Any], str, Path]) -> None:
    report, _, _ = bench
    for workload in FIGURES:
        ratios = report["ratios"][workload]["reverseproxy"]
        assert {name: round(value, 9) for name, value in ratios.items() if name.startswith("cpu")} == {
            "cpuMicrosecondsPerRequest": 1.0
        }


def test_the_table_has_a_row_for_each_contender(bench: tuple[dict[str, Any], str, Path]) -> None:
    report, table, _ = bench
    for what in report["workloads"].values():
        assert what in table
    rows = [line.split()[0] for line in table.splitlines() if line.startswith("  ") and line.split()]
    for contender in CONTENDERS:
        assert rows.count(contender) == len(FIGURES)


def test_the_picture_is_well_formed_and_names_who_was_measured(bench: tuple[dict[str, Any], str, Path]) -> None:
    _, _, picture = bench
    texts = {element.text for element in ElementTree.parse(picture).getroot().iter() if element.text}
    assert {"reverseproxy", "gate"} <= texts


def test_a_contender_that_does_not_exist_is_misuse_and_the_others_are_named() -> None:
    command = [sys.executable, "-m", "bench", "--contenders", "gate,envoy"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BENCH_SECONDS)
    assert done.returncode == 2
    assert "no 'envoy'; there are: direct, nginx, reverseproxy" in done.stderr
