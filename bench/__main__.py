"""`python -m bench`: one run, every contender, a table, JSON and a picture."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev.build import BuildError, build

from bench import picture, results, table
from bench.cluster import REPOSITORY, Cluster, read_cluster
from bench.contenders import CONTENDERS, Contender, Stage
from bench.failure import BenchFailure
from bench.furniture import clean, furnish, say
from bench.load import Address, Load
from bench.results import FORMAT, Run
from bench.rounds import Plan, measure
from bench.workloads import WORKLOADS, Workload

# An odd number, so that a median is one of the measured figures; three take some ten minutes.
ROUNDS = 3
# Both ends of 1,000 watches, in the generator and in every proxy, which inherits this limit.
OPEN_FILES = 16384
CERTIFICATE_DAYS = "30"


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when everything asked for was measured, 1 when something was not, 2 for misuse."""
    options = _parser().parse_args(arguments)
    try:
        if options.picture:
            print(picture.svg(results.read(options.picture)), end="")
            return 0
        if options.table:
            print("\n".join(table.lines(results.read(options.table))))
            return 0
        with tempfile.TemporaryDirectory(prefix="narrowgate-bench-") as folder:
            return _run(options, Path(folder))
    except (BenchFailure, BuildError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, folder: Path) -> int:
    cluster = read_cluster(folder)
    if options.clean:
        clean(cluster)
        return 0
    allow_open_files()
    generator = build(REPOSITORY / "bench" / "loadgen", {"load": "."}) / "load"
    direct = Address(cluster.server, cluster.authority, cluster.certificate, cluster.key)
    workloads: list[Workload] = options.workloads
    furnish(cluster, Load(generator, direct), frozenset().union(*(workload.needs for workload in workloads)))
    certificate, key = certificate_for_loopback(folder)
    stage = Stage(cluster, folder, certificate, key)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    run = _measured(Plan(stage, generator, direct, workloads, rounds, options.quick), options.contenders)
    file = options.json or REPOSITORY / "bench" / "results" / f"{run.begun:%Y%m%dT%H%M%SZ}.json"
    results.write(run, file)
    svg = options.svg or file.with_suffix(".svg")
    svg.write_text(picture.svg(run))
    print("\n".join(table.lines(run)))
    say(f"\n{file}\n{svg}")
    return 1 if run.absent else 0


def _measured(plan: Plan, contenders: Sequence[Contender]) -> Run:
    begun, load = results.now(), os.getloadavg()[0]
    absent: dict[str, str] = {}
    samples = list(measure(plan, contenders, absent))
    cluster: Cluster = plan.stage.cluster
    return Run(
        format=FORMAT,
        begun=begun,
        ended=results.now(),
        quick=plan.quick,
        machine=results.machine(cluster, load),
        contenders={contender.name: contender.what for contender in contenders},
        workloads={workload.name: workload.what for workload in plan.workloads},
        absent=absent,
        samples=samples,
        medians=results.medians(samples),
        ratios=results.ratios(samples),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, not how fast")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each workload (default: {ROUNDS})")
    parser.add_argument(
        "--contenders", type=_contenders, default=list(CONTENDERS.values()), metavar="A,B", help=", ".join(CONTENDERS)
    )
    parser.add_argument(
        "--workloads", "--only", type=_workloads, default=list(WORKLOADS.values()), metavar="A,B",
        help=", ".join(WORKLOADS),
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (default: bench/results/)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="where the picture goes (default: beside the results)")
    parser.add_argument("--picture", type=Path, metavar="JSON", help="only draw an earlier run, on stdout")
    parser.add_argument("--table", type=Path, metavar="JSON", help="only print an earlier run's table")
    parser.add_argument("--clean", action="store_true", help="remove what the bench made in the cluster, and end")
    return parser


def _contenders(text: str) -> list[Contender]:
    return [CONTENDERS[name] for name in _names(text, list(CONTENDERS))]


def _workloads(text: str) -> list[Workload]:
    return [WORKLOADS[name] for name in _names(text, list(WORKLOADS))]


def _names(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {name!r}; there are: {', '.join(known)}")
    return names


def allow_open_files() -> None:
    """Raises this process's limit of open files, and thereby that of what it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard) if hard > 0 else OPEN_FILES, hard))


def certificate_for_loopback(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself."""
    certificate, key = folder / "bench.crt", folder / "bench.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += [
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-days",
        CERTIFICATE_DAYS,
        "-subj",
        "/CN=narrowgate-bench",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailure(f"openssl could not make a certificate: {done.stderr.strip()}")
    return certificate, key


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
