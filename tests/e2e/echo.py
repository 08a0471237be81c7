"""An API server that is not one: it answers discovery, says back what it received, and remembers it.

Here belongs what proves what reaches the cluster: headers, targets, bodies, upgrades. It speaks HTTP/1.1 over TLS with
a certificate of its own, and does what the name of the requested object says (`BEHAVIOURS`); all else is echoed.
It parses leniently on purpose: what a careful gate must not let through, a careless server would believe.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.echo_documents import content_type_of, discovery, make_certificate, status_document

TOKEN = "the-credential-that-no-agent-may-see"
RULES_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ELSEWHERE = "https://elsewhere.invalid/stolen"
STOP_SECONDS = 5.0
# Longer than any test takes: what a patient answer waits for comes from the test.
PATIENT_SECONDS = 90.0
LINE_SECONDS = 0.1

# A watch that begins as a list (KEP-3157): the objects, and the bookmark that says that these were all.
STREAMED_LIST = (
    b'{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"}}}\n',
    b'{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"7",'
    b'"annotations":{"k8s.io/initial-events-end":"true"}}}}\n',
)


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names as sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def names(self) -> set[str]:
        return {key.lower() for key, _ in self.headers}


@dataclass
class Echo:
    """The running server: `url`, the files that a gate's configuration names, and everything received so far."""

    folder: Path
    received: list[Received] = field(default_factory=list)
    rights: list[dict[str, Any]] = field(default_factory=list)
    """What a SelfSubjectRulesReview here says that the gate's account may do."""
    ended: list[str] = field(default_factory=list)
    """The targets of switched connections and endless answers that are over."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """What a patient answer waits for."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate_authority = self.folder / "ca.crt"
        self.token_file = self.folder / "token"
        self.token_file.write_text(TOKEN)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(make_certificate(self.certificate_authority, self.folder / "serving.pem"))
        self._stopping = False
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="echo", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def cluster(self, name: str, mode: str = "credential") -> dict[str, Any]:
        """An entry for this server under `clusters` of a gate's configuration."""
        return {
            "name": name,
            "server": self.url,
            "certificateAuthority": str(self.certificate_authority),
            "tokenFile": str(self.token_file),
            "upstream": {"mode": mode},
        }

    def with_marker(self, marker: str) -> list[Received]:
        """What arrived and has the marker anywhere: target, headers or body."""
        return [
            request
            for request in list(self.received)
            if marker in request.target
            or marker.encode() in request.body
            or any(marker in v for _, v in request.headers)
        ]

    def stop(self) -> None:
        """Ends as a crashed server does: nobody listens any more, and every connection breaks."""
        if self._stopping:
            return
        self._stopping = True
        # Closing alone leaves a thread in accept(): the kernel keeps a socket that is being waited for.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(STOP_SECONDS)
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # --- the server ---

    def _accept(self) -> None:
        while not self._stopping:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(raw)
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as connection:
                self._connections.add(connection)
                stream = Stream(connection)
                while self._one(stream):
                    pass
        except (OSError, EOFError, ValueError):
            # The gate may hang up whenever it likes; what arrived before has been noted.
            raw.close()
        finally:
            # A copy: connections come and go in other threads.
            self._connections -= {raw, *(kept for kept in self._connections.copy() if kept.fileno() == -1)}

    def _one(self, stream: Stream) -> bool:
        head = stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = tuple(
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)
        )
        fields = {name.lower(): value for name, value in headers}
        if name_of(target) == "early":
            # An answer before the body is read, as the real server gives for a body that is too large.
            self.received.append(Received(method, target, headers, b""))
            stream.answer(413, status_document(413, "the echo has heard enough"), close=True)
            # Closing with unread bytes resets the connection, and the answer with it; Go's server reads on, too.
            while True:
                stream.buffer = b""
                stream.more()
        if fields.get("expect", "").lower() == "100-continue":
            stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = stream.body(fields)
        request = Received(method, target, headers, body)
        self.received.append(request)
        behaviour = BEHAVIOURS.get(name_of(target))
        if behaviour is not None:
            return behaviour(self, stream, request)
        if target == RULES_REVIEWS:
            stream.answer(201, {"status": {"resourceRules": self.rights, "nonResourceRules": [], "incomplete": False}})
            return True
        document = discovery(target, fields.get("accept", "")) or self._echo(request)
        stream.answer(200, document, content_type=content_type_of(document), head=method == "HEAD")
        return "close" not in fields.get("connection", "").lower()

    def _echo(self, request: Received) -> dict[str, Any]:
        return {
            "kind": "Echo",
            "apiVersion": "v1",
            # What every object of a real server has.
            "metadata": {"name": request.target.partition("?")[0].rsplit("/", 1)[-1], "resourceVersion": "1"},
            "method": request.method,
            "target": request.target,
            "length": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
        }


