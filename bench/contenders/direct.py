"""No proxy at all: the floor under every other figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.contenders.contender import Contender, Running, Stage
from bench.load import Address


@contextmanager
def _start(stage: Stage) -> Iterator[Running]:
    cluster = stage.cluster
    yield Running(Address(cluster.server, cluster.authority, cluster.certificate, cluster.key))


DIRECT = Contender("direct", "the API server itself, asked with the administrator's certificate", _start)
