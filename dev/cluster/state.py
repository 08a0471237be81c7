"""What is remembered between two runs: state.json for this command itself, cluster.json for everybody else.

cluster.json exists exactly while a cluster is there to be used: it is written last by `up`, and removed first.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dev.cluster.control_plane import Ports
from dev.cluster.processes import ClusterError, Process

# Raised when the file's meaning changes; an older or newer state is not guessed at.
VERSION = 1


@dataclass(frozen=True)
class State:
    """What was started, and with which ports and slot: enough to find it again and to stop it."""

    ports: Ports
    slot: int
    with_node: bool
    processes: tuple[Process, ...]

    def with_process(self, process: Process) -> State:
        """The same, and one process more."""
        return State(self.ports, self.slot, self.with_node, (*self.processes, process))


def read_state(directory: Path) -> State | None:
    """What the last `up` of this folder started; nothing when there was none."""
    try:
        document = json.loads((directory / "state.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClusterError(f"{directory / 'state.json'} is not readable ({error}); remove the folder") from error
    if document.get("version") != VERSION:
        raise ClusterError(
            f"{directory / 'state.json'} is of another version; run `down` of the revision that wrote it"
        )
    return State(
        ports=Ports(**document["ports"]),
        slot=document["slot"],
        with_node=document["withNode"],
        processes=tuple(Process(**process) for process in document["processes"]),
    )


def write_state(directory: Path, state: State) -> None:
    """Replaces what is remembered."""
    document = {
        "version": VERSION,
        "ports": asdict(state.ports),
        "slot": state.slot,
        "withNode": state.with_node,
        "processes": [process.document() for process in state.processes],
    }
    _write(directory / "state.json", document)


def read_summary(directory: Path) -> dict[str, Any] | None:
    """What cluster.json says; nothing while there is no cluster to use."""
    try:
        found: dict[str, Any] = json.loads((directory / "cluster.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Says to everybody that the cluster may be used, and how."""
    _write(directory / "cluster.json", summary)


def remove_summary(directory: Path) -> None:
    """Says to everybody that it may no longer be used."""
    (directory / "cluster.json").unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One `up` or `down` at a time: two test runs that both want a cluster shall get the same one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise ClusterError(f"{directory} is not writable ({error.strerror}); name another folder with --dir") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, document: dict[str, Any]) -> None:
    # Readers poll for these files, and must never see half of one.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.rename(path)
