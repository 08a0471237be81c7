"""An API server for tests of the gate's own life: it can be down and come back, answer at length, and never end.

Here belongs what the echo does not do and the real cluster should not be asked to. Objects are named for what is to
happen: a list of `large` things, a watch that goes on, a `held` answer that comes when the test says so.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.e2e.echo import Echo, Received, Stream, content_type_of, discovery

LARGE_BYTES = 26 * 1024 * 1024
"""As much as a list of 5,000 pods in JSON."""
PIECE = 64 * 1024
HOLD_SECONDS = 180.0
"""Longer than any test takes; a held answer comes then at the latest."""


class Stub(Echo):
    """The echo, with answers that take their time, and an end and a beginning of its own."""

    def __init__(self, folder: Path) -> None:
        self.release = threading.Event()
        """Set it, and what is held is answered."""
        self.ended: list[str] = []
        """Targets of watches that the other side ended."""
        super().__init__(folder)

    def down(self) -> None:
        """Listen no more and break every connection, as a server that has crashed."""
        self.stop()

    def up(self) -> None:
        """Listen again, on the same port."""
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._thread = threading.Thread(target=self._accept, name="stub", daemon=True)
        self._thread.start()

    @property
    def answers(self) -> Mapping[str, Callable[[Stub, Stream, Received], bool]]:
        """What is done with requests whose target holds a word."""
        return ANSWERS

    def _one(self, stream: Stream) -> bool:
        head = stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        if self._stopping:
            return False
        method, target, _ = head[0].split(" ", 2)
        headers = tuple(
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)
        )
        fields = {name.lower(): value for name, value in headers}
        request = Received(method, target, headers, stream.body(fields))
        self.received.append(request)
        for word, answer in self.answers.items():
            if word in target:
                return answer(self, stream, request)
        document = discovery(target, fields.get("accept", "")) or self._echo(request)
        stream.answer(200, document, content_type=content_type_of(document), head=method == "HEAD")
        return True


def _watch(stub: Stub, stream: Stream, request: Received) -> bool:
    """One event, and then nothing until the other side ends it."""
    event = b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1"}}}\n'
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    stream.send(b"%x\r\n%b\r\n" % (len(event), event))
    try:
        stream.more()
    except (EOFError, OSError):
        stub.ended.append(request.target)
    return False


def _large(_: Stub, stream: Stream, __: Received) -> bool:
    piece = b"x" * PIECE
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES)
    for _ in range(LARGE_BYTES // PIECE):
        stream.send(piece)
    return True


def _held(stub: Stub, stream: Stream, request: Received) -> bool:
    stub.release.wait(HOLD_SECONDS)
    stream.answer(200, stub._echo(request))
    return True


ANSWERS: Mapping[str, Callable[[Stub, Stream, Received], bool]] = {
    "watch=": _watch,
    "/large": _large,
    "/held": _held,
}
