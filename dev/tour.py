#!/usr/bin/env python3
"""A guided tour in the terminal: `tour.py up` starts a gate on the cluster that runs, `tour.py show` shows it at work.

Every command is printed as one would type it, then run for real, and its own output shown. On a terminal the tour waits
for Enter between steps; in CI it runs straight through. A step that does not turn out as announced ends the tour with
exit code 1: what is shown is what is true.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CLUSTER_FILE = REPOSITORY / ".cluster" / "cluster.json"
AGENT = "demo"
CLUSTER = "dev"


@dataclass(frozen=True)
class Step:
    """One thing to show: what it proves, the command, and whether it is meant to succeed."""

    says: str
    command: tuple[str, ...]
    succeeds: bool = True


def steps(data_dir: Path) -> list[Step]:
    """What a newcomer should have seen: allowed, refused by default, refused whatever is allowed, and the record."""
    kubectl = ("kubectl", "--kubeconfig", str(data_dir / f"{AGENT}.kubeconfig"))
    narrowgate_config = () if data_dir == Path("narrowgate-data") else ("--config", str(data_dir / "narrowgate.yaml"))
    return [
        Step(
            "The agent works with plain kubectl. What its policy allows behaves as without the gate:",
            (*kubectl, "get", "namespaces"),
        ),
        Step(
            "What no rule allows is refused, in words that kubectl prints:",
            (*kubectl, "get", "secrets", "--namespace", "kube-system"),
            succeeds=False,
        ),
        Step(
            "Some things nobody does through the gate, whatever else is allowed:",
            (*kubectl, "delete", "namespace", "default"),
            succeeds=False,
        ),
        Step(
            "Why? Every rule that was considered, before or after the fact:",
            (
                "narrowgate",
                "policy",
                "explain",
                *narrowgate_config,
                "--as",
                f"agent:{AGENT}",
                "get",
                "secrets",
                "--namespace",
                "kube-system",
            ),
            succeeds=False,
        ),
        Step(
            "All of it is in the record, the refusals too:",
            ("narrowgate", "audit", "search", *narrowgate_config, "--decision", "deny", "--since", "10m"),
        ),
        Step("And the record proves that nobody changed it:", ("narrowgate", "audit", "verify", *narrowgate_config)),
    ]


def main() -> int:
    """Run the tour; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("up", "show"))
    parser.add_argument("--data-dir", type=Path, default=Path("narrowgate-data"))
    asked = parser.parse_args()
    environment = tools(asked.what)
    if environment is None:
        return 1
    if asked.what == "up" and not start(asked.data_dir, environment):
        return 1
    return show(asked.data_dir, environment)


def tools(what: str) -> dict[str, str] | None:
    """The environment in which kubectl and narrowgate are found by name."""
    try:
        cluster = json.loads(CLUSTER_FILE.read_text())
    except FileNotFoundError:
        print("tour: no cluster runs, .cluster/cluster.json: run `make up`", file=sys.stderr)
        return None
    path = os.pathsep.join([str(Path(sys.executable).parent), cluster.get("bin") or "", os.environ.get("PATH", "")])
    if shutil.which("kubectl", path=path) is None:
        print("tour: kubectl is not found, on the PATH: install it and run this again", file=sys.stderr)
        return None
    environment = {**os.environ, "PATH": path}
    if what == "up":
        environment["KUBECONFIG"] = cluster["kubeconfig"]
    return environment


def start(data_dir: Path, environment: dict[str, str]) -> bool:
    """Start the gate in the background, on the cluster of `make cluster`."""
    cluster = json.loads(CLUSTER_FILE.read_text())
    print("\nStarting the gate in front of it.\n")
    command = ["narrowgate", "up", "--detach", "--data-dir", str(data_dir), "--agent", AGENT]
    if not (data_dir / "narrowgate.yaml").exists():
        command += ["--cluster-name", CLUSTER, "--context", cluster["context"]]
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run(command, env=environment, check=False).returncode == 0


def show(data_dir: Path, environment: dict[str, str]) -> int:
    """Run every step for real; 1 where one does not turn out as announced."""
    # The agent's kubeconfig is named on each command: nothing here may depend on the administrator's.
    environment = {name: value for name, value in environment.items() if name != "KUBECONFIG"}
    all_steps = steps(data_dir)
    for number, step in enumerate(all_steps, start=1):
        pause()
        print(f"\n[{number}/{len(all_steps)}] {step.says}\n\n$ {shlex.join(step.command)}", flush=True)
        # One stream for both, so that a refusal stands where it belongs in a log.
        done = subprocess.run(step.command, env=environment, stderr=subprocess.STDOUT, check=False)
        if (done.returncode == 0) is not step.succeeds:
            meant = "succeed" if step.succeeds else "be refused"
            log = data_dir / "gate.log"
            print(f"\ntour: this was to {meant}, exit code {done.returncode}: see {log}", file=sys.stderr)
            return 1
    print(f"""
Everything keeps running. Yours to try:

  export PATH={short_path(environment)}:$PATH
  export KUBECONFIG=$PWD/{data_dir}/{AGENT}.kubeconfig
  kubectl get pods --all-namespaces
  $EDITOR {data_dir}/policies/{AGENT}.yaml      # in force within a second
  make down                                # stops the gate and the cluster""")
    return 0


def short_path(environment: dict[str, str]) -> str:
    """The two folders the commands are in, as they can be pasted."""
    return os.pathsep.join(environment["PATH"].split(os.pathsep)[:2])


def pause() -> None:
    """Wait for Enter where somebody reads along; never in a pipe or in CI."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            input("\n(Enter goes on) ")
        except (EOFError, KeyboardInterrupt):
            print()
            sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
