"""Installs programs from npm's registry, exactly those of a lock file, once, into a cache outside the tree.

    python -m dev.npm dev/blob_storage      # prints the folder that holds node_modules; installed first where missing

The cache folder is named after the lock file, so it is either right or absent. Nothing that a package would like to run
while it is installed is run. Standard library only, as `dev/build.py`, which does the same for Go.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.build import KEY_LENGTH, cache_dir

ERROR_LINES = 20
"""How much of npm's complaint is shown."""


class NpmMissing(Exception):
    """It cannot be installed; the message says what to do."""


def node() -> str:
    """The program that runs what is installed. Raises NpmMissing."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise NpmMissing("node and npm are not on the PATH; install Node.js 20 or newer (Debian: apt install npm)")
    return found


def installed(folder: Path) -> Path:
    """The folder with `node_modules` as the lock file in `folder` says, installed unless it is. Raises NpmMissing."""
    node()
    pins = [folder / "package.json", folder / "package-lock.json"]
    digest = hashlib.sha256(b"\0".join(pin.read_bytes() for pin in pins)).hexdigest()[:KEY_LENGTH]
    root = cache_dir() / "npm"
    target = root / f"{folder.name}-{digest}"
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Somebody else may have installed them while this process waited for its turn.
        if not target.is_dir():
            _install(pins, root, target)
    return target


def _install(pins: list[Path], root: Path, target: Path) -> None:
    # On one file system: the rename is atomic, a folder is there whole or not at all.
    with tempfile.TemporaryDirectory(dir=root, prefix=".installing-") as unfinished:
        new = Path(unfinished, "new")
        new.mkdir()
        for pin in pins:
            shutil.copy(pin, new)
        print(f"installing {target.name} from npm's registry; a minute the first time", file=sys.stderr, flush=True)
        command = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        result = subprocess.run(command, cwd=new, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            tail = "\n".join(result.stderr.splitlines()[-ERROR_LINES:])
            raise NpmMissing(f"{pins[0].parent}: npm ci failed:\n{tail}")
        os.rename(new, target)


if __name__ == "__main__":
    try:
        print(installed(Path(sys.argv[1])))
    except NpmMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
