"""Long-running programs: start them detached, recognise them later, stop them by pid.

A pid alone says little: after a crash or a reboot another program may have it. A process is therefore remembered with
the time it started at and the boot it belongs to, and only the one that matches all three is ever signalled.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# A program that has not ended by then is killed; etcd and the API server need well under five seconds.
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that a port
# that is kept for the next start is not lent out meanwhile; and below 30000, where Kubernetes' NodePorts begin.
PORTS = range(21000, 30000)
LOG_LINES_SHOWN = 8


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message is one for the reader: what, where, what to do."""


@dataclass(frozen=True)
class Process:
    """A program started earlier, perhaps by another run of this command."""

    name: str
    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """The process that has this pid now."""
        return cls(name=name, pid=pid, started=_start_time(pid) or 0, boot=_boot())

    def running(self) -> bool:
        """Whether it is still this very process that runs."""
        return self.of_this_boot() and self.started != 0 and _start_time(self.pid) == self.started

    def of_this_boot(self) -> bool:
        """Whether the machine has not been restarted since."""
        return self.boot == _boot()

    def document(self) -> dict[str, object]:
        """As state.json keeps it."""
        return asdict(self)


def start(name: str, command: Sequence[str | Path], log: Path, extra_environment: Mapping[str, str]) -> Process:
    """Starts a program in a session of its own, so that it outlives the shell that asked for it."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), **extra_environment}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
    return Process.of(name, child.pid)


def stop(processes: Iterable[Process]) -> None:
    """Ends the given processes, each before the next: a kubelet that loses its API server would only complain."""
    for process in processes:
        send(process, signal.SIGTERM)
        if not wait_until(lambda process=process: not process.running(), STOP_SECONDS):  # type: ignore[misc]
            send(process, signal.SIGKILL)
            wait_until(lambda process=process: not process.running(), STOP_SECONDS)  # type: ignore[misc]


def send(process: Process, number: signal.Signals) -> None:
    """Signals the process, unless it has ended."""
    if process.running():
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def wait_for(what: str, condition: Callable[[], bool], seconds: float, watched: Process, log: Path) -> None:
    """Waits for the condition; says which program is to blame, and what it said last, when it does not come true."""

    def settled() -> bool:
        return condition() or not watched.running()

    reached = wait_until(settled, seconds)
    if not watched.running():
        raise ClusterError(f"{watched.name} ended while it was to become {what}; see {log}:\n{_tail(log)}")
    if not reached:
        raise ClusterError(f"{watched.name} is not {what} after {seconds:.0f} s; see {log}:\n{_tail(log)}")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nothing listens now."""
    found: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        if port_is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise ClusterError(
        f"no {count} free ports between {PORTS.start} and {PORTS.stop}; end something that listens there"
    )


def port_is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as listener:
        # As the servers do: a connection that is still closing does not keep them from listening.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def command_lines() -> Iterable[tuple[int, list[str]]]:
    """All processes of this machine with their arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue


def children(pid: int) -> list[int]:
    """The pids of the processes that this one started."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in thread.read_text().split()]
        except OSError:
            continue
    return found


def _start_time(pid: int) -> int | None:
    """When the process started, in the kernel's ticks since boot; nothing when there is none, or only its corpse."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    fields = text.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _tail(log: Path) -> str:
    if not log.is_file():
        return "  (no log)"
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join(f"  {line}" for line in lines)
