"""A gate in the background: started, waited for, found again by its pid file, and stopped.

The pid file holds the number and the moment the process began, so that a number that was given to somebody else since
is not mistaken for the gate.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from narrowgate.cli.failure import Failed
from narrowgate.config import Config

PID_FILE = "gate.pid"
LOG_FILE = "gate.log"

READY_WITHIN = 30.0
"""Seconds a gate gets to answer: it takes about one, and a slow disk or cluster some more."""

GRACE = 5.0
"""Seconds that a stopping gate gets beyond its own time for draining, before it is killed. The record survives that."""

LOOK_EVERY = 0.05
"""Seconds between two looks."""

PROBE_TIMEOUT = 2.0
"""Seconds one look at /readyz may take."""


def running_pid(data_dir: Path) -> int | None:
    """The process number of the gate that runs from this folder, None where none does."""
    try:
        pid, began = (data_dir / PID_FILE).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if pid.isdigit() and _began(int(pid)) == began else None


def start(config: Config, data_dir: Path) -> int:
    """Start `serve` in the background, wait until it answers, return its number. Raises Failed with its last words."""
    log = data_dir / LOG_FILE
    with log.open("ab") as output:
        begins = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "narrowgate.cli", "serve", "--config", str(config.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (data_dir / PID_FILE).write_text(f"{process.pid} {_began(process.pid)}\n", encoding="ascii")
    deadline = time.monotonic() + READY_WITHIN
    said = ""
    while time.monotonic() < deadline:
        if process.poll() is not None:
            (data_dir / PID_FILE).unlink(missing_ok=True)
            raise Failed(
                _last_line(log, begins), f"the gate ended while starting, see {log}", "mend that and try again"
            )
        ready, said = _readiness(config)
        if ready:
            return process.pid
        time.sleep(LOOK_EVERY)
    stop(data_dir, GRACE)
    raise Failed(f"the gate is not ready after {READY_WITHIN:g} s ({said})", str(log), "mend that and try again")


def stop(data_dir: Path, drain: float) -> bool:
    """Stop the gate of this folder: ask, wait `drain` seconds and some, then kill. False where none ran."""
    pid = running_pid(data_dir)
    if pid is None:
        (data_dir / PID_FILE).unlink(missing_ok=True)
        return False
    began = _began(pid)
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + drain + GRACE
    while _began(pid) == began:
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)
            deadline += GRACE
        time.sleep(LOOK_EVERY)
    (data_dir / PID_FILE).unlink(missing_ok=True)
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        to_do = "run this as the user who started it"
        raise Failed("not allowed to stop the gate", f"process {pid}", to_do) from None


def _began(pid: int) -> str:
    """When a process began, in words that differ for each process that ever has its number; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may hold anything; the state is the first field behind it, the start the 20th.
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _began_by_ps(pid)
    except ProcessLookupError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _began_by_ps(pid: int) -> str:
    """The same where there is no /proc, as on a Mac."""
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(asked.stdout.split())


def _readiness(config: Config) -> tuple[bool, str]:
    host, port = config.listen.health
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200, " ".join(answer.read().decode("utf-8", "replace").split("\n")).strip()
    except (OSError, http.client.HTTPException):
        return False, "it does not answer yet"
    finally:
        connection.close()


def _last_line(log: Path, begins: int) -> str:
    with log.open("rb") as file:
        file.seek(begins)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("narrowgate: ") if lines else "it said nothing"
