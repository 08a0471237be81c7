"""Go's standard reverse proxy (bench/reverseproxy): authenticates nobody, judges nothing, records nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from dev.build import build
from dev.cluster.processes import free_ports

from bench.cluster import REPOSITORY
from bench.contenders.contender import Contender, Running, Stage, program


def _with(name: str, *flags: str) -> Callable[[Stage], AbstractContextManager[Running]]:
    @contextmanager
    def start(stage: Stage) -> Iterator[Running]:
        folder = build(REPOSITORY / "bench" / "reverseproxy", {"reverseproxy": "."})
        (port,) = free_ports(1)
        cluster = stage.cluster
        command: list[str | Path] = [
            folder / "reverseproxy", "-listen", f"127.0.0.1:{port}", "-cert", stage.certificate, "-key", stage.key,
            "-upstream", cluster.server, "-ca", cluster.authority,
            "-client-cert", cluster.certificate, "-client-key", cluster.key, *flags,
        ]  # fmt: skip
        with program(name, command, stage.folder, stage.served(port)) as running:
            yield running

    return start


REVERSE_PROXY = Contender(
    "reverseproxy", "Go's bare httputil.ReverseProxy, HTTP/1.1 on both sides", _with("reverseproxy")
)
REVERSE_PROXY_H2 = Contender(
    "reverseproxy-h2", "the same with HTTP/2 to the API server", _with("reverseproxy-h2", "-h2")
)