class Stream:
    """A connection that is read to a mark or by count."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self.buffer = b""

    def more(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def body(self, fields: Mapping[str, str]) -> bytes:
        if "chunked" in fields.get("transfer-encoding", "").lower():
            body = b""
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                body += self.take(size)
                self.until(b"\r\n")
            while self.until(b"\r\n"):
                pass
            return body
        return self.take(int(fields.get("content-length", "0")))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(
        self,
        status: int,
        document: Mapping[str, Any],
        *,
        content_type: str = "application/json",
        extra: str = "",
        close: bool = False,
        head: bool = False,
    ) -> None:
        body = json.dumps(document).encode()
        lines = f"HTTP/1.1 {status} Echo\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}"
        closing = "Connection: close\r\n" if close else ""
        self.send(f"{lines}{closing}\r\n".encode() + (b"" if head else body))


def name_of(target: str) -> str:
    """The behaviour a target asks for: the first word between its separators that is one (`pods/redirect/exec`)."""
    return next((segment for segment in re.split("[/?&=]", target) if segment in BEHAVIOURS or segment == "early"), "")


# --- behaviours: each returns whether the connection goes on ---


def _redirect(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.answer(302, status_document(302, "look elsewhere"), extra=f"Location: {ELSEWHERE}\r\n")
    return True


def _refuse(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.answer(403, status_document(403, "the echo refuses"))
    return True


def _switch(echo: Echo, stream: Stream, request: Received) -> bool:
    """Switches protocols and says every byte back."""
    protocol = "".join(
        f"Sec-WebSocket-Protocol: {value.split(',')[0]}\r\n" for value in request.values("sec-websocket-protocol")
    )
    upgrade = (request.values("upgrade") or ["none"])[0]
    stream.send(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {upgrade}\r\nConnection: Upgrade\r\n{protocol}\r\n".encode()
    )
    data = stream.buffer or stream.connection.recv(65536)
    try:
        while data:
            stream.send(data)
            if data == b"good-bye":
                break
            data = stream.connection.recv(65536)
    finally:
        echo.ended.append(request.target)
    return False


def _unasked_switch(_echo: Echo, stream: Stream, _request: Received) -> bool:
    """A 101 that nobody asked for."""
    stream.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\nunasked")
    return False


def _hang_up(_echo: Echo, _stream: Stream, _request: Received) -> bool:
    return False


def _half(_echo: Echo, stream: Stream, _request: Received) -> bool:
    """Half of what it announced, then nothing: the caller must be able to tell."""
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
    return False


def _half_chunked(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n32\r\n"
        + b"x" * 50
        + b"\r\n"
    )
    return False


def _garbage(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.send(b"what is this\r\n\r\n")
    return False


def _hop_by_hop(_echo: Echo, stream: Stream, _request: Received) -> bool:
    extra = (
        "Connection: keep-alive, X-Internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
    )
    stream.answer(200, {"kind": "Echo"}, extra=extra + 'X-Kept: 1\r\nWarning: 299 - "kept"\r\n')
    return True


def _chunked(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (b'{"kind":', b'"Echo"}'):
        stream.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    stream.send(b"0\r\n\r\n")
    return True


def _patient(echo: Echo, stream: Stream, _request: Received) -> bool:
    """An answer that comes when the test says so."""
    echo.go_on.wait(PATIENT_SECONDS)
    stream.answer(200, {"kind": "Echo", "after": "patience"})
    return True


def _endless(echo: Echo, stream: Stream, request: Received) -> bool:
    """Something like a watch: a line now and then until the caller is gone."""
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        while True:
            stream.send(b'8\r\n{"a":1}\n\r\n')
            time.sleep(LINE_SECONDS)
    finally:
        echo.ended.append(request.target)


def _streamed_list(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    for line in STREAMED_LIST:
        stream.send(f"{len(line):x}\r\n".encode() + line + b"\r\n")
    stream.send(b"0\r\n\r\n")
    return True


def _interim(_echo: Echo, stream: Stream, _request: Received) -> bool:
    stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    stream.answer(200, {"kind": "Echo", "after": "interim"})
    return True


BEHAVIOURS: Mapping[str, Callable[[Echo, Stream, Received], bool]] = {
    "redirect": _redirect,
    "refuse": _refuse,
    "switch": _switch,
    "unasked-switch": _unasked_switch,
    "hang-up": _hang_up,
    "half": _half,
    "half-chunked": _half_chunked,
    "garbage": _garbage,
    "hop-by-hop": _hop_by_hop,
    "chunked": _chunked,
    "interim": _interim,
    "patient": _patient,
    "endless": _endless,
    "bookmarks": _streamed_list,
}
