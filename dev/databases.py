#!/usr/bin/env python3
"""Real databases for the tests, from Debian's packages: PostgreSQL and Redis, servers and clients.

    python dev/databases.py                 # where their programs are; installed first when they are missing

A pod of the test cluster runs the servers with this machine's own files (`/usr` and what leads there), so that no image
has to be made of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "postgres": "postgresql",
    "initdb": "postgresql",
    "psql": "postgresql",
    "pgbench": "postgresql",
    "redis-server": "redis-server",
    "redis-cli": "redis-server",
}
"""Program and the package (Debian's name) that brings it."""

POSTGRESQL_FOLDERS = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version in a folder of its own, off the PATH."""


class DatabaseMissing(Exception):
    """A database is not there and cannot be installed; the message says what to do."""


def program(name: str) -> Path:
    """The program of this name, one of `PACKAGES`, installed when it is missing. Raises DatabaseMissing."""
    if _found(name) is None:
        _install()
    found = _found(name)
    if found is None:
        raise DatabaseMissing(f"no {name} although {PACKAGES[name]} is installed; look at it by hand")
    return found


def _found(name: str) -> Path | None:
    # The programs themselves: what is on the PATH may be a wrapper that chooses among this machine's servers.
    versions = sorted(POSTGRESQL_FOLDERS.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1]
    found = shutil.which(name)
    return Path(found) if found else None


def _install() -> None:
    absent = sorted({package for name, package in PACKAGES.items() if _found(name) is None})
    command = f"apt-get install --no-install-recommends {' '.join(absent)}"
    if shutil.which("apt-get") is None:
        raise DatabaseMissing(f"missing on this machine: {', '.join(absent)} (Debian's names); install them, try again")
    if os.geteuid() != 0:
        raise DatabaseMissing(f"missing on this machine: {', '.join(absent)}; run: sudo {command}")
    print(f"installing {', '.join(absent)}: {command}", file=sys.stderr, flush=True)
    # Debian starts what it installs; RUNLEVEL=1 makes invoke-rc.d leave that alone.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *absent]):
        result = subprocess.run(["apt-get", "-q", *arguments], capture_output=True, text=True, env=environment)
        if result.returncode != 0:
            raise DatabaseMissing(f"apt-get {' '.join(arguments)} failed: {result.stderr.strip()}; run it by hand")


if __name__ == "__main__":
    try:
        for name in PACKAGES:
            print(program(name))
    except DatabaseMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
