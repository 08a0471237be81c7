"""Databases in pods, and a witness of what their clients said and heard: for recordings of forwarded ports.

The servers are this machine's own PostgreSQL and Redis: the pod has its `/usr` and what leads there, to read only, and
listens on its own loopback, where nobody gets but by a forwarded port.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from dev.databases import program
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import pod

POSTGRESQL_PORT, REDIS_PORT = 5432, 6379
USER, PASSWORD = "app", "a password that only tests have"
NOBODY = 65534
"""PostgreSQL serves nobody who started it as root."""
CLOSE_SECONDS = 90.0
PIECE = 64 * 1024


def postgresql(cluster: Cluster) -> dict[str, Any]:
    """A pod called `postgresql`, whose server wants SCRAM of everyone."""
    folder = program("postgres").parent
    script = f"""
        printf %s "$PASSWORD" > /data/password
        {folder}/initdb -D /data/db -U {USER} --auth=scram-sha-256 --pwfile=/data/password --no-locale -E UTF8 --no-sync
        exec {folder}/postgres -D /data/db -c listen_addresses=127.0.0.1 -c port={POSTGRESQL_PORT} -c fsync=off \
            -c unix_socket_directories=/data -c synchronize_seqscans=off
    """
    is_ready = [f"{folder}/pg_isready", "-h", "127.0.0.1", "-U", USER, "-d", "postgres"]
    return _server("postgresql", cluster, script, is_ready)


def redis(cluster: Cluster) -> dict[str, Any]:
    """A pod called `redis`, which keeps nothing."""
    server = program("redis-server")
    script = f"exec {server} --bind 127.0.0.1 --port {REDIS_PORT} --save '' --dir /data"
    return _server("redis", cluster, script, [f"{server.parent}/redis-cli", "-p", str(REDIS_PORT), "ping"])


def _server(name: str, cluster: Cluster, script: str, is_ready: list[str]) -> dict[str, Any]:
    # On some machines the last is not there: they have no libraries of another kind of processor.
    shared = [path for path in ("/usr", "/lib", "/lib64") if Path(path).exists()]
    mounts = [{"name": path.strip("/"), "mountPath": path, "readOnly": True} for path in shared]
    volumes: list[dict[str, Any]] = [{"name": path.strip("/"), "hostPath": {"path": path}} for path in shared]
    made = pod(name, cluster.image, script, volumes=[*volumes, {"name": "data", "emptyDir": {}}])
    # A network of its own: ports that every other pod of the machine could have taken are free there.
    del made["spec"]["hostNetwork"]
    made["spec"]["securityContext"] = {"runAsUser": NOBODY, "fsGroup": NOBODY}
    made["spec"]["containers"][0] |= {
        "volumeMounts": [*mounts, {"name": "data", "mountPath": "/data"}],
        "env": [{"name": "PASSWORD", "value": PASSWORD}],
        "readinessProbe": {"exec": {"command": is_ready}, "periodSeconds": 1, "timeoutSeconds": 10},
    }
    return made


class Conversation(NamedTuple):
    """One connection of a client, whole."""

    said: bytes
    heard: bytes


class Witness:
    """Stands between a client and a forwarded port, and keeps what each connection carried."""

    def __init__(self, port: int) -> None:
        """`port` of 127.0.0.1 is where what comes is passed on to."""
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._conversations: list[tuple[bytearray, bytearray]] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def conversations(self) -> list[Conversation]:
        """Those of all connections, once they have ended; nobody may come any more."""
        # Closing alone leaves a thread in accept(): the kernel keeps a socket that is being waited for.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # A thread that is waited for may begin others.
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
            assert not thread.is_alive(), "a connection never ended"
        return [Conversation(bytes(said), bytes(heard)) for said, heard in self._conversations]

    def _begin(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            said, heard = bytearray(), bytearray()
            self._conversations.append((said, heard))
            self._begin(self._both_ways, client, server, said, heard)

    def _both_ways(self, client: socket.socket, server: socket.socket, said: bytearray, heard: bytearray) -> None:
        with client, server:
            answering = threading.Thread(target=_pass_on, args=(server, client, heard), daemon=True)
            answering.start()
            _pass_on(client, server, said)
            answering.join()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    """Until its source ends, which its target is then told."""
    with suppress(OSError):
        while data := source.recv(PIECE):
            kept += data
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def witnessed(here: Kubectl, name: str, port: int) -> Iterator[Witness]:
    """A forwarded port of a pod, with a witness before it; the forwarding ends with the block."""
    process = here.start("port-forward", "--address=127.0.0.1", f"pod/{name}", f":{port}")
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        assert found, line
        witness = Witness(int(found[1]))
        yield witness
        # A client is gone as soon as it has said its last word, which is then still on its way.
        witness.conversations()
    finally:
        process.terminate()
        process.communicate(timeout=CLOSE_SECONDS)
