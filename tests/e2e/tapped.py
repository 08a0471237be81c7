"""A road to the API server on which sessions are read by the gate's codecs, as the gate would between its two ends.

Kubectl is given a kubeconfig with a plain HTTP address; the relay behind it speaks TLS to the API server, with the
administrator's certificate. Whatever is no upgrade passes unread.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from dev.cluster.processes import free_ports
from tests.e2e.gate import Cluster

from narrowgate.core.target import parse_target
from narrowgate.wire.http1 import END_OF_HEAD, read_request_head, read_response_head
from narrowgate.wire.session_codec import asked_of, session_codec
from narrowgate.wire.stream_events import Channel, Direction, Passed, Rewrite, SessionCodec, StreamEvent

CHUNK = 64 * 1024


class Tapped:
    """One session that was read: what was agreed on, what it said, and what came."""

    def __init__(self, request: bytes, answer: bytes, codec: SessionCodec) -> None:
        self.request, self.answer = request, answer
        self.codec = codec
        self.events: list[StreamEvent] = []
        self.came: list[tuple[Direction, bytes]] = []
        self.changed = False
        self.failed: Exception | None = None
        self.ended = False
        self._lock = threading.Lock()

    def passed(self, direction: Direction, data: bytes) -> bytes:
        """What to send on of what has come."""
        with self._lock:
            self.came.append((direction, data))
            read = self.codec.from_client if direction is Direction.TO_POD else self.codec.from_upstream
            return self._noted(read(data), data)

    def rest(self) -> bytes:
        """What is still held when the API server has ended."""
        with self._lock:
            return b"".join(self._noted(self.codec.flush(channel), b"") for channel in Channel)

    def finish(self) -> None:
        with self._lock:
            self.events += self.codec.finish()
            self.ended = True

    def _noted(self, passed: Passed, data: bytes) -> bytes:
        self.events += passed.events
        self.changed |= passed.data != data
        return passed.data


class Tap:
    """The relay: `sessions` are those that were switched to, in their order."""

    def __init__(self, cluster: Cluster, folder: Path, rewrite: Callable[[], Rewrite] | None) -> None:
        self.sessions: list[Tapped] = []
        self._rewrite = rewrite
        self._address = urlsplit(cluster.server)
        self._context = _administrator(cluster, folder)
        self._listener = socket.create_server(("127.0.0.1", free_ports(1)[0]))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Ends everything that is under way."""
        for one in (self._listener, *self._sockets):
            _end(one)
            one.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as ends, suppress(OSError):
            ends.callback(client.close)
            plain = socket.create_connection((self._address.hostname, self._address.port))
            upstream = ends.enter_context(self._context.wrap_socket(plain, server_hostname=self._address.hostname))
            self._sockets.append(upstream)
            request, behind = _head(client)
            upstream.sendall(request + behind)
            if b"upgrade:" not in request.lower():
                self._both(client, upstream, None)
                return
            answer, first = _head(upstream)
            if answer.startswith(b"HTTP/1.1 101"):
                tapped = self._switched(request, answer)
                client.sendall(answer + tapped.passed(Direction.FROM_POD, first))
                self._both(client, upstream, tapped)
                tapped.finish()
            else:
                client.sendall(answer + first)
                self._both(client, upstream, None)

    def _switched(self, request: bytes, answer: bytes) -> Tapped:
        head = read_request_head(request)
        target = parse_target(head.target)
        asked = asked_of(head, target.segments[-1], target)
        rewrite = self._rewrite() if self._rewrite is not None else None
        codec = session_codec(asked, read_response_head(answer, head.method), rewrite)
        self.sessions.append(Tapped(request, answer, codec))
        return self.sessions[-1]

    def _both(self, client: socket.socket, upstream: socket.socket, tapped: Tapped | None) -> None:
        way_in = threading.Thread(target=_pump, args=(client, upstream, Direction.TO_POD, tapped))
        way_in.start()
        _pump(upstream, client, Direction.FROM_POD, tapped)
        way_in.join()


def _pump(source: socket.socket, target: socket.socket, direction: Direction, tapped: Tapped | None) -> None:
    """Until one of both ends; then the other does, too."""
    with suppress(OSError):
        try:
            while data := source.recv(CHUNK):
                target.sendall(data if tapped is None else tapped.passed(direction, data))
            if tapped is not None and direction is Direction.FROM_POD:
                target.sendall(tapped.rest())
        except Exception as error:
            if tapped is not None and not isinstance(error, OSError):
                tapped.failed = error
            raise OSError from error
        finally:
            _end(source)
            _end(target)


def _end(one: socket.socket) -> None:
    """Nothing more, for whoever waits for it in another thread: TLS's own shutdown would let that one read bare TCP."""
    with suppress(OSError):
        socket.socket.shutdown(one, socket.SHUT_RDWR)


def _head(source: socket.socket) -> tuple[bytes, bytes]:
    """A head, and what has come behind it."""
    data = b""
    while END_OF_HEAD not in data:
        more = source.recv(CHUNK)
        if not more:
            raise OSError("ended before its head did")
        data += more
    end = data.index(END_OF_HEAD) + len(END_OF_HEAD)
    return data[:end], data[end:]


def _administrator(cluster: Cluster, folder: Path) -> ssl.SSLContext:
    """What the administrator's kubeconfig proves itself with."""
    user = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(cluster.ca))
    context.set_alpn_protocols(["http/1.1"])
    for name in ("client-certificate", "client-key"):
        (folder / name).write_bytes(base64.b64decode(user[f"{name}-data"]))
    context.load_cert_chain(folder / "client-certificate", folder / "client-key")
    return context


@contextmanager
def tapping(cluster: Cluster, folder: Path, rewrite: Callable[[], Rewrite] | None = None) -> Iterator[Tap]:
    """A relay for the time of a test; `kubeconfig` in the folder leads to it."""
    tap = Tap(cluster, folder, rewrite)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tapped", "cluster": {"server": f"http://127.0.0.1:{tap.port}"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "tapped", "context": {"cluster": "tapped", "user": "nobody"}}],
        "current-context": "tapped",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    try:
        yield tap
    finally:
        tap.close()
