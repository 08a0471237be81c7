"""A TLS client that sends exactly the bytes it is given, and reads answers strictly.

Here belongs what tests of the wire need and no HTTP library gives: malformed requests, pipelining, half a request. It
knows nothing about Narrowgate.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

# Far above what any answer here takes; reaching it means that the server hangs, which is a failure.
READ_SECONDS = 90.0
READ_BYTES = 65536
HEADER_LIMIT = 1 << 20


class ConnectionEnded(Exception):
    """The peer closed the connection (or reset it) where an answer, or the rest of one, was due."""


@dataclass(frozen=True)
class Response:
    """One answer. Header names are in lower case, in the order they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name.lower())

    def json(self) -> Any:
        return json.loads(self.body)

    def kube_status(self) -> dict[str, Any]:
        """The body as the `metav1.Status` that a refusal is; kubectl prints its message only with this content type."""
        document = self.json()
        if document.get("kind") != "Status" or document.get("apiVersion") != "v1":
            raise AssertionError(f"not a Status: {self.body[:300]!r}")
        if not self.header("content-type").startswith("application/json"):
            raise AssertionError(f"a Status of content type {self.header('content-type')!r}")
        if document.get("code") != self.status or document.get("status") != "Failure":
            raise AssertionError(f"a Status that disagrees with its answer {self.status}: {document}")
        return dict(document)

    @property
    def message(self) -> str:
        return str(self.kube_status()["message"])

    @property
    def message_or_nothing(self) -> str:
        """The message of a refusal; nothing where the answer is none."""
        return self.message if self.status >= 400 else ""


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A well-formed HTTP/1.1 request; Content-Length is added where there is a body and nobody said otherwise."""
    lines = [f"{method} {target} HTTP/1.1"]
    named = {name.lower() for name in headers}
    if "host" not in named:
        lines.append("Host: gate")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body and not named & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One TLS connection. Verifies the server's certificate as any client must."""

    def __init__(
        self,
        host: str,
        port: int,
        ca: str,
        *,
        alpn: tuple[str, ...] = ("http/1.1",),
        seconds: float = READ_SECONDS,
        source: str = "",
    ) -> None:
        """`source` is the address of this machine that it comes from; empty leaves that to the system."""
        context = ssl.create_default_context(cadata=ca)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        raw = socket.create_connection((host, port), timeout=seconds, source_address=(source, 0) if source else None)
        # Small writes must leave at once: several tests are about where the bytes are cut.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(raw, server_hostname=host)
        except (OSError, ssl.SSLError):
            raw.close()
            raise
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_quietly(self, data: bytes) -> None:
        """Sends what the peer may refuse to take: it may answer and close before it has read everything."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return

    def receive(self) -> bytes:
        """Some bytes, or none at the end of the stream. A peer that says nothing for too long is a TimeoutError."""
        try:
            return self.socket.recv(READ_BYTES)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def more(self) -> None:
        data = self.receive()
        if not data:
            raise ConnectionEnded(f"the connection ended; so far: {self.buffer[:200]!r}")
        self.buffer += data

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if len(self.buffer) > HEADER_LIMIT:
                raise AssertionError("a line without end")
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Status and headers; what follows stays on the connection."""
        version, status, *_ = self.line().decode("latin-1").split(" ", 2)
        if version != "HTTP/1.1":
            raise AssertionError(f"an answer in {version}")
        headers: list[tuple[str, str]] = []
        while line := self.line():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or name != name.strip():
                raise AssertionError(f"a malformed header line in the answer: {line!r}")
            headers.append((name.lower(), value.strip()))
        return int(status), tuple(headers)

    def response(self, method: str = "GET") -> Response:
        """The next final answer; interim ones (100 Continue) are passed over."""
        status, headers = self.head()
        while 100 <= status < 200 and status != 101:
            status, headers = self.head()
        return Response(status, headers, self._body(method, status, headers))

    def _body(self, method: str, status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
        if method == "HEAD" or status in (101, 204, 304):
            return b""
        fields = dict(headers)
        if "transfer-encoding" in fields:
            if fields["transfer-encoding"].lower() != "chunked" or "content-length" in fields:
                raise AssertionError(f"an answer that is framed twice or oddly: {headers}")
            return self._chunks()
        if "content-length" in fields:
            return self.take(int(fields["content-length"]))
        return self._rest()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.line(), 16):
            body += self.take(size)
            if self.line():
                raise AssertionError("a chunk without its end of line")
        while self.line():
            pass
        return body

    def _rest(self) -> bytes:
        rest, self.buffer = self.buffer, b""
        while data := self.receive():
            rest += data
        return rest

    def ended(self) -> bool:
        """Whether the peer closes the connection without another byte. Waits for it."""
        return not self.buffer and not self.receive()
