"""Where the gate spends its time under a workload: `python -m bench.profile_gate get-8 --seconds 8`.

Two views. py-spy (`pip install py-spy`) samples Python's stacks, C frames included where symbols allow; perf (Debian:
linux-perf) counts the processor's time by library and C function. Either suffices; what is missing is named.
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.build import BuildError, build

from bench import footprint
from bench.__main__ import allow_open_files, certificate_for_loopback
from bench.cluster import REPOSITORY, read_cluster
from bench.contenders import CONTENDERS, Stage
from bench.failure import BenchFailure
from bench.furniture import furnish, say
from bench.load import Address, Load
from bench.workloads import WORKLOADS, Scene, Workload

# Odd, so that samples do not fall in step with timers.
SAMPLES_PER_SECOND = 499
# Beyond the time asked for: profilers write their files.
GRACE_SECONDS = 60.0


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 with the profile on stdout, 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile_gate", description=__doc__)
    parser.add_argument("workload", choices=list(WORKLOADS), nargs="?", default="get-8")
    parser.add_argument("--seconds", type=int, default=8, metavar="N")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="functions shown of each view")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="narrowgate-profile-") as folder:
            for line in _profile(WORKLOADS[options.workload], options.seconds, options.top, Path(folder)):
                print(line)
    except (BenchFailure, BuildError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def _profile(workload: Workload, seconds: int, top: int, folder: Path) -> Iterator[str]:
    allow_open_files()
    cluster = read_cluster(folder)
    generator = build(REPOSITORY / "bench" / "loadgen", {"load": "."}) / "load"
    direct = Address(cluster.server, cluster.authority, cluster.certificate, cluster.key)
    furnish(cluster, Load(generator, direct), workload.needs)
    stage = Stage(cluster, folder, *certificate_for_loopback(folder))
    with CONTENDERS["gate"].start(stage) as running:
        scene = Scene(running, Load(generator, running.address), direct, quick=False)
        workload.warm_up(scene)
        yield f"{workload.what}: {dict(workload.measure(scene))}"
        for pid in running.pids():
            yield from _of_process(pid, workload, scene, seconds, top, folder)


def _of_process(pid: int, workload: Workload, scene: Scene, seconds: int, top: int, folder: Path) -> Iterator[str]:
    spy, perf = _program("py-spy"), _program("perf")
    if spy is None and perf is None:
        raise BenchFailure("neither py-spy nor perf is installed: pip install py-spy, apt-get install linux-perf")
    if spy is not None:
        stacks = folder / f"{pid}.stacks"
        command = [spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(SAMPLES_PER_SECOND)]
        command += ["--format", "raw", "--nonblocking", "--output", str(stacks)]
        with _under_load(workload, scene):
            _run(command, seconds)
        yield from _python_view(stacks.read_text(), top)
    if perf is not None:
        data = folder / f"{pid}.perf"
        command = [
            perf,
            "record",
            "--quiet",
            "--freq",
            str(SAMPLES_PER_SECOND),
            "--pid",
            str(pid),
            "--output",
            str(data),
        ]
        with _under_load(workload, scene):
            begun = footprint.cpu_seconds([pid])
            _run([*command, "--", "sleep", str(seconds)], seconds)
            spent = footprint.cpu_seconds([pid]) - begun
        yield f"\nprocess {pid} used {spent:.2f} s of processor time in {seconds} s; by library and C function:"
        for sort in ("dso", "dso,symbol"):
            report = [perf, "report", "--stdio", "--quiet", "--sort", sort, "--input", str(data)]
            lines = [line.rstrip(" -") for line in _run(report, seconds).splitlines() if line.strip()]
            yield from lines[: top // 4 if sort == "dso" else top]


@contextmanager
def _under_load(workload: Workload, scene: Scene) -> Iterator[None]:
    """Repeats the workload inside the block."""
    enough = threading.Event()

    def drive() -> None:
        while not enough.is_set():
            workload.measure(scene)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def _python_view(stacks: str, top: int) -> Iterator[str]:
    """Shares of the samples by function: in it alone, and in whatever it called."""
    alone: collections.Counter[str] = collections.Counter()
    below: collections.Counter[str] = collections.Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" if frame.endswith(")") else frame for frame in stack.split(";")]
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    total = sum(alone.values()) or 1
    for title, counter in (("in the function itself", alone), ("in it and what it calls", below)):
        yield f"\n{title} ({total} samples):"
        for frame, samples in counter.most_common(top):
            yield f"  {100 * samples / total:5.1f} %  {frame}"


def _program(name: str) -> str | None:
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=f"{beside}:{os.environ.get('PATH', os.defpath)}")


def _run(command: Sequence[str], seconds: float) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False)
    if done.returncode != 0:
        say(f"{Path(command[0]).name}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
