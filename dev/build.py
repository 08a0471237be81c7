#!/usr/bin/env python3
"""Builds Go programs from a Go module folder, once, into a cache outside the tree.

    python dev/build.py dev/tools                                 # every program the module lists under `tool`
    python dev/build.py bench/load load=./cmd/load                # a program by name and package

    from dev.build import build
    bin = build(Path("dev/tools"), {"helm": "helm.sh/helm/v3/cmd/helm"})

The cache folder is named after what goes into the programs (go.mod, go.sum, Go's version, the module's own sources, the
linker's flags), so it is either right or absent, and nothing ever has to be invalidated. (Files that a module embeds
are not looked at.) Standard library only: this runs before there is a virtual environment.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# How often a build that nobody watches on a terminal says that it is alive.
PLAIN_PROGRESS_SECONDS = 15.0
TERMINAL_PROGRESS_SECONDS = 0.2
# How much of the compiler's complaint is shown when a build fails.
ERROR_LINES = 20
# 40 bits of the key: enough that two states of one module never share a folder.
KEY_LENGTH = 10


class BuildError(Exception):
    """A program could not be built; the message is for the reader as it is."""


@dataclass(frozen=True)
class GoMod:
    """What this file needs of a go.mod."""

    path: str
    tools: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Program:
    """A program by the name of its file, and the package it is built from."""

    name: str
    package: str


def cache_dir() -> Path:
    """Where built programs lie; outside the tree, so that `git clean` and a second clone cost nothing."""
    configured = os.environ.get("NARROWGATE_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "narrowgate"


def build(module_dir: Path | str, programs: Mapping[str, str], *, ldflags: str = "") -> Path:
    """The folder with the given programs (name to package), built unless they already are."""
    module = Path(module_dir).resolve()
    folder = bin_dir(module, ldflags=ldflags)
    wanted = [Program(name, package) for name, package in programs.items()]
    if not _missing(folder, wanted):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with _one_build_at_a_time(folder.parent):
        # Somebody else may have built them while this process waited for its turn.
        missing = _missing(folder, wanted)
        for number, program in enumerate(missing, start=1):
            _build_one(module, program, folder, ldflags, f"[{number}/{len(missing)}]")
    return folder


def bin_dir(module_dir: Path | str, *, ldflags: str = "") -> Path:
    """The folder that `build` fills for this state of the module; it need not exist yet."""
    module = Path(module_dir).resolve()
    name = go_mod(module).path.rsplit("/", 1)[-1]
    digest = hashlib.sha256()
    for part in (_go(module, "env", "GOVERSION").strip(), "CGO_ENABLED=0 -trimpath", ldflags):
        digest.update(part.encode() + b"\0")
    for source in _sources(module):
        digest.update(f"{source.relative_to(module)}\0{source.stat().st_size}\0".encode())
        digest.update(source.read_bytes())
    return cache_dir() / "go" / f"{name}-{digest.hexdigest()[:KEY_LENGTH]}"


def go_mod(module_dir: Path | str) -> GoMod:
    """What the module's go.mod says, read by Go itself."""
    module = Path(module_dir).resolve()
    if not (module / "go.mod").is_file():
        raise BuildError(f"{module}: no go.mod there; name the folder of a Go module")
    document = json.loads(_go(module, "mod", "edit", "-json"))
    return GoMod(
        path=document["Module"]["Path"],
        tools=tuple(tool["Path"] for tool in document.get("Tool") or ()),
        versions={require["Path"]: require["Version"] for require in document.get("Require") or ()},
    )


def _sources(module: Path) -> list[Path]:
    """What decides about the outcome: the pins, and the code of modules that have some."""
    pins = [module / name for name in ("go.mod", "go.sum") if (module / name).is_file()]
    return pins + sorted(path for path in module.rglob("*.go") if not path.name.endswith("_test.go"))


def _missing(folder: Path, programs: Sequence[Program]) -> list[Program]:
    return [program for program in programs if not os.access(folder / program.name, os.X_OK)]


@contextmanager
def _one_build_at_a_time(root: Path) -> Iterator[None]:
    """Two builds at once take longer than one after the other, and Kubernetes' linker wants 3 GiB of memory."""
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_one(module: Path, program: Program, folder: Path, ldflags: str, count: str) -> None:
    # In the folder itself, thus on its file system: the rename is atomic, a program is there whole or not at all.
    unfinished = folder / f".{program.name}.{os.getpid()}"
    command = ["go", "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", f"-s -w {ldflags}".strip(), "-o", str(unfinished), program.package]
    with tempfile.TemporaryFile("w+") as output:
        try:
            process = subprocess.Popen(
                command, cwd=module, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                _watch(process, output, f"{count} {program.name}")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if process.returncode != 0:
                output.seek(0)
                tail = "".join(output.readlines()[-ERROR_LINES:])
                raise BuildError(f"{module}: {program.package} does not build:\n{tail.rstrip()}")
            unfinished.rename(folder / program.name)
        finally:
            unfinished.unlink(missing_ok=True)


def _watch(process: subprocess.Popen[bytes], output: IO[str], label: str) -> None:
    """Shows that something happens until the process ends: `go build -v` writes a line for every package compiled."""
    begun = time.monotonic()
    terminal = sys.stderr.isatty()
    interval = TERMINAL_PROGRESS_SECONDS if terminal else PLAIN_PROGRESS_SECONDS
    while True:
        try:
            process.wait(timeout=interval)
        except subprocess.TimeoutExpired:
            # pread leaves the file's position alone, which the compiler shares and writes at.
            lines = os.pread(output.fileno(), 1 << 20, 0).splitlines()
            packages = sum(not line.startswith(b"go: ") for line in lines)
            line = f"{label}: building, {time.monotonic() - begun:.0f} s, {packages} packages compiled"
            _say(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n")
        else:
            break
    outcome = "built" if process.returncode == 0 else "failed"
    _say(f"{chr(13) + chr(27) + '[K' if terminal else ''}{label}: {outcome} in {time.monotonic() - begun:.0f} s")


def _environment() -> dict[str, str]:
    # A Go workspace or flags around the module would change what is built without changing the cache's key.
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}


def _go(module: Path, *arguments: str) -> str:
    if shutil.which("go") is None:
        raise BuildError("go is not on the PATH; install Go 1.26 or newer (https://go.dev/doc/install)")
    result = subprocess.run(["go", *arguments], cwd=module, env=_environment(), capture_output=True, text=True)
    if result.returncode != 0:
        raise BuildError(f"{module}: go {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout


def _say(line: str, end: str = "\n") -> None:
    # Progress goes to stderr: stdout carries the one answer, the folder.
    print(line, end=end, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """The command line: exit status 0 and the folder on stdout, or 1 and the reason on stderr."""
    parser = argparse.ArgumentParser(description="Build Go programs once; print the folder that holds them.")
    parser.add_argument("module", type=Path, help="the folder with go.mod")
    parser.add_argument("programs", nargs="*", metavar="name=package", help="default: the module's `tool` lines")
    parser.add_argument("--ldflags", default="", help="more for the linker, for example -X main.version=1")
    options = parser.parse_args(arguments)
    try:
        programs = dict(_named(text) for text in options.programs or go_mod(options.module).tools)
        if not programs:
            raise BuildError(f"{options.module}: go.mod lists no tool; name what to build, as name=package")
        print(build(options.module, programs, ldflags=options.ldflags))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _named(text: str) -> tuple[str, str]:
    """`name=package`, or a package whose last element is its name."""
    name, equals, package = text.partition("=")
    return (name, package) if equals else (text.rsplit("/", 1)[-1], text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
