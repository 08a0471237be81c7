"""The load generator (bench/loadgen, a Go program) as Python calls it: one plan in, one JSON answer out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bench.failure import BenchFailure

# What the generator replaces by another number in each request.
NUMBER = "@" * 12
# In a path: replaced by the number of the connection, from 0.
CONNECTION = "{connection}"
# Beyond the time that was asked for.
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Address:
    """Where a contender listens, whom to trust there, and who asks."""

    url: str
    authority: Path
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    def flags(self) -> list[str]:
        """As the generator takes them."""
        flags = ["-url", self.url, "-ca", str(self.authority)]
        if self.certificate is not None:
            flags += ["-cert", str(self.certificate), "-key", str(self.key)]
        if self.token_file is not None:
            flags += ["-token-file", str(self.token_file)]
        return flags


@dataclass(frozen=True)
class Requests:
    """The same request again and again on some connections, for `seconds`, or `count` times in all when that is set."""

    path: str
    method: str = "GET"
    accept: str = "application/json"
    content_type: str = "application/json"
    body: str = ""
    connections: int = 1
    seconds: float = 1.0
    count: int = 0

    def flags(self) -> list[str]:
        """As the generator takes them."""
        flags = ["-mode", "requests", "-method", self.method, "-path", self.path, "-accept", self.accept]
        flags += ["-connections", str(self.connections), "-duration", f"{self.seconds}s", "-count", str(self.count)]
        if self.body:
            flags += ["-content-type", self.content_type, "-body", self.body]
        return flags


@dataclass(frozen=True)
class Load:
    """The built generator, pointed at one contender."""

    program: Path
    address: Address
    extra: Sequence[str] = field(default_factory=tuple)

    def requests(self, plan: Requests) -> Any:
        """What came of the requests: `requests`, `seconds`, `bytes`, `p50Micros`, `p99Micros`, `errors`, ..."""
        return self._run(plan.flags(), plan.seconds)

    def exec(self, path: str) -> Any:
        """One exec over WebSocket, read to its end: `bytes`, `seconds`, `status`."""
        return self._run(["-mode", "exec", "-path", path])

    def events(self, watch: str, write: str, count: int, direct: Address) -> Any:
        """Delays of `count` events of a watch through the contender, while the object is written directly."""
        flags = ["-mode", "events", "-path", watch, "-write-path", write, "-count", str(count)]
        flags += ["-direct-url", direct.url, "-direct-ca", str(direct.authority)]
        flags += ["-direct-cert", str(direct.certificate), "-direct-key", str(direct.key)]
        return self._run(flags)

    @contextmanager
    def watches(self, path: str, count: int) -> Iterator[dict[str, Any]]:
        """Holds watches open inside the block; the answer (`watches`, `alive`) is filled in after it."""
        answer: dict[str, Any] = {}
        flags = ["-mode", "watches", "-path", path, "-connections", str(count)]
        with subprocess.Popen(
            self._command(flags), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                if _stream(process.stdout).readline().strip() != "open":
                    raise BenchFailure(f"{count} watches of {path}: {_stream(process.stderr).read().strip()}")
                yield answer
                _stream(process.stdin).close()
                answer.update(json.loads(_stream(process.stdout).readline()))
            finally:
                process.kill()

    def _run(self, flags: Sequence[str], seconds: float = 0.0) -> Any:
        command = self._command(flags)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False)
        if done.returncode != 0:
            raise BenchFailure(f"{self.address.url}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def _command(self, flags: Sequence[str]) -> list[str]:
        return [str(self.program), *self.address.flags(), *flags, *self.extra]


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise BenchFailure("the load generator was started without its streams")
    return stream
