#!/usr/bin/env python3
"""A real Kubernetes on this machine: `cluster.py up`, `down`, `status`, `build`, `image`.

KUBECONFIG set means: use that cluster; then `up` starts nothing and only writes cluster.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# Run as a file, without an installed package: the repository is where `dev` is found.
sys.path.insert(0, str(REPOSITORY))

from dev.cluster import external  # noqa: E402
from dev.cluster.binaries import Binaries, assets_without_node, kubernetes, prepare  # noqa: E402
from dev.cluster.control_plane import CONTEXT, ControlPlane, Ports  # noqa: E402
from dev.cluster.images import BUSYBOX_IMAGE, archive_with  # noqa: E402
from dev.cluster.node import NODE, READY_SECONDS, SLOTS, KubeletFiles, Node, Slot, claim_slot  # noqa: E402
from dev.cluster.processes import ClusterError, Process, free_ports, port_is_free, stop, wait_for  # noqa: E402
from dev.cluster.state import (  # noqa: E402
    State,
    locked,
    read_state,
    read_summary,
    remove_summary,
    write_state,
    write_summary,
)

# What `down` leaves: the logs, for whoever wants to know why.
KEPT = {"logs", "audit.log", ".lock"}


def up(directory: Path, *, with_node: bool) -> None:
    """Starts the cluster of this folder, unless it runs or KUBECONFIG names another."""
    begun = time.monotonic()
    if with_node and (given := assets_without_node()) is not None:
        say(f"KUBEBUILDER_ASSETS={given} has no kubelet, scheduler or controllers: control plane only")
        with_node = False
    configured = external.kubeconfig(directory)
    with locked(directory):
        if configured is not None:
            write_summary(directory, external.summary(configured, directory))
            say(f"using the cluster of KUBECONFIG={configured}; nothing was started")
            return
        known = read_state(directory)
        if known is not None and healthy(directory, known) and known.with_node >= with_node:
            say(f"already running: {directory / 'cluster.json'}")
            return
        if with_node and os.geteuid() != 0:
            raise ClusterError("a node needs root (mounts, namespaces); use sudo, or --control-plane-only")
        binaries = prepare(with_node=with_node)
        if known is not None:
            stop_all(directory, known)
        remove_summary(directory)
        start_all(directory, known, binaries, begun)


def start_all(directory: Path, known: State | None, binaries: Binaries, begun: float) -> None:
    """From nothing, or from what the last run stored, to a cluster that is described in cluster.json."""
    with_node = "kubelet" in binaries
    state = State(ports=ports_for(known), slot=slot_for(known, with_node).number, with_node=with_node, processes=())
    slot = Slot(state.slot)

    def started(process: Process) -> Process:
        # Written after each start, so that a run that fails half way leaves nothing that `down` does not know.
        nonlocal state
        state = state.with_process(process)
        write_state(directory, state)
        return process

    plane = ControlPlane(directory, binaries, state.ports, slot.address)
    plane.write_files()
    started(plane.start_etcd())
    api_server = started(plane.start_api_server())
    node = Node(directory, slot)
    if with_node:
        # While the API server starts, which takes longest, containerd and the images get ready.
        node.import_images(started(node.start_containerd(binaries)), binaries)
    plane.wait_until_ready(api_server)
    say(f"API server ready after {time.monotonic() - begun:.1f} s: {plane.server}")
    if "kube-controller-manager" in binaries:
        started(plane.start_controller_manager())
    if "kube-scheduler" in binaries:
        started(plane.start_scheduler())
    if with_node:
        client, serving = plane.node_certificates(NODE)
        kubeconfig = directory / "certificates" / "kubelet.kubeconfig"
        plane.write_kubeconfig(kubeconfig, f"system:node:{NODE}", client)
        files = KubeletFiles(authority=plane.authority.certificate, serving=serving, ports=state.ports)
        since = float(int(time.time()))
        kubelet = started(node.start_kubelet(binaries, kubeconfig, files))
        wait_for("ready", lambda: plane.api.node_ready(NODE, since), READY_SECONDS, kubelet, node.log("kubelet"))
    if "kube-controller-manager" in binaries:
        manager = next(process for process in state.processes if process.name == "kube-controller-manager")
        wait_for("at work", plane.api.default_account_exists, READY_SECONDS, manager, plane.log(manager.name))
    write_summary(directory, summary(directory, plane, binaries, state))
    say(f"{'node' if with_node else 'control plane'} ready after {time.monotonic() - begun:.1f} s")
    say(f"export KUBECONFIG={plane.kubeconfig}")


def down(directory: Path) -> None:
    """Stops everything and forgets what it stored, except for the logs."""
    if not directory.is_dir():
        say("no cluster there")
        return
    with locked(directory):
        state = read_state(directory)
        remove_summary(directory)
        if state is not None:
            stop_all(directory, state)
            Node(directory, Slot(state.slot)).remove_files()
        for path in directory.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    say("stopped")


def stop_all(directory: Path, state: State) -> None:
    """Ends every process of the cluster, also after a crash in which some of them ended by themselves."""
    # In the reverse of the order in which they were started: nobody loses the server it talks to.
    stop(reversed(state.processes))
    if state.with_node:
        node = Node(directory, Slot(state.slot))
        node.remove_leftovers()
        # A reboot has removed the network already, and what is there now may be another cluster's.
        if any(process.of_this_boot() for process in state.processes):
            node.remove_network()


def status(directory: Path, output: str) -> int:
    """0 when the cluster answers and nothing of it has ended, otherwise 1."""
    found = read_summary(directory)
    state = read_state(directory)
    answers = state is not None and healthy(directory, state)
    if found is not None and found.get("external"):
        answers = external.answers(Path(found["kubeconfig"]))
    if output == "json":
        running = {process.name: process.running() for process in state.processes} if state else {}
        print(json.dumps({"healthy": answers, "processes": running, "cluster": found}, indent=2))
    else:
        lines = [f"{'running' if answers else 'not running'}: {directory}"]
        processes = state.processes if state else ()
        lines += [
            f"  {process.name}: {f'pid {process.pid}' if process.running() else 'ended'}" for process in processes
        ]
        say("\n".join(lines))
    return 0 if answers else 1


def image(directory: Path, name: str, files: Sequence[Path]) -> None:
    """Puts an image on the node: busybox with these files in /bin."""
    state = read_state(directory)
    if state is None or not state.with_node or not healthy(directory, state):
        raise ClusterError(f"no node is running in {directory}; run `up` first")
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise ClusterError(f"no such file: {', '.join(absent)}")
    binaries = prepare(with_node=True)
    Node(directory, Slot(state.slot)).import_image(binaries, archive_with(name, binaries["busybox"], files))
    say(f"{name} is on the node; pods name it with imagePullPolicy: Never")


def healthy(directory: Path, state: State) -> bool:
    """Everything that was started still runs, and the API server and the node say that they are ready."""
    described = read_summary(directory)
    if described is None or described["external"] or not all(process.running() for process in state.processes):
        return False
    plane = ControlPlane(directory, Binaries(directory, {}), state.ports, Slot(state.slot).address)
    return plane.api.ready() and (not state.with_node or plane.api.node_ready(NODE))


def ports_for(known: State | None) -> Ports:
    """The ports of the last time where they are still free, so that kubeconfigs in other terminals stay right."""
    names = [field.name for field in fields(Ports)]
    if known is not None and all(port_is_free(getattr(known.ports, name)) for name in names):
        return known.ports
    return Ports(**dict(zip(names, free_ports(len(names)), strict=True)))


def slot_for(known: State | None, with_node: bool) -> Slot:
    """The slot of the last time, or a new one."""
    # Without a node nothing gets the address; any will do.
    return claim_slot(known.slot if known else None) if with_node else Slot(SLOTS.start)


def summary(directory: Path, plane: ControlPlane, binaries: Binaries, state: State) -> dict[str, Any]:
    """What cluster.json says."""
    return {
        "external": False,
        "kubeconfig": str(plane.kubeconfig),
        "context": CONTEXT,
        "server": plane.server,
        "ca": str(plane.authority.certificate),
        "auditLog": str(plane.audit_log),
        "bin": str(binaries.folder),
        "nodeName": NODE if state.with_node else None,
        "nodeAddress": Slot(state.slot).address if state.with_node else None,
        "image": BUSYBOX_IMAGE if state.with_node else None,
        "imagePullPolicy": "Never",
        "etcd": plane.etcd_url,
        "logs": str(directory / "logs"),
        "pids": {process.name: process.pid for process in state.processes},
    }


def say(line: str) -> None:
    """Tells the person who runs this."""
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="A real Kubernetes on this machine, without Docker.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", type=Path, default=REPOSITORY / ".cluster", help="its folder (default: .cluster)")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("up", parents=[common], help="start it, or say that it runs")
    command.add_argument("--control-plane-only", action="store_true", help="no node: nothing needs root")
    commands.add_parser("down", parents=[common], help="stop it and forget what it stored; logs stay")
    command = commands.add_parser("status", parents=[common], help="what runs; exit status 1 when not all of it does")
    command.add_argument("-o", "--output", choices=["text", "json"], default="text")
    commands.add_parser("build", parents=[common], help="build Kubernetes' programs into the cache, start nothing")
    command = commands.add_parser("image", parents=[common], help="put an image on the node: busybox and some files")
    command.add_argument("name", help="for example local/tool:1")
    command.add_argument("files", nargs="+", type=Path, help="programs for /bin; the first is what the image runs")
    options = parser.parse_args(arguments)
    directory = options.dir.resolve()
    actions: dict[str, Callable[[], int | None]] = {
        "up": lambda: up(directory, with_node=not options.control_plane_only),
        "down": lambda: down(directory),
        "status": lambda: status(directory, options.output),
        "build": lambda: say(str(kubernetes())),
        "image": lambda: image(directory, options.name, options.files),
    }
    try:
        return actions[options.command]() or 0
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
