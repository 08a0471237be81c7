"""The roads around the gate that lie about: credentials for API servers in the places where clients look for them.

Paths, servers and kinds are told, never contents. Whether one opens something is tried only where that is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.doctor_resting import AROUND, KnownGate, Looked, resting
from narrowgate.cli.kubeconfig_contexts import CannotUse, Nothing, Way, way_of_pod, ways_in

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token, unless `automountServiceAccountToken: false` says no."""

OF_NODES = (
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/rke2/rke2.yaml",
    "/var/snap/microk8s/current/credentials/client.config",
)
"""Where kubeadm, k3s, RKE2 and MicroK8s leave their administrators' kubeconfigs on a node."""

MOST_FILES = 200
"""Files of one folder that are looked into."""

LEFT_BY = "credential around the gate"


def searched(gate: KnownGate | None, environ: Mapping[str, str], *, tries: bool) -> Iterator[Looked]:
    """Look everywhere; a line for each way that is found, and one that says what was looked through."""
    looked, seen = 0, set[tuple[str, str]]()
    for path, is_certain in _places(environ):
        try:
            ways = ways_in(path)
        except FileNotFoundError:
            continue
        except CannotUse as error:
            if is_certain:
                found = plain(error)
                yield Looked((Line(check=LEFT_BY, where=plain(path), outcome=Outcome.NOT_TRIED, found=found),))
            continue
        looked += 1
        for way in ways:
            if (str(path.resolve()), way.context) not in seen:
                seen.add((str(path.resolve()), way.context))
                yield _looked_at(way, gate, tries=tries)
    pod = way_of_pod(SERVICE_ACCOUNT, environ)
    if pod is not None:
        looked += 1
        yield _looked_at(pod, gate, tries=tries)
    where = plain(environ.get("HOME", "no home"))
    text = f"looked into {looked} {'file' if looked == 1 else 'files'} in the usual places"
    yield Looked((Line(check="usual places", where=where, outcome=Outcome.OK, found=text),))


def _looked_at(way: Way, gate: KnownGate | None, *, tries: bool) -> Looked:
    at_gate = gate is not None and (way.host, way.port) in gate.hosts
    if isinstance(way.proof, Nothing):
        # `kubectl proxy` on http, a road by another proxy: that nobody could try it clears nobody.
        found = f"{plain(way.server)}: {plain(way.proof.why)}"
        return Looked((Line(check=LEFT_BY, where=way.name, outcome=Outcome.NOT_TRIED, found=found),))
    if tries:
        return resting(way, gate, runs_plugins=True)
    if at_gate:
        found = f"{plain(way.server)}: {way.kind}, by the gate"
        return Looked((Line(check=LEFT_BY, where=way.name, outcome=Outcome.OK, found=found),))
    return Looked(
        (
            Line(
                check=AROUND,
                where=way.name,
                outcome=Outcome.FINDING,
                found=f"{plain(way.server)}: {way.kind}, not tried; it may open the cluster without the gate",
                to_do="try it with --try; if it is not needed here, remove it and revoke it in the cluster",
            ),
        )
    )


def _places(environ: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Files to look into, and whether each of them is a kubeconfig for sure."""
    for name in environ.get("KUBECONFIG", "").split(os.pathsep):
        if name:
            yield Path(name), True
    home = environ.get("HOME", "")
    if home:
        usual = Path(home, ".kube", "config")
        yield usual, True
        for folder, wanted in ((usual.parent, ""), (Path(home), "kubeconfig"), (Path(home), ".kubeconfig")):
            yield from ((path, False) for path in _files(folder) if wanted in path.name and path != usual)
    for name in OF_NODES:
        yield Path(name), True


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(MOST_FILES), entries, strict=False) if entry.is_file()]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
