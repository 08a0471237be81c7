"""The gate as users run it: an agent's credential, a policy of 200 rules, the trail on; and the same with all revealed.

The two differ in what is masked and in nothing else, so that what masks cost can be read from one run.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from dev.cluster.processes import free_ports

from bench.contenders.contender import STOP_SECONDS, Contender, Running, Stage, wait_until
from bench.failure import BenchFailure
from bench.furniture import LIST_NAMESPACE, NAMESPACE
from bench.load import Address

AGENT = "bench"
CLUSTER = "bench"
# Rules of the policy in all, the few that the bench's own requests need among them.
RULES = 200
# Fields that the policy masks, in resources that the bench does not ask for.
MASKS = 20
COMMAND_SECONDS = 60.0


def policy(*, reveals: bool) -> dict[str, Any]:
    """A policy of 200 rules for one agent: narrow permissions in many namespaces, some denials, and ours at the end.

    `reveals` has it take every mask off everything; otherwise it masks fields besides what the gate masks by itself.
    """
    own = [
        _rule("bench-reads", "allow", ["get", "list", "watch"], ["configmaps", "pods", "pods/log"]),
        _rule("bench-writes", "allow", ["patch"], ["configmaps"]),
        _rule("bench-exec", "allow", ["create"], ["pods/exec"]),
        _rule("bench-plain", "allow", ["get"], ["leases"]) | {"apiGroups": ["coordination.k8s.io"]},
    ]
    denials = [
        _rule(f"no-secrets-{number}", "deny", ["get", "list"], ["secrets"], [f"vault-{number}"]) for number in range(20)
    ]
    others = [
        _rule(f"team-{number}", "allow", ["get", "list", "watch", "patch"], ["configmaps", "pods"], [f"team-{number}"])
        for number in range(RULES - len(own) - len(denials))
    ]
    masks = [
        {
            "id": f"fields-{number}",
            "apiGroups": ["bench.example"],
            "resources": [f"databases-{number}"],
            "fields": ["spec.dsn"],
        }
        for number in range(MASKS)
    ]
    everything = {"id": "everything", "effect": "reveal", "apiGroups": ["*"], "resources": ["*"], "approval": "none"}
    revealed = [everything, {**everything, "id": "everything-below", "resources": ["*/log", "*/exec"]}]
    spec: dict[str, Any] = {
        "subjects": [{"kind": "Agent", "name": AGENT}],
        "clusters": [CLUSTER],
        "rules": [*denials, *others, *own, *(revealed if reveals else [])],
    }
    if not reveals:
        spec["masks"] = masks
    return {"apiVersion": "narrowgate.dev/v1alpha1", "kind": "Policy", "metadata": {"name": AGENT}, "spec": spec}


def _rule(
    name: str, effect: str, verbs: list[str], resources: list[str], namespaces: list[str] | None = None
) -> dict[str, Any]:
    return {
        "id": name,
        "effect": effect,
        "verbs": verbs,
        "apiGroups": [""],
        "resources": resources,
        "namespaces": namespaces or [NAMESPACE, LIST_NAMESPACE],
    }


def narrowgate() -> str:
    """The command that is measured: this environment's, or the one that NARROWGATE_COMMAND names."""
    return os.environ.get("NARROWGATE_COMMAND") or str(Path(sys.executable).parent / "narrowgate")


def prepare(
    stage: Stage, *, reveals: bool = False, settings: Mapping[str, Any] | None = None
) -> tuple[Path, Address, int]:
    """Makes configuration, policy and agent in an empty folder: the configuration, the way in, the health port.

    `settings` are further keys of the configuration.
    """
    folder = stage.folder / f"gate-{len(list(stage.folder.glob('gate-*')))}"
    policies = folder / "policies"
    policies.mkdir(parents=True)
    (policies / "bench.yaml").write_text(yaml.safe_dump(policy(reveals=reveals), sort_keys=False))
    kubernetes, control, health = free_ports(3)
    document = {
        "apiVersion": "narrowgate.dev/v1alpha1",
        "kind": "Config",
        "dataDir": str(folder / "data"),
        "listen": {
            "kubernetes": f"127.0.0.1:{kubernetes}",
            "control": f"127.0.0.1:{control}",
            "health": f"127.0.0.1:{health}",
        },
        "policies": str(policies),
        # As nginx and Go's proxies do: every core may work.
        "workers": os.cpu_count() or 1,
        "clusters": [
            {"name": CLUSTER, "kubeconfig": str(stage.cluster.kubeconfig), "upstream": {"mode": "credential"}}
        ],
        **(settings or {}),
    }
    configuration = folder / "narrowgate.yaml"
    configuration.write_text(yaml.safe_dump(document, sort_keys=False))
    return configuration, _add_agent(configuration, folder), health


def _add_agent(configuration: Path, folder: Path) -> Address:
    kubeconfig = folder / "agent.kubeconfig"
    command = [narrowgate(), "agents", "add", AGENT, "--owner", "person:bench", "--purpose", "measure the gate"]
    command += ["--cluster", CLUSTER, "--kubeconfig", str(kubeconfig), "--config", str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        raise BenchFailure(f"narrowgate agents add: {(done.stderr or done.stdout).strip()}")
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    authority, token_file = folder / "gate-ca.crt", folder / "agent.token"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    token_file.touch(mode=0o600)
    token_file.write_text(document["users"][0]["user"]["token"])
    return Address(cluster["server"], authority, token_file=token_file)


@contextmanager
def started(stage: Stage, *, reveals: bool, settings: Mapping[str, Any] | None = None) -> Iterator[Running]:
    """Runs a gate inside the block; see `prepare`."""
    with running(prepare(stage, reveals=reveals, settings=settings)) as found:
        yield found


@contextmanager
def running(prepared: tuple[Path, Address, int]) -> Iterator[Running]:
    """Runs a gate that was prepared inside the block."""
    configuration, address, health = prepared
    log = configuration.parent / "gate.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [narrowgate(), "serve", "--config", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=configuration.parent,
        )
    try:
        wait_until(lambda: _ready(health), process, log, "the gate")
        yield Running(address, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


GATE = Contender(
    "gate", f"Narrowgate: an agent's credential, {RULES} rules, masks, the trail on", partial(started, reveals=False)
)
GATE_REVEALED = Contender("gate-revealed", "the same, its policy takes every mask off", partial(started, reveals=True))
