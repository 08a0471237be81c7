"""What a contender is: a name, what it does, and how it is started in front of the cluster."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import footprint
from bench.cluster import Cluster
from bench.failure import BenchFailure
from bench.load import Address

# A cold start of Python on a busy machine; the others listen at once.
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
LOG_LINES_SHOWN = 8


@dataclass(frozen=True)
class Stage:
    """What every contender is given: the cluster, a folder for its files, and a certificate to serve."""

    cluster: Cluster
    folder: Path
    certificate: Path
    key: Path

    def served(self, port: int, token_file: Path | None = None) -> Address:
        """The address of a contender that serves the bench's certificate."""
        return Address(f"https://127.0.0.1:{port}", self.certificate, token_file=token_file)


@dataclass(frozen=True)
class Running:
    """A started contender. Without a pid there is no process between client and API server."""

    address: Address
    pid: int | None = None

    def pids(self) -> list[int]:
        """Its processes, workers included."""
        return [] if self.pid is None else footprint.tree(self.pid)


@dataclass(frozen=True)
class Contender:
    """One of those who are measured."""

    name: str
    what: str
    start: Callable[[Stage], AbstractContextManager[Running]]
    workloads: frozenset[str] | None = None
    """Those that it takes part in, where others would say nothing of it; None for all."""


@contextmanager
def program(name: str, command: Sequence[str | Path], folder: Path, address: Address) -> Iterator[Running]:
    """Runs a program inside the block, from when it accepts TLS until it is told to end."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
        )
    try:
        wait_until(lambda: accepts(address), process, log, name)
        yield Running(address, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    """Waits for a program to come up; says what it logged when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
            state = "does not answer" if process.poll() is None else f"ended with {process.returncode}"
            raise BenchFailure(f"{name} {state}; it said:\n{last}")
        time.sleep(POLL_SECONDS)


def accepts(address: Address) -> bool:
    """Whether somebody speaks TLS there, with the expected certificate."""
    context = ssl.create_default_context(cafile=str(address.authority))
    host, _, port = address.url.removeprefix("https://").partition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=START_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except OSError:
        return False
