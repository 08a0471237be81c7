"""A line between a gate and an API server that a test can hold: what was sent does not arrive, or its answer does not.

It sees bytes and no requests (they are encrypted): the write that a test means is the one that is larger than
everything else the gate sends, `LARGE` bytes at least.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum
from urllib.parse import urlsplit

LARGE = 60_000
"""Bytes that are sent on one connection while the line waits for the large write, before that is what it is."""
CHUNK = 65536
WAIT_SECONDS = 120.0
"""After that a test that waits for the large write has failed."""


class Held(Enum):
    """What of the large write does not pass."""

    REQUEST = "its end does not arrive"
    ANSWER = "it arrives, and its answer does not"


class Line:
    """The line; with `wait_for_large` it holds the connection on which the next large write comes."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._server = (address.hostname or "", address.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._waits_for: Held | None = None
        self._came = threading.Event()
        self._answered = threading.Event()
        self._free = threading.Event()
        """Not set while anything is held."""
        self._free.set()
        self._is_silent = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, held: Held) -> None:
        """Hold that of the next large write."""
        self._came.clear()
        self._answered.clear()
        self._free.clear()
        self._waits_for = held

    def silence(self) -> None:
        """Nothing passes any more, and nobody is told: as where a firewall drops what comes."""
        self._free.clear()
        self._is_silent = True

    @property
    def has_large(self) -> bool:
        """Whether the large write has come."""
        return self._came.is_set()

    def wait_for_large(self) -> None:
        """Until the large write has come."""
        assert self._came.wait(WAIT_SECONDS), "no large write has come"

    def wait_for_answer(self) -> None:
        """Until the answer to it has arrived, once it is passed on."""
        assert self._answered.wait(WAIT_SECONDS), "no answer has come"

    def pass_on(self) -> None:
        """Nothing is held any more."""
        self._waits_for = None
        self._is_silent = False
        self._free.set()

    def close(self) -> None:
        """Everything ends, also what is held."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            _end(each)
        self._free.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            self._open |= {client, server}
            connection = _Connection()
            for arguments in ((client, server, connection, True), (server, client, connection, False)):
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, connection: _Connection, is_sent: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if is_sent and self._waits_for is not None:
                    connection.sent += len(data)
                    if connection.sent >= LARGE and not self._came.is_set():
                        connection.held = self._waits_for
                        self._came.set()
                stops = connection.held is (Held.REQUEST if is_sent else Held.ANSWER)
                if stops or self._is_silent:
                    self._free.wait()
                target.sendall(data)
                if connection.held is not None and not is_sent:
                    self._answered.set()
        for each in (source, target):
            _end(each)
            self._open.discard(each)


class _Connection:
    """What passed on one connection."""

    sent = 0
    """Bytes towards the server since the line waits for a large write."""
    held: Held | None = None


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def held_line(server: str) -> Iterator[Line]:
    """A line to that server."""
    line = Line(server)
    try:
        yield line
    finally:
        line.close()
