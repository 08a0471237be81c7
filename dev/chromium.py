#!/usr/bin/env python3
"""Chromium for the tests, from Debian's packages: the browser that people's sign-in is tried in.

    python dev/chromium.py                  # where it is; installed first when it is missing

Debian's own build, because it comes signed by the distribution and needs no second download server; Playwright only
drives it. `certutil` comes along: it makes a browser trust the tests' authorities the way a company's does, so that no
test has to switch certificate checks off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {"chromium": "chromium", "certutil": "libnss3-tools"}
"""Program and the package (Debian's name) that holds it."""


class BrowserMissing(Exception):
    """There is no browser and none can be installed; the message says what to do."""


def chromium() -> Path:
    """The browser's program, installed when it is missing. Raises BrowserMissing."""
    return _program("chromium")


def certutil() -> Path:
    """The program that fills a browser's store of trusted authorities. Raises BrowserMissing."""
    return _program("certutil")


def trusting_home(home: Path, authorities: Sequence[Path]) -> Path:
    """A HOME in which Chromium trusts these authorities (PEM files) besides the system's, and nothing else of ours."""
    # Chromium moved from the first to the second place (XDG) in 2024; Debian's stable follows new versions.
    for folder in (home / ".pki" / "nssdb", home / ".local" / "share" / "pki" / "nssdb"):
        folder.mkdir(parents=True, exist_ok=True)
        database = f"sql:{folder}"
        if not (folder / "cert9.db").exists():
            _run([certutil(), "-N", "-d", database, "--empty-password"])
        for number, authority in enumerate(authorities):
            name = f"narrowgate-test-{number}-{authority.parent.name}"
            _run([certutil(), "-A", "-d", database, "-n", name, "-t", "C,,", "-i", authority])
    return home


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        _install()
        found = shutil.which(name)
    if found is None:
        raise BrowserMissing(f"{name} is not on the PATH although {PACKAGES[name]} is installed; look at it by hand")
    return Path(found)


def _install() -> None:
    absent = sorted(package for name, package in PACKAGES.items() if shutil.which(name) is None)
    command = f"apt-get install --no-install-recommends {' '.join(absent)}"
    if shutil.which("apt-get") is None:
        raise BrowserMissing(f"missing on this machine: {', '.join(absent)} (Debian's names); install them, try again")
    if os.geteuid() != 0:
        raise BrowserMissing(f"missing on this machine: {', '.join(absent)}; run: sudo {command}")
    print(f"installing {', '.join(absent)}: {command}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *absent]):
        result = subprocess.run(["apt-get", "-q", *arguments], capture_output=True, text=True, env=environment)
        if result.returncode != 0:
            raise BrowserMissing(f"apt-get {' '.join(arguments)} failed: {result.stderr.strip()}; run it by hand")


def _run(command: Sequence[str | Path]) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise BrowserMissing(f"{Path(command[0]).name} failed: {result.stderr.strip()}")


if __name__ == "__main__":
    try:
        print(chromium())
    except BrowserMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
